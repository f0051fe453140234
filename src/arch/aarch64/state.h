/* The architectural state of an AArch64 processor at EL0 and EL1 as it crosses the engine seam (DDI 0487 B1, D1).
 *
 * Example: `state->a64.pc = entry; state->a64.x[0] = fdt;`
 */
#ifndef ARCH_AARCH64_STATE_H
#define ARCH_AARCH64_STATE_H

#include "base/types.h"

/* A register of Advanced SIMD: element 0 is the lowest. */
union a64_vreg {
	uint8_t b[16];
	uint16_t h[8];
	uint32_t s[4];
	uint64_t d[2];
};

/* Process state, as SPSR_ELx holds it (C5.2.19). */
#define A64_PSTATE_N    (1ull << 31)
#define A64_PSTATE_Z    (1ull << 30)
#define A64_PSTATE_C    (1ull << 29)
#define A64_PSTATE_V    (1ull << 28)
#define A64_PSTATE_NZCV (15ull << 28)
#define A64_PSTATE_DIT  (1ull << 24)
#define A64_PSTATE_UAO  (1ull << 23)
#define A64_PSTATE_PAN  (1ull << 22)
#define A64_PSTATE_SS   (1ull << 21)
#define A64_PSTATE_IL   (1ull << 20)
#define A64_PSTATE_D    (1ull << 9)
#define A64_PSTATE_A    (1ull << 8)
#define A64_PSTATE_I    (1ull << 7)
#define A64_PSTATE_F    (1ull << 6)
#define A64_PSTATE_DAIF (15ull << 6)
#define A64_PSTATE_NRW  (1ull << 4) /* AArch32 */
#define A64_PSTATE_EL   (3ull << 2)
#define A64_PSTATE_EL1  (1ull << 2)
#define A64_PSTATE_SP   (1ull << 0) /* the stack pointer is SP_ELx, not SP_EL0 */

/* FPCR (C5.2.8) and FPSR (C5.2.10). */
#define A64_FPCR_AHP    (1u << 26)
#define A64_FPCR_DN     (1u << 25)
#define A64_FPCR_FZ     (1u << 24)
#define A64_FPCR_RMODE_SHIFT 22 /* 0 nearest even, 1 up, 2 down, 3 to zero */
#define A64_FPCR_FZ16   (1u << 19)
#define A64_FPCR_MASK   (A64_FPCR_AHP | A64_FPCR_DN | A64_FPCR_FZ | 3u << A64_FPCR_RMODE_SHIFT | A64_FPCR_FZ16)
#define A64_FPSR_QC     (1u << 27)
#define A64_FPSR_IDC    (1u << 7)
#define A64_FPSR_IXC    (1u << 4)
#define A64_FPSR_UFC    (1u << 3)
#define A64_FPSR_OFC    (1u << 2)
#define A64_FPSR_DZC    (1u << 1)
#define A64_FPSR_IOC    (1u << 0)
#define A64_FPSR_MASK   (A64_FPSR_QC | A64_FPSR_IDC | 0x1fu)

/* The system registers that hold a value: one member of `sys` each. */
enum a64_sys {
#define SYSREG(name, op0, op1, crn, crm, op2, access, reset, writable) A64_SYS_##name,
#include "arch/aarch64/sysregs.def"
#undef SYSREG
	A64_SYS_COUNT
};

enum a64_activity {
	A64_ACTIVE,
	A64_WAITING, /* WFI */
	A64_OFF,     /* by PSCI */
};

struct a64_state {
	uint64_t x[31];
	uint64_t pc;
	uint64_t sp[2]; /* SP_EL0, SP_EL1 */
	uint64_t pstate;
	union a64_vreg v[32];
	uint32_t fpcr, fpsr;
	uint64_t sys[A64_SYS_COUNT];
	uint8_t activity; /* enum a64_activity */
};

/* After a reset: EL1, all masked, MMU off, registers as sysregs.def says; index makes MPIDR_EL1. */
void a64_state_reset(struct a64_state *state, unsigned index);

static inline unsigned a64_el(const struct a64_state *state)
{
	return state->pstate >> 2 & 3;
}

#endif
