/* x87's transcendental functions. Computed with 128 bits and rounded once: right to the last bit
 * but for cases that occur once in some 2^50 (SDM 1 8.3.10 asks for an error below one unit in the
 * last place). FCW.PC does not apply. Arguments of the trigonometric ones are reduced by x87's own
 * pi of 66 bits.
 *
 * Example: FYL2X: r = softfp_f80_y_log2_x(&fp, st1, st0);
 */
#include "arch/softfp/wide.h"

typedef unsigned __int128 uint128;

/* ---- series ---- */

/* Whether adding further terms cannot change a sum. */
static bool negligible(struct wide term, struct wide sum)
{
	return !term.frac || term.exp < sum.exp - 140;
}

/* first * (1 + f / (d (d+s-1)) * (1 + f / ((d+s) (d+2s-1)) * ...)): the factorial series, steps of
 * 1 and 2. */
static struct wide factorial_series(struct wide first, struct wide factor, uint32_t d,
				    uint32_t step)
{
	struct wide sum = first, term = first;

	do {
		term = wide_multiply(term, factor);
		for (uint32_t i = 0; i < step; i++)
			term = wide_divide_int(term, d++);
		sum = wide_add(sum, term);
	} while (d < 100 && !negligible(term, sum));
	return sum;
}

/* x + x * square / 3 + x * square^2 / 5 + ...: atanh for square = x^2, atan for -x^2. |x| < 0.42.
 */
static struct wide odd_series(struct wide x, struct wide square)
{
	struct wide sum = x, power = x, term;
	uint32_t d = 3;

	do {
		power = wide_multiply(power, square);
		term = wide_divide_int(power, d);
		sum = wide_add(sum, term);
		d += 2;
	} while (d < 200 && !negligible(term, sum));
	return sum;
}

static struct wide sine(struct wide x)
{
	return factorial_series(x, wide_negated(wide_multiply(x, x)), 2, 2);
}

static struct wide cosine(struct wide x)
{
	return factorial_series(wide_one, wide_negated(wide_multiply(x, x)), 1, 2);
}

/* log2(1 + x) = 2 / ln 2 * atanh(x / (2 + x)), for -0.3 < x < 0.42. */
static struct wide log2_near_one(struct wide x)
{
	struct wide two = wide_one, s;

	two.exp = 1;
	s = wide_divide(x, wide_add(two, x));
	s = wide_multiply(odd_series(s, wide_multiply(s, s)), wide_log2_e);
	s.exp++;
	return s;
}

static struct wide log2_of(struct wide x)
{
	const uint64_t sqrt2 = 0xb504f333f9de6484;
	int32_t exp = x.exp;

	x.exp = 0;
	if ((uint64_t)(x.frac >> 64) > sqrt2) {
		x.exp = -1;
		exp++;
	}
	const struct wide minus_one = wide_add(x, wide_negated(wide_one));

	if (!minus_one.frac)
		return wide_from_int(exp);
	return wide_add(wide_from_int(exp), log2_near_one(minus_one));
}

/* For 0 <= x <= 1. */
static struct wide arctangent(struct wide x)
{
	const uint64_t tan_pi_8 = 0xd413cccfe7799211; /* * 2^-65 */
	struct wide base = {0};

	if (x.exp >= -1 || (x.exp == -2 && (uint64_t)(x.frac >> 64) > tan_pi_8)) {
		x = wide_divide(wide_add(x, wide_negated(wide_one)), wide_add(x, wide_one));
		base = wide_half_pi;
		base.exp--;
	}
	if (!x.frac)
		return base;
	return wide_add(base, odd_series(x, wide_negated(wide_multiply(x, x))));
}

/* ---- results ---- */

/* Results that are not exact get a bit below all that count: they never round as if they were. */
static struct fp_parts inexact(struct softfp *fp, struct wide a)
{
	return fp_round(fp, &fp_format_f80, a.sign, a.exp, (uint64_t)(a.frac >> 64),
			(uint64_t)a.frac | 1);
}

/* An exact result, reported as if it were not: so do processors. */
static struct fp_parts exact(struct softfp *fp, struct wide a)
{
	const struct fp_parts r =
	    fp_round(fp, &fp_format_f80, a.sign, a.exp, (uint64_t)(a.frac >> 64), (uint64_t)a.frac);

	fp->flags |= SOFTFP_INEXACT | (r.frac & FP_INTEGER_BIT ? 0 : SOFTFP_UNDERFLOW);
	return r;
}

static struct wide halved(struct wide a, int times)
{
	a.exp -= times;
	return a;
}

static struct wide signed_as(struct wide a, bool sign)
{
	a.sign = sign;
	return a;
}

static struct fp_parts one(bool sign)
{
	return (struct fp_parts){.class = FP_FINITE, .sign = sign, .frac = FP_INTEGER_BIT};
}

/* ---- 2^x - 1 ---- */

static struct fp_parts exp2m1(struct softfp *fp, struct fp_parts a)
{
	if (a.denormal && fp_raise(fp, SOFTFP_DENORMAL))
		return a;
	if (a.class == FP_ZERO)
		return a;
	if (a.class == FP_INFINITY)
		return a.sign ? one(true) : a;
	if (a.exp == 0 && a.frac == FP_INTEGER_BIT) /* 1, -1: 1, -1/2 */
		return exact(fp, halved(wide_from_parts(a), a.sign));
	if (a.exp >= 0) /* outside of -1..1: undefined */
		return a;
	const struct wide x = wide_multiply(wide_from_parts(a), wide_ln2);
	return inexact(fp, factorial_series(x, x, 2, 1));
}

struct softfp_f80 softfp_f80_exp2m1(struct softfp *fp, struct softfp_f80 a)
{
	struct fp_parts x = fp_unpack_f80(fp, a), r;

	fp->rounded_up = false;
	if (!fp_nan1(fp, x, &r))
		r = exp2m1(fp, x);
	return fp_pack_f80(r);
}

/* ---- y * log2(x) ---- */

static struct fp_parts y_log2_x(struct softfp *fp, struct fp_parts y, struct fp_parts x)
{
	const bool is_one = x.class == FP_FINITE && x.exp == 0 && x.frac == FP_INTEGER_BIT;
	/* The logarithm's sign; of 1 it is a positive zero. */
	const bool sign = x.class == FP_ZERO || (x.class == FP_FINITE && x.exp < 0);

	if ((x.sign && x.class != FP_ZERO) || (x.class == FP_ZERO && y.class == FP_ZERO) ||
	    (x.class == FP_INFINITY && y.class == FP_ZERO) || (is_one && y.class == FP_INFINITY))
		return fp_invalid(fp);
	if (x.class == FP_ZERO && y.class == FP_FINITE) {
		fp->flags |= SOFTFP_DIVZERO;
		return fp_infinity(!y.sign);
	}
	if ((x.denormal || y.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return y;
	if (x.class != FP_FINITE || y.class == FP_INFINITY)
		return fp_infinity(sign != y.sign);
	if (y.class == FP_ZERO || is_one)
		return fp_zero(sign != y.sign);

	const struct wide product = wide_multiply(wide_from_parts(y), log2_of(wide_from_parts(x)));
	return x.frac == FP_INTEGER_BIT ? exact(fp, product) : inexact(fp, product);
}

struct softfp_f80 softfp_f80_y_log2_x(struct softfp *fp, struct softfp_f80 y, struct softfp_f80 x)
{
	struct fp_parts b = fp_unpack_f80(fp, y), a = fp_unpack_f80(fp, x), r;

	fp->rounded_up = false;
	if (!fp_nan2(fp, a, b, true, &r))
		r = y_log2_x(fp, b, a);
	return fp_pack_f80(r);
}

/* Defined for |x| < 1 - sqrt(1/2); where 1 + x is positive the result is right all the same. */
static struct fp_parts y_log2_x_plus_1(struct softfp *fp, struct fp_parts y, struct fp_parts x)
{
	const bool small = x.class != FP_INFINITY && (x.class == FP_ZERO || x.exp < -2);

	if ((x.class == FP_ZERO && y.class == FP_INFINITY) ||
	    (x.class == FP_INFINITY && y.class == FP_ZERO) || (x.class == FP_INFINITY && x.sign))
		return fp_invalid(fp);
	if ((x.denormal || y.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return y;
	if (x.class == FP_INFINITY || y.class == FP_INFINITY)
		return fp_infinity(x.sign != y.sign);
	if (x.class == FP_ZERO || y.class == FP_ZERO)
		return fp_zero(x.sign != y.sign);

	struct wide log = wide_from_parts(x);
	if (small) {
		log = log2_near_one(log);
	} else {
		log = wide_add(log, wide_one);
		if (!log.frac || log.sign)
			return y;
		log = log2_of(log);
	}
	return inexact(fp, wide_multiply(wide_from_parts(y), log));
}

struct softfp_f80 softfp_f80_y_log2_x_plus_1(struct softfp *fp, struct softfp_f80 y,
					     struct softfp_f80 x)
{
	struct fp_parts b = fp_unpack_f80(fp, y), a = fp_unpack_f80(fp, x), r;

	fp->rounded_up = false;
	if (!fp_nan2(fp, a, b, true, &r))
		r = y_log2_x_plus_1(fp, b, a);
	return fp_pack_f80(r);
}

/* ---- the angle of (x, y) ---- */

static struct fp_parts angle_of(struct softfp *fp, struct fp_parts y, struct fp_parts x)
{
	const bool y_small =
	    y.class == FP_ZERO || (x.class == FP_INFINITY && y.class != FP_INFINITY);
	const bool x_small =
	    x.class == FP_ZERO || (y.class == FP_INFINITY && x.class != FP_INFINITY);
	struct wide pi = wide_half_pi, angle;

	pi.exp++;
	if ((x.denormal || y.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return y;
	if (y_small)
		return x.sign ? inexact(fp, signed_as(pi, y.sign)) : fp_zero(y.sign);
	if (x_small)
		return inexact(fp, signed_as(wide_half_pi, y.sign));
	if (x.class == FP_INFINITY) {
		angle = halved(pi, 2);
	} else {
		const struct wide a = signed_as(wide_from_parts(x), false),
				  b = signed_as(wide_from_parts(y), false);

		if (b.exp < a.exp || (b.exp == a.exp && b.frac <= a.frac)) {
			angle = arctangent(wide_divide(b, a));
		} else {
			angle = wide_add(wide_half_pi, wide_negated(arctangent(wide_divide(a, b))));
		}
	}
	if (x.sign)
		angle = wide_add(pi, wide_negated(angle));
	return inexact(fp, signed_as(angle, y.sign));
}

struct softfp_f80 softfp_f80_atan2(struct softfp *fp, struct softfp_f80 y, struct softfp_f80 x)
{
	struct fp_parts b = fp_unpack_f80(fp, y), a = fp_unpack_f80(fp, x), r;

	fp->rounded_up = false;
	if (!fp_nan2(fp, a, b, true, &r))
		r = angle_of(fp, b, a);
	return fp_pack_f80(r);
}

/* ---- trigonometry ---- */

/* a = quadrant * pi/2 + *rest, |*rest| <= pi/4, with pi/2 = 0x3243f6a8885a308d3 / 2^65 (SDM
 * 1 8.3.8). Exact. |a| < 2^63. Returns the quadrant modulo 4. */
static unsigned reduce(struct fp_parts a, struct wide *rest)
{
	const uint128 half_pi = (uint128)3 << 64 | 0x243f6a8885a308d3;
	const uint64_t pi_4 = 0xc90fdaa22168c234;
	uint128 r = a.frac; /* in units of 2^-65 once it is shifted */
	unsigned quadrant = 0;

	if (a.exp < -1 || (a.exp == -1 && a.frac <= pi_4)) {
		*rest = wide_from_parts(a);
		return 0;
	}
	for (int i = 0; i < a.exp + 2; i++) {
		r <<= 1;
		quadrant <<= 1;
		if (r >= half_pi) {
			r -= half_pi;
			quadrant |= 1;
		}
	}
	bool beyond = r > half_pi - r;
	if (beyond) {
		r = half_pi - r;
		quadrant++;
	}
	*rest = wide_normalized(beyond != a.sign, 127 - 65, r);
	return (a.sign ? 0 - quadrant : quadrant) & 3;
}

/* Sines and cosines of the multiples of pi/2 are exact. */
static struct fp_parts quarter(struct softfp *fp, struct wide rest, unsigned quadrant)
{
	struct wide r = rest;

	if (quadrant & 1)
		r = cosine(rest);
	else if (rest.frac)
		r = sine(rest);
	if (quadrant & 2)
		r = wide_negated(r);
	if (!rest.frac)
		return quadrant & 1 ? one(r.sign) : fp_zero(r.sign);
	return inexact(fp, r);
}

/* What all of them do first. Whether the result is *r; else a is finite, not zero and in range. */
static bool trivial(struct softfp *fp, struct fp_parts a, struct fp_parts *r, bool *out_of_range)
{
	fp->rounded_up = false;
	*out_of_range = false;
	if (fp_nan1(fp, a, r))
		return true;
	*r = a;
	if (a.class == FP_INFINITY) {
		*r = fp_invalid(fp);
		return true;
	}
	if (a.class == FP_FINITE && a.exp >= 63) {
		*out_of_range = true;
		return true;
	}
	return a.denormal && fp_raise(fp, SOFTFP_DENORMAL);
}

struct softfp_f80 softfp_f80_sin(struct softfp *fp, struct softfp_f80 a, bool *out_of_range)
{
	struct fp_parts x = fp_unpack_f80(fp, a), r;
	struct wide rest;

	if (trivial(fp, x, &r, out_of_range))
		return *out_of_range ? a : fp_pack_f80(r);
	if (x.class == FP_ZERO)
		return a;
	const unsigned quadrant = reduce(x, &rest);
	return fp_pack_f80(quarter(fp, rest, quadrant));
}

struct softfp_f80 softfp_f80_cos(struct softfp *fp, struct softfp_f80 a, bool *out_of_range)
{
	struct fp_parts x = fp_unpack_f80(fp, a), r;
	struct wide rest;

	if (trivial(fp, x, &r, out_of_range))
		return *out_of_range ? a : fp_pack_f80(r);
	if (x.class == FP_ZERO)
		return fp_pack_f80(one(false));
	const unsigned quadrant = reduce(x, &rest);
	return fp_pack_f80(quarter(fp, rest, quadrant + 1));
}

struct softfp_f80 softfp_f80_tan(struct softfp *fp, struct softfp_f80 a, bool *out_of_range)
{
	struct fp_parts x = fp_unpack_f80(fp, a), r;
	struct wide rest, sin, cos;

	if (trivial(fp, x, &r, out_of_range))
		return *out_of_range ? a : fp_pack_f80(r);
	if (x.class == FP_ZERO)
		return a;
	const unsigned quadrant = reduce(x, &rest);
	if (!rest.frac) /* no 64-bit number is a multiple of pi/2 but 0 */
		return fp_pack_f80(fp_zero(x.sign));
	sin = sine(rest);
	cos = cosine(rest);
	return fp_pack_f80(inexact(fp, quadrant & 1 ? wide_negated(wide_divide(cos, sin))
						    : wide_divide(sin, cos)));
}
