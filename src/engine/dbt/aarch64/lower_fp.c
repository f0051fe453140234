/* Scalar floating point, single and double, by the host's SSE2 and FMA, while FPCR is zero: nearest, no flushing, no default NaN. That is
 * part of a block's key. The cumulative flags are MXCSR's, and come to FPSR when anybody else is to see it (run.c).
 *
 * Two things are the interpreter's: results that are NaNs, since the two architectures choose and make them otherwise, and those that
 * are the smallest normal number, if something was rounded: Arm says whether a result is tiny before it is rounded (FPRoundBase, J1), the
 * host afterwards.
 */
#include "arch/aarch64/bitmask.h"
#include "engine/dbt/aarch64/translate.h"

static bool is_double(uint32_t insn)
{
	return insn & 1u << 22;
}

/* Bits 23:22: 0 single, 1 double, 3 half. */
static bool is_host_type(uint32_t insn)
{
	return !(insn & 1u << 23);
}

static unsigned size_of(uint32_t insn)
{
	return is_double(insn) ? 8 : 4;
}

/* ---- values ---- */

/* F2 or F3 0F opcode xmm, home of Vn: MOVSD, ADDSD and so on. */
static void sse(struct translation *t, unsigned opcode, unsigned xmm, unsigned n, bool wide)
{
	emit_u8(t->e, wide ? 0xf2 : 0xf3);
	emit_op_mem(t->e, 0x0f00 | opcode, xmm, t_vector_home(n), 4);
}

/* xmm0, which is zero above its type, to Vd. */
static void store_xmm(struct translation *t)
{
	emit_op_mem(t->e, 0x0f11, 0, t_vector_home(a64_rd(t->insn)), 4); /* movups */
}

/* A general register to Vd. */
static void store(struct translation *t, unsigned reg, unsigned size)
{
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f6e, 0, reg, size); /* movd, movq */
	store_xmm(t);
}

/* xmm0 to rax. */
static void take_result(struct translation *t, bool wide)
{
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f7e, 0, HOST_RAX, wide ? 8 : 4);
}

static void clear_xmm0(struct translation *t)
{
	emit_op_reg(t->e, 0x0f57, 0, 0, 4); /* xorps */
}

/* Is xmm0 for the interpreter? */
static void check_result(struct translation *t, struct fp_slow *slow, bool wide, bool may_be_tiny)
{
	if (wide)
		emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f2e, 0, 0, 4); /* ucomisd xmm0, xmm0 */
	t_fp_leave_if(t, slow, 10);
	if (!may_be_tiny)
		return;
	take_result(t, wide);
	emit_op_reg(t->e, X86_ADD, HOST_RAX, HOST_RAX, wide ? 8 : 4);
	emit_op_mem(t->e, X86_CMP + 2, HOST_RAX, t_state(offsetof(struct dbt64, smallest) + (wide ? 16 : 0)), wide ? 8 : 4);
	t_fp_leave_if(t, slow, 4);
}

static void flip_sign(struct translation *t, unsigned bt, bool wide)
{
	emit_op_reg(t->e, 0x0fba, bt, HOST_RAX, wide ? 8 : 4);
	emit_u8(t->e, wide ? 63 : 31);
}

/* ---- arithmetic ---- */

enum { ADD = 0x58, MUL = 0x59, SUB = 0x5c, DIV = 0x5e, SQRT = 0x51 };

static bool arithmetic(struct translation *t, unsigned opcode)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	if (opcode == SQRT) {
		emit_u8(t->e, wide ? 0xf2 : 0xf3);
		emit_op_reg(t->e, 0x0f00 | SQRT, 0, 0, 4);
	} else {
		sse(t, opcode, 0, a64_rm(t->insn), wide);
	}
	check_result(t, &slow, wide, opcode == MUL || opcode == DIV);
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}

/* FNMUL: the product with the other sign. */
static bool multiply_negated(struct translation *t)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	sse(t, MUL, 0, a64_rm(t->insn), wide);
	check_result(t, &slow, wide, true);
	take_result(t, wide);
	flip_sign(t, 7, wide);
	store(t, HOST_RAX, wide ? 8 : 4);
	t_fp_end(t, &slow);
	return true;
}

/* VFMADD231SD and its kin: xmm0 is the addend, xmm1 and xmm2 the factors. */
static bool multiply_add(struct translation *t, unsigned opcode)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t->d->has_fma || !t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_ra(t->insn), wide);
	sse(t, 0x10, 1, a64_rn(t->insn), wide);
	sse(t, 0x10, 2, a64_rm(t->insn), wide);
	emit_u8(t->e, 0xc4);
	emit_u8(t->e, 0xe2);
	emit_u8(t->e, (wide ? 0x80u : 0u) | (~1u & 15) << 3 | 1);
	emit_u8(t->e, opcode);
	emit_u8(t->e, 0xc2);
	check_result(t, &slow, wide, true);
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}

/* The host's gives its second operand for zeros, NaNs and equals: those are the interpreter's. */
static bool larger_or_smaller(struct translation *t, unsigned opcode)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	sse(t, 0x10, 1, a64_rm(t->insn), wide);
	if (wide)
		emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f2e, 0, 1, 4); /* ucomisd xmm0, xmm1: ZF if equal or unordered */
	t_fp_leave_if(t, &slow, 4);
	emit_u8(t->e, wide ? 0xf2 : 0xf3);
	emit_op_reg(t->e, 0x0f00 | opcode, 0, 1, 4);
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}

/* FRINTN, M, P, Z by ROUNDSD: 0 to 3; the flag of inexact results is FRINTX's alone. */
static bool round_to_integral(struct translation *t, unsigned how)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, wide ? 0x0f3a0b : 0x0f3a0a, 0, 0, 4);
	emit_u8(t->e, how);
	check_result(t, &slow, wide, false);
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}
#define ROUND_SILENT 8

/* ---- comparison ---- */

static bool compare(struct translation *t, bool with_zero)
{
	const bool wide = is_double(t->insn);
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	if (with_zero)
		emit_op_reg(t->e, 0x0f57, 1, 1, 4); /* xorps xmm1, xmm1 */
	else
		sse(t, 0x10, 1, a64_rm(t->insn), wide);
	if (wide)
		emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f2e, 0, 1, 4); /* ucomisd xmm0, xmm1 */
	t_fp_leave_if(t, &slow, 10);        /* a NaN */
	/* Less has N, equal ZC, greater C; the host has CF for less, ZF for equal: N is copied from CF. */
	emit_u8(t->e, 0x9f); /* lahf */
	t_op_imm(t, X86_AND, HOST_RAX, 0x4100, 4);
	emit_mov_reg(t->e, HOST_RCX, HOST_RAX, 4);
	t_op_imm(t, X86_AND, HOST_RCX, 0x100, 4);
	t_shift_imm(t, X86_SHL, HOST_RCX, 7, 4);
	emit_op_reg(t->e, X86_OR, HOST_RCX, HOST_RAX, 4);
	emit_store(t->e, t_state(offsetof(struct dbt64, flags)), HOST_RAX, 2);
	t_fp_end(t, &slow);
	return true;
}

/* ---- moves ---- */

static void move(struct translation *t)
{
	emit_load(t->e, HOST_RAX, t_vector_home(a64_rn(t->insn)), size_of(t->insn));
	store(t, HOST_RAX, size_of(t->insn));
}

static void change_sign(struct translation *t, unsigned bt)
{
	emit_load(t->e, HOST_RAX, t_vector_home(a64_rn(t->insn)), size_of(t->insn));
	flip_sign(t, bt, is_double(t->insn));
	store(t, HOST_RAX, size_of(t->insn));
	t->in_host = false;
}

static void select(struct translation *t)
{
	const unsigned cond = a64_bits(t->insn, 12, 4), size = size_of(t->insn);

	if (cond >= 14) {
		move(t);
		return;
	}
	t_flags_load(t);
	emit_load(t->e, HOST_RCX, t_vector_home(a64_rm(t->insn)), size);
	emit_op_mem(t->e, 0x0f40 | t_condition(cond), HOST_RCX, t_vector_home(a64_rn(t->insn)), size);
	store(t, HOST_RCX, size);
}

static void immediate(struct translation *t)
{
	emit_mov_imm(t->e, HOST_RAX, a64_expand_float(is_double(t->insn), a64_bits(t->insn, 13, 8)));
	store(t, HOST_RAX, 8);
}

static void from_general(struct translation *t)
{
	const unsigned size = size_of(t->insn);

	store(t, t_source(t, a64_rn(t->insn), HOST_RAX, size), size);
}

static void to_general(struct translation *t)
{
	const unsigned n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);

	emit_load(t->e, reg, t_vector_home(a64_rn(t->insn)), size_of(t->insn));
	t_finish(t, n, reg);
}

/* ---- conversions ---- */

/* What is unsigned and has 32 bits is positive with 64; of 64 it may be too large. */
static bool from_integer(struct translation *t, bool is_signed)
{
	const bool wide = is_double(t->insn), is_64 = t->insn >> 31;
	unsigned n, size = is_signed && !is_64 ? 4 : 8;
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	n = t_source(t, a64_rn(t->insn), HOST_RCX, is_64 ? 8 : 4);
	if (!is_signed && is_64) {
		emit_op_reg(t->e, X86_TEST, n, n, 8);
		t_fp_leave_if(t, &slow, 8);
	} else if (!is_signed && n != HOST_RCX) {
		emit_mov_reg(t->e, HOST_RCX, n, 4);
		n = HOST_RCX;
	}
	clear_xmm0(t);
	emit_u8(t->e, wide ? 0xf2 : 0xf3);
	emit_op_reg(t->e, 0x0f2a, 0, n, size); /* cvtsi2sd */
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}

/* Towards zero. What does not fit the host gives as the smallest number. */
static bool to_integer(struct translation *t)
{
	const unsigned size = t->insn >> 31 ? 8 : 4;
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	emit_u8(t->e, is_double(t->insn) ? 0xf2 : 0xf3);
	emit_op_mem(t->e, 0x0f2c, HOST_RAX, t_vector_home(a64_rn(t->insn)), size); /* cvttsd2si */
	emit_mov_reg(t->e, HOST_RCX, HOST_RAX, size);
	t_op_imm(t, X86_SUB, HOST_RCX, 1, size); /* overflows for that one alone */
	t_fp_leave_if(t, &slow, 0);
	t_finish(t, a64_rd(t->insn), HOST_RAX);
	t_fp_end(t, &slow);
	return true;
}

/* Positive and small enough, or the interpreter's: positive numbers are in the order of their bits, and all others are above. */
static bool to_unsigned(struct translation *t)
{
	const bool wide = is_double(t->insn), is_64 = t->insn >> 31;
	const uint64_t exponent = is_64 ? 63 : 32, bound = wide ? (1023 + exponent) << 52 : (127 + exponent) << 23;
	struct fp_slow slow;

	if (!t_fp_begin(t, &slow))
		return false;
	emit_load(t->e, HOST_RCX, t_vector_home(a64_rn(t->insn)), wide ? 8 : 4);
	emit_mov_imm(t->e, HOST_RAX, bound);
	emit_op_reg(t->e, X86_CMP, HOST_RAX, HOST_RCX, wide ? 8 : 4);
	t_fp_leave_if(t, &slow, 3);
	emit_u8(t->e, wide ? 0xf2 : 0xf3);
	emit_op_mem(t->e, 0x0f2c, HOST_RAX, t_vector_home(a64_rn(t->insn)), 8); /* cvttsd2si */
	t_finish(t, a64_rd(t->insn), HOST_RAX);
	t_fp_end(t, &slow);
	return true;
}

/* Between single and double; bits 16:15 say to what. */
static bool convert(struct translation *t)
{
	const unsigned to = a64_bits(t->insn, 15, 2);
	const bool wide = to == 1;
	struct fp_slow slow;

	if (to > 1 || !t_fp_begin(t, &slow))
		return false;
	clear_xmm0(t);
	sse(t, 0x5a, 0, a64_rn(t->insn), is_double(t->insn)); /* cvtsd2ss, cvtss2sd */
	check_result(t, &slow, wide, !wide);
	store_xmm(t);
	t_fp_end(t, &slow);
	return true;
}

bool t_fp(struct translation *t, enum a64_op op)
{
	if (!is_host_type(t->insn))
		return false;
	switch (op) {
	case A64_fadd: return arithmetic(t, ADD);
	case A64_fsub: return arithmetic(t, SUB);
	case A64_fmul: return arithmetic(t, MUL);
	case A64_fnmul: return multiply_negated(t);
	case A64_fdiv: return arithmetic(t, DIV);
	case A64_fsqrt: return arithmetic(t, SQRT);
	case A64_fmax:
	case A64_fmaxnm: return larger_or_smaller(t, 0x5f);
	case A64_fmin:
	case A64_fminnm: return larger_or_smaller(t, 0x5d);
	case A64_frintn: return round_to_integral(t, 0 | ROUND_SILENT);
	case A64_frintm: return round_to_integral(t, 1 | ROUND_SILENT);
	case A64_frintp: return round_to_integral(t, 2 | ROUND_SILENT);
	case A64_frintz: return round_to_integral(t, 3 | ROUND_SILENT);
	case A64_frinti: return round_to_integral(t, 0 | ROUND_SILENT);
	case A64_frintx: return round_to_integral(t, 0);
	case A64_fmadd: return multiply_add(t, 0xb9);
	case A64_fmsub: return multiply_add(t, 0xbd);
	case A64_fnmadd: return multiply_add(t, 0xbf);
	case A64_fnmsub: return multiply_add(t, 0xbb);
	case A64_fcmp:
	case A64_fcmpe: return compare(t, false);
	case A64_fcmp_zero:
	case A64_fcmpe_zero: return compare(t, true);
	case A64_fmov: move(t); return true;
	case A64_fabs: change_sign(t, 6); return true; /* btr */
	case A64_fneg: change_sign(t, 7); return true; /* btc */
	case A64_fcsel: select(t); return true;
	case A64_fmov_imm: immediate(t); return true;
	case A64_fmov_from_general: from_general(t); return true;
	case A64_fmov_to_general: to_general(t); return true;
	case A64_scvtf: return from_integer(t, true);
	case A64_ucvtf: return from_integer(t, false);
	case A64_fcvtzs: return to_integer(t);
	case A64_fcvtzu: return to_unsigned(t);
	case A64_fcvt: return convert(t);
	default: return false;
	}
}
