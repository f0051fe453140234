/* Division and square root.
 *
 * Example: softfp_f64_sqrt(&fp, a) is SQRTSD.
 */
#include "arch/softfp/parts.h"

/* The discarded fraction remainder / divisor, as fp_round's lo: only its order to one half counts.
 */
static uint64_t fraction_of(uint64_t remainder, uint64_t divisor)
{
	if (!remainder)
		return 0;
	uint64_t rest = divisor - remainder;
	return remainder > rest ? 3ull << 62 : remainder == rest ? 1ull << 63 : 1ull << 62;
}

struct fp_parts fp_divide(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
			  struct fp_parts b)
{
	bool sign = a.sign != b.sign;

	if (a.class == b.class && (a.class == FP_INFINITY || a.class == FP_ZERO))
		return fp_invalid(fp);
	if (b.class == FP_ZERO && a.class != FP_INFINITY) {
		fp->flags |= SOFTFP_DIVZERO;
		return fp_infinity(sign);
	}
	if ((a.denormal || b.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(false);
	if (a.class == FP_INFINITY)
		return fp_infinity(sign);
	if (a.class == FP_ZERO || b.class == FP_INFINITY)
		return fp_zero(sign);

	bool halve = a.frac >= b.frac; /* so that the quotient has 64 bits */
	uint64_t remainder;
	uint64_t q = fp_divide_128(a.frac >> halve, halve ? a.frac << 63 : 0, b.frac, &remainder);
	return fp_round(fp, format, sign, a.exp - b.exp - !halve, q,
			fraction_of(remainder, b.frac));
}

/* Floor of the square root of v >= 2^30. */
static uint32_t sqrt_32(uint32_t v, uint32_t *remainder)
{
	uint32_t root = 0, rest = v;

	for (uint32_t bit = 1u << 30; bit; bit >>= 2) {
		if (rest >= root + bit) {
			rest -= root + bit;
			root = root >> 1 | bit;
		} else {
			root >>= 1;
		}
	}
	*remainder = rest;
	return root;
}

/* Zimmermann's step: the root of a number of 4 digits from the root of the upper two. v >= 2^62. */
static uint64_t sqrt_64(uint64_t v, uint64_t *remainder)
{
	uint32_t rest;
	uint64_t upper = sqrt_32((uint32_t)(v >> 32), &rest);
	uint64_t n = (uint64_t)rest << 16 | (v >> 16 & 0xffff);
	uint64_t q = n / (2 * upper), u = n % (2 * upper);
	uint64_t root = (upper << 16) + q;
	int64_t r = (int64_t)(u << 16 | (v & 0xffff)) - (int64_t)(q * q);

	if (r < 0) {
		r += (int64_t)(2 * root - 1);
		root--;
	}
	*remainder = (uint64_t)r;
	return root;
}

/* v >= 2^126. The remainder can have 65 bits. */
static uint64_t sqrt_128(unsigned __int128 v, unsigned __int128 *remainder)
{
	uint64_t rest;
	uint64_t upper = sqrt_64((uint64_t)(v >> 64), &rest);
	/* rest <= 2 * upper < 2^33, so rest * 2^32 can take 65 bits: divide half of it. */
	uint64_t digit = (uint32_t)(v >> 32);
	uint64_t half = rest << 31 | digit >> 1;
	uint64_t q = half / upper;
	uint64_t u = (half % upper) << 1 | (digit & 1);
	unsigned __int128 root = ((unsigned __int128)upper << 32) + q;
	__int128 r = (__int128)((unsigned __int128)u << 32 | (uint32_t)v) -
		     (__int128)((unsigned __int128)q * q);

	if (r < 0) {
		r += (__int128)(2 * root - 1);
		root--;
	}
	*remainder = (unsigned __int128)r;
	return (uint64_t)root;
}

struct fp_parts fp_square_root(struct softfp *fp, const struct fp_format *format,
			       struct fp_parts a)
{
	if (a.class == FP_ZERO)
		return a;
	if (a.sign)
		return fp_invalid(fp);
	if (a.denormal && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(false);
	if (a.class == FP_INFINITY)
		return a;

	bool odd = a.exp & 1;
	/* frac / 2^63 is in [1, 2), doubled for odd exponents in [2, 4): * 2^126. */
	unsigned __int128 v = (unsigned __int128)a.frac << (63 + odd), remainder;
	uint64_t root = sqrt_128(v, &remainder);
	/* Above one half iff the remainder is above the root; never equal. */
	uint64_t lo = !remainder ? 0 : remainder > root ? 3ull << 62 : 1ull << 62;
	return fp_round(fp, format, false, (a.exp - odd) / 2, root, lo);
}

#define DEFINE(f, type, format, x87)                                                               \
	type softfp_##f##_div(struct softfp *fp, type a, type b)                                   \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), y = fp_unpack_##f(fp, b), r;             \
		fp->rounded_up = false;                                                            \
		if (!fp_nan2(fp, x, y, x87, &r))                                                   \
			r = fp_divide(fp, format, x, y);                                           \
		return fp_pack_##f(r);                                                             \
	}                                                                                          \
	type softfp_##f##_sqrt(struct softfp *fp, type a)                                          \
	{                                                                                          \
		struct fp_parts x = fp_unpack_##f(fp, a), r;                                       \
		fp->rounded_up = false;                                                            \
		if (!fp_nan1(fp, x, &r))                                                           \
			r = fp_square_root(fp, format, x);                                         \
		return fp_pack_##f(r);                                                             \
	}

DEFINE(f32, uint32_t, &fp_format_f32, false)
DEFINE(f64, uint64_t, &fp_format_f64, false)
DEFINE(f80, struct softfp_f80, fp_format_f80_controlled(fp), true)
