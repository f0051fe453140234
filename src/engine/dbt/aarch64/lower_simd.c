/* Advanced SIMD on integers that the host does as it is, or nearly: logic, sums, comparisons, minima, by xmm0 to xmm3.
 */
#include "engine/dbt/aarch64/translate.h"

void t_vector_load(struct translation *t, unsigned xmm, unsigned n)
{
	emit_op_mem(t->e, 0x0f10, xmm, t_vector_home(n), 4); /* movups */
}

void t_vector_load_64(struct translation *t, unsigned xmm, unsigned n, unsigned byte)
{
	struct host_mem mem = t_vector_home(n);

	mem.disp += (int32_t)byte;
	emit_u8(t->e, 0xf3);
	emit_op_mem(t->e, 0x0f7e, xmm, mem, 4); /* movq */
}

void t_vector_store_all(struct translation *t)
{
	emit_op_mem(t->e, 0x0f11, 0, t_vector_home(a64_rd(t->insn)), 4);
}

void t_vector_store(struct translation *t)
{
	if (!t_is_whole(t)) {
		emit_u8(t->e, 0xf3);
		emit_op_reg(t->e, 0x0f7e, 0, 0, 4); /* movq xmm0, xmm0 */
	}
	t_vector_store_all(t);
}

void t_vector_constant(struct translation *t, unsigned xmm, uint64_t value)
{
	if (!value || !~value) {
		t_sse(t, value ? 0x0f76 : 0x0fef, xmm, xmm); /* pcmpeqd, pxor */
		return;
	}
	emit_mov_imm(t->e, HOST_RAX, value);
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f6e, xmm, HOST_RAX, 8); /* movq */
	t_sse(t, 0x0f6c, xmm, xmm);                  /* punpcklqdq */
}

/* One element alone: a form of its own. */
static bool is_scalar(const struct translation *t)
{
	return t->insn & 1u << 28;
}

static unsigned size_of(const struct translation *t)
{
	return t->insn >> 22 & 3;
}

/* xmm0 is inverted, xmm1 lost. */
static void invert(struct translation *t)
{
	t_sse(t, 0x0f76, 1, 1);
	t_sse(t, 0x0fef, 0, 1);
}

/* ---- three registers ---- */

/* Vd = Vn op Vm; swapped: the host's first operand is Vm. */
static bool three(struct translation *t, unsigned opcode, bool swapped)
{
	t_vector_load(t, swapped ? 1 : 0, a64_rn(t->insn));
	t_vector_load(t, swapped ? 0 : 1, a64_rm(t->insn));
	t_sse(t, opcode, 0, 1);
	t_vector_store(t);
	return true;
}

/* The host's opcode for elements of this size, or 0: there is none, or it isn't for vectors. */
static unsigned by_size(const struct translation *t, const uint32_t opcodes[4])
{
	const unsigned size = size_of(t);

	return is_scalar(t) || (size == 3 && !t_is_whole(t)) ? 0 : opcodes[size];
}

static bool three_by_size(struct translation *t, const uint32_t opcodes[4])
{
	const unsigned opcode = by_size(t, opcodes);

	return opcode && three(t, opcode, false);
}

static const uint32_t add_opcodes[4] = {0x0ffc, 0x0ffd, 0x0ffe, 0x0fd4}, sub_opcodes[4] = {0x0ff8, 0x0ff9, 0x0ffa, 0x0ffb};
static const uint32_t equal_opcodes[4] = {0x0f74, 0x0f75, 0x0f76, 0x0f3829}, greater_opcodes[4] = {0x0f64, 0x0f65, 0x0f66, 0x0f3837};
static const uint32_t umax_opcodes[4] = {0x0fde, 0x0f383e, 0x0f383f}, umin_opcodes[4] = {0x0fda, 0x0f383a, 0x0f383b};
static const uint32_t smax_opcodes[4] = {0x0f383c, 0x0fee, 0x0f383d}, smin_opcodes[4] = {0x0f3838, 0x0fea, 0x0f3839};
static const uint32_t mul_opcodes[4] = {0, 0x0fd5, 0x0f3840}, uavg_opcodes[4] = {0x0fe0, 0x0fe3};

/* Vd +- Vn Vm. */
static bool multiply_add(struct translation *t, const uint32_t *opcodes)
{
	const unsigned multiply = by_size(t, mul_opcodes), combine = by_size(t, opcodes);

	if (!multiply)
		return false;
	t_vector_load(t, 1, a64_rn(t->insn));
	t_vector_load(t, 2, a64_rm(t->insn));
	t_sse(t, multiply, 1, 2);
	t_vector_load(t, 0, a64_rd(t->insn));
	t_sse(t, combine, 0, 1);
	t_vector_store(t);
	return true;
}

/* CMHS is: the larger one of both is Vn. CMHI is that it isn't Vm. */
static bool compare_unsigned(struct translation *t, bool or_same)
{
	const unsigned max = by_size(t, umax_opcodes);

	if (!max)
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	emit_op_reg(t->e, 0x0f28, 2, or_same ? 0 : 1, 4); /* movaps */
	t_sse(t, max, 0, 1);
	t_sse(t, by_size(t, equal_opcodes), 0, 2);
	if (!or_same)
		invert(t);
	t_vector_store(t);
	return true;
}

/* CMGE is that Vm isn't greater. */
static bool compare_signed_or_same(struct translation *t)
{
	const unsigned greater = by_size(t, greater_opcodes);

	if (!greater)
		return false;
	t_vector_load(t, 0, a64_rm(t->insn));
	t_vector_load(t, 1, a64_rn(t->insn));
	t_sse(t, greater, 0, 1);
	invert(t);
	t_vector_store(t);
	return true;
}

/* CMTST: is there a bit that both have? */
static bool test_bits(struct translation *t)
{
	const unsigned equal = by_size(t, equal_opcodes);

	if (!equal)
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	t_sse(t, 0x0fdb, 0, 1);
	t_sse(t, 0x0fef, 2, 2);
	t_sse(t, equal, 0, 2);
	invert(t);
	t_vector_store(t);
	return true;
}

/* With zero: Vn op 0, or 0 op Vn, or what is not so. */
static bool compare_with_zero(struct translation *t, const uint32_t *opcodes, bool swapped, bool inverted)
{
	const unsigned opcode = by_size(t, opcodes);

	if (!opcode)
		return false;
	t_vector_load(t, swapped ? 1 : 0, a64_rn(t->insn));
	t_sse(t, 0x0fef, swapped ? 0 : 1, swapped ? 0 : 1);
	t_sse(t, opcode, 0, 1);
	if (inverted)
		invert(t);
	t_vector_store(t);
	return true;
}

/* ((a ^ b) & mask) ^ b, mask or its inverse: BSL, BIT and BIF differ in who is who. */
static bool choose(struct translation *t, unsigned a, unsigned b, unsigned mask, bool inverted)
{
	t_vector_load(t, 0, a);
	t_vector_load(t, 1, b);
	t_vector_load(t, 2, mask);
	t_sse(t, 0x0fef, 0, 1);
	t_sse(t, inverted ? 0x0fdf : 0x0fdb, inverted ? 2 : 0, inverted ? 0 : 2); /* pandn inverts its first operand */
	t_sse(t, 0x0fef, inverted ? 2 : 0, 1);
	if (inverted)
		emit_op_reg(t->e, 0x0f28, 0, 2, 4);
	t_vector_store(t);
	return true;
}

static bool or_not(struct translation *t)
{
	t_vector_load(t, 0, a64_rm(t->insn));
	invert(t);
	t_vector_load(t, 1, a64_rn(t->insn));
	t_sse(t, 0x0feb, 0, 1);
	t_vector_store(t);
	return true;
}

/* ---- one register ---- */

static bool not(struct translation *t)
{
	t_vector_load(t, 0, a64_rn(t->insn));
	invert(t);
	t_vector_store(t);
	return true;
}

static bool absolute(struct translation *t)
{
	static const uint32_t opcodes[4] = {0x0f381c, 0x0f381d, 0x0f381e};
	const unsigned opcode = by_size(t, opcodes);

	if (!opcode)
		return false;
	t_vector_load(t, 1, a64_rn(t->insn));
	t_sse(t, opcode, 0, 1);
	t_vector_store(t);
	return true;
}

/* ---- pairs ---- */

/* ADDP: the host has it for 16 and 32 bits; of 64 bits there are two. */
static bool add_pairs(struct translation *t)
{
	static const uint32_t opcodes[4] = {0, 0x0f3801, 0x0f3802, 0x0fd4};
	const unsigned opcode = by_size(t, opcodes);

	if (!opcode || !t_is_whole(t))
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	if (size_of(t) == 3) {
		emit_op_reg(t->e, 0x0f28, 2, 0, 4);
		t_sse(t, 0x0f6c, 0, 1); /* punpcklqdq: the first of each */
		t_sse(t, 0x0f6d, 2, 1); /* punpckhqdq: the second */
		t_sse(t, opcode, 0, 2);
	} else {
		t_sse(t, opcode, 0, 1);
	}
	t_vector_store(t);
	return true;
}

/* UMAXP and UMINP of bytes, as string functions have them: each with its neighbour, then every second byte. */
static bool unsigned_pairs(struct translation *t, unsigned opcode)
{
	if (size_of(t) || !t_is_whole(t))
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	for (unsigned i = 0; i < 2; i++) {
		emit_op_reg(t->e, 0x0f28, 2, i, 4);
		t_sse(t, 0x0f71, 2, 2); /* psrlw */
		emit_u8(t->e, 8);
		t_sse(t, opcode, i, 2);
		t_sse(t, 0x0f71, 6, i); /* psllw and psrlw: the lower byte of two */
		emit_u8(t->e, 8);
		t_sse(t, 0x0f71, 2, i);
		emit_u8(t->e, 8);
	}
	t_sse(t, 0x0f67, 0, 1); /* packuswb */
	t_vector_store(t);
	return true;
}

/* ---- AES (FIPS 197): a round's last half, and the mixing of columns alone ---- */

static bool aes(struct translation *t, enum a64_op op)
{
	if (!t->d->has_aes)
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	if (op == A64_aese || op == A64_aesd) {
		t_vector_load(t, 1, a64_rd(t->insn));
		t_sse(t, 0x0fef, 0, 1);
		t_sse(t, 0x0fef, 1, 1);
		t_sse(t, op == A64_aese ? 0x0f38dd : 0x0f38df, 0, 1); /* aesenclast, aesdeclast */
	} else if (op == A64_aesmc) {
		t_sse(t, 0x0fef, 1, 1);
		t_sse(t, 0x0f38df, 0, 1); /* undone by the next, which mixes too */
		t_sse(t, 0x0f38dc, 0, 1);
	} else {
		t_sse(t, 0x0f38db, 0, 0);
	}
	t_vector_store_all(t);
	return true;
}

/* PMULL of 64 bits. */
static bool multiply_polynomial(struct translation *t)
{
	if (!t->d->has_aes || size_of(t) != 3)
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	t_sse(t, 0x0f3a44, 0, 1);
	emit_u8(t->e, t_is_whole(t) ? 0x11 : 0);
	t_vector_store_all(t);
	return true;
}

bool t_simd(struct translation *t, enum a64_op op)
{
	const unsigned d = a64_rd(t->insn), n = a64_rn(t->insn), m = a64_rm(t->insn);

	switch (op) {
	case A64_and_v: return three(t, 0x0fdb, false);
	case A64_orr_v: return three(t, 0x0feb, false);
	case A64_eor_v: return three(t, 0x0fef, false);
	case A64_bic_v: return three(t, 0x0fdf, true);
	case A64_orn_v: return or_not(t);
	case A64_not: return not(t);
	case A64_bsl: return choose(t, n, m, d, false);
	case A64_bit: return choose(t, n, d, m, false);
	case A64_bif: return choose(t, n, d, m, true);
	case A64_add_v: return three_by_size(t, add_opcodes);
	case A64_sub_v: return three_by_size(t, sub_opcodes);
	case A64_mul: return three_by_size(t, mul_opcodes);
	case A64_mla: return multiply_add(t, add_opcodes);
	case A64_mls: return multiply_add(t, sub_opcodes);
	case A64_umax: return three_by_size(t, umax_opcodes);
	case A64_umin: return three_by_size(t, umin_opcodes);
	case A64_smax: return three_by_size(t, smax_opcodes);
	case A64_smin: return three_by_size(t, smin_opcodes);
	case A64_urhadd: return three_by_size(t, uavg_opcodes);
	case A64_cmeq: return three_by_size(t, equal_opcodes);
	case A64_cmgt: return three_by_size(t, greater_opcodes);
	case A64_cmge: return compare_signed_or_same(t);
	case A64_cmhs: return compare_unsigned(t, true);
	case A64_cmhi: return compare_unsigned(t, false);
	case A64_cmtst: return test_bits(t);
	case A64_cmeq_zero: return compare_with_zero(t, equal_opcodes, false, false);
	case A64_cmgt_zero: return compare_with_zero(t, greater_opcodes, false, false);
	case A64_cmlt_zero: return compare_with_zero(t, greater_opcodes, true, false);
	case A64_cmge_zero: return compare_with_zero(t, greater_opcodes, true, true);
	case A64_cmle_zero: return compare_with_zero(t, greater_opcodes, false, true);
	case A64_neg_v: return compare_with_zero(t, sub_opcodes, true, false); /* 0 - Vn */
	case A64_abs_v: return absolute(t);
	case A64_addp_v: return add_pairs(t);
	case A64_umaxp: return unsigned_pairs(t, 0x0fde);
	case A64_uminp: return unsigned_pairs(t, 0x0fda);
	case A64_aese:
	case A64_aesd:
	case A64_aesmc:
	case A64_aesimc: return aes(t, op);
	case A64_pmull: return multiply_polynomial(t);
	default: return t_simd_move(t, op) || t_simd_wide(t, op) || t_memory(t, op);
	}
}
