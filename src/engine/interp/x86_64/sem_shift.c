/* Shifts and rotates. The arithmetic is in flags.c. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/sem_integer.h"

/* A memory destination is written (and must be writable) even if the count is zero. */
static void shift(struct cpu *cpu, const struct x86_insn *insn, enum shift_kind kind)
{
	unsigned count = (unsigned)sem_read(cpu, insn, 1) & 0xff;
	uint64_t value = sem_read_for_write(cpu, insn, 0);
	struct shift_result result = shift_value(kind, insn->operand[0].size, value, count,
						 !!(sem_flags(cpu) & X86_FLAG_CF));

	sem_write(cpu, insn, 0, result.value);
	sem_set_flags(cpu, result.mask, result.flags);
}

void sem_rol(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_ROL);
}

void sem_ror(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_ROR);
}

void sem_rcl(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_RCL);
}

void sem_rcr(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_RCR);
}

void sem_shl(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_SHL);
}

void sem_shr(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_SHR);
}

void sem_sar(struct cpu *cpu, const struct x86_insn *insn)
{
	shift(cpu, insn, SHIFT_SAR);
}

static void double_shift(struct cpu *cpu, const struct x86_insn *insn, bool left)
{
	unsigned count = (unsigned)sem_read(cpu, insn, 2) & 0xff;
	uint64_t fill = sem_read(cpu, insn, 1);
	uint64_t value = sem_read_for_write(cpu, insn, 0);
	struct shift_result result = shift_double(left, insn->operand[0].size, value, fill, count);

	sem_write(cpu, insn, 0, result.value);
	sem_set_flags(cpu, result.mask, result.flags);
}

void sem_shld(struct cpu *cpu, const struct x86_insn *insn)
{
	double_shift(cpu, insn, true);
}

void sem_shrd(struct cpu *cpu, const struct x86_insn *insn)
{
	double_shift(cpu, insn, false);
}
