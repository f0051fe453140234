/* Numbers with 128-bit significands, for the elementary functions: wide enough that their results
 * round to 64 bits as exact ones would, but for very rare cases.
 *
 *     struct wide s = wide_divide(wide_add(m, wide_negated(wide_one)), wide_add(m, wide_one));
 */
#ifndef ARCH_SOFTFP_WIDE_H
#define ARCH_SOFTFP_WIDE_H

#include "arch/softfp/parts.h"

/* frac / 2^127 * 2^exp; bit 127 of frac is set, or all of it is 0. Results are truncated, with the
 * last bit set when something was lost (so that a result just below an exact one stays below it).
 */
struct wide {
	unsigned __int128 frac;
	int32_t exp;
	bool sign;
};

#define WIDE_CONSTANT(exponent, hi, lo)                                                            \
	{                                                                                          \
		.frac = (unsigned __int128)(hi) << 64 | (lo), .exp = exponent                      \
	}

extern const struct wide wide_one, wide_half_pi, wide_ln2, wide_log2_e;

struct wide wide_from_parts(struct fp_parts a); /* of a finite value */
struct wide wide_from_int(int32_t a);
struct wide wide_normalized(bool sign, int32_t exp, unsigned __int128 frac);
struct wide wide_add(struct wide a, struct wide b);
struct wide wide_multiply(struct wide a, struct wide b);
struct wide wide_divide(struct wide a, struct wide b); /* b is not 0 */
struct wide wide_divide_int(struct wide a, uint32_t b);

static inline struct wide wide_negated(struct wide a)
{
	a.sign = !a.sign;
	return a;
}

#endif
