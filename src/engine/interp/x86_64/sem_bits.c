/* Bit tests, bit scans, BMI1 and BMI2. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/rmw.h"

/* ---- BT, BTS, BTR, BTC: CF is the bit, no other flag changes ---- */

/* rmw->source is the bit's number. */
static void take_bit(struct rmw *rmw, uint64_t old)
{
	rmw->flags = old >> rmw->source & 1 ? X86_FLAG_CF : 0;
}

static uint64_t update_set(struct rmw *rmw, uint64_t old)
{
	take_bit(rmw, old);
	return old | 1ull << rmw->source;
}

static uint64_t update_reset(struct rmw *rmw, uint64_t old)
{
	take_bit(rmw, old);
	return old & ~(1ull << rmw->source);
}

static uint64_t update_complement(struct rmw *rmw, uint64_t old)
{
	take_bit(rmw, old);
	return old ^ 1ull << rmw->source;
}

/* A register as bit number addresses a string of bits around the memory operand. */
static uint64_t bit_offset(struct cpu *cpu, const struct x86_insn *insn, uint64_t bit)
{
	unsigned size = insn->operand[0].size;
	uint64_t offset = sem_offset(cpu, insn);

	if (insn->operand[1].kind == X86_OPND_GPR) {
		/* Whole operands, towards minus infinity. */
		int64_t element = size_extend(size, bit) >> (__builtin_ctz(size) + 3);

		offset += (uint64_t)element * size;
	}
	return offset & size_mask(insn->addrsize);
}

static void bit_update(struct cpu *cpu, const struct x86_insn *insn, rmw_fn *update)
{
	unsigned size = insn->operand[0].size;
	uint64_t bit = sem_read(cpu, insn, 1);
	struct rmw rmw = {.size = size, .source = bit & (size_bits(size) - 1), .mask = X86_FLAG_CF};

	if (insn->operand[0].kind == X86_OPND_MEM)
		rmw_memory(cpu, insn->mem.seg, bit_offset(cpu, insn, bit),
			   insn->prefixes & X86_PFX_LOCK, &rmw, update);
	else
		rmw_operand(cpu, insn, &rmw, update);
}

static void sem_bt(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t bit = sem_read(cpu, insn, 1), value;

	if (insn->operand[0].kind == X86_OPND_MEM)
		value = sem_load_int(cpu, insn->mem.seg, bit_offset(cpu, insn, bit), size);
	else
		value = sem_read(cpu, insn, 0);
	bit &= size_bits(size) - 1;
	sem_set_flags(cpu, X86_FLAG_CF, value >> bit & 1 ? X86_FLAG_CF : 0);
}

static void sem_bts(struct cpu *cpu, const struct x86_insn *insn)
{
	bit_update(cpu, insn, update_set);
}

static void sem_btr(struct cpu *cpu, const struct x86_insn *insn)
{
	bit_update(cpu, insn, update_reset);
}

static void sem_btc(struct cpu *cpu, const struct x86_insn *insn)
{
	bit_update(cpu, insn, update_complement);
}

/* ---- scans and counts ---- */

static unsigned leading_zeros(unsigned size, uint64_t value)
{
	return value ? (unsigned)__builtin_clzll(value) - (64 - size_bits(size)) : size_bits(size);
}

static unsigned trailing_zeros(unsigned size, uint64_t value)
{
	return value ? (unsigned)__builtin_ctzll(value) : size_bits(size);
}

/* A source of zero leaves the whole destination register as it was, the upper half of a 32-bit one
 * included. All flags but ZF are undefined; Zen has them as a logical operation on the result
 * would. */
static void bit_scan(struct cpu *cpu, const struct x86_insn *insn, bool reverse)
{
	unsigned size = insn->operand[0].size;
	uint64_t source = sem_read(cpu, insn, 1);
	unsigned index;

	if (source == 0) {
		sem_set_flags(cpu, X86_FLAGS_STATUS, X86_FLAG_ZF | X86_FLAG_PF);
		return;
	}
	index = reverse ? size_bits(size) - 1 - leading_zeros(size, source)
			: trailing_zeros(size, source);
	sem_write(cpu, insn, 0, index);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_logic(size, index) & ~X86_FLAG_ZF);
}

static void sem_bsf(struct cpu *cpu, const struct x86_insn *insn)
{
	bit_scan(cpu, insn, false);
}

static void sem_bsr(struct cpu *cpu, const struct x86_insn *insn)
{
	bit_scan(cpu, insn, true);
}

/* LZCNT and TZCNT: OF is undefined and kept, SF, AF and PF are undefined and cleared. */
static void count_zeros(struct cpu *cpu, const struct x86_insn *insn,
			unsigned (*count)(unsigned, uint64_t))
{
	unsigned size = insn->operand[0].size;
	unsigned zeros = count(size, sem_read(cpu, insn, 1));

	sem_write(cpu, insn, 0, zeros);
	sem_set_flags(cpu, X86_FLAGS_STATUS & ~X86_FLAG_OF,
		      (zeros == size_bits(size) ? X86_FLAG_CF : 0) |
			  (zeros == 0 ? X86_FLAG_ZF : 0));
}

static void sem_tzcnt(struct cpu *cpu, const struct x86_insn *insn)
{
	count_zeros(cpu, insn, trailing_zeros);
}

static void sem_lzcnt(struct cpu *cpu, const struct x86_insn *insn)
{
	count_zeros(cpu, insn, leading_zeros);
}

static void sem_popcnt(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1);

	sem_write(cpu, insn, 0, (uint64_t)__builtin_popcountll(source));
	sem_set_flags(cpu, X86_FLAGS_STATUS, source ? 0 : X86_FLAG_ZF);
}

/* ---- BMI1: AF and PF are undefined ---- */

static void sem_andn(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = ~sem_read(cpu, insn, 1) & sem_read(cpu, insn, 2);

	sem_write(cpu, insn, 0, value);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_logic(insn->operand[0].size, value));
}

static void sem_bextr(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = sem_read(cpu, insn, 1), control = sem_read(cpu, insn, 2);
	unsigned start = control & 0xff, length = (control >> 8) & 0xff;

	value = start < 64 ? value >> start : 0;
	if (length < 64)
		value &= (1ull << length) - 1;
	sem_write(cpu, insn, 0, value);
	sem_set_flags(cpu, X86_FLAGS_STATUS,
		      (flags_logic(insn->operand[0].size, value) & ~X86_FLAG_SF) | X86_FLAG_AF);
}

/* BLSI, BLSMSK, BLSR: carry says that the source was (BLSI: was not) zero. */
static void lowest_bit(struct cpu *cpu, const struct x86_insn *insn, uint64_t value, bool carry)
{
	unsigned size = insn->operand[0].size;

	sem_write(cpu, insn, 0, value);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_logic(size, value) | (carry ? X86_FLAG_CF : 0));
}

static void sem_blsi(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1);

	lowest_bit(cpu, insn, source & -source, source != 0);
}

static void sem_blsmsk(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1);

	lowest_bit(cpu, insn, source ^ (source - 1), source == 0);
}

static void sem_blsr(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1);

	lowest_bit(cpu, insn, source & (source - 1), source == 0);
}

/* ---- BMI2 ---- */

static void sem_bzhi(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t value = sem_read(cpu, insn, 1);
	unsigned index = sem_read(cpu, insn, 2) & 0xff;
	bool beyond = index >= size_bits(size);

	if (!beyond)
		value &= (1ull << index) - 1;
	lowest_bit(cpu, insn, value, beyond);
}

/* The high half is written last: it wins if both destinations are one register. */
static void sem_mulx(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	unsigned __int128 product =
	    (unsigned __int128)gpr_read(cpu, X86_RDX, size) * sem_read(cpu, insn, 2);

	sem_write(cpu, insn, 1, (uint64_t)product & size_mask(size));
	sem_write(cpu, insn, 0, (uint64_t)(product >> size_bits(size)));
}

static void sem_pdep(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1), value = 0;

	for (uint64_t mask = sem_read(cpu, insn, 2); mask; mask &= mask - 1, source >>= 1)
		if (source & 1)
			value |= mask & -mask;
	sem_write(cpu, insn, 0, value);
}

static void sem_pext(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1), value = 0, bit = 1;

	for (uint64_t mask = sem_read(cpu, insn, 2); mask; mask &= mask - 1, bit <<= 1)
		if (source & mask & -mask)
			value |= bit;
	sem_write(cpu, insn, 0, value);
}

/* RORX, SARX, SHLX, SHRX change no flags. */
static void shift_no_flags(struct cpu *cpu, const struct x86_insn *insn, enum shift_kind kind)
{
	unsigned size = insn->operand[0].size;
	uint64_t value = sem_read(cpu, insn, 1);
	unsigned count = (unsigned)sem_read(cpu, insn, 2) & 0xff;

	sem_write(cpu, insn, 0, shift_value(kind, size, value, count, 0).value);
}

static void sem_rorx(struct cpu *cpu, const struct x86_insn *insn)
{
	shift_no_flags(cpu, insn, SHIFT_ROR);
}

static void sem_sarx(struct cpu *cpu, const struct x86_insn *insn)
{
	shift_no_flags(cpu, insn, SHIFT_SAR);
}

static void sem_shlx(struct cpu *cpu, const struct x86_insn *insn)
{
	shift_no_flags(cpu, insn, SHIFT_SHL);
}

static void sem_shrx(struct cpu *cpu, const struct x86_insn *insn)
{
	shift_no_flags(cpu, insn, SHIFT_SHR);
}

/* clang-format off */
const struct sem_entry sem_bits[] = {
	{ X86_BT, sem_bt },
	{ X86_BTS, sem_bts },
	{ X86_BTR, sem_btr },
	{ X86_BTC, sem_btc },
	{ X86_BSF, sem_bsf },
	{ X86_BSR, sem_bsr },
	{ X86_TZCNT, sem_tzcnt },
	{ X86_LZCNT, sem_lzcnt },
	{ X86_POPCNT, sem_popcnt },
	{ X86_ANDN, sem_andn },
	{ X86_BEXTR, sem_bextr },
	{ X86_BLSI, sem_blsi },
	{ X86_BLSMSK, sem_blsmsk },
	{ X86_BLSR, sem_blsr },
	{ X86_BZHI, sem_bzhi },
	{ X86_MULX, sem_mulx },
	{ X86_PDEP, sem_pdep },
	{ X86_PEXT, sem_pext },
	{ X86_RORX, sem_rorx },
	{ X86_SARX, sem_sarx },
	{ X86_SHLX, sem_shlx },
	{ X86_SHRX, sem_shrx },
	{ 0, NULL },
};
/* clang-format on */
