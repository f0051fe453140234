/* Instructions that C executes for translated code: privileged ones and others that are too rare or too intricate to be
 * lowered. The interpreter's functions do them, so they are what they are there; but translated code comes here and goes on
 * without the interpreter's loop, its blocks, or a look at the guest's page tables for the next instruction.
 *
 * Faults, device accesses and the like leave by longjmp as they do from the interpreter: the state of record is complete,
 * and the instruction has not begun.
 */
#include "engine/dbt/dbt.h"

bool dbt_helped(const struct x86_insn *insn)
{
	switch (insn->op) {
	/* to and from devices, across pages, or AH to BH with memory */
	case X86_MOV: case X86_MOVZX: case X86_XOR: case X86_OR: case X86_AND: case X86_ADD: case X86_CMP: case X86_TEST:
	case X86_CMPS: case X86_SCAS: case X86_MOVS: case X86_STOS: case X86_LODS: /* forms that are not lowered */
	case X86_IRET: case X86_CALL_FAR: case X86_JMP_FAR: case X86_RET_FAR: case X86_SYSENTER: case X86_SYSEXIT: case X86_INT: case X86_INTO:
	case X86_MOV_CR: case X86_CLTS: case X86_LMSW: case X86_MOV_DR:
	case X86_MOV_SEG: case X86_WRFSBASE: case X86_WRGSBASE: case X86_RDPID:
	case X86_LGDT: case X86_LIDT: case X86_LLDT: case X86_LTR: case X86_SGDT: case X86_SIDT: case X86_SLDT: case X86_STR:
	case X86_RDMSR: case X86_WRMSR: case X86_RDTSC: case X86_RDTSCP: case X86_CPUID: case X86_RDRAND: case X86_RDSEED:
	case X86_INVLPG: case X86_INVPCID: case X86_WRPKRU:
	case X86_XGETBV: case X86_XSETBV: case X86_FXSAVE: case X86_FXRSTOR: case X86_XSAVE: case X86_XSAVEC: case X86_XSAVEOPT:
	case X86_XSAVES: case X86_XRSTOR: case X86_XRSTORS:
	case X86_IN: case X86_OUT: case X86_HLT: case X86_SYSRET: case X86_SYSCALL:
	case X86_INT3: case X86_LAR: case X86_LSL: case X86_VERR: case X86_VERW: case X86_XLAT: case X86_ENTER: case X86_PUSHA: case X86_POPA:
		return true;
	default:
		return false;
	}
}

uint32_t dbt_help_new(struct dbt *d, const struct x86_insn *insn)
{
	struct x86_insn *kept = dbt_meta_alloc(d, sizeof(*kept));

	if (!kept)
		return ~0u;
	*kept = *insn;
	return (uint32_t)((uint8_t *)kept - d->meta);
}

bool dbt_help(struct dbt *d, uint32_t number)
{
	const struct x86_insn *insn = (const struct x86_insn *)(d->meta + number);
	struct cpu *cpu = &d->cpu;

	d->stats.helped[insn->op]++;
	cpu->jumped = cpu->trap_due = false;
	cpu->db_pending = 0;
	cpu->shared->functions[insn->op](cpu, insn);
	if (!cpu->jumped)
		cpu->s.rip += insn->length;
	cpu->smc = false;
	/* RF alone, as it comes with IRET, is not for the loop. */
	return !(cpu->s.rflags & X86_FLAG_TF) && cpu->data_tlb == cpu->rights && cpu->shadow_rip == ~0ull;
}
