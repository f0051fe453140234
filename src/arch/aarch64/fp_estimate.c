/* Estimates of reciprocals and of reciprocal square roots, and the steps that make them better. See fp.h. */
#include "arch/aarch64/fp_parts.h"

/* ---- estimates (shared/functions/float/fprecipestimate, fprsqrtestimate) ---- */
/* RecipEstimate: a, 256 to 511, is 0.5 to 1 in units of 2^-9; the result 256 to 511. */
static unsigned recip_estimate(unsigned a)
{
	return ((1u << 19) / (2 * a + 1) + 1) / 2;
}

/* RecipSqrtEstimate: a is 128 to 511, in units of 2^-9. */
static unsigned rsqrt_estimate(unsigned a)
{
	unsigned b = 512;

	a = a < 256 ? 2 * a + 1 : 2 * (a | 1);
	while (a * (b + 1) * (b + 1) < 1u << 28)
		b++;
	return (b + 1) / 2;
}

uint32_t a64_unsigned_recip_estimate(uint32_t a)
{
	return a >> 31 ? recip_estimate(a >> 23) << 23 : 0xffffffff;
}

uint32_t a64_unsigned_rsqrt_estimate(uint32_t a)
{
	return a >> 30 ? rsqrt_estimate(a >> 23) << 23 : 0xffffffff;
}

/* A power of two times an estimate of 256 to 511, taken as 1 to 2: exact, also as a denormal. */
static uint64_t pack_estimate(unsigned size, bool sign, int32_t exp, unsigned estimate)
{
	struct softfp exact = {.rounding = SOFTFP_ZERO, .masked = 0x3f};

	return a64_fp_pack(size, fp_round(&exact, &a64_fp_formats[size], sign, exp, (uint64_t)estimate << 55, 0));
}

uint64_t a64_fp_recip_estimate(struct a64_fp *fp, unsigned size, uint64_t a)
{
	const struct fp_format *format = &a64_fp_formats[size];
	struct fp_parts x = a64_fp_unpack(fp, size, a), r;

	if (a64_fp_nans(fp, &x, 1, &r))
		return a64_fp_pack(size, r);
	if (x.class == FP_INFINITY)
		return a64_fp_pack(size, fp_zero(x.sign));
	if (x.class == FP_ZERO) {
		fp->fpsr |= A64_FPSR_DZC;
		return a64_fp_pack(size, fp_infinity(x.sign));
	}
	struct softfp soft = a64_fp_context(fp, size);

	if (x.exp < -format->emax - 1) /* below 2^-16, 2^-128, 2^-1024: the reciprocal overflows */
		return a64_fp_finish(fp, &soft, size, fp_round(&soft, format, x.sign, format->emax + 1, FP_INTEGER_BIT, 0));
	if (soft.flush_to_zero && x.exp >= -format->emin) {
		fp->fpsr |= A64_FPSR_UFC;
		return a64_fp_pack(size, fp_zero(x.sign));
	}
	return pack_estimate(size, x.sign, -1 - x.exp, recip_estimate((unsigned)(x.frac >> 55)));
}

uint64_t a64_fp_rsqrt_estimate(struct a64_fp *fp, unsigned size, uint64_t a)
{
	struct fp_parts x = a64_fp_unpack(fp, size, a), r;

	if (a64_fp_nans(fp, &x, 1, &r))
		return a64_fp_pack(size, r);
	if (x.class == FP_ZERO) {
		fp->fpsr |= A64_FPSR_DZC;
		return a64_fp_pack(size, fp_infinity(x.sign));
	}
	if (x.sign)
		return a64_fp_pack(size, a64_fp_invalid(fp));
	if (x.class == FP_INFINITY)
		return a64_fp_pack(size, fp_zero(false));
	/* x is 0.25 to 1, times an even power of two: 128 to 511 of 2^-9. */
	const bool odd = x.exp & 1;

	return pack_estimate(size, false, (-1 - x.exp - !odd) / 2, rsqrt_estimate((unsigned)(x.frac >> (odd ? 55 : 56))));
}

uint64_t a64_fp_recpx(struct a64_fp *fp, unsigned size, uint64_t a)
{
	const unsigned fraction_bits = a64_fp_formats[size].precision - 1u;
	const uint64_t sign = a & a64_fp_sign_bit(size), exponent_mask = a64_fp_sign_bit(size) - (1ull << fraction_bits);
	struct fp_parts x = a64_fp_unpack(fp, size, a), r;

	if (a64_fp_nans(fp, &x, 1, &r))
		return a64_fp_pack(size, r);
	if (!(a & exponent_mask)) /* the largest exponent of a number */
		return sign | (exponent_mask & exponent_mask << 1);
	return sign | (~a & exponent_mask);
}

/* ---- steps ---- */
/* (constant - a * b) * 2^scale, where 0 * infinity counts as 0. The NaN of a comes negated, as the manual's FPNeg(op1) makes it. */
static uint64_t step(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, struct fp_parts constant, int32_t scale)
{
	struct fp_parts operands[2] = {a64_fp_unpack(fp, size, a64_fp_neg(size, a)), a64_fp_unpack(fp, size, b)}, r;
	struct softfp soft = a64_fp_context(fp, size);

	if (a64_fp_nans(fp, operands, 2, &r))
		return a64_fp_pack(size, r);
	if ((operands[0].class == FP_ZERO && operands[1].class == FP_INFINITY) ||
	    (operands[0].class == FP_INFINITY && operands[1].class == FP_ZERO))
		return a64_fp_pack(size, constant);
	operands[0].exp += scale;
	r = fp_multiply_add(&soft, &a64_fp_formats[size], operands[0], operands[1], constant, false, false);
	return a64_fp_finish(fp, &soft, size, r);
}

uint64_t a64_fp_recip_step(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return step(fp, size, a, b, (struct fp_parts){.class = FP_FINITE, .exp = 1, .frac = FP_INTEGER_BIT}, 0);
}

uint64_t a64_fp_rsqrt_step(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return step(fp, size, a, b, (struct fp_parts){.class = FP_FINITE, .exp = 0, .frac = 3ull << 62}, -1);
}
