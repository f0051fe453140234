/* Scalar floating point: arithmetic, comparisons, immediates and moves (DDI 0487 C4.1.68, C7.2).
 */
#include "engine/interp/aarch64/sem_fp.h"

/* ---- two sources ---- */
static inline void two_sources(struct a64_state *s, uint32_t insn, a64_fp_op2 *op)
{
	const unsigned size = fp_size(insn);
	struct a64_fp fp = fp_begin(s);
	const uint64_t result = op(&fp, size, fp_read(s, size, a64_rn(insn)), fp_read(s, size, a64_rm(insn)));

	fp_end(s, &fp);
	fp_write(s, a64_rd(insn), result);
}

#define TWO_SOURCES(name, op)                                                                                                              \
	SEM(name)                                                                                                                          \
	{                                                                                                                                  \
		two_sources(&cpu->s, insn, op);                                                                                            \
	}
TWO_SOURCES(fadd, a64_fp_add)
TWO_SOURCES(fsub, a64_fp_sub)
TWO_SOURCES(fmul, a64_fp_mul)
TWO_SOURCES(fdiv, a64_fp_div)
TWO_SOURCES(fmax, a64_fp_max)
TWO_SOURCES(fmin, a64_fp_min)
TWO_SOURCES(fmaxnm, a64_fp_max_num)
TWO_SOURCES(fminnm, a64_fp_min_num)

SEM(fnmul)
{
	const unsigned d = a64_rd(insn);

	two_sources(&cpu->s, insn, a64_fp_mul);
	fp_write(&cpu->s, d, a64_fp_neg(fp_size(insn), cpu->s.v[d].d[0]));
}

/* ---- three sources ---- */
/* Operands are negated before anything is looked at, NaNs as well. */
static inline void multiply_add(struct a64_state *s, uint32_t insn, bool negate_product, bool negate_addend)
{
	const unsigned size = fp_size(insn);
	const uint64_t sign = a64_fp_sign_bit(size);
	struct a64_fp fp = fp_begin(s);
	const uint64_t result = a64_fp_mul_add(&fp, size, fp_read(s, size, a64_ra(insn)) ^ (negate_addend ? sign : 0),
					       fp_read(s, size, a64_rn(insn)) ^ (negate_product ? sign : 0),
					       fp_read(s, size, a64_rm(insn)));

	fp_end(s, &fp);
	fp_write(s, a64_rd(insn), result);
}

SEM(fmadd)
{
	multiply_add(&cpu->s, insn, false, false);
}

SEM(fmsub)
{
	multiply_add(&cpu->s, insn, true, false);
}

SEM(fnmadd)
{
	multiply_add(&cpu->s, insn, true, true);
}

SEM(fnmsub)
{
	multiply_add(&cpu->s, insn, false, true);
}

/* ---- one source ---- */
SEM(fmov)
{
	fp_write(&cpu->s, a64_rd(insn), fp_read(&cpu->s, fp_size(insn), a64_rn(insn)));
}

SEM(fabs)
{
	const unsigned size = fp_size(insn);

	fp_write(&cpu->s, a64_rd(insn), a64_fp_abs(size, fp_read(&cpu->s, size, a64_rn(insn))));
}

SEM(fneg)
{
	const unsigned size = fp_size(insn);

	fp_write(&cpu->s, a64_rd(insn), a64_fp_neg(size, fp_read(&cpu->s, size, a64_rn(insn))));
}

SEM(fsqrt)
{
	const unsigned size = fp_size(insn);
	struct a64_fp fp = fp_begin(&cpu->s);
	const uint64_t result = a64_fp_sqrt(&fp, size, fp_read(&cpu->s, size, a64_rn(insn)));

	fp_end(&cpu->s, &fp);
	fp_write(&cpu->s, a64_rd(insn), result);
}

/* ---- comparisons ---- */
static inline void compare(struct a64_state *s, uint32_t insn, uint64_t b, bool signal)
{
	const unsigned size = fp_size(insn);
	struct a64_fp fp = fp_begin(s);
	const unsigned nzcv = a64_fp_compare(&fp, size, fp_read(s, size, a64_rn(insn)), b, signal);

	fp_end(s, &fp);
	s->pstate = (s->pstate & ~A64_PSTATE_NZCV) | (uint64_t)nzcv << 28;
}

static inline uint64_t second(const struct a64_state *s, uint32_t insn)
{
	return fp_read(s, fp_size(insn), a64_rm(insn));
}

SEM(fcmp)
{
	compare(&cpu->s, insn, second(&cpu->s, insn), false);
}

SEM(fcmp_zero)
{
	compare(&cpu->s, insn, 0, false);
}

SEM(fcmpe)
{
	compare(&cpu->s, insn, second(&cpu->s, insn), true);
}

SEM(fcmpe_zero)
{
	compare(&cpu->s, insn, 0, true);
}

static inline void conditional_compare(struct a64_state *s, uint32_t insn, bool signal)
{
	if (a64_condition(s->pstate, a64_bits(insn, 12, 4)))
		compare(s, insn, second(s, insn), signal);
	else
		s->pstate = (s->pstate & ~A64_PSTATE_NZCV) | (uint64_t)a64_bits(insn, 0, 4) << 28;
}

SEM(fccmp)
{
	conditional_compare(&cpu->s, insn, false);
}

SEM(fccmpe)
{
	conditional_compare(&cpu->s, insn, true);
}

SEM(fcsel)
{
	const bool first = a64_condition(cpu->s.pstate, a64_bits(insn, 12, 4));

	fp_write(&cpu->s, a64_rd(insn), fp_read(&cpu->s, fp_size(insn), first ? a64_rn(insn) : a64_rm(insn)));
}

/* ---- immediates, general registers ---- */
SEM(fmov_imm)
{
	fp_write(&cpu->s, a64_rd(insn), fp_expand_imm(fp_size(insn), a64_bits(insn, 13, 8)));
}

SEM(fmov_to_general)
{
	a64_set_x(&cpu->s, a64_rd(insn), fp_read(&cpu->s, fp_size(insn), a64_rn(insn)));
}

SEM(fmov_from_general)
{
	fp_write(&cpu->s, a64_rd(insn), a64_x(&cpu->s, a64_rn(insn)) & ~0ull >> (64 - (8u << fp_size(insn))));
}

SEM(fmov_to_top)
{
	cpu->s.v[a64_rd(insn)].d[1] = a64_x(&cpu->s, a64_rn(insn));
}

SEM(fmov_from_top)
{
	a64_set_x(&cpu->s, a64_rd(insn), cpu->s.v[a64_rn(insn)].d[1]);
}
