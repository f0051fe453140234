/* Registers of elements of different sizes, and a register with one element of another (DDI 0487 C4.1.69: Advanced SIMD three different,
 * vector x indexed element; scalar kinds).
 */
#include "engine/interp/aarch64/simd.h"
#include "engine/interp/crypto.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- to twice the width ---- */

typedef uint64_t long_op(struct a64_cpu *cpu, __int128 a, __int128 b, uint64_t d, unsigned size);

static void widen(struct a64_cpu *cpu, uint32_t insn, struct simd_second second, bool is_unsigned, long_op *op)
{
	const unsigned size = simd_size(insn), count = simd_scalar(insn) ? 1 : 8u >> size;
	const unsigned first = simd_q(insn) && !simd_scalar(insn) ? count : 0;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *d = &cpu->s.v[a64_rd(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size + 1, i,
			      op(cpu, simd_wide(n, size, first + i, is_unsigned), simd_second_lane(&second, size, first + i, is_unsigned),
				 simd_lane(d, size + 1, i), size));
	cpu->s.v[a64_rd(insn)] = out;
}

static uint64_t op_sqdmull(struct a64_cpu *cpu, __int128 a, __int128 b, uint64_t d, unsigned size)
{
	return simd_saturate(cpu, a * b * 2, size + 1, false);
}

/* An accumulator of 8 << size + 1 bits, as a signed number. */
static __int128 accumulator(uint64_t d, unsigned size)
{
	return size == 1 ? (__int128)(int32_t)d : (__int128)(int64_t)d;
}

static __int128 doubled(struct a64_cpu *cpu, __int128 a, __int128 b, unsigned size)
{
	return accumulator(simd_saturate(cpu, a * b * 2, size + 1, false), size);
}

static uint64_t op_sqdmlal(struct a64_cpu *cpu, __int128 a, __int128 b, uint64_t d, unsigned size)
{
	return simd_saturate(cpu, accumulator(d, size) + doubled(cpu, a, b, size), size + 1, false);
}

static uint64_t op_sqdmlsl(struct a64_cpu *cpu, __int128 a, __int128 b, uint64_t d, unsigned size)
{
	return simd_saturate(cpu, accumulator(d, size) - doubled(cpu, a, b, size), size + 1, false);
}

#define SATURATING(name, second, op)                                                                                                   \
	SEM(name) { widen(cpu, insn, second(cpu, insn), false, op); }
SATURATING(sqdmlal, simd_by_register, op_sqdmlal)
SATURATING(sqdmlsl, simd_by_register, op_sqdmlsl)
SATURATING(sqdmull, simd_by_register, op_sqdmull)
SATURATING(sqdmlal_e, simd_by_element, op_sqdmlal)
SATURATING(sqdmlsl_e, simd_by_element, op_sqdmlsl)
SATURATING(sqdmull_e, simd_by_element, op_sqdmull)

#define WIDEN(name, second, expression)                                                                                                \
	SEM(name) { SIMD_WIDEN(simd_size(insn), second(cpu, insn), expression); }
WIDEN(addl, simd_by_register, a + b)
WIDEN(subl, simd_by_register, a - b)
WIDEN(abdl, simd_by_register, a > b ? a - b : b - a)
WIDEN(abal, simd_by_register, d + (U)(a > b ? a - b : b - a))
WIDEN(mull, simd_by_register, a * b)
WIDEN(mlal, simd_by_register, d + (U)(a * b))
WIDEN(mlsl, simd_by_register, d - (U)(a * b))
WIDEN(mull_e, simd_by_element, a * b)
WIDEN(mlal_e, simd_by_element, d + (U)(a * b))
WIDEN(mlsl_e, simd_by_element, d - (U)(a * b))
WIDEN(addw, simd_by_register, w + (U)b)
WIDEN(subw, simd_by_register, w - (U)b)

/* ---- polynomials ---- */

static uint64_t op_pmull(struct a64_cpu *cpu, __int128 a, __int128 b, uint64_t d, unsigned size)
{
	uint64_t product = 0;

	for (unsigned i = 0; i < 8; i++)
		product ^= (uint64_t)b >> i & 1 ? (uint64_t)a << i : 0;
	return product;
}

/* Of bytes; of doublewords: PMULL, PMULL2 of FEAT_PMULL. */
SEM(pmull)
{
	const unsigned half = simd_q(insn);
	union a64_vreg product;

	if (simd_size(insn) == 0) {
		widen(cpu, insn, simd_by_register(cpu, insn), true, op_pmull);
		return;
	}
	carryless_multiply(product.d, cpu->s.v[a64_rn(insn)].d[half], cpu->s.v[a64_rm(insn)].d[half]);
	cpu->s.v[a64_rd(insn)] = product;
}

/* ---- the high halves of sums; bit 29 rounds ---- */

#define HIGH_HALF(name, expression)                                                                                                    \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned bits = 8u << simd_size(insn);                                                                           \
		const uint64_t rounding = simd_unsigned(insn) ? 1ull << (bits - 1) : 0;                                                \
                                                                                                                                       \
		SIMD_NARROW(simd_size(insn), (U)(expression) >> bits);                                                                 \
	}
HIGH_HALF(addhn, a + b + rounding)
HIGH_HALF(subhn, a - b + rounding)

/* ---- of one width, with an element ---- */

typedef uint64_t same_op(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size);

static void with_element(struct a64_cpu *cpu, uint32_t insn, same_op *op)
{
	const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size);
	const struct simd_second second = simd_by_element(cpu, insn);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *d = &cpu->s.v[a64_rd(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size, i,
			      op(cpu, simd_slane(n, size, i), (int64_t)simd_second_lane(&second, size, i, false),
				 simd_lane(d, size, i), size));
	cpu->s.v[a64_rd(insn)] = out;
}

static uint64_t op_mul(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size) { return (uint64_t)(a * b); }
static uint64_t op_mla(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size) { return d + (uint64_t)(a * b); }
static uint64_t op_mls(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size) { return d - (uint64_t)(a * b); }

static uint64_t op_sqdmulh(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size)
{
	return simd_saturate(cpu, (__int128)a * b * 2 >> (8u << size), size, false);
}

static uint64_t op_sqrdmulh(struct a64_cpu *cpu, int64_t a, int64_t b, uint64_t d, unsigned size)
{
	const unsigned bits = 8u << size;

	return simd_saturate(cpu, ((__int128)a * b * 2 + ((__int128)1 << (bits - 1))) >> bits, size, false);
}

SEM(mul_e) { with_element(cpu, insn, op_mul); }
SEM(mla_e) { with_element(cpu, insn, op_mla); }
SEM(mls_e) { with_element(cpu, insn, op_mls); }
SEM(sqdmulh_e) { with_element(cpu, insn, op_sqdmulh); }
SEM(sqrdmulh_e) { with_element(cpu, insn, op_sqrdmulh); }
