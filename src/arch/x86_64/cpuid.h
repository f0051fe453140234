/* What the guest is told by CPUID, as data, and what follows from it for instructions and MSRs.
 *
 * The table is built once for a VM (all vcpus; per-vcpu fields such as the APIC id are patched in by
 * x86_cpuid_read), then narrowed by engine_ops.cpuid_filter, then fixed.
 */
#ifndef ARCH_X86_64_CPUID_H
#define ARCH_X86_64_CPUID_H

#include "arch/x86_64/decode.h"
#include "arch/x86_64/state.h"

#define X86_CPUID_MAX 80

#define X86_APIC_HZ 1000000000u /* input clock of the LAPIC timer and CPUID 0x15's crystal: KVM's too */

/* The standard (non-compacted) XSAVE layout: where each component of XCR0 lies (CPUID 0xd). */
#define X86_XSAVE_AVX_OFFSET  576
#define X86_XSAVE_AVX_SIZE    256
#define X86_XSAVE_PKRU_OFFSET 832
#define X86_XSAVE_PKRU_SIZE   8

/* What can be chosen, by the names of Linux's /proc/cpuinfo: cpu_features.def is the table. */
enum x86_cpu_feature_id {
	X86_CPU_none,
#define X86_CPU_FEATURE(name, ...) X86_CPU_##name,
#include "arch/x86_64/cpu_features.def"
#undef X86_CPU_FEATURE
	X86_CPU_FEATURE_COUNT
};

/* Which processor models (cpu_model.h) have it. */
enum x86_cpu_level {
	X86_CPU_LEVEL_ALWAYS, /* every x86-64 processor: can't be taken away, the engines don't ask for it */
	X86_CPU_LEVEL_SYSTEM, /* for kernels, or only a hint: every model has it if the engine has it */
	X86_CPU_LEVEL_V2,     /* instructions for programs, from this level of the x86-64 psABI on */
	X86_CPU_LEVEL_V3,
	X86_CPU_LEVEL_HOST,   /* instructions for programs that are of no level */
	X86_CPU_LEVEL_ABSENT, /* known, but no engine offers it */
};

struct x86_cpu_feature {
	const char *name;
	uint32_t leaf;
	uint8_t subleaf, reg, bit; /* reg: 0 EAX, 1 EBX, 2 ECX, 3 EDX */
	uint8_t level;             /* enum x86_cpu_level */
	uint8_t feature;           /* enum x86_feature: the instructions that are #UD without it; or BASE */
	uint32_t cr4;              /* CR4 bits that are reserved without it */
	uint8_t needs[2];          /* enum x86_cpu_feature_id: without these it is not offered either */
};
/* [X86_CPU_none] is empty. */
extern const struct x86_cpu_feature x86_cpu_features[X86_CPU_FEATURE_COUNT];

struct x86_cpuid_entry {
	uint32_t leaf, subleaf;
	bool has_subleaf;
	uint32_t eax, ebx, ecx, edx;
};

struct x86_cpuid_table {
	struct x86_cpuid_entry entries[X86_CPUID_MAX];
	unsigned count;
	unsigned vcpu_count;
	bool features[X86_FEATURE_COUNT]; /* which instruction groups are offered */
	uint64_t tsc_hz;                  /* CPUID 0x15 and the hypervisor timing leaf 0x40000010 */
	uint64_t apic_hz;                 /* LAPIC timer input clock */
	unsigned physical_bits;
	/* Reserved-bit masks that follow from the features: */
	uint64_t cr4_valid;
	uint64_t efer_valid;
	uint64_t xcr0_valid;
};

struct x86_cpuid_result {
	uint32_t eax, ebx, ecx, edx;
};

/* Full table of what `interp` implements: x86-64-v3 and more, hypervisor leaves (signature KVMKVMKVM with the
 * features that pv/kvm implements), topology for vcpu_count (one package, one thread a core). */
void x86_cpuid_build(struct x86_cpuid_table *table, unsigned vcpu_count, uint64_t tsc_hz);

/* Does the table have the feature's bit? (Of none: true.) Takes it away; x86_cpuid_derive() does the rest. */
bool x86_cpuid_offers(const struct x86_cpuid_table *table, enum x86_cpu_feature_id id);
void x86_cpuid_remove(struct x86_cpuid_table *table, enum x86_cpu_feature_id id);

/* Makes the table consistent after bits were taken away: takes away what needs them, fits the XSAVE leaf 0xd, and
 * recomputes features[], cr4_valid, efer_valid, xcr0_valid and physical_bits. To be called after
 * engine_ops.cpuid_filter. */
void x86_cpuid_derive(struct x86_cpuid_table *table);

/* The TSC's frequency is another one than x86_cpuid_build() was given: an engine with the hardware's TSC calls this
 * from its cpuid_filter. */
void x86_cpuid_set_tsc_hz(struct x86_cpuid_table *table, uint64_t tsc_hz);

/* CPUID as this vcpu executes it: out-of-range leaves as the SDM says; dynamic bits (APIC id, OSXSAVE, OSPKE,
 * APIC enable, SYSCALL outside 64-bit mode, XSAVE area size by XCR0) from vcpu_index and state. With state NULL
 * only the APIC id is patched in: what an engine whose CPUID instruction does the rest itself (KVM) must use, for
 * KVM takes a bit that is off now as a feature that is not there. */
struct x86_cpuid_result x86_cpuid_read(const struct x86_cpuid_table *table, unsigned vcpu_index,
				       const struct x86_state *state, uint32_t leaf, uint32_t subleaf);

/* The entry of the table, or NULL. */
const struct x86_cpuid_entry *x86_cpuid_lookup(const struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf);
struct x86_cpuid_entry *x86_cpuid_find(struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf);

#endif
