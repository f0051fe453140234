/* What the semantics of vector floating point share: the shape of an operation, and running a function over the elements.
 *
 * The scalar forms of Advanced SIMD have bit 28 set, otherwise the bits of the vector forms; they work on one element. What an instruction
 * does not write of its register becomes zero.
 */
#ifndef ENGINE_INTERP_AARCH64_SEM_FP_VECTOR_H
#define ENGINE_INTERP_AARCH64_SEM_FP_VECTOR_H

#include "engine/interp/aarch64/sem_fp.h"

/* How many elements of this size (log2 of bytes) the instruction works on: by its bit 28 (scalar) and Q. */
static inline unsigned fp_lanes(uint32_t insn, unsigned size)
{
	return insn >> 28 & 1 ? 1 : (insn >> 30 & 1 ? 16u : 8u) >> size;
}

/* Single or double by sz, bit 22. */
static inline unsigned fp_sz(uint32_t insn)
{
	return 2 + (insn >> 22 & 1);
}

/* The size of "three same" forms: halves have bit 21 clear. */
static inline unsigned fp_size_same(uint32_t insn)
{
	return insn >> 21 & 1 ? fp_sz(insn) : 1;
}

/* The size of "two-register" forms: halves have bit 20 set. */
static inline unsigned fp_size_misc(uint32_t insn)
{
	return insn >> 20 & 1 ? 1 : fp_sz(insn);
}

/* All ones or zero: what vector comparisons give. */
static inline uint64_t fp_mask(unsigned size, bool holds)
{
	return holds ? ~0ull >> (64 - (8u << size)) : 0;
}

/* Elements of Vn through op to Vd. */
static inline void fp_map1(struct a64_state *s, uint32_t insn, unsigned size, a64_fp_op1 *op)
{
	const unsigned lanes = fp_lanes(insn, size);
	const union a64_vreg *n = &s->v[a64_rn(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, size, i, op(&fp, size, fp_lane(n, size, i)));
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

/* Elements of Vn and of m through op to Vd. */
static inline void fp_map2(struct a64_state *s, uint32_t insn, unsigned size, const union a64_vreg *m, a64_fp_op2 *op)
{
	const unsigned lanes = fp_lanes(insn, size);
	const union a64_vreg *n = &s->v[a64_rn(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, size, i, op(&fp, size, fp_lane(n, size, i), fp_lane(m, size, i)));
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

/* Vd plus, or minus, the elements' products. */
static inline void fp_map_mul_add(struct a64_state *s, uint32_t insn, unsigned size, const union a64_vreg *m, bool subtract)
{
	const unsigned lanes = fp_lanes(insn, size);
	const uint64_t flip = subtract ? a64_fp_sign_bit(size) : 0;
	const union a64_vreg *n = &s->v[a64_rn(insn)], *d = &s->v[a64_rd(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, size, i,
			    a64_fp_mul_add(&fp, size, fp_lane(d, size, i), fp_lane(n, size, i) ^ flip, fp_lane(m, size, i)));
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

/* The index of an element: bits H (11), L (21), M (20) as many as there are. */
static inline unsigned fp_index_hlm(uint32_t insn)
{
	return (insn >> 11 & 1) << 2 | (insn >> 21 & 1) << 1 | (insn >> 20 & 1);
}

#endif
