/* Comparisons, rounding to integers, and conversions of AArch64's floating point. See fp.h. */
#include "arch/aarch64/fp_host.h"
#include "arch/aarch64/fp_parts.h"

/* ---- comparisons ---- */
#define UNORDERED 2

/* As a64_fp_order(), or UNORDERED: invalid for signalling NaNs, and for quiet ones if asked for. */
static int compare(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal)
{
	int order;

	if (likely(a64_fp_host_order(fp, size, a, b, &order)))
		return order;
	const struct fp_parts x = a64_fp_unpack(fp, size, a), y = a64_fp_unpack(fp, size, b);

	if (unlikely(fp_is_nan(x) || fp_is_nan(y))) {
		if (signal || x.class == FP_SNAN || y.class == FP_SNAN)
			fp->fpsr |= A64_FPSR_IOC;
		return UNORDERED;
	}
	return a64_fp_order(x, y);
}

unsigned a64_fp_compare(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal)
{
	switch (compare(fp, size, a, b, signal)) {
	case -1: return 8;
	case 0: return 6;
	case 1: return 2;
	default: return 3;
	}
}

bool a64_fp_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return compare(fp, size, a, b, false) == 0;
}

bool a64_fp_greater_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	const int order = compare(fp, size, a, b, true);

	return order == 0 || order == 1;
}

bool a64_fp_greater(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return compare(fp, size, a, b, true) == 1;
}

/* ---- integers ---- */
/* |a| of a finite number below 2^64 as an integer. */
static unsigned __int128 round_magnitude(struct fp_parts a, enum a64_fp_rounding rounding, bool *inexact)
{
	uint64_t integer = 0, rest;
	bool up;

	if (a.exp >= 0) {
		integer = a.frac >> (63 - a.exp);
		rest = a.exp == 63 ? 0 : a.frac << (a.exp + 1);
	} else {
		rest = a.exp == -1 ? a.frac : 1; /* below one half only that it isn't 0 counts */
	}
	*inexact = rest != 0;
	if (rounding == A64_ROUND_AWAY)
		up = rest >> 63;
	else
		up = fp_rounds_up(a64_fp_softfp_rounding(rounding), a.sign, integer & 1, rest);
	return (unsigned __int128)integer + up;
}

uint64_t a64_fp_round_int(struct a64_fp *fp, unsigned size, uint64_t a, enum a64_fp_rounding rounding, bool exact)
{
	uint64_t result;

	if (likely(a64_fp_host_round_int(fp, size, a, rounding, exact, &result)))
		return result;
	struct fp_parts x = a64_fp_unpack(fp, size, a), r;
	bool inexact;

	if (a64_fp_nans(fp, &x, 1, &r))
		return a64_fp_pack(size, r);
	if (x.class != FP_FINITE || x.exp >= a64_fp_formats[size].precision - 1)
		return a64_fp_pack(size, x);
	const uint64_t integer = (uint64_t)round_magnitude(x, rounding, &inexact);

	if (exact && inexact)
		fp->fpsr |= A64_FPSR_IXC;
	if (!integer)
		return a64_fp_pack(size, fp_zero(x.sign));
	x.exp = 63 - __builtin_clzll(integer);
	x.frac = integer << (63 - x.exp);
	return a64_fp_pack(size, x);
}

/* SatQ: what fits of a magnitude with its sign. false: not all of it. */
static bool saturate(bool sign, unsigned __int128 magnitude, unsigned bits, bool is_unsigned, uint64_t *result)
{
	const uint64_t limit = is_unsigned ? sign ? 0 : ~0ull >> (64 - bits) : (1ull << (bits - 1)) - !sign;
	const bool fits = magnitude <= limit;
	const uint64_t clamped = fits ? (uint64_t)magnitude : limit;

	*result = (sign ? -clamped : clamped) & ~0ull >> (64 - bits);
	return fits;
}

uint64_t a64_fp_to_fixed(struct a64_fp *fp, unsigned size, uint64_t a, unsigned bits, unsigned fraction, bool is_unsigned,
			 enum a64_fp_rounding rounding)
{
	uint64_t result;

	if (!fraction && likely(a64_fp_host_to_integer(fp, size, a, bits, is_unsigned, rounding, &result)))
		return result;
	struct fp_parts x = a64_fp_unpack(fp, size, a);
	unsigned __int128 magnitude = (unsigned __int128)1 << 64;
	bool inexact = false;

	if (x.class == FP_ZERO)
		return 0;
	if (fp_is_nan(x)) {
		fp->fpsr |= A64_FPSR_IOC;
		return 0;
	}
	x.exp += (int32_t)fraction;
	if (x.class == FP_FINITE && x.exp < 64)
		magnitude = round_magnitude(x, rounding, &inexact);
	if (!saturate(x.sign, magnitude, bits, is_unsigned, &result))
		fp->fpsr |= A64_FPSR_IOC;
	else if (inexact)
		fp->fpsr |= A64_FPSR_IXC;
	return result;
}

uint64_t a64_fp_from_fixed(struct a64_fp *fp, unsigned size, uint64_t integer, unsigned fraction, bool is_unsigned)
{
	uint64_t result;

	if (!fraction && likely(a64_fp_host_from_integer(fp, size, integer, is_unsigned, &result)))
		return result;
	const bool sign = !is_unsigned && integer >> 63;
	const uint64_t magnitude = sign ? -integer : integer;
	struct softfp soft = a64_fp_context(fp, size);

	if (!magnitude)
		return 0;
	const int shift = __builtin_clzll(magnitude);

	return a64_fp_finish(fp, &soft, size,
			     fp_round(&soft, &a64_fp_formats[size], sign, 63 - shift - (int32_t)fraction, magnitude << shift, 0));
}

uint32_t a64_fp_to_fixed_js(struct a64_fp *fp, uint64_t a, bool *exact)
{
	const struct fp_parts x = a64_fp_unpack(fp, A64_FP_SIZE_DOUBLE, a);
	bool inexact = false;
	uint64_t magnitude = 0;

	*exact = false;
	if (x.class == FP_ZERO) {
		*exact = !x.sign && !(a << 1);
		return 0;
	}
	if (x.class != FP_FINITE) {
		fp->fpsr |= A64_FPSR_IOC;
		return 0;
	}
	if (x.exp < 64)
		magnitude = (uint64_t)round_magnitude(x, A64_ROUND_ZERO, &inexact);
	else if (x.exp < 96)
		magnitude = x.frac << (x.exp - 63); /* only the low 32 bits count */
	if (x.exp > 31 || magnitude > (1ull << 31) - !x.sign)
		fp->fpsr |= A64_FPSR_IOC;
	else if (inexact)
		fp->fpsr |= A64_FPSR_IXC;
	else
		*exact = true;
	return (uint32_t)(x.sign ? -magnitude : magnitude);
}

/* ---- formats ---- */
/* The alternative half-precision format has numbers where infinities and NaNs are (A1.5.3). */
static const struct fp_format alternative_half = {.precision = 11, .emin = -14, .emax = 16};
#define ALTERNATIVE_MAX 0x7fffu

/* FPUnpackCV: FPCR.FZ16 doesn't count. */
static struct fp_parts unpack_to_convert(struct a64_fp *fp, unsigned size, uint64_t a)
{
	if (size != A64_FP_SIZE_HALF)
		return a64_fp_unpack(fp, size, a);
	if (fp->fpcr & A64_FPCR_AHP && (a >> 10 & 0x1f) == 0x1f)
		return (struct fp_parts){
			.class = FP_FINITE, .sign = a >> 15 & 1, .exp = 16, .frac = FP_INTEGER_BIT | (a & 0x3ff) << 53};
	return fp_unpack_f16((uint16_t)a);
}

/* Neither NaNs nor infinities, and what is too large becomes the largest: all invalid. */
static uint64_t convert_to_alternative(struct a64_fp *fp, struct fp_parts x, struct softfp *soft)
{
	const uint64_t sign = (uint64_t)x.sign << 15;

	if (fp_is_nan(x) || x.class == FP_INFINITY) {
		fp->fpsr |= A64_FPSR_IOC;
		return fp_is_nan(x) ? sign : sign | ALTERNATIVE_MAX;
	}
	if (x.class == FP_ZERO)
		return sign;
	x = fp_round(soft, &alternative_half, x.sign, x.exp, x.frac, 0);
	if (soft->flags & SOFTFP_OVERFLOW) {
		fp->fpsr |= A64_FPSR_IOC;
		return sign | ALTERNATIVE_MAX;
	}
	return a64_fp_finish(fp, soft, A64_FP_SIZE_HALF, x);
}

uint64_t a64_fp_convert(struct a64_fp *fp, unsigned to, unsigned from, uint64_t a, enum a64_fp_rounding rounding)
{
	uint64_t result;

	if (likely(rounding != A64_ROUND_ODD && a64_fp_host_convert(fp, to, from, a, &result)))
		return result;
	struct fp_parts x = unpack_to_convert(fp, from, a), r;
	struct softfp soft = a64_fp_context(fp, to);

	soft.rounding = (uint8_t)a64_fp_softfp_rounding(rounding);
	soft.flush_to_zero &= to != A64_FP_SIZE_HALF;
	if (to == A64_FP_SIZE_HALF && fp->fpcr & A64_FPCR_AHP)
		return convert_to_alternative(fp, x, &soft);
	if (a64_fp_nans(fp, &x, 1, &r) || x.class != FP_FINITE)
		return a64_fp_pack(to, fp_is_nan(x) ? r : x);
	r = fp_round(&soft, &a64_fp_formats[to], x.sign, x.exp, x.frac, 0);
	return a64_fp_finish(fp, &soft, to, r) | (rounding == A64_ROUND_ODD && soft.flags & SOFTFP_INEXACT);
}
