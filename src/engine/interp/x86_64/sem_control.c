/* Near control flow and software interrupts. Far transfers are sem_segment's. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"

static uint64_t branch_target(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->operand[0].kind == X86_OPND_REL)
		return sem_next_rip(cpu, insn) + insn->imm;
	return sem_read(cpu, insn, 0);
}

static void sem_jmp(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_jump(cpu, insn, branch_target(cpu, insn));
}

static void sem_jcc(struct cpu *cpu, const struct x86_insn *insn)
{
	if (sem_condition(cpu, insn->cc))
		sem_jump(cpu, insn, branch_target(cpu, insn));
}

/* JCXZ, JECXZ, JRCXZ */
static void sem_jcxz(struct cpu *cpu, const struct x86_insn *insn)
{
	if (gpr_read(cpu, X86_RCX, insn->addrsize) == 0)
		sem_jump(cpu, insn, branch_target(cpu, insn));
}

static void loop(struct cpu *cpu, const struct x86_insn *insn, bool condition)
{
	uint64_t count = gpr_read(cpu, X86_RCX, insn->addrsize) - 1;

	/* The jump can fault; rCX must not have changed then. */
	if (condition && (count & size_mask(insn->addrsize)))
		sem_jump(cpu, insn, branch_target(cpu, insn));
	gpr_write(cpu, X86_RCX, insn->addrsize, count);
}

static void sem_loop(struct cpu *cpu, const struct x86_insn *insn)
{
	loop(cpu, insn, true);
}

static void sem_loope(struct cpu *cpu, const struct x86_insn *insn)
{
	loop(cpu, insn, sem_flags(cpu) & X86_FLAG_ZF);
}

static void sem_loopne(struct cpu *cpu, const struct x86_insn *insn)
{
	loop(cpu, insn, !(sem_flags(cpu) & X86_FLAG_ZF));
}

static void sem_call(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t target = branch_target(cpu, insn);
	uint64_t back = sem_next_rip(cpu, insn);

	/* Both the push and the jump can fault: the push is tried first, done last. */
	sem_probe_store(cpu, X86_SS, stack_offset(cpu, -(int64_t)insn->opsize), insn->opsize);
	sem_jump(cpu, insn, target);
	cpu_push(cpu, insn->opsize, back);
}

static void sem_ret(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t target = stack_read(cpu, 0, insn->opsize);
	int64_t parameters = insn->operand_count ? (int64_t)(insn->imm & 0xffff) : 0;

	sem_jump(cpu, insn, target);
	stack_adjust(cpu, insn->opsize + parameters);
}

static void sem_int(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu_interrupt(cpu, insn, (unsigned)insn->imm & 0xff, EVENT_SOFTWARE);
}

static void sem_int3(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu_interrupt(cpu, insn, X86_EXC_BP, EVENT_SOFTWARE);
}

static void sem_into(struct cpu *cpu, const struct x86_insn *insn)
{
	if (sem_flags(cpu) & X86_FLAG_OF)
		cpu_interrupt(cpu, insn, X86_EXC_OF, EVENT_SOFTWARE);
}

static void sem_int1(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu_interrupt(cpu, insn, X86_EXC_DB, EVENT_INT1);
}

static void sem_ud(struct cpu *cpu, const struct x86_insn *insn)
{
	raise_exception(cpu, X86_EXC_UD);
}

/* clang-format off */
const struct sem_entry sem_control[] = {
	{ X86_JMP, sem_jmp },
	{ X86_JCC, sem_jcc },
	{ X86_JCXZ, sem_jcxz },
	{ X86_LOOP, sem_loop },
	{ X86_LOOPE, sem_loope },
	{ X86_LOOPNE, sem_loopne },
	{ X86_CALL, sem_call },
	{ X86_RET, sem_ret },
	{ X86_INT, sem_int },
	{ X86_INT3, sem_int3 },
	{ X86_INTO, sem_into },
	{ X86_INT1, sem_int1 },
	{ X86_UD0, sem_ud },
	{ X86_UD1, sem_ud },
	{ X86_UD2, sem_ud },
	{ 0, NULL },
};
/* clang-format on */
