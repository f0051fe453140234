/* BT, BTS, BTR and BTC of memory with the bit's number in a register, which reaches beyond the operand: the address is
 * that of the element that holds the bit (SDM 2A 3.1.1.9, BitBase), the number what is left.
 */
#include "engine/dbt/translate.h"

/* PEXT u, src, gs:[mask]: the low bits, without the flags that AND would change. VEX.LZ.F3.0F38.W1 F5 */
static void low_bits(struct emitter *e, unsigned src, struct host_mem mask)
{
	emit_u8(e, 0x65);
	emit_u8(e, 0xc4);
	emit_u8(e, (~HOST_U >> 3 & 1) << 7 | 1u << 6 | 1u << 5 | 2);
	emit_u8(e, 1u << 7 | (~src & 15) << 3 | 2);
	emit_u8(e, 0xf5);
	emit_modrm_mem(e, HOST_U, mask);
}

bool tr_lower_bits(struct tr *tr)
{
	const struct x86_insn *insn = &tr->insn;
	struct emitter *e = &tr->e;
	unsigned size = insn->opsize, index, opcode;

	switch (insn->op) {
	case X86_BT:
		opcode = 0x0fa3;
		break;
	case X86_BTS:
		opcode = 0x0fab;
		break;
	case X86_BTR:
		opcode = 0x0fb3;
		break;
	case X86_BTC:
		opcode = 0x0fbb;
		break;
	default:
		return false;
	}
	if (insn->operand[0].kind != X86_OPND_MEM || insn->operand[1].kind != X86_OPND_GPR || size < 4 ||
	    insn->addrsize != tr->word || tr->check_crossing)
		return false;
	tr_forget_u(tr);
	index = tr_value(tr, insn->operand[1].reg, HOST_U);
	if (size == 4)
		emit_op_reg(e, 0x63, HOST_U, index, 8); /* MOVSXD */
	else if (index != HOST_U)
		emit_mov_reg(e, HOST_U, index, 8);
	emit_store(e, mem_gs(DBT_OFFSET(bit_index)), HOST_U, 8);
	emit_mov_imm(e, HOST_T, size == 8 ? 6 : 5);
	emit_sarx(e, HOST_U, HOST_U, HOST_T);
	emit_store(e, mem_gs(DBT_OFFSET(bit_element)), HOST_U, 8);
	tr_address(tr, &insn->mem, HOST_T);
	emit_load(e, HOST_U, mem_gs(DBT_OFFSET(bit_element)), 8);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = (uint8_t)size}, tr->word);
	tr_look_up(tr, HOST_T);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1}, 8);
	emit_load(e, HOST_U, mem_gs(DBT_OFFSET(bit_index)), 8);
	low_bits(e, HOST_U, size == 8 ? mem_gs(DBT_OFFSET(mask_63)) : mem_gs(DBT_OFFSET(mask_31)));
	tr_forget_u(tr);
	tr->info->flags = TB_INSN_RESTART;
	tr_commit(tr);
	if (insn->prefixes & X86_PFX_LOCK)
		emit_u8(e, 0xf0);
	emit_op_mem(e, opcode, HOST_U, mem_base(HOST_T, 0), size);
	return true;
}
