/* The PL061; see pl061.h. Register names are DDI 0190's.
 *
 * Example: a guest reads pin 3 alone at GPIODATA + (1 << 3) * 4.
 */
#include "dev/misc/pl061.h"
#include "base/errno.h"
#include "core/device.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/primecell.h"

#define DATA_END 0x400u /* below: GPIODATA; bits 9:2 of the address say which pins */

enum pl061_register {
	DIR = 0x400,
	IS = 0x404,  /* 1: level */
	IBE = 0x408, /* both edges */
	IEV = 0x40c, /* rising edge, high level */
	IE = 0x410,
	RIS = 0x414,
	MIS = 0x418,
	IC = 0x41c,
	AFSEL = 0x420,
};
#define ID 0x00041061u

#define KEY_DOWN_NS 100000000u

struct pl061 {
	struct device dev;
	struct irq_line irq;
	struct timer release;
	uint8_t input;  /* what is outside of the pins */
	uint8_t output; /* what the guest has written */
	uint8_t dir, is, ibe, iev, ie, afsel;
	uint8_t edges;  /* latched */
	uint8_t pins;   /* as they were last */
};

static uint8_t pins(const struct pl061 *gpio)
{
	return (uint8_t)((gpio->output & gpio->dir) | (gpio->input & ~gpio->dir));
}

static uint8_t raw_interrupts(const struct pl061 *gpio)
{
	return (uint8_t)((gpio->edges & ~gpio->is) | (~(gpio->pins ^ gpio->iev) & gpio->is));
}

/* After anything changed. */
static void update(struct pl061 *gpio)
{
	const uint8_t now = pins(gpio), changed = now ^ gpio->pins;

	gpio->edges |= (uint8_t)(changed & ~gpio->is & (gpio->ibe | (uint8_t)~(now ^ gpio->iev)));
	gpio->pins = now;
	irq_set(&gpio->irq, (raw_interrupts(gpio) & gpio->ie) != 0);
}

static void set_input(struct pl061 *gpio, unsigned pin, bool high)
{
	lock_take(&gpio->dev.lock);
	gpio->input = (uint8_t)(high ? gpio->input | 1u << pin : gpio->input & ~(1u << pin));
	update(gpio);
	lock_release(&gpio->dev.lock);
}

static void release(void *ctx)
{
	set_input(ctx, PL061_POWER_KEY, false);
}

void pl061_press_power_key(struct pl061 *gpio)
{
	set_input(gpio, PL061_POWER_KEY, true);
	timer_arm(&gpio->release, platform_clock_ns() + KEY_DOWN_NS);
}

static uint64_t pl061_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	const struct pl061 *gpio = container_of(dev, struct pl061, dev);

	if (offset < DATA_END)
		return pins(gpio) & offset >> 2;
	switch ((enum pl061_register)offset) {
	case DIR:
		return gpio->dir;
	case IS:
		return gpio->is;
	case IBE:
		return gpio->ibe;
	case IEV:
		return gpio->iev;
	case IE:
		return gpio->ie;
	case RIS:
		return raw_interrupts(gpio);
	case MIS:
		return raw_interrupts(gpio) & gpio->ie;
	case AFSEL:
		return gpio->afsel;
	case IC:
		return 0;
	}
	return offset >= PRIMECELL_ID ? primecell_id(ID, offset) : 0;
}

static void pl061_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pl061 *gpio = container_of(dev, struct pl061, dev);
	const uint8_t byte = (uint8_t)value;

	if (offset < DATA_END) {
		const uint8_t mask = (uint8_t)(offset >> 2);

		gpio->output = (uint8_t)((gpio->output & ~mask) | (byte & mask));
		update(gpio);
		return;
	}
	switch ((enum pl061_register)offset) {
	case DIR:
		gpio->dir = byte;
		break;
	case IS:
		gpio->is = byte;
		break;
	case IBE:
		gpio->ibe = byte;
		break;
	case IEV:
		gpio->iev = byte;
		break;
	case IE:
		gpio->ie = byte;
		break;
	case IC:
		gpio->edges &= (uint8_t)~byte;
		break;
	case AFSEL:
		gpio->afsel = byte;
		break;
	case RIS:
	case MIS:
		break;
	}
	update(gpio);
}

/* A key that is down stays so. */
static void pl061_reset(struct device *dev)
{
	struct pl061 *gpio = container_of(dev, struct pl061, dev);

	gpio->output = gpio->dir = gpio->is = gpio->ibe = gpio->iev = gpio->ie = gpio->afsel = 0;
	update(gpio);
	gpio->edges = 0;
	update(gpio);
}

static void pl061_destroy(struct device *dev)
{
	struct pl061 *gpio = container_of(dev, struct pl061, dev);

	timer_cancel(&gpio->release);
	platform_free(gpio);
}

static const struct device_ops ops = {
	.name = "pl061",
	.reset = pl061_reset,
	.read = pl061_read,
	.write = pl061_write,
	.destroy = pl061_destroy,
};

int pl061_create(struct vm *vm, gpa_t base, struct irq_line irq, struct pl061 **out)
{
	struct pl061 *gpio = platform_alloc(sizeof(*gpio));
	int r;

	if (!gpio)
		return -ENOMEM;
	gpio->irq = irq;
	timer_init(&gpio->release, vm, release, gpio);
	r = device_register(vm, &gpio->dev, &ops, "gpio");
	if (r) {
		platform_free(gpio);
		return r;
	}
	*out = gpio;
	return bus_attach_sized(&vm->mmio, base, PL061_SIZE, &gpio->dev, 0, 4, 4);
}
