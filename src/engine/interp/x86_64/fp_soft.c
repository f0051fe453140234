/* Floating-point arithmetic in integers, for hosts that are not x86-64 and as the reference: see fp.h.
 *
 * Each function runs an element's operation from arch/softfp over the elements of its type.
 */
#include "arch/softfp/softfp.h"
#include "engine/interp/x86_64/fp.h"
#include <string.h>

static struct softfp environment(uint32_t mxcsr)
{
	const struct softfp fp = {
		.rounding = (uint8_t)((mxcsr & MXCSR_RC) >> MXCSR_RC_SHIFT),
		.precision = 3,
		.flush_to_zero = (mxcsr & MXCSR_FTZ) != 0,
		.denormals_are_zero = (mxcsr & MXCSR_DAZ) != 0,
		.masked = (mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS,
	};

	return fp;
}

/* ---- what arch/softfp has not: minimum, maximum and the approximations ---- */
/* The second operand unless the first is strictly on the right side; any NaN is invalid. */
#define DEFINE_EXTREME(width, type)                                                                \
	static type f##width##_extreme(struct softfp *fp, type a, type b, enum softfp_order wanted) \
	{                                                                                          \
		const type sign = (type)1 << (width - 1), least_normal = width == 32 ? 1u << 23 : (type)(1ull << 52); \
		if (fp->denormals_are_zero) {                                                      \
			if ((a & ~sign) < least_normal)                                            \
				a &= sign;                                                         \
			if ((b & ~sign) < least_normal)                                            \
				b &= sign;                                                         \
		}                                                                                  \
		return softfp_f##width##_compare(fp, a, b, false) == wanted ? a : b;               \
	}                                                                                          \
	static type softfp_f##width##_min(struct softfp *fp, type a, type b)                       \
	{                                                                                          \
		return f##width##_extreme(fp, a, b, SOFTFP_LESS);                                  \
	}                                                                                          \
	static type softfp_f##width##_max(struct softfp *fp, type a, type b)                       \
	{                                                                                          \
		return f##width##_extreme(fp, a, b, SOFTFP_GREATER);                               \
	}
DEFINE_EXTREME(32, uint32_t)
DEFINE_EXTREME(64, uint64_t)

/* RCPPS and RSQRTPS promise a relative error below 1.5 * 2^-12 and no flags; denormals count as zero. The result is
 * the exact one with 12 bits. (Processors of different makers differ here too.) */
static uint32_t approximate(uint32_t a, bool square_root)
{
	struct softfp fp = { .rounding = SOFTFP_NEAREST, .precision = 3, .flush_to_zero = true,
			     .denormals_are_zero = true, .masked = MXCSR_FLAGS };
	uint32_t r = square_root ? softfp_f32_sqrt(&fp, a) : a;

	r = softfp_f32_div(&fp, 0x3f800000, r);
	return (r & 0x7f800000) == 0x7f800000 ? r : (r + 0x400) & ~0x7ffu;
}

static uint32_t softfp_f32_rcp(struct softfp *fp, uint32_t a)
{
	return approximate(a, false);
}

static uint32_t softfp_f32_rsqrt(struct softfp *fp, uint32_t a)
{
	return approximate(a, true);
}

/* ---- two operands ---- */
#define EACH(type, lane, count, expr)                                                              \
	struct softfp fp = environment(mxcsr);                                                     \
	for (unsigned h = 0; h < halves; h++) {                                                    \
		d[h] = a[h];                                                                       \
		for (unsigned i = 0; i < (count); i++)                                             \
			d[h].lane[i] = (type)(expr);                                               \
	}                                                                                          \
	return fp.flags;

#define DEFINE(name, ...)                                                                          \
	uint32_t fp_soft_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
				unsigned halves)                                                   \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

#define DEFINE_BINARY(op)                                                                          \
	DEFINE(op##ps, EACH(uint32_t, u32, 4, softfp_f32_##op(&fp, a[h].u32[i], b[h].u32[i])))     \
	DEFINE(op##pd, EACH(uint64_t, u64, 2, softfp_f64_##op(&fp, a[h].u64[i], b[h].u64[i])))     \
	DEFINE(op##ss, EACH(uint32_t, u32, 1, softfp_f32_##op(&fp, a[h].u32[i], b[h].u32[i])))     \
	DEFINE(op##sd, EACH(uint64_t, u64, 1, softfp_f64_##op(&fp, a[h].u64[i], b[h].u64[i])))
DEFINE_BINARY(add)
DEFINE_BINARY(sub)
DEFINE_BINARY(mul)
DEFINE_BINARY(div)
DEFINE_BINARY(min)
DEFINE_BINARY(max)

/* ---- one operand ---- */
DEFINE(sqrtps, EACH(uint32_t, u32, 4, softfp_f32_sqrt(&fp, b[h].u32[i])))
DEFINE(sqrtpd, EACH(uint64_t, u64, 2, softfp_f64_sqrt(&fp, b[h].u64[i])))
DEFINE(sqrtss, EACH(uint32_t, u32, 1, softfp_f32_sqrt(&fp, b[h].u32[i])))
DEFINE(sqrtsd, EACH(uint64_t, u64, 1, softfp_f64_sqrt(&fp, b[h].u64[i])))
DEFINE(rcpps, EACH(uint32_t, u32, 4, softfp_f32_rcp(&fp, b[h].u32[i])))
DEFINE(rcpss, EACH(uint32_t, u32, 1, softfp_f32_rcp(&fp, b[h].u32[i])))
DEFINE(rsqrtps, EACH(uint32_t, u32, 4, softfp_f32_rsqrt(&fp, b[h].u32[i])))
DEFINE(rsqrtss, EACH(uint32_t, u32, 1, softfp_f32_rsqrt(&fp, b[h].u32[i])))
DEFINE(roundps, EACH(uint32_t, u32, 4, softfp_f32_round_to_int(&fp, b[h].u32[i], true)))
DEFINE(roundpd, EACH(uint64_t, u64, 2, softfp_f64_round_to_int(&fp, b[h].u64[i], true)))
DEFINE(roundss, EACH(uint32_t, u32, 1, softfp_f32_round_to_int(&fp, b[h].u32[i], true)))
DEFINE(roundsd, EACH(uint64_t, u64, 1, softfp_f64_round_to_int(&fp, b[h].u64[i], true)))

/* ---- conversions; those that narrow or widen start from a cleared destination ---- */
static const union vec zero[2];
#define CLEARED a = zero;
#define TRUNCATED mxcsr |= MXCSR_RC;
DEFINE(cvtdq2ps, EACH(uint32_t, u32, 4, softfp_f32_from_i32(&fp, b[h].s32[i])))
DEFINE(cvtdq2pd, EACH(uint64_t, u64, 2, softfp_f64_from_i32(&fp, b[h].s32[i])))
DEFINE(cvtps2dq, EACH(int32_t, s32, 4, softfp_f32_to_i32(&fp, b[h].u32[i])))
DEFINE(cvttps2dq, TRUNCATED EACH(int32_t, s32, 4, softfp_f32_to_i32(&fp, b[h].u32[i])))
DEFINE(cvtpd2dq, CLEARED EACH(int32_t, s32, 2, softfp_f64_to_i32(&fp, b[h].u64[i])))
DEFINE(cvttpd2dq, TRUNCATED CLEARED EACH(int32_t, s32, 2, softfp_f64_to_i32(&fp, b[h].u64[i])))
DEFINE(cvtps2pd, EACH(uint64_t, u64, 2, softfp_f32_to_f64(&fp, b[h].u32[i])))
DEFINE(cvtpd2ps, CLEARED EACH(uint32_t, u32, 2, softfp_f64_to_f32(&fp, b[h].u64[i])))
DEFINE(cvtss2sd, EACH(uint64_t, u64, 1, softfp_f32_to_f64(&fp, b[h].u32[i])))
DEFINE(cvtsd2ss, EACH(uint32_t, u32, 1, softfp_f64_to_f32(&fp, b[h].u64[i])))

/* binary16 has no DAZ and no FTZ, and its denormals raise nothing (SDM 2, VCVTPH2PS and VCVTPS2PH). */
uint32_t fp_cvtph2ps(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves)
{
	struct softfp fp = environment(mxcsr & ~(uint32_t)(MXCSR_DAZ | MXCSR_FTZ));

	for (unsigned h = 0; h < halves; h++)
		for (unsigned i = 0; i < 4; i++)
			d[h].u32[i] = softfp_f16_to_f32(&fp, b[h].u16[i]);
	return fp.flags & ~(uint32_t)MXCSR_DE;
}

uint32_t fp_cvtps2ph(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves)
{
	struct softfp fp = environment(mxcsr & ~(uint32_t)MXCSR_FTZ);

	for (unsigned h = 0; h < halves; h++) {
		d[h] = (union vec){ 0 };
		for (unsigned i = 0; i < 4; i++)
			d[h].u16[i] = softfp_f32_to_f16(&fp, b[h].u32[i]);
	}
	return fp.flags;
}

#define DEFINE_TO_INTEGER(name, from, lane, to, type, truncate)                                    \
	uint32_t fp_soft_##name(uint32_t mxcsr, uint64_t *d, const union vec *b)                   \
	{                                                                                          \
		struct softfp fp = environment(mxcsr | (truncate));                                \
		*d = (type)softfp_##from##_to_##to(&fp, b->lane[0]);                               \
		return fp.flags;                                                                   \
	}
DEFINE_TO_INTEGER(cvtss2si32, f32, u32, i32, uint32_t, 0)
DEFINE_TO_INTEGER(cvtss2si64, f32, u32, i64, uint64_t, 0)
DEFINE_TO_INTEGER(cvtsd2si32, f64, u64, i32, uint32_t, 0)
DEFINE_TO_INTEGER(cvtsd2si64, f64, u64, i64, uint64_t, 0)
DEFINE_TO_INTEGER(cvttss2si32, f32, u32, i32, uint32_t, MXCSR_RC)
DEFINE_TO_INTEGER(cvttss2si64, f32, u32, i64, uint64_t, MXCSR_RC)
DEFINE_TO_INTEGER(cvttsd2si32, f64, u64, i32, uint32_t, MXCSR_RC)
DEFINE_TO_INTEGER(cvttsd2si64, f64, u64, i64, uint64_t, MXCSR_RC)

#define DEFINE_FROM_INTEGER(name, to, lane, from, type)                                            \
	uint32_t fp_soft_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, uint64_t b) \
	{                                                                                          \
		struct softfp fp = environment(mxcsr);                                             \
		*d = *a;                                                                           \
		d->lane[0] = softfp_##to##_from_##from(&fp, (type)b);                              \
		return fp.flags;                                                                   \
	}
DEFINE_FROM_INTEGER(cvtsi32ss, f32, u32, i32, int32_t)
DEFINE_FROM_INTEGER(cvtsi64ss, f32, u32, i64, int64_t)
DEFINE_FROM_INTEGER(cvtsi32sd, f64, u64, i32, int32_t)
DEFINE_FROM_INTEGER(cvtsi64sd, f64, u64, i64, int64_t)

/* ---- fused multiply and add ---- */
#define DEFINE_FMA(name, format, type, lane, count)                                                \
	uint32_t fp_soft_##name(uint32_t mxcsr, union vec *restrict d, const union vec *x, const union vec *y, \
				const union vec *z, unsigned halves)                               \
	{                                                                                          \
		const union vec *a = x;                                                            \
		EACH(type, lane, count,                                                            \
		     softfp_##format##_fma(&fp, x[h].lane[i], y[h].lane[i], z[h].lane[i], false, false)) \
	}
DEFINE_FMA(fmaps, f32, uint32_t, u32, 4)
DEFINE_FMA(fmapd, f64, uint64_t, u64, 2)
DEFINE_FMA(fmass, f32, uint32_t, u32, 1)
DEFINE_FMA(fmasd, f64, uint64_t, u64, 1)
