/* To integers, from integers, and to integral values.
 *
 * Example: CVTTSD2SI is softfp_f64_to_i64() with fp.rounding = SOFTFP_ZERO.
 */
#include "arch/softfp/parts.h"

/* |a| as an integer under fp->rounding, for |a| < 2^64 before rounding. Returns whether that fits
 * 64 bits. */
static bool round_magnitude(struct softfp *fp, struct fp_parts a, uint64_t *magnitude,
			    bool *inexact)
{
	uint64_t rest;

	if (a.exp >= 0) {
		*magnitude = a.frac >> (63 - a.exp);
		rest = a.exp == 63 ? 0 : a.frac << (a.exp + 1);
	} else {
		*magnitude = 0;
		rest = a.exp == -1 ? a.frac : 1; /* below one half only "not zero" counts */
	}
	*inexact = rest != 0;
	fp->rounded_up = fp_rounds_up(fp->rounding, a.sign, *magnitude & 1, rest);
	return !__builtin_add_overflow(*magnitude, fp->rounded_up, magnitude);
}

/* Range -2^(bits-1) .. 2^(bits-1)-1, else INVALID and the integer indefinite. */
static int64_t to_integer(struct softfp *fp, struct fp_parts a, unsigned bits)
{
	const int64_t indefinite = -1 - (int64_t)((1ull << (bits - 1)) - 1);
	uint64_t magnitude, limit = 1ull << (bits - 1);
	bool inexact;

	fp->rounded_up = false;
	if (a.class == FP_ZERO)
		return 0;
	if (a.class != FP_FINITE || a.exp > 63 || !round_magnitude(fp, a, &magnitude, &inexact) ||
	    magnitude > limit - !a.sign) {
		fp->flags |= SOFTFP_INVALID;
		fp->rounded_up = false;
		return indefinite;
	}
	if (inexact)
		fp->flags |= SOFTFP_INEXACT;
	return (int64_t)(a.sign ? 0 - magnitude : magnitude);
}

static struct fp_parts from_integer(struct softfp *fp, const struct fp_format *format, int64_t a)
{
	uint64_t magnitude = a < 0 ? 0 - (uint64_t)a : (uint64_t)a;

	fp->rounded_up = false;
	if (!a)
		return fp_zero(false);
	int shift = __builtin_clzll(magnitude);
	return fp_round(fp, format, a < 0, 63 - shift, magnitude << shift, 0);
}

static struct fp_parts round_to_int(struct softfp *fp, struct fp_parts a, bool exact)
{
	uint64_t magnitude;
	bool inexact;

	if (a.class != FP_FINITE || a.exp >= 63)
		return a;
	round_magnitude(fp, a, &magnitude, &inexact); /* below 2^63: cannot fail */
	if (inexact && exact)
		fp->flags |= SOFTFP_INEXACT;
	if (!magnitude)
		return fp_zero(a.sign);
	int shift = __builtin_clzll(magnitude);
	a.exp = 63 - shift;
	a.frac = magnitude << shift;
	return a;
}

#define DEFINE(f, type, format, x87)                                                               \
	int32_t softfp_##f##_to_i32(struct softfp *fp, type a)                                     \
	{                                                                                          \
		return (int32_t)to_integer(fp, fp_unpack_##f(fp, a), 32);                          \
	}                                                                                          \
	int64_t softfp_##f##_to_i64(struct softfp *fp, type a)                                     \
	{                                                                                          \
		return to_integer(fp, fp_unpack_##f(fp, a), 64);                                   \
	}                                                                                          \
	type softfp_##f##_from_i32(struct softfp *fp, int32_t a)                                   \
	{                                                                                          \
		return fp_pack_##f(from_integer(fp, format, a));                                   \
	}                                                                                          \
	type softfp_##f##_from_i64(struct softfp *fp, int64_t a)                                   \
	{                                                                                          \
		return fp_pack_##f(from_integer(fp, format, a));                                   \
	}                                                                                          \
	type softfp_##f##_round_to_int(struct softfp *fp, type a, bool exact)                      \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), r;                                       \
		fp->rounded_up = false;                                                            \
		if (!fp_nan1(fp, x, &r)) {                                                         \
			/* FRNDINT reports denormals, ROUNDSS does not. */                         \
			if (x87 && x.denormal && fp_raise(fp, SOFTFP_DENORMAL))                    \
				return a;                                                          \
			r = round_to_int(fp, x, exact);                                            \
		}                                                                                  \
		return fp_pack_##f(r);                                                             \
	}

DEFINE(f32, uint32_t, &fp_format_f32, false)
DEFINE(f64, uint64_t, &fp_format_f64, false)
DEFINE(f80, struct softfp_f80, &fp_format_f80, true)

int16_t softfp_f80_to_i16(struct softfp *fp, struct softfp_f80 a)
{
	return (int16_t)to_integer(fp, fp_unpack_f80(fp, a), 16);
}
