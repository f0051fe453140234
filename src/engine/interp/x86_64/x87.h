/* The x87 register stack and status word (SDM 1 chapter 8): what the sem_x87*.c files stand on.
 *
 * A semantic function passes the gate, does what can fault in memory, names itself the last instruction, and only
 * then changes anything:
 *
 *     struct x86_fpu *fpu = x87_begin(cpu);
 *     ... sem_load ...
 *     x87_record(cpu, insn);
 *     if (x87_raise(fpu, status, FSW_C1)) ... write the result
 */
#ifndef ENGINE_INTERP_X86_64_X87_H
#define ENGINE_INTERP_X86_64_X87_H

#include "engine/interp/x86_64/sem.h"
#include "engine/interp/x86_64/x87_arith.h"

static inline unsigned x87_top(const struct x86_fpu *fpu)
{
	return fpu->fsw >> FSW_TOP_SHIFT & 7u;
}

static inline void x87_set_top(struct x86_fpu *fpu, unsigned top)
{
	fpu->fsw = (uint16_t)((fpu->fsw & ~FSW_TOP) | (top & 7u) << FSW_TOP_SHIFT);
}

/* ST(i). */
static inline struct x86_float80 *x87_st(struct x86_fpu *fpu, unsigned i)
{
	return &fpu->r[(x87_top(fpu) + i) & 7u];
}

static inline bool x87_empty(const struct x86_fpu *fpu, unsigned i)
{
	return !(fpu->ftw >> ((x87_top(fpu) + i) & 7u) & 1u);
}

/* The gate of waiting instructions. */
struct x86_fpu *x87_begin(struct cpu *cpu);

/* FIP, FDP, FOP: this is the last instruction that was not a control one. After all that can fault. */
void x87_record(struct cpu *cpu, const struct x86_insn *insn);

/* ES and B summarise the exceptions that are unmasked. */
void x87_summarise(struct x86_fpu *fpu);

/* Adds the exceptions in status, copies those condition bits of it that are in `conditions`. Whether the result may
 * be used: no unmasked exception that comes before the computation. */
bool x87_raise(struct x86_fpu *fpu, uint16_t status, uint16_t conditions);

/* Stack fault: IE, SF and C1. Whether the indefinite value is to be the result. */
bool x87_underflow(struct x86_fpu *fpu);
bool x87_overflow(struct x86_fpu *fpu);

extern const struct x86_float80 x87_indefinite;

void x87_write(struct x86_fpu *fpu, unsigned i, struct x86_float80 value); /* and marks it valid */
void x87_free(struct x86_fpu *fpu, unsigned i);
void x87_push(struct x86_fpu *fpu, struct x86_float80 value); /* onto ST(7), whatever is there */
void x87_pop(struct x86_fpu *fpu);

/* Reads an integer memory operand as 64 bits, sign-extended. */
int64_t x87_load_int(struct cpu *cpu, const struct x86_insn *insn);

#endif
