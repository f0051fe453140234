/* What the files of AArch64's floating point share: Arm's rules around arch/softfp's arithmetic.
 *
 *     struct fp_parts x = a64_fp_unpack(fp, size, a), r;
 *
 *     if (a64_fp_nans(fp, &x, 1, &r))
 *             return a64_fp_pack(size, r);
 *     struct softfp soft = a64_fp_context(fp, size);
 *     return a64_fp_finish(fp, &soft, size, fp_square_root(&soft, &a64_fp_formats[size], x));
 */
#ifndef ARCH_AARCH64_FP_PARTS_H
#define ARCH_AARCH64_FP_PARTS_H

#include "arch/aarch64/fp.h"
#include "arch/aarch64/state.h"
#include "arch/softfp/parts.h"

/* By size. */
extern const struct fp_format a64_fp_formats[4];

/* FPUnpack: denormals are zeros under FZ (with IDC) and FZ16. */
struct fp_parts a64_fp_unpack(struct a64_fp *fp, unsigned size, uint64_t a);
uint64_t a64_fp_pack(unsigned size, struct fp_parts a);
/* FPProcessNaNs and its variants: whether one of the operands is a NaN, which is the result then: the first signalling one, else the first
 * quiet one. */
bool a64_fp_nans(struct a64_fp *fp, const struct fp_parts *operands, unsigned count, struct fp_parts *result);
struct fp_parts a64_fp_default_nan(void);
/* The default NaN, with IOC. */
struct fp_parts a64_fp_invalid(struct a64_fp *fp);

/* For rounding by FPCR to a format of this size. */
struct softfp a64_fp_context(const struct a64_fp *fp, unsigned size);
/* FPRound's end: what was raised goes to FPSR. */
uint64_t a64_fp_finish(struct a64_fp *fp, const struct softfp *soft, unsigned size, struct fp_parts result);
/* enum a64_fp_rounding to softfp's; A64_ROUND_AWAY and _ODD as toward zero. */
enum softfp_rounding a64_fp_softfp_rounding(enum a64_fp_rounding rounding);

/* Sign of a - b for operands that are no NaNs: -1, 0, 1. */
int a64_fp_order(struct fp_parts a, struct fp_parts b);

#endif
