/* How processors and system registers of AArch64 are named where numbers name them: for devices that are reached by system registers,
 * and for who speaks of processors by their affinity (GICv3, PSCI, device trees).
 *
 * Example: `msr_handler_register(vm, &(struct msr_handler){.first = A64_SYSREG_KEY(3, 0, 4, 6, 0), ...});`
 */
#ifndef ARCH_AARCH64_NAMES_H
#define ARCH_AARCH64_NAMES_H

#include "base/types.h"

/* How MRS and MSR name a register: op0, op1, CRn, CRm, op2. */
#ifndef A64_SYSREG_KEY
#define A64_SYSREG_KEY(op0, op1, crn, crm, op2) ((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))
#endif

/* The affinity fields of MPIDR_EL1 (Aff2, Aff1, Aff0) of the processor with this index: 16 to a cluster, as GICv3's SGIs reach them. */
static inline uint32_t a64_cpu_affinity(unsigned index)
{
	return (index & 15) | (index >> 4) << 8;
}

#endif
