/* The pieces of code that all blocks of a vcpu share. See dbt64.h for the registers.
 *
 *     enter(d, code)   called from C: takes the registers and goes to code
 *     leave_to         s.pc = rax; back to C
 *     link_to          the same, and the link that was taken is in rcx, its block in rdx
 *     look_up          to the block at rax, by the table of jumps; or leave_to
 *     help             called: rdx is a function of the interpreter for the instruction in ecx
 *     go               jumped to: likewise, for one that ends a block; goes on where it leads
 */
#include "engine/dbt/aarch64/translate.h"

static const uint8_t saved[] = {HOST_RBX, HOST_RBP, HOST_R12, HOST_R13, HOST_R14, HOST_R15};

static void push(struct emitter *e, unsigned reg)
{
	if (reg >= 8)
		emit_u8(e, 0x41);
	emit_u8(e, 0x50 | (reg & 7));
}

static void pop(struct emitter *e, unsigned reg)
{
	if (reg >= 8)
		emit_u8(e, 0x41);
	emit_u8(e, 0x58 | (reg & 7));
}

static void each_register(struct emitter *e, bool loads)
{
	for (unsigned n = 0; n < 31; n++) {
		if (t_host(n) == HOST_NONE)
			continue;
		if (loads)
			emit_load(e, t_host(n), t_home(n), 8);
		else
			emit_store(e, t_home(n), t_host(n), 8);
	}
	if (loads)
		emit_load(e, HOST_R15, t_state(offsetof(struct dbt64, sp)), 8);
	else
		emit_store(e, t_state(offsetof(struct dbt64, sp)), HOST_R15, 8);
}

static void emit_enter(struct dbt64 *d, struct emitter *e)
{
	d->enter = emit_here(e);
	for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
		push(e, saved[i]);
	t_op_imm_raw(e, X86_SUB, HOST_RSP, 8, 8);
	emit_lea(e, HOST_RBP, mem_base(HOST_RDI, STATE_BIAS), 8);
	emit_mov_reg(e, HOST_RAX, HOST_RSI, 8);
	each_register(e, true);
	emit_op_reg(e, 0xff, 4, HOST_RAX, 4); /* jmp rax */
}

static void emit_leave(struct dbt64 *d, struct emitter *e)
{
	d->link_to = emit_here(e);
	emit_store(e, t_state(offsetof(struct dbt64, link)), HOST_RCX, 8);
	emit_store(e, t_state(offsetof(struct dbt64, link_from)), HOST_RDX, 8);
	d->leave_to = emit_here(e);
	emit_store(e, t_state(offsetof(struct dbt64, cpu.s.pc)), HOST_RAX, 8);
	d->leave = emit_here(e);
	each_register(e, false);
	t_op_imm_raw(e, X86_ADD, HOST_RSP, 8, 8);
	for (unsigned i = ARRAY_SIZE(saved); i > 0; i--)
		pop(e, saved[i - 1]);
	emit_ret(e);
}

void dbt64_emit_look_up(const struct dbt64 *d, struct emitter *e)
{
	const int32_t table = (int32_t)offsetof(struct dbt64, jumps) - STATE_BIAS;
	const struct host_mem entry = {.base = HOST_RBP, .index = HOST_RCX, .scale = 1, .disp = table};
	struct host_mem tag = entry, code = entry;

	tag.disp += (int32_t)offsetof(struct dbt64_jump, tag);
	code.disp += (int32_t)offsetof(struct dbt64_jump, code);
	emit_lea(e, HOST_RCX, (struct host_mem){.base = HOST_NONE, .index = HOST_RAX, .scale = 8}, 4);
	t_op_imm_raw(e, X86_AND, HOST_RCX, (DBT64_JUMPS - 1) * sizeof(struct dbt64_jump), 4);
	emit_op_mem(e, X86_CMP + 2, HOST_RAX, entry, 8);
	emit_jcc(e, 5, d->leave_to);
	emit_load(e, HOST_RDX, t_state(offsetof(struct dbt64, jump_tag)), 8);
	emit_op_mem(e, X86_CMP + 2, HOST_RDX, tag, 8);
	emit_jcc(e, 5, d->leave_to);
	emit_jmp_mem(e, code);
}

/* The instruction is in ecx, what it becomes in rdx. */
static void call_c(struct emitter *e, const void *function)
{
	emit_lea(e, HOST_RDI, mem_base(HOST_RBP, -STATE_BIAS), 8);
	emit_mov_reg(e, HOST_RSI, HOST_RCX, 4);
	emit_mov_imm(e, HOST_RAX, (uintptr_t)function);
	emit_op_reg(e, 0xff, 2, HOST_RAX, 4); /* call rax */
}

static void emit_help(struct dbt64 *d, struct emitter *e)
{
	d->help = emit_here(e);
	each_register(e, false);
	t_op_imm_raw(e, X86_SUB, HOST_RSP, 8, 8);
	call_c(e, dbt64_help);
	t_op_imm_raw(e, X86_ADD, HOST_RSP, 8, 8);
	each_register(e, true);
	emit_ret(e);
}

static void emit_go(struct dbt64 *d, struct emitter *e)
{
	d->go = emit_here(e);
	each_register(e, false);
	call_c(e, dbt64_go);
	each_register(e, true);
	emit_op_reg(e, 0xff, 4, HOST_RAX, 4); /* jmp rax */
}

void dbt64_stubs_emit(struct dbt64 *d, struct emitter *e)
{
	emit_enter(d, e);
	emit_leave(d, e);
	d->look_up = emit_here(e);
	dbt64_emit_look_up(d, e);
	emit_help(d, e);
	emit_go(d, e);
}
