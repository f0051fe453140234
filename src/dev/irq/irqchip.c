/* Interrupt wiring; see irqchip.h.
 *
 * Example: `struct irq_line line = irqchip_line(chip, 4);`   `irq_set(&line, 1);`
 */
#include "dev/irq/irqchip.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/irq/ioapic.h"
#include "dev/irq/lapic.h"
#include "dev/irq/pic.h"

#define PIT_IOAPIC_PIN 2
#define CASCADE        2
#define PIC_INPUTS     16

struct irqchip {
	struct device dev;
	struct ioapic *ioapic; /* NULL: the engine's controllers */
	struct pic *pic;
};

/* Lock order: the PIC's is held here; the IOAPIC's is taken. Pin 0 is where a PC has the 8259's INTR. */
static void pic_changed(void *ctx, bool level)
{
	struct irqchip *chip = ctx;

	lapic_pic_output(chip->dev.vm, level);
	ioapic_set(chip->ioapic, 0, level);
}

static void set_gsi(void *ctx, unsigned gsi, int level)
{
	struct irqchip *chip = ctx;
	struct vm *vm = chip->dev.vm;

	if (!chip->ioapic) {
		vm->engine->irq_set(vm, gsi, level);
		return;
	}
	if (gsi < PIC_INPUTS && gsi != CASCADE)
		pic_set(chip->pic, gsi, level);
	ioapic_set(chip->ioapic, gsi == 0 ? PIT_IOAPIC_PIN : gsi, level);
}

struct irq_line irqchip_line(struct irqchip *chip, unsigned gsi)
{
	if (gsi >= IRQCHIP_GSI_COUNT)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_gsi, .ctx = chip, .pin = gsi};
}

void irqchip_msi(struct irqchip *chip, uint64_t address, uint32_t data)
{
	struct vm *vm = chip->dev.vm;

	if (chip->ioapic)
		lapic_msi(vm, address, data);
	else
		vm->engine->msi_send(vm, address, data);
}

static void irqchip_reset(struct device *dev)
{
	struct irqchip *chip = container_of(dev, struct irqchip, dev);

	if (chip->ioapic)
		lapics_reset(dev->vm);
}

static void irqchip_destroy(struct device *dev)
{
	struct irqchip *chip = container_of(dev, struct irqchip, dev);

	if (chip->ioapic)
		lapics_destroy(dev->vm);
	platform_free(chip);
}

/* It sits on no bus; being a device gives it its reset and its end. */
static const struct device_ops ops = {
	.name = "irqchip",
	.reset = irqchip_reset,
	.destroy = irqchip_destroy,
};

static int create_controllers(struct vm *vm, struct irqchip *chip)
{
	struct ioapic *ioapic;
	int r = ioapic_create(vm, IOAPIC_DEFAULT_BASE, &ioapic);

	if (r)
		return r;
	r = pic_create(vm, pic_changed, chip, &chip->pic);
	if (r)
		return r;
	r = lapics_create(vm, ioapic_eoi, ioapic, chip->pic);
	if (r)
		return r;
	chip->ioapic = ioapic;
	return 0;
}

int irqchip_create(struct vm *vm, struct irqchip **out)
{
	struct irqchip *chip = platform_alloc(sizeof(*chip));
	int r;

	if (!chip)
		return -ENOMEM;
	r = device_register(vm, &chip->dev, &ops, "irqchip");
	if (r) {
		platform_free(chip);
		return r;
	}
	*out = chip;
	if (vm->engine->irq_set && vm->engine->msi_send)
		return 0;
	return create_controllers(vm, chip);
}
