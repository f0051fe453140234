/* Data processing on general registers.
 */
#include "arch/aarch64/bitmask.h"
#include "engine/dbt/aarch64/translate.h"

static unsigned size_of(uint32_t insn)
{
	return insn >> 31 ? 8 : 4;
}

static unsigned rd(const struct translation *t) { return a64_rd(t->insn); }
static unsigned rn(const struct translation *t) { return a64_rn(t->insn); }
static unsigned rm(const struct translation *t) { return a64_rm(t->insn); }

/* To a scratch register, whatever it is in. */
static void copy(struct translation *t, unsigned n, unsigned scratch, unsigned size)
{
	const unsigned reg = t_source(t, n, scratch, size);

	if (reg != scratch)
		emit_mov_reg(t->e, scratch, reg, size);
}

static void copy_sp(struct translation *t, unsigned n, unsigned scratch, unsigned size)
{
	if (n == 31)
		emit_mov_reg(t->e, scratch, HOST_R15, size);
	else
		copy(t, n, scratch, size);
}

/* Where to compute Xd from Xn when Xm comes after: its own register, unless that has Xm; or rdx. */
static unsigned destination(const struct translation *t, bool uses_m)
{
	const unsigned reg = t_target(rd(t), HOST_RDX);

	return uses_m && rm(t) != 31 && t_host(rm(t)) == reg ? HOST_RDX : reg;
}

/* ---- addition and subtraction ---- */

/* The carry of an addition is the host's; that of flags is inverted. */
static void save_flags(struct translation *t, bool adds)
{
	if (adds)
		emit_u8(t->e, 0xf5); /* cmc */
	t_flags_save(t);
}

static void add_immediate(struct translation *t, bool subtracts)
{
	const unsigned size = size_of(t->insn);
	const int32_t imm = (int32_t)a64_bits(t->insn, 10, 12) << (a64_bits(t->insn, 22, 1) * 12);
	const unsigned n = t_source_sp(t, rn(t), HOST_RCX, size), d = t_target_sp(rd(t), HOST_RCX);

	emit_lea(t->e, d, mem_base((uint8_t)n, subtracts ? -imm : imm), size);
	t_finish_sp(t, rd(t), d);
}

static void add_immediate_flags(struct translation *t, bool subtracts)
{
	const unsigned size = size_of(t->insn);
	const int32_t imm = (int32_t)a64_bits(t->insn, 10, 12) << (a64_bits(t->insn, 22, 1) * 12);

	if (subtracts && rd(t) == 31) {
		t_op_imm(t, X86_CMP, t_source_sp(t, rn(t), HOST_RCX, size), imm, size);
	} else {
		copy_sp(t, rn(t), HOST_RCX, size);
		t_op_imm(t, subtracts ? X86_SUB : X86_ADD, HOST_RCX, imm, size);
		t_finish(t, rd(t), HOST_RCX);
	}
	save_flags(t, !subtracts);
}

/* `d = n op second`, where second is a scratch register or (HOST_NONE) Xm as it is. */
static void add_register(struct translation *t, bool subtracts, bool flags, unsigned second, bool sp)
{
	const unsigned size = size_of(t->insn), op = subtracts ? X86_SUB : X86_ADD;

	if (subtracts && flags && rd(t) == 31) {
		const unsigned n = sp ? t_source_sp(t, rn(t), HOST_RDX, size) : t_source(t, rn(t), HOST_RDX, size);

		if (second == HOST_NONE)
			t_op(t, X86_CMP, n, rm(t), size);
		else
			emit_op_reg(t->e, X86_CMP, second, n, size);
		save_flags(t, false);
		return;
	}
	const unsigned d = sp ? HOST_RDX : destination(t, second == HOST_NONE);

	if (sp)
		copy_sp(t, rn(t), d, size);
	else
		copy(t, rn(t), d, size);
	if (second == HOST_NONE)
		t_op(t, op, d, rm(t), size);
	else
		emit_op_reg(t->e, op, second, d, size);
	if (sp && !flags)
		t_finish_sp(t, rd(t), d);
	else
		t_finish(t, rd(t), d);
	t->in_host = false;
	if (flags)
		save_flags(t, !subtracts);
}

/* Xm shifted, in rcx; HOST_NONE: it is not shifted. */
static unsigned shifted(struct translation *t)
{
	static const uint8_t shifts[4] = {X86_SHL, X86_SHR, X86_SAR, X86_ROR};
	const unsigned size = size_of(t->insn), amount = a64_bits(t->insn, 10, 6);

	if (!amount)
		return HOST_NONE;
	copy(t, rm(t), HOST_RCX, size);
	t_shift_imm(t, shifts[a64_bits(t->insn, 22, 2)], HOST_RCX, amount, size);
	t->in_host = false;
	return HOST_RCX;
}

static bool has_valid_shift(uint32_t insn)
{
	return insn >> 31 || a64_bits(insn, 10, 6) < 32;
}

/* Sums without flags of registers as they are, or shifted a little: LEA leaves the flags alone. */
static bool add_by_lea(struct translation *t)
{
	const unsigned size = size_of(t->insn), amount = a64_bits(t->insn, 10, 6);
	unsigned n, m, d;

	if (a64_bits(t->insn, 22, 2) || amount > 3)
		return false;
	n = t_source(t, rn(t), HOST_RDX, size);
	m = t_source(t, rm(t), HOST_RCX, size);
	d = t_target(rd(t), HOST_RCX);
	emit_lea(t->e, d, (struct host_mem){.base = (uint8_t)n, .index = (uint8_t)m, .scale = (uint8_t)(1u << amount)}, size);
	t_finish(t, rd(t), d);
	return true;
}

static bool add_shifted(struct translation *t, bool subtracts, bool flags)
{
	if (!has_valid_shift(t->insn))
		return false;
	if (subtracts || flags || !add_by_lea(t))
		add_register(t, subtracts, flags, shifted(t), false);
	return true;
}

/* Xm extended, in rcx. */
static void extend(struct translation *t, unsigned option, unsigned amount)
{
	static const uint16_t opcodes[8] = {0x0fb6, 0x0fb7, 0, 0, 0x0fbe, 0x0fbf, 0x63, 0};
	const unsigned m = t_source(t, rm(t), HOST_RCX, 8), wide = option & 4 ? 8 : 4;

	if (option == 2)
		emit_mov_reg(t->e, HOST_RCX, m, 4);
	else if (opcodes[option] && !(option & 3))
		emit_op_reg(t->e, opcodes[option], HOST_RCX, m, m >= 4 && wide == 4 ? 8 : wide); /* REX, for the low byte of any register */
	else if (opcodes[option])
		emit_op_reg(t->e, opcodes[option], HOST_RCX, m, wide);
	else if (m != HOST_RCX)
		emit_mov_reg(t->e, HOST_RCX, m, 8);
	if (amount)
		t->in_host = false;
	t_shift_imm(t, X86_SHL, HOST_RCX, amount, 8);
}

static bool add_extended(struct translation *t, bool subtracts, bool flags)
{
	const unsigned amount = a64_bits(t->insn, 10, 3);

	if (amount > 4)
		return false;
	extend(t, a64_bits(t->insn, 13, 3), amount);
	add_register(t, subtracts, flags, HOST_RCX, true);
	return true;
}

/* The host's flags have an inverted carry: as a borrow that is right. */
static void add_carry(struct translation *t, bool subtracts, bool flags)
{
	const unsigned size = size_of(t->insn);

	t_flags_load(t);
	copy(t, rn(t), HOST_RDX, size);
	if (!subtracts)
		emit_u8(t->e, 0xf5); /* cmc */
	t_op(t, subtracts ? X86_SBB : X86_ADC, HOST_RDX, rm(t), size);
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
	if (flags)
		save_flags(t, !subtracts);
}

/* ---- conditional ---- */

static void compare_if(struct translation *t, bool negative, bool immediate)
{
	const unsigned size = size_of(t->insn), cond = a64_bits(t->insn, 12, 4), nzcv = t->insn & 15;
	const int32_t otherwise = (int32_t)((nzcv >> 3 & 1) << 15 | (nzcv >> 2 & 1) << 14 | (~nzcv >> 1 & 1) << 8 | 2 << 8 | (nzcv & 1));
	uint8_t *no = NULL, *end;
	unsigned n;

	if (cond < 14) {
		t_flags_load(t);
		no = t_jcc(t, t_condition(cond ^ 1));
	}
	if (negative) {
		n = t_source(t, rn(t), HOST_RDX, size);
		if (immediate)
			t_op_imm(t, X86_CMP, n, (int32_t)rm(t), size);
		else
			t_op(t, X86_CMP, n, rm(t), size);
	} else {
		copy(t, rn(t), HOST_RDX, size);
		if (immediate)
			t_op_imm(t, X86_ADD, HOST_RDX, (int32_t)rm(t), size);
		else
			t_op(t, X86_ADD, HOST_RDX, rm(t), size);
	}
	save_flags(t, !negative);
	if (!no)
		return;
	end = t_jcc(t, HOST_NONE);
	t_patch(t, no, t->e->at);
	emit_store_imm(t->e, t_state(offsetof(struct dbt64, flags)), otherwise, 2);
	t_patch(t, end, t->e->at);
	t->in_host = false;
}

/* CSEL, CSINC, CSINV, CSNEG; nothing but CMOV's condition looks at flags, and nothing changes them. */
static void select(struct translation *t, bool inverts, bool increments)
{
	const unsigned size = size_of(t->insn), cond = a64_bits(t->insn, 12, 4);
	unsigned m;

	if (cond >= 14) {
		copy(t, rn(t), HOST_RCX, size);
		t_finish(t, rd(t), HOST_RCX);
		return;
	}
	t_flags_load(t);
	m = t_source(t, rm(t), HOST_RCX, size);
	if (m != HOST_RCX)
		emit_mov_reg(t->e, HOST_RCX, m, size);
	if (inverts)
		emit_op_reg(t->e, 0xf7, 2, HOST_RCX, size); /* not */
	if (increments)
		emit_lea(t->e, HOST_RCX, mem_base(HOST_RCX, 1), size);
	emit_op_reg(t->e, 0x0f40 | t_condition(cond), HOST_RCX, t_source(t, rn(t), HOST_RDX, size), size);
	t_finish(t, rd(t), HOST_RCX);
}

/* ---- logic ---- */

static void logic_flags(struct translation *t, unsigned reg, unsigned size)
{
	emit_op_reg(t->e, X86_TEST, reg, reg, size);
	emit_u8(t->e, 0xf9); /* stc: Arm's C is clear */
	t_flags_save(t);
}

static bool logic_immediate(struct translation *t, unsigned op, bool flags)
{
	const unsigned size = size_of(t->insn);
	uint64_t mask;

	if (!a64_bitmask(a64_bits(t->insn, 22, 1), a64_bits(t->insn, 10, 6), a64_bits(t->insn, 16, 6), &mask))
		return false;
	if (size == 4)
		mask = (uint32_t)mask;
	if (rn(t) == 31 && op == X86_OR) {
		emit_mov_imm(t->e, HOST_RDX, mask);
		t_finish_sp(t, rd(t), HOST_RDX);
		return true;
	}
	copy(t, rn(t), HOST_RDX, size);
	if (size == 4 || (int64_t)mask == (int32_t)mask) {
		t_op_imm(t, op, HOST_RDX, (int32_t)mask, size);
	} else {
		emit_mov_imm(t->e, HOST_RCX, mask);
		emit_op_reg(t->e, op, HOST_RCX, HOST_RDX, size);
	}
	t->in_host = false;
	if (!flags) {
		t_finish_sp(t, rd(t), HOST_RDX);
		return true;
	}
	t_finish(t, rd(t), HOST_RDX);
	logic_flags(t, HOST_RDX, size);
	return true;
}

static bool logic_shifted(struct translation *t, unsigned op, bool inverts, bool flags)
{
	const unsigned size = size_of(t->insn);
	unsigned second;

	if (!has_valid_shift(t->insn))
		return false;
	second = shifted(t);
	/* MOV and MVN. */
	if (op == X86_OR && rn(t) == 31) {
		if (second == HOST_NONE)
			copy(t, rm(t), HOST_RCX, size);
		if (inverts)
			emit_op_reg(t->e, 0xf7, 2, HOST_RCX, size);
		t_finish(t, rd(t), HOST_RCX);
		return true;
	}
	if (inverts) {
		if (second == HOST_NONE)
			copy(t, rm(t), HOST_RCX, size);
		second = HOST_RCX;
		emit_op_reg(t->e, 0xf7, 2, HOST_RCX, size);
	}
	const unsigned d = destination(t, second == HOST_NONE);

	copy(t, rn(t), d, size);
	if (second == HOST_NONE)
		t_op(t, op, d, rm(t), size);
	else
		emit_op_reg(t->e, op, second, d, size);
	t_finish(t, rd(t), d);
	t->in_host = false;
	if (flags)
		logic_flags(t, d, size);
	return true;
}

/* ---- moves ---- */

static void move_constant(struct translation *t, uint64_t value)
{
	const unsigned d = t_target(rd(t), HOST_RCX);

	emit_mov_imm(t->e, d, size_of(t->insn) == 4 ? (uint32_t)value : value);
	t_finish(t, rd(t), d);
}

static void move_keep(struct translation *t)
{
	const unsigned shift = 16 * a64_bits(t->insn, 21, 2);

	copy(t, rd(t), HOST_RDX, size_of(t->insn));
	emit_mov_imm(t->e, HOST_RCX, ~(0xffffull << shift));
	emit_op_reg(t->e, X86_AND, HOST_RCX, HOST_RDX, 8);
	if (shift < 16) {
		t_op_imm(t, X86_OR, HOST_RDX, (int32_t)a64_bits(t->insn, 5, 16), 8);
	} else {
		emit_mov_imm(t->e, HOST_RCX, (uint64_t)a64_bits(t->insn, 5, 16) << shift);
		emit_op_reg(t->e, X86_OR, HOST_RCX, HOST_RDX, 8);
	}
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

static void address(struct translation *t, uint64_t base, unsigned shift)
{
	const int64_t imm = a64_sbits(t->insn, 5, 19) * 4 + a64_bits(t->insn, 29, 2);
	const unsigned d = t_target(rd(t), HOST_RCX);

	emit_mov_imm(t->e, d, base + ((uint64_t)imm << shift));
	t_finish(t, rd(t), d);
}

/* ---- bit fields ---- */

/* The field of the source, at its place, in d; extended by its sign or by zeros. */
static void field(struct translation *t, unsigned d, bool is_signed)
{
	const unsigned size = size_of(t->insn), bits = 8 * size, r = a64_bits(t->insn, 16, 6), s = a64_bits(t->insn, 10, 6);
	const unsigned right = is_signed ? X86_SAR : X86_SHR;

	copy(t, rn(t), d, size);
	t->in_host = false;
	if (s >= r) {
		t_shift_imm(t, X86_SHL, d, bits - 1 - s, size);
		t_shift_imm(t, right, d, bits - 1 - s + r, size);
	} else {
		t_shift_imm(t, X86_SHL, d, bits - 1 - s, size);
		t_shift_imm(t, right, d, r - s - 1, size);
	}
}

/* UXTB and its kin: one instruction, which leaves the flags alone. */
static bool extend_low(struct translation *t, bool is_signed)
{
	const unsigned s = a64_bits(t->insn, 10, 6), size = size_of(t->insn), d = t_target(rd(t), HOST_RDX);
	unsigned n;

	if (a64_bits(t->insn, 16, 6) || (s != 7 && s != 15 && s != 31))
		return false;
	n = t_source(t, rn(t), HOST_RDX, 4);
	if (s == 31 && !is_signed)
		emit_mov_reg(t->e, d, n, 4);
	else if (s == 31)
		emit_op_reg(t->e, 0x63, d, n, size);
	else if (s == 15)
		emit_op_reg(t->e, is_signed ? 0x0fbf : 0x0fb7, d, n, is_signed ? size : 4);
	else if (is_signed && size == 8)
		emit_op_reg(t->e, 0x0fbe, d, n, 8);
	else
		emit_op_reg(t->e, is_signed ? 0x0fbe : 0x0fb6, d, n, 1);
	t_finish(t, rd(t), d);
	return true;
}

static void move_field(struct translation *t, bool is_signed)
{
	if (extend_low(t, is_signed))
		return;
	const unsigned d = t_target(rd(t), HOST_RDX);

	field(t, d, is_signed);
	t_finish(t, rd(t), d);
}

static void insert_field(struct translation *t)
{
	const unsigned size = size_of(t->insn), bits = 8 * size, r = a64_bits(t->insn, 16, 6), s = a64_bits(t->insn, 10, 6);
	const unsigned width = s >= r ? s - r + 1 : s + 1, low = s >= r ? 0 : bits - r;
	const uint64_t mask = (width == 64 ? ~0ull : (1ull << width) - 1) << low;

	field(t, HOST_RDX, false);
	copy(t, rd(t), HOST_RCX, size);
	emit_mov_imm(t->e, HOST_RAX, size == 4 ? (uint32_t)~mask : ~mask);
	emit_op_reg(t->e, X86_AND, HOST_RAX, HOST_RCX, size);
	emit_op_reg(t->e, X86_OR, HOST_RCX, HOST_RDX, size);
	t_finish(t, rd(t), HOST_RDX);
}

static void extract(struct translation *t)
{
	const unsigned size = size_of(t->insn), at = a64_bits(t->insn, 10, 6);

	copy(t, rm(t), HOST_RDX, size);
	if (at) {
		const unsigned high = t_source(t, rn(t), HOST_RCX, size);

		emit_op_reg(t->e, 0x0fac, high, HOST_RDX, size); /* shrd */
		emit_u8(t->e, at);
		t->in_host = false;
	}
	t_finish(t, rd(t), HOST_RDX);
}

/* ---- one, two and three sources ---- */

/* VEX, map 2: shlx (pp 1), sarx (2), shrx (3) rdx, rdx, rcx. */
static void shift_by_register(struct translation *t, unsigned pp)
{
	const unsigned size = size_of(t->insn);

	copy(t, rn(t), HOST_RDX, size);
	copy(t, rm(t), HOST_RCX, size);
	emit_u8(t->e, 0xc4);
	emit_u8(t->e, 0xe2);
	emit_u8(t->e, (size == 8 ? 0x80u : 0u) | (~(unsigned)HOST_RCX & 15) << 3 | pp);
	emit_u8(t->e, 0xf7);
	emit_u8(t->e, 0xc0 | HOST_RDX << 3 | HOST_RDX);
	t_finish(t, rd(t), HOST_RDX);
}

static void rotate_by_register(struct translation *t)
{
	const unsigned size = size_of(t->insn);

	copy(t, rn(t), HOST_RDX, size);
	copy(t, rm(t), HOST_RCX, size);
	emit_op_reg(t->e, 0xd3, X86_ROR, HOST_RDX, size);
	/* A rotation by none does not write the upper half. */
	if (size == 4)
		emit_mov_reg(t->e, HOST_RDX, HOST_RDX, 4);
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

static void leading_zeros(struct translation *t)
{
	const unsigned size = size_of(t->insn), n = t_source(t, rn(t), HOST_RDX, size);

	emit_u8(t->e, 0xf3);
	emit_op_reg(t->e, 0x0fbd, HOST_RDX, n, size); /* lzcnt */
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

static void reverse(struct translation *t)
{
	const unsigned size = size_of(t->insn);

	copy(t, rn(t), HOST_RDX, size);
	if (size == 8)
		emit_u8(t->e, 0x48);
	emit_u16(t->e, 0xca0f); /* bswap rdx */
	t_finish(t, rd(t), HOST_RDX);
}

static void multiply(struct translation *t, bool subtracts)
{
	const unsigned size = size_of(t->insn), a = a64_ra(t->insn);

	copy(t, rn(t), HOST_RDX, size);
	if (rm(t) != 31 && t_host(rm(t)) == HOST_NONE)
		emit_op_mem(t->e, 0x0faf, HOST_RDX, t_home(rm(t)), size);
	else
		emit_op_reg(t->e, 0x0faf, HOST_RDX, t_source(t, rm(t), HOST_RCX, size), size);
	if (subtracts)
		emit_op_reg(t->e, 0xf7, 3, HOST_RDX, size); /* neg */
	if (a != 31)
		t_op(t, X86_ADD, HOST_RDX, a, size);
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

static void multiply_long(struct translation *t, bool is_signed, bool subtracts)
{
	const unsigned a = a64_ra(t->insn), n = t_source(t, rn(t), HOST_RDX, 8), m = t_source(t, rm(t), HOST_RCX, 8);

	if (is_signed) {
		emit_op_reg(t->e, 0x63, HOST_RDX, n, 8); /* movsxd */
		emit_op_reg(t->e, 0x63, HOST_RCX, m, 8);
	} else {
		emit_mov_reg(t->e, HOST_RDX, n, 4);
		emit_mov_reg(t->e, HOST_RCX, m, 4);
	}
	emit_op_reg(t->e, 0x0faf, HOST_RDX, HOST_RCX, 8);
	if (subtracts)
		emit_op_reg(t->e, 0xf7, 3, HOST_RDX, 8);
	if (a != 31)
		t_op(t, X86_ADD, HOST_RDX, a, 8);
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

static void multiply_high(struct translation *t, bool is_signed)
{
	copy(t, rn(t), HOST_RAX, 8);
	emit_op_reg(t->e, 0xf7, is_signed ? 5 : 4, t_source(t, rm(t), HOST_RCX, 8), 8); /* imul, mul: rdx has the upper half */
	t_finish(t, rd(t), HOST_RDX);
	t->in_host = false;
}

/* By zero is zero; the smallest number by -1, at which the host faults, is itself. */
static void divide(struct translation *t, bool is_signed)
{
	const unsigned size = size_of(t->insn);
	uint8_t *zero, *minus = NULL, *end, *end2 = NULL;

	copy(t, rm(t), HOST_RCX, size);
	copy(t, rn(t), HOST_RAX, size);
	emit_op_reg(t->e, X86_TEST, HOST_RCX, HOST_RCX, size);
	zero = t_jcc(t, 4);
	if (is_signed) {
		t_op_imm(t, X86_CMP, HOST_RCX, -1, size);
		minus = t_jcc(t, 4);
		if (size == 8)
			emit_u8(t->e, 0x48);
		emit_u8(t->e, 0x99); /* cqo */
	} else {
		emit_mov_imm(t->e, HOST_RDX, 0);
	}
	emit_op_reg(t->e, 0xf7, is_signed ? 7 : 6, HOST_RCX, size);
	end = t_jcc(t, HOST_NONE);
	if (minus) {
		t_patch(t, minus, t->e->at);
		emit_op_reg(t->e, 0xf7, 3, HOST_RAX, size); /* neg */
		end2 = t_jcc(t, HOST_NONE);
	}
	t_patch(t, zero, t->e->at);
	emit_mov_imm(t->e, HOST_RAX, 0);
	t_patch(t, end, t->e->at);
	if (end2)
		t_patch(t, end2, t->e->at);
	t_finish(t, rd(t), HOST_RAX);
	t->in_host = false;
}

bool t_alu(struct translation *t, enum a64_op op)
{
	const uint64_t imm16 = (uint64_t)a64_bits(t->insn, 5, 16) << 16 * a64_bits(t->insn, 21, 2);

	switch (op) {
	case A64_add_imm: add_immediate(t, false); return true;
	case A64_sub_imm: add_immediate(t, true); return true;
	case A64_adds_imm: add_immediate_flags(t, false); return true;
	case A64_subs_imm: add_immediate_flags(t, true); return true;
	case A64_add_shift: return add_shifted(t, false, false);
	case A64_sub_shift: return add_shifted(t, true, false);
	case A64_adds_shift: return add_shifted(t, false, true);
	case A64_subs_shift: return add_shifted(t, true, true);
	case A64_add_ext: return add_extended(t, false, false);
	case A64_sub_ext: return add_extended(t, true, false);
	case A64_adds_ext: return add_extended(t, false, true);
	case A64_subs_ext: return add_extended(t, true, true);
	case A64_adc: add_carry(t, false, false); return true;
	case A64_adcs: add_carry(t, false, true); return true;
	case A64_sbc: add_carry(t, true, false); return true;
	case A64_sbcs: add_carry(t, true, true); return true;
	case A64_ccmn_reg: compare_if(t, false, false); return true;
	case A64_ccmn_imm: compare_if(t, false, true); return true;
	case A64_ccmp_reg: compare_if(t, true, false); return true;
	case A64_ccmp_imm: compare_if(t, true, true); return true;
	case A64_csel: select(t, false, false); return true;
	case A64_csinc: select(t, false, true); return true;
	case A64_csinv: select(t, true, false); return true;
	case A64_csneg: select(t, true, true); return true;
	case A64_and_imm: return logic_immediate(t, X86_AND, false);
	case A64_orr_imm: return logic_immediate(t, X86_OR, false);
	case A64_eor_imm: return logic_immediate(t, X86_XOR, false);
	case A64_ands_imm: return logic_immediate(t, X86_AND, true);
	case A64_and_shift: return logic_shifted(t, X86_AND, false, false);
	case A64_bic_shift: return logic_shifted(t, X86_AND, true, false);
	case A64_orr_shift: return logic_shifted(t, X86_OR, false, false);
	case A64_orn_shift: return logic_shifted(t, X86_OR, true, false);
	case A64_eor_shift: return logic_shifted(t, X86_XOR, false, false);
	case A64_eon_shift: return logic_shifted(t, X86_XOR, true, false);
	case A64_ands_shift: return logic_shifted(t, X86_AND, false, true);
	case A64_bics_shift: return logic_shifted(t, X86_AND, true, true);
	case A64_movz: move_constant(t, imm16); return true;
	case A64_movn: move_constant(t, ~imm16); return true;
	case A64_movk: move_keep(t); return true;
	case A64_adr: address(t, t->pc, 0); return true;
	case A64_adrp: address(t, t->pc & ~0xfffull, 12); return true;
	case A64_ubfm: move_field(t, false); return true;
	case A64_sbfm: move_field(t, true); return true;
	case A64_bfm: insert_field(t); return true;
	case A64_extr: extract(t); return true;
	case A64_lslv: shift_by_register(t, 1); return true;
	case A64_asrv: shift_by_register(t, 2); return true;
	case A64_lsrv: shift_by_register(t, 3); return true;
	case A64_rorv: rotate_by_register(t); return true;
	case A64_clz: leading_zeros(t); return true;
	case A64_rev: reverse(t); return true;
	case A64_madd: multiply(t, false); return true;
	case A64_msub: multiply(t, true); return true;
	case A64_smaddl: multiply_long(t, true, false); return true;
	case A64_smsubl: multiply_long(t, true, true); return true;
	case A64_umaddl: multiply_long(t, false, false); return true;
	case A64_umsubl: multiply_long(t, false, true); return true;
	case A64_smulh: multiply_high(t, true); return true;
	case A64_umulh: multiply_high(t, false); return true;
	case A64_udiv: divide(t, false); return true;
	case A64_sdiv: divide(t, true); return true;
	default: return false;
	}
}
