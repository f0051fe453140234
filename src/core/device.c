/* The list of a machine's devices.
 *
 * Example: `r = device_register(vm, &uart->dev, &uart_ops, "serial0");`
 */
#include "core/device.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "core/vm.h"

int device_register(struct vm *vm, struct device *dev, const struct device_ops *ops, const char *id)
{
	if (vm->device_count == VM_MAX_DEVICES)
		return -ENOSPC;
	dev->ops = ops;
	dev->vm = vm;
	dev->lock = (struct lock){0};
	fmt_print(dev->id, sizeof(dev->id), "%s", id);
	vm->devices[vm->device_count++] = dev;
	return 0;
}

static bool is_called(const struct device *dev, const char *id)
{
	unsigned i = 0;

	while (dev->id[i] && dev->id[i] == id[i])
		i++;
	return dev->id[i] == id[i];
}

struct device *device_find(const struct vm *vm, const char *id)
{
	for (unsigned i = 0; i < vm->device_count; i++)
		if (is_called(vm->devices[i], id))
			return vm->devices[i];
	return NULL;
}

void devices_stats(const struct vm *vm, struct stats_sink *sink)
{
	for (unsigned i = 0; i < vm->device_count; i++)
		if (vm->devices[i]->ops->stats)
			vm->devices[i]->ops->stats(vm->devices[i], sink);
}

void devices_reset(struct vm *vm)
{
	for (unsigned i = 0; i < vm->device_count; i++) {
		struct device *dev = vm->devices[i];

		if (!dev->ops->reset)
			continue;
		lock_take(&dev->lock);
		dev->ops->reset(dev);
		lock_release(&dev->lock);
	}
}
