/* Branches, exception generation and return (DDI 0487 C4.1.66).
 */
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static void branch_by(struct a64_cpu *cpu, int64_t words)
{
	cpu->next_pc = cpu->s.pc + (uint64_t)words * 4;
}

/* Tags do not become part of the PC (D8.8: AArch64.BranchAddr). */
uint64_t a64_branch_address(const struct a64_cpu *cpu, uint64_t target)
{
	const bool upper = target >> 55 & 1;

	if (likely(target >> 55 == 0 || target >> 55 == 0x1ff) || !(cpu->s.sys[A64_SYS_TCR_EL1] >> (upper ? 38 : 37) & 1))
		return target;
	return (uint64_t)((int64_t)(target << 8) >> 8);
}

SEM(b) { branch_by(cpu, a64_sbits(insn, 0, 26)); }

SEM(bl)
{
	cpu->s.x[30] = cpu->s.pc + 4;
	branch_by(cpu, a64_sbits(insn, 0, 26));
}

SEM(b_cond)
{
	if (a64_condition(cpu->s.pstate, insn & 15))
		branch_by(cpu, a64_sbits(insn, 5, 19));
}

static bool is_zero(const struct a64_cpu *cpu, uint32_t insn)
{
	return insn >> 31 ? !a64_x(&cpu->s, a64_rd(insn)) : !a64_w(&cpu->s, a64_rd(insn));
}

SEM(cbz)
{
	if (is_zero(cpu, insn))
		branch_by(cpu, a64_sbits(insn, 5, 19));
}

SEM(cbnz)
{
	if (!is_zero(cpu, insn))
		branch_by(cpu, a64_sbits(insn, 5, 19));
}

static bool bit_of(const struct a64_cpu *cpu, uint32_t insn)
{
	return a64_x(&cpu->s, a64_rd(insn)) >> (a64_bits(insn, 19, 5) | insn >> 31 << 5) & 1;
}

SEM(tbz)
{
	if (!bit_of(cpu, insn))
		branch_by(cpu, a64_sbits(insn, 5, 14));
}

SEM(tbnz)
{
	if (bit_of(cpu, insn))
		branch_by(cpu, a64_sbits(insn, 5, 14));
}

SEM(br) { cpu->next_pc = a64_branch_address(cpu, a64_x(&cpu->s, a64_rn(insn))); }
SEM(ret) { cpu->next_pc = a64_branch_address(cpu, a64_x(&cpu->s, a64_rn(insn))); }

SEM(blr)
{
	const uint64_t target = a64_branch_address(cpu, a64_x(&cpu->s, a64_rn(insn)));

	cpu->s.x[30] = cpu->s.pc + 4;
	cpu->next_pc = target;
}

SEM(eret)
{
	if (!cpu->el)
		a64_undefined(cpu);
	a64_exception_return(cpu);
	cpu->next_pc = a64_branch_address(cpu, cpu->next_pc);
}

/* Debug state is never entered. */
SEM(drps) { a64_undefined(cpu); }
SEM(hlt) { a64_undefined(cpu); }
SEM(udf) { a64_undefined(cpu); }

SEM(svc)
{
	/* A step of it is done once its exception is taken. */
	a64_raise_after(cpu, A64_EC_SVC, a64_bits(insn, 5, 16));
}

SEM(brk) { a64_raise(cpu, A64_EC_BRK, a64_bits(insn, 5, 16)); }

/* Whoever is above EL1 answers: PSCI. */
SEM(hvc)
{
	uint64_t result;

	if (!cpu->el)
		a64_undefined(cpu);
	result = a64_hypercall(cpu);
	cpu->s.x[0] = result;
}

/* There is no EL3. */
SEM(smc) { a64_undefined(cpu); }
