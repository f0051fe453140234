/* What becomes of an instruction: copied to the host, lowered, helped or interpreted. By operation that is a list of those allowed
 * (how.def), so that nothing reaches the host unless somebody has decided that it may; by form it is tr_copyable().
 */
#include "engine/dbt/host_cpu.h"
#include "engine/dbt/translate.h"

/* By how.def, in which each operation has one name only. */
#define COPY(name)      HOW_##name = TR_COPY,
#define LOWER(name)     HOW_##name = TR_LOWER,
#define HELP(name)      HOW_##name = TR_HELP,
#define INTERPRET(name) HOW_##name = TR_INTERPRET,
enum {
#include "engine/dbt/how.def"
};
#undef COPY
#undef LOWER
#undef HELP
#undef INTERPRET

/* By ops.def. An error here, that HOW_ of some name is not declared: how.def has to say what becomes of that operation. */
#define INSN_OP(name, feature, flags) [X86_##name] = HOW_##name,
static const uint8_t how[X86_OP_COUNT] = {
	[X86_INVALID] = TR_INTERPRET,
#include "arch/x86_64/ops.def"
};
#undef INSN_OP

enum tr_how tr_how(unsigned op)
{
	return op < X86_OP_COUNT ? (enum tr_how)how[op] : TR_INTERPRET;
}

bool tr_copyable(const struct x86_insn *insn)
{
	if (tr_how(insn->op) != TR_COPY || (insn->prefixes & X86_PFX_VSIB))
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
