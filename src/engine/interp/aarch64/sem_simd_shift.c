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

static uint64_t shifted_right(struct a64_cpu *cpu, uint32_t insn, __int128 value, bool rounds)
{
	return simd_shift(cpu, value, -right(insn), size_of(insn), false, rounds, false);
}

#define OF(is_unsigned) ((is_unsigned) ? (__int128)a : (__int128)(S)a)
#define SHIFT(name, expression)                                                                                                                \
	SEM(name)                                                                                                                              \
	{                                                                                                                                      \
		const bool is_unsigned __attribute__((unused)) = simd_unsigned(insn);                                                          \
                                                                                                                                               \
		SIMD_LANES(size_of(insn), expression);                                                                                         \
	}
SHIFT(shr, shifted_right(cpu, insn, OF(is_unsigned), false))
SHIFT(sra, d + shifted_right(cpu, insn, OF(is_unsigned), false))
SHIFT(rshr, shifted_right(cpu, insn, OF(is_unsigned), true))
SHIFT(rsra, d + shifted_right(cpu, insn, OF(is_unsigned), true))
SHIFT(shl, (uint64_t)a << left(insn))
SHIFT(sli, (uint64_t)a << left(insn) | (d & (((uint64_t)1 << left(insn)) - 1)))
SHIFT(sqshl_imm, simd_shift(cpu, (__int128)(S)a, left(insn), size_of(insn), false, false, true))
SHIFT(uqshl_imm, simd_shift(cpu, (__int128)a, left(insn), size_of(insn), true, false, true))
SHIFT(sqshlu, simd_shift(cpu, (__int128)(S)a, left(insn), size_of(insn), true, false, true))

/* The bits above those that are shifted in stay. */
static uint64_t insert_right(uint64_t a, uint64_t d, int amount, unsigned bits)
{
	const uint64_t all = bits == 64 ? ~0ull : (1ull << bits) - 1;

	if (amount == 64)
		return d;
	return (d & ~(all >> amount)) | a >> amount;
}

SHIFT(sri, insert_right(a, d, right(insn), 8 * sizeof(U)))

/* ---- to half the width: into the lower half, or (Q) the upper one. Bit 11 rounds. ---- */

static void narrow(struct a64_cpu *cpu, uint32_t insn, bool from_unsigned, bool to_unsigned, bool saturates)
{
	const unsigned size = size_of(insn), count = simd_scalar(insn) ? 1 : 8u >> size;
	const bool upper = simd_q(insn) && !simd_scalar(insn), rounds = insn & 1u << 11;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)], out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size, i,
			      simd_shift(cpu, simd_wide(n, size + 1, i, from_unsigned), -right(insn), size, to_unsigned, rounds, saturates));
	*d = upper ? (union a64_vreg){.d = {d->d[0], out.d[0]}} : out;
}

SEM(shrn) { narrow(cpu, insn, true, true, false); }
SEM(sqshrn) { narrow(cpu, insn, false, false, true); }
SEM(uqshrn) { narrow(cpu, insn, true, true, true); }
SEM(sqshrun) { narrow(cpu, insn, false, true, true); }

/* ---- to twice the width ---- */

SEM(shll_imm)
{
	const unsigned size = size_of(insn), count = 8u >> size, first = simd_q(insn) ? count : 0;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++)
		simd_set_lane(&out, size + 1, i, (uint64_t)simd_wide(n, size, first + i, simd_unsigned(insn)) << left(insn));
	cpu->s.v[a64_rd(insn)] = out;
}
