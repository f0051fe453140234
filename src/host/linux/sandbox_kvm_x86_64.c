/* Which requests to KVM a thread still makes after the sandbox has closed; see sandbox.h. What only the making of
 * a machine needs (KVM_CREATE_*, memory slots, CPUID, irqfds) is not here.
 */
#include "host/linux/sandbox.h"
#include <linux/kvm.h>

const unsigned long sandbox_kvm_vcpu[] = {
	KVM_RUN,
	KVM_GET_REGS,         KVM_SET_REGS,
	KVM_GET_SREGS,        KVM_SET_SREGS,
	KVM_GET_SREGS2,       KVM_SET_SREGS2,
	KVM_GET_FPU,          KVM_SET_FPU,
	KVM_GET_XSAVE,        KVM_SET_XSAVE,
	KVM_GET_XSAVE2,
	KVM_GET_XCRS,         KVM_SET_XCRS,
	KVM_GET_MSRS,         KVM_SET_MSRS,
	KVM_GET_VCPU_EVENTS,  KVM_SET_VCPU_EVENTS,
	KVM_GET_DEBUGREGS,    KVM_SET_DEBUGREGS,
	KVM_GET_MP_STATE,     KVM_SET_MP_STATE,
	KVM_GET_LAPIC,        KVM_SET_LAPIC,
	KVM_GET_TSC_KHZ,      KVM_SET_TSC_KHZ,
	KVM_SET_GUEST_DEBUG,
	KVM_INTERRUPT,        KVM_NMI,
	KVM_KVMCLOCK_CTRL,
	KVM_SIGNAL_MSI,       KVM_IRQ_LINE, /* devices raise interrupts from the vcpu that touched them */
	0,
};

const unsigned long sandbox_kvm_io[] = {
	KVM_SIGNAL_MSI,       KVM_IRQ_LINE,
	KVM_GET_IRQCHIP,      KVM_SET_IRQCHIP, /* machine reset */
	KVM_GET_PIT2,         KVM_SET_PIT2,
	KVM_GET_CLOCK,        KVM_SET_CLOCK,
	KVM_GET_DIRTY_LOG,
	0,
};
