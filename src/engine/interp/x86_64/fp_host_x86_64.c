/* Floating-point arithmetic on the host's SSE unit: see fp.h.
 *
 * A window around the instruction gives the host the guest's rounding, DAZ and FTZ with all exceptions
 * masked, and reads the flags: everything in volatile asm, which the compiler keeps in order; no C floating
 * point stands in between. Afterwards the control bits are the default again (the flags are nobody's: the ABI
 * lets calls change them).
 *
 * STMXCSR costs more than most of what happens inside the window (and LDMXCSR little where nothing waits for it), so
 * there is one of them: while all exceptions are masked, the guest's flags go in along with its control bits
 * and come out with what was added. Default control bits are not written back.
 */
#include "engine/interp/x86_64/fp.h"

typedef float f32x4 __attribute__((vector_size(16)));

static inline uint32_t store_mxcsr(void)
{
	uint32_t value;

	__asm__ volatile("stmxcsr %0" : "=m"(value));
	return value;
}

static inline void load_mxcsr(uint32_t value)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(value));
}

static inline void window_open(uint32_t mxcsr)
{
	const uint32_t keep = (mxcsr & MXCSR_MASKS) == MXCSR_MASKS ? MXCSR_FLAGS : 0;

	load_mxcsr((mxcsr & (MXCSR_RC | MXCSR_DAZ | MXCSR_FTZ | keep)) | MXCSR_MASKS);
}

static inline uint32_t window_close(uint32_t mxcsr)
{
	const uint32_t flags = store_mxcsr() & MXCSR_FLAGS;

	if (unlikely(mxcsr & (MXCSR_RC | MXCSR_DAZ | MXCSR_FTZ)))
		load_mxcsr(MXCSR_DEFAULT);
	return flags;
}

/* Not to be had without unmasking them here: underflow is flagged for exact results too while it is unmasked, and
 * FTZ is off then; overflow while unmasked is not always inexact. */
static inline bool needs_soft(uint32_t mxcsr)
{
	return unlikely((mxcsr & (MXCSR_OM | MXCSR_UM)) != (MXCSR_OM | MXCSR_UM));
}

/* The registers of struct x86_state are 8-byte aligned only. */
static inline f32x4 load(const union vec *v)
{
	f32x4 r;

	__builtin_memcpy(&r, v, sizeof(r));
	return r;
}

static inline void store(union vec *v, f32x4 r)
{
	__builtin_memcpy(v, &r, sizeof(r));
}

#define DEFINE_WINDOW(name, function, unfit)                                                       \
	uint32_t function(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
			  unsigned halves)                                                         \
	{                                                                                          \
		if (unfit)                                                                         \
			return fp_soft_##name(mxcsr, d, a, b, halves);                             \
		window_open(mxcsr);                                                                \
		for (unsigned h = 0; h < halves; h++) {                                            \
			f32x4 x = load(&a[h]);                                                     \
			const f32x4 y = load(&b[h]);                                               \
			__asm__ volatile(#name " %1, %0" : "+x"(x) : "x"(y));                      \
			store(&d[h], x);                                                           \
		}                                                                                  \
		return window_close(mxcsr);                                                       \
	}
/* The destination of a one-operand instruction starts as a: scalar forms keep what they do not write. */
#define DEFINE_EXACT(name)       DEFINE_WINDOW(name, fp_##name, needs_soft(mxcsr))
#define DEFINE_APPROXIMATE(name) DEFINE_WINDOW(name, fp_##name, false) /* no flags at all */
FP_PACKED_FNS(DEFINE_EXACT)
FP_UNARY_FNS(DEFINE_EXACT)
FP_APPROXIMATE_FNS(DEFINE_APPROXIMATE)

/* Scalar arithmetic without the window: with default control bits and PE set already, ordinary operands that give
 * an ordinary result have nothing to report. */
static inline bool nothing_to_report(uint32_t mxcsr)
{
	const uint32_t others = MXCSR_FLAGS & ~(uint32_t)MXCSR_PE;

	return likely((mxcsr & ~others) == (MXCSR_DEFAULT | MXCSR_PE));
}

/* bits: of the format without its sign, shifted to the top; fraction: bits that have it behind them. */
static inline bool denormal(uint64_t bits, unsigned fraction)
{
	return bits - 1 < (1ull << fraction) - 1; /* zero wraps */
}

/* Neither NaN, infinity, zero nor anything that may have been rounded up from a tiny value. */
static inline bool ordinary(uint64_t bits, unsigned fraction, unsigned infinity)
{
	return bits - (2ull << fraction) < (uint64_t)(infinity - 2) << fraction;
}

static inline bool denormal32(const union vec *v)
{
	return denormal((uint64_t)v->u32[0] << 33, 56);
}

static inline bool denormal64(const union vec *v)
{
	return denormal(v->u64[0] << 1, 53);
}

static inline bool ordinary32(const union vec *v)
{
	return ordinary((uint64_t)v->u32[0] << 33, 56, 255);
}

static inline bool ordinary64(const union vec *v)
{
	return ordinary(v->u64[0] << 1, 53, 2047);
}

#define DEFINE_SCALAR(name, width)                                                                 \
	static DEFINE_WINDOW(name, window_##name, needs_soft(mxcsr))                               \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
			   unsigned halves)                                                        \
	{                                                                                          \
		if (nothing_to_report(mxcsr) && !denormal##width(a) && !denormal##width(b)) {      \
			f32x4 x = load(a);                                                         \
			const f32x4 y = load(b);                                                   \
			__asm__ volatile(#name " %1, %0" : "+x"(x) : "x"(y));                      \
			store(d, x);                                                               \
			if (likely(ordinary##width(d)))                                            \
				return 0;                                                          \
		}                                                                                  \
		return window_##name(mxcsr, d, a, b, halves);                                      \
	}
FP_SCALAR_FNS(DEFINE_SCALAR)

/* SSE4.1: immediate 4 says "by MXCSR.RC". */
#define DEFINE_ROUND(name)                                                                         \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
			   unsigned halves)                                                        \
	{                                                                                          \
		if (!__builtin_cpu_supports("sse4.1"))                                             \
			return fp_soft_##name(mxcsr, d, a, b, halves);                             \
		window_open(mxcsr);                                                                \
		for (unsigned h = 0; h < halves; h++) {                                            \
			f32x4 x = load(&a[h]);                                                     \
			const f32x4 y = load(&b[h]);                                               \
			__asm__ volatile(#name " $4, %1, %0" : "+x"(x) : "x"(y));                  \
			store(&d[h], x);                                                           \
		}                                                                                  \
		return window_close(mxcsr);                                                       \
	}
FP_ROUND_FNS(DEFINE_ROUND)

/* 213: first = second * first + third; of NaNs it takes the second's, the first's, the third's. So the second is
 * x to give the priority that fp.h asks. */
#define DEFINE_FMA(name, insn)                                                                     \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *x, const union vec *y, \
			   const union vec *z, unsigned halves)                                    \
	{                                                                                          \
		if (needs_soft(mxcsr) || !__builtin_cpu_supports("fma"))                           \
			return fp_soft_##name(mxcsr, d, x, y, z, halves);                          \
		window_open(mxcsr);                                                                \
		for (unsigned h = 0; h < halves; h++) {                                            \
			f32x4 r = load(&y[h]);                                                     \
			const f32x4 s = load(&x[h]), t = load(&z[h]);                              \
			__asm__ volatile(#insn " %2, %1, %0" : "+x"(r) : "x"(s), "x"(t));          \
			store(&d[h], r);                                                           \
		}                                                                                  \
		return window_close(mxcsr);                                                       \
	}
DEFINE_FMA(fmaps, vfmadd213ps)
DEFINE_FMA(fmapd, vfmadd213pd)
DEFINE_FMA(fmass, vfmadd213ss)
DEFINE_FMA(fmasd, vfmadd213sd)

#define DEFINE_TO_INTEGER(name, insn, type)                                                        \
	uint32_t fp_##name(uint32_t mxcsr, uint64_t *d, const union vec *b)                        \
	{                                                                                          \
		window_open(mxcsr);                                                                \
		const f32x4 y = load(b);                                                           \
		type r;                                                                            \
		__asm__ volatile(#insn " %1, %0" : "=r"(r) : "x"(y));                              \
		*d = r;                                                                            \
		return window_close(mxcsr);                                                       \
	}
DEFINE_TO_INTEGER(cvtss2si32, cvtss2si, uint32_t)
DEFINE_TO_INTEGER(cvtss2si64, cvtss2si, uint64_t)
DEFINE_TO_INTEGER(cvtsd2si32, cvtsd2si, uint32_t)
DEFINE_TO_INTEGER(cvtsd2si64, cvtsd2si, uint64_t)
DEFINE_TO_INTEGER(cvttss2si32, cvttss2si, uint32_t)
DEFINE_TO_INTEGER(cvttss2si64, cvttss2si, uint64_t)
DEFINE_TO_INTEGER(cvttsd2si32, cvttsd2si, uint32_t)
DEFINE_TO_INTEGER(cvttsd2si64, cvttsd2si, uint64_t)

#define DEFINE_FROM_INTEGER(name, insn, type)                                                      \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, uint64_t b)  \
	{                                                                                          \
		window_open(mxcsr);                                                                \
		f32x4 x = load(a);                                                                 \
		const type y = (type)b;                                                            \
		__asm__ volatile(#insn " %1, %0" : "+x"(x) : "r"(y));                              \
		store(d, x);                                                                       \
		return window_close(mxcsr);                                                       \
	}
DEFINE_FROM_INTEGER(cvtsi32ss, cvtsi2ssl, uint32_t)
DEFINE_FROM_INTEGER(cvtsi64ss, cvtsi2ssq, uint64_t)
DEFINE_FROM_INTEGER(cvtsi64sd, cvtsi2sdq, uint64_t)

/* Always exact. */
uint32_t fp_cvtsi32sd(uint32_t mxcsr, union vec *restrict d, const union vec *a, uint64_t b)
{
	const double value = (int32_t)b;

	*d = *a;
	__builtin_memcpy(d, &value, sizeof(value));
	return 0;
}
