/* Scalar floating point, single and double, by the host's SSE2 and FMA, where the result is the same and no flag changes: FPCR is zero
 * (nearest, no flushing, no default NaN), FPSR.IXC is set already where the result may be inexact, and the result is a number whose
 * exponent is not the lowest: then no operand was a NaN or an infinity, nothing overflowed, and nothing was tiny. All else is the
 * interpreter's.
 */
#include "engine/dbt/aarch64/translate.h"

static struct host_mem home(unsigned n)
{
	return t_state(offsetof(struct dbt64, cpu.s.v) + 16 * n);
}

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
	emit_op_mem(t->e, 0x0f00 | opcode, xmm, home(n), 4);
}

/* rax to Vd, all above its type zero. */
static void store(struct translation *t, unsigned reg)
{
	const unsigned d = a64_rd(t->insn);
	struct host_mem upper = home(d);

	upper.disp += 8;
	emit_store(t->e, home(d), reg, 8);
	emit_mov_imm(t->e, HOST_RDX, 0);
	emit_store(t->e, upper, HOST_RDX, 8);
}

/* xmm0 to rax. */
static void take_result(struct translation *t, bool wide)
{
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f7e, 0, HOST_RAX, wide ? 8 : 4);
}

/* ---- conditions: jumps to one slow way, which goes on behind the instruction ---- */

#define JUMPS_MAX 4
struct slow {
	unsigned ways[JUMPS_MAX], count;
};

static void leave_if(struct translation *t, struct slow *slow, unsigned cc)
{
	slow->ways[slow->count++] = t_slow(t, t_jcc(t, cc));
}

static void begin(struct translation *t, struct slow *slow, bool may_be_inexact)
{
	slow->count = 0;
	t->in_host = false;
	emit_op_mem(t->e, 0x83, 7, t_state(offsetof(struct dbt64, cpu.s.fpcr)), 4); /* cmp */
	emit_u8(t->e, 0);
	leave_if(t, slow, 5);
	if (!may_be_inexact)
		return;
	emit_op_mem(t->e, 0xf6, 0, t_state(offsetof(struct dbt64, cpu.s.fpsr)), 1); /* test */
	emit_u8(t->e, A64_FPSR_IXC);
	leave_if(t, slow, 4);
}

static void end(struct translation *t, const struct slow *slow)
{
	for (unsigned i = 0; i < slow->count; i++)
		t->cold[slow->ways[i]].back = t->e->at;
}

/* Is rax a number with an exponent above the lowest? */
static void check_result(struct translation *t, struct slow *slow, bool wide)
{
	emit_mov_reg(t->e, HOST_RCX, HOST_RAX, 8);
	t_shift_imm(t, X86_SHR, HOST_RCX, wide ? 52 : 23, 8);
	t_op_imm(t, X86_AND, HOST_RCX, wide ? 0x7ff : 0xff, 4);
	t_op_imm(t, X86_SUB, HOST_RCX, 2, 4);
	t_op_imm(t, X86_CMP, HOST_RCX, wide ? 0x7fc : 0xfc, 4);
	leave_if(t, slow, 7);
}

static void flip_sign(struct translation *t, unsigned bt, bool wide)
{
	emit_op_reg(t->e, 0x0fba, bt, HOST_RAX, wide ? 8 : 4);
	emit_u8(t->e, wide ? 63 : 31);
}

/* ---- arithmetic ---- */

enum { ADD = 0x58, MUL = 0x59, SUB = 0x5c, DIV = 0x5e, SQRT = 0x51 };

static void arithmetic(struct translation *t, unsigned opcode, bool negates)
{
	const bool wide = is_double(t->insn);
	struct slow slow;

	begin(t, &slow, true);
	if (opcode == SQRT) {
		sse(t, SQRT, 0, a64_rn(t->insn), wide);
	} else {
		sse(t, 0x10, 0, a64_rn(t->insn), wide);
		sse(t, opcode, 0, a64_rm(t->insn), wide);
	}
	take_result(t, wide);
	check_result(t, &slow, wide);
	if (negates)
		flip_sign(t, 7, wide);
	store(t, HOST_RAX);
	end(t, &slow);
}

/* VFMADD231SD and its kin: xmm0 is the addend, xmm1 and xmm2 the factors. */
static bool multiply_add(struct translation *t, unsigned opcode)
{
	const bool wide = is_double(t->insn);
	struct slow slow;

	if (!t->d->has_fma)
		return false;
	begin(t, &slow, true);
	sse(t, 0x10, 0, a64_ra(t->insn), wide);
	sse(t, 0x10, 1, a64_rn(t->insn), wide);
	sse(t, 0x10, 2, a64_rm(t->insn), wide);
	emit_u8(t->e, 0xc4);
	emit_u8(t->e, 0xe2);
	emit_u8(t->e, (wide ? 0x80u : 0u) | (~1u & 15) << 3 | 1);
	emit_u8(t->e, opcode);
	emit_u8(t->e, 0xc2);
	take_result(t, wide);
	check_result(t, &slow, wide);
	store(t, HOST_RAX);
	end(t, &slow);
	return true;
}

/* ---- comparison ---- */

static void compare(struct translation *t, bool with_zero)
{
	const bool wide = is_double(t->insn);
	struct slow slow;

	begin(t, &slow, false);
	sse(t, 0x10, 0, a64_rn(t->insn), wide);
	if (with_zero)
		emit_op_reg(t->e, 0x0f57, 1, 1, 4); /* xorps xmm1, xmm1 */
	else
		sse(t, 0x10, 1, a64_rm(t->insn), wide);
	if (wide)
		emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f2e, 0, 1, 4); /* ucomisd xmm0, xmm1 */
	leave_if(t, &slow, 10);             /* a NaN */
	/* Less has N, equal ZC, greater C; the host has CF for less, ZF for equal: N is copied from CF. */
	emit_u8(t->e, 0x9f); /* lahf */
	t_op_imm(t, X86_AND, HOST_RAX, 0x4100, 4);
	emit_mov_reg(t->e, HOST_RCX, HOST_RAX, 4);
	t_op_imm(t, X86_AND, HOST_RCX, 0x100, 4);
	t_shift_imm(t, X86_SHL, HOST_RCX, 7, 4);
	emit_op_reg(t->e, X86_OR, HOST_RCX, HOST_RAX, 4);
	emit_store(t->e, t_state(offsetof(struct dbt64, flags)), HOST_RAX, 2);
	end(t, &slow);
}

/* ---- moves ---- */

static void move(struct translation *t)
{
	emit_load(t->e, HOST_RAX, home(a64_rn(t->insn)), size_of(t->insn));
	store(t, HOST_RAX);
}

static void change_sign(struct translation *t, unsigned bt)
{
	emit_load(t->e, HOST_RAX, home(a64_rn(t->insn)), size_of(t->insn));
	flip_sign(t, bt, is_double(t->insn));
	store(t, HOST_RAX);
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
	emit_load(t->e, HOST_RCX, home(a64_rm(t->insn)), size);
	emit_op_mem(t->e, 0x0f40 | t_condition(cond), HOST_RCX, home(a64_rn(t->insn)), size);
	store(t, HOST_RCX);
}

/* VFPExpandImm (J1). */
static void immediate(struct translation *t)
{
	const uint64_t imm8 = a64_bits(t->insn, 13, 8), sign = imm8 >> 7, b = imm8 >> 6 & 1, low = imm8 & 63;

	if (is_double(t->insn))
		emit_mov_imm(t->e, HOST_RAX, sign << 63 | (b ? 0xffull << 54 : 1ull << 62) | low << 48);
	else
		emit_mov_imm(t->e, HOST_RAX, sign << 31 | (b ? 0x1full << 25 : 1ull << 30) | low << 19);
	store(t, HOST_RAX);
}

static void from_general(struct translation *t)
{
	const unsigned size = size_of(t->insn);

	emit_mov_reg(t->e, HOST_RAX, t_source(t, a64_rn(t->insn), HOST_RAX, size), size);
	store(t, HOST_RAX);
}

static void to_general(struct translation *t)
{
	const unsigned n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);

	emit_load(t->e, reg, home(a64_rn(t->insn)), size_of(t->insn));
	t_finish(t, n, reg);
}

/* ---- conversions ---- */

static void from_integer(struct translation *t)
{
	const bool wide = is_double(t->insn);
	struct slow slow;

	begin(t, &slow, true);
	{
		const unsigned n = t_source(t, a64_rn(t->insn), HOST_RCX, t->insn >> 31 ? 8 : 4);

		emit_u8(t->e, wide ? 0xf2 : 0xf3);
		emit_op_reg(t->e, 0x0f2a, 0, n, t->insn >> 31 ? 8 : 4); /* cvtsi2sd */
	}
	take_result(t, wide);
	store(t, HOST_RAX);
	end(t, &slow);
}

/* What does not fit the host gives as the smallest number. */
static void to_integer(struct translation *t)
{
	const unsigned size = t->insn >> 31 ? 8 : 4;
	struct slow slow;

	begin(t, &slow, true);
	emit_u8(t->e, is_double(t->insn) ? 0xf2 : 0xf3);
	emit_op_mem(t->e, 0x0f2c, HOST_RAX, home(a64_rn(t->insn)), size); /* cvttsd2si */
	emit_mov_reg(t->e, HOST_RCX, HOST_RAX, size);
	t_op_imm(t, X86_SUB, HOST_RCX, 1, size); /* overflows for that one alone */
	leave_if(t, &slow, 0);
	t_finish(t, a64_rd(t->insn), HOST_RAX);
	end(t, &slow);
}

/* Between single and double; bits 16:15 say to what. */
static bool convert(struct translation *t)
{
	const unsigned to = a64_bits(t->insn, 15, 2);
	const bool wide = to == 1;
	struct slow slow;

	if (to > 1)
		return false;
	begin(t, &slow, true);
	sse(t, 0x5a, 0, a64_rn(t->insn), is_double(t->insn)); /* cvtsd2ss, cvtss2sd */
	take_result(t, wide);
	check_result(t, &slow, wide);
	store(t, HOST_RAX);
	end(t, &slow);
	return true;
}

bool t_fp(struct translation *t, enum a64_op op)
{
	if (!is_host_type(t->insn))
		return false;
	switch (op) {
	case A64_fadd: arithmetic(t, ADD, false); return true;
	case A64_fsub: arithmetic(t, SUB, false); return true;
	case A64_fmul: arithmetic(t, MUL, false); return true;
	case A64_fnmul: arithmetic(t, MUL, true); return true;
	case A64_fdiv: arithmetic(t, DIV, false); return true;
	case A64_fsqrt: arithmetic(t, SQRT, false); return true;
	case A64_fmadd: return multiply_add(t, 0xb9);
	case A64_fmsub: return multiply_add(t, 0xbd);
	case A64_fnmadd: return multiply_add(t, 0xbf);
	case A64_fnmsub: return multiply_add(t, 0xbb);
	case A64_fcmp:
	case A64_fcmpe: compare(t, false); return true;
	case A64_fcmp_zero:
	case A64_fcmpe_zero: compare(t, true); return true;
	case A64_fmov: move(t); return true;
	case A64_fabs: change_sign(t, 6); return true; /* btr */
	case A64_fneg: change_sign(t, 7); return true; /* btc */
	case A64_fcsel: select(t); return true;
	case A64_fmov_imm: immediate(t); return true;
	case A64_fmov_from_general: from_general(t); return true;
	case A64_fmov_to_general: to_general(t); return true;
	case A64_scvtf: from_integer(t); return true;
	case A64_fcvtzs: to_integer(t); return true;
	case A64_fcvt: return convert(t);
	default: return false;
	}
}
