/* The HPET; see hpet.h. Names are the specification's.
 *
 * The counter is computed from the platform clock when somebody looks; a comparator that may interrupt has a timer.
 *
 * Example: GEN_CONF <- 1; T0_CONF <- 4 | 2 << 9; T0_CMP <- MAIN_CNT + 100000: IOAPIC pin 2 is pulsed in 1 ms.
 */
#include "dev/timer/hpet.h"
#include "base/errno.h"
#include "core/platform.h"
#include "dev/irq/irqchip.h"

#define TIMERS    3u
#define TICK_NS   10u
#define PERIOD_FS 10000000ull

/* An interrupt no more often than this, lest a guest keep the I/O thread busy for nothing. */
#define MIN_PERIOD_NS 20000u
/* Nobody waits longer; the platform's deadlines do not overflow. */
#define MAX_DELTA (UINT64_MAX / TICK_NS / 4)

enum hpet_register {
	GCAP_ID = 0x000,
	GEN_CONF = 0x010,
	GINTR_STA = 0x020,
	MAIN_CNT = 0x0f0,
	TN_FIRST = 0x100,
	TN_LAST = TN_FIRST + TIMERS * 0x20 - 1,
};

enum timer_register { TN_CONF = 0x00, TN_CMP = 0x08 };

#define ENABLE_CNF 1u
#define LEG_RT_CNF 2u

#define TN_INT_TYPE_CNF 0x002u
#define TN_INT_ENB_CNF  0x004u
#define TN_TYPE_CNF     0x008u
#define TN_PER_INT_CAP  0x010u
#define TN_SIZE_CAP     0x020u
#define TN_VAL_SET_CNF  0x040u
#define TN_32MODE_CNF   0x100u
#define TN_ROUTE(conf)  ((unsigned)(conf) >> 9 & 31)
#define TN_WRITABLE     0x3f4eu
#define ROUTE_CAP       0x00ff0104ull /* IOAPIC pins 2, 8, 16 to 23 */

struct hpet_timer {
	struct hpet *hpet;
	unsigned index;
	struct timer timer;
	uint64_t conf, comparator, period;
};

struct hpet {
	struct device dev;
	struct irqchip *chip;
	bool legacy; /* can replace */
	uint64_t conf, status;
	uint64_t counter, start_ns; /* enabled: what it was at start_ns; else what it stands at */
	struct hpet_timer timers[TIMERS];
	uint32_t lines; /* which of the timers hold their line up */

	struct lock gate_lock; /* a leaf but for the interrupt controllers' */
	bool replaced;
	bool levels[2]; /* of PIT and RTC */
};

static uint64_t counter_now(const struct hpet *hpet)
{
	if (!(hpet->conf & ENABLE_CNF))
		return hpet->counter;
	return hpet->counter + (platform_clock_ns() - hpet->start_ns) / TICK_NS;
}

/* ---- interrupts ---- */

static const unsigned legacy_gsis[] = {[HPET_PIT] = 0, [HPET_RTC] = 8};

static void gate(void *ctx, unsigned which, int level)
{
	struct hpet *hpet = ctx;
	struct irq_line line = irqchip_line(hpet->chip, legacy_gsis[which]);

	lock_take(&hpet->gate_lock);
	hpet->levels[which] = level;
	if (!hpet->replaced)
		irq_set(&line, level);
	lock_release(&hpet->gate_lock);
}

struct irq_line hpet_legacy_line(struct hpet *hpet, enum hpet_legacy which)
{
	return (struct irq_line){.set = gate, .ctx = hpet, .pin = which};
}

static void set_replaced(struct hpet *hpet, bool replaced)
{
	lock_take(&hpet->gate_lock);
	for (unsigned i = 0; i < ARRAY_SIZE(hpet->levels) && replaced != hpet->replaced; i++) {
		struct irq_line line = irqchip_line(hpet->chip, legacy_gsis[i]);

		irq_set(&line, !replaced && hpet->levels[i]);
	}
	hpet->replaced = replaced;
	lock_release(&hpet->gate_lock);
}

static bool is_replacing(const struct hpet *hpet)
{
	return (hpet->conf & (ENABLE_CNF | LEG_RT_CNF)) == (ENABLE_CNF | LEG_RT_CNF);
}

static struct irq_line line_of(const struct hpet_timer *timer)
{
	struct hpet *hpet = timer->hpet;

	if (is_replacing(hpet) && timer->index < ARRAY_SIZE(legacy_gsis))
		return irqchip_line(hpet->chip, legacy_gsis[timer->index]);
	if (!(ROUTE_CAP >> TN_ROUTE(timer->conf) & 1))
		return (struct irq_line){0};
	/* Pin 2 of the IOAPIC is GSI 2. */
	return irqchip_line(hpet->chip, TN_ROUTE(timer->conf));
}

/* Lets go of the line, which is about to become another one or is acknowledged. */
static void release_line(struct hpet_timer *timer)
{
	struct irq_line line = line_of(timer);

	if (timer->hpet->lines >> timer->index & 1)
		irq_set(&line, 0);
	timer->hpet->lines &= ~(1u << timer->index);
}

static void interrupt(struct hpet_timer *timer)
{
	struct hpet *hpet = timer->hpet;
	struct irq_line line = line_of(timer);

	if (!(timer->conf & TN_INT_TYPE_CNF)) {
		if (timer->conf & TN_INT_ENB_CNF)
			irq_pulse(&line);
		return;
	}
	hpet->status |= 1u << timer->index;
	if (timer->conf & TN_INT_ENB_CNF) {
		hpet->lines |= 1u << timer->index;
		irq_set(&line, 1);
	}
}

/* ---- comparators ---- */

/* Ticks until the counter meets the comparator. */
static uint64_t distance(const struct hpet_timer *timer, uint64_t now)
{
	uint64_t delta = timer->comparator - now;

	return timer->conf & TN_32MODE_CNF ? (uint32_t)delta : delta;
}

static void schedule(struct hpet_timer *timer)
{
	uint64_t delta = distance(timer, counter_now(timer->hpet));

	if (!(timer->hpet->conf & ENABLE_CNF) || !(timer->conf & TN_INT_ENB_CNF) || delta > MAX_DELTA) {
		timer_cancel(&timer->timer);
		return;
	}
	delta *= TICK_NS;
	if ((timer->conf & TN_TYPE_CNF) && delta < MIN_PERIOD_NS)
		delta = MIN_PERIOD_NS;
	timer_arm(&timer->timer, platform_clock_ns() + delta);
}

/* The comparator's next value, the first that the counter has not passed. */
static void advance(struct hpet_timer *timer, uint64_t now)
{
	uint64_t late = now - timer->comparator;

	if (timer->conf & TN_32MODE_CNF)
		late = (uint32_t)late;
	if (timer->period)
		timer->comparator += timer->period * (late / timer->period + 1);
	if (timer->conf & TN_32MODE_CNF)
		timer->comparator = (uint32_t)timer->comparator;
}

static void fire(void *ctx)
{
	struct hpet_timer *timer = ctx;
	struct hpet *hpet = timer->hpet;
	uint64_t now, passed;

	lock_take(&hpet->dev.lock);
	now = counter_now(hpet);
	passed = now - timer->comparator;
	if (timer->conf & TN_32MODE_CNF)
		passed = (uint32_t)passed <= INT32_MAX ? (uint32_t)passed : UINT64_MAX;
	if (!(hpet->conf & ENABLE_CNF) || !(timer->conf & TN_INT_ENB_CNF)) {
		;
	} else if (passed > INT64_MAX) { /* it was programmed anew meanwhile */
		schedule(timer);
	} else {
		interrupt(timer);
		if ((timer->conf & TN_TYPE_CNF) && timer->period) {
			advance(timer, now);
			schedule(timer);
		} else if (timer->conf & TN_32MODE_CNF) { /* once more when it has wrapped */
			timer_arm(&timer->timer, platform_clock_ns() + (UINT64_C(1) << 32) * TICK_NS - passed * TICK_NS);
		}
	}
	lock_release(&hpet->dev.lock);
}

/* ---- registers, as 64 bits ---- */

static uint64_t timer_conf(const struct hpet_timer *timer)
{
	return timer->conf | TN_PER_INT_CAP | TN_SIZE_CAP | ROUTE_CAP << 32;
}

static uint64_t register_read(struct hpet *hpet, uint64_t offset)
{
	const struct hpet_timer *timer = &hpet->timers[(offset - TN_FIRST) / 0x20 % TIMERS];

	switch (offset) {
	case GCAP_ID:
		return PERIOD_FS << 32 | (hpet->legacy ? HPET_ID : HPET_ID_NO_LEGACY);
	case GEN_CONF:
		return hpet->conf;
	case GINTR_STA:
		return hpet->status;
	case MAIN_CNT:
		return counter_now(hpet);
	case TN_FIRST ... TN_LAST:
		if (offset % 0x20 == TN_CONF)
			return timer_conf(timer);
		return offset % 0x20 == TN_CMP ? timer->comparator : 0;
	default:
		return 0;
	}
}

static void write_conf(struct hpet *hpet, uint64_t value)
{
	uint64_t counter = counter_now(hpet);

	for (unsigned i = 0; i < TIMERS; i++)
		release_line(&hpet->timers[i]);
	hpet->conf = value & (ENABLE_CNF | (hpet->legacy ? LEG_RT_CNF : 0));
	hpet->counter = counter;
	hpet->start_ns = platform_clock_ns();
	set_replaced(hpet, is_replacing(hpet));
	for (unsigned i = 0; i < TIMERS; i++)
		schedule(&hpet->timers[i]);
}

static void write_status(struct hpet *hpet, uint64_t value)
{
	hpet->status &= ~value;
	for (unsigned i = 0; i < TIMERS; i++)
		if (!(hpet->status >> i & 1))
			release_line(&hpet->timers[i]);
}

static void write_timer_conf(struct hpet_timer *timer, uint64_t value)
{
	release_line(timer);
	timer->conf = value & TN_WRITABLE;
	if (timer->conf & TN_32MODE_CNF) {
		timer->comparator = (uint32_t)timer->comparator;
		timer->period = (uint32_t)timer->period;
	}
	if (!(timer->conf & TN_INT_TYPE_CNF))
		timer->hpet->status &= ~(UINT64_C(1) << timer->index);
	schedule(timer);
}

/* Periodic: with VAL_SET the comparator is written, without it the period. Software that sets up a period writes first the
 * one, then the other. */
static void write_comparator(struct hpet_timer *timer, uint64_t value)
{
	if (timer->conf & TN_32MODE_CNF)
		value = (uint32_t)value;
	if (!(timer->conf & TN_TYPE_CNF) || (timer->conf & TN_VAL_SET_CNF))
		timer->comparator = value;
	if (timer->conf & TN_TYPE_CNF)
		timer->period = value;
	timer->conf &= ~(uint64_t)TN_VAL_SET_CNF;
	schedule(timer);
}

static void register_write(struct hpet *hpet, uint64_t offset, uint64_t value)
{
	struct hpet_timer *timer = &hpet->timers[(offset - TN_FIRST) / 0x20 % TIMERS];

	switch (offset) {
	case GEN_CONF:
		write_conf(hpet, value);
		break;
	case GINTR_STA:
		write_status(hpet, value);
		break;
	case MAIN_CNT:
		if (hpet->conf & ENABLE_CNF)
			break; /* only while it stands */
		hpet->counter = value;
		break;
	case TN_FIRST ... TN_LAST:
		if (offset % 0x20 == TN_CONF)
			write_timer_conf(timer, value);
		else if (offset % 0x20 == TN_CMP)
			write_comparator(timer, value);
		break;
	default:
		break;
	}
}

static uint64_t hpet_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct hpet *hpet = container_of(dev, struct hpet, dev);

	return register_read(hpet, offset & ~7ull) >> (8 * (offset & 4));
}

/* A register as it becomes when one half is written: what the other half holds is what will be written again. */
static uint64_t with_other_half(struct hpet *hpet, uint64_t offset, uint64_t value)
{
	const uint64_t reg = offset & ~7ull;
	uint64_t other = reg == GINTR_STA ? 0 : register_read(hpet, reg);

	if (reg >= TN_FIRST && reg <= TN_LAST && reg % 0x20 == TN_CMP) {
		const struct hpet_timer *timer = &hpet->timers[(reg - TN_FIRST) / 0x20];

		if ((timer->conf & TN_TYPE_CNF) && !(timer->conf & TN_VAL_SET_CNF))
			other = timer->period;
	}
	if (offset & 4)
		return (other & 0xffffffff) | value << 32;
	return (other & ~0xffffffffull) | value;
}

static void hpet_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct hpet *hpet = container_of(dev, struct hpet, dev);

	register_write(hpet, offset & ~7ull, size == 8 ? value : with_other_half(hpet, offset, value));
}

static void hpet_reset(struct device *dev)
{
	struct hpet *hpet = container_of(dev, struct hpet, dev);

	write_conf(hpet, 0);
	hpet->status = hpet->counter = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *timer = &hpet->timers[i];

		timer_cancel(&timer->timer);
		timer->conf = timer->period = 0;
		timer->comparator = UINT64_MAX;
	}
}

static void hpet_destroy(struct device *dev)
{
	struct hpet *hpet = container_of(dev, struct hpet, dev);

	for (unsigned i = 0; i < TIMERS; i++)
		timer_cancel(&hpet->timers[i].timer);
	platform_free(hpet);
}

static const struct device_ops ops = {
	.name = "hpet",
	.reset = hpet_reset,
	.read = hpet_read,
	.write = hpet_write,
	.destroy = hpet_destroy,
};

int hpet_create(struct vm *vm, gpa_t base, struct irqchip *chip, bool legacy, struct hpet **out)
{
	struct hpet *hpet = platform_alloc(sizeof(*hpet));
	int r;

	if (!hpet)
		return -ENOMEM;
	hpet->chip = chip;
	hpet->legacy = legacy;
	for (unsigned i = 0; i < TIMERS; i++) {
		hpet->timers[i].hpet = hpet;
		hpet->timers[i].index = i;
		hpet->timers[i].comparator = UINT64_MAX;
		timer_init(&hpet->timers[i].timer, vm, fire, &hpet->timers[i]);
	}
	r = device_register(vm, &hpet->dev, &ops, "hpet");
	if (r) {
		platform_free(hpet);
		return r;
	}
	*out = hpet;
	return bus_attach_sized(&vm->mmio, base, HPET_SIZE, &hpet->dev, 0, 4, 8);
}
