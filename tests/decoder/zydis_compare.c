/* Compares x86_decode() with Zydis on random and real byte strings in 16-, 32- and 64-bit mode: validity,
 * length, layout of the encoding, operation, operands with fields, sizes and access, condition, address size,
 * status flags, general registers used.
 *
 * Example:
 *     zydis_compare --count 50000000 --seed 3
 * Exits with 1 if there is a difference that differences.c does not list.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/state.h"
#include "compare.h"

struct tally {
	char what[96];
	uint64_t count;
};

#define TALLIES 4096
struct report {
	struct tally failures[TALLIES], known[64];
	unsigned failure_kinds, known_kinds;
	uint64_t failed, compared, valid;
	uint64_t met[X86_OP_COUNT];
};

static struct tally *tally_find(struct tally *tallies, unsigned *used, unsigned max, const char *what)
{
	for (unsigned i = 0; i < *used; i++)
		if (!strcmp(tallies[i].what, what))
			return &tallies[i];
	if (*used == max)
		return NULL;
	snprintf(tallies[*used].what, sizeof(tallies[0].what), "%s", what);
	return &tallies[(*used)++];
}

/* ---- Zydis's operands in the words of decode.h ---- */

static struct x86_operand register_operand(ZydisRegister reg)
{
	struct x86_operand operand = { 0 };
	const ZydisRegisterClass class = ZydisRegisterGetClass(reg);

	operand.reg = (uint8_t)ZydisRegisterGetId(reg);
	operand.size = (uint16_t)(ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) / 8);
	switch (class) {
	case ZYDIS_REGCLASS_GPR8:
		operand.kind = X86_OPND_GPR;
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
			operand.reg = (uint8_t)(X86_REG_AH + reg - ZYDIS_REGISTER_AH);
		else if (reg >= ZYDIS_REGISTER_SPL)
			operand.reg = (uint8_t)(4 + reg - ZYDIS_REGISTER_SPL);
		break;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: operand.kind = X86_OPND_GPR; break;
	case ZYDIS_REGCLASS_SEGMENT: operand.kind = X86_OPND_SEG; break;
	case ZYDIS_REGCLASS_CONTROL: operand.kind = X86_OPND_CR; break;
	case ZYDIS_REGCLASS_DEBUG: operand.kind = X86_OPND_DR; break;
	case ZYDIS_REGCLASS_X87: operand.kind = X86_OPND_ST; break;
	case ZYDIS_REGCLASS_MMX: operand.kind = X86_OPND_MMX; break;
	case ZYDIS_REGCLASS_XMM: operand.kind = X86_OPND_XMM; break;
	case ZYDIS_REGCLASS_YMM: operand.kind = X86_OPND_YMM; break;
	default: operand.kind = X86_OPND_NONE; break;
	}
	return operand;
}

static uint8_t access_of(const ZydisDecodedOperand *z)
{
	uint8_t access = 0;

	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		access |= X86_ACCESS_READ;
	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		access |= X86_ACCESS_WRITE;
	return access;
}

static uint8_t address_register(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return X86_REG_NONE;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return X86_REG_RIP;
	return (uint8_t)ZydisRegisterGetId(reg);
}

static uint64_t truncated(uint64_t value, unsigned size)
{
	return size == 0 || size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

/* From here on functions return a set of enum mismatch, 0 if all is equal. */
static uint32_t compare_memory(const struct comparison *c, const ZydisDecodedOperand *z)
{
	const struct x86_mem *mem = &c->insn.mem;
	const bool moffs = z->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64;
	int64_t disp = z->mem.disp.has_displacement ? z->mem.disp.value : 0;
	uint32_t mismatches = 0;

	if (moffs)
		disp = (int64_t)truncated((uint64_t)disp, c->insn.addrsize);
	if (mem->base != address_register(z->mem.base))
		mismatches |= MISMATCH_BASE;
	if (mem->index != address_register(z->mem.index) ||
	    (mem->index != X86_REG_NONE && mem->scale != z->mem.scale))
		mismatches |= MISMATCH_INDEX;
	if (mem->disp != disp)
		mismatches |= MISMATCH_DISPLACEMENT;
	/* LEA accesses nothing, so Zydis gives no segment. */
	if (c->insn.op != X86_LEA &&
	    (z->mem.segment == ZYDIS_REGISTER_NONE || mem->seg != ZydisRegisterGetId(z->mem.segment)))
		mismatches |= MISMATCH_SEGMENT;
	return mismatches;
}

/* Operands whose size decode.h leaves open: addresses only, or areas of variable size. */
static bool size_is_open(const struct comparison *c)
{
	switch (c->insn.op) {
	case X86_LEA: case X86_INVLPG: case X86_PREFETCHW: case X86_CLFLUSH: case X86_CLFLUSHOPT: case X86_CLWB:
	case X86_XSAVE: case X86_XSAVEC: case X86_XSAVEOPT: case X86_XSAVES: case X86_XRSTOR: case X86_XRSTORS:
		return true;
	default: return false;
	}
}

static uint32_t compare_immediate(const struct comparison *c, const struct x86_operand *operand,
				  const ZydisDecodedOperand *z)
{
	const struct x86_insn *insn = &c->insn;
	uint64_t ours = insn->imm, theirs = z->imm.value.u;

	if (operand->kind == X86_OPND_IMM2)
		ours = insn->imm2;
	else if (operand->kind != (z->imm.is_relative ? X86_OPND_REL : X86_OPND_IMM))
		return MISMATCH_OPERAND_KIND;
	if (operand->kind == X86_OPND_IMM)
		theirs = truncated(theirs, operand->size);
	return ours == theirs ? 0 : MISMATCH_IMMEDIATE;
}

static uint32_t compare_register(const struct x86_operand *operand, const ZydisDecodedOperand *z)
{
	const struct x86_operand theirs = register_operand(z->reg.value);
	const bool vector = operand->kind == X86_OPND_XMM || operand->kind == X86_OPND_YMM;
	uint32_t mismatches = 0;

	if (operand->kind != theirs.kind)
		return MISMATCH_OPERAND_KIND;
	if (operand->reg != theirs.reg)
		mismatches |= MISMATCH_REGISTER;
	if (operand->kind == X86_OPND_GPR && operand->size != theirs.size)
		mismatches |= MISMATCH_GPR_SIZE;
	/* Where decode.h has the whole register Zydis may have the elements that are used, of a constant mask say. */
	if (vector && operand->size != theirs.size && operand->size * 8 != z->size)
		mismatches |= MISMATCH_VECTOR_SIZE;
	return mismatches;
}

static uint8_t field_of(const ZydisDecodedOperand *z)
{
	switch (z->encoding) {
	case ZYDIS_OPERAND_ENCODING_NONE: return X86_FIELD_NONE;
	case ZYDIS_OPERAND_ENCODING_MODRM_REG: return X86_FIELD_REG;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM: return X86_FIELD_RM;
	case ZYDIS_OPERAND_ENCODING_OPCODE: return X86_FIELD_OPCODE;
	case ZYDIS_OPERAND_ENCODING_NDSNDD: return X86_FIELD_VVVV;
	case ZYDIS_OPERAND_ENCODING_DISP16_32_64: return X86_FIELD_MOFFS;
	default: return X86_FIELD_IMM;
	}
}

static uint32_t compare_operand(const struct comparison *c, const struct x86_operand *operand,
				const ZydisDecodedOperand *z)
{
	uint32_t mismatches = operand->field == field_of(z) ? 0 : MISMATCH_FIELD;

	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER: mismatches |= compare_register(operand, z); break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (operand->kind != X86_OPND_MEM)
			return MISMATCH_OPERAND_KIND;
		mismatches |= compare_memory(c, z);
		if (!size_is_open(c) && operand->size * 8 != z->size)
			mismatches |= MISMATCH_MEMORY_SIZE;
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE: return mismatches | compare_immediate(c, operand, z);
	case ZYDIS_OPERAND_TYPE_POINTER:
		if (operand->kind != X86_OPND_FAR)
			return MISMATCH_OPERAND_KIND;
		if (c->insn.imm != z->ptr.offset || c->insn.imm2 != z->ptr.segment)
			mismatches |= MISMATCH_IMMEDIATE;
		return mismatches;
	default: return MISMATCH_OPERAND_KIND;
	}
	if (!size_is_open(c) && operand->access != access_of(z))
		mismatches |= MISMATCH_ACCESS;
	return mismatches;
}

/* Zydis shows operands as text would; decode.h does not list those that no bits stand for: the memory of
 * string instructions, the stack top of x87 instructions with one operand. */
static bool may_be_unlisted(const struct comparison *c, const ZydisDecodedOperand *z)
{
	if (z->visibility != ZYDIS_OPERAND_VISIBILITY_IMPLICIT)
		return false;
	if (c->zydis.meta.isa_ext == ZYDIS_ISA_EXT_X87)
		return z->type == ZYDIS_OPERAND_TYPE_REGISTER;
	switch (c->insn.op) {
	case X86_MOVS: case X86_CMPS: case X86_STOS: case X86_LODS: case X86_SCAS: case X86_INS: case X86_OUTS:
	case X86_XLAT: return true;
	default: return false;
	}
}

/* The SDM writes <XMM0>, which Zydis hides. */
static bool lists_xmm0(const struct comparison *c)
{
	const struct x86_operand *last = &c->insn.operand[2];

	switch (c->insn.op) {
	case X86_BLENDVPS: case X86_BLENDVPD: case X86_PBLENDVB: case X86_SHA256RNDS2:
		return c->insn.operand_count == 3 && last->kind == X86_OPND_XMM && last->reg == 0;
	default: return false;
	}
}

static uint32_t compare_operands(const struct comparison *c)
{
	const unsigned listed = c->insn.operand_count - lists_xmm0(c);
	unsigned ours = 0;
	uint32_t mismatches = 0;

	for (unsigned i = 0; i < c->zydis.operand_count_visible; i++) {
		const ZydisDecodedOperand *z = &c->operands[i];

		if (c->zydis.operand_count_visible - i > listed - ours && may_be_unlisted(c, z))
			continue;
		if (ours == listed)
			return mismatches | MISMATCH_OPERAND_COUNT;
		mismatches |= compare_operand(c, &c->insn.operand[ours++], z);
	}
	return ours == listed ? mismatches : mismatches | MISMATCH_OPERAND_COUNT;
}

/* Zydis knows the exact form (a shift by an immediate, say), x86_op_flags() only the operation: ours may
 * read more, but must name each flag that changes or is undefined. */
static uint32_t compare_flags(const struct comparison *c)
{
	const struct x86_op_flags flags = x86_op_flags(c->insn.op);
	const ZydisAccessedFlags *z = c->zydis.cpu_flags;
	const uint32_t changed = (z->modified | z->set_0 | z->set_1 | z->undefined) & X86_FLAGS_STATUS;
	uint32_t mismatches = 0;

	if (z->tested & X86_FLAGS_STATUS & ~flags.read)
		mismatches |= MISMATCH_FLAGS_READ;
	if (changed != (flags.written | flags.undefined))
		mismatches |= MISMATCH_FLAGS_CHANGED;
	/* OF of shifts is undefined for some counts only. */
	if (z->undefined & X86_FLAGS_STATUS & ~flags.undefined & ~X86_FLAG_OF)
		mismatches |= MISMATCH_FLAGS_UNDEFINED;
	return mismatches;
}

/* decode.h's effective operand size has a meaning for integer instructions only; where the size is fixed,
 * Zydis still says what the prefixes would have made it. */
static bool size_matters(const struct comparison *c)
{
	switch (c->insn.op) {
	case X86_AAA: case X86_AAS: case X86_AAM: case X86_AAD: case X86_DAA: case X86_DAS: case X86_LAHF:
	case X86_SAHF: case X86_SALC: case X86_XLAT: case X86_ARPL: case X86_VERR: case X86_VERW: case X86_LLDT:
	case X86_LTR: case X86_LMSW: case X86_INVLPG: case X86_SYSCALL: case X86_CMPXCHG8B: return false;
	case X86_INS: case X86_OUTS: case X86_IN: case X86_OUT: return c->zydis.operand_width != 64; /* no 64-bit ports */
	default: break;
	}
	return c->zydis.meta.isa_ext == ZYDIS_ISA_EXT_BASE;
}

static uint32_t compare_feature(const struct comparison *c)
{
	static const struct {
		ZydisISAExt ext;
		enum x86_feature feature;
	} features[] = {
		{ ZYDIS_ISA_EXT_ADOX_ADCX, X86_FEATURE_ADX }, { ZYDIS_ISA_EXT_AES, X86_FEATURE_AES },
		{ ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH, X86_FEATURE_PREFETCHW }, { ZYDIS_ISA_EXT_AVX, X86_FEATURE_AVX },
		{ ZYDIS_ISA_EXT_AVX2, X86_FEATURE_AVX2 }, { ZYDIS_ISA_EXT_AVX2GATHER, X86_FEATURE_AVX2 },
		{ ZYDIS_ISA_EXT_AVXAES, X86_FEATURE_AES }, { ZYDIS_ISA_EXT_BASE, X86_FEATURE_BASE },
		{ ZYDIS_ISA_EXT_BMI1, X86_FEATURE_BMI1 }, { ZYDIS_ISA_EXT_BMI2, X86_FEATURE_BMI2 },
		{ ZYDIS_ISA_EXT_CLFLUSHOPT, X86_FEATURE_CLFLUSHOPT }, { ZYDIS_ISA_EXT_CLWB, X86_FEATURE_CLWB },
		{ ZYDIS_ISA_EXT_F16C, X86_FEATURE_F16C }, { ZYDIS_ISA_EXT_FMA, X86_FEATURE_FMA },
		{ ZYDIS_ISA_EXT_GFNI, X86_FEATURE_GFNI }, { ZYDIS_ISA_EXT_INVPCID, X86_FEATURE_INVPCID },
		{ ZYDIS_ISA_EXT_LZCNT, X86_FEATURE_LZCNT }, { ZYDIS_ISA_EXT_MONITOR, X86_FEATURE_MONITOR },
		{ ZYDIS_ISA_EXT_MOVBE, X86_FEATURE_MOVBE }, { ZYDIS_ISA_EXT_PCLMULQDQ, X86_FEATURE_PCLMULQDQ },
		{ ZYDIS_ISA_EXT_PKU, X86_FEATURE_PKU }, { ZYDIS_ISA_EXT_PREFETCHWT1, X86_FEATURE_PREFETCHW },
		{ ZYDIS_ISA_EXT_RDPID, X86_FEATURE_RDPID }, { ZYDIS_ISA_EXT_RDRAND, X86_FEATURE_RDRAND },
		{ ZYDIS_ISA_EXT_RDSEED, X86_FEATURE_RDSEED }, { ZYDIS_ISA_EXT_RDTSCP, X86_FEATURE_RDTSCP },
		{ ZYDIS_ISA_EXT_RDWRFSGS, X86_FEATURE_FSGSBASE }, { ZYDIS_ISA_EXT_SHA, X86_FEATURE_SHA },
		{ ZYDIS_ISA_EXT_SERIALIZE, X86_FEATURE_SERIALIZE },
		{ ZYDIS_ISA_EXT_SMAP, X86_FEATURE_SMAP }, { ZYDIS_ISA_EXT_SSE3, X86_FEATURE_SSE3 },
		{ ZYDIS_ISA_EXT_SSE4A, X86_FEATURE_SSE4A }, { ZYDIS_ISA_EXT_SSSE3, X86_FEATURE_SSSE3 },
		{ ZYDIS_ISA_EXT_VAES, X86_FEATURE_VAES }, { ZYDIS_ISA_EXT_VPCLMULQDQ, X86_FEATURE_VPCLMULQDQ },
		{ ZYDIS_ISA_EXT_XSAVE, X86_FEATURE_XSAVE }, { ZYDIS_ISA_EXT_XSAVEC, X86_FEATURE_XSAVEC },
		{ ZYDIS_ISA_EXT_XSAVEOPT, X86_FEATURE_XSAVEOPT }, { ZYDIS_ISA_EXT_XSAVES, X86_FEATURE_XSAVES },
	};
	const ZydisISASet set = c->zydis.meta.isa_set;
	unsigned expected = X86_FEATURE_BASE;

	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].ext == c->zydis.meta.isa_ext)
			expected = features[i].feature;
	if (c->zydis.meta.isa_ext == ZYDIS_ISA_EXT_SSE4)
		expected = set == ZYDIS_ISA_SET_SSE42 ? X86_FEATURE_SSE4_2 : X86_FEATURE_SSE4_1;
	if (c->insn.op == X86_VPCLMULQDQ && c->insn.vl == 16)
		expected = X86_FEATURE_PCLMULQDQ; /* and AVX */
	if ((c->insn.op == X86_LAHF || c->insn.op == X86_SAHF) && c->insn.mode == X86_MODE_64)
		expected = X86_FEATURE_LAHF64;
	if (set == ZYDIS_ISA_SET_CMPXCHG16B)
		expected = X86_FEATURE_CX16;
	if (set == ZYDIS_ISA_SET_POPCNT)
		expected = X86_FEATURE_POPCNT;
	if (set == ZYDIS_ISA_SET_SSE3X87)
		expected = X86_FEATURE_SSE3;
	return c->insn.feature == expected ? 0 : MISMATCH_FEATURE;
}

/* Zydis doesn't say where the opcode is: its last byte is right before what follows it. */
static uint32_t compare_layout(const struct comparison *c)
{
	const struct x86_insn *insn = &c->insn;
	const ZydisDecodedInstruction *z = &c->zydis;
	const bool has_modrm = z->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	const bool has_vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	const unsigned modrm = has_modrm ? z->raw.modrm.offset : 0;
	unsigned behind = z->length;

	if (z->raw.imm[0].size)
		behind = z->raw.imm[0].offset;
	else if (z->raw.disp.size && !has_modrm)
		behind = z->raw.disp.offset;
	if (insn->imm_offset != behind || insn->modrm_offset != modrm || insn->map != (unsigned)z->opcode_map)
		return MISMATCH_LAYOUT;
	if (insn->vex_bytes != (has_vex ? z->raw.vex.size : 0))
		return MISMATCH_LAYOUT;
	return insn->opcode_offset == (has_modrm ? modrm : behind) - 1 && c->bytes[insn->opcode_offset] == z->opcode ?
	       0 : MISMATCH_LAYOUT;
}

static uint32_t compare(const struct comparison *c)
{
	uint32_t mismatches = 0;
	int cc;

	if (!ZYAN_SUCCESS(c->status)) {
		if (c->length > 0)
			return MISMATCH_REFUSED_THERE;
		return (c->length == X86_DECODE_LONG) == (c->status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) ? 0 : MISMATCH_ERROR;
	}
	if (c->length < 0)
		return MISMATCH_REFUSED_HERE;
	if (c->length != c->zydis.length)
		mismatches |= MISMATCH_LENGTH;
	if (mnemonic_op(c, &cc) != c->insn.op)
		mismatches |= MISMATCH_OPERATION;
	if (cc != c->insn.cc)
		mismatches |= MISMATCH_CONDITION;
	mismatches |= compare_layout(c);
	if (mismatches || c->insn.op == X86_NOP)
		return mismatches;
	if (c->insn.addrsize * 8 != c->zydis.address_width)
		mismatches |= MISMATCH_ADDRESS_SIZE;
	if (size_matters(c) && c->insn.opsize * 8 != c->zydis.operand_width)
		mismatches |= MISMATCH_OPERAND_SIZE;
	return mismatches | compare_feature(c) | compare_operands(c) | compare_flags(c) | compare_registers(c);
}

/* ---- reporting ---- */

static const char *mismatch_name(uint32_t mismatches)
{
	static const char *const names[] = {
		"refused here", "refused by Zydis", "kind of error", "length", "operation", "condition", "address size",
		"operand size", "feature", "operand count", "operand kind", "register", "register size",
		"vector register size", "memory size", "access", "segment", "base", "index", "displacement",
		"immediate", "flags read", "flags changed", "flags undefined", "layout", "field",
		"registers read", "registers written",
	};

	return names[__builtin_ctz(mismatches)];
}

static void print_case(const struct comparison *c, const char *what)
{
	static const char *const modes[] = { "16", "32", "64" };
	const unsigned length = ZYAN_SUCCESS(c->status) ? c->zydis.length : c->length > 0 ? (unsigned)c->length : 15;

	printf("%s, %s-bit mode:", what, modes[c->mode]);
	for (unsigned i = 0; i < length && i < BYTES_MAX; i++)
		printf(" %02x", c->bytes[i]);
	printf("\n    here: ");
	if (c->length > 0) {
		printf("%d bytes, %s, opsize %u", c->length, x86_op_name(c->insn.op), c->insn.opsize);
		for (unsigned i = 0; i < c->insn.operand_count; i++)
			printf(", kind %u field %u reg %u size %u access %u", c->insn.operand[i].kind,
			       c->insn.operand[i].field, c->insn.operand[i].reg, c->insn.operand[i].size,
			       c->insn.operand[i].access);
		printf("; map %u VEX %u opcode at %u ModRM at %u immediate at %u", c->insn.map, c->insn.vex_bytes,
		       c->insn.opcode_offset, c->insn.modrm_offset, c->insn.imm_offset);
		printf("; mem seg %u base %u index %u*%u %#" PRIx64 "; imm %#" PRIx64, c->insn.mem.seg,
		       c->insn.mem.base, c->insn.mem.index, c->insn.mem.scale, (uint64_t)c->insn.mem.disp,
		       c->insn.imm);
	} else {
		printf("error %d", c->length);
	}
	printf("\n    Zydis: ");
	if (ZYAN_SUCCESS(c->status)) {
		ZydisFormatter formatter;
		char text[128] = "?";

		ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
		ZydisFormatterFormatInstruction(&formatter, &c->zydis, c->operands, c->zydis.operand_count_visible,
						text, sizeof(text), 0, NULL);
		printf("%u bytes, %s (%s)", c->zydis.length, text, ZydisISAExtGetString(c->zydis.meta.isa_ext));
		for (unsigned i = 0; i < c->zydis.operand_count_visible; i++)
			printf(", size %u access %u", c->operands[i].size / 8u, access_of(&c->operands[i]));
	} else {
		printf("error %#x", (unsigned)c->status);
	}
	printf("\n");
}

static void record_failure(struct report *report, const struct comparison *c, const char *what)
{
	char kind[96];
	struct tally *tally;

	report->failed++;
	snprintf(kind, sizeof(kind), "%s: %s", what,
		 ZYAN_SUCCESS(c->status) ? ZydisMnemonicGetString(c->zydis.mnemonic) : x86_op_name(c->insn.op));
	tally = tally_find(report->failures, &report->failure_kinds, TALLIES, kind);
	if (tally && tally->count++ < 2)
		print_case(c, what);
}

static void count_known(struct report *report, const char *name)
{
	struct tally *tally = tally_find(report->known, &report->known_kinds, ARRAY_SIZE(report->known), name);

	if (tally)
		tally->count++;
}

static void compare_bytes(struct report *report, struct generator *generator, struct comparison *c,
			  const ZydisDecoder *decoder)
{
	const char *known;
	uint32_t mismatches;

	c->length = x86_decode(&c->insn, c->bytes, BYTES_MAX, c->mode);
	c->status = ZydisDecoderDecodeFull(decoder, c->bytes, BYTES_MAX, &c->zydis, c->operands);
	report->compared++;
	if (c->length > 0) {
		report->valid++;
		report->met[c->insn.op]++;
		if (report->valid % 64 == 0)
			generator_keep(generator, c->bytes);
	}
	mismatches = compare(c);
	if (!mismatches)
		return;
	known = explain_mismatches(c, &mismatches);
	if (known)
		count_known(report, known);
	if (mismatches)
		record_failure(report, c, mismatch_name(mismatches));
}

/* Operations that no byte string had. */
static void print_unmet(const struct report *report)
{
	for (unsigned op = 1; op < X86_OP_COUNT; op++)
		if (!report->met[op])
			printf("    not met: %s\n", x86_op_name(op));
}

static void decoders_init(ZydisDecoder decoders[3])
{
	static const ZydisMachineMode modes[] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
						  ZYDIS_MACHINE_MODE_LONG_64 };
	static const ZydisStackWidth widths[] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };
	/* Without these the hint space is NOPs and F3 0F 09 is WBINVD, as on a processor without them. */
	static const ZydisDecoderMode off[] = { ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
						ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE,
						ZYDIS_DECODER_MODE_KNC, ZYDIS_DECODER_MODE_AMD_BRANCHES };

	for (size_t i = 0; i < 3; i++) {
		if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoders[i], modes[i], widths[i])))
			abort();
		for (size_t j = 0; j < ARRAY_SIZE(off); j++)
			ZydisDecoderEnableMode(&decoders[i], off[j], ZYAN_FALSE);
	}
}

int main(int argc, char **argv)
{
	static char *const real_code[] = { "/bin/busybox", "/lib/x86_64-linux-gnu/libc.so.6" };
	static struct report report;
	static struct comparison c;
	uint64_t count = 2000000, seed = 1;
	struct generator *generator;
	ZydisDecoder decoders[3];

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--count"))
			count = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	}
	mnemonics_init();
	decoders_init(decoders);
	generator = generator_new(seed, real_code, (int)ARRAY_SIZE(real_code));
	while (report.compared < count) {
		generator_next(generator, c.bytes);
		for (unsigned mode = X86_MODE_16; mode <= X86_MODE_64; mode++) {
			c.mode = (enum x86_mode)mode;
			compare_bytes(&report, generator, &c, &decoders[mode]);
		}
	}
	generator_free(generator);
	printf("seed %" PRIu64 ": %" PRIu64 " compared, %" PRIu64 " valid\n", seed, report.compared, report.valid);
	for (unsigned i = 0; i < report.known_kinds; i++)
		printf("    listed difference: %s: %" PRIu64 "\n", report.known[i].what, report.known[i].count);
	for (unsigned i = 0; i < report.failure_kinds; i++)
		printf("    FAILED %s: %" PRIu64 "\n", report.failures[i].what, report.failures[i].count);
	print_unmet(&report);
	printf("%" PRIu64 " failed\n", report.failed);
	return report.failed != 0;
}
