/* Shifts by an immediate (DDI 0487 C4.1.69: Advanced SIMD shift by immediate, scalar kind).
 */
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* immh's highest bit is the element's size; with immb it is what is added to, or taken from. */
static unsigned size_of(uint32_t insn)
{
	return 31 - (unsigned)__builtin_clz(a64_bits(insn, 19, 4));
}

static int left(uint32_t insn)
{
	return (int)a64_bits(insn, 16, 7) - (8 << size_of(insn));
}

static int right(uint32_t insn)
{
	return (16 << size_of(insn)) - (int)a64_bits(insn, 16, 7);
}

/* ---- in place; b is not used ---- */

#define SHIFT(name, amount_of, expression)                                                                                             \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned amount = (unsigned)amount_of(insn);                                                                     \
                                                                                                                                       \
		SIMD_LANES(size_of(insn), expression);                                                                                 \
	}
SHIFT(shl, left, (uint64_t)a << amount)
SHIFT(sli, left, (uint64_t)a << amount | (d & (((uint64_t)1 << amount) - 1)))

/* Right by an element's width is possible, too: by two shifts. */
#define RIGHT(value) ((value) >> (amount - 1) >> 1)
/* What was shifted out last. */
#define LAST(value) ((value) >> (amount - 1) & 1)
#define SHIFT_RIGHT(name, unsigned_expression, signed_expression)                                                                      \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned amount = (unsigned)right(insn);                                                                         \
                                                                                                                                       \
		if (simd_unsigned(insn))                                                                                               \
			SIMD_LANES(size_of(insn), unsigned_expression);                                                                \
		else                                                                                                                   \
			SIMD_LANES(size_of(insn), signed_expression);                                                                  \
	}
SHIFT_RIGHT(shr, RIGHT(a), RIGHT((S)a))
SHIFT_RIGHT(sra, d + RIGHT(a), d + (U)RIGHT((S)a))
SHIFT_RIGHT(rshr, RIGHT(a) + LAST(a), (U)RIGHT((S)a) + LAST(a))
SHIFT_RIGHT(rsra, d + RIGHT(a) + LAST(a), d + (U)RIGHT((S)a) + LAST(a))
/* The bits above those that are shifted in stay. */
SHIFT(sri, right, (d & ~RIGHT((U)~(U)0)) | RIGHT(a))

#define SATURATING(name, source, to_unsigned)                                                                                          \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		SIMD_SATURATING_LANES(size_of(insn),                                                                                   \
			simd_shift(cpu, (__int128)(source), left(insn), size_of(insn), to_unsigned, false, true));                     \
	}
SATURATING(sqshl_imm, (S)a, false)
SATURATING(uqshl_imm, a, true)
SATURATING(sqshlu, (S)a, true)

/* ---- to half the width: into the lower half, or (Q) the upper one. Bit 11 rounds. ---- */

static void narrow(struct a64_cpu *cpu, uint32_t insn, bool from_unsigned, bool to_unsigned)
{
	const unsigned size = size_of(insn), count = simd_scalar(insn) ? 1 : 8u >> size;
	const bool upper = simd_q(insn) && !simd_scalar(insn), rounds = insn & 1u << 11;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)], out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size, i,
			      simd_shift(cpu, simd_wide(n, size + 1, i, from_unsigned), -right(insn), size, to_unsigned, rounds, true));
	*d = upper ? (union a64_vreg){.d = {d->d[0], out.d[0]}} : out;
}

SEM(shrn)
{
	const unsigned amount = (unsigned)right(insn), rounding = insn >> 11 & 1;

	SIMD_NARROW(size_of(insn), RIGHT(a) + (LAST(a) & rounding));
}

SEM(sqshrn) { narrow(cpu, insn, false, false); }
SEM(uqshrn) { narrow(cpu, insn, true, true); }
SEM(sqshrun) { narrow(cpu, insn, false, true); }

/* ---- to twice the width ---- */

SEM(shll_imm)
{
	const unsigned amount = (unsigned)left(insn);

	SIMD_WIDEN(size_of(insn), simd_by_register(cpu, insn), (U)a << amount);
}
