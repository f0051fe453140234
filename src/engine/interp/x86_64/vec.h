/* Vector operands of SSE and AVX instructions: what every sem_sse_*.c and sem_avx_*.c stands on.
 *
 * An AVX instruction on 256 bits is, with few exceptions, the SSE instruction done on two 128-bit halves. So
 * the arithmetic is written once, on `union vec`, and a wrapper of this file runs it once or twice, takes the
 * operands from where the encoding has them (legacy: destination is the first source; VEX: a third operand),
 * and writes the destination with the rules of its encoding. One semantic function serves both forms:
 *
 *     static void lane_paddb(union vec *restrict d, const union vec *a, const union vec *b) { ... }
 *     static void sem_paddb(struct cpu *cpu, const struct x86_insn *insn) { vec_binary(cpu, insn, lane_paddb); }
 *     ... { X86_PADDB, sem_paddb }, { X86_VPADDB, sem_paddb },
 *
 * Instructions that also exist on MMX registers are handed over by the wrappers (sem_mmx.h).
 */
#ifndef ENGINE_INTERP_X86_64_VEC_H
#define ENGINE_INTERP_X86_64_VEC_H

#include "engine/interp/x86_64/cpu.h"
#include "engine/interp/x86_64/sem.h"

/* One 128-bit half. */
union vec {
	uint8_t u8[16];
	uint16_t u16[8];
	uint32_t u32[4];
	uint64_t u64[2];
	int8_t s8[16];
	int16_t s16[8];
	int32_t s32[4];
	int64_t s64[2];
};

/* A whole register as two halves: union x86_vector seen from here. */
struct vec_pair {
	union vec half[2];
};
_Static_assert(sizeof(struct vec_pair) == sizeof(union x86_vector), "a register is two halves");

static inline bool vec_is_vex(const struct x86_insn *insn)
{
	return (insn->prefixes & X86_PFX_VEX) != 0;
}

/* By a register operand that has the instruction's full width. (vl won't do: it is what the encoding says, and
 * scalar instructions ignore that.) */
static inline unsigned vec_halves(const struct x86_insn *insn, unsigned opn)
{
	return insn->operand[opn].kind == X86_OPND_YMM ? 2 : 1;
}

/* Index of the first source operand: the destination itself in legacy encodings. */
static inline unsigned vec_first_source(const struct x86_insn *insn)
{
	return vec_is_vex(insn) ? 1 : 0;
}

/* Whether an operand is an MMX register; only the first two can be. */
static inline bool vec_is_mmx(const struct x86_insn *insn)
{
	return insn->operand[0].kind == X86_OPND_MMX || insn->operand[1].kind == X86_OPND_MMX;
}

/* sem_check_avx or sem_check_sse. */
void vec_gate(struct cpu *cpu, const struct x86_insn *insn);

/* Register n, in place. */
static inline union vec *vec_register(struct cpu *cpu, unsigned reg)
{
	return ((struct vec_pair *)&cpu->s.fpu.ymm[reg & 15])->half;
}

/* A source: the register itself, or *buf filled from memory with the alignment rule of ordinary instructions
 * (legacy 128-bit operands are aligned, others need not be). Bytes beyond the operand's size are unspecified
 * for registers and zero for memory. */
const union vec *vec_read(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, struct vec_pair *buf);

/* The same for instructions with an alignment rule of their own. */
const union vec *vec_read_as(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, struct vec_pair *buf,
			     enum sem_alignment alignment);

/* Writes a register operand: 16 or 32 bytes by its kind, bits 255:128 cleared by VEX and kept by legacy forms. */
void vec_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, const union vec *value);

/* ---- shapes of instructions; d never overlaps a source ---- */
typedef void vec_unary_fn(union vec *restrict d, const union vec *a);
typedef void vec_binary_fn(union vec *restrict d, const union vec *a, const union vec *b);
typedef void vec_unary_imm_fn(union vec *restrict d, const union vec *a, unsigned imm);
typedef void vec_binary_imm_fn(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm);
typedef void vec_shift_fn(union vec *restrict d, const union vec *a, uint64_t count);

/* op dst, src */
void vec_unary(struct cpu *cpu, const struct x86_insn *insn, vec_unary_fn *fn);
/* op dst, src2  or  vop dst, src1, src2 */
void vec_binary(struct cpu *cpu, const struct x86_insn *insn, vec_binary_fn *fn);
/* op dst, src, imm8; the upper half sees imm >> high_shift. */
void vec_unary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_unary_imm_fn *fn, unsigned high_shift);
/* op dst, src2, imm8  or  vop dst, src1, src2, imm8 */
void vec_binary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_binary_imm_fn *fn, unsigned high_shift);

/* ---- defining and listing ---- */
/* A lane function: expr on x = a's and y = b's element, converted to the element's type. */
#define VEC_LANES(OP, lane, expr)                                                                  \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b)       \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane); i++) {                               \
			const __typeof__(d->lane[0]) x = a->lane[i], y = b->lane[i];               \
			d->lane[i] = (__typeof__(d->lane[0]))(expr);                               \
		}                                                                                  \
	}
/* The semantic function of OP by a shape and its lane function. */
#define VEC_SEM(OP, shape, ...)                                                                    \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		shape(cpu, insn, __VA_ARGS__);                                                     \
	}
/* Table entries of OP and VOP. */
#define VEC_ENTRIES(OP, ...) { X86_##OP, sem_##OP }, { X86_V##OP, sem_##OP },

#endif
