/* Branches, barriers, hints, and the system registers that are read and written all the time.
 */
#include "arch/aarch64/sysregs.h"
#include "engine/dbt/aarch64/translate.h"

static uint64_t target(const struct translation *t, unsigned at, unsigned count)
{
	return t->pc + (uint64_t)a64_sbits(t->insn, at, count) * 4;
}

static void goes_on_at(struct translation *t, uint64_t pc)
{
	t_branch(t, HOST_NONE, pc);
	t->done = true;
}

/* Taken to `to` if cc, else to what follows. */
static void two_ways(struct translation *t, unsigned cc, uint64_t to)
{
	t_branch(t, cc, to);
	goes_on_at(t, t->pc + 4);
}

static void compare_and_branch(struct translation *t, bool nonzero)
{
	const unsigned size = t->insn >> 31 ? 8 : 4, n = t_source(t, a64_rd(t->insn), HOST_RCX, size);

	emit_op_reg(t->e, X86_TEST, n, n, size);
	two_ways(t, nonzero ? 5 : 4, target(t, 5, 19));
}

static void test_and_branch(struct translation *t, bool nonzero)
{
	const unsigned bit = a64_bits(t->insn, 19, 5) | t->insn >> 31 << 5, n = t_source(t, a64_rd(t->insn), HOST_RCX, 8);

	emit_op_reg(t->e, 0x0fba, 4, n, 8); /* bt */
	emit_u8(t->e, bit);
	two_ways(t, nonzero ? 2 : 3, target(t, 5, 14));
}

static void store_return_address(struct translation *t)
{
	emit_mov_imm(t->e, HOST_RCX, t->pc + 4);
	t_finish(t, 30, HOST_RCX);
}

/* The table of jumps has no addresses with tags: such a one is never found there, and the loop sees what becomes of it. */
static bool branch_to_register(struct translation *t, bool links)
{
	const unsigned n = t_source(t, a64_rn(t->insn), HOST_RAX, 8);

	if (n != HOST_RAX)
		emit_mov_reg(t->e, HOST_RAX, n, 8);
	if (links)
		store_return_address(t);
	dbt64_emit_look_up(t->d, t->e);
	t->done = true;
	return true;
}

static bool conditional(struct translation *t)
{
	const unsigned cond = t->insn & 15;

	if (cond >= 14) {
		goes_on_at(t, target(t, 5, 19));
		return true;
	}
	t_flags_load(t);
	two_ways(t, t_condition(cond), target(t, 5, 19));
	return true;
}

/* Only the order of a load behind a store is not the host's anyway. */
static void barrier(struct translation *t)
{
	const unsigned types = a64_bits(t->insn, 8, 2); /* 1 loads, 2 stores, 3 all */

	if (types == 1 || types == 2)
		return;
	emit_u16(t->e, 0xae0f); /* mfence */
	emit_u8(t->e, 0xf0);
}

/* ---- registers ---- */

#define KEY           A64_SYSREG_KEY
#define KEY_SPSR      KEY(3, 0, 4, 0, 0)
#define SPSR_WRITABLE 0xf0f003dfu /* as sysregs.def has it */

/* Where a register that may be read at this level without a question is kept; 0: no such. */
static size_t plain_register(const struct translation *t, bool write)
{
	const unsigned el = t->d->cpu.el;

	switch (a64_bits(t->insn, 5, 16)) {
	case KEY(3, 3, 13, 0, 2):
		return offsetof(struct dbt64, cpu.s.sys[A64_SYS_TPIDR_EL0]);
	case KEY(3, 3, 13, 0, 3):
		return el || !write ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_TPIDRRO_EL0]) : 0;
	case KEY(3, 0, 13, 0, 4):
		return el ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_TPIDR_EL1]) : 0;
	case KEY(3, 0, 4, 1, 0): /* SP_EL0, when it isn't the current one */
		return el && (t->d->cpu.s.pstate & A64_PSTATE_SP) ? offsetof(struct dbt64, cpu.s.sp[0]) : 0;
	case KEY_SPSR:
		return el ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_SPSR_EL1]) : 0;
	case KEY(3, 0, 4, 0, 1):
		return el ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_ELR_EL1]) : 0;
	case KEY(3, 0, 5, 2, 0):
		return el && !write ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_ESR_EL1]) : 0;
	case KEY(3, 0, 6, 0, 0):
		return el ? offsetof(struct dbt64, cpu.s.sys[A64_SYS_FAR_EL1]) : 0;
	default:
		return 0;
	}
}

/* PSTATE.DAIF, in the low bits of the state's word. */
#define KEY_DAIF KEY(3, 3, 4, 2, 1)
#define DAIF     ((int32_t)A64_PSTATE_DAIF)

static struct host_mem pstate(void)
{
	return t_state(offsetof(struct dbt64, cpu.s.pstate));
}

/* An interrupt that waits may not be masked any more: the interpreter's loop looks, if there is one. */
static void look_at_interrupts(struct translation *t)
{
	_Static_assert(offsetof(struct a64_cpu, fiq_pending) == offsetof(struct a64_cpu, irq_pending) + 1, "both are looked at");
	emit_op_mem(t->e, 0x83, 7, t_state(offsetof(struct dbt64, cpu.irq_pending)), 2); /* cmp */
	emit_u8(t->e, 0);
	t->in_host = false;
	t_leave_to_next(t, 5);
}

/* MSR DAIFSet. Of EL0 it is to be asked whether it may. */
static bool mask_interrupts(struct translation *t)
{
	const uint32_t bits = a64_bits(t->insn, 8, 4) << 6;

	if (!t->d->cpu.el)
		return false;
	emit_op_mem(t->e, 0x81, 1, pstate(), 4); /* or */
	emit_u32(t->e, bits);
	t->in_host = false;
	return true;
}

/* MSR DAIFClr. With PSTATE.D clear a step may be due. */
static bool unmask_interrupts(struct translation *t)
{
	const uint32_t bits = a64_bits(t->insn, 8, 4) << 6;

	if (!t->d->cpu.el || (bits & A64_PSTATE_D))
		return false;
	emit_op_mem(t->e, 0x81, 4, pstate(), 4); /* and */
	emit_u32(t->e, ~bits);
	look_at_interrupts(t);
	return true;
}

static bool read_daif(struct translation *t)
{
	const unsigned n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);

	if (!t->d->cpu.el)
		return false;
	emit_load(t->e, reg, pstate(), 4);
	t_op_imm(t, X86_AND, reg, DAIF, 4);
	t->in_host = false;
	t_finish(t, n, reg);
	return true;
}

/* MSR DAIF, if D stays as it is. */
static bool write_daif(struct translation *t)
{
	if (!t->d->cpu.el)
		return false;
	/* rcx: the bits that change. */
	emit_load(t->e, HOST_RAX, pstate(), 4);
	emit_mov_reg(t->e, HOST_RCX, t_source(t, a64_rd(t->insn), HOST_RCX, 4), 4);
	emit_op_reg(t->e, X86_XOR, HOST_RAX, HOST_RCX, 4);
	t_op_imm(t, X86_AND, HOST_RCX, DAIF, 4);
	t->in_host = false;
	emit_u8(t->e, 0xf6); /* test ch, D */
	emit_u8(t->e, 0xc5);
	emit_u8(t->e, (unsigned)A64_PSTATE_D >> 8);
	t_slow(t, t_jcc(t, 5));
	emit_op_reg(t->e, X86_XOR, HOST_RCX, HOST_RAX, 4);
	emit_store(t->e, pstate(), HOST_RAX, 4);
	look_at_interrupts(t);
	return true;
}

static bool read_register(struct translation *t)
{
	const size_t at = plain_register(t, false);
	const unsigned n = a64_rd(t->insn), reg = t_target(n, HOST_RCX);

	if (a64_bits(t->insn, 5, 16) == KEY_DAIF)
		return read_daif(t);
	if (!at)
		return false;
	emit_load(t->e, reg, t_state(at), 8);
	t_finish(t, n, reg);
	return true;
}

static bool write_register(struct translation *t)
{
	const size_t at = plain_register(t, true);
	unsigned n;

	if (a64_bits(t->insn, 5, 16) == KEY_DAIF)
		return write_daif(t);
	if (!at)
		return false;
	n = t_source(t, a64_rd(t->insn), HOST_RCX, 8);
	if (a64_bits(t->insn, 5, 16) == KEY_SPSR) {
		emit_mov_reg(t->e, HOST_RCX, n, 4);
		t_op_imm(t, X86_AND, HOST_RCX, (int32_t)SPSR_WRITABLE, 4);
		t->in_host = false;
		n = HOST_RCX;
	}
	emit_store(t->e, t_state(at), n, 8);
	return true;
}

bool t_control(struct translation *t, enum a64_op op)
{
	switch (op) {
	case A64_b:
		goes_on_at(t, target(t, 0, 26));
		return true;
	case A64_bl:
		store_return_address(t);
		goes_on_at(t, target(t, 0, 26));
		return true;
	case A64_b_cond: return conditional(t);
	case A64_cbz: compare_and_branch(t, false); return true;
	case A64_cbnz: compare_and_branch(t, true); return true;
	case A64_tbz: test_and_branch(t, false); return true;
	case A64_tbnz: test_and_branch(t, true); return true;
	case A64_br:
	case A64_ret: return branch_to_register(t, false);
	case A64_blr: return branch_to_register(t, true);
	case A64_hint:
	case A64_yield: return true;
	case A64_isb:
		goes_on_at(t, t->pc + 4);
		return true;
	case A64_dmb:
	case A64_dsb: barrier(t); return true;
	case A64_msr_daifset: return mask_interrupts(t);
	case A64_msr_daifclr: return unmask_interrupts(t);
	case A64_mrs: return read_register(t);
	case A64_msr_reg: return write_register(t);
	default: return false;
	}
}
