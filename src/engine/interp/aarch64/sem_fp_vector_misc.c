/* Vector floating point of two registers: conversions, rounding, estimates, comparisons with zero; immediates (DDI 0487 C4.1.67, C7.2).
 */
#include "engine/interp/aarch64/sem_fp_vector.h"

#define MISC(name, op)                                                                                                                     \
	SEM(name##_v)                                                                                                                      \
	{                                                                                                                                  \
		fp_map1(&cpu->s, insn, fp_size_misc(insn), op);                                                                            \
	}

/* ---- signs, roots, estimates ---- */
static uint64_t absolute(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_fp_abs(size, a);
}

static uint64_t negated(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_fp_neg(size, a);
}

static uint64_t unsigned_recip(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_unsigned_recip_estimate((uint32_t)a);
}

static uint64_t unsigned_rsqrt(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_unsigned_rsqrt_estimate((uint32_t)a);
}

MISC(fabs, absolute)
MISC(fneg, negated)
MISC(fsqrt, a64_fp_sqrt)
MISC(frecpe, a64_fp_recip_estimate)
MISC(frsqrte, a64_fp_rsqrt_estimate)
MISC(frecpx, a64_fp_recpx)
MISC(urecpe, unsigned_recip)
MISC(ursqrte, unsigned_rsqrt)

/* ---- comparisons with zero ---- */
static uint64_t equal_zero(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return fp_mask(size, a64_fp_equal(fp, size, a, 0));
}

static uint64_t greater_equal_zero(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return fp_mask(size, a64_fp_greater_equal(fp, size, a, 0));
}

static uint64_t greater_zero(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return fp_mask(size, a64_fp_greater(fp, size, a, 0));
}

static uint64_t less_equal_zero(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return fp_mask(size, a64_fp_greater_equal(fp, size, 0, a));
}

static uint64_t less_zero(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return fp_mask(size, a64_fp_greater(fp, size, 0, a));
}

MISC(fcmeq_zero, equal_zero)
MISC(fcmge_zero, greater_equal_zero)
MISC(fcmgt_zero, greater_zero)
MISC(fcmle_zero, less_equal_zero)
MISC(fcmlt_zero, less_zero)

/* ---- to integral values, to integers of the same size ---- */
#define ROUND_INT(letter, rounding, exact)                                                                                                 \
	static uint64_t integral_##letter(struct a64_fp *fp, unsigned size, uint64_t a)                                                    \
	{                                                                                                                                  \
		return a64_fp_round_int(fp, size, a, rounding, exact);                                                                     \
	}                                                                                                                                  \
	MISC(frint##letter, integral_##letter)
ROUND_INT(n, A64_ROUND_NEAREST, false)
ROUND_INT(p, A64_ROUND_UP, false)
ROUND_INT(m, A64_ROUND_DOWN, false)
ROUND_INT(z, A64_ROUND_ZERO, false)
ROUND_INT(a, A64_ROUND_AWAY, false)
ROUND_INT(x, a64_fp_mode(fp->fpcr), true)
ROUND_INT(i, a64_fp_mode(fp->fpcr), false)

#define TO_INTEGER(letter, rounding)                                                                                                       \
	static uint64_t to_signed_##letter(struct a64_fp *fp, unsigned size, uint64_t a)                                                   \
	{                                                                                                                                  \
		return a64_fp_to_fixed(fp, size, a, 8u << size, 0, false, rounding);                                                       \
	}                                                                                                                                  \
	static uint64_t to_unsigned_##letter(struct a64_fp *fp, unsigned size, uint64_t a)                                                 \
	{                                                                                                                                  \
		return a64_fp_to_fixed(fp, size, a, 8u << size, 0, true, rounding);                                                        \
	}                                                                                                                                  \
	MISC(fcvt##letter##s, to_signed_##letter)                                                                                          \
	MISC(fcvt##letter##u, to_unsigned_##letter)
TO_INTEGER(n, A64_ROUND_NEAREST)
TO_INTEGER(p, A64_ROUND_UP)
TO_INTEGER(m, A64_ROUND_DOWN)
TO_INTEGER(z, A64_ROUND_ZERO)
TO_INTEGER(a, A64_ROUND_AWAY)

/* ---- from integers, fixed point ---- */
static uint64_t sign_extended(unsigned size, uint64_t a)
{
	const unsigned unused = 64 - (8u << size);

	return (uint64_t)((int64_t)(a << unused) >> unused);
}

static uint64_t from_signed(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_fp_from_fixed(fp, size, sign_extended(size, a), 0, false);
}

static uint64_t from_unsigned(struct a64_fp *fp, unsigned size, uint64_t a)
{
	return a64_fp_from_fixed(fp, size, a, 0, true);
}

MISC(scvtf, from_signed)
MISC(ucvtf, from_unsigned)

/* The highest bit of immh:immb (bits 22 to 16) is the element's size, the rest how much less than two of that the fraction has. */
static inline void fixed(struct a64_state *s, uint32_t insn, bool to_float, bool is_unsigned)
{
	const unsigned size = insn >> 22 & 1 ? 3 : insn >> 21 & 1 ? 2 : 1, fraction = (16u << size) - a64_bits(insn, 16, 7);
	const unsigned lanes = fp_lanes(insn, size);
	const union a64_vreg *n = &s->v[a64_rn(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i++) {
		const uint64_t a = fp_lane(n, size, i);

		fp_set_lane(&result, size, i,
			    to_float ? a64_fp_from_fixed(&fp, size, is_unsigned ? a : sign_extended(size, a), fraction, is_unsigned)
				     : a64_fp_to_fixed(&fp, size, a, 8u << size, fraction, is_unsigned, A64_ROUND_ZERO));
	}
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

SEM(scvtf_vfix)
{
	fixed(&cpu->s, insn, true, false);
}

SEM(ucvtf_vfix)
{
	fixed(&cpu->s, insn, true, true);
}

SEM(fcvtzs_vfix)
{
	fixed(&cpu->s, insn, false, false);
}

SEM(fcvtzu_vfix)
{
	fixed(&cpu->s, insn, false, true);
}

/* ---- between formats: Q says that the narrow elements are those of the upper half ---- */
SEM(fcvtl_v)
{
	const unsigned from = 1 + (insn >> 22 & 1), lanes = 8u >> from, upper = insn >> 30 & 1 ? lanes : 0;
	const union a64_vreg n = cpu->s.v[a64_rn(insn)];
	struct a64_fp fp = fp_begin(&cpu->s);
	union a64_vreg result;

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, from + 1, i,
			    a64_fp_convert(&fp, from + 1, from, fp_lane(&n, from, upper + i), a64_fp_mode(fp.fpcr)));
	fp_end(&cpu->s, &fp);
	cpu->s.v[a64_rd(insn)] = result;
}

static inline void narrow(struct a64_state *s, uint32_t insn, enum a64_fp_rounding rounding)
{
	const bool scalar = insn >> 28 & 1, upper = !scalar && insn >> 30 & 1;
	const unsigned to = 1 + (insn >> 22 & 1), lanes = scalar ? 1 : 8u >> to;
	const union a64_vreg n = s->v[a64_rn(insn)];
	union a64_vreg result = {.d = {upper ? s->v[a64_rd(insn)].d[0] : 0, 0}};
	struct a64_fp fp = fp_begin(s);

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, to, (upper ? lanes : 0) + i, a64_fp_convert(&fp, to, to + 1, fp_lane(&n, to + 1, i), rounding));
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

SEM(fcvtn_v)
{
	narrow(&cpu->s, insn, a64_fp_mode(cpu->s.fpcr));
}

SEM(fcvtxn_v)
{
	narrow(&cpu->s, insn, A64_ROUND_ODD);
}

/* ---- immediates ---- */
SEM(fmov_vimm)
{
	const unsigned size = insn >> 11 & 1 ? 1 : 2 + (insn >> 29 & 1);
	const uint64_t value = fp_expand_imm(size, a64_bits(insn, 16, 3) << 5 | a64_bits(insn, 5, 5));
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < fp_lanes(insn, size); i++)
		fp_set_lane(&result, size, i, value);
	cpu->s.v[a64_rd(insn)] = result;
}
