/* x86_insn_regs() against the operands of Zydis, hidden ones included. Example of use: zydis_compare.c. */
#include "arch/x86_64/regs.h"
#include "compare.h"

/* 0 for what is no general register. */
static uint16_t register_bit(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: break;
	default: return 0;
	}
	reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
	return (uint16_t)(1u << ZydisRegisterGetId(reg));
}

static struct x86_regs_used zydis_regs(const struct comparison *c)
{
	struct x86_regs_used used = { 0, 0 };

	for (unsigned i = 0; i < c->zydis.operand_count; i++) {
		const ZydisDecodedOperand *z = &c->operands[i];

		if (z->type == ZYDIS_OPERAND_TYPE_MEMORY)
			used.read |= register_bit(z->mem.base) | register_bit(z->mem.index);
		if (z->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			used.read |= register_bit(z->reg.value);
		if (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			used.written |= register_bit(z->reg.value);
	}
	return used;
}

uint32_t compare_registers(const struct comparison *c)
{
	const struct x86_regs_used ours = x86_insn_regs(&c->insn), theirs = zydis_regs(c);

	return (ours.read != theirs.read ? MISMATCH_REGS_READ : 0) |
	       (ours.written != theirs.written ? MISMATCH_REGS_WRITTEN : 0);
}
