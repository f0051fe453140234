/* A guest instruction re-encoded: the same operation, its registers those that hold the guest's, its memory operand made
 * accessible (operands.c). A guest register without a host register is used where it lies, or loaded into u or t before and
 * stored after.
 *
 *     add r10,[rdi+8]    ->   (u = addend) mov t,gs:[r10]; add t,[rdi+u+8]; mov gs:[r10],t
 *     shl edx,cl         ->   mov rcx,r9; shl edx,cl
 *
 * Registers AH to BH exclude a REX prefix: then the address goes to t and the rest must do without R8-R15.
 */
#include "engine/dbt/translate.h"

/* What the encoding's fields get. */
struct fields {
	uint8_t reg, rm, vvvv, opcode; /* host numbers, or those of the original for other kinds of registers */
	bool has_mem;
	struct host_mem mem;
	bool need_rex; /* SPL, BPL, SIL, DIL */
};

static struct host_mem gpr_slot(unsigned guest)
{
	return mem_gs(DBT_OFFSET(cpu.s.gpr) + 8 * guest);
}

static bool is_high(const struct x86_operand *operand)
{
	return operand->kind == X86_OPND_GPR && operand->size == 1 && operand->reg >= X86_REG_AH;
}

static unsigned guest_of(const struct x86_operand *operand)
{
	return operand->reg >= X86_REG_AH ? operand->reg - X86_REG_AH : operand->reg;
}

bool tr_has_high_byte(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (is_high(&insn->operand[i]))
			return true;
	}
	return false;
}

/* The instruction takes RCX without naming it in a field: t must hold it. */
static bool implicit_rcx(const struct x86_insn *insn, bool *writes)
{
	*writes = insn->op == X86_PCMPESTRI || insn->op == X86_PCMPISTRI || insn->op == X86_VPCMPESTRI ||
		  insn->op == X86_VPCMPISTRI;
	if (*writes || insn->op == X86_CMPXCHG8B || insn->op == X86_CMPXCHG16B)
		return true;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_GPR && insn->operand[i].field == X86_FIELD_NONE &&
		    insn->operand[i].reg == X86_RCX)
			return true;
	}
	return false;
}

/* Registers that the instruction changes without an operand saying so. */
static void implicit_writes(struct tr *tr)
{
	switch (tr->insn.op) {
	case X86_MUL:
	case X86_IMUL:
	case X86_DIV:
	case X86_IDIV:
	case X86_CBW:
	case X86_CWD:
	case X86_LAHF:
	case X86_CMPXCHG:
	case X86_CMPXCHG8B:
	case X86_CMPXCHG16B:
		tr_register_written(tr, X86_RAX);
		tr_register_written(tr, X86_RDX);
		break;
	default:
		break;
	}
}

/* Does it add a constant to all of its first operand, a register? */
static bool moves_by_constant(const struct x86_insn *in, int64_t *delta)
{
	if (in->operand[0].kind != X86_OPND_GPR || in->operand[0].size != 8)
		return false;
	switch (in->op) {
	case X86_ADD:
	case X86_SUB:
		*delta = in->op == X86_ADD ? (int64_t)in->imm : -(int64_t)in->imm;
		return in->operand[1].kind == X86_OPND_IMM;
	case X86_INC:
	case X86_DEC:
		*delta = in->op == X86_INC ? 1 : -1;
		return true;
	default:
		return false;
	}
}

/* Offset of what comes behind the legacy prefixes: REX, VEX or the opcode. */
static unsigned prefix_end(const struct x86_insn *in)
{
	if (in->prefixes & X86_PFX_VEX) /* C5: one byte before the opcode, C4: two */
		return in->opcode_offset - (unsigned)in->vex_bytes;
	return in->opcode_offset - (in->map > 1 ? 2u : in->map) - (in->prefixes & X86_PFX_REX ? 1u : 0);
}

static void put_encoding(struct tr *tr, const struct fields *f)
{
	const struct x86_insn *in = &tr->insn;
	const uint8_t *bytes = tr->bytes;
	struct emitter *e = &tr->e;
	bool vex = in->prefixes & X86_PFX_VEX;
	unsigned b = f->has_mem ? (f->mem.base == HOST_NONE ? 0 : f->mem.base) : in->modrm_offset ? f->rm : f->opcode;
	unsigned x = f->has_mem && f->mem.index != HOST_NONE ? f->mem.index : 0;
	unsigned i = 0, w = in->prefixes & X86_PFX_REX_W ? 1 : 0;

	if (f->has_mem && f->mem.gs)
		emit_u8(e, 0x65);
	for (; i < prefix_end(in); i++) {
		uint8_t byte = bytes[i];

		if (byte == 0x66 || byte == 0xf2 || byte == 0xf3 || byte == 0xf0)
			emit_u8(e, byte);
	}
	if (vex) {
		uint8_t last = bytes[i] == 0xc4 ? bytes[i + 2] : bytes[i + 1];

		if (bytes[i] == 0xc5)
			last &= 0x7f;
		emit_u8(e, 0xc4);
		emit_u8(e, (~f->reg >> 3 & 1) << 7 | (~x >> 3 & 1) << 6 | (~b >> 3 & 1) << 5 | in->map);
		emit_u8(e, (last & 0x87u) | (~f->vvvv & 15) << 3);
	} else {
		unsigned rex = w << 3 | (f->reg >> 3 & 1) << 2 | (x >> 3 & 1) << 1 | (b >> 3 & 1);

		if (rex || f->need_rex)
			emit_u8(e, 0x40 | rex);
		if (in->map)
			emit_u8(e, 0x0f);
		if (in->map >= 2)
			emit_u8(e, in->map == 2 ? 0x38 : 0x3a);
	}
	if (in->modrm_offset) {
		emit_u8(e, bytes[in->opcode_offset]);
		if (f->has_mem)
			emit_modrm_mem(e, f->reg, f->mem);
		else
			emit_u8(e, 0xc0 | (f->reg & 7u) << 3 | (f->rm & 7u));
	} else {
		bool in_opcode = false;

		for (unsigned n = 0; n < in->operand_count; n++)
			in_opcode |= in->operand[n].field == X86_FIELD_OPCODE;
		emit_u8(e, in_opcode ? (bytes[in->opcode_offset] & 0xf8u) | (f->opcode & 7u) : bytes[in->opcode_offset]);
	}
	for (i = in->imm_offset; i < in->length; i++)
		emit_u8(e, bytes[i]);
	if (tr->image_imm)
		emit_note(e, EMIT_SIGN32, EMIT_ADDRESS);
}

/* The numbers in the original's fields. */
static void original_fields(const struct tr *tr, struct fields *f)
{
	const struct x86_insn *in = &tr->insn;
	unsigned rex = 0, modrm = in->modrm_offset ? tr->bytes[in->modrm_offset] : 0;

	*f = (struct fields){0};
	if (in->prefixes & X86_PFX_VEX) {
		const uint8_t *vex = &tr->bytes[prefix_end(in)];
		uint8_t last = vex[0] == 0xc4 ? vex[2] : vex[1];

		rex = (~vex[1] >> 7 & 1) << 2 | (vex[0] == 0xc4 ? ~vex[1] >> 5 & 1 : 0);
		f->vvvv = ~last >> 3 & 15;
	} else if (in->prefixes & X86_PFX_REX) {
		rex = tr->bytes[prefix_end(in)];
	}
	f->reg = (uint8_t)((modrm >> 3 & 7) | (rex & 4) << 1);
	f->rm = (uint8_t)((modrm & 7) | (rex & 1) << 3);
	f->opcode = (uint8_t)((tr->bytes[in->opcode_offset] & 7) | (rex & 1) << 3);
	/* The extension bits of fields that are part of the opcode, or of registers of eight, mean nothing. */
}

static uint8_t *field_of(struct fields *f, unsigned field)
{
	switch (field) {
	case X86_FIELD_REG:
		return &f->reg;
	case X86_FIELD_RM:
		return &f->rm;
	case X86_FIELD_VVVV:
		return &f->vvvv;
	case X86_FIELD_OPCODE:
		return &f->opcode;
	default:
		return NULL;
	}
}

struct temp {
	uint8_t guest, host;
	bool written;
	bool needed; /* its value before */
};

/* Does the instruction do to memory what it does to a register in its r/m field? BT does not, XCHG locks, some have another
 * operation there. */
static bool rm_may_be_memory(const struct x86_insn *in, uint8_t opcode)
{
	bool vex = in->prefixes & X86_PFX_VEX;

	if (!in->modrm_offset)
		return false;
	switch (in->map) {
	case 0:
		return opcode < 0x40 || opcode == 0x63 || opcode == 0x69 || opcode == 0x6b || opcode == 0x80 || opcode == 0x81 ||
		       opcode == 0x83 || opcode == 0x84 || opcode == 0x85 || (opcode >= 0x88 && opcode <= 0x8b) ||
		       opcode == 0xc0 || opcode == 0xc1 || (opcode >= 0xd0 && opcode <= 0xd3) || opcode == 0xf6 || opcode == 0xf7;
	case 1:
		/* CVTSI2SS and SD; MOVD and MOVQ */
		if (opcode == 0x2a || opcode == 0x6e || opcode == 0x7e)
			return true;
		return !vex && ((opcode >= 0x40 && opcode <= 0x4f) || opcode == 0xaf || opcode == 0xb6 || opcode == 0xb7 ||
				opcode == 0xb8 || opcode == 0xbc || opcode == 0xbd || opcode == 0xbe || opcode == 0xbf);
	case 2:
		/* ANDN, BZHI, MULX, PDEP, PEXT, BEXTR and the shifts; CRC32, ADCX and ADOX */
		return vex ? opcode == 0xf2 || opcode == 0xf5 || opcode == 0xf6 || opcode == 0xf7
			   : opcode == 0xf0 || opcode == 0xf1 || opcode == 0xf6;
	case 3:
		return vex && opcode == 0xf0; /* RORX */
	default:
		return false;
	}
}

/* The r/m operand is a guest register without a host register, which can be used where it lies: a 32-bit write would have to
 * clear the upper half. */
static const struct x86_operand *operand_in_slot(const struct tr *tr)
{
	const struct x86_insn *in = &tr->insn;
	const struct x86_operand *found = NULL;

	if (tr_has_high_byte(in) || !rm_may_be_memory(in, tr->bytes[in->opcode_offset]))
		return NULL;
	for (unsigned i = 0; i < in->operand_count; i++) {
		const struct x86_operand *operand = &in->operand[i];

		if (operand->kind == X86_OPND_GPR && operand->field == X86_FIELD_RM && guest_to_host[operand->reg] == HOST_NONE &&
		    !(operand->size == 4 && (operand->access & X86_ACCESS_WRITE)))
			found = operand;
	}
	/* Another operand of the same register would be read from its temporary, or written after. */
	for (unsigned i = 0; found && i < in->operand_count; i++) {
		if (&in->operand[i] != found && in->operand[i].kind == X86_OPND_GPR && in->operand[i].reg == found->reg &&
		    ((in->operand[i].access | found->access) & X86_ACCESS_WRITE))
			return NULL;
	}
	return found;
}

/* Is the operand's register wholly replaced? */
static bool replaced(const struct x86_insn *in, const struct x86_operand *operand)
{
	return operand->access == X86_ACCESS_WRITE && operand->size >= 4 && in->op != X86_BSF && in->op != X86_BSR &&
	       in->op != X86_TZCNT && in->op != X86_LZCNT;
}

void tr_copy(struct tr *tr)
{
	const struct x86_insn *in = &tr->insn;
	struct emitter *e = &tr->e;
	bool high = tr_has_high_byte(in), writes_rcx, needs_rcx = implicit_rcx(in, &writes_rcx);
	const struct x86_operand *memory = NULL;
	const struct x86_operand *slot = operand_in_slot(tr);
	struct temp temps[4];
	unsigned temp_count = 0;
	struct fields f;
	int64_t delta;

	if (tr->narrow && !tr_narrow_same(tr)) {
		tr->failed = true;
		return;
	}
	original_fields(tr, &f);
	for (unsigned i = 0; i < in->operand_count; i++) {
		const struct x86_operand *operand = &in->operand[i];

		if (operand->kind == X86_OPND_MEM)
			memory = operand;
	}

	/* Which guest registers need a temporary? */
	for (unsigned i = 0; i < in->operand_count; i++) {
		const struct x86_operand *operand = &in->operand[i];
		unsigned guest, n;

		if (operand->kind != X86_OPND_GPR || !field_of(&f, operand->field) || operand == slot)
			continue;
		guest = guest_of(operand);
		/* In t already, or where no REX prefix may be, RCX must be. */
		if (guest_to_host[guest] != HOST_NONE && !(high && guest_to_host[guest] >= 8))
			continue;
		for (n = 0; n < temp_count && temps[n].guest != guest; n++) {
		}
		if (n == temp_count)
			temps[temp_count++] = (struct temp){.guest = (uint8_t)guest};
		temps[n].written |= (operand->access & X86_ACCESS_WRITE) != 0;
		temps[n].needed |= !replaced(in, operand);
	}

	/* Two temporaries, u and t; a memory operand takes one at least. */
	bool t_free = !needs_rcx;
	struct host_mem mem = {0};

	if (temp_count + needs_rcx + (memory != NULL) > 2 || (high && temp_count + needs_rcx + (memory != NULL) > 1)) {
		tr->failed = true;
		return;
	}
	if (memory) {
		unsigned size = memory->size;

		if (high) {
			mem = tr_memory_in_t(tr, &in->mem, size);
			t_free = false;
		} else if (needs_rcx || temp_count) {
			mem = tr_is_simple(tr, &in->mem) ? tr_memory(tr, &in->mem, size) : tr_memory_in_u(tr, &in->mem, size);
		} else {
			mem = tr_memory(tr, &in->mem, size);
			t_free = false;
		}
		f.has_mem = true;
		f.mem = mem;
	} else if (slot) {
		f.has_mem = true;
		f.mem = gpr_slot(slot->reg);
	}
	for (unsigned i = 0; i < temp_count; i++) {
		/* t first: an addend may be kept in u. */
		if (t_free || high) {
			temps[i].host = HOST_T;
			t_free = false;
		} else {
			tr_forget_u(tr);
			temps[i].host = HOST_U;
		}
		if (guest_to_host[temps[i].guest] != HOST_NONE)
			emit_mov_reg(e, temps[i].host, guest_to_host[temps[i].guest], 8);
		else if (temps[i].needed)
			emit_load(e, temps[i].host, gpr_slot(temps[i].guest), 8);
	}
	if (needs_rcx)
		emit_mov_reg(e, HOST_RCX, guest_to_host[X86_RCX], 8);

	for (unsigned i = 0; i < in->operand_count; i++) {
		const struct x86_operand *operand = &in->operand[i];
		uint8_t *field = field_of(&f, operand->field);
		unsigned guest, host;

		if (operand->kind != X86_OPND_GPR || !field || operand == slot)
			continue;
		guest = guest_of(operand);
		host = guest_to_host[guest];
		for (unsigned n = 0; n < temp_count; n++) {
			if (temps[n].guest == guest)
				host = temps[n].host;
		}
		if (high && host >= (operand->size == 1 ? 4 : 8)) {
			tr->failed = true;
			return;
		}
		if (is_high(operand))
			host += 4;
		else if (operand->size == 1 && host >= 4 && host < 8)
			f.need_rex = true;
		*field = (uint8_t)host;
	}
	tr_commit(tr);
	put_encoding(tr, &f);
	for (unsigned i = 0; i < temp_count; i++) {
		if (!temps[i].written)
			continue;
		if (guest_to_host[temps[i].guest] != HOST_NONE)
			emit_mov_reg(e, guest_to_host[temps[i].guest], temps[i].host, 8);
		else
			emit_store(e, gpr_slot(temps[i].guest), temps[i].host, 8);
	}
	if (writes_rcx) {
		emit_mov_reg(e, guest_to_host[X86_RCX], HOST_RCX, 8);
		tr_register_written(tr, X86_RCX);
	}
	for (unsigned i = 0; i < in->operand_count; i++) {
		const struct x86_operand *operand = &in->operand[i];

		if (operand->kind != X86_OPND_GPR || !(operand->access & X86_ACCESS_WRITE))
			continue;
		if (i == 0 && moves_by_constant(in, &delta))
			tr_register_moved(tr, guest_of(operand), delta);
		else
			tr_register_written(tr, guest_of(operand));
	}
	implicit_writes(tr);
}
