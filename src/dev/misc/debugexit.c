/* isa-debug-exit; see debugexit.h.
 *
 * Example: `outl(0x10, 0xf4)` ends the process with status 33.
 */
#include "dev/misc/debugexit.h"
#include "base/errno.h"
#include "core/platform.h"

#define PORT_COUNT 4

static uint64_t debugexit_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	return 0;
}

static void debugexit_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	vm_stop(dev->vm, VM_STOP_DEBUG_EXIT, (int)((uint32_t)value << 1 | 1));
}

static void debugexit_destroy(struct device *dev)
{
	platform_free(dev);
}

static const struct device_ops ops = {
	.name = "isa-debug-exit",
	.read = debugexit_read,
	.write = debugexit_write,
	.destroy = debugexit_destroy,
};

int debugexit_create(struct vm *vm, uint16_t port)
{
	struct device *dev = platform_alloc(sizeof(*dev));
	int r;

	if (!dev)
		return -ENOMEM;
	r = device_register(vm, dev, &ops, "debug-exit");
	if (r) {
		platform_free(dev);
		return r;
	}
	return bus_attach_sized(&vm->pio, port, PORT_COUNT, dev, 0, 1, 4);
}
