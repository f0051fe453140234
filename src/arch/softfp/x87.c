/* What only x87 has: FSCALE and the partial remainders.
 *
 * Example: FPREM1: r = softfp_f80_remainder(&fp, st0, st1, true, &quotient, &partial).
 */
#include "arch/softfp/parts.h"

/* b's integer part, within what can still matter for a 15-bit exponent. */
static int32_t scale_count(struct fp_parts b)
{
	int32_t n;

	if (b.class == FP_ZERO || b.exp < 0)
		return 0;
	n = b.exp > 15 ? 0x10000 : (int32_t)(b.frac >> (63 - b.exp));
	return b.sign ? -n : n;
}

/* Unmasked results that the bias adjustment does not bring into range are infinity or zero (SDM
 * 1 8.5.4, 8.5.5). */
static struct fp_parts scaled(struct softfp *fp, struct fp_parts a, int32_t exp)
{
	const struct fp_format *format = &fp_format_f80;

	if (exp > format->emax + format->wrap && !(fp->masked & SOFTFP_OVERFLOW)) {
		fp->flags |= SOFTFP_OVERFLOW | SOFTFP_INEXACT;
		fp->rounded_up = true;
		return fp_infinity(a.sign);
	}
	if (exp < format->emin - format->wrap && !(fp->masked & SOFTFP_UNDERFLOW)) {
		fp->flags |= SOFTFP_UNDERFLOW | SOFTFP_INEXACT;
		return fp_zero(a.sign);
	}
	return fp_round(fp, format, a.sign, exp, a.frac, 0);
}

struct softfp_f80 softfp_f80_scale(struct softfp *fp, struct softfp_f80 a, struct softfp_f80 b)
{
	struct fp_parts x = fp_unpack_f80(fp, a), y = fp_unpack_f80(fp, b), r;

	fp->rounded_up = false;
	if (fp_nan2(fp, x, y, true, &r))
		return fp_pack_f80(r);
	if (y.class == FP_INFINITY && x.class == (y.sign ? FP_INFINITY : FP_ZERO))
		return fp_pack_f80(fp_invalid(fp));
	if ((x.denormal || y.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return a;
	if (x.class != FP_FINITE)
		return fp_pack_f80(x);
	if (y.class == FP_INFINITY)
		return fp_pack_f80(y.sign ? fp_zero(x.sign) : fp_infinity(x.sign));
	return fp_pack_f80(scaled(fp, x, x.exp + scale_count(y)));
}

/* An exact result: rounds nothing, but may be a denormal. */
static struct fp_parts exact(struct softfp *fp, bool sign, int32_t exp, uint64_t frac)
{
	if (!frac)
		return fp_zero(sign);
	int shift = __builtin_clzll(frac);
	return fp_round(fp, &fp_format_f80, sign, exp - shift, frac << shift, 0);
}

/* SDM 2A FPREM: exponents at most 63 apart are reduced in one go, others by 32 to 63 bits a time.
 */
static struct fp_parts partial_remainder(struct softfp *fp, struct fp_parts a, struct fp_parts b,
					 bool nearest, unsigned *quotient, bool *partial)
{
	int32_t distance = a.exp - b.exp;
	uint64_t rest = a.frac, q = 0;

	if (distance < (nearest ? -1 : 0))
		return exact(fp, a.sign, a.exp, a.frac);
	if (distance >= 64) {
		int32_t n = (distance & 0x1f) | 0x20;
		if (rest >= b.frac)
			rest -= b.frac;
		/* rest * 2^n mod b, scaled by 2^(distance - n) */
		fp_divide_128(rest >> (64 - n), rest << n, b.frac, &rest);
		*partial = true;
		return exact(fp, a.sign, b.exp + distance - n, rest);
	}
	if (distance == -1) {
		/* a < b: the nearest multiple is 0, or b when 2a > b; a tie goes to 0. 2a - b has
		 * b's exponent - 1. */
		if (a.frac <= b.frac)
			return exact(fp, a.sign, a.exp, a.frac);
		*quotient = 1;
		/* b - a in units of a's: 2 * b.frac - a.frac */
		unsigned __int128 d = ((unsigned __int128)b.frac << 1) - a.frac;
		return exact(fp, !a.sign, a.exp, (uint64_t)d); /* a.frac > b.frac: d < b.frac */
	}
	if (rest >= b.frac) {
		rest -= b.frac;
		q = 1;
	}
	if (distance)
		q = q << distance |
		    fp_divide_128(rest >> (64 - distance), rest << distance, b.frac, &rest);
	bool sign = a.sign;
	if (nearest) {
		uint64_t other = b.frac - rest;
		if (rest > other || (rest == other && (q & 1))) {
			rest = other;
			sign = !sign;
			q++;
		}
	}
	*quotient = q & 7;
	return rest ? exact(fp, sign, b.exp, rest) : fp_zero(a.sign);
}

struct softfp_f80 softfp_f80_remainder(struct softfp *fp, struct softfp_f80 a, struct softfp_f80 b,
				       bool nearest, unsigned *quotient, bool *partial)
{
	struct fp_parts x = fp_unpack_f80(fp, a), y = fp_unpack_f80(fp, b), r;

	*quotient = 0;
	*partial = false;
	fp->rounded_up = false;
	if (fp_nan2(fp, x, y, true, &r))
		return fp_pack_f80(r);
	if (x.class == FP_INFINITY || y.class == FP_ZERO)
		return fp_pack_f80(fp_invalid(fp));
	if ((x.denormal || y.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return a;
	if (x.class == FP_ZERO || y.class == FP_INFINITY)
		return fp_pack_f80(x.class == FP_ZERO ? x : exact(fp, x.sign, x.exp, x.frac));
	return fp_pack_f80(partial_remainder(fp, x, y, nearest, quotient, partial));
}
