/* Fused multiply-add.
 *
 * Example: VFNMADD231SD: softfp_f64_fma(&fp, src2, src3, dst, true, false).
 */
#include "arch/softfp/parts.h"

/* A product or sum in progress: frac / 2^127 * 2^exp, bit 127 set. */
struct wide {
	unsigned __int128 frac;
	int32_t exp;
	bool sign;
};

static struct fp_parts add_wide(struct softfp *fp, const struct fp_format *format, struct wide a,
				struct wide b)
{
	if (a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac)) {
		struct wide t = a;
		a = b;
		b = t;
	}
	/* Significands of 53 and 106 bits: the headroom bit costs nothing. */
	a.frac >>= 1;
	b.frac = fp_shift_right_sticky(b.frac >> 1, a.exp - b.exp);
	a.frac = a.sign == b.sign ? a.frac + b.frac : a.frac - b.frac;
	if (!a.frac)
		return fp_zero(fp->rounding == SOFTFP_DOWN);
	int shift = fp_clz128(a.frac);
	a.frac <<= shift;
	return fp_round(fp, format, a.sign, a.exp + 1 - shift, (uint64_t)(a.frac >> 64),
			(uint64_t)a.frac);
}

/* SDM 1 14.5.2: NaN operands come first, then invalid products and sums. */
struct fp_parts fp_multiply_add(struct softfp *fp, const struct fp_format *format,
				struct fp_parts a, struct fp_parts b, struct fp_parts c,
				bool negate_product, bool negate_addend)
{
	bool sign = a.sign ^ b.sign ^ negate_product;

	fp->rounded_up = false;
	if (fp_is_nan(a) || fp_is_nan(b) || fp_is_nan(c)) {
		if (a.class == FP_SNAN || b.class == FP_SNAN || c.class == FP_SNAN)
			fp->flags |= SOFTFP_INVALID;
		return fp_quieted(fp_is_nan(a) ? a : fp_is_nan(b) ? b : c);
	}
	c.sign = c.sign != negate_addend;
	bool infinite = a.class == FP_INFINITY || b.class == FP_INFINITY;
	bool zero = a.class == FP_ZERO || b.class == FP_ZERO;
	if ((infinite && zero) || (infinite && c.class == FP_INFINITY && c.sign != sign))
		return fp_invalid(fp);
	if ((a.denormal || b.denormal || c.denormal) && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(false);
	if (infinite)
		return fp_infinity(sign);
	if (c.class == FP_INFINITY)
		return c;
	if (zero) {
		if (c.class == FP_ZERO)
			return fp_zero(sign == c.sign ? sign : fp->rounding == SOFTFP_DOWN);
		return fp_round(fp, format, c.sign, c.exp, c.frac, 0);
	}

	struct wide product = {(unsigned __int128)a.frac * b.frac, a.exp + b.exp + 1, sign};
	if (!(product.frac >> 127)) {
		product.frac <<= 1;
		product.exp--;
	}
	if (c.class == FP_ZERO)
		return fp_round(fp, format, sign, product.exp, (uint64_t)(product.frac >> 64),
				(uint64_t)product.frac);
	return add_wide(fp, format, product,
			(struct wide){(unsigned __int128)c.frac << 64, c.exp, c.sign});
}

uint32_t softfp_f32_fma(struct softfp *fp, uint32_t a, uint32_t b, uint32_t c, bool negate_product,
			bool negate_addend)
{
	return fp_pack_f32(fp_multiply_add(fp, &fp_format_f32, fp_unpack_f32(fp, a),
					   fp_unpack_f32(fp, b), fp_unpack_f32(fp, c),
					   negate_product, negate_addend));
}

uint64_t softfp_f64_fma(struct softfp *fp, uint64_t a, uint64_t b, uint64_t c, bool negate_product,
			bool negate_addend)
{
	return fp_pack_f64(fp_multiply_add(fp, &fp_format_f64, fp_unpack_f64(fp, a),
					   fp_unpack_f64(fp, b), fp_unpack_f64(fp, c),
					   negate_product, negate_addend));
}
