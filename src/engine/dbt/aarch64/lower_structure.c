/* LD1 and ST1 of whole registers in a row, and LD1R: the forms of structures that the host needs no shuffling for.
 */
#include "engine/dbt/aarch64/translate.h"

static bool is_post_indexed(const struct translation *t)
{
	return t->insn & 1u << 23;
}

/* By a register, or past what was accessed. */
static void move_base(struct translation *t, unsigned bytes)
{
	const unsigned n = a64_rn(t->insn), m = a64_rm(t->insn);
	unsigned reg;

	if (m == 31) {
		t_write_back(t, bytes);
		return;
	}
	reg = t_source_sp(t, n, HOST_RCX, 8);
	t_op(t, X86_ADD, reg, m, 8);
	t_finish_sp(t, n, reg);
}

static unsigned register_count(uint32_t insn)
{
	switch (a64_bits(insn, 12, 4)) {
	case 0x2: return 4;
	case 0x6: return 3;
	case 0x7: return 1;
	case 0xa: return 2;
	default: return 0; /* structures of several elements */
	}
}

static bool multiple(struct translation *t, bool stores)
{
	const unsigned count = register_count(t->insn), size = t_is_whole(t) ? 16 : 8;
	unsigned base, slow;

	if (!count)
		return false;
	base = t_check_base(t);
	t_base_plus(t, 0);
	slow = t_to_host(t, count * size, stores);
	for (unsigned i = 0; i < count; i++) {
		const struct host_mem home = t_vector_home((a64_rd(t->insn) + i) & 31), mem = t_at((int32_t)(i * size));

		if (size == 16) {
			emit_op_mem(t->e, 0x0f10, 0, stores ? home : mem, 4); /* movups */
			emit_op_mem(t->e, 0x0f11, 0, stores ? mem : home, 4);
		} else {
			emit_u8(t->e, 0xf3);
			emit_op_mem(t->e, 0x0f7e, 0, stores ? home : mem, 4); /* movq */
			if (stores)
				emit_op_mem(t->e, 0x0fd6, 0, mem, 2);
			else
				emit_op_mem(t->e, 0x0f11, 0, home, 4);
		}
	}
	if (is_post_indexed(t))
		move_base(t, count * size);
	t_slow_end(t, slow);
	t_slow_end(t, base);
	return true;
}

/* LD1R: opcode 110, one register. */
static bool replicated(struct translation *t)
{
	static const uint64_t ones[3] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001};
	const unsigned scale = a64_bits(t->insn, 10, 2);
	unsigned base, slow;

	if (a64_bits(t->insn, 12, 4) != 0xc || a64_bits(t->insn, 21, 1))
		return false;
	base = t_check_base(t);
	t_base_plus(t, 0);
	slow = t_to_host(t, 1u << scale, false);
	if (scale < 2)
		emit_op_mem(t->e, scale ? 0x0fb7 : 0x0fb6, HOST_RAX, t_at(0), 4); /* movzx */
	else
		emit_load(t->e, HOST_RAX, t_at(0), 1u << scale);
	if (scale < 3) {
		emit_mov_imm(t->e, HOST_RCX, ones[scale]);
		emit_op_reg(t->e, 0x0faf, HOST_RAX, HOST_RCX, 8); /* imul */
	}
	emit_u8(t->e, 0x66);
	emit_op_reg(t->e, 0x0f6e, 0, HOST_RAX, 8); /* movq */
	if (t_is_whole(t))
		t_sse(t, 0x0f6c, 0, 0); /* punpcklqdq */
	t_vector_store_all(t);
	if (is_post_indexed(t))
		move_base(t, 1u << scale);
	t_slow_end(t, slow);
	t_slow_end(t, base);
	return true;
}

bool t_structure(struct translation *t, enum a64_op op)
{
	switch (op) {
	case A64_ld_multiple: return multiple(t, false);
	case A64_st_multiple: return multiple(t, true);
	case A64_ld_single: return replicated(t);
	default: return false;
	}
}
