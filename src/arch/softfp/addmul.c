/* Addition, subtraction and multiplication.
 *
 * Example: softfp_f80_mul(&fp, a, b) is FMUL, fp.precision being FCW.PC.
 */
#include "arch/softfp/parts.h"

struct fp_parts fp_add(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
		       struct fp_parts b)
{
	fp->rounded_up = false;
	if (a.class == FP_INFINITY && b.class == FP_INFINITY && a.sign != b.sign)
		return fp_invalid(fp);
	if ((a.denormal || b.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(false);
	if (a.class == FP_INFINITY)
		return a;
	if (b.class == FP_INFINITY)
		return b;
	if (a.class == FP_ZERO && b.class == FP_ZERO)
		return fp_zero(a.sign == b.sign ? a.sign : fp->rounding == SOFTFP_DOWN);
	if (a.class == FP_ZERO)
		return fp_round(fp, format, b.sign, b.exp, b.frac, 0);
	if (b.class == FP_ZERO)
		return fp_round(fp, format, a.sign, a.exp, a.frac, 0);

	if (a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac)) {
		struct fp_parts t = a;
		a = b;
		b = t;
	}
	/* One bit of headroom for the carry. */
	unsigned __int128 x = (unsigned __int128)a.frac << 63;
	unsigned __int128 y = fp_shift_right_sticky((unsigned __int128)b.frac << 63, a.exp - b.exp);

	x = a.sign == b.sign ? x + y : x - y;
	if (!x)
		return fp_zero(fp->rounding == SOFTFP_DOWN);
	int shift = fp_clz128(x);
	x <<= shift;
	return fp_round(fp, format, a.sign, a.exp + 1 - shift, (uint64_t)(x >> 64), (uint64_t)x);
}

struct fp_parts fp_multiply(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
			    struct fp_parts b)
{
	bool sign = a.sign != b.sign;

	fp->rounded_up = false;
	if ((a.class == FP_INFINITY && b.class == FP_ZERO) ||
	    (a.class == FP_ZERO && b.class == FP_INFINITY))
		return fp_invalid(fp);
	if ((a.denormal || b.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(false);
	if (a.class == FP_INFINITY || b.class == FP_INFINITY)
		return fp_infinity(sign);
	if (a.class == FP_ZERO || b.class == FP_ZERO)
		return fp_zero(sign);

	unsigned __int128 x = (unsigned __int128)a.frac * b.frac;
	int32_t exp = a.exp + b.exp + 1;

	if (!(x >> 127)) {
		x <<= 1;
		exp--;
	}
	return fp_round(fp, format, sign, exp, (uint64_t)(x >> 64), (uint64_t)x);
}

#define DEFINE(f, type, format, x87)                                                               \
	type softfp_##f##_add(struct softfp *fp, type a, type b)                                   \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), y = fp_unpack_##f(fp, b), r;             \
		fp->rounded_up = false;                                                            \
		if (!fp_nan2(fp, x, y, x87, &r))                                                   \
			r = fp_add(fp, format, x, y);                                              \
		return fp_pack_##f(r);                                                             \
	}                                                                                          \
	type softfp_##f##_sub(struct softfp *fp, type a, type b)                                   \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), y = fp_unpack_##f(fp, b), r;             \
		fp->rounded_up = false;                                                            \
		if (!fp_nan2(fp, x, y, x87, &r)) {                                                 \
			y.sign = !y.sign;                                                          \
			r = fp_add(fp, format, x, y);                                              \
		}                                                                                  \
		return fp_pack_##f(r);                                                             \
	}                                                                                          \
	type softfp_##f##_mul(struct softfp *fp, type a, type b)                                   \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), y = fp_unpack_##f(fp, b), r;             \
		fp->rounded_up = false;                                                            \
		if (!fp_nan2(fp, x, y, x87, &r))                                                   \
			r = fp_multiply(fp, format, x, y);                                         \
		return fp_pack_##f(r);                                                             \
	}

DEFINE(f32, uint32_t, &fp_format_f32, false)
DEFINE(f64, uint64_t, &fp_format_f64, false)
DEFINE(f80, struct softfp_f80, fp_format_f80_controlled(fp), true)
