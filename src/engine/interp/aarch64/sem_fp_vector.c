/* Vector floating point of three registers, by element, of pairs and across lanes (DDI 0487 C4.1.67, C7.2).
 */
#include "engine/interp/aarch64/sem_fp_vector.h"

/* ---- three the same ---- */
static uint64_t difference(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_abs(size, a64_fp_sub(fp, size, a, b));
}

static uint64_t equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return fp_mask(size, a64_fp_equal(fp, size, a, b));
}

static uint64_t greater_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return fp_mask(size, a64_fp_greater_equal(fp, size, a, b));
}

static uint64_t greater(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return fp_mask(size, a64_fp_greater(fp, size, a, b));
}

static uint64_t absolute_greater_equal(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return greater_equal(fp, size, a64_fp_abs(size, a), a64_fp_abs(size, b));
}

static uint64_t absolute_greater(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return greater(fp, size, a64_fp_abs(size, a), a64_fp_abs(size, b));
}

#define THREE_SAME(name, op)                                                                                                               \
	SEM(name##_v)                                                                                                                      \
	{                                                                                                                                  \
		fp_map2(&cpu->s, insn, fp_size_same(insn), &cpu->s.v[a64_rm(insn)], op);                                                   \
	}
THREE_SAME(fadd, a64_fp_add)
THREE_SAME(fsub, a64_fp_sub)
THREE_SAME(fmul, a64_fp_mul)
THREE_SAME(fmulx, a64_fp_mulx)
THREE_SAME(fdiv, a64_fp_div)
THREE_SAME(fabd, difference)
THREE_SAME(fmax, a64_fp_max)
THREE_SAME(fmin, a64_fp_min)
THREE_SAME(fmaxnm, a64_fp_max_num)
THREE_SAME(fminnm, a64_fp_min_num)
THREE_SAME(frecps, a64_fp_recip_step)
THREE_SAME(frsqrts, a64_fp_rsqrt_step)
THREE_SAME(fcmeq, equal)
THREE_SAME(fcmge, greater_equal)
THREE_SAME(fcmgt, greater)
THREE_SAME(facge, absolute_greater_equal)
THREE_SAME(facgt, absolute_greater)

SEM(fmla_v)
{
	fp_map_mul_add(&cpu->s, insn, fp_size_same(insn), &cpu->s.v[a64_rm(insn)], false);
}

SEM(fmls_v)
{
	fp_map_mul_add(&cpu->s, insn, fp_size_same(insn), &cpu->s.v[a64_rm(insn)], true);
}

/* ---- by element ---- */
static unsigned element_size(uint32_t insn)
{
	return insn >> 23 & 1 ? fp_sz(insn) : 1;
}

/* The element, in all lanes. Of halves Vm is one of the lower 16. */
static union a64_vreg element(const struct a64_state *s, uint32_t insn)
{
	const unsigned size = element_size(insn);
	const uint64_t value = fp_lane(&s->v[size == 1 ? a64_rm(insn) & 15 : a64_rm(insn)], size, fp_index_hlm(insn) >> (size - 1));
	union a64_vreg all;

	for (unsigned i = 0; i < 16u >> size; i++)
		fp_set_lane(&all, size, i, value);
	return all;
}

SEM(fmul_e)
{
	const union a64_vreg m = element(&cpu->s, insn);

	fp_map2(&cpu->s, insn, element_size(insn), &m, a64_fp_mul);
}

SEM(fmulx_e)
{
	const union a64_vreg m = element(&cpu->s, insn);

	fp_map2(&cpu->s, insn, element_size(insn), &m, a64_fp_mulx);
}

SEM(fmla_e)
{
	const union a64_vreg m = element(&cpu->s, insn);

	fp_map_mul_add(&cpu->s, insn, element_size(insn), &m, false);
}

SEM(fmls_e)
{
	const union a64_vreg m = element(&cpu->s, insn);

	fp_map_mul_add(&cpu->s, insn, element_size(insn), &m, true);
}

/* ---- pairs: neighbours of Vn, above them those of Vm ---- */
static inline void pairwise(struct a64_state *s, uint32_t insn, a64_fp_op2 *op)
{
	const unsigned size = fp_size_same(insn), half = fp_lanes(insn, size) / 2;
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < 2 * half; i++) {
		const union a64_vreg *from = &s->v[i < half ? a64_rn(insn) : a64_rm(insn)];
		const unsigned at = 2 * (i % half);

		fp_set_lane(&result, size, i, op(&fp, size, fp_lane(from, size, at), fp_lane(from, size, at + 1)));
	}
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

/* The two lowest elements of Vn. U, bit 29, is clear for halves. */
static inline void pair(struct a64_state *s, uint32_t insn, a64_fp_op2 *op)
{
	const unsigned size = insn >> 29 & 1 ? fp_sz(insn) : 1;
	const union a64_vreg *n = &s->v[a64_rn(insn)];
	struct a64_fp fp = fp_begin(s);
	const uint64_t result = op(&fp, size, fp_lane(n, size, 0), fp_lane(n, size, 1));

	fp_end(s, &fp);
	fp_write(s, a64_rd(insn), result);
}

#define PAIRS(name, op)                                                                                                                    \
	SEM(name##_v)                                                                                                                      \
	{                                                                                                                                  \
		pairwise(&cpu->s, insn, op);                                                                                               \
	}                                                                                                                                  \
	SEM(name##_pair)                                                                                                                   \
	{                                                                                                                                  \
		pair(&cpu->s, insn, op);                                                                                                   \
	}
PAIRS(faddp, a64_fp_add)
PAIRS(fmaxp, a64_fp_max)
PAIRS(fminp, a64_fp_min)
PAIRS(fmaxnmp, a64_fp_max_num)
PAIRS(fminnmp, a64_fp_min_num)

/* ---- across lanes ---- */
/* Reduce (shared/functions/vector): halves of the vector first, so that of several NaNs the right one wins. */
static uint64_t reduce(struct a64_fp *fp, unsigned size, const union a64_vreg *v, unsigned first, unsigned count, a64_fp_op2 *op)
{
	if (count == 1)
		return fp_lane(v, size, first);
	const uint64_t low = reduce(fp, size, v, first, count / 2, op);
	const uint64_t high = reduce(fp, size, v, first + count / 2, count / 2, op);

	return op(fp, size, low, high);
}

#define ACROSS(name, op)                                                                                                                   \
	SEM(name)                                                                                                                          \
	{                                                                                                                                  \
		const unsigned size = insn >> 29 & 1 ? 2 : 1;                                                                              \
		struct a64_fp fp = fp_begin(&cpu->s);                                                                                      \
		const uint64_t result = reduce(&fp, size, &cpu->s.v[a64_rn(insn)], 0, fp_lanes(insn, size), op);                           \
		fp_end(&cpu->s, &fp);                                                                                                      \
		fp_write(&cpu->s, a64_rd(insn), result);                                                                                   \
	}
ACROSS(fmaxv, a64_fp_max)
ACROSS(fminv, a64_fp_min)
ACROSS(fmaxnmv, a64_fp_max_num)
ACROSS(fminnmv, a64_fp_min_num)
