/* System registers of the interpreter's AArch64 vcpu.
 *
 * Example: `a64_sysreg_trap(cpu, insn);    // the access goes to EL1`
 */
#ifndef ENGINE_INTERP_AARCH64_SYSREG_H
#define ENGINE_INTERP_AARCH64_SYSREG_H

#include "base/types.h"

struct a64_cpu;

/* The exception for a trapped MSR, MRS or SYS (EC 0x18), whose syndrome names it. */
__attribute__((noreturn)) void a64_sysreg_trap(struct a64_cpu *cpu, uint32_t insn);

#endif
