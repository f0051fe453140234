/* Conversions between floating-point formats.
 *
 * Example: FLD m64fp is softfp_f64_to_f80(), FST m64fp softfp_f80_to_f64().
 */
#include "arch/softfp/parts.h"

/* Which formats report denormal sources differs: see the callers. */
static struct fp_parts convert(struct softfp *fp, const struct fp_format *format, struct fp_parts a,
			       bool report_denormal)
{
	struct fp_parts r;

	fp->rounded_up = false;
	if (fp_nan1(fp, a, &r)) {
		r.frac &= ~0ull << (64 - format->precision);
		return r;
	}
	if (report_denormal && a.denormal && fp_raise(fp, SOFTFP_DENORMAL))
		return fp_zero(a.sign);
	if (a.class != FP_FINITE)
		return a;
	return fp_round(fp, format, a.sign, a.exp, a.frac, 0);
}

uint64_t softfp_f32_to_f64(struct softfp *fp, uint32_t a)
{
	return fp_pack_f64(convert(fp, &fp_format_f64, fp_unpack_f32(fp, a), true));
}

uint32_t softfp_f64_to_f32(struct softfp *fp, uint64_t a)
{
	return fp_pack_f32(convert(fp, &fp_format_f32, fp_unpack_f64(fp, a), true));
}

struct softfp_f80 softfp_f32_to_f80(struct softfp *fp, uint32_t a)
{
	return fp_pack_f80(convert(fp, &fp_format_f80, fp_unpack_f32(fp, a), true));
}

struct softfp_f80 softfp_f64_to_f80(struct softfp *fp, uint64_t a)
{
	return fp_pack_f80(convert(fp, &fp_format_f80, fp_unpack_f64(fp, a), true));
}

/* FST: a register's denormal is a plain underflow, no denormal operand. Nothing is stored with an
 * unmasked overflow or underflow, so nothing is inexact then. */
static struct fp_parts store(struct softfp *fp, const struct fp_format *format, struct softfp_f80 a)
{
	const uint8_t before = fp->flags;
	struct fp_parts r;

	fp->flags = 0;
	r = convert(fp, format, fp_unpack_f80(fp, a), false);
	if (fp->flags & ~fp->masked & (SOFTFP_OVERFLOW | SOFTFP_UNDERFLOW)) {
		fp->flags &= (uint8_t)~SOFTFP_INEXACT;
		fp->rounded_up = false;
	}
	fp->flags |= before;
	return r;
}

uint32_t softfp_f80_to_f32(struct softfp *fp, struct softfp_f80 a)
{
	return fp_pack_f32(store(fp, &fp_format_f32, a));
}

uint64_t softfp_f80_to_f64(struct softfp *fp, struct softfp_f80 a)
{
	return fp_pack_f64(store(fp, &fp_format_f64, a));
}

uint32_t softfp_f16_to_f32(struct softfp *fp, uint16_t a)
{
	return fp_pack_f32(convert(fp, &fp_format_f32, fp_unpack_f16(a), false));
}

uint16_t softfp_f32_to_f16(struct softfp *fp, uint32_t a)
{
	return fp_pack_f16(convert(fp, &fp_format_f16, fp_unpack_f32(fp, a), true));
}
