/* A64's floating point on half, single and double precision: results, NaNs and cumulative flags as the pseudocode of DDI 0487 J1.3 says
 * (shared/functions/float), on any host.
 *
 * Values are raw bits in the low part of a uint64_t; size is log2 of their bytes: 1 half, 2 single, 3 double. Functions have the names of
 * the manual's: a64_fp_max_num is FPMaxNum.
 *
 * Example: struct a64_fp fp = {.fpcr = s->fpcr, .fpsr = s->fpsr};
 *          uint64_t sum = a64_fp_add(&fp, 3, a, b);
 *          s->fpsr = fp.fpsr;
 */
#ifndef ARCH_AARCH64_FP_H
#define ARCH_AARCH64_FP_H

#include "base/types.h"

/* FPCR.RMode's values, and what only instructions ask for. */
enum a64_fp_rounding {
	A64_ROUND_NEAREST,
	A64_ROUND_UP,
	A64_ROUND_DOWN,
	A64_ROUND_ZERO,
	A64_ROUND_AWAY, /* to nearest, ties away from zero */
	A64_ROUND_ODD,  /* toward zero, with the last bit set if anything was lost */
};

struct a64_fp {
	uint32_t fpcr; /* AHP, DN, FZ, RMode, FZ16 count */
	uint32_t fpsr; /* flags are added, never cleared */
};

#define A64_FP_SIZE_HALF   1u
#define A64_FP_SIZE_SINGLE 2u
#define A64_FP_SIZE_DOUBLE 3u

static inline uint64_t a64_fp_sign_bit(unsigned size)
{
	return 1ull << ((8u << size) - 1);
}

/* FPAbs and FPNeg: of NaNs as well, without flags. */
static inline uint64_t a64_fp_abs(unsigned size, uint64_t a)
{
	return a & ~a64_fp_sign_bit(size);
}

static inline uint64_t a64_fp_neg(unsigned size, uint64_t a)
{
	return a ^ a64_fp_sign_bit(size);
}

static inline enum a64_fp_rounding a64_fp_mode(uint32_t fpcr)
{
	return fpcr >> 22 & 3;
}

typedef uint64_t a64_fp_op1(struct a64_fp *fp, unsigned size, uint64_t a);
typedef uint64_t a64_fp_op2(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b);

a64_fp_op2 a64_fp_add, a64_fp_sub, a64_fp_mul, a64_fp_div;
a64_fp_op2 a64_fp_mulx;                                            /* 0 * infinity is 2 */
a64_fp_op2 a64_fp_max, a64_fp_min, a64_fp_max_num, a64_fp_min_num; /* _num: a quiet NaN loses against a number */
a64_fp_op1 a64_fp_sqrt;
/* addend + a * b with one rounding (FPMulAdd). */
uint64_t a64_fp_mul_add(struct a64_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b);
/* The same of a single and two halves (FPMulAddH). */
uint32_t a64_fp_mul_add_half(struct a64_fp *fp, uint32_t addend, uint16_t a, uint16_t b);

/* ---- fp_estimate.c: reciprocals ---- */
a64_fp_op1 a64_fp_recip_estimate, a64_fp_rsqrt_estimate, a64_fp_recpx;
a64_fp_op2 a64_fp_recip_step, a64_fp_rsqrt_step; /* FPRecipStepFused, FPRSqrtStepFused: with a negated by them */
/* URECPE, URSQRTE. */
uint32_t a64_unsigned_recip_estimate(uint32_t a);
uint32_t a64_unsigned_rsqrt_estimate(uint32_t a);

/* ---- fp_convert.c ---- */
/* FPCompare: NZCV in bits 3 to 0. signal: quiet NaNs are invalid too. */
unsigned a64_fp_compare(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal);
bool a64_fp_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b);
bool a64_fp_greater_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b);
bool a64_fp_greater(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b);
/* FPRoundInt. rounding isn't A64_ROUND_ODD. exact: IXC if it was no integer. */
uint64_t a64_fp_round_int(struct a64_fp *fp, unsigned size, uint64_t a, enum a64_fp_rounding rounding, bool exact);
/* FPConvert, and by A64_ROUND_ODD for FCVTXN. */
uint64_t a64_fp_convert(struct a64_fp *fp, unsigned to, unsigned from, uint64_t a, enum a64_fp_rounding rounding);
/* FPToFixed: a * 2^fraction as an integer of `bits` (16, 32, 64), zero-extended; saturates. rounding isn't A64_ROUND_ODD. */
uint64_t a64_fp_to_fixed(struct a64_fp *fp, unsigned size, uint64_t a, unsigned bits, unsigned fraction, bool is_unsigned,
			 enum a64_fp_rounding rounding);
/* FixedToFP: integer / 2^fraction by FPCR.RMode; the integer is extended to 64 bits as is_unsigned says. fraction 0 to 64. */
uint64_t a64_fp_from_fixed(struct a64_fp *fp, unsigned size, uint64_t integer, unsigned fraction, bool is_unsigned);
/* FPToFixedJS: a double to 32 bits modulo 2^32. *exact is PSTATE.Z: it was an integer in range, and no -0. */
uint32_t a64_fp_to_fixed_js(struct a64_fp *fp, uint64_t a, bool *exact);

#endif
