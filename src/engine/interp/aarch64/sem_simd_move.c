/* Immediates, copies and permutations (DDI 0487 C4.1.69: Advanced SIMD modified immediate, copy, permute, extract, table lookup).
 */
#include "arch/aarch64/bitmask.h"
#include "base/string.h"
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static void set(struct a64_cpu *cpu, uint32_t insn, union a64_vreg value)
{
	if (!simd_q(insn))
		value.d[1] = 0;
	cpu->s.v[a64_rd(insn)] = value;
}

/* ---- MOVI, MVNI, ORR, BIC ---- */

SEM(movi)
{
	const unsigned cmode = a64_bits(insn, 12, 4);
	const bool op = insn & 1u << 29;
	const uint64_t imm = a64_expand_immediate(cmode, op, a64_bits(insn, 16, 3) << 5 | a64_bits(insn, 5, 5));
	const union a64_vreg *old = &cpu->s.v[a64_rd(insn)];
	const bool combines = cmode < 12 && (cmode & 1);
	union a64_vreg out;

	for (unsigned i = 0; i < 2; i++) {
		if (combines)
			out.d[i] = op ? old->d[i] & ~imm : old->d[i] | imm;
		else
			out.d[i] = op && cmode < 14 ? ~imm : imm;
	}
	set(cpu, insn, out);
}

/* ---- copies ---- */

/* imm5: its lowest set bit is the size, what is above it the index. */
static unsigned copy_size(struct a64_cpu *cpu, uint32_t insn)
{
	const unsigned imm5 = a64_rm(insn);

	if (!(imm5 & 15))
		a64_undefined(cpu);
	return (unsigned)__builtin_ctz(imm5);
}

static unsigned copy_index(uint32_t insn, unsigned size)
{
	return a64_rm(insn) >> (size + 1);
}

static void duplicate(struct a64_cpu *cpu, uint32_t insn, unsigned size, uint64_t value)
{
	cpu->s.v[a64_rd(insn)] = simd_low(simd_replicated(value, size), simd_count(cpu, insn, size) << size);
}

SEM(dup_element)
{
	const unsigned size = copy_size(cpu, insn);

	duplicate(cpu, insn, size, simd_lane(&cpu->s.v[a64_rn(insn)], size, copy_index(insn, size)));
}

SEM(dup_general) { duplicate(cpu, insn, copy_size(cpu, insn), a64_x(&cpu->s, a64_rn(insn))); }

SEM(ins_general)
{
	const unsigned size = copy_size(cpu, insn);

	simd_set_lane(&cpu->s.v[a64_rd(insn)], size, copy_index(insn, size), a64_x(&cpu->s, a64_rn(insn)));
}

SEM(ins_element)
{
	const unsigned size = copy_size(cpu, insn), from = a64_bits(insn, 11, 4) >> size;

	simd_set_lane(&cpu->s.v[a64_rd(insn)], size, copy_index(insn, size), simd_lane(&cpu->s.v[a64_rn(insn)], size, from));
}

SEM(smov)
{
	const unsigned size = copy_size(cpu, insn);
	int64_t value;

	if (size > (simd_q(insn) ? 2 : 1))
		a64_undefined(cpu);
	value = simd_slane(&cpu->s.v[a64_rn(insn)], size, copy_index(insn, size));
	a64_set_x(&cpu->s, a64_rd(insn), simd_q(insn) ? (uint64_t)value : (uint32_t)value);
}

SEM(umov)
{
	const unsigned size = copy_size(cpu, insn);

	if (simd_q(insn) != (size == 3))
		a64_undefined(cpu);
	a64_set_x(&cpu->s, a64_rd(insn), simd_lane(&cpu->s.v[a64_rn(insn)], size, copy_index(insn, size)));
}

/* ---- permutations ---- */

SEM(ext)
{
	const unsigned bytes = simd_q(insn) ? 16 : 8, at = a64_bits(insn, 11, 4);
	const union simd_joined joined = simd_joined(cpu, insn);
	union a64_vreg out;

	if (at >= bytes)
		a64_undefined(cpu);
	memcpy(out.b, joined.b + at, 16);
	cpu->s.v[a64_rd(insn)] = simd_low(out, bytes);
}

static void look_up(struct a64_cpu *cpu, uint32_t insn, bool keeps)
{
	const unsigned bytes = simd_q(insn) ? 16 : 8, size = 16 * (a64_bits(insn, 13, 2) + 1);
	const union a64_vreg *m = &cpu->s.v[a64_rm(insn)], *d = &cpu->s.v[a64_rd(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < bytes; i++) {
		const unsigned index = m->b[i];

		if (index < size)
			out.b[i] = cpu->s.v[(a64_rn(insn) + index / 16) & 31].b[index % 16];
		else
			out.b[i] = keeps ? d->b[i] : 0;
	}
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(tbl) { look_up(cpu, insn, false); }
SEM(tbx) { look_up(cpu, insn, true); }

static unsigned second_half(uint32_t insn)
{
	return a64_bits(insn, 14, 1);
}

/* Lane i of the result is lane `from` of Vn, or of Vm behind it. */
#define PERMUTE_LOOP(lanes, from)                                                                                                      \
	for (unsigned i = 0; i < count; i++)                                                                                           \
		out.lanes[i] = joined.lanes[from];

#define PERMUTE(name, from)                                                                                                            \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size), part = second_half(insn);                  \
		const union simd_joined joined = simd_joined(cpu, insn);                                                               \
		union a64_vreg out = {.d = {0, 0}};                                                                                    \
                                                                                                                                       \
		switch (size) {                                                                                                        \
		case 0: PERMUTE_LOOP(b, from) break;                                                                                   \
		case 1: PERMUTE_LOOP(h, from) break;                                                                                   \
		case 2: PERMUTE_LOOP(s, from) break;                                                                                   \
		default: PERMUTE_LOOP(d, from) break;                                                                                  \
		}                                                                                                                      \
		cpu->s.v[a64_rd(insn)] = out;                                                                                          \
	}
PERMUTE(uzp, 2 * i + part)
PERMUTE(trn, (i & ~1u) + part + (i & 1) * count)
PERMUTE(zip, i / 2 + part * (count / 2) + (i & 1) * count)
