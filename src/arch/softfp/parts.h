/* The one internal form that all formats are unpacked to, and the one rounding step.
 *
 *     struct fp_parts x = fp_unpack_f32(fp, a);           // 1.5f: sign 0, exp 0, frac 0xc000...
 *     return fp_pack_f32(fp_round(fp, &fp_format_f32, sign, exp, hi, lo));
 *
 * A finite value is frac / 2^63 * 2^exp with bit 63 of frac set, whatever the source format was; a
 * NaN has its quiet bit in bit 62 and the payload below, so NaNs convert between formats by
 * truncation.
 */
#ifndef ARCH_SOFTFP_PARTS_H
#define ARCH_SOFTFP_PARTS_H

#include "arch/softfp/softfp.h"

enum fp_class {
	FP_ZERO,
	FP_FINITE,
	FP_INFINITY,
	FP_QNAN,
	FP_SNAN,
	FP_UNSUPPORTED, /* x87: unnormals, pseudo-infinities, pseudo-NaNs (SDM 1 8.2.2) */
};

struct fp_parts {
	uint64_t frac;
	int32_t exp;
	uint8_t class; /* enum fp_class */
	bool sign;
	bool denormal; /* the operand was one (and DAZ did not make it a zero) */
};

struct fp_format {
	uint8_t precision; /* of the significand, with the integer bit */
	bool flushes;	   /* flush_to_zero applies */
	int16_t wrap;	   /* exponent adjustment of an unmasked overflow or underflow (SDM
			      1 8.5.4, 8.5.5) */
	int32_t emin, emax;
};

extern const struct fp_format fp_format_f16, fp_format_f32, fp_format_f64, fp_format_f80;

#define FP_INTEGER_BIT (1ull << 63)
#define FP_QUIET_BIT   (1ull << 62)

static inline bool fp_is_nan(struct fp_parts a)
{
	return a.class == FP_QNAN || a.class == FP_SNAN;
}

/* Raises flags. Returns whether one of them is unmasked, which ends the operation: no result is
 * delivered and the flags of later checks are not raised (SDM 1 8.5.2, 11.5.2). */
static inline bool fp_raise(struct softfp *fp, uint8_t flags)
{
	fp->flags |= flags;
	return flags & ~fp->masked;
}

struct fp_parts fp_unpack_f16(uint16_t a); /* never flushed: SDM VCVTPH2PS ignores DAZ */
struct fp_parts fp_unpack_f32(const struct softfp *fp, uint32_t a);
struct fp_parts fp_unpack_f64(const struct softfp *fp, uint64_t a);
struct fp_parts fp_unpack_f80(const struct softfp *fp, struct softfp_f80 a);

uint16_t fp_pack_f16(struct fp_parts a);
uint32_t fp_pack_f32(struct fp_parts a);
uint64_t fp_pack_f64(struct fp_parts a);
struct softfp_f80 fp_pack_f80(struct fp_parts a);

/* The format that x87 arithmetic rounds to under FCW.PC: f80's exponents, 24, 53 or 64 bits. */
const struct fp_format *fp_format_f80_controlled(const struct softfp *fp);

/* Rounds (hi:lo) / 2^127 * 2^exp, bit 127 set; lo's low bits may stand for "something below"
 * (sticky). Raises OVERFLOW, UNDERFLOW, INEXACT and sets rounded_up. The result packs as is
 * (denormals have bit 63 of frac clear). */
struct fp_parts fp_round(struct softfp *fp, const struct fp_format *format, bool sign, int32_t exp,
			 uint64_t hi, uint64_t lo);

/* Whether a magnitude whose lowest kept bit is `odd` and whose discarded part is `rest` (as a
 * fraction of 2^64 of the lowest kept bit) is incremented. */
bool fp_rounds_up(enum softfp_rounding rounding, bool sign, bool odd, uint64_t rest);

/* The arithmetic on operands that are no NaNs (fp_multiply_add takes those as well): the result rounded
 * to the format. What is invalid raises INVALID and is x86's default NaN. */
struct fp_parts fp_add(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
		       struct fp_parts b);
struct fp_parts fp_multiply(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
			    struct fp_parts b);
struct fp_parts fp_divide(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
			  struct fp_parts b);
struct fp_parts fp_square_root(struct softfp *fp, const struct fp_format *format,
			       struct fp_parts a);
/* a * b + c, each term perhaps negated. */
struct fp_parts fp_multiply_add(struct softfp *fp, const struct fp_format *format,
				struct fp_parts a, struct fp_parts b, struct fp_parts c,
				bool negate_product, bool negate_addend);

struct fp_parts fp_default_nan(void);
struct fp_parts fp_zero(bool sign);
struct fp_parts fp_infinity(bool sign);
/* Raises INVALID and gives the default NaN. */
struct fp_parts fp_invalid(struct softfp *fp);
struct fp_parts fp_quieted(struct fp_parts a);

/* NaN and unsupported operands of a two-operand instruction: true when they decide the result.
 * by_significand is x87's rule, else the first NaN wins. */
bool fp_nan2(struct softfp *fp, struct fp_parts a, struct fp_parts b, bool by_significand,
	     struct fp_parts *result);
/* The same for one operand. */
bool fp_nan1(struct softfp *fp, struct fp_parts a, struct fp_parts *result);

/* 128-bit shift right that ORs what falls out into bit 0. */
static inline unsigned __int128 fp_shift_right_sticky(unsigned __int128 v, int32_t count)
{
	if (count == 0)
		return v;
	if (count > 127)
		return v != 0;
	return v >> count | ((v << (128 - count)) != 0);
}

/* Leading zeros of a value that is not 0. */
static inline int fp_clz128(unsigned __int128 v)
{
	uint64_t hi = (uint64_t)(v >> 64);
	return hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)v);
}

/* hi:lo / d for hi < d, d >= 2^63 (no libgcc call, so not by the compiler's 128-bit division). */
uint64_t fp_divide_128(uint64_t hi, uint64_t lo, uint64_t d, uint64_t *remainder);

#endif
