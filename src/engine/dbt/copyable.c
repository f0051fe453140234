/* Which instructions are copied to the host as they are (with other registers): all that compute, none that control.
 *
 * What is missing here and in lower.c is interpreted, one instruction at a time.
 */
#include "engine/dbt/host_cpu.h"
#include "engine/dbt/translate.h"

static bool interpreted(unsigned op)
{
	switch (op) {
	/* control flow, system, segments, stack frames, strings: lowered or interpreted */
	case X86_CALL: case X86_CALL_FAR: case X86_JMP: case X86_JMP_FAR: case X86_RET: case X86_RET_FAR:
	case X86_JCC: case X86_JCXZ: case X86_LOOP: case X86_LOOPE: case X86_LOOPNE:
	case X86_INT: case X86_INT1: case X86_INT3: case X86_INTO: case X86_IRET: case X86_BOUND:
	case X86_UD0: case X86_UD1: case X86_UD2:
	case X86_NOP: case X86_PAUSE: case X86_PREFETCHW:
	case X86_PUSH: case X86_POP: case X86_PUSHA: case X86_POPA: case X86_PUSHF: case X86_POPF:
	case X86_ENTER: case X86_LEAVE: case X86_LEA: case X86_CLD: case X86_STD:
	case X86_MOVS: case X86_STOS: case X86_LODS: case X86_CMPS: case X86_SCAS: case X86_INS: case X86_OUTS:
	case X86_IN: case X86_OUT: case X86_HLT: case X86_CLI: case X86_STI: case X86_CLTS:
	case X86_CPUID: case X86_RDMSR: case X86_WRMSR: case X86_RDTSC: case X86_RDTSCP: case X86_RDPMC: case X86_RDPID:
	case X86_RDRAND: case X86_RDSEED: case X86_RDPKRU: case X86_WRPKRU:
	case X86_RDFSBASE: case X86_RDGSBASE: case X86_WRFSBASE: case X86_WRGSBASE: case X86_SWAPGS:
	case X86_INVD: case X86_WBINVD: case X86_INVLPG: case X86_INVPCID: case X86_CLFLUSH: case X86_CLFLUSHOPT:
	case X86_CLWB: case X86_MONITOR: case X86_MWAIT: case X86_RSM: case X86_VMCALL: case X86_VMMCALL:
	case X86_LGDT: case X86_LIDT: case X86_SGDT: case X86_SIDT: case X86_LLDT: case X86_SLDT: case X86_LTR:
	case X86_STR: case X86_LMSW: case X86_SMSW: case X86_LAR: case X86_LSL: case X86_VERR: case X86_VERW:
	case X86_ARPL: case X86_MOV_CR: case X86_MOV_DR: case X86_MOV_SEG: case X86_LDS: case X86_LES: case X86_LFS:
	case X86_LGS: case X86_LSS: case X86_STAC: case X86_CLAC: case X86_SYSCALL: case X86_SYSRET:
	case X86_SYSENTER: case X86_SYSEXIT: case X86_SERIALIZE: case X86_XGETBV: case X86_XSETBV: case X86_XLAT:
	case X86_LDMXCSR: case X86_VLDMXCSR:
	/* images of the floating-point state: they hold addresses */
	case X86_FXSAVE: case X86_FXRSTOR: case X86_FLDENV: case X86_FNSTENV: case X86_FNSAVE: case X86_FRSTOR:
	case X86_XSAVE: case X86_XSAVEOPT: case X86_XSAVEC: case X86_XSAVES: case X86_XRSTOR: case X86_XRSTORS:
	/* several memory accesses, or one that may be none */
	case X86_MASKMOVQ: case X86_MASKMOVDQU: case X86_VMASKMOVDQU: case X86_VMASKMOVPS: case X86_VMASKMOVPD:
	case X86_VPMASKMOVD: case X86_VPMASKMOVQ:
	case X86_VGATHERDPD: case X86_VGATHERDPS: case X86_VGATHERQPD: case X86_VGATHERQPS:
	case X86_VPGATHERDD: case X86_VPGATHERDQ: case X86_VPGATHERQD: case X86_VPGATHERQQ:
	/* 32-bit code only */
	case X86_AAA: case X86_AAD: case X86_AAM: case X86_AAS: case X86_DAA: case X86_DAS: case X86_SALC:
		return true;
	default:
		return false;
	}
}

bool tr_copyable(const struct x86_insn *insn)
{
	if (interpreted(insn->op) || (insn->prefixes & X86_PFX_VSIB))
		return false;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		const struct x86_operand *operand = &insn->operand[i];

		if (operand->field == X86_FIELD_MOFFS || operand->kind == X86_OPND_SEG || operand->kind == X86_OPND_CR ||
		    operand->kind == X86_OPND_DR || operand->kind == X86_OPND_FAR)
			return false;
		if (operand->kind == X86_OPND_MEM && (operand->size == 0 || operand->size > 32))
			return false;
	}
	/* A bit's number in a register reaches beyond the operand. */
	if ((insn->op == X86_BT || insn->op == X86_BTS || insn->op == X86_BTR || insn->op == X86_BTC) &&
	    insn->operand[0].kind == X86_OPND_MEM && insn->operand[1].kind == X86_OPND_GPR)
		return false;
	return true;
}

bool dbt_host_avx(void)
{
	return dbt_host_has(X86_FEATURE_AVX);
}
