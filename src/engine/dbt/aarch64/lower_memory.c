/* Loads and stores of general and of SIMD&FP registers, by the interpreter's soft TLB: what is not there, crosses a page or is to be looked
 * at calls the interpreter for the whole instruction, with nothing done yet.
 */
#include "arch/aarch64/bitmask.h"
#include "engine/dbt/aarch64/translate.h"

unsigned t_to_host(struct translation *t, unsigned bytes, bool write)
{
	const struct a64_cpu *cpu = &t->d->cpu;
	const size_t tlb = offsetof(struct dbt64, cpu.tlb) + cpu->data * sizeof(cpu->tlb[0]);
	const size_t tag = write ? offsetof(struct a64_tlb_entry, write_tag) : offsetof(struct a64_tlb_entry, read_tag);
	struct host_mem entry = {.base = HOST_RBP, .index = HOST_RCX, .scale = 1};
	unsigned slow;

	_Static_assert(sizeof(struct a64_tlb_entry) == 32, "an entry is found by a shift");
	t->in_host = false;
	emit_mov_reg(t->e, HOST_RCX, ADDRESS, 8);
	t_shift_imm(t, X86_SHR, HOST_RCX, PAGE_SHIFT - 5, 4);
	t_op_imm(t, X86_AND, HOST_RCX, (A64_TLB_SIZE - 1) * 32, 4);
	/* The page of the last byte: another one has another slot, or no such tag. */
	emit_lea(t->e, HOST_RDX, mem_base(ADDRESS, (int32_t)bytes - 1), 8);
	t_op_imm(t, X86_AND, HOST_RDX, -(int32_t)PAGE_SIZE, 8);
	entry.disp = (int32_t)(tlb + tag) - STATE_BIAS;
	emit_op_mem(t->e, X86_CMP + 2, HOST_RDX, entry, 8);
	slow = t_slow(t, t_jcc(t, 5));
	entry.disp = (int32_t)(tlb + offsetof(struct a64_tlb_entry, addend)) - STATE_BIAS;
	emit_load(t->e, HOST_RCX, entry, 8);
	return slow;
}

void t_slow_end(struct translation *t, unsigned slow)
{
	if (slow != COLD_MAX)
		t->cold[slow].back = t->e->at;
}

struct host_mem t_at(int32_t offset)
{
	return (struct host_mem){.base = ADDRESS, .index = HOST_RCX, .scale = 1, .disp = offset};
}

/* ---- addresses ---- */

/* Of SP the interpreter checks the alignment, if asked to: that is part of the mode that a block is for. */
static bool checks_stack(const struct translation *t)
{
	const uint64_t sctlr = t->d->cpu.s.sys[A64_SYS_SCTLR_EL1];

	return sctlr & (t->d->cpu.el ? A64_SCTLR_SA : A64_SCTLR_SA0);
}

unsigned t_check_base(struct translation *t)
{
	if (a64_rn(t->insn) != 31 || !checks_stack(t))
		return COLD_MAX;
	emit_op_reg(t->e, 0xf7, 0, HOST_R15, 4); /* test r15d, 15 */
	emit_u32(t->e, 15);
	t->in_host = false;
	return t_slow(t, t_jcc(t, 5));
}

void t_base_plus(struct translation *t, int64_t offset)
{
	emit_lea(t->e, ADDRESS, mem_base((uint8_t)t_source_sp(t, a64_rn(t->insn), ADDRESS, 8), (int32_t)offset), 8);
}

/* Base and a register that is extended and shifted. */
static void base_plus_register(struct translation *t, unsigned scale)
{
	const unsigned option = a64_bits(t->insn, 13, 3);
	unsigned m = t_source(t, a64_rm(t->insn), HOST_RCX, 8), n;

	if (option == 2)
		emit_mov_reg(t->e, HOST_RCX, m, 4);
	else if (option == 6)
		emit_op_reg(t->e, 0x63, HOST_RCX, m, 8);
	if (option == 2 || option == 6)
		m = HOST_RCX;
	if (t->insn & 1u << 12 && scale > 3) {
		if (m != HOST_RCX)
			emit_mov_reg(t->e, HOST_RCX, m, 8);
		m = HOST_RCX;
		t_shift_imm(t, X86_SHL, HOST_RCX, scale, 8);
		scale = 0;
	}
	n = t_source_sp(t, a64_rn(t->insn), ADDRESS, 8);
	emit_lea(t->e, ADDRESS,
		 (struct host_mem){.base = (uint8_t)n, .index = (uint8_t)m, .scale = (uint8_t)(t->insn & 1u << 12 ? 1u << scale : 1)}, 8);
}

void t_write_back(struct translation *t, int64_t offset)
{
	const unsigned n = a64_rn(t->insn), reg = t_target_sp(n, HOST_RCX);

	if (reg == HOST_RCX)
		emit_load(t->e, HOST_RCX, t_home(n), 8);
	emit_lea(t->e, reg, mem_base((uint8_t)reg, (int32_t)offset), 8);
	t_finish_sp(t, n, reg);
}

/* ---- one register ---- */

struct access {
	unsigned scale; /* log2 of the bytes */
	bool store, is_signed, to_32, simd;
};

static void load_general(struct translation *t, unsigned n, const struct access *access, struct host_mem mem)
{
	const unsigned reg = t_target(n, HOST_RDX);

	switch (access->scale) {
	case 0:
		emit_op_mem(t->e, access->is_signed ? 0x0fbe : 0x0fb6, reg, mem, access->is_signed && !access->to_32 ? 8 : 4);
		break;
	case 1:
		emit_op_mem(t->e, access->is_signed ? 0x0fbf : 0x0fb7, reg, mem, access->is_signed && !access->to_32 ? 8 : 4);
		break;
	case 2:
		if (access->is_signed)
			emit_op_mem(t->e, 0x63, reg, mem, 8);
		else
			emit_load(t->e, reg, mem, 4);
		break;
	default:
		emit_load(t->e, reg, mem, 8);
		break;
	}
	t_finish(t, n, reg);
}

/* By xmm0; what is not loaded of a register becomes zero. */
static void move_simd(struct translation *t, unsigned n, const struct access *access, struct host_mem mem)
{
	const struct host_mem home = t_vector_home(n);
	const unsigned size = access->scale == 3 ? 8 : 4;

	if (access->scale == 4) {
		/* movups */
		emit_op_mem(t->e, 0x0f10, 0, access->store ? home : mem, 4);
		emit_op_mem(t->e, 0x0f11, 0, access->store ? mem : home, 4);
	} else if (access->store) {
		emit_load(t->e, HOST_RDX, home, size);
		emit_store(t->e, mem, HOST_RDX, 1u << access->scale);
	} else {
		if (access->scale < 2) {
			emit_op_mem(t->e, access->scale ? 0x0fb7 : 0x0fb6, HOST_RDX, mem, 4);
			emit_u8(t->e, 0x66);
			emit_op_reg(t->e, 0x0f6e, 0, HOST_RDX, 4); /* movd */
		} else {
			emit_u8(t->e, access->scale == 3 ? 0xf2 : 0xf3);
			emit_op_mem(t->e, 0x0f10, 0, mem, 4); /* movsd, movss */
		}
		/* As one store: a load of the whole register could not be served by two. */
		emit_op_mem(t->e, 0x0f11, 0, home, 4);
	}
}

static void transfer(struct translation *t, unsigned n, const struct access *access, int32_t offset)
{
	if (access->simd)
		move_simd(t, n, access, t_at(offset));
	else if (access->store)
		emit_store(t->e, t_at(offset), t_source(t, n, HOST_RDX, 8), 1u << access->scale);
	else
		load_general(t, n, access, t_at(offset));
}

static struct access access_of(uint32_t insn, bool simd, bool store, bool is_signed)
{
	return (struct access){
		.scale = simd && insn & 1u << 23 ? 4 : insn >> 30, .store = store, .is_signed = is_signed, .to_32 = insn & 1u << 22, .simd = simd};
}

static void unsigned_offset(struct translation *t, struct access access)
{
	const unsigned base = t_check_base(t);
	unsigned slow;

	t_base_plus(t, (int64_t)a64_bits(t->insn, 10, 12) << access.scale);
	slow = t_to_host(t, 1u << access.scale, access.store);
	transfer(t, a64_rd(t->insn), &access, 0);
	t_slow_end(t, slow);
	t_slow_end(t, base);
}

static void register_offset(struct translation *t, struct access access)
{
	const unsigned base = t_check_base(t);
	unsigned slow;

	base_plus_register(t, access.scale);
	slow = t_to_host(t, 1u << access.scale, access.store);
	transfer(t, a64_rd(t->insn), &access, 0);
	t_slow_end(t, slow);
	t_slow_end(t, base);
}

/* Unscaled, post- and pre-indexed. A load into its own base is for the interpreter. */
static bool nine_bits(struct translation *t, struct access access)
{
	const int64_t offset = a64_sbits(t->insn, 12, 9);
	const unsigned mode = a64_bits(t->insn, 10, 2);
	unsigned base, slow;

	if (mode && !access.simd && a64_rd(t->insn) == a64_rn(t->insn))
		return false;
	base = t_check_base(t);
	t_base_plus(t, mode == 1 ? 0 : offset);
	slow = t_to_host(t, 1u << access.scale, access.store);
	transfer(t, a64_rd(t->insn), &access, 0);
	if (mode)
		t_write_back(t, offset);
	t_slow_end(t, slow);
	t_slow_end(t, base);
	return true;
}

static bool literal(struct translation *t, struct access access)
{
	unsigned slow;

	emit_mov_imm(t->e, ADDRESS, t->pc + (uint64_t)a64_sbits(t->insn, 5, 19) * 4);
	slow = t_to_host(t, 1u << access.scale, false);
	transfer(t, a64_rd(t->insn), &access, 0);
	t_slow_end(t, slow);
	return true;
}

/* ---- pairs: one look for both ---- */

static bool pair(struct translation *t, struct access access)
{
	const unsigned mode = a64_bits(t->insn, 23, 2), n = a64_rn(t->insn), first = a64_rd(t->insn), second = a64_ra(t->insn);
	const int32_t size = 1 << access.scale;
	const int64_t offset = a64_sbits(t->insn, 15, 7) * size;
	unsigned base, slow;

	/* What is CONSTRAINED UNPREDICTABLE the interpreter decides. */
	if (((mode & 1) && !access.simd && (first == n || second == n)) || (!access.store && first == second))
		return false;
	base = t_check_base(t);
	t_base_plus(t, mode == 1 ? 0 : offset);
	slow = t_to_host(t, 2u << access.scale, access.store);
	transfer(t, first, &access, 0);
	transfer(t, second, &access, size);
	if (mode & 1)
		t_write_back(t, offset);
	t_slow_end(t, slow);
	t_slow_end(t, base);
	return true;
}

static struct access pair_of(uint32_t insn, bool simd, bool store)
{
	if (simd)
		return (struct access){.scale = 2 + (insn >> 30), .store = store, .simd = true};
	return (struct access){.scale = insn >> 31 ? 3 : 2, .store = store};
}

/* ---- ordered accesses: aligned ones; the host orders loads, and stores, but not a load behind a store ---- */

static bool ordered(struct translation *t, bool store)
{
	const struct access access = {.scale = t->insn >> 30, .store = store};
	const unsigned base = t_check_base(t);
	unsigned aligned = COLD_MAX, slow;

	t_base_plus(t, 0);
	if (access.scale) {
		emit_u8(t->e, 0xa8); /* test al, imm8 */
		emit_u8(t->e, (1u << access.scale) - 1);
		aligned = t_slow(t, t_jcc(t, 5));
	}
	slow = t_to_host(t, 1u << access.scale, store);
	transfer(t, a64_rd(t->insn), &access, 0);
	if (store) {
		emit_u16(t->e, 0xae0f); /* mfence */
		emit_u8(t->e, 0xf0);
	}
	t_slow_end(t, slow);
	t_slow_end(t, aligned);
	t_slow_end(t, base);
	return true;
}

bool t_memory(struct translation *t, enum a64_op op)
{
	const uint32_t insn = t->insn;

	/* With alignment checks every access is looked at. */
	if (t->d->cpu.data == A64_TLB_CHECKED)
		return false;
	switch (op) {
	case A64_str_imm: unsigned_offset(t, access_of(insn, false, true, false)); return true;
	case A64_ldr_imm: unsigned_offset(t, access_of(insn, false, false, false)); return true;
	case A64_ldrs_imm: unsigned_offset(t, access_of(insn, false, false, true)); return true;
	case A64_vstr_imm: unsigned_offset(t, access_of(insn, true, true, false)); return true;
	case A64_vldr_imm: unsigned_offset(t, access_of(insn, true, false, false)); return true;
	case A64_str_reg: register_offset(t, access_of(insn, false, true, false)); return true;
	case A64_ldr_reg: register_offset(t, access_of(insn, false, false, false)); return true;
	case A64_ldrs_reg: register_offset(t, access_of(insn, false, false, true)); return true;
	case A64_vstr_reg: register_offset(t, access_of(insn, true, true, false)); return true;
	case A64_vldr_reg: register_offset(t, access_of(insn, true, false, false)); return true;
	case A64_str_9: return nine_bits(t, access_of(insn, false, true, false));
	case A64_ldr_9: return nine_bits(t, access_of(insn, false, false, false));
	case A64_ldrs_9: return nine_bits(t, access_of(insn, false, false, true));
	case A64_vstr_9: return nine_bits(t, access_of(insn, true, true, false));
	case A64_vldr_9: return nine_bits(t, access_of(insn, true, false, false));
	case A64_ldr_lit: return literal(t, (struct access){.scale = insn & 1u << 30 ? 3 : 2});
	case A64_ldrsw_lit: return literal(t, (struct access){.scale = 2, .is_signed = true});
	case A64_vldr_lit: return literal(t, (struct access){.scale = 2 + (insn >> 30), .simd = true});
	case A64_stp:
	case A64_stnp: return pair(t, pair_of(insn, false, true));
	case A64_ldp:
	case A64_ldnp: return pair(t, pair_of(insn, false, false));
	case A64_ldpsw: return pair(t, (struct access){.scale = 2, .is_signed = true});
	case A64_vstp: return pair(t, pair_of(insn, true, true));
	case A64_vldp: return pair(t, pair_of(insn, true, false));
	case A64_stlr: return ordered(t, true);
	case A64_ldar:
	case A64_ldapr: return ordered(t, false);
	case A64_prfm_lit:
	case A64_prfm_imm:
	case A64_prfm_reg:
	case A64_prfum: return true;
	default: return t_structure(t, op);
	}
}
