/* Vectors of single and double by the host's SSE and FMA, and what is done by an element of a vector. When that may be, and what of it is the
 * interpreter's: lower_fp.c.
 */
#include "engine/dbt/aarch64/translate.h"

/* One element alone, in forms that have vectors too. */
static bool is_scalar(uint32_t insn)
{
	return insn & 1u << 28;
}

static bool is_whole(uint32_t insn)
{
	return insn & 1u << 30;
}

static bool is_double(uint32_t insn)
{
	return insn & 1u << 22;
}

/* ---- code ---- */

/* A vector's: nothing for single, 66 for double. */
static void prefix(struct translation *t)
{
	if (is_scalar(t->insn))
		emit_u8(t->e, is_double(t->insn) ? 0xf2 : 0xf3);
	else if (is_double(t->insn))
		emit_u8(t->e, 0x66);
}

static void op_reg(struct translation *t, unsigned opcode, unsigned xmm, unsigned from)
{
	emit_op_reg(t->e, 0x0f00 | opcode, xmm, from, 4);
}

/* What the instruction is about, the rest zero: an element, half a register, or all of it. */
static void load(struct translation *t, unsigned xmm, unsigned n)
{
	if (is_scalar(t->insn))
		emit_u8(t->e, is_double(t->insn) ? 0xf2 : 0xf3);
	else if (!is_whole(t->insn))
		emit_u8(t->e, 0xf2);
	emit_op_mem(t->e, 0x0f10, xmm, t_vector_home(n), 4); /* movss, movsd, movups */
}

static void store(struct translation *t)
{
	emit_op_mem(t->e, 0x0f11, 0, t_vector_home(a64_rd(t->insn)), 4);
}

/* An element in all places that count, zeros in the others: infinity times their zeros would be flagged. */
static void load_element(struct translation *t, unsigned xmm)
{
	const unsigned h = t->insn >> 11 & 1, l = t->insn >> 21 & 1, m = a64_rm(t->insn);
	struct host_mem mem = t_vector_home(m);

	mem.disp += (int32_t)(is_double(t->insn) ? 8 * h : 4 * (2 * h + l));
	if (is_double(t->insn)) {
		emit_u8(t->e, 0xf2);
		emit_op_mem(t->e, 0x0f12, xmm, mem, 4); /* movddup */
		return;
	}
	emit_u8(t->e, 0xf3);
	emit_op_mem(t->e, 0x0f10, xmm, mem, 4); /* movss */
	if (is_scalar(t->insn))
		return;
	op_reg(t, 0x14, xmm, xmm); /* unpcklps: twice, and two zeros */
	if (is_whole(t->insn))
		op_reg(t, 0x16, xmm, xmm); /* movlhps */
}

/* Is an element of xmm0 for the interpreter? xmm1 and xmm2 are lost. */
static void check_result(struct translation *t, struct fp_slow *slow, bool may_be_tiny)
{
	const bool wide = is_double(t->insn);

	op_reg(t, 0x28, 1, 0); /* movaps xmm1, xmm0 */
	if (wide)
		emit_u8(t->e, 0x66);
	op_reg(t, 0xc2, 1, 1); /* cmpunordps: all ones for a NaN */
	emit_u8(t->e, 3);
	if (may_be_tiny) {
		op_reg(t, 0x28, 2, 0);
		emit_u8(t->e, 0x66);
		op_reg(t, wide ? 0xd4 : 0xfe, 2, 2); /* paddq, paddd: without the sign */
		emit_op_mem(t->e, 0x0f10, 3, t_state(offsetof(struct dbt64, smallest) + (wide ? 16 : 0)), 4);
		emit_u8(t->e, 0x66);
		emit_op_reg(t->e, wide ? 0x0f3829 : 0x0f76, 2, 3, 4); /* pcmpeqq, pcmpeqd */
		op_reg(t, 0x56, 1, 2);                                /* orps */
	}
	op_reg(t, 0x50, HOST_RCX, 1); /* movmskps */
	emit_op_reg(t->e, X86_TEST, HOST_RCX, HOST_RCX, 4);
	t_fp_leave_if(t, slow, 5);
}

/* ---- arithmetic ---- */

enum { ADD = 0x58, MUL = 0x59, SUB = 0x5c, DIV = 0x5e, SQRT = 0x51 };

/* xmm0 = Vn op Vm, or op an element of it. */
static bool arithmetic(struct translation *t, unsigned opcode, bool by_element)
{
	struct fp_slow slow;

	/* The other half of a division would be 0/0. */
	if ((opcode == DIV && !is_whole(t->insn)) || !t_fp_begin(t, &slow))
		return false;
	load(t, 0, a64_rn(t->insn));
	if (by_element)
		load_element(t, 1);
	else if (opcode != SQRT)
		load(t, 1, a64_rm(t->insn));
	prefix(t);
	op_reg(t, opcode, 0, opcode == SQRT ? 0 : 1);
	check_result(t, &slow, opcode == MUL || opcode == DIV);
	store(t);
	t_fp_end(t, &slow);
	return true;
}

/* xmm0 = Vd +- Vn Vm, by VFMADD231 and VFNMADD231, whose forms for one element are the next opcodes. */
static bool multiply_add(struct translation *t, bool subtracts, bool by_element)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t->d->has_fma || !t_fp_begin(t, &slow))
		return false;
	load(t, 0, a64_rd(t->insn));
	load(t, 1, a64_rn(t->insn));
	if (by_element)
		load_element(t, 2);
	else
		load(t, 2, a64_rm(t->insn));
	emit_u8(t->e, 0xc4);
	emit_u8(t->e, 0xe2);
	emit_u8(t->e, (wide ? 0x80u : 0u) | (~1u & 15) << 3 | 1);
	emit_u8(t->e, (subtracts ? 0xbcu : 0xb8u) + is_scalar(t->insn));
	emit_u8(t->e, 0xc2);
	check_result(t, &slow, true);
	store(t);
	t_fp_end(t, &slow);
	return true;
}

/* FADDP of the two elements of one register. */
static bool add_pair(struct translation *t)
{
	const bool wide = is_double(t->insn);
	struct host_mem second = t_vector_home(a64_rn(t->insn));
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	second.disp += wide ? 8 : 4;
	load(t, 0, a64_rn(t->insn));
	prefix(t);
	emit_op_mem(t->e, 0x0f00 | ADD, 0, second, 4);
	check_result(t, &slow, false);
	store(t);
	t_fp_end(t, &slow);
	return true;
}

/* FADDP of two registers: the sums of neighbours. The host's HADDPS has the same order. */
static bool add_pairs(struct translation *t)
{
	struct fp_slow slow;

	if (!is_whole(t->insn) || !t_fp_begin(t, &slow))
		return false;
	load(t, 0, a64_rn(t->insn));
	load(t, 1, a64_rm(t->insn));
	emit_u8(t->e, is_double(t->insn) ? 0x66 : 0xf2);
	op_reg(t, 0x7c, 0, 1);
	check_result(t, &slow, false);
	store(t);
	t_fp_end(t, &slow);
	return true;
}

/* Signed integers of 32 bits; 64 bits are the interpreter's, but for one. */
static bool from_integer(struct translation *t)
{
	struct fp_slow slow;

	if ((is_double(t->insn) && !is_scalar(t->insn)) || !t_fp_begin(t, &slow))
		return false;
	if (is_scalar(t->insn)) {
		op_reg(t, 0x57, 0, 0); /* xorps */
		prefix(t);
		emit_op_mem(t->e, 0x0f2a, 0, t_vector_home(a64_rn(t->insn)), is_double(t->insn) ? 8 : 4); /* cvtsi2sd */
	} else {
		load(t, 0, a64_rn(t->insn));
		op_reg(t, 0x5b, 0, 0); /* cvtdq2ps */
	}
	store(t);
	t_fp_end(t, &slow);
	return true;
}

/* ---- what is no arithmetic ---- */

/* FABS and FNEG of whole vectors. */
static bool change_sign(struct translation *t, bool negates)
{
	const bool wide = is_double(t->insn);

	load(t, 0, a64_rn(t->insn));
	emit_u8(t->e, 0x66);
	op_reg(t, 0x76, 1, 1); /* pcmpeqd: all ones */
	emit_u8(t->e, 0x66);
	op_reg(t, wide ? 0x73 : 0x72, negates ? 6 : 2, 1); /* psll, psrl: the sign alone, or all but it */
	emit_u8(t->e, negates ? (wide ? 63 : 31) : 1);
	op_reg(t, negates ? 0x57 : 0x54, 0, 1); /* xorps, andps */
	if (!is_whole(t->insn)) {
		emit_u8(t->e, 0xf3);
		op_reg(t, 0x7e, 0, 0); /* movq */
	}
	store(t);
	return true;
}

/* Which of these instructions are on half precision, is told by other bits in each group. */
static bool has_host_type(uint32_t insn, enum a64_op op)
{
	switch (op) {
	case A64_fmla_e:
	case A64_fmls_e:
	case A64_fmul_e:
		return insn & 1u << 23;
	case A64_faddp_pair:
		return insn & 1u << 29;
	case A64_fsqrt_v:
	case A64_fabs_v:
	case A64_fneg_v:
	case A64_scvtf_v:
		return !(insn & 1u << 19);
	default:
		return insn & 1u << 21;
	}
}

bool t_fp_vector(struct translation *t, enum a64_op op)
{
	if (!has_host_type(t->insn, op))
		return false;
	switch (op) {
	case A64_fadd_v: return arithmetic(t, ADD, false);
	case A64_fsub_v: return arithmetic(t, SUB, false);
	case A64_fmul_v: return arithmetic(t, MUL, false);
	case A64_fdiv_v: return arithmetic(t, DIV, false);
	case A64_fsqrt_v: return arithmetic(t, SQRT, false);
	case A64_fmul_e: return arithmetic(t, MUL, true);
	case A64_fmla_v: return multiply_add(t, false, false);
	case A64_fmls_v: return multiply_add(t, true, false);
	case A64_fmla_e: return multiply_add(t, false, true);
	case A64_fmls_e: return multiply_add(t, true, true);
	case A64_faddp_pair: return add_pair(t);
	case A64_faddp_v: return add_pairs(t);
	case A64_scvtf_v: return from_integer(t);
	case A64_fabs_v: return change_sign(t, false);
	case A64_fneg_v: return change_sign(t, true);
	default: return false;
	}
}
