/* The `kvm` engine: Linux's /dev/kvm with its in-kernel interrupt controllers.
 *
 * Shared by the architecture folders; engine.c is generic, x86_64/ knows registers and CPUID.
 */
#ifndef ENGINE_KVM_KVM_H
#define ENGINE_KVM_KVM_H

#include "core/engine.h"
#include "core/vm.h"
#include "host/linux/loop.h"
#include <linux/kvm.h>
#include <pthread.h>

#define KVM_FIRST_IRQFD_GSI 16
#define KVM_GSI_COUNT       24

#define KVM_MAX_DOORBELLS   128

/* An ioeventfd: the guest's write becomes an eventfd's count, which the I/O thread waits for. */
struct kvm_doorbell {
	struct watch watch;
	const struct doorbell *doorbell;
};

struct kvm_power_on;

struct kvm_vm {
	int kvm_fd, vm_fd;
	size_t run_size;
	/* An eventfd each for the GSIs that only virtio uses (edges): -1 where there is none. */
	int irqfd[KVM_GSI_COUNT];
	struct kvm_doorbell doorbells[KVM_MAX_DOORBELLS];
	unsigned doorbell_count;
	int guest_debug; /* KVM_GUESTDBG_* bits that this KVM knows, as far as it says */
	struct kvm_cpuid2 *supported;
	struct kvm_power_on *power_on; /* x86_64/reset.c: the controllers as KVM made them */
};

struct kvm_vcpu {
	int fd;
	pthread_t thread;
	struct kvm_run *run;
	unsigned io_done;   /* string I/O: elements already handed out */
	struct kvm_lapic_state *power_on_lapic;
	bool io_pending;    /* the exit handed out last wants its result back */
	char reason[96];    /* VM_EXIT_FAIL */
};

extern const struct engine_ops kvm_engine;

/* x86_64/ */
/* Records the state of the in-kernel controllers, to go back to it in a machine reset. */
int kvm_arch_save_power_on(struct vm *vm) must_check;
int kvm_arch_save_vcpu_power_on(struct vcpu *vcpu) must_check;
void kvm_arch_vm_reset(struct vm *vm);
int kvm_arch_vcpu_reset(struct vcpu *vcpu) must_check;
int kvm_arch_vm_init(struct vm *vm, char *why, size_t why_size) must_check;
int kvm_arch_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size) must_check;
int kvm_arch_get_state(struct vcpu *vcpu, union arch_state *state) must_check;
int kvm_arch_set_state(struct vcpu *vcpu, const union arch_state *state) must_check;
void kvm_arch_cpuid_filter(struct vm *vm);
uint64_t kvm_arch_tsc_hz(struct vm *vm);
int kvm_arch_debug(struct vcpu *vcpu) must_check;
int kvm_arch_debug_check(const struct debug_point *points, unsigned count) must_check;
/* KVM_EXIT_DEBUG: false if it is not for a debugger, but for the guest, which has it now. */
bool kvm_arch_debug_exit(struct vcpu *vcpu, struct vm_exit *exit);

#endif
