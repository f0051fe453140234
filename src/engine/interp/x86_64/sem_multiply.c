/* MUL, IMUL, DIV and IDIV. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/sem_integer.h"

/* rDX:rAX, or AX for byte operations. */
static void write_pair(struct cpu *cpu, unsigned size, uint64_t high, uint64_t low)
{
	if (size == 1) {
		gpr_write(cpu, X86_RAX, 2, (high & 0xff) << 8 | (low & 0xff));
		return;
	}
	gpr_write(cpu, X86_RAX, size, low);
	gpr_write(cpu, X86_RDX, size, high);
}

/* SF, ZF, AF and PF are undefined after a multiplication; Zen keeps them. */
static void set_multiply_flags(struct cpu *cpu, bool overflow)
{
	sem_set_flags(cpu, X86_FLAG_CF | X86_FLAG_OF, flags_multiply(overflow));
}

void sem_mul(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	unsigned __int128 product =
	    (unsigned __int128)sem_read(cpu, insn, 0) * gpr_read(cpu, X86_RAX, size);
	uint64_t high = (uint64_t)(product >> size_bits(size));

	write_pair(cpu, size, high, (uint64_t)product);
	set_multiply_flags(cpu, high != 0);
}

void sem_imul(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	bool implicit = insn->operand_count == 1;
	int64_t a, b;
	__int128 product;

	if (implicit) {
		a = size_extend(size, cpu->s.gpr[X86_RAX]);
		b = size_extend(size, sem_read(cpu, insn, 0));
	} else {
		unsigned first = insn->operand_count == 3;

		a = size_extend(size, sem_read(cpu, insn, first));
		b = size_extend(size, sem_read(cpu, insn, first + 1));
	}
	product = (__int128)a * b;
	if (implicit)
		write_pair(cpu, size, (uint64_t)(product >> size_bits(size)), (uint64_t)product);
	else
		sem_write(cpu, insn, 0, (uint64_t)product);
	set_multiply_flags(cpu, product != size_extend(size, (uint64_t)product));
}

/* The dividend: rDX:rAX, or AX for byte operations. */
static unsigned __int128 read_pair(const struct cpu *cpu, unsigned size)
{
	if (size == 1)
		return gpr_read(cpu, X86_RAX, 2);
	return (unsigned __int128)gpr_read(cpu, X86_RDX, size) << size_bits(size) |
	       gpr_read(cpu, X86_RAX, size);
}

/* All flags are undefined after a division; this is what Zen makes of them. */
static void set_divide_flags(struct cpu *cpu)
{
	sem_set_flags(cpu, X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF, X86_FLAG_AF);
}

void sem_div(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t divisor = sem_read(cpu, insn, 0);
	unsigned __int128 dividend = read_pair(cpu, size), quotient;

	if (divisor == 0)
		raise_exception(cpu, X86_EXC_DE);
	/* The usual case needs no 128-bit division. */
	quotient = dividend >> 64 ? dividend / divisor : (uint64_t)dividend / divisor;
	if (quotient > size_mask(size))
		raise_exception(cpu, X86_EXC_DE);
	write_pair(cpu, size, (uint64_t)(dividend - quotient * divisor), (uint64_t)quotient);
	set_divide_flags(cpu);
}

void sem_idiv(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	int64_t divisor = size_extend(size, sem_read(cpu, insn, 0));
	unsigned spare = 128 - 2 * size_bits(size);
	__int128 dividend = (__int128)(read_pair(cpu, size) << spare) >> spare;
	bool negative = (dividend < 0) != (divisor < 0);
	unsigned __int128 magnitude =
	    dividend < 0 ? -(unsigned __int128)dividend : (unsigned __int128)dividend;
	uint64_t by = divisor < 0 ? -(uint64_t)divisor : (uint64_t)divisor;
	unsigned __int128 quotient;
	uint64_t remainder, limit = (size_mask(size) >> 1) + negative;

	if (by == 0)
		raise_exception(cpu, X86_EXC_DE);
	quotient = magnitude >> 64 ? magnitude / by : (uint64_t)magnitude / by;
	if (quotient > limit)
		raise_exception(cpu, X86_EXC_DE);
	remainder = (uint64_t)(magnitude - quotient * by);
	write_pair(cpu, size, dividend < 0 ? -remainder : remainder,
		   negative ? -(uint64_t)quotient : (uint64_t)quotient);
	set_divide_flags(cpu);
}
