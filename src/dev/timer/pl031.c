/* The PL031; see pl031.h. Register names are DDI 0224's.
 *
 * Example: `date = *(volatile uint32_t *)0x9010000;`
 */
#include "dev/timer/pl031.h"
#include "base/errno.h"
#include "core/device.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/primecell.h"

#define NS_PER_SECOND 1000000000ull

enum pl031_register { DR = 0x00, MR = 0x04, LR = 0x08, CR = 0x0c, IMSC = 0x10, RIS = 0x14, MIS = 0x18, ICR = 0x1c };
#define ID 0x00041031u

struct pl031 {
	struct device dev;
	struct irq_line irq;
	struct timer timer;
	uint32_t offset; /* that the guest has set: to the wall clock's seconds */
	uint32_t match, load;
	bool mask, pending;
	bool armed; /* MR was written: the alarm is to come */
};

static uint32_t seconds(const struct pl031 *rtc)
{
	return (uint32_t)(platform_wall_ns() / NS_PER_SECOND) + rtc->offset;
}

static void update(struct pl031 *rtc)
{
	irq_set(&rtc->irq, rtc->pending && rtc->mask);
}

/* Arms the timer for the second in which DR becomes MR; if it is that now, this is the alarm. */
static void set_alarm(struct pl031 *rtc)
{
	const uint32_t left = rtc->match - seconds(rtc);

	rtc->armed = left != 0;
	if (left == 0) {
		timer_cancel(&rtc->timer);
		rtc->pending = true;
		return;
	}
	timer_arm(&rtc->timer, platform_clock_ns() + left * NS_PER_SECOND - platform_wall_ns() % NS_PER_SECOND);
}

/* I/O thread. The wall clock may have been set meanwhile: then it looks again. */
static void fire(void *ctx)
{
	struct pl031 *rtc = ctx;

	lock_take(&rtc->dev.lock);
	if (rtc->armed)
		set_alarm(rtc);
	update(rtc);
	lock_release(&rtc->dev.lock);
}

static uint64_t pl031_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	const struct pl031 *rtc = container_of(dev, struct pl031, dev);

	switch ((enum pl031_register)offset) {
	case DR:
		return seconds(rtc);
	case MR:
		return rtc->match;
	case LR:
		return rtc->load;
	case CR:
		return 1; /* it always runs */
	case IMSC:
		return rtc->mask;
	case RIS:
		return rtc->pending;
	case MIS:
		return rtc->pending && rtc->mask;
	case ICR:
		return 0;
	}
	return offset >= PRIMECELL_ID ? primecell_id(ID, offset) : 0;
}

static void pl031_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);

	switch ((enum pl031_register)offset) {
	case MR:
		rtc->match = (uint32_t)value;
		set_alarm(rtc);
		break;
	case LR:
		rtc->load = (uint32_t)value;
		rtc->offset += rtc->load - seconds(rtc);
		if (rtc->armed)
			set_alarm(rtc);
		break;
	case IMSC:
		rtc->mask = value & 1;
		break;
	case ICR:
		if (value & 1)
			rtc->pending = false;
		break;
	case DR:
	case CR:
	case RIS:
	case MIS:
		break;
	}
	update(rtc);
}

/* The time goes on. */
static void pl031_reset(struct device *dev)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);

	timer_cancel(&rtc->timer);
	rtc->match = rtc->load = 0;
	rtc->mask = rtc->pending = rtc->armed = false;
	update(rtc);
}

static void pl031_destroy(struct device *dev)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);

	timer_cancel(&rtc->timer);
	platform_free(rtc);
}

static const struct device_ops ops = {
	.name = "pl031",
	.reset = pl031_reset,
	.read = pl031_read,
	.write = pl031_write,
	.destroy = pl031_destroy,
};

int pl031_create(struct vm *vm, gpa_t base, struct irq_line irq)
{
	struct pl031 *rtc = platform_alloc(sizeof(*rtc));
	int r;

	if (!rtc)
		return -ENOMEM;
	rtc->irq = irq;
	timer_init(&rtc->timer, vm, fire, rtc);
	r = device_register(vm, &rtc->dev, &ops, "rtc");
	if (r) {
		platform_free(rtc);
		return r;
	}
	return bus_attach_sized(&vm->mmio, base, PL031_SIZE, &rtc->dev, 0, 4, 4);
}
