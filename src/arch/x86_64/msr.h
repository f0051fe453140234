/* Model-specific registers as one table (msrs.def): number, name, where the value lives, which bits are
 * writable, what a bad write gets.
 */
#ifndef ARCH_X86_64_MSR_H
#define ARCH_X86_64_MSR_H

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/state.h"

enum x86_msr_result {
	X86_MSR_OK,
	X86_MSR_GP,     /* #GP(0): no such register, reserved bits, non-canonical address, read-only */
	X86_MSR_DEVICE, /* not architectural state: goes out as VM_EXIT_MSR (APIC base, x2APIC, TSC deadline, pv) */
	X86_MSR_TSC,    /* the time-stamp counter: the engine computes it */
};

/* wrmsr/rdmsr against the state. After an OK write of EFER, FS/GS base, PAT, ... the engine refreshes what
 * it derives from them. */
enum x86_msr_result x86_msr_read(const struct x86_state *state, const struct x86_cpuid_table *cpuid,
				 uint32_t index, uint64_t *value);
enum x86_msr_result x86_msr_write(struct x86_state *state, const struct x86_cpuid_table *cpuid,
				  uint32_t index, uint64_t value);
const char *x86_msr_name(uint32_t index); /* NULL if not in the table */

/* The numbers, from the same table: X86_MSR_EFER ... */
enum x86_msr {
#define X86_MSR_ROW(number, name, ...) X86_MSR_##name = number,
#include "arch/x86_64/msrs.def"
#undef X86_MSR_ROW
	X86_MSR_X2APIC_FIRST = 0x800,
	X86_MSR_X2APIC_LAST = 0x8ff,
};

#endif
