/* Memory operands: from a guest's address to a host operand (see mmu.h for the tables).
 *
 *     [rdi+8]          lea u,[rdi+8]; rorx u,u,48; sarx u,u,table; mov u,[table+u*8]   ->  [rdi+u+8]
 *     [rax+rbx*4]      lea t,[rax+rbx*4]; rorx u,t,48; ...                             ->  [t+u]
 *     [rip+x]          mov u,[table + constant]                                        ->  [u+x]
 *
 * u stays the addend of its page while its base register only changes by constants: then further accesses nearby do
 * without a lookup. A register that is looked up for the third time has its addend put aside (dbt.addends), and from the fourth time
 * on it is taken from there: one instruction instead of three. That is sound because the neighbours of a page in its view are guards: an access by a kept addend
 * that leaves the page faults, and the handler gives u the other page's addend. Two uses of one addend are at most
 * REUSE_SPAN apart, so that neither can pass over a guard.
 */
#include "engine/dbt/translate.h"

#define REUSE_SPAN 2000
/* An operand this near to its register gets the register's own addend, as if that had been kept: most objects lie on one page.
 * Not on the stack, which begins where a page ends. */
#define BASE_SPAN  256

const uint8_t guest_to_host[16] = {
	[X86_RAX] = HOST_RAX, [X86_RCX] = HOST_R9,   [X86_RDX] = HOST_RDX,  [X86_RBX] = HOST_RBX,
	[X86_RSP] = HOST_R15, [X86_RBP] = HOST_RBP,  [X86_RSI] = HOST_RSI,  [X86_RDI] = HOST_RDI,
	[X86_R8] = HOST_R8,   [X86_R9] = HOST_NONE,  [X86_R10] = HOST_NONE, [X86_R11] = HOST_NONE,
	[X86_R12] = HOST_R12, [X86_R13] = HOST_R13,  [X86_R14] = HOST_R14,  [X86_R15] = HOST_NONE,
};

static struct host_mem gpr_slot(unsigned guest)
{
	return mem_gs(DBT_OFFSET(cpu.s.gpr) + 8 * guest);
}

unsigned tr_value(struct tr *tr, unsigned guest, unsigned scratch)
{
	if (guest_to_host[guest] != HOST_NONE)
		return guest_to_host[guest];
	emit_load(&tr->e, scratch, gpr_slot(guest), 8);
	return scratch;
}

void tr_set(struct tr *tr, unsigned guest, unsigned src)
{
	if (guest_to_host[guest] == HOST_NONE)
		emit_store(&tr->e, gpr_slot(guest), src, 8);
	else if (guest_to_host[guest] != src)
		emit_mov_reg(&tr->e, guest_to_host[guest], src, 8);
	tr_register_written(tr, guest);
}

void tr_register_written(struct tr *tr, unsigned guest)
{
	if (tr->u_base == guest)
		tr_forget_u(tr);
	tr->addends[guest].state = ADDEND_NONE;
}

/* It changes by a constant: the addend that was kept for it is still good. */
void tr_register_moved(struct tr *tr, unsigned guest, int64_t delta)
{
	struct tr_addend *addend = &tr->addends[guest];
	int64_t disp = tr->u_disp - delta;

	if (addend->state == ADDEND_KEPT) {
		int64_t kept = addend->disp - delta;

		addend->disp = (int32_t)kept;
		if (kept < -(1 << 20) || kept > 1 << 20)
			addend->state = ADDEND_NONE;
	}
	if (tr->u_base != guest)
		return;
	if (disp > -(1 << 20) && disp < 1 << 20)
		tr->u_disp = (int32_t)disp;
	else
		tr_forget_u(tr);
}

void tr_adjust_rsp(struct tr *tr, int32_t delta)
{
	emit_lea(&tr->e, HOST_R15, mem_base(HOST_R15, delta), 8);
	tr_register_moved(tr, X86_RSP, delta);
}

/* u = addend of the page of the address in `address`. */
void tr_look_up(struct tr *tr, unsigned address)
{
	struct emitter *e = &tr->e;

	emit_rorx(e, HOST_U, address, 48);
	emit_sarx(e, HOST_U, HOST_U, HOST_TABLE);
	emit_load(e, HOST_U, (struct host_mem){.base = HOST_TABLE, .index = HOST_U, .scale = 8, .disp = -DBT_TABLE_BIAS}, 8);
}

/* The address is a constant. relative: to rip. */
static struct host_mem constant_address(struct tr *tr, uint64_t gva, bool relative)
{
	struct emitter *e = &tr->e;
	int64_t entry = ((int64_t)(gva << 16) >> 28) * 8 - DBT_TABLE_BIAS;
	enum emit_meaning address = relative ? EMIT_ADDRESS : EMIT_NUMBER, in_table = relative ? EMIT_TABLE_ENTRY : EMIT_NUMBER;

	tr_forget_u(tr);
	if ((int64_t)gva == (int32_t)gva && entry == (int32_t)entry) {
		struct host_mem slot = mem_base(HOST_TABLE, (int32_t)entry), mem = mem_base(HOST_U, (int32_t)gva);

		slot.meaning = (uint8_t)in_table;
		mem.meaning = (uint8_t)address;
		emit_load(e, HOST_U, slot, 8);
		return mem;
	}
	emit_mov_meaning(e, HOST_T, gva, address);
	emit_mov_meaning(e, HOST_U, (uint64_t)entry, in_table);
	emit_load(e, HOST_U, (struct host_mem){.base = HOST_TABLE, .index = HOST_U, .scale = 1}, 8);
	return (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1};
}

static bool is_constant(const struct tr *tr, const struct x86_mem *mem)
{
	return (mem->base == X86_REG_NONE || mem->base == X86_REG_RIP) && mem->index == X86_REG_NONE &&
	       mem->seg < X86_FS && tr->insn.addrsize == tr->word;
}

static uint64_t constant_of(const struct tr *tr, const struct x86_mem *mem)
{
	uint64_t value = (uint64_t)mem->disp + (mem->base == X86_REG_RIP ? tr->next : 0);

	return tr->narrow ? (uint32_t)value : value;
}

/* A displacement that is not small is an address, to which the register is added: in 32-bit code it is likely to wrap. */
#define NARROW_DISP (1 << 24)

bool tr_is_simple(const struct tr *tr, const struct x86_mem *mem)
{
	if (tr->narrow && (tr->wraps || mem->disp < -NARROW_DISP))
		return false;
	return mem->base < 16 && guest_to_host[mem->base] != HOST_NONE && mem->index == X86_REG_NONE &&
	       mem->seg < X86_FS && tr->insn.addrsize == tr->word;
}

void tr_address(struct tr *tr, const struct x86_mem *mem, unsigned reg)
{
	struct emitter *e = &tr->e;
	struct host_mem ea = {.base = HOST_NONE, .index = HOST_NONE, .meaning = (uint8_t)tr_disp_meaning(tr, mem->disp), .disp = (int32_t)mem->disp};
	unsigned size = tr->insn.addrsize, other = reg == HOST_T ? HOST_U : HOST_T;

	tr_forget_u(tr);
	if (mem->base == X86_REG_RIP || (mem->base == X86_REG_NONE && mem->index == X86_REG_NONE)) {
		uint64_t value = constant_of(tr, mem);

		/* With an address size of 4 it is not noted: such code keeps to its place. */
		if ((mem->base != X86_REG_RIP && !tr->image_disp) || tr->constant_disp)
			emit_mov_imm(e, reg, size == 8 ? value : (uint32_t)value);
		else if (size == 8)
			emit_mov_meaning(e, reg, value, EMIT_ADDRESS);
		else
			emit_mov_unnoted(e, reg, (uint32_t)value);
	} else {
		if (mem->base != X86_REG_NONE)
			ea.base = (uint8_t)tr_value(tr, mem->base, reg);
		if (mem->index != X86_REG_NONE) {
			ea.index = (uint8_t)tr_value(tr, mem->index, ea.base == reg ? other : reg);
			ea.scale = mem->scale;
		}
		emit_lea(e, reg, ea, size);
	}
	if (mem->seg >= X86_FS) {
		emit_load(e, other, mem_gs(DBT_OFFSET(cpu.s.seg) + sizeof(struct x86_segment) * mem->seg +
					   offsetof(struct x86_segment, base)), 8);
		emit_lea(e, reg, (struct host_mem){.base = (uint8_t)reg, .index = (uint8_t)other, .scale = 1}, tr->word);
	}
}

/* May an access of `size` bytes at disp use the addend of an address at `of`? */
static bool shares(int32_t disp, unsigned size, int32_t of)
{
	int64_t apart = (int64_t)disp - of;

	return apart >= -REUSE_SPAN && apart + (int64_t)size <= REUSE_SPAN;
}

/* u = the addend for [base + disp], looked up. */
static void look_up_simple(struct tr *tr, unsigned base, int32_t disp)
{
	struct host_mem at = mem_base(guest_to_host[base], disp);

	if (disp == 0 || (disp >= -BASE_SPAN && disp <= BASE_SPAN && base != X86_RSP && !tr->fresh)) {
		/* The register's own page's, as if it had been kept. */
		tr_look_up(tr, guest_to_host[base]);
	} else {
		at.meaning = (uint8_t)tr_disp_meaning(tr, disp);
		emit_lea(&tr->e, HOST_U, at, 8);
		tr_look_up(tr, HOST_U);
	}
	tr->u_base = (uint8_t)base;
	tr->u_disp = disp;
}

/* The same, unless it was put aside before. */
static void addend_for(struct tr *tr, unsigned base, int32_t disp, unsigned size)
{
	struct tr_addend *addend = &tr->addends[base];
	struct host_mem aside = mem_gs(DBT_OFFSET(addends) + 8 * base);

	if (addend->state == ADDEND_KEPT && !tr->fresh && shares(disp, size, addend->disp)) {
		emit_load(&tr->e, HOST_U, aside, 8);
		tr->info->flags |= TB_INSN_ASIDE;
		tr->u_base = (uint8_t)base;
		tr->u_disp = addend->disp;
		return;
	}
	look_up_simple(tr, base, disp);
	if (addend->state < ADDEND_TWICE) {
		addend->state++;
		return;
	}
	emit_store(&tr->e, aside, HOST_U, 8);
	tr->info->flags |= TB_INSN_ASIDE;
	*addend = (struct tr_addend){.state = ADDEND_KEPT, .disp = disp};
}

static struct host_mem simple(struct tr *tr, unsigned base, int32_t disp, unsigned size)
{
	tr->info->flags |= TB_INSN_U_LIVE;
	if (tr->u_base != base || !shares(disp, size, tr->u_disp))
		addend_for(tr, base, disp, size);
	return (struct host_mem){.base = guest_to_host[base], .index = HOST_U, .scale = 1, .meaning = (uint8_t)tr_disp_meaning(tr, disp), .disp = disp};
}

/* Leaves to C if the access crosses a page, without a fault and without touching the flags. */
static void check_crossing(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	struct emitter *e = &tr->e;
	uint32_t number = ~0u;
	uint8_t *same;

	tr_address(tr, mem, HOST_U);
	emit_lea(e, HOST_T, mem_base(HOST_U, (int32_t)size - 1), 8);
	emit_rorx(e, HOST_T, HOST_T, 48);
	emit_sarx(e, HOST_T, HOST_T, HOST_TABLE);
	emit_rorx(e, HOST_U, HOST_U, 48);
	emit_sarx(e, HOST_U, HOST_U, HOST_TABLE);
	emit_not(e, HOST_U);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1, .disp = 1}, 8);
	same = emit_jrcxz(e);
	if (dbt_helped(&tr->insn))
		number = tr_help_new(tr);
	emit_mov_meaning(e, HOST_U, tr->at, EMIT_ADDRESS);
	if (number != ~0u)
		emit_mov_meaning(e, HOST_T, number, EMIT_HELP);
	emit_jmp_stub(e, number != ~0u ? tr->d->exit_help : tr->d->exit_step);
	emit_patch_short(e, same);
	tr_forget_u(tr);
}

static bool writes_memory(const struct tr *tr, const struct x86_mem *mem)
{
	const struct x86_insn *insn = &tr->insn;

	if (insn->op == X86_STOS || insn->op == X86_MOVS)
		return mem->base == X86_RDI;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_MEM)
			return insn->operand[i].access & X86_ACCESS_WRITE;
	}
	return false;
}

/* Leaves to C if the page has no entry that lets the access be made, without a fault and without touching the flags: its host address
 * is then below what can be read, or written. */
static void check_absent(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	struct emitter *e = &tr->e;
	struct host_mem looks = mem_gs((int32_t)((uintptr_t)&tr->absent->looks - (uintptr_t)tr->d));
	bool write = writes_memory(tr, mem);
	uint8_t *there, *begin = e->at;

	emit_load(e, HOST_T, looks, 8);
	emit_lea(e, HOST_T, mem_base(HOST_T, 1), 8);
	emit_store(e, looks, HOST_T, 8);
	tr_address(tr, mem, HOST_T);
	tr_look_up(tr, HOST_T);
	emit_lea(e, HOST_U, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1}, 8);
	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(not_begin) + 8 * write), 8);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1}, 8);
	/* Bits 47 to 63 are zero, unless it is below, or not canonical. */
	emit_sarx(e, HOST_T, HOST_T, HOST_TABLE);
	emit_rorx(e, HOST_T, HOST_T, 47 - DBT_TABLE_BIAS);
	emit_mov_reg(e, HOST_T, HOST_T, 4);
	there = emit_jrcxz(e);
	tr_address(tr, mem, HOST_T);
	emit_store(e, mem_gs(DBT_OFFSET(missed_gva)), HOST_T, 8);
	emit_lea_code(e, HOST_T, begin);
	emit_store(e, mem_gs(DBT_OFFSET(resume_at)), HOST_T, 8);
	emit_mov_imm(e, HOST_T, DBT_ABSENT_ARG(tr->absent - tr->d->absent, size, write));
	emit_mov_meaning(e, HOST_U, tr->at, EMIT_ADDRESS);
	emit_jmp_stub(e, tr->d->exit_absent);
	emit_patch_short(e, there);
	tr_forget_u(tr);
}

/* An access of 32-bit code by FS or GS: leaves to the interpreter if that segment is more than a base, or if the offset (the
 * address without the base) is such that the access would wrap. */
static void check_segment(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	struct x86_mem offset = *mem;
	struct emitter *e = &tr->e;

	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(segment_odd) + 8 * (mem->seg - X86_FS)), 8);
	tr_step_unless_t_zero(tr);
	if (size == 1)
		return;
	if (mem->base == X86_REG_NONE && mem->index == X86_REG_NONE) {
		tr->failed |= (uint32_t)mem->disp > 0u - size;
		return;
	}
	offset.seg = X86_DS;
	tr_address(tr, &offset, HOST_T);
	emit_lea(e, HOST_T, mem_base(HOST_T, (int32_t)size - 1), 8);
	emit_rorx(e, HOST_T, HOST_T, 32);
	emit_mov_reg(e, HOST_T, HOST_T, 4); /* bit 32 and above */
	tr_step_unless_t_zero(tr);
}

struct host_mem tr_memory(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	if (tr->narrow && mem->seg >= X86_FS)
		check_segment(tr, mem, size);
	if (tr->check_crossing && size > 1)
		check_crossing(tr, mem, size);
	if (tr->absent)
		check_absent(tr, mem, size);
	if (tr_is_simple(tr, mem))
		return simple(tr, mem->base, (int32_t)mem->disp, size);
	tr->info->flags |= TB_INSN_U_LIVE;
	if (tr->narrow)
		tr->info->flags |= TB_INSN_TRUNCATED;
	if (is_constant(tr, mem))
		return constant_address(tr, constant_of(tr, mem), mem->base == X86_REG_RIP || tr->image_disp);
	tr_address(tr, mem, HOST_T);
	tr_look_up(tr, HOST_T);
	return (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1};
}

static struct host_mem in_register(struct tr *tr, const struct x86_mem *mem, unsigned size, unsigned reg)
{
	struct host_mem host;

	tr_forget_u(tr); /* it is started again, so it must not rely on what u was */
	host = tr_memory(tr, mem, size);
	tr_forget_u(tr);
	tr->info->flags &= (uint8_t)~(TB_INSN_U_LIVE | TB_INSN_ASIDE);
	tr->info->flags |= TB_INSN_RESTART;
	emit_lea(&tr->e, reg, host, 8);
	return mem_base((uint8_t)reg, 0);
}

struct host_mem tr_memory_in_u(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	return in_register(tr, mem, size, HOST_U);
}

struct host_mem tr_memory_in_t(struct tr *tr, const struct x86_mem *mem, unsigned size)
{
	return in_register(tr, mem, size, HOST_T);
}

struct host_mem tr_stack(struct tr *tr, int32_t disp, unsigned size)
{
	return simple(tr, X86_RSP, disp, size);
}
