/* Advanced SIMD that moves: constants, copies of elements, permutations.
 */
#include "arch/aarch64/bitmask.h"
#include "engine/dbt/aarch64/translate.h"

/* ---- constants ---- */

static bool store_constant(struct translation *t, uint64_t value)
{
	t_vector_constant(t, 0, value);
	t_vector_store(t);
	return true;
}

static bool immediate(struct translation *t)
{
	const unsigned cmode = a64_bits(t->insn, 12, 4);
	const bool op = t->insn & 1u << 29, combines = cmode < 12 && (cmode & 1);
	const uint64_t imm = a64_expand_immediate(cmode, op, a64_bits(t->insn, 16, 3) << 5 | a64_bits(t->insn, 5, 5));

	if (!combines)
		return store_constant(t, op && cmode < 14 ? ~imm : imm);
	t_vector_load(t, 0, a64_rd(t->insn));
	t_vector_constant(t, 1, op ? ~imm : imm);
	t_sse(t, op ? 0x0fdb : 0x0feb, 0, 1);
	t_vector_store(t);
	return true;
}

static bool float_immediate(struct translation *t)
{
	const bool wide = t->insn & 1u << 29;
	uint64_t value;

	if (t->insn & 1u << 11)
		return false; /* half precision */
	value = a64_expand_float(wide, a64_bits(t->insn, 16, 3) << 5 | a64_bits(t->insn, 5, 5));
	return store_constant(t, wide ? value : value << 32 | value);
}

/* ---- elements ---- */

/* imm5: its lowest set bit is the size, what is above it the index. 4: reserved. */
static unsigned element_size(const struct translation *t)
{
	const unsigned imm5 = a64_rm(t->insn);

	return imm5 & 15 ? (unsigned)__builtin_ctz(imm5) : 4;
}

static struct host_mem element(unsigned n, unsigned index, unsigned size)
{
	struct host_mem lane = t_vector_home(n);

	lane.disp += (int32_t)(index << size);
	return lane;
}

static struct host_mem chosen_element(const struct translation *t, unsigned size)
{
	return element(a64_rn(t->insn), a64_rm(t->insn) >> (size + 1), size);
}

static void load_element(struct translation *t, unsigned reg, struct host_mem lane, unsigned size)
{
	if (size < 2)
		emit_op_mem(t->e, size ? 0x0fb7 : 0x0fb6, reg, lane, 4); /* movzx */
	else
		emit_load(t->e, reg, lane, 1u << size);
}

/* rax to all elements of Vd. Flags are lost. */
static void duplicate(struct translation *t, unsigned size)
{
	static const uint64_t ones[3] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001};

	if (size < 3) {
		emit_mov_imm(t->e, HOST_RCX, ones[size]);
		emit_op_reg(t->e, 0x0faf, HOST_RAX, HOST_RCX, 8); /* imul */
	}
	t->in_host = false;
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f6e, 0, HOST_RAX, 8); /* movq */
	if (t_is_whole(t))
		t_sse(t, 0x0f6c, 0, 0); /* punpcklqdq */
	t_vector_store_all(t);
}

static bool duplicate_element(struct translation *t)
{
	const unsigned size = element_size(t);

	if (size == 4 || (t->insn & 1u << 28) || (size == 3 && !t_is_whole(t)))
		return false;
	load_element(t, HOST_RAX, chosen_element(t, size), size);
	duplicate(t, size);
	return true;
}

static bool duplicate_general(struct translation *t)
{
	const unsigned size = element_size(t), n = t_source(t, a64_rn(t->insn), HOST_RAX, 8);

	if (size == 4 || (size == 3 && !t_is_whole(t)))
		return false;
	if (size < 2)
		emit_op_reg(t->e, size ? 0x0fb7 : 0x0fb6, HOST_RAX, n, size ? 4 : 1); /* movzx */
	else
		emit_mov_reg(t->e, HOST_RAX, n, 1u << size);
	duplicate(t, size);
	return true;
}

/* PINSR of rax into xmm0. */
static void insert(struct translation *t, unsigned size, unsigned index)
{
	static const uint32_t opcodes[4] = {0x0f3a20, 0x0fc4, 0x0f3a22, 0x0f3a22};

	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, opcodes[size], 0, HOST_RAX, size == 3 ? 8 : 4);
	emit_u8(t->e, index);
}

/* All of Vd is loaded and stored: who loads it next would wait for parts. */
static bool insert_general(struct translation *t)
{
	const unsigned size = element_size(t);
	unsigned n;

	if (size == 4)
		return false;
	n = t_source(t, a64_rn(t->insn), HOST_RAX, 8);
	if (n != HOST_RAX)
		emit_mov_reg(t->e, HOST_RAX, n, 8);
	t_vector_load(t, 0, a64_rd(t->insn));
	insert(t, size, a64_rm(t->insn) >> (size + 1));
	t_vector_store_all(t);
	return true;
}

static bool insert_element(struct translation *t)
{
	const unsigned size = element_size(t);

	if (size == 4)
		return false;
	load_element(t, HOST_RAX, element(a64_rn(t->insn), a64_bits(t->insn, 11, 4) >> size, size), size);
	t_vector_load(t, 0, a64_rd(t->insn));
	insert(t, size, a64_rm(t->insn) >> (size + 1));
	t_vector_store_all(t);
	return true;
}

/* UMOV and SMOV. */
static bool to_general(struct translation *t, bool is_signed)
{
	const unsigned size = element_size(t), n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);

	if (size == 4 || (is_signed ? size > (t_is_whole(t) ? 2 : 1) : t_is_whole(t) != (size == 3)))
		return false;
	if (is_signed)
		emit_op_mem(t->e, size == 2 ? 0x63 : size ? 0x0fbf : 0x0fbe, reg, chosen_element(t, size), t_is_whole(t) ? 8 : 4);
	else
		load_element(t, reg, chosen_element(t, size), size);
	t_finish(t, n, reg);
	return true;
}

/* ---- permutations ---- */

/* Bytes of Vm and Vn in a row, from one of Vn onwards. */
static bool extract(struct translation *t)
{
	const unsigned at = a64_bits(t->insn, 11, 4);

	if (t_is_whole(t)) {
		t_vector_load(t, 0, a64_rm(t->insn));
		t_vector_load(t, 1, a64_rn(t->insn));
		t_sse(t, 0x0f3a0f, 0, 1); /* palignr */
	} else {
		if (at >= 8)
			return false;
		t_vector_load(t, 0, a64_rn(t->insn));
		t_vector_load(t, 1, a64_rm(t->insn));
		t_sse(t, 0x0f6c, 0, 1); /* punpcklqdq */
		t_sse(t, 0x0f73, 3, 0); /* psrldq */
	}
	emit_u8(t->e, at);
	t_vector_store(t);
	return true;
}

/* The host's PUNPCKL has what both halves of half a register make. */
static bool zip(struct translation *t)
{
	static const uint32_t low[4] = {0x0f60, 0x0f61, 0x0f62, 0x0f6c}, high[4] = {0x0f68, 0x0f69, 0x0f6a, 0x0f6d};
	const unsigned size = t->insn >> 22 & 3;
	const bool second = t->insn & 1u << 14;

	if (size == 3 && !t_is_whole(t))
		return false;
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	t_sse(t, (second && t_is_whole(t) ? high : low)[size], 0, 1);
	if (second && !t_is_whole(t)) {
		t_sse(t, 0x0f73, 3, 0);
		emit_u8(t->e, 8);
	}
	t_vector_store(t);
	return true;
}

/* Every second element of both, of whole registers: packed after the others are gone, which nothing saturates then. */
static bool unzip(struct translation *t)
{
	const unsigned size = t->insn >> 22 & 3;
	const bool second = t->insn & 1u << 14;

	if (!t_is_whole(t))
		return false;
	if (size == 3)
		return zip(t);
	t_vector_load(t, 0, a64_rn(t->insn));
	t_vector_load(t, 1, a64_rm(t->insn));
	if (size == 2) {
		emit_op_reg(t->e, 0x0fc6, 0, 1, 4); /* shufps */
		emit_u8(t->e, second ? 0xdd : 0x88);
		t_vector_store(t);
		return true;
	}
	for (unsigned xmm = 0; xmm < 2; xmm++) {
		const unsigned shift = size ? 0x0f72 : 0x0f71;

		if (!second) {
			t_sse(t, shift, 6, xmm);
			emit_u8(t->e, 8u << size);
		}
		t_sse(t, shift, size ? 4 : 2, xmm); /* psrad, whose result PACKSSDW keeps; psrlw for PACKUSWB */
		emit_u8(t->e, 8u << size);
	}
	t_sse(t, size ? 0x0f6b : 0x0f67, 0, 1);
	t_vector_store(t);
	return true;
}

/* TBL of one register: PSHUFB gives zero for an index with bit 7 set, which those above 15 get by a saturating sum. */
static bool look_up(struct translation *t)
{
	if (a64_bits(t->insn, 13, 2))
		return false;
	t_vector_constant(t, 1, 0x7070707070707070);
	t_vector_load(t, 2, a64_rm(t->insn));
	t_sse(t, 0x0fdc, 1, 2); /* paddusb */
	t_vector_load(t, 0, a64_rn(t->insn));
	t_sse(t, 0x0f3800, 0, 1);
	t_vector_store(t);
	return true;
}

bool t_simd_move(struct translation *t, enum a64_op op)
{
	switch (op) {
	case A64_movi: return immediate(t);
	case A64_fmov_vimm: return float_immediate(t);
	case A64_dup_element: return duplicate_element(t);
	case A64_dup_general: return duplicate_general(t);
	case A64_ins_general: return insert_general(t);
	case A64_ins_element: return insert_element(t);
	case A64_umov: return to_general(t, false);
	case A64_smov: return to_general(t, true);
	case A64_ext: return extract(t);
	case A64_zip: return zip(t);
	case A64_uzp: return unzip(t);
	case A64_tbl: return look_up(t);
	default: return false;
	}
}
