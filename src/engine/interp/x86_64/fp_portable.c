/* The floating-point seam on hosts without an SSE unit: everything by fp_soft.c. See fp.h. */
#include "engine/interp/x86_64/fp.h"

#define FORWARD(name, ...)                                                                         \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
			   unsigned halves)                                                        \
	{                                                                                          \
		return fp_soft_##name(mxcsr, d, a, b, halves);                                     \
	}
FP_SCALAR_FNS(FORWARD)
FP_PACKED_FNS(FORWARD)
FP_UNARY_FNS(FORWARD)
FP_APPROXIMATE_FNS(FORWARD)
FP_ROUND_FNS(FORWARD)

#define FORWARD_FMA(name)                                                                          \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *x, const union vec *y, \
			   const union vec *z, unsigned halves)                                    \
	{                                                                                          \
		return fp_soft_##name(mxcsr, d, x, y, z, halves);                                  \
	}
FP_FMA_FNS(FORWARD_FMA)

#define FORWARD_TO_INTEGER(name)                                                                   \
	uint32_t fp_##name(uint32_t mxcsr, uint64_t *d, const union vec *b)                        \
	{                                                                                          \
		return fp_soft_##name(mxcsr, d, b);                                                \
	}
FP_TO_INTEGER_FNS(FORWARD_TO_INTEGER)

#define FORWARD_FROM_INTEGER(name)                                                                 \
	uint32_t fp_##name(uint32_t mxcsr, union vec *restrict d, const union vec *a, uint64_t b)  \
	{                                                                                          \
		return fp_soft_##name(mxcsr, d, a, b);                                             \
	}
FP_FROM_INTEGER_FNS(FORWARD_FROM_INTEGER)
