/* Implicit register operands and the stack. See gpr.h. */
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/flags.h"

uint64_t gpr_read(const struct cpu *cpu, unsigned reg, unsigned size)
{
	return cpu->s.gpr[reg] & size_mask(size);
}

void gpr_write(struct cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
	uint64_t mask = size_mask(size);
	uint64_t kept = size >= 4 ? 0 : cpu->s.gpr[reg] & ~mask;

	cpu->s.gpr[reg] = kept | (value & mask);
}

uint8_t gpr_read_ah(const struct cpu *cpu)
{
	return (uint8_t)(cpu->s.gpr[X86_RAX] >> 8);
}

void gpr_write_ah(struct cpu *cpu, uint8_t value)
{
	cpu->s.gpr[X86_RAX] = (cpu->s.gpr[X86_RAX] & ~0xff00ull) | ((uint64_t)value << 8);
}

uint64_t stack_offset(const struct cpu *cpu, int64_t delta)
{
	return (cpu->s.gpr[X86_RSP] + (uint64_t)delta) & cpu_stack_mask(cpu);
}

void stack_adjust(struct cpu *cpu, int64_t delta)
{
	uint64_t mask = cpu_stack_mask(cpu);
	uint64_t kept = mask == 0xffff ? cpu->s.gpr[X86_RSP] & ~mask : 0;

	cpu->s.gpr[X86_RSP] = kept | stack_offset(cpu, delta);
}

uint64_t stack_read(struct cpu *cpu, int64_t delta, unsigned size)
{
	return sem_load_int(cpu, X86_SS, stack_offset(cpu, delta), size);
}
