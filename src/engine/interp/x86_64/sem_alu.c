/* Two- and one-operand arithmetic and logic. SDM 2A/2B, each under its mnemonic. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/rmw.h"
#include "engine/interp/x86_64/sem_integer.h"

static uint64_t update_add(struct rmw *rmw, uint64_t old)
{
	rmw->flags = flags_add(rmw->size, old, rmw->source, rmw->carry);
	return old + rmw->source + rmw->carry;
}

static uint64_t update_sub(struct rmw *rmw, uint64_t old)
{
	rmw->flags = flags_sub(rmw->size, old, rmw->source, rmw->carry);
	return old - rmw->source - rmw->carry;
}

static uint64_t update_and(struct rmw *rmw, uint64_t old)
{
	uint64_t value = old & rmw->source;

	rmw->flags = flags_logic(rmw->size, value);
	return value;
}

static uint64_t update_or(struct rmw *rmw, uint64_t old)
{
	uint64_t value = old | rmw->source;

	rmw->flags = flags_logic(rmw->size, value);
	return value;
}

static uint64_t update_xor(struct rmw *rmw, uint64_t old)
{
	uint64_t value = old ^ rmw->source;

	rmw->flags = flags_logic(rmw->size, value);
	return value;
}

static uint64_t update_neg(struct rmw *rmw, uint64_t old)
{
	rmw->flags = flags_sub(rmw->size, 0, old, 0);
	return 0 - old;
}

static uint64_t update_not(struct rmw *rmw, uint64_t old)
{
	return ~old;
}

static unsigned carry_flag(struct cpu *cpu)
{
	return !!(sem_flags(cpu) & X86_FLAG_CF);
}

/* An operation of two explicit operands that writes all flags. */
static void binary(struct cpu *cpu, const struct x86_insn *insn, unsigned carry, rmw_fn *update)
{
	struct rmw rmw = {
	    .size = insn->operand[0].size,
	    .source = sem_read(cpu, insn, 1),
	    .carry = carry,
	    .mask = X86_FLAGS_STATUS,
	};

	rmw_operand(cpu, insn, &rmw, update);
}

void sem_add(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, 0, update_add);
}

void sem_adc(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, carry_flag(cpu), update_add);
}

void sem_sub(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, 0, update_sub);
}

void sem_sbb(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, carry_flag(cpu), update_sub);
}

void sem_and(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, 0, update_and);
}

void sem_or(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, 0, update_or);
}

void sem_xor(struct cpu *cpu, const struct x86_insn *insn)
{
	binary(cpu, insn, 0, update_xor);
}

void sem_cmp(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t a = sem_read(cpu, insn, 0), b = sem_read(cpu, insn, 1);

	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_sub(insn->operand[0].size, a, b, 0));
}

void sem_test(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t a = sem_read(cpu, insn, 0), b = sem_read(cpu, insn, 1);

	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_logic(insn->operand[0].size, a & b));
}

/* INC and DEC leave CF alone. */
static void step(struct cpu *cpu, const struct x86_insn *insn, rmw_fn *update)
{
	struct rmw rmw = {
	    .size = insn->operand[0].size,
	    .source = 1,
	    .mask = X86_FLAGS_STATUS & ~X86_FLAG_CF,
	};

	rmw_operand(cpu, insn, &rmw, update);
}

void sem_inc(struct cpu *cpu, const struct x86_insn *insn)
{
	step(cpu, insn, update_add);
}

void sem_dec(struct cpu *cpu, const struct x86_insn *insn)
{
	step(cpu, insn, update_sub);
}

void sem_neg(struct cpu *cpu, const struct x86_insn *insn)
{
	struct rmw rmw = {.size = insn->operand[0].size, .mask = X86_FLAGS_STATUS};

	rmw_operand(cpu, insn, &rmw, update_neg);
}

void sem_not(struct cpu *cpu, const struct x86_insn *insn)
{
	struct rmw rmw = {.size = insn->operand[0].size};

	rmw_operand(cpu, insn, &rmw, update_not);
}

/* ADCX and ADOX: addition with one flag as the whole carry, in and out. */
static void add_with(struct cpu *cpu, const struct x86_insn *insn, uint32_t flag)
{
	unsigned size = insn->operand[0].size;
	uint64_t b = sem_read(cpu, insn, 1), a = sem_read(cpu, insn, 0);
	unsigned carry = !!(sem_flags(cpu) & flag);
	uint32_t flags = flags_add(size, a, b, carry);

	sem_write(cpu, insn, 0, a + b + carry);
	sem_set_flags(cpu, flag, flags & X86_FLAG_CF ? flag : 0);
}

void sem_adcx(struct cpu *cpu, const struct x86_insn *insn)
{
	add_with(cpu, insn, X86_FLAG_CF);
}

void sem_adox(struct cpu *cpu, const struct x86_insn *insn)
{
	add_with(cpu, insn, X86_FLAG_OF);
}
