/* The ways into translated code and out of it, emitted at the start of the code cache.
 *
 * Entering loads all guest registers from the state of record and jumps to d->jump_to; every exit stores them back.
 * The window between the look at `kicked` and the first translated instruction is known to the signal handler: a kick
 * that arrives there is carried on to the first boundary of a translation.
 */
#include "engine/dbt/dbt.h"
#include "engine/dbt/translate.h"

#define GPR(n)  mem_gs(DBT_OFFSET(cpu.s.gpr) + 8 * (n))
#define FIELD(f) mem_gs(DBT_OFFSET(f))

static const uint8_t callee_saved[] = {HOST_RBX, HOST_RBP, HOST_R12, HOST_R13, HOST_R14, HOST_R15};

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

/* VMOVDQU ymm, gs:[...] (VEX.256.F3.0F.WIG 6F; 7F stores), or MOVUPS where the host has no AVX. */
static void vector_move(struct emitter *e, unsigned reg, bool store)
{
	struct host_mem mem = mem_gs(DBT_OFFSET(cpu.s.fpu.ymm) + sizeof(union x86_vector) * reg);

	emit_u8(e, 0x65);
	if (dbt_host_avx()) {
		emit_u8(e, 0xc5);
		emit_u8(e, (~reg >> 3 & 1) << 7 | 15 << 3 | 1 << 2 | 2);
		emit_u8(e, store ? 0x7f : 0x6f);
	} else {
		if (reg >= 8)
			emit_u8(e, 0x44);
		emit_u16(e, store ? 0x110f : 0x100f);
	}
	emit_modrm_mem(e, reg, mem);
}

static void control_word(struct emitter *e, struct host_mem mem, bool store)
{
	emit_op_mem(e, 0x0fae, store ? 3 : 2, mem, 4); /* STMXCSR, LDMXCSR */
}

static void back_to_c(struct emitter *e)
{
	control_word(e, FIELD(host_mxcsr), false);
	for (unsigned i = sizeof(callee_saved); i-- > 0;)
		pop(e, callee_saved[i]);
	emit_ret(e);
}

static void emit_enter(struct dbt *d, struct emitter *e)
{
	uint8_t *patch;

	d->enter = emit_here(e);
	for (unsigned i = 0; i < sizeof(callee_saved); i++)
		push(e, callee_saved[i]);
	emit_store(e, FIELD(c_sp), HOST_RSP, 8);
	control_word(e, FIELD(cpu.s.fpu.mxcsr), false);
	for (unsigned i = 0; i < 16; i++)
		vector_move(e, i, false);
	emit_load(e, HOST_RCX, FIELD(kicked), 8);
	d->enter_window = emit_here(e);
	patch = emit_jrcxz(e);
	/* A kick came after the loop had looked: nothing has been executed. */
	emit_store_imm(e, FIELD(exit_reason), DBT_EXIT_KICK, 4);
	back_to_c(e);
	emit_patch_short(e, patch);
	emit_load(e, HOST_RSP, FIELD(side_sp), 8);
	emit_load(e, HOST_RCX, FIELD(guest_df), 8);
	patch = emit_jrcxz(e);
	emit_u8(e, 0xfd); /* STD */
	emit_patch_short(e, patch);
	emit_op_mem(e, 0x0fb7, HOST_RAX, FIELD(flags_word), 4); /* MOVZX */
	emit_u16(e, 0x7f04); /* ADD AL, 0x7f: OF */
	emit_u8(e, 0x9e);    /* SAHF */
	for (unsigned i = 0; i < 16; i++) {
		if (guest_to_host[i] != HOST_NONE)
			emit_load(e, guest_to_host[i], GPR(i), 8);
	}
	emit_load(e, HOST_TABLE, FIELD(table_now), 8);
	emit_jmp_mem(e, FIELD(jump_to));
	d->enter_window_end = emit_here(e);
}

/* u holds the guest's rip; t, for some, a number. */
static uint8_t *emit_exit(struct emitter *e, enum dbt_exit reason, const uint8_t *common)
{
	uint8_t *here = emit_here(e);

	emit_store_imm(e, FIELD(exit_reason), reason, 4);
	emit_jmp(e, common);
	return here;
}

static uint8_t *emit_exit_common(struct emitter *e)
{
	uint8_t *here = emit_here(e);

	emit_store(e, FIELD(exit_arg), HOST_T, 4);
	emit_store(e, FIELD(cpu.s.rip), HOST_U, 8);
	emit_store(e, GPR(X86_RAX), HOST_RAX, 8);
	emit_u8(e, 0x9f); /* LAHF */
	emit_op_reg(e, 0x0f90, 0, HOST_RAX, 1); /* SETO AL */
	emit_store(e, FIELD(flags_word), HOST_RAX, 2);
	emit_u8(e, 0xfc); /* CLD */
	for (unsigned i = 1; i < 16; i++) {
		if (guest_to_host[i] != HOST_NONE)
			emit_store(e, GPR(i), guest_to_host[i], 8);
	}
	emit_store(e, FIELD(side_sp), HOST_RSP, 8);
	emit_load(e, HOST_RSP, FIELD(c_sp), 8);
	control_word(e, FIELD(cpu.s.fpu.mxcsr), true);
	for (unsigned i = 0; i < 16; i++)
		vector_move(e, i, true);
	if (dbt_host_avx()) {
		emit_u16(e, 0xf8c5); /* VZEROUPPER */
		emit_u8(e, 0x77);
	}
	back_to_c(e);
	return here;
}

void dbt_stubs_emit(struct dbt *d, struct emitter *e)
{
	const uint8_t *common;

	emit_enter(d, e);
	common = emit_exit_common(e);
	d->exit_lookup = emit_exit(e, DBT_EXIT_LOOKUP, common);
	d->exit_link = emit_exit(e, DBT_EXIT_LINK, common);
	d->exit_slot = emit_exit(e, DBT_EXIT_SLOT, common);
	d->exit_indirect = emit_exit(e, DBT_EXIT_INDIRECT, common);
	d->exit_step = emit_exit(e, DBT_EXIT_STEP, common);
	d->exit_kick = emit_exit(e, DBT_EXIT_KICK, common);
	d->exit_x87 = emit_exit(e, DBT_EXIT_X87, common);
	d->exit_absent = emit_exit(e, DBT_EXIT_ABSENT, common);
	d->exit_help = emit_exit(e, DBT_EXIT_HELP, common);
	/* The bottom of the side stack returns here; so does a return site whose address is not u. */
	d->return_underflow = emit_here(e);
	emit_load(e, HOST_RSP, FIELD(side_base), 8);
	emit_indirect_jump(e);
	d->return_underflow_user = emit_here(e);
	emit_load(e, HOST_RSP, FIELD(side_user_base), 8);
	d->return_miss = emit_here(e);
	emit_indirect_jump(e);
	/* Where d->jump_to leads when C does not know the block at rip. */
	d->enter_rip = emit_here(e);
	emit_load(e, HOST_U, FIELD(cpu.s.rip), 8);
	emit_indirect_jump(e);
	d->stubs_end = emit_here(e);
}
