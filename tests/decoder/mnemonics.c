/* Which operation of ops.def a Zydis mnemonic stands for: the one of the same name, or by the naming rules
 * of decode.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "compare.h"

static const char *const conditions[16] = {
	"O", "NO", "B", "NB", "Z", "NZ", "BE", "NBE", "S", "NS", "P", "NP", "L", "NL", "LE", "NLE",
};

/* Names that differ, and families that Zydis splits by size. */
static const struct {
	const char *mnemonic;
	enum x86_op op;
} aliases[] = {
	{ "MOVSB", X86_MOVS }, { "MOVSW", X86_MOVS }, { "MOVSQ", X86_MOVS },
	{ "CMPSB", X86_CMPS }, { "CMPSW", X86_CMPS }, { "CMPSQ", X86_CMPS },
	{ "STOSB", X86_STOS }, { "STOSW", X86_STOS }, { "STOSD", X86_STOS }, { "STOSQ", X86_STOS },
	{ "LODSB", X86_LODS }, { "LODSW", X86_LODS }, { "LODSD", X86_LODS }, { "LODSQ", X86_LODS },
	{ "SCASB", X86_SCAS }, { "SCASW", X86_SCAS }, { "SCASD", X86_SCAS }, { "SCASQ", X86_SCAS },
	{ "INSB", X86_INS }, { "INSW", X86_INS }, { "INSD", X86_INS },
	{ "OUTSB", X86_OUTS }, { "OUTSW", X86_OUTS }, { "OUTSD", X86_OUTS },
	{ "CWDE", X86_CBW }, { "CDQE", X86_CBW }, { "CDQ", X86_CWD }, { "CQO", X86_CWD },
	{ "PUSHAD", X86_PUSHA }, { "POPAD", X86_POPA },
	{ "PUSHFD", X86_PUSHF }, { "PUSHFQ", X86_PUSHF }, { "POPFD", X86_POPF }, { "POPFQ", X86_POPF },
	{ "IRETD", X86_IRET }, { "IRETQ", X86_IRET },
	{ "JECXZ", X86_JCXZ }, { "JRCXZ", X86_JCXZ },
	{ "FXSAVE64", X86_FXSAVE }, { "FXRSTOR64", X86_FXRSTOR }, { "XSAVE64", X86_XSAVE },
	{ "XRSTOR64", X86_XRSTOR }, { "XSAVEOPT64", X86_XSAVEOPT }, { "XSAVEC64", X86_XSAVEC },
	{ "XSAVES64", X86_XSAVES }, { "XRSTORS64", X86_XRSTORS },
	{ "PREFETCHNTA", X86_NOP }, { "PREFETCHT0", X86_NOP }, { "PREFETCHT1", X86_NOP },
	{ "PREFETCHT2", X86_NOP }, { "PREFETCH", X86_PREFETCHW }, { "PREFETCHWT1", X86_PREFETCHW },
	{ "FDISI8087_NOP", X86_FNOP }, { "FENI8087_NOP", X86_FNOP }, { "FSETPM287_NOP", X86_FNOP },
	{ "FSTPNCE", X86_FSTP },
};

static struct {
	uint16_t op;
	int8_t cc;
} map[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static enum x86_op by_name(const char *name)
{
	for (unsigned op = 1; op < X86_OP_COUNT; op++)
		if (!strcmp(x86_op_name(op), name))
			return (enum x86_op)op;
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(aliases[i].mnemonic, name))
			return aliases[i].op;
	return X86_INVALID;
}

static bool by_condition(ZydisMnemonic mnemonic, const char *name)
{
	static const struct {
		const char *prefix;
		enum x86_op op;
	} families[] = { { "J", X86_JCC }, { "SET", X86_SETCC }, { "CMOV", X86_CMOVCC } };
	char full[16];

	for (size_t f = 0; f < ARRAY_SIZE(families); f++)
		for (int cc = 0; cc < 16; cc++) {
			snprintf(full, sizeof(full), "%s%s", families[f].prefix, conditions[cc]);
			if (strcmp(full, name))
				continue;
			map[mnemonic].op = (uint16_t)families[f].op;
			map[mnemonic].cc = (int8_t)cc;
			return true;
		}
	return false;
}

void mnemonics_init(void)
{
	for (ZydisMnemonic m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		const char *lower = ZydisMnemonicGetString(m);
		char name[32];
		size_t i;

		for (i = 0; lower[i] && i + 1 < sizeof(name); i++)
			name[i] = (char)toupper(lower[i]);
		name[i] = 0;
		map[m].cc = 0;
		if (!by_condition(m, name))
			map[m].op = (uint16_t)by_name(name);
	}
}

static bool has_register_class(const struct comparison *c, ZydisRegisterClass class)
{
	for (unsigned i = 0; i < c->zydis.operand_count_visible; i++)
		if (c->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(c->operands[i].reg.value) == class)
			return true;
	return false;
}

enum x86_op mnemonic_op(const struct comparison *c, int *cc)
{
	const ZydisDecodedInstruction *z = &c->zydis;
	const bool far_branch = z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	*cc = map[z->mnemonic].cc;
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_CALL: return far_branch ? X86_CALL_FAR : X86_CALL;
	case ZYDIS_MNEMONIC_JMP: return far_branch ? X86_JMP_FAR : X86_JMP;
	case ZYDIS_MNEMONIC_RET: return far_branch ? X86_RET_FAR : X86_RET;
	case ZYDIS_MNEMONIC_MOVSD: return z->meta.category == ZYDIS_CATEGORY_STRINGOP ? X86_MOVS : X86_MOVSD;
	case ZYDIS_MNEMONIC_CMPSD: return z->meta.category == ZYDIS_CATEGORY_STRINGOP ? X86_CMPS : X86_CMPSD;
	case ZYDIS_MNEMONIC_MOV:
		if (has_register_class(c, ZYDIS_REGCLASS_CONTROL))
			return X86_MOV_CR;
		if (has_register_class(c, ZYDIS_REGCLASS_DEBUG))
			return X86_MOV_DR;
		return has_register_class(c, ZYDIS_REGCLASS_SEGMENT) ? X86_MOV_SEG : X86_MOV;
	default: return (enum x86_op)map[z->mnemonic].op;
	}
}
