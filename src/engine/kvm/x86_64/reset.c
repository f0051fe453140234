/* Machine reset: the kernel's interrupt controllers, timers and para-virtual MSRs return to what they were when KVM
 * made them. See engine_ops.vm_reset and vcpu_reset.
 */
#include "base/errno.h"
#include "core/platform.h"
#include "engine/kvm/kvm.h"
#include <sys/ioctl.h>

struct kvm_power_on {
	struct kvm_irqchip chips[3]; /* two 8259s, the IOAPIC */
	struct kvm_pit_state2 pit;
};

int kvm_arch_save_power_on(struct vm *vm)
{
	struct kvm_vm *kvm = vm->engine_vm;

	kvm->power_on = platform_alloc(sizeof(*kvm->power_on));
	if (!kvm->power_on)
		return -ENOMEM;
	for (uint32_t chip = 0; chip < ARRAY_SIZE(kvm->power_on->chips); chip++) {
		kvm->power_on->chips[chip].chip_id = chip;
		if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &kvm->power_on->chips[chip]) < 0)
			return -errno;
	}
	return ioctl(kvm->vm_fd, KVM_GET_PIT2, &kvm->power_on->pit) < 0 ? -errno : 0;
}

int kvm_arch_save_vcpu_power_on(struct vcpu *vcpu)
{
	struct kvm_vcpu *kv = vcpu->engine_vcpu;

	kv->power_on_lapic = platform_alloc(sizeof(*kv->power_on_lapic));
	if (!kv->power_on_lapic)
		return -ENOMEM;
	return ioctl(kv->fd, KVM_GET_LAPIC, kv->power_on_lapic) < 0 ? -errno : 0;
}

void kvm_arch_vm_reset(struct vm *vm)
{
	const struct kvm_vm *kvm = vm->engine_vm;

	for (unsigned chip = 0; chip < ARRAY_SIZE(kvm->power_on->chips); chip++) {
		if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &kvm->power_on->chips[chip]) < 0)
			log_error("kvm", "interrupt controller %u does not reset (error %d)", chip, errno);
	}
	if (ioctl(kvm->vm_fd, KVM_SET_PIT2, &kvm->power_on->pit) < 0)
		log_error("kvm", "the PIT does not reset (error %d)", errno);
}

/* What the guest may have told KVM to write into its memory: that memory is another kernel's now. Those that this KVM
 * does not know are skipped. */
static const uint32_t reset_msrs[] = {
	0x4b564d01 /* system time */,	   0x12 /* the same, old */, 0x4b564d02 /* asynchronous page faults */,
	0x4b564d03 /* steal time */,	   0x4b564d04 /* EOI */,     0x6e0 /* IA32_TSC_DEADLINE */,
};

int kvm_arch_vcpu_reset(struct vcpu *vcpu)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	/* Nothing is being delivered. */
	const struct kvm_vcpu_events events = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW};

	for (unsigned i = 0; i < ARRAY_SIZE(reset_msrs); i++) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry entry;
		} msr = {.head.nmsrs = 1, .entry.index = reset_msrs[i]};

		(void)ioctl(kv->fd, KVM_SET_MSRS, &msr);
	}
	if (ioctl(kv->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return -errno;
	return ioctl(kv->fd, KVM_SET_LAPIC, kv->power_on_lapic) < 0 ? -errno : 0;
}
