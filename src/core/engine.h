/* The engine seam: what executes a vcpu's instructions.
 *
 * Who owns the registers: between vcpu_init and vcpu_destroy the engine holds them. They may be read
 * and written through get_state/set_state only by the vcpu's own thread outside run(), or by any
 * thread while the vcpu is known to be out of its engine (vm_pause()).
 */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include "base/types.h"

struct vm;
struct vcpu;
struct vm_exit;
struct doorbell;
struct stats_sink;
struct profile_sink;
struct debug_point;
union arch_state; /* arch/state.h */

/* Of the guest: an engine executes one, a board is a machine of one. */
enum guest_arch { GUEST_X86_64, GUEST_AARCH64 };

struct engine_ops {
	const char *name;  /* "interp", "dbt", "kvm": once for each architecture */
	enum guest_arch arch;
	const char *about; /* one line for `ruse engines` */
	bool translates;    /* tells vm->translations of the code that it makes */
	bool shared_memory; /* guest RAM must be a shared mapping: the engine maps it again */

	/* Can this host run it? 0, or -errno with one sentence in why (why and what would change it). */
	int (*probe)(char *why, size_t why_size);

	/* vm_init: after guest memory has its slots. On failure one sentence in why, nothing left
	 * behind. Engine-private data hangs off vm->engine_vm and vcpu->engine_vcpu. */
	int (*vm_init)(struct vm *vm, char *why, size_t why_size);
	void (*vm_destroy)(struct vm *vm);
	/* Called on the vcpu's own thread. */
	int (*vcpu_init)(struct vcpu *vcpu, char *why, size_t why_size);
	void (*vcpu_destroy)(struct vcpu *vcpu);

	/* Runs until there is an exit. On entry *exit is what the last run() returned, with the
	 * dispatcher's results; VM_EXIT_INTERRUPTED the first time. 0 or -errno (host failure). */
	int (*run)(struct vcpu *vcpu, struct vm_exit *exit);

	int (*get_state)(struct vcpu *vcpu, union arch_state *state);
	/* Replaces everything, a half-done instruction too: the next run() is given VM_EXIT_INTERRUPTED. */
	int (*set_state)(struct vcpu *vcpu, const union arch_state *state);

	/* Optional, machine reset: what is not in arch_state (controllers inside the engine, pending events)
	 * returns to power-on. vm_reset: I/O thread, all vcpus parked. vcpu_reset: own thread, just before
	 * set_state. */
	void (*vm_reset)(struct vm *vm);
	int (*vcpu_reset)(struct vcpu *vcpu);

	/* Makes run() return soon (a request bit was set first). Any thread. */
	void (*kick)(struct vcpu *vcpu);

	/* Memory that a vcpu may have cached code of, or translations to, has changed. Any thread. */
	void (*invalidate)(struct vm *vm, gpa_t gpa, uint64_t len);

	/* Dirty log: optional; an engine without it writes through mem_slot.dirty itself. */
	int (*dirty_sync)(struct vm *vm);

	/* Optional: the engine brings its own interrupt controllers (KVM's in-kernel LAPIC, IOAPIC, PIC,
	 * PIT). When these are NULL the board makes the devices of dev/irq and dev/timer instead. */
	void (*irq_set)(struct vm *vm, unsigned gsi, int level);
	void (*msi_send)(struct vm *vm, uint64_t address, uint32_t data);
	/* Optional: rings the doorbell without a trip through dispatch (ioeventfd). */
	int (*doorbell_attach)(struct vm *vm, struct doorbell *doorbell);
	/* Optional: CPUID leaves the engine can give; filters the table of arch/x86_64/cpuid.h. */
	void (*cpuid_filter)(struct vm *vm);
	/* Optional, x86: the frequency of the TSC that guests of this engine see, in Hz; 0 or no hook: vm_tsc()'s. */
	uint64_t (*tsc_hz)(struct vm *vm);
	/* Optional: guest instructions executed so far by this vcpu (statistics). */
	uint64_t (*instructions)(const struct vcpu *vcpu);
	/* Optional: figures of the engine's own (core/stats.h). After the run, or from any thread meanwhile: what is being counted may be
	 * a little old then. */
	void (*report)(struct vcpu *vcpu, struct stats_sink *sink);
	/* Optional: somebody begins or ceases to look at the figures of a running vcpu: whether to take those that cost something.
	 * One thread, not the vcpu's. */
	void (*measure)(struct vcpu *vcpu, bool on);
	/* Optional: how translations are kept from one run to the next (core/translation.h). */
	const struct translation_keeper *keeper;
	/* Optional: the points of vm->debug, and whether this vcpu is to step, have changed. Own thread, outside of run(). Without the
	 * hook there is no debugging. Of a run() that steps: one instruction, or the delivery of an exception that it raises. */
	int (*debug)(struct vcpu *vcpu);
	/* Optional: can it have all these points at the same time? -ENOSPC, -EINVAL. I/O thread. */
	int (*debug_check)(const struct debug_point *points, unsigned count);
	/* Optional: where the time went, if vm->profile asks (core/profile.h). Own thread, before vcpu_destroy. */
	void (*profile)(struct vcpu *vcpu, struct profile_sink *sink);
	/* Optional: gives what it still has to vm->block_counts, if that is there (core/block_counts.h). Likewise. */
	void (*count_blocks)(struct vcpu *vcpu);
};

/* All engines of this build, best first, NULL at the end (engine/engines.c). */
extern const struct engine_ops *const engines[];
/* The engine of this name for guests of arch, or NULL. */
const struct engine_ops *engine_find(const char *name, enum guest_arch arch);
/* Is there one of this name for any architecture? */
bool engine_known(const char *name);
/* "x86_64", "aarch64". */
const char *guest_arch_name(enum guest_arch arch);

#endif
