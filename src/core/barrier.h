/* Waiting until no processor is in the middle of an access to a device, without stopping any: so a device that has been taken off its
 * bus can be freed or reset.
 *
 * Example, on the I/O thread:
 *     bus_unmap(&vm->mmio, base, dev);                // nobody finds it from now on; somebody may have found it before
 *     barrier->passed = free_it; barrier->ctx = dev;
 *     vm_barrier_begin(vm, barrier);                  // later, on the I/O thread: free_it(dev)
 */
#ifndef CORE_BARRIER_H
#define CORE_BARRIER_H

#include "base/types.h"

struct vm;
struct vcpu;

struct vm_barrier {
	void (*passed)(void *ctx); /* I/O thread, no lock held; may free the barrier */
	void *ctx;
	uint64_t ticket;         /* barrier.c's */
	struct vm_barrier *next; /* the same */
};

/* Calls passed() once each processor has been between two instructions. If the VM stops before, it is not called. I/O thread. */
void vm_barrier_begin(struct vm *vm, struct vm_barrier *barrier);
/* Takes it back: passed() is not called. I/O thread. */
void vm_barrier_cancel(struct vm *vm, struct vm_barrier *barrier);

/* For vm_create(). */
void vm_barrier_init(struct vm *vm);
/* For the loop of a processor, between two instructions: says that it is. */
void vcpu_pass_barrier(struct vcpu *vcpu);

#endif
