/* The decoder's tables, made from insns.def, operands.def and ops.def by the preprocessor. Private to
 * decode.c, decode_table.c and ops.c.
 *
 * Example:
 *     const struct opcode_entry *entry = &x86_opcodes[MAP_0F][0x58];
 *     const struct insn_row *row = &x86_insn_rows[entry->first];   // entry->count alternatives
 */
#ifndef ARCH_X86_64_DECODE_TABLE_H
#define ARCH_X86_64_DECODE_TABLE_H

#include "arch/x86_64/decode.h"

enum opcode_map { MAP_1B, MAP_0F, MAP_38, MAP_3A, MAP_V0F, MAP_V38, MAP_V3A, MAP_COUNT };

/* What rows are selected by. */
#define KEY_MODRM_REG 0x0038u
#define KEY_REG       0x0100u /* mod is 3 */
#define KEY_PP_SHIFT  9
#define KEY_PP        0x0600u
#define KEY_W         0x0800u
#define KEY_L         0x1000u
#define KEY_64        0x2000u
#define KEY_O16       0x4000u
/* Mandatory prefixes, numbered as VEX.pp */
enum { PP_NONE, PP_66, PP_F3, PP_F2 };

/* Attributes of a row. */
enum operand_size_rule { RULE_V, RULE_B, RULE_W, RULE_Y, RULE_Z, RULE_D64, RULE_F64, RULE_N };
enum {
	ATTR_ACCESS_SHIFT = 0, /* operand 0 in bits 1:0, 1 in 3:2, 2 in 5:4; 0 is read */
	ATTR_SIZE_SHIFT = 6,   /* enum operand_size_rule, 3 bits */
	ATTR_LOCK = 1 << 9,
	ATTR_COND = 1 << 10,
	ATTR_VSIB = 1 << 11,
	ATTR_RM_IS_REG = 1 << 12,
	ATTR_FEATURE_YMM = 1 << 13, /* the feature is of the 256-bit form only */
	ATTR_FEATURE_SHIFT = 16,    /* enum x86_feature, 0: the operation's own */
};

struct insn_row {
	uint16_t mask, value; /* the row is taken if (key & mask) == value */
	uint32_t attr;
	uint16_t op;
	uint8_t operand[4]; /* enum operand_spec_id */
};

struct opcode_entry {
	uint16_t first;
	uint8_t count;
	bool modrm;
};

enum operand_where {
	WHERE_NONE,
	WHERE_RM_GPR, WHERE_RM_GPR_ONLY, WHERE_REG_GPR, WHERE_OPCODE_GPR, WHERE_VVVV_GPR,
	WHERE_FIXED_GPR, WHERE_FIXED_RCX, WHERE_FIXED_RDX,
	WHERE_FIXED_ES, WHERE_FIXED_CS, WHERE_FIXED_SS, WHERE_FIXED_DS, WHERE_FIXED_FS, WHERE_FIXED_GS,
	WHERE_FIXED_XMM0, WHERE_FIXED_ONE,
	WHERE_SEG, WHERE_CR, WHERE_DR,
	WHERE_MEM, WHERE_MOFFS,
	WHERE_IMM, WHERE_SIMM, WHERE_IMM2, WHERE_REL, WHERE_FAR,
	WHERE_ST0, WHERE_STI, WHERE_REG_MMX, WHERE_RM_MMX,
	WHERE_REG_VECTOR, WHERE_RM_VECTOR, WHERE_VVVV_VECTOR, WHERE_IS4_VECTOR,
};

enum operand_size {
	SIZE_0, SIZE_b, SIZE_w, SIZE_d, SIZE_q, SIZE_t, SIZE_dq, SIZE_qq, SIZE_512,
	SIZE_v, SIZE_z, SIZE_y, SIZE_x, SIZE_h, SIZE_f, SIZE_e, SIZE_n, SIZE_p, SIZE_a, SIZE_s,
	SIZE_env, SIZE_sta,
};

enum operand_spec_id {
	SPEC_NONE,
#define OPERAND(name, where, size, reg_size) SPEC_##name,
#include "arch/x86_64/operands.def"
#undef OPERAND
	SPEC_COUNT
};

struct operand_spec {
	uint8_t where, size, reg_size;
	uint8_t field; /* enum x86_field: follows from where */
};

extern const struct insn_row x86_insn_rows[];
extern const struct opcode_entry x86_opcodes[MAP_COUNT][256];
extern const struct operand_spec x86_operand_specs[SPEC_COUNT];

#endif
