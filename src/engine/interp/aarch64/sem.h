/* What the semantics of A64 instructions are written against.
 *
 * A semantic function gets the processor and the instruction word, and either commits all of its effects or none: everything that can
 * fault comes before the first write to a register. A fault does not return (it jumps back to the run loop, which takes the exception with
 * pc at this instruction). Stores that precede a faulting access of the same instruction may have happened (DDI 0487 B2.2).
 *
 *     void a64_sem_add_imm(struct a64_cpu *cpu, uint32_t insn)
 *     {
 *             unsigned shift = a64_bits(insn, 22, 1) * 12;
 *             ...
 *     }
 *
 * There is one for each form of the tables in arch/aarch64, of its name. They are called with CPACR_EL1 checked (classes FP and SIMD) and
 * s.pc at the instruction; unless a function branches the loop moves on by 4.
 */
#ifndef ENGINE_INTERP_AARCH64_SEM_H
#define ENGINE_INTERP_AARCH64_SEM_H

#include "arch/aarch64/decode.h"
#include "arch/aarch64/state.h"

struct a64_cpu; /* cpu.h; a64_state_of() reaches the architectural part */

typedef void a64_sem(struct a64_cpu *cpu, uint32_t insn);

#define X(name, class) a64_sem a64_sem_##name;
A64_FORMS(X)
#undef X

struct a64_state *a64_state_of(struct a64_cpu *cpu);

/* ---- exceptions: do not return ---- */
/* To EL1 with this exception class and syndrome (ESR_EL1.EC, .ISS). The return address is this instruction's. */
__attribute__((noreturn)) void a64_raise(struct a64_cpu *cpu, unsigned class, uint32_t iss);
/* A reserved value in a field: the Undefined exception (EC 0). */
__attribute__((noreturn)) void a64_undefined(struct a64_cpu *cpu);

/* ---- memory: virtual addresses, with the rights of the current EL; all checks and translations. Little-endian. ---- */
/* size 1, 2, 4, 8; zero-extended. One access, atomic where it is aligned. */
uint64_t a64_load(struct a64_cpu *cpu, uint64_t address, unsigned size);
void a64_store(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value);
/* 16 bytes, as two accesses of 8. */
void a64_load16(struct a64_cpu *cpu, uint64_t address, union a64_vreg *value);
void a64_store16(struct a64_cpu *cpu, uint64_t address, const union a64_vreg *value);
/* Two registers of 64 bits next to each other. */
void a64_store_pair(struct a64_cpu *cpu, uint64_t address, uint64_t first, uint64_t second);
/* Checks SP's alignment if asked for, when register 31 is the base of an access (SCTLR_EL1.SA, SA0), and gives register n's value with SP as 31. */
uint64_t a64_base(struct a64_cpu *cpu, unsigned n);

/* ---- general registers ---- */
/* 31 is XZR. */
static inline uint64_t a64_x(const struct a64_state *s, unsigned n)
{
	return n == 31 ? 0 : s->x[n];
}

static inline void a64_set_x(struct a64_state *s, unsigned n, uint64_t value)
{
	if (n != 31)
		s->x[n] = value;
}

static inline uint32_t a64_w(const struct a64_state *s, unsigned n)
{
	return (uint32_t)a64_x(s, n);
}

static inline uint64_t *a64_sp(struct a64_state *s)
{
	return &s->sp[s->pstate & A64_PSTATE_SP && s->pstate & A64_PSTATE_EL];
}

/* 31 is the current stack pointer. */
static inline uint64_t a64_xsp(struct a64_state *s, unsigned n)
{
	return n == 31 ? *a64_sp(s) : s->x[n];
}

static inline void a64_set_xsp(struct a64_state *s, unsigned n, uint64_t value)
{
	if (n == 31)
		*a64_sp(s) = value;
	else
		s->x[n] = value;
}

static inline void a64_set_nzcv(struct a64_state *s, bool n, bool z, bool c, bool v)
{
	s->pstate = (s->pstate & ~A64_PSTATE_NZCV) | (uint64_t)n << 31 | (uint64_t)z << 30 | (uint64_t)c << 29 | (uint64_t)v << 28;
}

/* ConditionHolds (C1.2.4). */
static inline bool a64_condition(uint64_t pstate, unsigned cond)
{
	const bool n = pstate & A64_PSTATE_N, z = pstate & A64_PSTATE_Z, c = pstate & A64_PSTATE_C, v = pstate & A64_PSTATE_V;
	bool holds;

	switch (cond >> 1) {
	case 0: holds = z; break;
	case 1: holds = c; break;
	case 2: holds = n; break;
	case 3: holds = v; break;
	case 4: holds = c && !z; break;
	case 5: holds = n == v; break;
	case 6: holds = n == v && !z; break;
	default: return true;
	}
	return holds != (cond & 1);
}

#endif
