/* Three registers of elements of one size (DDI 0487 C4.1.69: Advanced SIMD three same, scalar three same).
 */
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- bits ---- */

static void logic(struct a64_cpu *cpu, uint32_t insn, uint64_t low, uint64_t high)
{
	cpu->s.v[a64_rd(insn)] = (union a64_vreg){.d = {low, simd_q(insn) ? high : 0}};
}

#define LOGIC(name, expression)                                                                                                        \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *m = &cpu->s.v[a64_rm(insn)], *o = &cpu->s.v[a64_rd(insn)];         \
		uint64_t result[2];                                                                                                    \
                                                                                                                                       \
		for (unsigned i = 0; i < 2; i++) {                                                                                     \
			const uint64_t a = n->d[i], b = m->d[i], d __attribute__((unused)) = o->d[i];                                  \
                                                                                                                                       \
			result[i] = expression;                                                                                        \
		}                                                                                                                      \
		logic(cpu, insn, result[0], result[1]);                                                                                \
	}
LOGIC(and_v, a & b)
LOGIC(bic_v, a & ~b)
LOGIC(orr_v, a | b)
LOGIC(orn_v, a | ~b)
LOGIC(eor_v, a ^ b)
LOGIC(bsl, b ^ ((b ^ a) & d))
LOGIC(bit, d ^ ((d ^ a) & b))
LOGIC(bif, d ^ ((d ^ a) & ~b))

/* ---- lanes ---- */

#define SAME(name, expression)                                                                                                         \
	SEM(name) { SIMD_LANES(simd_size(insn), expression); }
#define ALL_ONES(condition) ((condition) ? (U)~(U)0 : (U)0)

SAME(add_v, a + b)
SAME(sub_v, a - b)
SAME(mul, (uint64_t)a * b)
SAME(mla, d + (uint64_t)a * b)
SAME(mls, d - (uint64_t)a * b)
SAME(cmeq, ALL_ONES(a == b))
SAME(cmtst, ALL_ONES(a & b))
SAME(cmgt, ALL_ONES((S)a > (S)b))
SAME(cmge, ALL_ONES((S)a >= (S)b))
SAME(cmhi, ALL_ONES(a > b))
SAME(cmhs, ALL_ONES(a >= b))
SAME(smax, (S)a > (S)b ? a : b)
SAME(umax, a > b ? a : b)
SAME(smin, (S)a < (S)b ? a : b)
SAME(umin, a < b ? a : b)
SAME(sabd, (S)a > (S)b ? (U)(a - b) : (U)(b - a))
SAME(uabd, a > b ? (U)(a - b) : (U)(b - a))
SAME(saba, d + ((S)a > (S)b ? (U)(a - b) : (U)(b - a)))
SAME(uaba, d + (a > b ? (U)(a - b) : (U)(b - a)))
/* Elements of 64 bits are reserved here: the sums fit. */
SAME(shadd, (uint64_t)(((int64_t)(S)a + (int64_t)(S)b) >> 1))
SAME(uhadd, ((uint64_t)a + b) >> 1)
SAME(srhadd, (uint64_t)(((int64_t)(S)a + (int64_t)(S)b + 1) >> 1))
SAME(urhadd, ((uint64_t)a + b + 1) >> 1)
SAME(shsub, (uint64_t)(((int64_t)(S)a - (int64_t)(S)b) >> 1))
SAME(uhsub, (uint64_t)((int64_t)((uint64_t)a - b) >> 1))

#define SATURATING(name, operation, is_unsigned)                                                                                       \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned size = simd_size(insn);                                                                                 \
                                                                                                                                       \
		SIMD_SATURATING_LANES(size,                                                                                            \
			simd_saturate(cpu, is_unsigned ? (__int128)a operation b : (__int128)(S)a operation(S) b, size, is_unsigned)); \
	}
SATURATING(sqadd, +, false)
SATURATING(uqadd, +, true)
SATURATING(sqsub, -, false)
SATURATING(uqsub, -, true)

/* The high half of the doubled product. */
SEM(sqdmulh)
{
	const unsigned size = simd_size(insn);

	SIMD_SATURATING_LANES(size, simd_saturate(cpu, (__int128)(S)a * (S)b * 2 >> (8u << size), size, false));
}

SEM(sqrdmulh)
{
	const unsigned size = simd_size(insn);

	SIMD_SATURATING_LANES(size,
			simd_saturate(cpu, ((__int128)(S)a * (S)b * 2 + ((__int128)1 << ((8u << size) - 1))) >> (8u << size), size, false));
}

static uint8_t polynomial_product(uint8_t a, uint8_t b)
{
	unsigned product = 0;

	for (unsigned i = 0; i < 8; i++)
		product ^= b >> i & 1 ? (unsigned)a << i : 0;
	return (uint8_t)product;
}

SEM(pmul) { SIMD_LANES(0, polynomial_product((uint8_t)a, (uint8_t)b)); }

/* ---- shifts by a register ---- */

uint64_t simd_shift(struct a64_cpu *cpu, __int128 value, int amount, unsigned size, bool to_unsigned, bool rounds, bool saturates)
{
	const int bits = 8 << size;

	if (amount >= bits) {
		if (!saturates || !value)
			return 0;
		value = value > 0 ? (__int128)1 << 100 : -((__int128)1 << 100);
	} else if (amount >= 0) {
		/* Not << of a negative number; the product fits in 128 bits. */
		value *= (__int128)1 << amount;
	} else if (amount < -64) {
		value = rounds || value >= 0 ? 0 : -1;
	} else {
		value = (value + (rounds ? (__int128)1 << (-amount - 1) : 0)) >> -amount;
	}
	return saturates ? simd_saturate(cpu, value, size, to_unsigned) : (uint64_t)value;
}

#define BITS (8 * (int)sizeof(U))
#define AMOUNT ((int8_t)b)
SAME(ushl, AMOUNT >= BITS || AMOUNT <= -BITS ? 0 : AMOUNT >= 0 ? (uint64_t)a << AMOUNT : (uint64_t)a >> -AMOUNT)
SAME(sshl, AMOUNT >= BITS ? 0 : AMOUNT >= 0 ? (uint64_t)a << AMOUNT : (uint64_t)((S)a >> (AMOUNT <= -BITS ? BITS - 1 : -AMOUNT)))

#define SHIFT(name, is_unsigned, rounds, saturates)                                                                                    \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned size = simd_size(insn);                                                                                 \
                                                                                                                                       \
		SIMD_SATURATING_LANES(size,                                                                                            \
			simd_shift(cpu, is_unsigned ? (__int128)a : (__int128)(S)a, (int8_t)b, size, is_unsigned, rounds, saturates)); \
	}
SHIFT(srshl, false, true, false)
SHIFT(urshl, true, true, false)
SHIFT(sqshl_reg, false, false, true)
SHIFT(uqshl_reg, true, false, true)
SHIFT(sqrshl, false, true, true)
SHIFT(uqrshl, true, true, true)

/* ---- pairs: of Vn first, then of Vm ---- */

#define PAIR_LOOP(unsigned_type, signed_type, lanes, expression)                                                                       \
	for (unsigned i = 0; i < 16 / sizeof(unsigned_type); i++) {                                                                    \
		typedef signed_type S __attribute__((unused));                                                                         \
		const unsigned_type a = joined.lanes[2 * i], b = joined.lanes[2 * i + 1];                                              \
                                                                                                                                       \
		out.lanes[i] = (unsigned_type)(expression);                                                                            \
	}

#define PAIRS(name, expression)                                                                                                        \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned size = simd_size(insn), bytes = simd_count(cpu, insn, size) << size;                                    \
		const union simd_joined joined = simd_joined(cpu, insn);                                                               \
		union a64_vreg out;                                                                                                    \
                                                                                                                                       \
		switch (size) {                                                                                                        \
		case 0: PAIR_LOOP(uint8_t, int8_t, b, expression) break;                                                               \
		case 1: PAIR_LOOP(uint16_t, int16_t, h, expression) break;                                                             \
		case 2: PAIR_LOOP(uint32_t, int32_t, s, expression) break;                                                             \
		default: PAIR_LOOP(uint64_t, int64_t, d, expression) break;                                                            \
		}                                                                                                                      \
		cpu->s.v[a64_rd(insn)] = simd_low(out, bytes);                                                                         \
	}
PAIRS(addp_v, a + b)
PAIRS(smaxp, (S)a > (S)b ? a : b)
PAIRS(sminp, (S)a < (S)b ? a : b)
PAIRS(umaxp, a > b ? a : b)
PAIRS(uminp, a < b ? a : b)
