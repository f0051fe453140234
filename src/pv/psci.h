/* Arm's Power State Coordination Interface 1.1 (DEN 0022) and what of the SMC Calling Convention (DEN 0028) tells of it: how an AArch64
 * guest starts and stops its processors and the machine.
 *
 * Example, in a board:
 *     static const struct psci_hooks hooks = {.start = start_state, .stop = stop_state};
 *     r = psci_create(vm, &hooks);         // sets vm->hypercall: HVC with the number in x0, arguments in x1 to x3
 *
 * Processor 0 is on at first, the others are off: they wait as VCPU_WAIT_SIPI. What is not there answers NOT_SUPPORTED.
 */
#ifndef PV_PSCI_H
#define PV_PSCI_H

#include "base/types.h"

struct vm;
union arch_state;

/* What PSCI must do to a processor's state; const. */
struct psci_hooks {
	/* The state of processor `index` that begins at entry with context in x0. */
	void (*start)(union arch_state *state, unsigned index, uint64_t entry, uint64_t context);
	/* The state of one that has switched itself off: vcpu_arch_ops.run_state() says VCPU_WAIT_SIPI of it. */
	void (*stop)(union arch_state *state);
};

/* A device of the vm, for its reset. -ENOMEM, -ENOSPC. */
int psci_create(struct vm *vm, const struct psci_hooks *hooks) must_check;

#endif
