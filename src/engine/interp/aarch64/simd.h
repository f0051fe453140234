/* What the semantics of Advanced SIMD share: lanes of registers, element sizes, saturation.
 *
 * A form that works on whole registers and its counterpart on one element are one function: bit 28 tells them apart.
 *
 * Example: `const unsigned count = simd_count(cpu, insn, size); SIMD_LANES(size, (U)(a + b));`
 */
#ifndef ENGINE_INTERP_AARCH64_SIMD_H
#define ENGINE_INTERP_AARCH64_SIMD_H

#include "engine/interp/aarch64/cpu.h"

static inline bool simd_q(uint32_t insn)
{
	return insn & 1u << 30;
}

/* Bit 29 of forms that have a signed and an unsigned kind. */
static inline bool simd_unsigned(uint32_t insn)
{
	return insn & 1u << 29;
}

static inline bool simd_scalar(uint32_t insn)
{
	return insn & 1u << 28;
}

/* log2 of the bytes of an element, where bits 23:22 say it. */
static inline unsigned simd_size(uint32_t insn)
{
	return insn >> 22 & 3;
}

/* How many elements of 2^size bytes the form works on; one element of 64 bits in a register of 64 is reserved. */
static inline unsigned simd_count(struct a64_cpu *cpu, uint32_t insn, unsigned size)
{
	if (simd_scalar(insn))
		return 1;
	if (size == 3 && !simd_q(insn))
		a64_undefined(cpu);
	return (simd_q(insn) ? 16u : 8u) >> size;
}

/* Lanes as numbers: zero- or sign-extended. */
static inline uint64_t simd_lane(const union a64_vreg *v, unsigned size, unsigned i)
{
	switch (size) {
	case 0: return v->b[i];
	case 1: return v->h[i];
	case 2: return v->s[i];
	default: return v->d[i];
	}
}

static inline int64_t simd_slane(const union a64_vreg *v, unsigned size, unsigned i)
{
	switch (size) {
	case 0: return (int8_t)v->b[i];
	case 1: return (int16_t)v->h[i];
	case 2: return (int32_t)v->s[i];
	default: return (int64_t)v->d[i];
	}
}

static inline void simd_set_lane(union a64_vreg *v, unsigned size, unsigned i, uint64_t value)
{
	switch (size) {
	case 0: v->b[i] = (uint8_t)value; break;
	case 1: v->h[i] = (uint16_t)value; break;
	case 2: v->s[i] = (uint32_t)value; break;
	default: v->d[i] = value; break;
	}
}

/* A lane by the signedness that bit 29 says, as a wide number. */
static inline __int128 simd_wide(const union a64_vreg *v, unsigned size, unsigned i, bool is_unsigned)
{
	return is_unsigned ? (__int128)simd_lane(v, size, i) : (__int128)simd_slane(v, size, i);
}

/* Where the second operand's lanes come from: a register's, or one element for all. */
struct simd_second {
	const union a64_vreg *v;
	unsigned index;
	bool is_element;
};

static inline struct simd_second simd_by_register(const struct a64_cpu *cpu, uint32_t insn)
{
	return (struct simd_second){.v = &cpu->s.v[a64_rm(insn)]};
}

/* A halfword H:L:M of 16 registers, or a word H:L. */
static inline struct simd_second simd_by_element(const struct a64_cpu *cpu, uint32_t insn)
{
	const unsigned h = a64_bits(insn, 11, 1), l = a64_bits(insn, 21, 1), m = a64_bits(insn, 20, 1);

	if (simd_size(insn) == 1)
		return (struct simd_second){.v = &cpu->s.v[a64_rm(insn) & 15], .index = h << 2 | l << 1 | m, .is_element = true};
	return (struct simd_second){.v = &cpu->s.v[a64_rm(insn)], .index = h << 1 | l, .is_element = true};
}

static inline __int128 simd_second_lane(const struct simd_second *second, unsigned size, unsigned i, bool is_unsigned)
{
	return simd_wide(second->v, size, second->is_element ? second->index : i, is_unsigned);
}

/* SignedSat, UnsignedSat to 8 << size bits; sets FPSR.QC. */
static inline uint64_t simd_saturate(struct a64_cpu *cpu, __int128 value, unsigned size, bool to_unsigned)
{
	const unsigned bits = 8u << size;
	const __int128 max = to_unsigned ? ((__int128)1 << bits) - 1 : ((__int128)1 << (bits - 1)) - 1;
	const __int128 min = to_unsigned ? 0 : -((__int128)1 << (bits - 1));

	if (value > max || value < min) {
		cpu->s.fpsr |= A64_FPSR_QC;
		return (uint64_t)(value > max ? max : min);
	}
	return (uint64_t)value;
}

/* The element, the low bits of the value, in all places. */
static inline union a64_vreg simd_replicated(uint64_t element, unsigned size)
{
	static const uint64_t ones[4] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1};

	const uint64_t all = (element & ~0ull >> (64 - (8u << size))) * ones[size];

	return (union a64_vreg){.d = {all, all}};
}

/* Only the lowest bytes of it: 1, 2, 4, 8 or 16. */
static inline union a64_vreg simd_low(union a64_vreg value, unsigned bytes)
{
	if (bytes < 16)
		value.d[1] = 0;
	if (bytes < 8)
		value.d[0] &= (1ull << 8 * bytes) - 1;
	return value;
}

/* The half of the second operand that a widening form takes. */
static inline union a64_vreg simd_second_half(struct simd_second second, uint32_t insn, unsigned size)
{
	if (second.is_element)
		return simd_replicated(simd_lane(second.v, size, second.index), size);
	return (union a64_vreg){.d = {second.v->d[simd_q(insn)], 0}};
}

/* Vn below Vm, of each as many bytes as the form works on: 8 or 16. */
union simd_joined {
	uint8_t b[32];
	uint16_t h[16];
	uint32_t s[8];
	uint64_t d[4];
};

static inline union simd_joined simd_joined(const struct a64_cpu *cpu, uint32_t insn)
{
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *m = &cpu->s.v[a64_rm(insn)];

	return simd_q(insn) ? (union simd_joined){.d = {n->d[0], n->d[1], m->d[0], m->d[1]}} : (union simd_joined){.d = {n->d[0], m->d[0], 0, 0}};
}

/* Lanes of `out` get expression: of a (Vn), b (Vm), d (the old Vd), which are of type U; S is the signed type. */
#define SIMD_LOOP(unsigned_type, signed_type, lanes, count, expression)                                                                \
	do {                                                                                                                           \
		typedef unsigned_type U;                                                                                               \
		typedef signed_type S __attribute__((unused));                                                                         \
                                                                                                                                       \
		for (unsigned i = 0; i < (count); i++) {                                                                               \
			const U a __attribute__((unused)) = vn->lanes[i], b __attribute__((unused)) = vm->lanes[i],                    \
				d __attribute__((unused)) = vd->lanes[i];                                                              \
			out.lanes[i] = (U)(expression);                                                                                \
		}                                                                                                                      \
	} while (0)

/* Vd's elements, of 2^size bytes; the expression has no effects: what is not in Vd is worked out too and dropped. */
#define SIMD_LANES(size, expression)                                                                                                   \
	do {                                                                                                                           \
		const union a64_vreg *vn = &cpu->s.v[a64_rn(insn)], *vm = &cpu->s.v[a64_rm(insn)];                                     \
		union a64_vreg *vd = &cpu->s.v[a64_rd(insn)];                                                                          \
		const unsigned bytes = simd_count(cpu, insn, size) << (size);                                                          \
		union a64_vreg out;                                                                                                    \
                                                                                                                                       \
		switch (size) {                                                                                                        \
		case 0: SIMD_LOOP(uint8_t, int8_t, b, 16, expression); break;                                                          \
		case 1: SIMD_LOOP(uint16_t, int16_t, h, 8, expression); break;                                                         \
		case 2: SIMD_LOOP(uint32_t, int32_t, s, 4, expression); break;                                                         \
		default: SIMD_LOOP(uint64_t, int64_t, d, 2, expression); break;                                                        \
		}                                                                                                                      \
		*vd = simd_low(out, bytes);                                                                                            \
	} while (0)

/* The same of an expression that may saturate: it is evaluated for the elements of Vd only. */
#define SIMD_SATURATING_LANES(size, expression)                                                                                        \
	do {                                                                                                                           \
		const union a64_vreg *vn = &cpu->s.v[a64_rn(insn)], *vm = &cpu->s.v[a64_rm(insn)];                                     \
		union a64_vreg *vd = &cpu->s.v[a64_rd(insn)];                                                                          \
		const unsigned count = simd_count(cpu, insn, size);                                                                    \
		union a64_vreg out = {.d = {0, 0}};                                                                                    \
                                                                                                                                       \
		switch (size) {                                                                                                        \
		case 0: SIMD_LOOP(uint8_t, int8_t, b, count, expression); break;                                                       \
		case 1: SIMD_LOOP(uint16_t, int16_t, h, count, expression); break;                                                     \
		case 2: SIMD_LOOP(uint32_t, int32_t, s, count, expression); break;                                                     \
		default: SIMD_LOOP(uint64_t, int64_t, d, count, expression); break;                                                    \
		}                                                                                                                      \
		*vd = out;                                                                                                             \
	} while (0)

/* Lanes of half the width, from expression of a (Vn) and b (Vm), which are of type U; to the lower half of Vd or (Q) the upper one. */
#define SIMD_NARROW_LOOP(type, wide, lanes, expression) \
	for (unsigned i = 0; i < 8 / sizeof(out.lanes[0]); i++) { \
		typedef type U; \
		const U a __attribute__((unused)) = vn->wide[i], b __attribute__((unused)) = vm->wide[i]; \
 \
		out.lanes[i] = (__typeof__(out.lanes[0]))(expression); \
	}

#define SIMD_NARROW(size, expression) \
	do { \
		const union a64_vreg *vn = &cpu->s.v[a64_rn(insn)], *vm = &cpu->s.v[a64_rm(insn)]; \
		union a64_vreg *vd = &cpu->s.v[a64_rd(insn)], out; \
 \
		switch (size) { \
		case 0: SIMD_NARROW_LOOP(uint16_t, h, b, expression) break; \
		case 1: SIMD_NARROW_LOOP(uint32_t, s, h, expression) break; \
		default: SIMD_NARROW_LOOP(uint64_t, d, s, expression) break; \
		} \
		*vd = (union a64_vreg){.d = {simd_q(insn) ? vd->d[0] : out.d[0], simd_q(insn) ? out.d[0] : 0}}; \
	} while (0)

/* Lanes of twice the width: of a (Vn) and b (second) from the lower halves or (Q) the upper ones, made as wide by their signedness, bit 29;
 * of w (Vn) and d (the old Vd), wide and unsigned. U is the wide unsigned type. */
#define SIMD_WIDEN_LOOP(unsigned_type, type, narrow_type, wide, lanes, expression) \
	for (unsigned i = 0; i < 8 / sizeof(n.lanes[0]); i++) { \
		typedef unsigned_type U __attribute__((unused)); \
		const type a __attribute__((unused)) = (narrow_type)n.lanes[i], b __attribute__((unused)) = (narrow_type)m.lanes[i]; \
		const unsigned_type w __attribute__((unused)) = vn->wide[i], d __attribute__((unused)) = vd->wide[i]; \
 \
		out.wide[i] = (unsigned_type)(expression); \
	}

#define SIMD_WIDEN(size, second, expression) \
	do { \
		const union a64_vreg *vn = &cpu->s.v[a64_rn(insn)]; \
		union a64_vreg *vd = &cpu->s.v[a64_rd(insn)], out; \
		const union a64_vreg n = {.d = {vn->d[simd_q(insn)], 0}}, m = simd_second_half(second, insn, size); \
 \
		switch ((size) << 1 | simd_unsigned(insn)) { \
		case 0: SIMD_WIDEN_LOOP(uint16_t, int16_t, int8_t, h, b, expression) break; \
		case 1: SIMD_WIDEN_LOOP(uint16_t, uint16_t, uint8_t, h, b, expression) break; \
		case 2: SIMD_WIDEN_LOOP(uint32_t, int32_t, int16_t, s, h, expression) break; \
		case 3: SIMD_WIDEN_LOOP(uint32_t, uint32_t, uint16_t, s, h, expression) break; \
		case 4: SIMD_WIDEN_LOOP(uint64_t, int64_t, int32_t, d, s, expression) break; \
		default: SIMD_WIDEN_LOOP(uint64_t, uint64_t, uint32_t, d, s, expression) break; \
		} \
		*vd = out; \
	} while (0)

/* Shifted left by amount, or right if that is negative, with rounding and saturation as asked for; of an element of 2^size bytes. */
uint64_t simd_shift(struct a64_cpu *cpu, __int128 value, int amount, unsigned size, bool to_unsigned, bool rounds, bool saturates);

#endif
