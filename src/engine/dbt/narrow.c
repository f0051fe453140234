/* 32-bit code (compatibility mode, and protected mode without a 64-bit system), translated to 64-bit host code.
 *
 * What is taken for granted of it: CS, SS, DS and ES are flat (base 0, limit 4 GiB - 1, readable and writable), and the
 * upper halves of the eight registers are zero. dbt_narrow_good() looks at both whenever such code is entered from C; segments are
 * changed by the interpreter only. Of FS and GS the base is added; if more is to be said of one, dbt.segment_odd leaves
 * each access by it to the interpreter.
 *
 * Addresses: [register + disp] is computed with 64 bits like any other, without a look at whether it wraps. If it does, the sum lies
 * outside the low 4 GiB, where the table of 32-bit code (DBT_TABLE_USER32, DBT_TABLE_KERNEL32) has no entry: it faults, and the interpreter
 * does it. All other forms go by an LEA of 32 bits, which wraps. ESP is moved by an LEA of 64 bits, for a kept addend must never
 * belong to another address than the 64-bit sum; where it would have had to wrap it is put right when C is back
 * (dbt_narrow_truncate()).
 *
 * Encodings: those that 64-bit mode does not have, or has for something else, are made the long forms of themselves before
 * anybody looks:
 *
 *     40       inc eax            ->   ff c0
 *     a1 X     mov eax, [X]       ->   8b 05 X
 *     82 /r    add r/m8, imm8     ->   80 /r
 */
#include "engine/dbt/translate.h"
#include "base/string.h"

#define NARROW_REGISTERS 8

static bool plain(const struct x86_segment *segment, bool code)
{
	const uint32_t want = X86_AR_P | X86_AR_S | X86_AR_DB | X86_AR_WRITABLE | (code ? X86_AR_CODE : 0);
	/* Expand-down of data is conforming of code, which does not matter here. */
	const uint32_t mask = want | X86_AR_UNUSABLE | X86_AR_CODE | (code ? X86_AR_L : X86_AR_DOWN);

	return (segment->ar & mask) == want && segment->limit == 0xffffffff;
}

/* An expand-up data segment of 4 GiB needs no B flag. */
static bool only_base(const struct x86_segment *segment)
{
	const uint32_t want = X86_AR_P | X86_AR_S | X86_AR_WRITABLE;

	return (segment->ar & (want | X86_AR_UNUSABLE | X86_AR_CODE | X86_AR_DOWN)) == want && segment->limit == 0xffffffff;
}

bool dbt_narrow_good(struct dbt *d)
{
	const struct x86_segment *seg = d->cpu.s.seg;
	uint64_t upper = d->cpu.s.rip;

	for (unsigned i = 0; i < NARROW_REGISTERS; i++)
		upper |= d->cpu.s.gpr[i];
	if (upper >> 32 || !plain(&seg[X86_CS], true) || !plain(&seg[X86_SS], false) || !only_base(&seg[X86_DS]) ||
	    !only_base(&seg[X86_ES]) || (seg[X86_CS].base | seg[X86_SS].base | seg[X86_DS].base | seg[X86_ES].base))
		return false;
	d->segment_odd[0] = !only_base(&seg[X86_FS]);
	d->segment_odd[1] = !only_base(&seg[X86_GS]);
	return true;
}

void dbt_narrow_truncate(struct dbt *d)
{
	for (unsigned i = 0; i < NARROW_REGISTERS; i++)
		d->cpu.s.gpr[i] = (uint32_t)d->cpu.s.gpr[i];
}

/* ---- encodings ---- */

static bool same(const struct x86_insn *a, const struct x86_insn *b)
{
	if (a->op != b->op || a->operand_count != b->operand_count || a->vl != b->vl)
		return false;
	for (unsigned i = 0; i < a->operand_count; i++) {
		const struct x86_operand *x = &a->operand[i], *y = &b->operand[i];

		if (x->kind != y->kind || x->reg != y->reg || x->size != y->size)
			return false;
	}
	return true;
}

bool tr_narrow_same(const struct tr *tr)
{
	struct x86_insn wide;

	return x86_decode(&wide, tr->bytes, tr->insn.length, X86_MODE_64) > 0 && same(&tr->insn, &wide);
}

static void insert(uint8_t *bytes, unsigned at, uint8_t byte)
{
	memmove(bytes + at + 1, bytes + at, 15 - at);
	bytes[at] = byte;
}

static void lengthen_legacy(const struct x86_insn *in, uint8_t *bytes)
{
	unsigned at = in->opcode_offset;
	uint8_t opcode = bytes[at];

	if (in->map)
		return;
	switch (opcode) {
	case 0x40 ... 0x4f: /* INC, DEC */
		bytes[at] = 0xff;
		insert(bytes, at + 1, 0xc0 | (opcode & 15));
		break;
	case 0x82:
		bytes[at] = 0x80;
		break;
	case 0xa0 ... 0xa3: /* MOV of AL and EAX, from and to an address */
		if (in->addrsize != 4)
			break;
		bytes[at] = opcode < 0xa2 ? 0x8a | (opcode & 1) : 0x88 | (opcode & 1);
		insert(bytes, at + 1, 0x05);
		break;
	default:
		break;
	}
}

/* Bits that 32-bit code ignores and 64-bit code takes for registers: R, X, B, the upper one of vvvv and that of an
 * immediate's register; and W where it would only mean the operand size. */
static void clear_vex(const struct x86_insn *in, uint8_t *bytes)
{
	uint8_t *vex = bytes + in->opcode_offset - in->vex_bytes, *last = vex + (in->vex_bytes == 3 ? 2 : 1);
	struct x86_insn without;

	if (vex[0] == 0xc4)
		vex[1] |= 0xe0;
	else
		vex[1] |= 0x80;
	*last |= 0x40;
	for (unsigned i = 0; i < in->operand_count; i++) {
		if ((in->operand[i].kind == X86_OPND_XMM || in->operand[i].kind == X86_OPND_YMM) &&
		    in->operand[i].field == X86_FIELD_IMM)
			bytes[in->length - 1] &= 0x7f;
	}
	if (vex[0] != 0xc4 || !(*last & 0x80))
		return;
	*last &= 0x7f;
	if (x86_decode(&without, bytes, in->length, X86_MODE_32) != in->length || !same(in, &without))
		*last |= 0x80;
}

void tr_narrow_encoding(struct tr *tr)
{
	uint8_t bytes[sizeof(tr->bytes)];
	struct x86_insn longer;

	memcpy(bytes, tr->bytes, sizeof(bytes));
	if (tr->insn.prefixes & X86_PFX_VEX)
		clear_vex(&tr->insn, bytes);
	else
		lengthen_legacy(&tr->insn, bytes);
	if (x86_decode(&longer, bytes, 15, X86_MODE_32) <= 0 || longer.op != tr->insn.op)
		return; /* too long: as it is it will not be copied */
	memcpy(tr->bytes, bytes, sizeof(bytes));
	tr->insn = longer;
}

bool tr_narrow_possible(const struct tr *tr)
{
	const struct x86_insn *insn = &tr->insn;

	if (insn->addrsize != 4)
		return false;
	switch (insn->op) {
	case X86_VZEROALL: /* of 32-bit code: eight registers */
	case X86_VZEROUPPER:
		return false;
	case X86_JMP:
	case X86_JCC:
	case X86_JCXZ:
	case X86_LOOP:
	case X86_CALL:
	case X86_RET:
	case X86_PUSH:
	case X86_POP:
	case X86_PUSHF:
	case X86_POPF:
	case X86_LEAVE:
		if (insn->opsize != 4)
			return false;
		break;
	case X86_MOVS:
	case X86_LODS:
	case X86_CMPS:
		if (insn->mem.seg == X86_CS)
			return false;
		break;
	default:
		break;
	}
	/* CS can't be written. */
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_MEM && insn->operand[i].size && insn->mem.seg == X86_CS)
			return false;
	}
	return true;
}
