/* Floating-point arithmetic of SSE and AVX: the seam between what instructions do with operands and registers
 * and who computes. Two implementations give the same bits and flags:
 *
 *   fp_host_x86_64.c   the host's own SSE unit with the guest's rounding, DAZ and FTZ (on x86-64 hosts)
 *   fp_soft.c          integers (arch/softfp), on every host; the reference, and what the host's unit
 *                      can't be asked: overflow and underflow while they are unmasked
 *
 * Example:
 *     uint32_t flags = fp_addps(mxcsr, d.half, a, b, 2);   // vaddps ymm
 *
 * All functions take the guest's MXCSR and return exception flags (MXCSR bits 5:0) as if all exceptions but
 * overflow and underflow were masked; which of them an unmasked one suppresses is the caller's (fp_report). While all are
 * masked, flags that are already set in mxcsr may be returned again. d may not overlap a source.
 */
#ifndef ENGINE_INTERP_X86_64_FP_H
#define ENGINE_INTERP_X86_64_FP_H

#include "engine/interp/x86_64/vec.h"

enum {
	MXCSR_IE = 1, MXCSR_DE = 2, MXCSR_ZE = 4, MXCSR_OE = 8, MXCSR_UE = 16, MXCSR_PE = 32,
	MXCSR_FLAGS = 63,
	MXCSR_PRECOMPUTATION = MXCSR_IE | MXCSR_DE | MXCSR_ZE,
	MXCSR_DAZ = 1 << 6,
	MXCSR_MASKS_SHIFT = 7,
	MXCSR_MASKS = MXCSR_FLAGS << MXCSR_MASKS_SHIFT,
	MXCSR_OM = MXCSR_OE << MXCSR_MASKS_SHIFT,
	MXCSR_UM = MXCSR_UE << MXCSR_MASKS_SHIFT,
	MXCSR_RC_SHIFT = 13,
	MXCSR_RC = 3 << MXCSR_RC_SHIFT,
	MXCSR_FTZ = 1 << 15,
	MXCSR_DEFAULT = MXCSR_MASKS,
};

/* Packed: d[h] = a[h] op b[h] for each half. Scalar (..ss, ..sd): halves is 1; the rest of d is a's. One-operand
 * instructions work on b: sqrtps, rcpps, roundps (by MXCSR.RC; the caller puts the immediate's there), and the
 * conversions. A conversion that changes the elements' size works on the low 64 bits of the narrow side of
 * each half, and clears the rest of d. */
typedef uint32_t fp_fn(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves);
/* d = x * y + z. NaN operands go through in the order x, y, z. */
typedef uint32_t fp_fma_fn(uint32_t mxcsr, union vec *restrict d, const union vec *x, const union vec *y,
			   const union vec *z, unsigned halves);
/* The low element of b as an integer (32 bits: zero-extended), and back; the rest of d is a's. */
typedef uint32_t fp_to_integer_fn(uint32_t mxcsr, uint64_t *d, const union vec *b);
typedef uint32_t fp_from_integer_fn(uint32_t mxcsr, union vec *restrict d, const union vec *a, uint64_t b);

#define FP_TYPES(X, name) X(name##ps) X(name##pd) X(name##ss) X(name##sd)
#define FP_SCALAR_FNS(X) /* the most frequent ones */                                              \
	X(addss, 32) X(subss, 32) X(mulss, 32) X(divss, 32) X(addsd, 64) X(subsd, 64) X(mulsd, 64) X(divsd, 64)
#define FP_PACKED_FNS(X)                                                                           \
	X(addps) X(subps) X(mulps) X(divps) X(addpd) X(subpd) X(mulpd) X(divpd)                    \
	FP_TYPES(X, min) FP_TYPES(X, max)
#define FP_UNARY_FNS(X)                                                                            \
	FP_TYPES(X, sqrt)                                                                          \
	X(cvtdq2ps) X(cvtdq2pd) X(cvtps2dq) X(cvttps2dq) X(cvtpd2dq) X(cvttpd2dq)                  \
	X(cvtps2pd) X(cvtpd2ps) X(cvtss2sd) X(cvtsd2ss)
#define FP_APPROXIMATE_FNS(X) X(rcpps) X(rcpss) X(rsqrtps) X(rsqrtss)
#define FP_ROUND_FNS(X) FP_TYPES(X, round)
#define FP_FMA_FNS(X)   FP_TYPES(X, fma)
#define FP_TO_INTEGER_FNS(X)                                                                       \
	X(cvtss2si32) X(cvtss2si64) X(cvtsd2si32) X(cvtsd2si64)                                    \
	X(cvttss2si32) X(cvttss2si64) X(cvttsd2si32) X(cvttsd2si64)
#define FP_FROM_INTEGER_FNS(X) X(cvtsi32ss) X(cvtsi64ss) X(cvtsi32sd) X(cvtsi64sd)

#define FP_DECLARE(name, ...)         fp_fn fp_##name, fp_soft_##name;
#define FP_DECLARE_FMA(name)          fp_fma_fn fp_##name, fp_soft_##name;
#define FP_DECLARE_TO_INTEGER(name)   fp_to_integer_fn fp_##name, fp_soft_##name;
#define FP_DECLARE_FROM_INTEGER(name) fp_from_integer_fn fp_##name, fp_soft_##name;
FP_SCALAR_FNS(FP_DECLARE)
FP_PACKED_FNS(FP_DECLARE)
FP_UNARY_FNS(FP_DECLARE)
FP_APPROXIMATE_FNS(FP_DECLARE)
FP_ROUND_FNS(FP_DECLARE)
FP_FMA_FNS(FP_DECLARE_FMA)
FP_TO_INTEGER_FNS(FP_DECLARE_TO_INTEGER)
FP_FROM_INTEGER_FNS(FP_DECLARE_FROM_INTEGER)

/* F16C's formats, 64 bits of each half on the binary16 side; by softfp on every host. */
fp_fn fp_cvtph2ps, fp_cvtps2ph;

/* ---- for the semantic functions (fp.c) ---- */
/* What of an operation's flags the guest gets to see: an unmasked exception before the computation keeps those
 * after it from happening (SDM 1 11.5.3). */
uint32_t fp_visible(uint32_t mxcsr, uint32_t flags);
/* sem_mxcsr_flags with that. Does not return if it raises. Call before the result is written. */
void fp_report(struct cpu *cpu, uint32_t flags);
/* The same for flags that were passed through fp_visible, of instructions that compute in steps. */
void fp_report_visible(struct cpu *cpu, uint32_t flags);
/* Shapes as vec_binary: packed and scalar instructions by one of the functions above. */
void fp_binary(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn);
/* op dst, src of packed one-operand instructions. */
void fp_unary(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn);

/* Comparison of two binary32 or binary64 values. */
enum fp_order { FP_LESS = 1, FP_EQUAL = 2, FP_GREATER = 4, FP_UNORDERED = 8 };
/* signaling: quiet NaNs raise IE too. */
enum fp_order fp_compare32(uint32_t mxcsr, uint32_t a, uint32_t b, bool signaling, uint32_t *flags);
enum fp_order fp_compare64(uint32_t mxcsr, uint64_t a, uint64_t b, bool signaling, uint32_t *flags);

#endif
