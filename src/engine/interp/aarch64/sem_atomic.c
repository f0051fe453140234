/* Exclusive, ordered and atomic accesses (DDI 0487 B2.9, C4.1.68).
 *
 * The exclusive monitor remembers what was loaded: a store-exclusive succeeds if memory has the same value still, by the host's
 * compare-and-swap. (A value that was changed and changed back in between is not noticed.) Ordered accesses are followed or preceded by the
 * host's fences where its memory model is weaker than what they promise.
 */
#include "engine/interp/aarch64/cpu.h"
#include "engine/interp/cas.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static unsigned size_of(uint32_t insn)
{
	return 1u << (insn >> 30);
}

static void fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/* ---- exclusives ---- */

static void read_host(const void *at, unsigned size, uint64_t value[2])
{
	value[0] = value[1] = 0;
	switch (size) {
	case 1:
		value[0] = atomic_load((const _Atomic uint8_t *)at);
		break;
	case 2:
		value[0] = atomic_load((const _Atomic uint16_t *)at);
		break;
	case 4:
		value[0] = atomic_load((const _Atomic uint32_t *)at);
		break;
	case 8:
		value[0] = atomic_load((const _Atomic uint64_t *)at);
		break;
	default: {
		const uint64_t zero[2] = {0, 0};

		/* A compare-and-swap of nothing for nothing reads both halves at once. Its page must be writable to the host, as RAM is. */
		(void)sem_cas_host((void *)at, 16, value, zero);
		break;
	}
	}
}

static void load_exclusive(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value[2])
{
	const void *at = a64_atomic_at(cpu, address, size, false, &cpu->exclusive_gpa);

	read_host(at, size, value);
	cpu->exclusive_value[0] = value[0];
	cpu->exclusive_value[1] = value[1];
	cpu->exclusive_size = (uint8_t)size;
	cpu->exclusive = true;
}

/* The status that goes to Ws: 0 if it stored. */
static unsigned store_exclusive(struct a64_cpu *cpu, uint64_t address, unsigned size, const uint64_t value[2])
{
	uint64_t gpa, expected[2] = {cpu->exclusive_value[0], cpu->exclusive_value[1]};
	void *at = a64_atomic_at(cpu, address, size, true, &gpa);
	const bool held = cpu->exclusive && cpu->exclusive_gpa == gpa && cpu->exclusive_size == size;

	cpu->exclusive = false;
	return !(held && sem_cas_host(at, size, expected, value));
}

SEM(ldxr)
{
	uint64_t value[2];

	load_exclusive(cpu, a64_base(cpu, a64_rn(insn)), size_of(insn), value);
	a64_set_x(&cpu->s, a64_rd(insn), value[0]);
}

SEM(stxr)
{
	const uint64_t value[2] = {a64_x(&cpu->s, a64_rd(insn)), 0};

	a64_set_x(&cpu->s, a64_rm(insn), store_exclusive(cpu, a64_base(cpu, a64_rn(insn)), size_of(insn), value));
}

SEM(ldxp)
{
	const bool wide = insn & 1u << 30;
	uint64_t value[2];

	load_exclusive(cpu, a64_base(cpu, a64_rn(insn)), wide ? 16 : 8, value);
	a64_set_x(&cpu->s, a64_rd(insn), wide ? value[0] : (uint32_t)value[0]);
	a64_set_x(&cpu->s, a64_ra(insn), wide ? value[1] : value[0] >> 32);
}

SEM(stxp)
{
	const bool wide = insn & 1u << 30;
	const uint64_t low = a64_x(&cpu->s, a64_rd(insn)), high = a64_x(&cpu->s, a64_ra(insn));
	const uint64_t value[2] = {wide ? low : (uint32_t)low | high << 32, wide ? high : 0};

	a64_set_x(&cpu->s, a64_rm(insn), store_exclusive(cpu, a64_base(cpu, a64_rn(insn)), wide ? 16 : 8, value));
}

SEM(clrex) { cpu->exclusive = false; }

/* ---- ordered ---- */

static void check_aligned(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write)
{
	if (address & (size - 1))
		a64_raise_far(cpu, A64_EC_DATA_LOWER + (cpu->el ? 1 : 0), (write ? 1u << 6 : 0) | A64_FAULT_ALIGNMENT, address);
}

SEM(ldar)
{
	const uint64_t address = a64_base(cpu, a64_rn(insn));
	uint64_t value;

	check_aligned(cpu, address, size_of(insn), false);
	value = a64_load(cpu, address, size_of(insn));
	atomic_thread_fence(memory_order_acquire);
	a64_set_x(&cpu->s, a64_rd(insn), value);
}

SEM(ldapr) { a64_sem_ldar(cpu, insn); }

SEM(stlr)
{
	const uint64_t address = a64_base(cpu, a64_rn(insn));

	check_aligned(cpu, address, size_of(insn), true);
	atomic_thread_fence(memory_order_release);
	a64_store(cpu, address, size_of(insn), a64_x(&cpu->s, a64_rd(insn)));
	fence();
}

/* ---- compare and swap ---- */

SEM(cas)
{
	const unsigned size = size_of(insn);
	uint64_t expected = a64_x(&cpu->s, a64_rm(insn));
	const uint64_t desired = a64_x(&cpu->s, a64_rd(insn));
	void *at = a64_atomic_at(cpu, a64_base(cpu, a64_rn(insn)), size, true, NULL);

	(void)sem_cas_host(at, size, &expected, &desired);
	a64_set_x(&cpu->s, a64_rm(insn), size == 8 ? expected : expected & ((1ull << 8 * size) - 1));
}

SEM(casp)
{
	struct a64_state *s = &cpu->s;
	const bool wide = insn & 1u << 30;
	const unsigned compare = a64_rm(insn), data = a64_rd(insn);
	uint64_t expected[2], desired[2];
	void *at;

	if ((compare | data) & 1)
		a64_undefined(cpu);
	at = a64_atomic_at(cpu, a64_base(cpu, a64_rn(insn)), wide ? 16 : 8, true, NULL);
	expected[0] = a64_x(s, compare);
	expected[1] = a64_x(s, compare + 1);
	desired[0] = a64_x(s, data);
	desired[1] = a64_x(s, data + 1);
	if (wide) {
		(void)sem_cas_host(at, 16, expected, desired);
	} else {
		uint64_t joined = (uint32_t)expected[0] | expected[1] << 32;
		const uint64_t put = (uint32_t)desired[0] | desired[1] << 32;

		(void)sem_cas_host(at, 8, &joined, &put);
		expected[0] = (uint32_t)joined;
		expected[1] = joined >> 32;
	}
	a64_set_x(s, compare, expected[0]);
	a64_set_x(s, compare + 1, expected[1]);
}

/* ---- read, modify, write ---- */

enum atomic_op { OP_ADD, OP_CLR, OP_EOR, OP_SET, OP_SMAX, OP_SMIN, OP_UMAX, OP_UMIN, OP_SWP };

static int64_t sign_extend(uint64_t value, unsigned size)
{
	return (int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size);
}

static uint64_t apply(enum atomic_op op, uint64_t old, uint64_t operand, unsigned size)
{
	const int64_t a = sign_extend(old, size), b = sign_extend(operand, size);

	switch (op) {
	case OP_ADD: return old + operand;
	case OP_CLR: return old & ~operand;
	case OP_EOR: return old ^ operand;
	case OP_SET: return old | operand;
	case OP_SMAX: return a > b ? old : operand;
	case OP_SMIN: return a < b ? old : operand;
	case OP_UMAX: return old > operand ? old : operand;
	case OP_UMIN: return old < operand ? old : operand;
	default: return operand;
	}
}

static void modify(struct a64_cpu *cpu, uint32_t insn, enum atomic_op op)
{
	const unsigned size = size_of(insn);
	const uint64_t mask = size == 8 ? ~0ull : (1ull << 8 * size) - 1;
	const uint64_t operand = a64_x(&cpu->s, a64_rm(insn)) & mask;
	void *at = a64_atomic_at(cpu, a64_base(cpu, a64_rn(insn)), size, true, NULL);
	uint64_t old[2], put;

	read_host(at, size, old);
	do
		put = apply(op, old[0], operand, size) & mask;
	while (!sem_cas_host(at, size, &old[0], &put));
	a64_set_x(&cpu->s, a64_rd(insn), old[0]);
}

SEM(ldadd) { modify(cpu, insn, OP_ADD); }
SEM(ldclr) { modify(cpu, insn, OP_CLR); }
SEM(ldeor) { modify(cpu, insn, OP_EOR); }
SEM(ldset) { modify(cpu, insn, OP_SET); }
SEM(ldsmax) { modify(cpu, insn, OP_SMAX); }
SEM(ldsmin) { modify(cpu, insn, OP_SMIN); }
SEM(ldumax) { modify(cpu, insn, OP_UMAX); }
SEM(ldumin) { modify(cpu, insn, OP_UMIN); }
SEM(swp) { modify(cpu, insn, OP_SWP); }
