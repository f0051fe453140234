/* Devices that are unplugged while the machine runs: freed once no processor can be in an access to them.
 *
 * Example: `pci_detach(function); device_retire(&function->dev, on_gone, plug);`
 */
#include "core/device.h"
#include "core/vm.h"

static void on_passed(void *ctx)
{
	struct device *dev = ctx;
	struct device **link = &dev->vm->retired;
	void (*gone)(void *gone_ctx) = dev->gone;
	void *gone_ctx = dev->gone_ctx;

	while (*link != dev)
		link = &(*link)->retired_next;
	*link = dev->retired_next;
	if (dev->ops->destroy)
		dev->ops->destroy(dev);
	if (gone)
		gone(gone_ctx);
}

void device_retire(struct device *dev, void (*gone)(void *ctx), void *ctx)
{
	struct vm *vm = dev->vm;
	unsigned at = 0;

	while (at < vm->device_count && vm->devices[at] != dev)
		at++;
	BUG_ON(at == vm->device_count);
	vm->device_count--;
	/* The others keep their order, in which they are reset. */
	for (; at < vm->device_count; at++)
		vm->devices[at] = vm->devices[at + 1];
	dev->gone = gone;
	dev->gone_ctx = ctx;
	dev->retired_next = vm->retired;
	vm->retired = dev;
	dev->barrier.passed = on_passed;
	dev->barrier.ctx = dev;
	vm_barrier_begin(vm, &dev->barrier);
}

void devices_free_retired(struct vm *vm)
{
	while (vm->retired) {
		struct device *dev = vm->retired;

		vm->retired = dev->retired_next;
		if (dev->ops->destroy)
			dev->ops->destroy(dev);
	}
}
