/* PUSH, POP and their families, ENTER and LEAVE. rSP changes last, when nothing can fault any more.
 */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/sem_integer.h"

void sem_push(struct cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_operand *operand = &insn->operand[0];
	/* A selector is zero-extended to the operand size. */
	uint64_t value = operand->kind == X86_OPND_SEG ? cpu->s.seg[operand->reg].selector
						       : sem_read(cpu, insn, 0);

	cpu_push(cpu, insn->opsize, value);
}

/* The address of a memory destination is computed with the rSP after the pop. */
static void pop_memory(struct cpu *cpu, const struct x86_insn *insn, uint64_t value)
{
	uint64_t before = cpu->s.gpr[X86_RSP], after, offset;

	stack_adjust(cpu, insn->opsize);
	after = cpu->s.gpr[X86_RSP];
	offset = sem_offset(cpu, insn);
	cpu->s.gpr[X86_RSP] = before;
	sem_store_int(cpu, insn->mem.seg, offset, insn->opsize, value);
	cpu->s.gpr[X86_RSP] = after;
}

/* POP SS may change the stack's size: rSP still moves within the old one. */
static void pop_segment(struct cpu *cpu, const struct x86_insn *insn, unsigned seg, uint64_t value)
{
	uint64_t mask = cpu_stack_mask(cpu);
	uint64_t rsp = cpu->s.gpr[X86_RSP];
	uint64_t kept = mask == 0xffff ? rsp & ~mask : 0;

	cpu_load_segment(cpu, seg, (uint16_t)value);
	cpu->s.gpr[X86_RSP] = kept | ((rsp + insn->opsize) & mask);
	if (seg == X86_SS)
		cpu->shadow_rip = sem_next_rip(cpu, insn);
}

void sem_pop(struct cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_operand *operand = &insn->operand[0];
	uint64_t value = stack_read(cpu, 0, insn->opsize);

	switch (operand->kind) {
	case X86_OPND_MEM:
		pop_memory(cpu, insn, value);
		break;
	case X86_OPND_SEG:
		pop_segment(cpu, insn, operand->reg, value);
		break;
	default: /* POP rSP: the value wins */
		stack_adjust(cpu, insn->opsize);
		sem_write(cpu, insn, 0, value);
	}
}

void sem_pusha(struct cpu *cpu, const struct x86_insn *insn)
{
	int size = insn->opsize;

	for (int i = 0; i < 8; i++)
		sem_probe_store(cpu, X86_SS, stack_offset(cpu, -size * (i + 1)), insn->opsize);
	/* The rSP that is stored is that before the first push. */
	for (int i = 0; i < 8; i++)
		sem_store_int(cpu, X86_SS, stack_offset(cpu, -size * (i + 1)), insn->opsize,
			      cpu->s.gpr[i]);
	stack_adjust(cpu, -size * 8);
}

void sem_popa(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value[8];
	int size = insn->opsize;

	for (int i = 0; i < 8; i++)
		value[7 - i] = stack_read(cpu, size * i, insn->opsize);
	stack_adjust(cpu, size * 8);
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			gpr_write(cpu, i, insn->opsize, value[i]);
}

/* ---- flags: SDM 2B POPF table 4-15, 3B 21.2.2 for virtual-8086 mode ---- */

static unsigned io_privilege(const struct cpu *cpu)
{
	return (unsigned)(cpu->s.rflags & X86_FLAG_IOPL) >> 12;
}

/* Whether PUSHF and POPF in virtual-8086 mode see VIF in place of IF. Raises #GP(0) where they are
 * not allowed at all. */
static bool virtual_interrupt_flag(struct cpu *cpu, unsigned size)
{
	if (!(cpu->s.rflags & X86_FLAG_VM) || io_privilege(cpu) == 3)
		return false;
	if (!(cpu->s.cr4 & X86_CR4_VME) || size != 2)
		raise_error(cpu, X86_EXC_GP, 0);
	return true;
}

void sem_pushf(struct cpu *cpu, const struct x86_insn *insn)
{
	bool virtual = virtual_interrupt_flag(cpu, insn->opsize);
	uint64_t flags = cpu_rflags(cpu) & ~(uint64_t)(X86_FLAG_VM | X86_FLAG_RF);

	if (virtual) {
		bool enabled = flags & X86_FLAG_VIF;

		flags =
		    (flags & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL | (enabled ? X86_FLAG_IF : 0);
	}
	cpu_push(cpu, insn->opsize, flags);
}

/* The flags that POPF may change here. */
static uint64_t popf_mask(const struct cpu *cpu, unsigned size, bool virtual)
{
	uint64_t mask = X86_FLAGS_STATUS | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

	if (size > 2)
		mask |= X86_FLAG_AC | X86_FLAG_ID;
	if (virtual)
		return mask;
	if (cpu->cpl == 0)
		mask |= X86_FLAG_IOPL;
	if (cpu->cpl <= io_privilege(cpu))
		mask |= X86_FLAG_IF;
	return mask;
}

void sem_popf(struct cpu *cpu, const struct x86_insn *insn)
{
	bool virtual = virtual_interrupt_flag(cpu, insn->opsize);
	uint64_t before = cpu_rflags(cpu), after;
	uint64_t value = stack_read(cpu, 0, insn->opsize);
	uint64_t mask = popf_mask(cpu, insn->opsize, virtual);

	after = (before & ~mask & ~(uint64_t)X86_FLAG_RF) | (value & mask);
	if (virtual) {
		if (value & X86_FLAG_TF || (value & X86_FLAG_IF && before & X86_FLAG_VIP))
			raise_error(cpu, X86_EXC_GP, 0);
		after &= ~(uint64_t)X86_FLAG_VIF;
		after |= value & X86_FLAG_IF ? X86_FLAG_VIF : 0;
	}
	if (before & ~after & X86_FLAG_IF)
		cpu_irq_window(cpu);
	stack_adjust(cpu, insn->opsize);
	cpu_set_rflags(cpu, after);
	if (after & ~before & X86_FLAG_IF)
		cpu_irq_enabled(cpu);
}

/* ---- procedure frames ---- */

/* The frame's saved rBPs: copies level - 1 outer frame pointers and adds its own. */
static void enter_display(struct cpu *cpu, unsigned size, unsigned level, uint64_t frame)
{
	uint64_t mask = cpu_stack_mask(cpu);

	for (unsigned i = 1; i < level; i++) {
		uint64_t outer = (cpu->s.gpr[X86_RBP] - (uint64_t)i * size) & mask;
		uint64_t value = sem_load_int(cpu, X86_SS, outer, size);

		sem_store_int(cpu, X86_SS, stack_offset(cpu, -(int64_t)size * (i + 1)), size,
			      value);
	}
	sem_store_int(cpu, X86_SS, stack_offset(cpu, -(int64_t)size * (level + 1)), size, frame);
}

/* Stores as it goes, as processors do: a fault half-way leaves stores below rSP, but no register
 * has changed. */
void sem_enter(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	unsigned level = insn->imm2 & 31;
	int64_t locals = (int64_t)(insn->imm & 0xffff);
	int64_t pushed = (int64_t)size * (level ? level + 1 : 1);
	uint64_t frame = stack_offset(cpu, -(int64_t)size);

	sem_store_int(cpu, X86_SS, frame, size, cpu->s.gpr[X86_RBP]);
	if (level)
		enter_display(cpu, size, level, frame);
	/* A write at the final rSP must be possible. */
	sem_probe_store(cpu, X86_SS, stack_offset(cpu, -pushed - locals), size);
	stack_adjust(cpu, -pushed - locals);
	gpr_write(cpu, X86_RBP, size, frame);
}

void sem_leave(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t mask = cpu_stack_mask(cpu);
	uint64_t frame = cpu->s.gpr[X86_RBP] & mask;
	uint64_t value = sem_load_int(cpu, X86_SS, frame, insn->opsize);
	uint64_t kept = mask == 0xffff ? cpu->s.gpr[X86_RSP] & ~mask : 0;

	cpu->s.gpr[X86_RSP] = kept | ((frame + insn->opsize) & mask);
	gpr_write(cpu, X86_RBP, insn->opsize, value);
}
