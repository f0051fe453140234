/* FMA3: fused multiply and add in its 60 forms (SDM 2: VFMADD132PS and following).
 *
 * All of them are x * y + z with some signs turned: the digits say which operands are x, y and z, the name
 * which of z's and the product's signs turn. Turning the sign of an operand that is no NaN is turning the
 * sign in the sum; a NaN goes through as it is.
 *
 * Example: `vfnmadd231ps xmm1, xmm2, xmm3` is xmm1 = -(xmm2 * xmm3) + xmm1: x = -xmm2, y = xmm3, z = xmm1.
 */
#include "engine/interp/x86_64/fp.h"

/* Sign masks for even and odd elements. */
struct fma_kind {
	bool negate_product;
	bool negate_even, negate_odd; /* z */
};

static const struct fma_kind madd = { false, false, false };
static const struct fma_kind msub = { false, true, true };
static const struct fma_kind nmadd = { true, false, false };
static const struct fma_kind nmsub = { true, true, true };
static const struct fma_kind maddsub = { false, true, false };
static const struct fma_kind msubadd = { false, false, true };

static void negate(struct vec_pair *v, unsigned size, bool even, bool odd)
{
	for (unsigned h = 0; h < 2; h++)
		if (size == 4) {
			for (unsigned i = 0; i < 4; i++) {
				uint32_t *e = &v->half[h].u32[i];
				if ((i & 1 ? odd : even) && (*e & 0x7fffffff) <= 0x7f800000)
					*e ^= 1u << 31;
			}
		} else {
			for (unsigned i = 0; i < 2; i++) {
				uint64_t *e = &v->half[h].u64[i];
				if ((i & 1 ? odd : even) && (*e & ~(1ull << 63)) <= 0x7ff0000000000000)
					*e ^= 1ull << 63;
			}
		}
}

static struct vec_pair operand(const union vec *v, unsigned halves)
{
	struct vec_pair p = { { v[0] } };

	if (halves == 2)
		p.half[1] = v[1];
	return p;
}

/* order: operand numbers of x, y and z as decimal digits. size: of an element. */
static void multiply_add(struct cpu *cpu, const struct x86_insn *insn, fp_fma_fn *fn, const struct fma_kind *kind,
			 unsigned order, unsigned size, bool scalar)
{
	struct vec_pair buf, d, x, y, z;
	const unsigned halves = vec_halves(insn, 0);

	vec_gate(cpu, insn);
	const union vec *third = vec_read(cpu, insn, 2, &buf);
	const union vec *first = vec_register(cpu, insn->operand[0].reg);
	const union vec *second = vec_register(cpu, insn->operand[1].reg);
	const union vec *sources[4] = { NULL, first, second, third };
	x = operand(sources[order / 100], halves);
	y = operand(sources[order / 10 % 10], halves);
	z = operand(sources[order % 10], halves);
	negate(&x, size, kind->negate_product, kind->negate_product);
	negate(&z, size, kind->negate_even, kind->negate_odd);
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, d.half, x.half, y.half, z.half, halves));
	/* Scalar forms keep the rest of the destination, which need not be x. */
	if (scalar) {
		const union vec result = d.half[0];
		d.half[0] = *first;
		if (size == 4)
			d.half[0].u32[0] = result.u32[0];
		else
			d.half[0].u64[0] = result.u64[0];
	}
	vec_write(cpu, insn, 0, d.half);
}

#define ORDERS(X, NAME, kind, TYPE, type, size, scalar)                                            \
	X(NAME##132##TYPE, kind, 132, type, size, scalar)                                          \
	X(NAME##213##TYPE, kind, 213, type, size, scalar)                                          \
	X(NAME##231##TYPE, kind, 231, type, size, scalar)
#define PACKED(X, NAME, kind) ORDERS(X, NAME, kind, PS, ps, 4, false) ORDERS(X, NAME, kind, PD, pd, 8, false)
#define SCALAR(X, NAME, kind) ORDERS(X, NAME, kind, SS, ss, 4, true) ORDERS(X, NAME, kind, SD, sd, 8, true)
#define FMAS(X)                                                                                    \
	PACKED(X, VFMADD, madd) SCALAR(X, VFMADD, madd)                                            \
	PACKED(X, VFMSUB, msub) SCALAR(X, VFMSUB, msub)                                            \
	PACKED(X, VFNMADD, nmadd) SCALAR(X, VFNMADD, nmadd)                                        \
	PACKED(X, VFNMSUB, nmsub) SCALAR(X, VFNMSUB, nmsub)                                        \
	PACKED(X, VFMADDSUB, maddsub)                                                              \
	PACKED(X, VFMSUBADD, msubadd)

#define DEFINE_FMA(OP, kind, order, type, size, scalar)                                            \
	VEC_SEM(OP, multiply_add, fp_fma##type, &kind, order, size, scalar)
FMAS(DEFINE_FMA)

#define ENTRY(OP, ...) { X86_##OP, sem_##OP },
const struct sem_entry sem_avx_fma[] = { FMAS(ENTRY) { 0, NULL } };
