/* kvmclock for engines that aren't KVM: the guest reads the time as a linear function of its TSC, which it finds in a
 * page of its own that it named by an MSR (Linux Documentation/virt/kvm/x86/msr.rst; CPUID 0x40000001 bits 0, 3, 24).
 *
 * Example: `r = kvm_clock_create(vm);`   (with KVM's own engine it is harmless: those MSRs never come out)
 *
 * System time is the platform clock since vm->clock_base_ns. The TSC is that same clock, scaled, plus the vcpu's offset,
 * so the function is: time 0 at TSC = offset. It is written once, and again only when a vcpu's offset changes; it is the
 * same on all vcpus, hence "stable".
 */
#ifndef PV_KVM_CLOCK_H
#define PV_KVM_CLOCK_H

#include "base/types.h"

struct vm;

/* Registers the MSRs; vm->cpuid is there. Freed with the VM's devices. */
int kvm_clock_create(struct vm *vm) must_check;

#endif
