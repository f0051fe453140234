/* Advanced SIMD that the host does as it is: logic, sums, comparisons of whole registers; moves. By xmm0 and xmm1.
 */
#include "engine/dbt/aarch64/translate.h"

static bool is_whole(uint32_t insn)
{
	return insn & 1u << 30;
}

static void load(struct translation *t, unsigned xmm, unsigned n)
{
	emit_op_mem(t->e, 0x0f10, xmm, t_vector_home(n), 4); /* movups */
}

/* The upper half is zero in forms on half a register. */
static void store(struct translation *t, unsigned n)
{
	if (!is_whole(t->insn)) {
		emit_u8(t->e, 0xf3);
		emit_op_reg(t->e, 0x0f7e, 0, 0, 4); /* movq xmm0, xmm0 */
	}
	emit_op_mem(t->e, 0x0f11, 0, t_vector_home(n), 4);
}

/* 66 0f opcode: xmm0 = xmm0 op xmm1. */
static void sse(struct translation *t, unsigned opcode)
{
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f00 | opcode, 0, 1, 4);
}

/* Vd = Vn op Vm; swapped: the host's first operand is Vm. */
static bool three(struct translation *t, unsigned opcode, bool swapped)
{
	load(t, swapped ? 1 : 0, a64_rn(t->insn));
	load(t, swapped ? 0 : 1, a64_rm(t->insn));
	sse(t, opcode);
	store(t, a64_rd(t->insn));
	return true;
}

static bool by_size(struct translation *t, const uint8_t opcodes[4], bool swapped)
{
	const unsigned size = t->insn >> 22 & 3;

	/* On one element, a form of its own; and elements of 64 bits in half a register are none. */
	if (t->insn & 1u << 28 || !opcodes[size] || (size == 3 && !is_whole(t->insn)))
		return false;
	return three(t, opcodes[size], swapped);
}

/* A constant, as MOVI has it: only where nothing of the old value stays. */
static bool move_immediate(struct translation *t)
{
	const unsigned cmode = a64_bits(t->insn, 12, 4);
	const bool op = t->insn & 1u << 29;
	const unsigned imm8 = a64_bits(t->insn, 16, 3) << 5 | a64_bits(t->insn, 5, 5);

	/* The most common: zero. */
	if (imm8 || op != (cmode == 14 && op) || (cmode < 12 && (cmode & 1)) || (cmode >= 12 && cmode != 14))
		return false;
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0fef, 0, 0, 4); /* pxor */
	emit_op_mem(t->e, 0x0f11, 0, t_vector_home(a64_rd(t->insn)), 4);
	return true;
}

/* UMOV, and FMOV to a general register: a lane. */
static bool to_general(struct translation *t)
{
	const unsigned imm5 = a64_rm(t->insn), n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);
	struct host_mem lane = t_vector_home(a64_rn(t->insn));

	if (!(imm5 & 15))
		return false;
	const unsigned size = (unsigned)__builtin_ctz(imm5);

	if (is_whole(t->insn) != (size == 3))
		return false;
	lane.disp += (int32_t)((imm5 >> (size + 1)) << size);
	if (size < 2)
		emit_op_mem(t->e, size ? 0x0fb7 : 0x0fb6, reg, lane, 4);
	else
		emit_load(t->e, reg, lane, 1u << size);
	t_finish(t, n, reg);
	return true;
}

bool t_simd(struct translation *t, enum a64_op op)
{
	static const uint8_t add[4] = {0xfc, 0xfd, 0xfe, 0xd4}, sub[4] = {0xf8, 0xf9, 0xfa, 0xfb}, equal[4] = {0x74, 0x75, 0x76, 0};
	static const uint8_t greater[4] = {0x64, 0x65, 0x66, 0}, umax[4] = {0xde}, umin[4] = {0xda}, smax[4] = {0, 0xee}, smin[4] = {0, 0xea};
	static const uint8_t mul[4] = {0, 0xd5};

	switch (op) {
	case A64_and_v: return three(t, 0xdb, false);
	case A64_orr_v: return three(t, 0xeb, false);
	case A64_eor_v: return three(t, 0xef, false);
	case A64_bic_v: return three(t, 0xdf, true); /* pandn inverts its first operand */
	case A64_add_v: return by_size(t, add, false);
	case A64_sub_v: return by_size(t, sub, false);
	case A64_cmeq: return by_size(t, equal, false);
	case A64_cmgt: return by_size(t, greater, false);
	case A64_umax: return by_size(t, umax, false);
	case A64_umin: return by_size(t, umin, false);
	case A64_smax: return by_size(t, smax, false);
	case A64_smin: return by_size(t, smin, false);
	case A64_mul: return by_size(t, mul, false);
	case A64_movi: return move_immediate(t);
	case A64_umov: return to_general(t);
	default: return t_memory(t, op);
	}
}
