/* Turns insns.def into x86_insn_rows[] (all rows, one after another) and x86_opcodes[][] (which of them
 * belong to an opcode). The file is read three times: to number the rows, to write them, to index them.
 */
#include "arch/x86_64/decode_table.h"

/* Conditions and attributes as one number: mask in bits 63:48, value in 47:32, attributes below. */
#define CONDITION(mask, value) ((uint64_t)(mask) << 48 | (uint64_t)(value) << 32)
#define ATTRIBUTE(bits)        ((uint64_t)(bits))

#define NP      CONDITION(KEY_PP, PP_NONE << KEY_PP_SHIFT)
#define P66     CONDITION(KEY_PP, PP_66 << KEY_PP_SHIFT)
#define PF3     CONDITION(KEY_PP, PP_F3 << KEY_PP_SHIFT)
#define PF2     CONDITION(KEY_PP, PP_F2 << KEY_PP_SHIFT)
#define NO_REP  CONDITION(2 << KEY_PP_SHIFT, 0)
#define MEM     CONDITION(KEY_REG, 0)
#define REG     CONDITION(KEY_REG, KEY_REG)
#define R(n)    CONDITION(KEY_MODRM_REG, (n) << 3)
#define RM(xx)  CONDITION(0xff, 0x##xx)
#define W(n)    CONDITION(KEY_W, (n) ? KEY_W : 0)
#define L(n)    CONDITION(KEY_L, (n) ? KEY_L : 0)
#define NO64    CONDITION(KEY_64, 0)
#define ONLY64  CONDITION(KEY_64, KEY_64)
#define O16     CONDITION(KEY_O16, KEY_O16)

#define ACCESS(n, bits) ATTRIBUTE((bits) << (ATTR_ACCESS_SHIFT + 2 * (n)))
#define WR      ACCESS(0, X86_ACCESS_WRITE)
#define RW      ACCESS(0, X86_ACCESS_READ | X86_ACCESS_WRITE)
#define WR1     ACCESS(1, X86_ACCESS_WRITE)
#define RW1     ACCESS(1, X86_ACCESS_READ | X86_ACCESS_WRITE)
#define RW2     ACCESS(2, X86_ACCESS_READ | X86_ACCESS_WRITE)
#define RULE(r) ATTRIBUTE((r) << ATTR_SIZE_SHIFT)
#define SZ_B    RULE(RULE_B)
#define SZ_W    RULE(RULE_W)
#define SZ_Y    RULE(RULE_Y)
#define SZ_Z    RULE(RULE_Z)
#define SZ_N    RULE(RULE_N)
#define D64     RULE(RULE_D64)
#define F64     RULE(RULE_F64)
#define LOCK    ATTRIBUTE(ATTR_LOCK)
#define COND    ATTRIBUTE(ATTR_COND)
#define VSIB    ATTRIBUTE(ATTR_VSIB)
#define RM_IS_REG      ATTRIBUTE(ATTR_RM_IS_REG)
#define FEATURE(f)     ATTRIBUTE(X86_FEATURE_##f << ATTR_FEATURE_SHIFT)
#define YMM_FEATURE(f) (FEATURE(f) | ATTRIBUTE(ATTR_FEATURE_YMM))
#define YMM_AVX2       YMM_FEATURE(AVX2)

/* Up to four operand names to SPEC_ numbers. */
#define SPECS_0()           0
#define SPECS_1(a)          SPEC_##a
#define SPECS_2(a, b)       SPEC_##a, SPEC_##b
#define SPECS_3(a, b, c)    SPEC_##a, SPEC_##b, SPEC_##c
#define SPECS_4(a, b, c, d) SPEC_##a, SPEC_##b, SPEC_##c, SPEC_##d
#define SPECS_PICK(z, a, b, c, d, name, ...) name
#define SPECS(...) \
	SPECS_PICK(z, ##__VA_ARGS__, SPECS_4, SPECS_3, SPECS_2, SPECS_1, SPECS_0)(__VA_ARGS__)

/* First reading: FIRST_map_opcode is the number of an opcode's first row. */
#define INSN(op, match, ...) +1
#define PLAIN(map, opcode, ...)                                                                    \
	FIRST_##map##_##opcode, LAST_##map##_##opcode = FIRST_##map##_##opcode + (0 __VA_ARGS__) - 1,
#define MODRM(map, opcode, ...)                  PLAIN(map, opcode, __VA_ARGS__)
#define RANGE(map, opcode, last, ...)            PLAIN(map, opcode, __VA_ARGS__)
#define RANGE_MODRM(map, opcode, last, ...)      PLAIN(map, opcode, __VA_ARGS__)
enum {
#include "arch/x86_64/insns.def"
	ROW_COUNT
};
#undef INSN
#undef PLAIN
#undef MODRM
#undef RANGE
#undef RANGE_MODRM

/* Second reading: the rows. */
#define ROW(match) ((uint64_t)(match))
#define INSN(op, match, ...)                                                                       \
	{ (uint16_t)(ROW(match) >> 48), (uint16_t)(ROW(match) >> 32), (uint32_t)ROW(match), X86_##op, \
	  { SPECS(__VA_ARGS__) } },
#define PLAIN(map, opcode, ...)             __VA_ARGS__
#define MODRM(map, opcode, ...)             __VA_ARGS__
#define RANGE(map, opcode, last, ...)       __VA_ARGS__
#define RANGE_MODRM(map, opcode, last, ...) __VA_ARGS__
const struct insn_row x86_insn_rows[ROW_COUNT] = {
#include "arch/x86_64/insns.def"
};
#undef INSN
#undef PLAIN
#undef MODRM
#undef RANGE
#undef RANGE_MODRM

/* Third reading: which rows an opcode has. */
#define ENTRY(map, opcode, modrm)                                                                  \
	{ FIRST_##map##_##opcode, LAST_##map##_##opcode - FIRST_##map##_##opcode + 1, modrm }
#define PLAIN(map, opcode, ...)       [MAP_##map][0x##opcode] = ENTRY(map, opcode, false),
#define MODRM(map, opcode, ...)       [MAP_##map][0x##opcode] = ENTRY(map, opcode, true),
#define RANGE(map, opcode, last, ...) [MAP_##map][0x##opcode ... 0x##last] = ENTRY(map, opcode, false),
#define RANGE_MODRM(map, opcode, last, ...)                                                        \
	[MAP_##map][0x##opcode ... 0x##last] = ENTRY(map, opcode, true),
const struct opcode_entry x86_opcodes[MAP_COUNT][256] = {
#include "arch/x86_64/insns.def"
};

/* Which part of the encoding names the operand. Every WHERE_ has its line: a new one without does not compile. */
enum {
	FIELD_RM_GPR = X86_FIELD_RM,
	FIELD_RM_GPR_ONLY = X86_FIELD_RM,
	FIELD_RM_MMX = X86_FIELD_RM,
	FIELD_RM_VECTOR = X86_FIELD_RM,
	FIELD_MEM = X86_FIELD_RM,
	FIELD_STI = X86_FIELD_RM,
	FIELD_REG_GPR = X86_FIELD_REG,
	FIELD_REG_MMX = X86_FIELD_REG,
	FIELD_REG_VECTOR = X86_FIELD_REG,
	FIELD_SEG = X86_FIELD_REG,
	FIELD_CR = X86_FIELD_REG,
	FIELD_DR = X86_FIELD_REG,
	FIELD_OPCODE_GPR = X86_FIELD_OPCODE,
	FIELD_VVVV_GPR = X86_FIELD_VVVV,
	FIELD_VVVV_VECTOR = X86_FIELD_VVVV,
	FIELD_IMM = X86_FIELD_IMM,
	FIELD_SIMM = X86_FIELD_IMM,
	FIELD_IMM2 = X86_FIELD_IMM,
	FIELD_REL = X86_FIELD_IMM,
	FIELD_FAR = X86_FIELD_IMM,
	FIELD_IS4_VECTOR = X86_FIELD_IMM,
	FIELD_MOFFS = X86_FIELD_MOFFS,
	FIELD_FIXED_GPR = X86_FIELD_NONE,
	FIELD_FIXED_RCX = X86_FIELD_NONE,
	FIELD_FIXED_RDX = X86_FIELD_NONE,
	FIELD_FIXED_ES = X86_FIELD_NONE,
	FIELD_FIXED_CS = X86_FIELD_NONE,
	FIELD_FIXED_SS = X86_FIELD_NONE,
	FIELD_FIXED_DS = X86_FIELD_NONE,
	FIELD_FIXED_FS = X86_FIELD_NONE,
	FIELD_FIXED_GS = X86_FIELD_NONE,
	FIELD_FIXED_XMM0 = X86_FIELD_NONE,
	FIELD_FIXED_ONE = X86_FIELD_NONE,
	FIELD_ST0 = X86_FIELD_NONE,
};

const struct operand_spec x86_operand_specs[SPEC_COUNT] = {
#define OPERAND(name, where, size, reg_size)                                                       \
	[SPEC_##name] = { WHERE_##where, SIZE_##size, SIZE_##reg_size, FIELD_##where },
#include "arch/x86_64/operands.def"
#undef OPERAND
};
