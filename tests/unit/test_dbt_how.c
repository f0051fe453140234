/* What becomes of each operation (engine/dbt/how.def): what the host must never execute for a guest is not copied to it, and what is
 * said to be helped is.
 */
#include "engine/dbt/translate.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool helped(unsigned op)
{
	struct x86_insn insn = {.op = (uint16_t)op};

	return dbt_helped(&insn);
}

static void how_agrees_with_help(void **state)
{
	for (unsigned op = 1; op < X86_OP_COUNT; op++) {
		if ((tr_how(op) == TR_HELP && !helped(op)) || (tr_how(op) == TR_INTERPRET && helped(op)))
			fail_msg("%s is %s by help.c", x86_op_name(op), helped(op) ? "helped" : "not helped");
	}
}

/* Whatever is privileged, transfers control, or tells of the host. A second list, on purpose: made from the manual, not from ours. */
static void nothing_of_the_hosts_is_copied(void **state)
{
	static const uint16_t ops[] = {
		X86_CALL, X86_CALL_FAR, X86_JMP, X86_JMP_FAR, X86_RET, X86_RET_FAR, X86_JCC, X86_JCXZ, X86_LOOP, X86_LOOPE, X86_LOOPNE,
		X86_INT, X86_INT1, X86_INT3, X86_INTO, X86_IRET, X86_BOUND, X86_SYSCALL, X86_SYSRET, X86_SYSENTER, X86_SYSEXIT,
		X86_RSM, X86_VMCALL, X86_VMMCALL, X86_UD0, X86_UD1, X86_UD2, X86_PUSH, X86_POP, X86_PUSHA, X86_POPA, X86_PUSHF,
		X86_POPF, X86_ENTER, X86_LEAVE, X86_MOVS, X86_STOS, X86_LODS, X86_CMPS, X86_SCAS, X86_INS, X86_OUTS, X86_XLAT,
		X86_IN, X86_OUT, X86_HLT, X86_CLI, X86_STI, X86_CLTS, X86_LMSW, X86_SMSW, X86_MOV_CR, X86_MOV_DR, X86_MOV_SEG,
		X86_LDS, X86_LES, X86_LFS, X86_LGS, X86_LSS, X86_LGDT, X86_LIDT, X86_LLDT, X86_LTR, X86_SGDT, X86_SIDT, X86_SLDT,
		X86_STR, X86_LAR, X86_LSL, X86_VERR, X86_VERW, X86_ARPL, X86_STAC, X86_CLAC, X86_SWAPGS, X86_RDFSBASE, X86_RDGSBASE,
		X86_WRFSBASE, X86_WRGSBASE, X86_CPUID, X86_RDMSR, X86_WRMSR, X86_RDTSC, X86_RDTSCP, X86_RDPMC, X86_RDPID,
		X86_RDRAND, X86_RDSEED, X86_RDPKRU, X86_WRPKRU, X86_XGETBV, X86_XSETBV, X86_INVD, X86_WBINVD, X86_INVLPG,
		X86_INVPCID, X86_MONITOR, X86_MWAIT, X86_FXSAVE, X86_FXRSTOR, X86_XSAVE, X86_XSAVEOPT, X86_XSAVEC, X86_XSAVES,
		X86_XRSTOR, X86_XRSTORS, X86_LDMXCSR, X86_VLDMXCSR, X86_LEA,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		if (tr_how(ops[i]) == TR_COPY)
			fail_msg("%s is copied", x86_op_name(ops[i]));
	}
}

static void what_is_no_operation_is_interpreted(void **state)
{
	struct x86_insn insn = {.op = X86_INVALID};

	assert_int_equal(tr_how(X86_INVALID), TR_INTERPRET);
	assert_int_equal(tr_how(X86_OP_COUNT), TR_INTERPRET);
	assert_false(tr_copyable(&insn));
	insn.op = X86_ADD;
	assert_true(tr_copyable(&insn));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(how_agrees_with_help),
		cmocka_unit_test(nothing_of_the_hosts_is_copied),
		cmocka_unit_test(what_is_no_operation_is_interpreted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
