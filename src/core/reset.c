/* Machine reset: all vcpus park, the I/O thread rebuilds the machine, all go on. The picture is in vm.h.
 *
 * Example, in a device: `vm_stop(dev->vm, VM_STOP_RESET, 0);`
 */
#include "core/reset.h"
#include "core/platform.h"
#include "core/vm.h"
#include <stdatomic.h>

void vm_set_reset(struct vm *vm, int (*reset)(void *ctx), void *ctx)
{
	vm->reset = reset;
	vm->reset_ctx = ctx;
}

void vm_reset_request(struct vm *vm)
{
	if (atomic_exchange(&vm->reset_pending, true))
		return;
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_RESET);
}

void vm_reset_arrive(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	/* HELD first: at no moment is the vcpu free to go. */
	atomic_fetch_or(&vcpu->request, VCPU_REQ_HELD);
	vcpu_take_request(vcpu, VCPU_REQ_RESET);
	if (atomic_fetch_add(&vm->reset_arrived, 1) + 1 == vm->vcpu_count)
		work_post(&vm->reset_work);
}

void vm_reset_run(void *ctx)
{
	struct vm *vm = ctx;
	int r = -1;

	if (atomic_load(&vm->stop_reason) != VM_STOP_NONE)
		return;
	if (vm->engine->vm_reset)
		vm->engine->vm_reset(vm);
	if (vm->reset)
		r = vm->reset(vm->reset_ctx);
	if (r < 0) {
		vm_stop(vm, VM_STOP_HOST_ERROR, 0);
		return;
	}
	/* Before the first vcpu goes on: it may ask for the next reset at once. Vcpus that are still held
	 * then arrive for it when their hold ends, since that changes the word they sleep on. */
	atomic_store(&vm->reset_arrived, 0);
	atomic_store(&vm->reset_pending, false);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		atomic_fetch_and(&vm->vcpus[i]->request, ~(uint32_t)VCPU_REQ_HELD);
		platform_wake(&vm->vcpus[i]->request, true);
	}
}
