/* Barriers; see barrier.h. Each has a number, and each processor the highest number that was there when it passed.
 *
 * Example: numbers 4 and 5 wait; the processors have passed 5 and 4: barrier 4 is over.
 */
#include "core/barrier.h"
#include "core/platform.h"
#include "core/vm.h"
#include <stdatomic.h>

static uint64_t lowest_passed(const struct vm *vm)
{
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		uint64_t passed = atomic_load(&vm->vcpus[i]->barrier_passed);

		if (passed < lowest)
			lowest = passed;
	}
	return lowest;
}

/* The first that is over, taken off the list; or NULL. */
static struct vm_barrier *take_over(struct vm *vm)
{
	const uint64_t lowest = lowest_passed(vm);

	for (struct vm_barrier **link = &vm->barriers; *link; link = &(*link)->next) {
		struct vm_barrier *barrier = *link;

		if (barrier->ticket <= lowest) {
			*link = barrier->next;
			return barrier;
		}
	}
	return NULL;
}

static void on_work(void *ctx)
{
	struct vm *vm = ctx;
	struct vm_barrier *barrier;

	while ((barrier = take_over(vm)))
		barrier->passed(barrier->ctx);
}

void vm_barrier_init(struct vm *vm)
{
	work_init(&vm->barrier_work, vm, on_work, vm);
}

void vm_barrier_begin(struct vm *vm, struct vm_barrier *barrier)
{
	/* What was done before is seen by whoever sees the number. */
	barrier->ticket = atomic_fetch_add(&vm->barrier_ticket, 1) + 1;
	barrier->next = vm->barriers;
	vm->barriers = barrier;
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_BARRIER);
}

void vm_barrier_cancel(struct vm *vm, struct vm_barrier *barrier)
{
	for (struct vm_barrier **link = &vm->barriers; *link; link = &(*link)->next) {
		if (*link == barrier) {
			*link = barrier->next;
			return;
		}
	}
}

void vcpu_pass_barrier(struct vcpu *vcpu)
{
	if (!vcpu_take_request(vcpu, VCPU_REQ_BARRIER))
		return;
	atomic_store(&vcpu->barrier_passed, atomic_load(&vcpu->vm->barrier_ticket));
	work_post(&vcpu->vm->barrier_work);
}
