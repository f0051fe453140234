/* ACPI power management registers; see acpi_pm.h.
 *
 * Example: `outb(ACPI_PM_S5 << 2 | 0x20, 0x600)` powers the machine off.
 */
#include "dev/misc/acpi_pm.h"
#include "base/errno.h"
#include "core/platform.h"

#define SLEEP_TYPE(value) ((value) >> 2 & 7)
#define SLEEP_ENABLE      (1u << 5)

enum region { REGION_BYTES, REGION_EVENT };

struct acpi_pm {
	struct device dev;
	struct irq_line irq;
	uint32_t events;
};

static uint64_t pm_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);
	uint32_t events = pm->events;

	if (region == REGION_BYTES)
		return 0;
	pm->events = 0;
	irq_set(&pm->irq, 0);
	return events;
}

static void pm_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	if (region != REGION_BYTES)
		return;
	if (offset == ACPI_PM_SLEEP_CONTROL && value & SLEEP_ENABLE && SLEEP_TYPE(value) == ACPI_PM_S5)
		vm_stop(dev->vm, VM_STOP_POWEROFF, 0);
	else if (offset == ACPI_PM_RESET && value == ACPI_PM_RESET_VALUE)
		vm_stop(dev->vm, VM_STOP_RESET, 0);
}

static void pm_reset(struct device *dev)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	pm->events = 0;
	irq_set(&pm->irq, 0);
}

static void pm_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct acpi_pm, dev));
}

static const struct device_ops ops = {
	.name = "acpi-pm",
	.reset = pm_reset,
	.read = pm_read,
	.write = pm_write,
	.destroy = pm_destroy,
};

void acpi_pm_power_button(struct acpi_pm *pm)
{
	lock_take(&pm->dev.lock);
	pm->events |= ACPI_PM_EVENT_POWER_BUTTON;
	irq_set(&pm->irq, 1);
	lock_release(&pm->dev.lock);
}

int acpi_pm_create(struct vm *vm, uint16_t port, struct irq_line irq, struct acpi_pm **out)
{
	struct acpi_pm *pm = platform_alloc(sizeof(*pm));
	int r;

	if (!pm)
		return -ENOMEM;
	pm->irq = irq;
	r = device_register(vm, &pm->dev, &ops, "acpi-pm");
	if (r) {
		platform_free(pm);
		return r;
	}
	*out = pm;
	r = bus_attach_sized(&vm->pio, port, ACPI_PM_EVENT, &pm->dev, REGION_BYTES, 1, 1);
	return r ? r : bus_attach_sized(&vm->pio, port + ACPI_PM_EVENT, 4, &pm->dev, REGION_EVENT, 4, 4);
}
