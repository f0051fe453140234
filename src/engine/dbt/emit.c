/* See emit.h. SDM 2A chapter 2 (instruction formats). */
#include "engine/dbt/emit.h"
#include "base/string.h"

static void put(struct emitter *e, const void *bytes, size_t len)
{
	if ((size_t)(e->end - e->at) < len) {
		e->overflow = true;
		return;
	}
	memcpy(e->at, bytes, len);
	e->at += len;
}

void emit_u8(struct emitter *e, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	put(e, &byte, 1);
}

void emit_u16(struct emitter *e, unsigned value)
{
	uint16_t word = (uint16_t)value;

	put(e, &word, 2);
}

void emit_u32(struct emitter *e, uint32_t value)
{
	put(e, &value, 4);
}

void emit_u64(struct emitter *e, uint64_t value)
{
	put(e, &value, 8);
}

static unsigned scale_bits(unsigned scale)
{
	return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

void emit_modrm_mem(struct emitter *e, unsigned reg, struct host_mem mem)
{
	unsigned base = mem.base & 7, mode;

	reg = (reg & 7) << 3;
	if (mem.base == HOST_NONE) {
		unsigned index = mem.index == HOST_NONE ? 4 : mem.index & 7;

		emit_u8(e, reg | 4);
		emit_u8(e, scale_bits(mem.scale) << 6 | index << 3 | 5);
		emit_u32(e, (uint32_t)mem.disp);
		emit_note(e, EMIT_SIGN32, mem.meaning);
		return;
	}
	if (mem.disp == 0 && base != 5)
		mode = 0;
	else
		mode = mem.disp == (int8_t)mem.disp ? 1 : 2;
	if (mem.index == HOST_NONE && base != 4) {
		emit_u8(e, mode << 6 | reg | base);
	} else {
		emit_u8(e, mode << 6 | reg | 4);
		emit_u8(e, scale_bits(mem.scale) << 6 | (mem.index == HOST_NONE ? 4u : mem.index & 7u) << 3 | base);
	}
	if (mode == 1)
		emit_u8(e, (uint8_t)mem.disp);
	else if (mode == 2)
		emit_u32(e, (uint32_t)mem.disp);
	if (mem.meaning != EMIT_NUMBER && mode == 2)
		emit_note(e, EMIT_SIGN32, mem.meaning);
	else if (mem.meaning != EMIT_NUMBER && e->notes)
		e->notes->fixed = true;
}

static void put_opcode(struct emitter *e, unsigned opcode)
{
	if (opcode > 0xffff)
		emit_u8(e, opcode >> 16);
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode);
}

/* A byte register from SPL on needs a REX prefix. */
static void put_rex(struct emitter *e, unsigned size, unsigned reg, unsigned index, unsigned base, bool byte_reg)
{
	unsigned rex = (size == 8) << 3 | (reg >> 3 & 1) << 2 | (index != HOST_NONE ? index >> 3 & 1 : 0) << 1 |
		       (base != HOST_NONE ? base >> 3 & 1 : 0);

	if (rex || byte_reg)
		emit_u8(e, 0x40 | rex);
}

void emit_op_mem(struct emitter *e, unsigned opcode, unsigned reg, struct host_mem mem, unsigned size)
{
	if (mem.gs)
		emit_u8(e, 0x65);
	if (size == 2)
		emit_u8(e, 0x66);
	put_rex(e, size, reg, mem.index, mem.base, size == 1 && reg >= 4);
	put_opcode(e, opcode);
	emit_modrm_mem(e, reg, mem);
}

void emit_op_reg(struct emitter *e, unsigned opcode, unsigned reg, unsigned rm, unsigned size)
{
	if (size == 2)
		emit_u8(e, 0x66);
	put_rex(e, size, reg, HOST_NONE, rm, size == 1 && (reg >= 4 || rm >= 4));
	put_opcode(e, opcode);
	emit_u8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void emit_mov_reg(struct emitter *e, unsigned dst, unsigned src, unsigned size)
{
	emit_op_reg(e, size == 1 ? 0x88 : 0x89, src, dst, size);
}

void emit_load(struct emitter *e, unsigned dst, struct host_mem mem, unsigned size)
{
	emit_op_mem(e, 0x8b, dst, mem, size);
}

void emit_store(struct emitter *e, struct host_mem mem, unsigned src, unsigned size)
{
	emit_op_mem(e, size == 1 ? 0x88 : 0x89, src, mem, size);
}

void emit_store_imm(struct emitter *e, struct host_mem mem, int32_t imm, unsigned size)
{
	emit_op_mem(e, size == 1 ? 0xc6 : 0xc7, 0, mem, size);
	if (size == 1)
		emit_u8(e, (uint8_t)imm);
	else if (size == 2)
		emit_u16(e, (uint16_t)imm);
	else
		emit_u32(e, (uint32_t)imm);
}

void emit_lea(struct emitter *e, unsigned dst, struct host_mem mem, unsigned size)
{
	emit_op_mem(e, 0x8d, dst, mem, size);
}

void emit_mov_imm(struct emitter *e, unsigned dst, uint64_t value)
{
	if (value <= UINT32_MAX) {
		put_rex(e, 4, 0, HOST_NONE, dst, false);
		emit_u8(e, 0xb8 | (dst & 7));
		emit_u32(e, (uint32_t)value);
	} else if ((int64_t)value == (int32_t)value) {
		emit_op_reg(e, 0xc7, 0, dst, 8);
		emit_u32(e, (uint32_t)value);
	} else {
		put_rex(e, 8, 0, HOST_NONE, dst, false);
		emit_u8(e, 0xb8 | (dst & 7));
		emit_u64(e, value);
	}
}

void emit_note(struct emitter *e, enum emit_form form, enum emit_meaning meaning)
{
	struct emit_notes *notes = e->notes;

	if (likely(!notes) || meaning == EMIT_NUMBER)
		return;
	if (notes->count == EMIT_NOTES_MAX) {
		notes->full = true;
		return;
	}
	notes->note[notes->count++] = (struct emit_note){.at = e->at - (form == EMIT_WIDE64 ? 8 : 4), .form = form, .meaning = meaning};
}

void emit_mov_unnoted(struct emitter *e, unsigned dst, uint64_t value)
{
	emit_mov_imm(e, dst, value);
	if (e->notes)
		e->notes->fixed = true;
}

void emit_mov_meaning(struct emitter *e, unsigned dst, uint64_t value, enum emit_meaning meaning)
{
	emit_mov_imm(e, dst, value);
	emit_note(e, value <= UINT32_MAX ? EMIT_ZERO32 : (int64_t)value == (int32_t)value ? EMIT_SIGN32 : EMIT_WIDE64, meaning);
}

/* VEX.LZ.<pp>.<map>.W<w> */
static void put_vex(struct emitter *e, unsigned map, unsigned pp, unsigned w, unsigned reg, unsigned vvvv, unsigned rm)
{
	emit_u8(e, 0xc4);
	emit_u8(e, (~reg >> 3 & 1) << 7 | 1u << 6 | (~rm >> 3 & 1) << 5 | map);
	emit_u8(e, w << 7 | (~vvvv & 15) << 3 | pp);
}

void emit_rorx(struct emitter *e, unsigned dst, unsigned src, unsigned count)
{
	put_vex(e, 3, 3, 1, dst, 0, src);
	emit_u8(e, 0xf0);
	emit_u8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
	emit_u8(e, count);
}

void emit_rorx32(struct emitter *e, unsigned dst, unsigned src, unsigned count)
{
	put_vex(e, 3, 3, 0, dst, 0, src);
	emit_u8(e, 0xf0);
	emit_u8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
	emit_u8(e, count);
}

void emit_sarx(struct emitter *e, unsigned dst, unsigned src, unsigned count_reg)
{
	put_vex(e, 2, 2, 1, dst, count_reg, src);
	emit_u8(e, 0xf7);
	emit_u8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
}

void emit_lea_code(struct emitter *e, unsigned dst, const uint8_t *at)
{
	emit_u8(e, 0x48 | (dst >> 3) << 2);
	emit_u8(e, 0x8d);
	emit_u8(e, (dst & 7) << 3 | 5);
	emit_u32(e, (uint32_t)(at - (e->at + 4)));
}

void emit_not(struct emitter *e, unsigned reg)
{
	emit_op_reg(e, 0xf7, 2, reg, 8);
}

static void put_rel32(struct emitter *e, const uint8_t *target)
{
	emit_u32(e, (uint32_t)(target - (emit_here(e) + 4)));
}

void emit_jmp(struct emitter *e, const uint8_t *target)
{
	emit_u8(e, 0xe9);
	put_rel32(e, target);
}

void emit_jmp_stub(struct emitter *e, const uint8_t *stub)
{
	emit_jmp(e, stub);
	emit_note(e, EMIT_REL32, EMIT_STUB);
}

void emit_call(struct emitter *e, const uint8_t *target)
{
	emit_u8(e, 0xe8);
	put_rel32(e, target);
}

void emit_jcc(struct emitter *e, unsigned cc, const uint8_t *target)
{
	emit_u8(e, 0x0f);
	emit_u8(e, 0x80 | cc);
	put_rel32(e, target);
}

void emit_jmp_mem(struct emitter *e, struct host_mem mem)
{
	emit_op_mem(e, 0xff, 4, mem, 4);
}

void emit_call_mem(struct emitter *e, struct host_mem mem)
{
	emit_op_mem(e, 0xff, 2, mem, 4);
}

void emit_ret(struct emitter *e)
{
	emit_u8(e, 0xc3);
}

uint8_t *emit_jrcxz(struct emitter *e)
{
	emit_u16(e, 0x00e3);
	return e->at - 1;
}

uint8_t *emit_jmp_short(struct emitter *e)
{
	emit_u16(e, 0x00eb);
	return e->at - 1;
}

void emit_patch_short(struct emitter *e, uint8_t *displacement)
{
	if (!e->overflow)
		*displacement = (uint8_t)(e->at - (displacement + 1));
}
