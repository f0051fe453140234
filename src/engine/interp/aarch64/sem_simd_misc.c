/* Two registers, and across the lanes of one (DDI 0487 C4.1.69: Advanced SIMD two-register miscellaneous, across lanes; scalar kinds).
 */
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- lane by lane; b is not used ---- */

#define EACH(name, size, expression)                                                                                                           \
	SEM(name) { SIMD_LANES(size, expression); }
#define ALL_ONES(condition) ((condition) ? (U)~(U)0 : (U)0)

EACH(cmgt_zero, simd_size(insn), ALL_ONES((S)a > 0))
EACH(cmge_zero, simd_size(insn), ALL_ONES((S)a >= 0))
EACH(cmeq_zero, simd_size(insn), ALL_ONES(a == 0))
EACH(cmle_zero, simd_size(insn), ALL_ONES((S)a <= 0))
EACH(cmlt_zero, simd_size(insn), ALL_ONES((S)a < 0))
EACH(abs_v, simd_size(insn), (S)a < 0 ? (U)(0 - a) : a)
EACH(neg_v, simd_size(insn), 0 - a)
EACH(cnt, 0, (uint8_t)__builtin_popcount((uint8_t)a))
EACH(not, 0, ~a)

static unsigned leading_zeros(uint64_t value, unsigned bits)
{
	return value ? (unsigned)__builtin_clzll(value) - (64 - bits) : bits;
}

EACH(clz_v, simd_size(insn), (U)leading_zeros(a, 8 * sizeof(U)))
EACH(cls_v, simd_size(insn), (U)(leading_zeros((U)((S)a < 0 ? ~a : a), 8 * sizeof(U)) - 1))

static uint8_t reversed_bits(uint8_t value)
{
	unsigned reversed = 0;

	for (unsigned i = 0; i < 8; i++)
		reversed |= (value >> i & 1u) << (7 - i);
	return (uint8_t)reversed;
}

EACH(rbit_v, 0, reversed_bits((uint8_t)a))

#define SATURATING(name, expression, is_unsigned)                                                                                              \
	SEM(name)                                                                                                                              \
	{                                                                                                                                      \
		const unsigned size = simd_size(insn);                                                                                         \
                                                                                                                                               \
		SIMD_LANES(size, simd_saturate(cpu, expression, size, is_unsigned));                                                           \
	}
SATURATING(sqabs, (S)a < 0 ? -(__int128)(S)a : (__int128)(S)a, false)
SATURATING(sqneg, -(__int128)(S)a, false)
SATURATING(suqadd, (__int128)(S)d + a, false)
SATURATING(usqadd, (__int128)d + (S)a, true)

/* ---- order of elements in containers ---- */

static void reverse(struct a64_cpu *cpu, uint32_t insn, unsigned container, unsigned size)
{
	const unsigned count = simd_count(cpu, insn, size), last = (1u << (container - size)) - 1;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size, i, simd_lane(n, size, i ^ last));
	cpu->s.v[a64_rd(insn)] = out;
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

static void narrow(struct a64_cpu *cpu, uint32_t insn, bool from_unsigned, bool to_unsigned, bool saturates)
{
	const unsigned size = simd_size(insn), count = simd_scalar(insn) ? 1 : 8u >> size;
	const bool upper = simd_q(insn) && !simd_scalar(insn);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)], out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++) {
		const __int128 value = simd_wide(n, size + 1, i, from_unsigned);

		simd_set_lane(&out, size, i, saturates ? simd_saturate(cpu, value, size, to_unsigned) : (uint64_t)value);
	}
	*d = upper ? (union a64_vreg){.d = {d->d[0], out.d[0]}} : out;
}

SEM(xtn) { narrow(cpu, insn, true, true, false); }
SEM(sqxtn) { narrow(cpu, insn, false, false, true); }
SEM(uqxtn) { narrow(cpu, insn, true, true, true); }
SEM(sqxtun) { narrow(cpu, insn, false, true, true); }

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

enum across { ACROSS_ADD, ACROSS_MAX, ACROSS_MIN };

static __int128 reduce(struct a64_cpu *cpu, uint32_t insn, enum across op)
{
	const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	__int128 total = simd_wide(n, size, 0, simd_unsigned(insn));

	if (size == 2 && !simd_q(insn))
		a64_undefined(cpu);
	for (unsigned i = 1; i < count; i++) {
		const __int128 lane = simd_wide(n, size, i, simd_unsigned(insn));

		if (op == ACROSS_ADD)
			total += lane;
		else if (op == ACROSS_MAX ? lane > total : lane < total)
			total = lane;
	}
	return total;
}

static void set_scalar(struct a64_cpu *cpu, uint32_t insn, unsigned size, uint64_t value)
{
	union a64_vreg out = {.d = {0, 0}};

	simd_set_lane(&out, size, 0, value);
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(addlv) { set_scalar(cpu, insn, simd_size(insn) + 1, (uint64_t)reduce(cpu, insn, ACROSS_ADD)); }
SEM(addv) { set_scalar(cpu, insn, simd_size(insn), (uint64_t)reduce(cpu, insn, ACROSS_ADD)); }
SEM(maxv) { set_scalar(cpu, insn, simd_size(insn), (uint64_t)reduce(cpu, insn, ACROSS_MAX)); }
SEM(minv) { set_scalar(cpu, insn, simd_size(insn), (uint64_t)reduce(cpu, insn, ACROSS_MIN)); }

SEM(addp_s)
{
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];

	set_scalar(cpu, insn, 3, n->d[0] + n->d[1]);
}
