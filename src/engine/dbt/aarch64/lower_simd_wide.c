/* Advanced SIMD between sizes of elements: shifts, widening, narrowing, and arithmetic that widens.
 */
#include "engine/dbt/aarch64/translate.h"

static bool is_scalar(const struct translation *t)
{
	return t->insn & 1u << 28;
}

/* ---- shifts by a constant: immh has the size in its highest set bit ---- */

static unsigned shift_size(const struct translation *t)
{
	return 31 - (unsigned)__builtin_clz(a64_bits(t->insn, 19, 4));
}

static unsigned immh_immb(const struct translation *t)
{
	return a64_bits(t->insn, 16, 7);
}

enum { RIGHT = 2, RIGHT_SIGNED = 4, LEFT = 6 };

/* PSRLW and the like: 0f71, 0f72, 0f73 by size. More bits than there are give what they should. */
static void shift(struct translation *t, unsigned xmm, unsigned how, unsigned size, unsigned amount)
{
	t_sse(t, 0x0f70 + size, how, xmm);
	emit_u8(t->e, amount);
}

static bool shift_right(struct translation *t, bool accumulates)
{
	static const uint32_t add[4] = {0, 0x0ffd, 0x0ffe, 0x0fd4};
	const unsigned size = shift_size(t), amount = (16u << size) - immh_immb(t);
	const bool is_signed = !(t->insn & 1u << 29);

	if (!size || is_scalar(t) || (size == 3 && (is_signed || !t_is_whole(t))))
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	shift(t, 0, is_signed ? RIGHT_SIGNED : RIGHT, size, amount);
	if (accumulates) {
		t_vector_load(t, 1, a64_rd(t->insn));
		t_sse(t, add[size], 0, 1);
	}
	t_vector_store(t);
	return true;
}

static bool shift_left(struct translation *t)
{
	const unsigned size = shift_size(t), amount = immh_immb(t) - (8u << size);

	if (!size || is_scalar(t) || (size == 3 && !t_is_whole(t)))
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	shift(t, 0, LEFT, size, amount);
	t_vector_store(t);
	return true;
}

/* ---- widening ---- */

/* Half of Vn, the upper one in forms on whole registers, with elements of twice the size: PMOVSX, PMOVZX. */
static void load_wide(struct translation *t, unsigned xmm, unsigned n, unsigned size, bool is_signed)
{
	static const uint32_t opcodes[2][3] = {{0x0f3830, 0x0f3833, 0x0f3835}, {0x0f3820, 0x0f3823, 0x0f3825}};
	struct host_mem mem = t_vector_home(n);

	mem.disp += t_is_whole(t) ? 8 : 0;
	emit_op_mem(t->e, opcodes[is_signed][size], xmm, mem, 2);
}

static bool is_signed(const struct translation *t)
{
	return !(t->insn & 1u << 29);
}

static bool shift_left_wide(struct translation *t)
{
	const unsigned size = shift_size(t), amount = immh_immb(t) - (8u << size);

	load_wide(t, 0, a64_rn(t->insn), size, is_signed(t));
	if (amount)
		shift(t, 0, LEFT, size + 1, amount);
	t_vector_store_all(t);
	return true;
}

/* Sums and differences of Vn and Vm, either of which may be wide already. */
static bool add_wide(struct translation *t, bool subtracts, bool first_is_wide)
{
	static const uint32_t opcodes[2][3] = {{0x0ffd, 0x0ffe, 0x0fd4}, {0x0ff9, 0x0ffa, 0x0ffb}};
	const unsigned size = t->insn >> 22 & 3;

	if (first_is_wide)
		t_vector_load(t, 0, a64_rn(t->insn));
	else
		load_wide(t, 0, a64_rn(t->insn), size, is_signed(t));
	load_wide(t, 1, a64_rm(t->insn), size, is_signed(t));
	t_sse(t, opcodes[subtracts][size], 0, 1);
	t_vector_store_all(t);
	return true;
}

/* SMULL, UMULL, and to or from Vd. */
static bool multiply_wide(struct translation *t, int combines)
{
	static const uint32_t multiply[2][3] = {{0x0fd5, 0x0f3840, 0x0ff4}, {0x0fd5, 0x0f3840, 0x0f3828}};
	static const uint32_t add[3] = {0x0ffd, 0x0ffe, 0x0fd4}, sub[3] = {0x0ff9, 0x0ffa, 0x0ffb};
	const unsigned size = t->insn >> 22 & 3;

	load_wide(t, 1, a64_rn(t->insn), size, is_signed(t));
	load_wide(t, 2, a64_rm(t->insn), size, is_signed(t));
	t_sse(t, multiply[is_signed(t)][size], 1, 2);
	if (combines) {
		t_vector_load(t, 0, a64_rd(t->insn));
		t_sse(t, (combines > 0 ? add : sub)[size], 0, 1);
	} else {
		emit_op_reg(t->e, 0x0f28, 0, 1, 4); /* movaps */
	}
	t_vector_store_all(t);
	return true;
}

/* ---- narrowing ---- */

/* The lower halves of xmm0's elements, which get this size, side by side; the second form puts them above what Vd has. */
static void store_narrow(struct translation *t, unsigned size)
{
	if (size == 2) {
		emit_op_reg(t->e, 0x0fc6, 0, 0, 4); /* shufps */
		emit_u8(t->e, 0x08);
	} else {
		/* Cut, so that nothing saturates. */
		shift(t, 0, LEFT, size + 1, 8u << size);
		shift(t, 0, size ? RIGHT_SIGNED : RIGHT, size + 1, 8u << size);
		t_sse(t, size ? 0x0f6b : 0x0f67, 0, 0); /* packssdw, packuswb */
	}
	if (t_is_whole(t)) {
		t_vector_load(t, 1, a64_rd(t->insn));
		t_sse(t, 0x0f6c, 1, 0); /* punpcklqdq */
		emit_op_reg(t->e, 0x0f28, 0, 1, 4);
	}
	t_vector_store(t);
}

static bool narrow(struct translation *t)
{
	t_vector_load(t, 0, a64_rn(t->insn));
	store_narrow(t, t->insn >> 22 & 3);
	return true;
}

static bool shift_right_narrow(struct translation *t)
{
	const unsigned size = shift_size(t), amount = (16u << size) - immh_immb(t);

	if (t->insn & 1u << 11)
		return false; /* rounds */
	t_vector_load(t, 0, a64_rn(t->insn));
	shift(t, 0, RIGHT, size + 1, amount);
	store_narrow(t, size);
	return true;
}

bool t_simd_wide(struct translation *t, enum a64_op op)
{
	switch (op) {
	case A64_shr: return shift_right(t, false);
	case A64_sra: return shift_right(t, true);
	case A64_shl: return shift_left(t);
	case A64_shll_imm: return shift_left_wide(t);
	case A64_addl: return add_wide(t, false, false);
	case A64_addw: return add_wide(t, false, true);
	case A64_subl: return add_wide(t, true, false);
	case A64_subw: return add_wide(t, true, true);
	case A64_mull: return multiply_wide(t, 0);
	case A64_mlal: return multiply_wide(t, 1);
	case A64_mlsl: return multiply_wide(t, -1);
	case A64_xtn: return narrow(t);
	case A64_shrn: return shift_right_narrow(t);
	default: return false;
	}
}
