/* Decimal adjustment: AAA AAS AAM AAD DAA DAS (not in 64-bit mode). */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/sem_integer.h"

/* All flags but CF and AF of AL + or - an adjustment. */
static uint32_t adjustment_flags(int sign, uint64_t al, unsigned adjustment)
{
	uint32_t flags =
	    sign > 0 ? flags_add(1, al, adjustment, 0) : flags_sub(1, al, adjustment, 0);

	return flags & ~(X86_FLAG_CF | X86_FLAG_AF);
}

/* AAA (sign 1) and AAS (sign -1): OF, SF, ZF and PF are undefined, here those of AL before its
 * upper half is cleared. */
static void adjust_unpacked(struct cpu *cpu, int sign)
{
	uint64_t ax = gpr_read(cpu, X86_RAX, 2);
	bool adjust = (ax & 15) > 9 || sem_flags(cpu) & X86_FLAG_AF;
	uint32_t flags = adjustment_flags(sign, ax, adjust ? 6 : 0);

	if (adjust) {
		ax += (uint64_t)(sign * 0x106);
		flags |= X86_FLAG_AF | X86_FLAG_CF;
	}
	gpr_write(cpu, X86_RAX, 2, ax & 0xff0f);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags);
}

void sem_aaa(struct cpu *cpu, const struct x86_insn *insn)
{
	adjust_unpacked(cpu, 1);
}

void sem_aas(struct cpu *cpu, const struct x86_insn *insn)
{
	adjust_unpacked(cpu, -1);
}

void sem_aam(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned al = (unsigned)gpr_read(cpu, X86_RAX, 1);
	unsigned base = (unsigned)insn->imm & 0xff;

	if (base == 0)
		raise_exception(cpu, X86_EXC_DE);
	gpr_write(cpu, X86_RAX, 2, (uint64_t)(al / base << 8 | al % base));
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_logic(1, al % base));
}

void sem_aad(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t al = gpr_read(cpu, X86_RAX, 1), tens = gpr_read_ah(cpu) * (insn->imm & 0xff);

	gpr_write(cpu, X86_RAX, 2, (al + tens) & 0xff);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_add(1, al, tens, 0));
}

/* DAA (sign 1) and DAS (sign -1). */
static void adjust_packed(struct cpu *cpu, int sign)
{
	uint32_t before = sem_flags(cpu), flags = 0;
	unsigned old = (unsigned)gpr_read(cpu, X86_RAX, 1);
	unsigned adjustment = 0;

	if ((old & 15) > 9 || before & X86_FLAG_AF) {
		adjustment = 6;
		/* A borrow or carry out of the whole byte counts too. */
		flags |= X86_FLAG_AF | (sign < 0 && old < 6 ? X86_FLAG_CF : 0);
	}
	if (old > 0x99 || before & X86_FLAG_CF) {
		adjustment += 0x60;
		flags |= X86_FLAG_CF;
	}
	gpr_write(cpu, X86_RAX, 1, old + (unsigned)sign * adjustment);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags | adjustment_flags(sign, old, adjustment));
}

void sem_daa(struct cpu *cpu, const struct x86_insn *insn)
{
	adjust_packed(cpu, 1);
}

void sem_das(struct cpu *cpu, const struct x86_insn *insn)
{
	adjust_packed(cpu, -1);
}
