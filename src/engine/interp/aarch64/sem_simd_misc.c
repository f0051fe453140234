/* Two registers, and across the lanes of one (DDI 0487 C4.1.69: Advanced SIMD two-register miscellaneous, across lanes; scalar kinds).
 */
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- lane by lane; b is not used ---- */

#define EACH(name, size, expression)                                                                                                   \
	SEM(name) { SIMD_LANES(size, expression); }
#define ALL_ONES(condition) ((condition) ? (U)~(U)0 : (U)0)

EACH(cmgt_zero, simd_size(insn), ALL_ONES((S)a > 0))
EACH(cmge_zero, simd_size(insn), ALL_ONES((S)a >= 0))
EACH(cmeq_zero, simd_size(insn), ALL_ONES(a == 0))
EACH(cmle_zero, simd_size(insn), ALL_ONES((S)a <= 0))
EACH(cmlt_zero, simd_size(insn), ALL_ONES((S)a < 0))
EACH(abs_v, simd_size(insn), (S)a < 0 ? (U)(0 - a) : a)
EACH(neg_v, simd_size(insn), 0 - a)
EACH(not, 0, ~a)

static unsigned leading_zeros(uint64_t value, unsigned bits)
{
	return value ? (unsigned)__builtin_clzll(value) - (64 - bits) : bits;
}

EACH(clz_v, simd_size(insn), (U)leading_zeros(a, 8 * sizeof(U)))
EACH(cls_v, simd_size(insn), (U)(leading_zeros((U)((S)a < 0 ? ~a : a), 8 * sizeof(U)) - 1))

/* Eight bytes at a time. */
static uint64_t counted_bits(uint64_t value)
{
	value -= value >> 1 & 0x5555555555555555;
	value = (value & 0x3333333333333333) + (value >> 2 & 0x3333333333333333);
	return (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

static uint64_t swapped(uint64_t value, unsigned distance, uint64_t low)
{
	return (value >> distance & low) | (value & low) << distance;
}

static uint64_t reversed_bits(uint64_t value)
{
	return swapped(swapped(swapped(value, 1, 0x5555555555555555), 2, 0x3333333333333333), 4, 0x0f0f0f0f0f0f0f0f);
}

#define BYTES(name, function)                                                                                                          \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];                                                                     \
                                                                                                                                       \
		cpu->s.v[a64_rd(insn)] = (union a64_vreg){.d = {function(n->d[0]), simd_q(insn) ? function(n->d[1]) : 0}};             \
	}
BYTES(cnt, counted_bits)
BYTES(rbit_v, reversed_bits)

#define SATURATING(name, expression, is_unsigned)                                                                                      \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned size = simd_size(insn);                                                                                 \
                                                                                                                                       \
		SIMD_SATURATING_LANES(size, simd_saturate(cpu, expression, size, is_unsigned));                                        \
	}
SATURATING(sqabs, (S)a < 0 ? -(__int128)(S)a : (__int128)(S)a, false)
SATURATING(sqneg, -(__int128)(S)a, false)
SATURATING(suqadd, (__int128)(S)d + a, false)
SATURATING(usqadd, (__int128)d + (S)a, true)

/* ---- order of elements in containers ---- */

static void reverse(struct a64_cpu *cpu, uint32_t insn, unsigned container, unsigned size)
{
	const unsigned bytes = simd_count(cpu, insn, size) << size, last = (1u << (container - size)) - 1;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg out;

	switch (size) {
	case 0:
		for (unsigned i = 0; i < 16; i++)
			out.b[i] = n->b[i ^ last];
		break;
	case 1:
		for (unsigned i = 0; i < 8; i++)
			out.h[i] = n->h[i ^ last];
		break;
	default:
		for (unsigned i = 0; i < 4; i++)
			out.s[i] = n->s[i ^ last];
		break;
	}
	cpu->s.v[a64_rd(insn)] = simd_low(out, bytes);
}

SEM(rev64) { reverse(cpu, insn, 3, simd_size(insn)); }
SEM(rev32_v) { reverse(cpu, insn, 2, simd_size(insn)); }
SEM(rev16_v) { reverse(cpu, insn, 1, 0); }

/* ---- to twice the width, by pairs ---- */

static void add_long_pairs(struct a64_cpu *cpu, uint32_t insn, bool accumulates)
{
	const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *d = &cpu->s.v[a64_rd(insn)];
	const bool is_unsigned = simd_unsigned(insn);
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count / 2; i++) {
		const uint64_t sum = (uint64_t)(simd_wide(n, size, 2 * i, is_unsigned) + simd_wide(n, size, 2 * i + 1, is_unsigned));

		simd_set_lane(&out, size + 1, i, sum + (accumulates ? simd_lane(d, size + 1, i) : 0));
	}
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(addlp) { add_long_pairs(cpu, insn, false); }
SEM(adalp) { add_long_pairs(cpu, insn, true); }

/* ---- to half the width: into the lower half, or (Q) the upper one ---- */

static void narrow(struct a64_cpu *cpu, uint32_t insn, bool from_unsigned, bool to_unsigned)
{
	const unsigned size = simd_size(insn), count = simd_scalar(insn) ? 1 : 8u >> size;
	const bool upper = simd_q(insn) && !simd_scalar(insn);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)], out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size, i, simd_saturate(cpu, simd_wide(n, size + 1, i, from_unsigned), size, to_unsigned));
	*d = upper ? (union a64_vreg){.d = {d->d[0], out.d[0]}} : out;
}

SEM(xtn) { SIMD_NARROW(simd_size(insn), a); }
SEM(sqxtn) { narrow(cpu, insn, false, false); }
SEM(uqxtn) { narrow(cpu, insn, true, true); }
SEM(sqxtun) { narrow(cpu, insn, false, true); }

/* By as many bits as an element has, to twice the width. */
SEM(shll)
{
	const unsigned size = simd_size(insn), count = 8u >> size;
	const union a64_vreg n = cpu->s.v[a64_rn(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size + 1, i, simd_lane(&n, size, simd_q(insn) ? count + i : i) << (8u << size));
	cpu->s.v[a64_rd(insn)] = out;
}

/* ---- across lanes ---- */

#define ACROSS_LOOP(type, lanes, expression)                                                                                           \
	do {                                                                                                                           \
		uint64_t total = (uint64_t)(type)n->lanes[0];                                                                          \
                                                                                                                                       \
		for (unsigned i = 1; i < count; i++) {                                                                                 \
			const type lane = (type)n->lanes[i];                                                                           \
                                                                                                                                       \
			total = (uint64_t)(expression);                                                                                \
		}                                                                                                                      \
		return total;                                                                                                          \
	} while (0)

/* What becomes of all lanes, by the expression of `total` and the next lane, of the signedness that bit 29 says. */
#define ACROSS(name, expression)                                                                                                       \
	static uint64_t name(struct a64_cpu *cpu, uint32_t insn)                                                                       \
	{                                                                                                                              \
		const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size);                                            \
		const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];                                                                     \
                                                                                                                                       \
		if (size == 2 && !simd_q(insn))                                                                                        \
			a64_undefined(cpu);                                                                                            \
		switch (size << 1 | simd_unsigned(insn)) {                                                                             \
		case 0: ACROSS_LOOP(int8_t, b, expression);                                                                            \
		case 1: ACROSS_LOOP(uint8_t, b, expression);                                                                           \
		case 2: ACROSS_LOOP(int16_t, h, expression);                                                                           \
		case 3: ACROSS_LOOP(uint16_t, h, expression);                                                                          \
		case 4: ACROSS_LOOP(int32_t, s, expression);                                                                           \
		default: ACROSS_LOOP(uint32_t, s, expression);                                                                         \
		}                                                                                                                      \
	}
ACROSS(sum, total + (uint64_t)lane)
ACROSS(maximum, (int64_t)total > (int64_t)lane ? total : (uint64_t)lane)
ACROSS(minimum, (int64_t)total < (int64_t)lane ? total : (uint64_t)lane)

static void set_scalar(struct a64_cpu *cpu, uint32_t insn, unsigned size, uint64_t value)
{
	union a64_vreg out = {.d = {0, 0}};

	simd_set_lane(&out, size, 0, value);
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(addlv) { set_scalar(cpu, insn, simd_size(insn) + 1, sum(cpu, insn)); }
SEM(addv) { set_scalar(cpu, insn, simd_size(insn), sum(cpu, insn)); }
SEM(maxv) { set_scalar(cpu, insn, simd_size(insn), maximum(cpu, insn)); }
SEM(minv) { set_scalar(cpu, insn, simd_size(insn), minimum(cpu, insn)); }

SEM(addp_s)
{
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];

	set_scalar(cpu, insn, 3, n->d[0] + n->d[1]);
}
