/* One virtual machine: made, paused, stopped.
 *
 * Example: `vm_stop(vm, VM_STOP_POWEROFF, 0);`
 */
#include "core/vm.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/reset.h"
#include <stdatomic.h>

struct vm *vm_create(const struct vm_params *params)
{
	struct vm *vm = platform_alloc(sizeof(*vm));

	if (!vm)
		return NULL;
	if (vcpus_create(vm, params->cpus) < 0) {
		platform_free(vm);
		return NULL;
	}
	vm->config = params->config;
	vm->engine = params->engine;
	vm->no_reboot = params->no_reboot;
	vm->platform = params->platform;
	vm->clock_base_ns = platform_clock_ns();
	atomic_store(&vm->trace, params->trace);
	work_init(&vm->reset_work, vm, vm_reset_run, vm);
	vm_barrier_init(vm);
	return vm;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	while (vm->device_count > 0) {
		struct device *dev = vm->devices[--vm->device_count];

		if (dev->ops->destroy)
			dev->ops->destroy(dev);
	}
	devices_free_retired(vm);
	vcpus_destroy(vm);
	mem_destroy(&vm->mem);
	platform_free(vm);
}

void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code)
{
	uint32_t none = VM_STOP_NONE;

	if (reason == VM_STOP_NONE)
		return;
	if (reason == VM_STOP_RESET && !vm->no_reboot) {
		vm_reset_request(vm);
		return;
	}
	if (!atomic_compare_exchange_strong(&vm->stop_reason, &none, reason))
		return;
	vm->stop_code = code;
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_STOP);
	platform_vm_stopped(vm);
}

void vm_pause(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_PAUSE);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct vcpu *vcpu = vm->vcpus[i];

		while (!atomic_load(&vcpu->parked))
			platform_wait(&vcpu->parked, 0, UINT64_MAX);
	}
}

void vm_resume(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		atomic_fetch_and(&vm->vcpus[i]->request, ~(uint32_t)VCPU_REQ_PAUSE);
		platform_wake(&vm->vcpus[i]->request, true);
	}
}

bool vm_paused(const struct vm *vm)
{
	return atomic_load(&vm->vcpus[0]->request) & VCPU_REQ_PAUSE;
}

int msr_handler_register(struct vm *vm, const struct msr_handler *handler)
{
	unsigned at = vm->msr_handler_count;

	if (handler->last < handler->first)
		return -EINVAL;
	for (unsigned i = 0; i < vm->msr_handler_count; i++) {
		const struct msr_handler *other = &vm->msr_handlers[i];

		if (handler->first <= other->last && other->first <= handler->last) {
			log_error("msr", "handlers for 0x%x-0x%x and 0x%x-0x%x overlap", handler->first,
				  handler->last, other->first, other->last);
			return -EEXIST;
		}
	}
	if (at == VM_MAX_MSR_HANDLERS)
		return -ENOSPC;
	for (; at > 0 && vm->msr_handlers[at - 1].first > handler->first; at--)
		vm->msr_handlers[at] = vm->msr_handlers[at - 1];
	vm->msr_handlers[at] = *handler;
	vm->msr_handler_count++;
	return 0;
}
