/* Comparison.
 *
 * Example: softfp_f32_compare(&fp, a, b, true) is UCOMISS, with false COMISS.
 */
#include "arch/softfp/parts.h"

static enum softfp_order compare(struct softfp *fp, struct fp_parts a, struct fp_parts b,
				 bool quiet)
{
	fp->rounded_up = false;
	if (a.class >= FP_QNAN || b.class >= FP_QNAN) {
		if (!quiet || a.class > FP_QNAN || b.class > FP_QNAN)
			fp->flags |= SOFTFP_INVALID;
		return SOFTFP_UNORDERED;
	}
	if (a.denormal || b.denormal)
		fp->flags |= SOFTFP_DENORMAL;

	if (a.class == FP_ZERO && b.class == FP_ZERO)
		return SOFTFP_EQUAL;
	if (a.class == FP_ZERO)
		return b.sign ? SOFTFP_GREATER : SOFTFP_LESS;
	if (b.class == FP_ZERO || a.sign != b.sign)
		return a.sign ? SOFTFP_LESS : SOFTFP_GREATER;

	enum softfp_order magnitude;
	if (a.class != b.class)
		magnitude = a.class == FP_INFINITY ? SOFTFP_GREATER : SOFTFP_LESS;
	else if (a.exp != b.exp)
		magnitude = a.exp > b.exp ? SOFTFP_GREATER : SOFTFP_LESS;
	else if (a.frac != b.frac)
		magnitude = a.frac > b.frac ? SOFTFP_GREATER : SOFTFP_LESS;
	else
		return SOFTFP_EQUAL;
	return a.sign ? -magnitude : magnitude;
}

#define DEFINE(f, type)                                                                            \
	enum softfp_order softfp_##f##_compare(struct softfp *fp, type a, type b, bool quiet)      \
	{                                                                                          \
		return compare(fp, fp_unpack_##f(fp, a), fp_unpack_##f(fp, b), quiet);             \
	}

DEFINE(f32, uint32_t)
DEFINE(f64, uint64_t)
DEFINE(f80, struct softfp_f80)
