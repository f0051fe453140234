/* Unpacking, rounding and packing of floating-point values; NaN selection. See parts.h.
 *
 * Example: f32 addition is unpack, fp_add on the parts, fp_round with &fp_format_f32, pack.
 */
#include "arch/softfp/parts.h"

#define F80_EMIN (-16382)
#define F80_EMAX 16383
#define F80_WRAP 24576

const struct fp_format fp_format_f16 = {.precision = 11, .emin = -14, .emax = 15};
const struct fp_format fp_format_f32 = {
    .precision = 24, .flushes = true, .emin = -126, .emax = 127};
const struct fp_format fp_format_f64 = {
    .precision = 53, .flushes = true, .emin = -1022, .emax = 1023};
const struct fp_format fp_format_f80 = {
    .precision = 64, .wrap = F80_WRAP, .emin = F80_EMIN, .emax = F80_EMAX};
static const struct fp_format f80_as_f64 = {
    .precision = 53, .wrap = F80_WRAP, .emin = F80_EMIN, .emax = F80_EMAX};
static const struct fp_format f80_as_f32 = {
    .precision = 24, .wrap = F80_WRAP, .emin = F80_EMIN, .emax = F80_EMAX};

const struct fp_format *fp_format_f80_controlled(const struct softfp *fp)
{
	switch (fp->precision) {
	case 0:
		return &f80_as_f32;
	case 2:
		return &f80_as_f64;
	default:
		return &fp_format_f80;
	}
}

struct fp_parts fp_zero(bool sign)
{
	return (struct fp_parts){.class = FP_ZERO, .sign = sign};
}

struct fp_parts fp_infinity(bool sign)
{
	return (struct fp_parts){.class = FP_INFINITY, .sign = sign, .frac = FP_INTEGER_BIT};
}

struct fp_parts fp_default_nan(void)
{
	return (struct fp_parts){
	    .class = FP_QNAN, .sign = true, .frac = FP_INTEGER_BIT | FP_QUIET_BIT};
}

struct fp_parts fp_invalid(struct softfp *fp)
{
	fp->flags |= SOFTFP_INVALID;
	return fp_default_nan();
}

struct fp_parts fp_quieted(struct fp_parts a)
{
	a.class = FP_QNAN;
	a.frac |= FP_QUIET_BIT;
	return a;
}

/* frac: the stored fraction, left-aligned below the integer bit. */
static inline struct fp_parts unpack_ieee(bool sign, int32_t biased, int32_t bias, uint64_t frac,
					  bool flush)
{
	struct fp_parts p = {.sign = sign, .frac = frac};

	if (biased == 2 * bias + 1) {
		p.class = !frac ? FP_INFINITY : frac & FP_QUIET_BIT ? FP_QNAN : FP_SNAN;
		p.frac |= FP_INTEGER_BIT;
	} else if (biased) {
		p.class = FP_FINITE;
		p.exp = biased - bias;
		p.frac |= FP_INTEGER_BIT;
	} else if (frac && !flush) {
		int shift = __builtin_clzll(frac);
		p.class = FP_FINITE;
		p.denormal = true;
		p.exp = 1 - bias - shift;
		p.frac = frac << shift;
	} else {
		p.frac = 0;
	}
	return p;
}

struct fp_parts fp_unpack_f16(uint16_t a)
{
	return unpack_ieee(a >> 15, a >> 10 & 0x1f, 15, (uint64_t)(a & 0x3ff) << 53, false);
}

struct fp_parts fp_unpack_f32(const struct softfp *fp, uint32_t a)
{
	return unpack_ieee(a >> 31, a >> 23 & 0xff, 127, (uint64_t)(a & 0x7fffff) << 40,
			   fp->denormals_are_zero);
}

struct fp_parts fp_unpack_f64(const struct softfp *fp, uint64_t a)
{
	return unpack_ieee(a >> 63, a >> 52 & 0x7ff, 1023, (a & 0xfffffffffffffull) << 11,
			   fp->denormals_are_zero);
}

struct fp_parts fp_unpack_f80(const struct softfp *fp, struct softfp_f80 a)
{
	uint64_t m = a.mantissa;
	int32_t biased = a.exponent & 0x7fff;
	bool sign = a.exponent >> 15;

	if (biased && !(m & FP_INTEGER_BIT))
		return (struct fp_parts){.class = FP_UNSUPPORTED, .sign = sign, .frac = m};
	if (!biased && (m & FP_INTEGER_BIT)) /* a pseudo-denormal has the exponent of a denormal */
		return (struct fp_parts){
		    .class = FP_FINITE, .sign = sign, .denormal = true, .exp = F80_EMIN, .frac = m};
	return unpack_ieee(sign, biased, 16383, m & ~FP_INTEGER_BIT, false);
}

static inline uint64_t pack_ieee(struct fp_parts a, unsigned fraction_bits, unsigned exponent_bits)
{
	int32_t bias = (1 << (exponent_bits - 1)) - 1, biased;
	uint64_t fraction = (a.frac & ~FP_INTEGER_BIT) >> (63 - fraction_bits);

	if (a.class == FP_ZERO) {
		biased = 0;
		fraction = 0;
	} else if (a.class == FP_FINITE) {
		biased = a.frac & FP_INTEGER_BIT ? a.exp + bias : 0;
	} else {
		biased = 2 * bias + 1;
	}
	return (uint64_t)a.sign << (fraction_bits + exponent_bits) |
	       (uint64_t)biased << fraction_bits | fraction;
}

uint16_t fp_pack_f16(struct fp_parts a)
{
	return (uint16_t)pack_ieee(a, 10, 5);
}

uint32_t fp_pack_f32(struct fp_parts a)
{
	return (uint32_t)pack_ieee(a, 23, 8);
}

uint64_t fp_pack_f64(struct fp_parts a)
{
	return pack_ieee(a, 52, 11);
}

struct softfp_f80 fp_pack_f80(struct fp_parts a)
{
	int32_t biased = 0x7fff;

	if (a.class == FP_ZERO)
		biased = 0;
	else if (a.class == FP_FINITE)
		biased = a.frac & FP_INTEGER_BIT ? a.exp + 16383 : 0;
	return (struct softfp_f80){
	    .mantissa = a.class == FP_ZERO ? 0 : a.frac,
	    .exponent = (uint16_t)(a.sign << 15 | biased),
	};
}

bool fp_rounds_up(enum softfp_rounding rounding, bool sign, bool odd, uint64_t rest)
{
	const uint64_t half = 1ull << 63;

	switch (rounding) {
	case SOFTFP_NEAREST:
		return rest > half || (rest == half && odd);
	case SOFTFP_DOWN:
		return sign && rest;
	case SOFTFP_UP:
		return !sign && rest;
	default:
		return false;
	}
}

struct rounded {
	uint64_t frac;
	bool carry; /* frac went over to 2.0: it is 1.0 now, and the exponent one more */
	bool inexact, up;
};

/* hi:lo to `precision` bits of hi. */
static struct rounded round_fraction(enum softfp_rounding rounding, bool sign, unsigned precision,
				     uint64_t hi, uint64_t lo)
{
	unsigned drop = 64 - precision;
	struct rounded r = {.frac = hi};
	uint64_t rest = lo;

	if (drop) {
		rest = hi << (64 - drop) | (lo != 0);
		r.frac = hi >> drop << drop;
	}
	r.inexact = rest != 0;
	r.up = fp_rounds_up(rounding, sign, r.frac >> drop & 1, rest);
	if (r.up) {
		r.frac += 1ull << drop;
		if (hi >> 63 && !(r.frac >> 63)) {
			r.carry = true;
			r.frac = FP_INTEGER_BIT;
		}
	}
	return r;
}

static struct fp_parts overflow(struct softfp *fp, const struct fp_format *format, bool sign)
{
	bool to_infinity = fp_rounds_up(fp->rounding, sign, true, ~0ull);

	fp->flags |= SOFTFP_INEXACT;
	fp->rounded_up = to_infinity;
	if (to_infinity)
		return fp_infinity(sign);
	return (struct fp_parts){
	    .class = FP_FINITE,
	    .sign = sign,
	    .exp = format->emax,
	    .frac = ~0ull << (64 - format->precision),
	};
}

/* A tiny result while underflow is masked: a denormal, or zero. */
static struct fp_parts denormalize(struct softfp *fp, const struct fp_format *format, bool sign,
				   int32_t exp, uint64_t hi, uint64_t lo)
{
	if (format->flushes && fp->flush_to_zero) {
		fp->flags |= SOFTFP_UNDERFLOW | (fp->tiny_before_rounding ? 0 : SOFTFP_INEXACT);
		return fp_zero(sign);
	}
	unsigned __int128 v =
	    fp_shift_right_sticky((unsigned __int128)hi << 64 | lo, format->emin - exp);
	struct rounded r =
	    round_fraction(fp->rounding, sign, format->precision, (uint64_t)(v >> 64), (uint64_t)v);
	if (r.inexact)
		fp->flags |= SOFTFP_UNDERFLOW | SOFTFP_INEXACT;
	fp->rounded_up = r.up;
	if (!r.frac)
		return fp_zero(sign);
	return (struct fp_parts){
	    .class = FP_FINITE, .sign = sign, .exp = format->emin, .frac = r.frac};
}

struct fp_parts fp_round(struct softfp *fp, const struct fp_format *format, bool sign, int32_t exp,
			 uint64_t hi, uint64_t lo)
{
	struct rounded r = round_fraction(fp->rounding, sign, format->precision, hi, lo);
	int32_t rounded_exp = exp + r.carry;

	fp->rounded_up = false;
	if (unlikely(fp->tiny_before_rounding && exp < format->emin))
		return denormalize(fp, format, sign, exp, hi, lo);
	if (unlikely(rounded_exp < format->emin)) { /* tiny after rounding (SDM 1 4.9.1.5) */
		if (fp->masked & SOFTFP_UNDERFLOW)
			return denormalize(fp, format, sign, exp, hi, lo);
		fp->flags |= SOFTFP_UNDERFLOW;
		rounded_exp += format->wrap;
	} else if (unlikely(rounded_exp > format->emax)) {
		fp->flags |= SOFTFP_OVERFLOW;
		if (fp->masked & SOFTFP_OVERFLOW)
			return overflow(fp, format, sign);
		rounded_exp -= format->wrap;
	}
	if (r.inexact)
		fp->flags |= SOFTFP_INEXACT;
	fp->rounded_up = r.up;
	return (struct fp_parts){
	    .class = FP_FINITE, .sign = sign, .exp = rounded_exp, .frac = r.frac};
}

bool fp_nan1(struct softfp *fp, struct fp_parts a, struct fp_parts *result)
{
	if (likely(a.class < FP_QNAN))
		return false;
	if (a.class == FP_UNSUPPORTED) {
		*result = fp_invalid(fp);
		return true;
	}
	if (a.class == FP_SNAN)
		fp->flags |= SOFTFP_INVALID;
	*result = fp_quieted(a);
	return true;
}

/* SDM 1 table 4-7, the x87 column. */
static struct fp_parts larger_nan(struct fp_parts a, struct fp_parts b)
{
	if (!fp_is_nan(b))
		return a;
	if (!fp_is_nan(a))
		return b;
	if (a.class != b.class)
		return a.class == FP_QNAN ? a : b;
	if (a.frac != b.frac)
		return a.frac > b.frac ? a : b;
	return a.sign ? b : a;
}

bool fp_nan2(struct softfp *fp, struct fp_parts a, struct fp_parts b, bool by_significand,
	     struct fp_parts *result)
{
	if (likely(a.class < FP_QNAN && b.class < FP_QNAN))
		return false;
	if (a.class == FP_UNSUPPORTED || b.class == FP_UNSUPPORTED) {
		*result = fp_invalid(fp);
		return true;
	}
	if (a.class == FP_SNAN || b.class == FP_SNAN)
		fp->flags |= SOFTFP_INVALID;
	*result = fp_quieted(by_significand ? larger_nan(a, b) : fp_is_nan(a) ? a : b);
	return true;
}

/* Knuth's algorithm D with two 32-bit digits. */
uint64_t fp_divide_128(uint64_t hi, uint64_t lo, uint64_t d, uint64_t *remainder)
{
	const uint64_t d1 = d >> 32, d0 = (uint32_t)d;
	uint64_t quotient = 0, r = hi;

	for (int i = 0; i < 2; i++) {
		uint64_t next = i ? (uint32_t)lo : lo >> 32;
		uint64_t q = r / d1, rest = r % d1;

		while (q >> 32 || q * d0 > (rest << 32 | next)) {
			q--;
			rest += d1;
			if (rest >> 32)
				break;
		}
		r = (r << 32 | next) - q * d;
		quotient = quotient << 32 | q;
	}
	*remainder = r;
	return quotient;
}
