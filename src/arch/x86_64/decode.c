/* The decoder proper: prefixes, opcode and ModRM select a row of the table (insns.def), the row's operand
 * specifications say what else is to be read. Example of use: decode.h.
 *
 * References are to the SDM, volume 2, chapter 2 (instruction format) unless said otherwise.
 */
#include "arch/x86_64/decode_table.h"
#include "arch/x86_64/state.h"

#define MAX_LENGTH 15
#define NO_SEG     0xff

/* An instruction while it is decoded: the bytes, and what the prefixes said. */
struct decoding {
	struct x86_insn *insn;
	const uint8_t *bytes;
	unsigned position, end; /* bytes[0..end) may be read */
	uint8_t seg;            /* effective override, or NO_SEG */
	uint8_t pp;             /* mandatory prefix: PP_* */
	bool opsize_prefix;
	bool vex;
	uint8_t rex_r, rex_x, rex_b; /* 8 or 0 */
	uint8_t w, l;
	uint8_t vvvv; /* not inverted */
	bool vvvv_used;
};

static bool fetch_u8(struct decoding *d, uint8_t *value)
{
	if (d->position >= d->end)
		return false;
	*value = d->bytes[d->position++];
	return true;
}

/* Little-endian, zero-extended; size 0..8. */
static bool fetch(struct decoding *d, unsigned size, uint64_t *value)
{
	uint64_t v = 0;

	if (size > d->end - d->position)
		return false;
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)d->bytes[d->position + i] << (8 * i);
	d->position += size;
	*value = v;
	return true;
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(value << shift) >> shift);
}

static uint64_t truncate_to(uint64_t value, unsigned size)
{
	return size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

/* 2.1.1 and 2.2.1. Leaves the first opcode byte in *opcode. */
static bool decode_prefixes(struct decoding *d, uint8_t *opcode)
{
	const bool long_mode = d->insn->mode == X86_MODE_64;
	uint16_t prefixes = 0;
	uint8_t rex = 0, byte;

	for (;; rex = 0) {
next:
		if (!fetch_u8(d, &byte))
			return false;
		switch (byte) {
		case 0x66: prefixes |= X86_PFX_OPSIZE; continue;
		case 0x67: prefixes |= X86_PFX_ADDRSIZE; continue;
		case 0xf0: prefixes |= X86_PFX_LOCK; continue;
		/* Of F2 and F3 the last counts. */
		case 0xf2: prefixes = (uint16_t)((prefixes & ~X86_PFX_REP) | X86_PFX_REPNE); continue;
		case 0xf3: prefixes = (uint16_t)((prefixes & ~X86_PFX_REPNE) | X86_PFX_REP); continue;
		case 0x64: d->seg = X86_FS; continue;
		case 0x65: d->seg = X86_GS; continue;
		/* In 64-bit mode the others are ignored (SDM 1 3.3.7.1). */
		case 0x26: d->seg = long_mode ? d->seg : X86_ES; continue;
		case 0x2e: d->seg = long_mode ? d->seg : X86_CS; continue;
		case 0x36: d->seg = long_mode ? d->seg : X86_SS; continue;
		case 0x3e: d->seg = long_mode ? d->seg : X86_DS; continue;
		case 0x40 ... 0x4f:
			if (!long_mode)
				break;
			/* Counts only right before the opcode; any later prefix cancels it. */
			rex = byte;
			goto next;
		default: break;
		}
		break;
	}
	if (rex) {
		prefixes |= X86_PFX_REX;
		d->w = rex >> 3 & 1;
		d->rex_r = (uint8_t)(rex << 1 & 8);
		d->rex_x = (uint8_t)(rex << 2 & 8);
		d->rex_b = (uint8_t)(rex << 3 & 8);
	}
	if (d->seg != NO_SEG)
		prefixes |= X86_PFX_SEG;
	d->insn->prefixes = prefixes;
	d->opsize_prefix = prefixes & X86_PFX_OPSIZE;
	if (prefixes & X86_PFX_REP)
		d->pp = PP_F3;
	else if (prefixes & X86_PFX_REPNE)
		d->pp = PP_F2;
	else if (prefixes & X86_PFX_OPSIZE)
		d->pp = PP_66;
	*opcode = byte;
	return true;
}

/* 2.3.5. Called behind C4 or C5 when that is a VEX prefix. Returns the map, a negative X86_DECODE_*
 * otherwise. */
static int decode_vex(struct decoding *d, uint8_t escape, uint8_t *opcode)
{
	const bool long_mode = d->insn->mode == X86_MODE_64;
	uint8_t p0, p1, map = 1;

	if (d->insn->prefixes & (X86_PFX_LOCK | X86_PFX_REP | X86_PFX_REPNE | X86_PFX_OPSIZE | X86_PFX_REX))
		return X86_DECODE_UD;
	if (!fetch_u8(d, &p0))
		return X86_DECODE_MORE;
	if (long_mode)
		d->rex_r = ~p0 >> 4 & 8;
	if (escape == 0xc4) {
		map = p0 & 31;
		if (map < 1 || map > 3)
			return X86_DECODE_UD;
		if (long_mode) {
			d->rex_x = ~p0 >> 3 & 8;
			d->rex_b = ~p0 >> 2 & 8;
		}
		if (!fetch_u8(d, &p1))
			return X86_DECODE_MORE;
		d->w = p1 >> 7;
	} else {
		p1 = p0;
	}
	d->vvvv = ~p1 >> 3 & 15;
	d->l = p1 >> 2 & 1;
	d->pp = p1 & 3;
	d->vex = true;
	d->insn->prefixes |= X86_PFX_VEX;
	d->insn->vl = d->l ? 32 : 16;
	d->insn->vex_bytes = escape == 0xc4 ? 3 : 2;
	if (!fetch_u8(d, opcode))
		return X86_DECODE_MORE;
	return MAP_V0F + map - 1;
}

/* Whether C4 or C5 starts a VEX prefix: outside 64-bit mode only if LES or LDS would have mod 3. */
static bool is_vex(const struct decoding *d, bool *more)
{
	*more = false;
	if (d->insn->mode == X86_MODE_64)
		return true;
	if (d->position >= d->end) {
		*more = true;
		return false;
	}
	return d->bytes[d->position] >= 0xc0;
}

/* Returns the opcode map, or a negative X86_DECODE_*. */
static int decode_opcode(struct decoding *d, uint8_t *opcode)
{
	bool more;

	if (!decode_prefixes(d, opcode))
		return X86_DECODE_MORE;
	if (*opcode == 0xc4 || *opcode == 0xc5) {
		if (is_vex(d, &more))
			return decode_vex(d, *opcode, opcode);
		if (more)
			return X86_DECODE_MORE;
	}
	if (*opcode != 0x0f)
		return MAP_1B;
	if (!fetch_u8(d, opcode))
		return X86_DECODE_MORE;
	if (*opcode != 0x38 && *opcode != 0x3a)
		return MAP_0F;
	const int map = *opcode == 0x38 ? MAP_38 : MAP_3A;
	return fetch_u8(d, opcode) ? map : X86_DECODE_MORE;
}

static const struct insn_row *select_row(const struct decoding *d, const struct opcode_entry *entry)
{
	const struct x86_insn *insn = d->insn;
	const struct insn_row *row = &x86_insn_rows[entry->first];
	uint16_t key = insn->modrm;

	if (entry->modrm && insn->modrm >= 0xc0)
		key |= KEY_REG;
	key |= (uint16_t)(d->pp << KEY_PP_SHIFT);
	key |= d->w ? KEY_W : 0;
	key |= d->l ? KEY_L : 0;
	key |= insn->mode == X86_MODE_64 ? KEY_64 : 0;
	if (!d->w && d->opsize_prefix == (insn->mode != X86_MODE_16))
		key |= KEY_O16;
	for (unsigned i = 0; i < entry->count; i++, row++)
		if ((key & row->mask) == row->value)
			return row;
	return NULL;
}

/* 3.1.1.1 and SDM 1 3.6. */
static uint8_t operand_size(const struct decoding *d, enum operand_size_rule rule)
{
	const enum x86_mode mode = (enum x86_mode)d->insn->mode;
	const bool w = mode == X86_MODE_64 && d->w;
	uint8_t size;

	if (w)
		size = 8;
	else
		size = d->opsize_prefix == (mode != X86_MODE_16) ? 2 : 4;
	switch (rule) {
	case RULE_V: return size;
	case RULE_B: return 1;
	case RULE_W: return 2;
	case RULE_Y: return w ? 8 : 4;
	case RULE_Z: return size == 8 ? 4 : size;
	case RULE_D64: return mode == X86_MODE_64 && size == 4 ? 8 : size;
	case RULE_F64: return mode == X86_MODE_64 ? 8 : size;
	case RULE_N: return mode == X86_MODE_64 ? 8 : 4;
	}
	return size;
}

static uint8_t address_size(const struct x86_insn *insn)
{
	const bool prefix = insn->prefixes & X86_PFX_ADDRSIZE;

	switch ((enum x86_mode)insn->mode) {
	case X86_MODE_16: return prefix ? 4 : 2;
	case X86_MODE_32: return prefix ? 2 : 4;
	case X86_MODE_64: break;
	}
	return prefix ? 4 : 8;
}

static bool fetch_displacement(struct decoding *d, unsigned size)
{
	uint64_t value;

	if (!fetch(d, size, &value))
		return false;
	d->insn->mem.disp = (int64_t)sign_extend(value, size);
	return true;
}

/* Table 2-1. */
static bool decode_mem16(struct decoding *d)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[4] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI };
	struct x86_mem *mem = &d->insn->mem;
	const unsigned mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7;

	if (mod == 0 && rm == 6)
		return fetch_displacement(d, 2);
	mem->base = base[rm];
	if (rm < 4)
		mem->index = index[rm];
	return mod == 0 || fetch_displacement(d, mod == 1 ? 1 : 2);
}

/* Tables 2-2 and 2-3, 2.2.1.2, 2.2.1.6. */
static bool decode_mem32(struct decoding *d, bool vsib)
{
	struct x86_mem *mem = &d->insn->mem;
	const unsigned mod = d->insn->modrm >> 6;
	unsigned rm = d->insn->modrm & 7;
	uint8_t sib;

	if (rm == 4) {
		if (!fetch_u8(d, &sib))
			return false;
		mem->index = (uint8_t)((sib >> 3 & 7) | d->rex_x);
		mem->scale = (uint8_t)(1 << (sib >> 6));
		if (mem->index == X86_RSP && !vsib) {
			mem->index = X86_REG_NONE;
			mem->scale = 1;
		}
		rm = sib & 7;
		if (rm == 5 && mod == 0)
			return fetch_displacement(d, 4);
	} else if (rm == 5 && mod == 0) {
		if (d->insn->mode == X86_MODE_64)
			mem->base = X86_REG_RIP;
		return fetch_displacement(d, 4);
	}
	mem->base = (uint8_t)(rm | d->rex_b);
	return mod == 0 || fetch_displacement(d, mod == 1 ? 1 : 4);
}

static void apply_segment(struct decoding *d)
{
	struct x86_mem *mem = &d->insn->mem;

	if (d->seg != NO_SEG)
		mem->seg = d->seg;
	else if (mem->base == X86_RSP || mem->base == X86_RBP)
		mem->seg = X86_SS;
	else
		mem->seg = X86_DS;
}

/* Bytes of an operand; what has no fixed size (XSAVE areas) is 0. */
static uint16_t resolve_size(const struct decoding *d, enum operand_size size)
{
	const struct x86_insn *insn = d->insn;
	const bool long_mode = insn->mode == X86_MODE_64;
	const uint16_t v = insn->opsize;
	const uint16_t x = d->l ? 32 : 16;

	switch (size) {
	case SIZE_0: return 0;
	case SIZE_b: return 1;
	case SIZE_w: return 2;
	case SIZE_d: return 4;
	case SIZE_q: return 8;
	case SIZE_t: return 10;
	case SIZE_dq: return 16;
	case SIZE_qq: return 32;
	case SIZE_512: return 512;
	case SIZE_v: return v;
	case SIZE_z: return v > 4 ? 4 : v;
	case SIZE_y: return long_mode && d->w ? 8 : 4;
	case SIZE_x: return x;
	case SIZE_h: return x / 2;
	case SIZE_f: return x / 4;
	case SIZE_e: return x / 8;
	case SIZE_n: return long_mode ? 8 : 4;
	case SIZE_p: return (uint16_t)(v + 2);
	case SIZE_a: return (uint16_t)(v * 2);
	case SIZE_s: return long_mode ? 10 : 6;
	case SIZE_env: return v == 2 ? 14 : 28;
	case SIZE_sta: return v == 2 ? 94 : 108;
	}
	return 0;
}

static void set_gpr(const struct decoding *d, struct x86_operand *operand, unsigned reg, uint16_t size)
{
	operand->kind = X86_OPND_GPR;
	operand->size = size;
	operand->reg = (uint8_t)reg;
	if (size == 1 && reg >= 4 && reg < 8 && !(d->insn->prefixes & X86_PFX_REX))
		operand->reg = (uint8_t)(X86_REG_AH + reg - 4);
}

static void set_register(struct x86_operand *operand, enum x86_operand_kind kind, unsigned reg, uint16_t size)
{
	operand->kind = (uint8_t)kind;
	operand->reg = (uint8_t)reg;
	operand->size = size;
}

static void set_vector(struct x86_operand *operand, unsigned reg, uint16_t size)
{
	set_register(operand, size > 16 ? X86_OPND_YMM : X86_OPND_XMM, reg, size);
}

/* Outside 64-bit mode there are eight registers: the fourth bit is ignored there. */
static unsigned vvvv_register(struct decoding *d)
{
	d->vvvv_used = true;
	return d->vvvv & (d->insn->mode == X86_MODE_64 ? 15u : 7u);
}

/* Immediates, branch displacements, offsets: the operands that read more bytes. */
static int decode_immediate(struct decoding *d, const struct operand_spec *spec, struct x86_operand *operand)
{
	struct x86_insn *insn = d->insn;
	const unsigned size = resolve_size(d, spec->size);
	uint64_t value, selector;

	operand->size = resolve_size(d, spec->reg_size);
	switch (spec->where) {
	case WHERE_MOFFS:
		operand->kind = X86_OPND_MEM;
		if (!fetch(d, insn->addrsize, &value))
			return X86_DECODE_MORE;
		insn->mem.disp = (int64_t)value;
		return 0;
	case WHERE_FAR:
		operand->kind = X86_OPND_FAR;
		if (!fetch(d, size - 2, &insn->imm) || !fetch(d, 2, &selector))
			return X86_DECODE_MORE;
		insn->imm2 = (uint32_t)selector;
		return 0;
	case WHERE_IMM2:
		operand->kind = X86_OPND_IMM2;
		if (!fetch(d, size, &value))
			return X86_DECODE_MORE;
		insn->imm2 = (uint32_t)value;
		return 0;
	default: break;
	}
	if (!fetch(d, size, &value))
		return X86_DECODE_MORE;
	operand->kind = X86_OPND_IMM;
	insn->imm = value;
	if (spec->where == WHERE_REL) {
		operand->kind = X86_OPND_REL;
		insn->imm = sign_extend(value, size);
	} else if (spec->where == WHERE_SIMM) {
		insn->imm = truncate_to(sign_extend(value, size), operand->size);
	} else if (spec->where == WHERE_IS4_VECTOR) {
		set_vector(operand, (unsigned)(value >> 4) & (insn->mode == X86_MODE_64 ? 15u : 7u), operand->size);
		insn->imm = 0;
	}
	return 0;
}

static int decode_operand(struct decoding *d, const struct operand_spec *spec, struct x86_operand *operand)
{
	struct x86_insn *insn = d->insn;
	const unsigned rm = (insn->modrm & 7u) | d->rex_b, reg = (insn->modrm >> 3 & 7u) | d->rex_r;
	const bool is_mem = insn->modrm < 0xc0;
	const uint16_t size = resolve_size(d, spec->reg_size);

	switch ((enum operand_where)spec->where) {
	case WHERE_RM_GPR:
	case WHERE_RM_MMX:
	case WHERE_RM_VECTOR:
	case WHERE_MEM:
		if (is_mem) {
			operand->kind = X86_OPND_MEM;
			operand->size = resolve_size(d, spec->size);
		} else if (spec->where == WHERE_RM_GPR) {
			set_gpr(d, operand, rm, size);
		} else if (spec->where == WHERE_RM_MMX) {
			set_register(operand, X86_OPND_MMX, insn->modrm & 7u, size);
		} else {
			set_vector(operand, rm, size);
		}
		return 0;
	case WHERE_RM_GPR_ONLY: set_gpr(d, operand, rm, size); return 0;
	case WHERE_REG_GPR: set_gpr(d, operand, reg, size); return 0;
	case WHERE_OPCODE_GPR: set_gpr(d, operand, (insn->opcode & 7u) | d->rex_b, size); return 0;
	case WHERE_VVVV_GPR: set_gpr(d, operand, vvvv_register(d), size); return 0;
	case WHERE_FIXED_GPR: set_gpr(d, operand, X86_RAX, size); return 0;
	case WHERE_FIXED_RCX: set_gpr(d, operand, X86_RCX, size); return 0;
	case WHERE_FIXED_RDX: set_gpr(d, operand, X86_RDX, size); return 0;
	case WHERE_FIXED_ES: set_register(operand, X86_OPND_SEG, X86_ES, 2); return 0;
	case WHERE_FIXED_CS: set_register(operand, X86_OPND_SEG, X86_CS, 2); return 0;
	case WHERE_FIXED_SS: set_register(operand, X86_OPND_SEG, X86_SS, 2); return 0;
	case WHERE_FIXED_DS: set_register(operand, X86_OPND_SEG, X86_DS, 2); return 0;
	case WHERE_FIXED_FS: set_register(operand, X86_OPND_SEG, X86_FS, 2); return 0;
	case WHERE_FIXED_GS: set_register(operand, X86_OPND_SEG, X86_GS, 2); return 0;
	case WHERE_FIXED_XMM0: set_vector(operand, 0, size); return 0;
	case WHERE_FIXED_ONE:
		operand->kind = X86_OPND_IMM;
		operand->size = 1;
		insn->imm = 1;
		return 0;
	case WHERE_SEG:
		set_register(operand, X86_OPND_SEG, insn->modrm >> 3 & 7u, 2);
		/* MOV to CS is undefined (SDM, MOV). */
		if (operand->reg >= X86_SEG_COUNT || (operand->reg == X86_CS && operand->access & X86_ACCESS_WRITE))
			return X86_DECODE_UD;
		return 0;
	case WHERE_CR:
		set_register(operand, X86_OPND_CR, reg, size);
		return reg == 0 || (reg >= 2 && reg <= 4) || reg == 8 ? 0 : X86_DECODE_UD;
	case WHERE_DR:
		set_register(operand, X86_OPND_DR, reg, size);
		return reg < 8 ? 0 : X86_DECODE_UD;
	case WHERE_ST0: set_register(operand, X86_OPND_ST, 0, size); return 0;
	case WHERE_STI: set_register(operand, X86_OPND_ST, insn->modrm & 7u, size); return 0;
	case WHERE_REG_MMX: set_register(operand, X86_OPND_MMX, insn->modrm >> 3 & 7u, size); return 0;
	case WHERE_REG_VECTOR: set_vector(operand, reg, size); return 0;
	case WHERE_VVVV_VECTOR: set_vector(operand, vvvv_register(d), size); return 0;
	case WHERE_MOFFS:
	case WHERE_IMM:
	case WHERE_SIMM:
	case WHERE_IMM2:
	case WHERE_REL:
	case WHERE_FAR:
	case WHERE_IS4_VECTOR: return decode_immediate(d, spec, operand);
	case WHERE_NONE: break;
	}
	return 0;
}

/* The prefixes that the row took as part of the opcode are no prefixes any more. */
static void settle_prefixes(struct decoding *d, const struct insn_row *row)
{
	struct x86_insn *insn = d->insn;

	if ((row->mask & KEY_PP) == KEY_PP && !d->vex) {
		if (d->pp == PP_66) {
			insn->prefixes &= (uint16_t)~X86_PFX_OPSIZE;
			d->opsize_prefix = false;
		} else if (d->pp != PP_NONE) {
			insn->prefixes &= (uint16_t)~(X86_PFX_REP | X86_PFX_REPNE);
		}
	}
	if (d->w)
		insn->prefixes |= X86_PFX_REX_W;
	if (row->attr & ATTR_VSIB)
		insn->prefixes |= X86_PFX_VSIB;
}

/* VSIB needs a SIB byte and so no 16-bit addresses (2.3.12). */
static bool has_sib(const struct x86_insn *insn)
{
	return insn->addrsize != 2 && (insn->modrm & 7) == 4;
}

/* A gather's destination, index and mask must differ (SDM, VPGATHERDD). */
static bool gather_overlaps(const struct x86_insn *insn)
{
	const unsigned destination = insn->operand[0].reg, mask = insn->operand[2].reg, index = insn->mem.index;

	return destination == mask || destination == index || mask == index;
}

static bool insn_is_lahf(const struct insn_row *row)
{
	return row->op == X86_LAHF || row->op == X86_SAHF;
}

static uint8_t row_feature(const struct decoding *d, const struct insn_row *row)
{
	const uint32_t feature = row->attr >> ATTR_FEATURE_SHIFT;

	if (insn_is_lahf(row) && d->insn->mode == X86_MODE_64)
		return X86_FEATURE_LAHF64;
	if (feature && (d->l || !(row->attr & ATTR_FEATURE_YMM)))
		return (uint8_t)feature;
	return (uint8_t)x86_op_feature(row->op);
}

static int decode_row(struct decoding *d, const struct insn_row *row, bool modrm)
{
	struct x86_insn *insn = d->insn;
	const uint32_t attr = row->attr;

	settle_prefixes(d, row);
	insn->op = row->op;
	insn->opsize = operand_size(d, (enum operand_size_rule)(attr >> ATTR_SIZE_SHIFT & 7));
	insn->feature = row_feature(d, row);
	if (attr & ATTR_COND)
		insn->cc = insn->opcode & 15;
	if (modrm && insn->modrm < 0xc0 && !(attr & ATTR_RM_IS_REG)) {
		if (attr & ATTR_VSIB && !has_sib(insn))
			return X86_DECODE_UD;
		if (!(insn->addrsize == 2 ? decode_mem16(d) : decode_mem32(d, attr & ATTR_VSIB)))
			return X86_DECODE_MORE;
	}
	apply_segment(d);
	insn->imm_offset = (uint8_t)d->position;
	for (unsigned i = 0; i < ARRAY_SIZE(row->operand) && row->operand[i]; i++) {
		const struct operand_spec *spec = &x86_operand_specs[row->operand[i]];
		const uint8_t access = attr >> (ATTR_ACCESS_SHIFT + 2 * i) & 3;
		int ret;

		insn->operand[i].access = i < 3 && access ? access : X86_ACCESS_READ;
		insn->operand[i].field = spec->field;
		ret = decode_operand(d, spec, &insn->operand[i]);
		if (ret)
			return ret;
		insn->operand_count++;
	}
	if (insn->prefixes & X86_PFX_LOCK && !(attr & ATTR_LOCK && insn->operand[0].kind == X86_OPND_MEM))
		return X86_DECODE_UD;
	if (d->vvvv && !d->vvvv_used)
		return X86_DECODE_UD;
	if (attr & ATTR_VSIB && gather_overlaps(insn))
		return X86_DECODE_UD;
	return 0;
}

static int decode(struct decoding *d)
{
	struct x86_insn *insn = d->insn;
	const struct opcode_entry *entry;
	const struct insn_row *row;
	const int map = decode_opcode(d, &insn->opcode);

	if (map < 0)
		return map;
	insn->map = (uint8_t)(map >= MAP_V0F ? map - MAP_V0F + 1 : map - MAP_1B);
	insn->opcode_offset = (uint8_t)(d->position - 1);
	entry = &x86_opcodes[map][insn->opcode];
	/* 90 is NOP or PAUSE only for register rAX itself. */
	if (map == MAP_1B && insn->opcode == 0x90 && d->rex_b)
		entry = &x86_opcodes[MAP_1B][0x91];
	if (entry->modrm) {
		insn->modrm_offset = (uint8_t)d->position;
		if (!fetch_u8(d, &insn->modrm))
			return X86_DECODE_MORE;
	}
	row = select_row(d, entry);
	if (!row)
		return X86_DECODE_UD;
	insn->addrsize = address_size(insn);
	return decode_row(d, row, entry->modrm);
}

int x86_decode(struct x86_insn *insn, const uint8_t *bytes, size_t available, enum x86_mode mode)
{
	struct decoding d = {
		.insn = insn,
		.bytes = bytes,
		.end = available < MAX_LENGTH ? (unsigned)available : MAX_LENGTH,
		.seg = NO_SEG,
	};
	int ret;

	*insn = (struct x86_insn){
		.mode = (uint8_t)mode,
		.mem = { .base = X86_REG_NONE, .index = X86_REG_NONE, .scale = 1 },
	};
	ret = decode(&d);
	insn->length = (uint8_t)d.position;
	if (ret == 0)
		return insn->length;
	if (ret == X86_DECODE_MORE && available >= MAX_LENGTH)
		return X86_DECODE_LONG;
	return ret;
}
