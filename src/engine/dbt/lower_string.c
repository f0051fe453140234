/* MOVS, STOS, LODS, CMPS and SCAS. With a REP prefix the host's own REP does what fits on the pages, in a loop over pages:
 *
 *     start: (DF set: interpret) rcx = count, done if zero
 *            rep_dst, rep_src = addends of the pages of RDI, RSI
 *            n = what fits on both and is asked for; nothing fits (an element across pages): interpret
 *            rdi += rep_dst; rsi += rep_src; rep movs; rdi -= rep_dst; rsi -= rep_src; count -= n
 *            (CMPS, SCAS: done if the flags say so or count is zero; else the flags become what they were)
 *            jmp start
 *
 * Between the rounds the guest's registers are what REP has them be between iterations, so `start` is where an
 * interrupt gets in. In the host's REP the registers are put back by the signal handler (rep_registers() in fault.c). Of CMPS and
 * SCAS the flags are put back too: until a repetition is done they are what they were before it (SDM 2B REP).
 */
#include "engine/dbt/translate.h"
#include "base/string.h"

#define FIELD(f) mem_gs(DBT_OFFSET(f))

static struct x86_mem at_register(unsigned reg)
{
	return (struct x86_mem){.seg = X86_DS, .base = (uint8_t)reg, .index = X86_REG_NONE, .scale = 1};
}

/* Upwards only; t is looked at without flags. */
static void step_if_down(struct tr *tr)
{
	emit_load(&tr->e, HOST_T, FIELD(guest_df), 8);
	tr_step_unless_t_zero(tr);
}

static void sub_saved(struct emitter *e, unsigned reg, struct host_mem saved)
{
	emit_load(e, HOST_U, saved, 8);
	emit_not(e, HOST_U);
	emit_lea(e, reg, (struct host_mem){.base = (uint8_t)reg, .index = HOST_U, .scale = 1, .disp = 1}, 8);
}

static void add_saved(struct emitter *e, unsigned reg, struct host_mem saved)
{
	emit_load(e, HOST_U, saved, 8);
	emit_lea(e, reg, (struct host_mem){.base = (uint8_t)reg, .index = HOST_U, .scale = 1}, 8);
}

/* into = elements of 2^shift bytes from `address` to the end of its page. Clobbers flags and t. */
static void room(struct emitter *e, unsigned into, unsigned address, unsigned shift)
{
	emit_mov_reg(e, HOST_T, address, 4);
	emit_op_reg(e, 0x81, 4, HOST_T, 4); /* AND */
	emit_u32(e, PAGE_SIZE - 1);
	emit_mov_imm(e, into, PAGE_SIZE);
	emit_op_reg(e, 0x29, HOST_T, into, 4); /* SUB */
	emit_op_reg(e, 0xc1, 5, into, 4);      /* SHR */
	emit_u8(e, shift);
}

/* rax = the smaller of rax and reg, unsigned. */
static void at_most(struct emitter *e, unsigned reg)
{
	emit_op_reg(e, 0x39, reg, HOST_RAX, 8);   /* CMP rax, reg */
	emit_op_reg(e, 0x0f47, HOST_RAX, reg, 8); /* CMOVA */
}

/* A jump forward, opcode e9 or 0f8x, to be led somewhere by patch_near(). */
static uint8_t *jump_near(struct emitter *e, unsigned opcode)
{
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode);
	emit_u32(e, 0);
	return e->at - 4;
}

static void patch_near(struct emitter *e, uint8_t *displacement)
{
	int32_t relative = (int32_t)(e->at - (displacement + 4));

	if (!e->overflow)
		memcpy(displacement, &relative, sizeof(relative));
}

/* A jump forward if t is zero. */
static uint8_t *jump_if_t_zero(struct emitter *e)
{
	uint8_t *zero = emit_jrcxz(e), *over = emit_jmp_short(e), *jump;

	emit_patch_short(e, zero);
	jump = jump_near(e, 0xe9);
	emit_patch_short(e, over);
	return jump;
}

/* The flags and RAX as tr_free_flags() found them. */
static void flags_and_rax(struct tr *tr)
{
	emit_op_mem(&tr->e, 0x0fb7, HOST_RAX, FIELD(saved_flags), 4);
	tr_flags_from_rax(tr);
	emit_load(&tr->e, HOST_RAX, FIELD(saved_rax), 8);
}

static bool compares(const struct x86_insn *insn)
{
	return insn->op == X86_CMPS || insn->op == X86_SCAS;
}

static bool has_source(const struct x86_insn *insn)
{
	return insn->op == X86_MOVS || insn->op == X86_LODS || insn->op == X86_CMPS;
}

/* The instruction at hand, with the registers it names by itself. */
static void emit_repeated(struct tr *tr)
{
	unsigned size = tr->insn.opsize;
	struct emitter *e = &tr->e;

	/* To MOVS and STOS REPNE is REP. */
	emit_u8(e, compares(&tr->insn) && (tr->insn.prefixes & X86_PFX_REPNE) ? 0xf2 : 0xf3);
	if (size == 2)
		emit_u8(e, 0x66);
	if (size == 8)
		emit_u8(e, 0x48);
	switch (tr->insn.op) {
	case X86_MOVS:
		emit_u8(e, 0xa4u | (size > 1));
		break;
	case X86_CMPS:
		emit_u8(e, 0xa6u | (size > 1));
		break;
	case X86_SCAS:
		emit_u8(e, 0xaeu | (size > 1));
		break;
	default:
		emit_u8(e, 0xaau | (size > 1));
		break;
	}
}

static bool lower_rep(struct tr *tr)
{
	unsigned size = tr->insn.opsize, shift = size == 8 ? 3 : size == 4 ? 2 : size == 2 ? 1 : 0, done_count = 0;
	struct x86_mem dst = at_register(X86_RDI), src = at_register(X86_RSI);
	bool source = has_source(&tr->insn);
	struct emitter *e = &tr->e;
	uint8_t *start = emit_here(e), *slow[1], *done[3];

	step_if_down(tr);
	emit_mov_reg(e, HOST_T, HOST_R9, 8);
	done[done_count++] = jump_if_t_zero(e);

	/* They are others in the second round. */
	tr_register_written(tr, X86_RSI);
	tr_register_written(tr, X86_RDI);
	tr_forget_u(tr);
	if (source) {
		tr_memory(tr, &src, size);
		emit_store(e, FIELD(rep_src), HOST_U, 8);
	}
	tr_memory(tr, &dst, size);
	emit_store(e, FIELD(rep_dst), HOST_U, 8);
	tr_forget_u(tr);
	tr->info->flags = TB_INSN_RESTART | TB_INSN_REP;
	tr_commit(tr);

	tr_free_flags(tr);
	room(e, HOST_RAX, HOST_RDI, shift);
	if (source) {
		room(e, HOST_U, HOST_RSI, shift);
		at_most(e, HOST_U);
	}
	at_most(e, HOST_R9);
	emit_mov_reg(e, HOST_T, HOST_RAX, 8);
	emit_op_reg(e, 0x85, HOST_RAX, HOST_RAX, 8); /* TEST */
	emit_u16(e, 0x0074);                         /* JE */
	slow[0] = e->at - 1;
	tr_slow_path(tr, slow, 1);
	emit_store(e, FIELD(rep_count), HOST_T, 8);
	flags_and_rax(tr);
	add_saved(e, HOST_RDI, FIELD(rep_dst));
	if (source)
		add_saved(e, HOST_RSI, FIELD(rep_src));
	emit_repeated(tr);
	sub_saved(e, HOST_RDI, FIELD(rep_dst));
	if (source)
		sub_saved(e, HOST_RSI, FIELD(rep_src));
	sub_saved(e, HOST_R9, FIELD(rep_count));
	if (compares(&tr->insn)) {
		/* t: those of this round that are left. */
		emit_lea(e, HOST_R9, (struct host_mem){.base = HOST_R9, .index = HOST_T, .scale = 1}, 8);
		done[done_count++] = jump_near(e, tr->insn.prefixes & X86_PFX_REPNE ? 0x0f84 : 0x0f85);
		emit_mov_reg(e, HOST_T, HOST_R9, 8);
		done[done_count++] = jump_if_t_zero(e);
		flags_and_rax(tr);
	}
	emit_jmp(e, start);
	for (unsigned i = 0; i < done_count; i++)
		patch_near(e, done[i]);
	tr_register_written(tr, X86_RDI);
	tr_register_written(tr, X86_RSI);
	tr_register_written(tr, X86_RCX);
	tr_forget_u(tr);
	return true;
}

static void advance(struct tr *tr, unsigned guest)
{
	unsigned host = guest_to_host[guest];

	emit_lea(&tr->e, host, mem_base((uint8_t)host, tr->insn.opsize), tr->word);
	tr_register_written(tr, guest);
}

static bool lower_once(struct tr *tr)
{
	unsigned size = tr->insn.opsize;
	struct x86_mem dst = at_register(X86_RDI), src = at_register(X86_RSI);
	struct emitter *e = &tr->e;
	struct host_mem mem;

	step_if_down(tr);
	tr_forget_u(tr);
	switch (tr->insn.op) {
	case X86_STOS:
		mem = tr_memory(tr, &dst, size);
		tr_commit(tr);
		emit_store(e, mem, HOST_RAX, size);
		advance(tr, X86_RDI);
		return true;
	case X86_LODS:
		mem = tr_memory(tr, &src, size);
		tr_commit(tr);
		emit_op_mem(e, size == 1 ? 0x8a : 0x8b, HOST_RAX, mem, size);
		tr_register_written(tr, X86_RAX);
		advance(tr, X86_RSI);
		return true;
	case X86_SCAS:
		mem = tr_memory(tr, &dst, size);
		tr_commit(tr);
		emit_op_mem(e, size == 1 ? 0x3a : 0x3b, HOST_RAX, mem, size); /* CMP */
		advance(tr, X86_RDI);
		return true;
	default:
		mem = tr_memory(tr, &src, size);
		emit_op_mem(e, size == 1 ? 0x8a : 0x8b, HOST_T, mem, size);
		tr_forget_u(tr);
		tr->absent = NULL; /* t is in use */
		mem = tr_memory(tr, &dst, size);
		tr->info->flags = TB_INSN_RESTART;
		tr_commit(tr);
		if (tr->insn.op == X86_CMPS)
			emit_op_mem(e, size == 1 ? 0x3a : 0x3b, HOST_T, mem, size); /* CMP */
		else
			emit_store(e, mem, HOST_T, size);
		advance(tr, X86_RSI);
		advance(tr, X86_RDI);
		return true;
	}
}

bool tr_lower_string(struct tr *tr)
{
	const struct x86_insn *insn = &tr->insn;

	if (insn->op != X86_MOVS && insn->op != X86_STOS && insn->op != X86_LODS && !compares(insn))
		return false;
	if (insn->addrsize != tr->word || (has_source(insn) && insn->mem.seg >= X86_FS) || tr->wraps)
		return false;
	if (!(insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE)))
		return !tr->check_crossing && lower_once(tr);
	/* Behind an STI it can't be left before it is done, and may take for ever. */
	return insn->op != X86_LODS && !tr->shadowed && lower_rep(tr);
}
