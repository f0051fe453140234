/* pvpanic; see pvpanic.h, and QEMU's docs/specs/pvpanic.
 *
 * Example: Linux's pvpanic driver writes 1 to port 0x505 from its panic notifier.
 */
#include "dev/misc/pvpanic.h"
#include "base/errno.h"
#include "base/log.h"
#include "core/platform.h"

#define PVPANIC_PANICKED    (1u << 0)
#define PVPANIC_CRASHLOADED (1u << 1)

static uint64_t pvpanic_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	return PVPANIC_PANICKED | PVPANIC_CRASHLOADED; /* the events that are understood */
}

static void pvpanic_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	if (value & PVPANIC_PANICKED)
		vm_stop(dev->vm, VM_STOP_PANIC, 0);
	else if (value & PVPANIC_CRASHLOADED)
		log_guest("pvpanic", "the guest panicked and runs its crash kernel");
}

static void pvpanic_destroy(struct device *dev)
{
	platform_free(dev);
}

static const struct device_ops ops = {
	.name = "pvpanic",
	.read = pvpanic_read,
	.write = pvpanic_write,
	.destroy = pvpanic_destroy,
};

int pvpanic_create(struct vm *vm, uint16_t port)
{
	struct device *dev = platform_alloc(sizeof(*dev));
	int r;

	if (!dev)
		return -ENOMEM;
	r = device_register(vm, dev, &ops, "pvpanic");
	if (r) {
		platform_free(dev);
		return r;
	}
	return bus_attach_sized(&vm->pio, port, 1, dev, 0, 1, 1);
}
