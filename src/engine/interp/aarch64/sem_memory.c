/* Loads and stores of general registers (DDI 0487 C4.1.68), but for atomic ones: sem_atomic.c.
 */
#include "arch/aarch64/bitmask.h"
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static unsigned size_of(uint32_t insn)
{
	return 1u << (insn >> 30);
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
	const unsigned unused = 64 - 8 * size;

	return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* LDRS*: to 32 bits with bit 22. */
static uint64_t load_signed(struct a64_cpu *cpu, uint32_t insn, uint64_t address)
{
	const uint64_t value = sign_extend(a64_load(cpu, address, size_of(insn)), size_of(insn));

	return insn & 1u << 22 ? (uint32_t)value : value;
}

/* ---- unsigned offset ---- */

static uint64_t address_imm(struct a64_cpu *cpu, uint32_t insn)
{
	return a64_base(cpu, a64_rn(insn)) + ((uint64_t)a64_bits(insn, 10, 12) << (insn >> 30));
}

SEM(str_imm) { a64_store(cpu, address_imm(cpu, insn), size_of(insn), a64_x(&cpu->s, a64_rd(insn))); }
SEM(ldr_imm) { a64_set_x(&cpu->s, a64_rd(insn), a64_load(cpu, address_imm(cpu, insn), size_of(insn))); }
SEM(ldrs_imm) { a64_set_x(&cpu->s, a64_rd(insn), load_signed(cpu, insn, address_imm(cpu, insn))); }

/* ---- register offset ---- */

static uint64_t address_reg(struct a64_cpu *cpu, uint32_t insn)
{
	const uint64_t offset = a64_extend(a64_x(&cpu->s, a64_rm(insn)), a64_bits(insn, 13, 3));

	return a64_base(cpu, a64_rn(insn)) + (insn & 1u << 12 ? offset << (insn >> 30) : offset);
}

SEM(str_reg) { a64_store(cpu, address_reg(cpu, insn), size_of(insn), a64_x(&cpu->s, a64_rd(insn))); }
SEM(ldr_reg) { a64_set_x(&cpu->s, a64_rd(insn), a64_load(cpu, address_reg(cpu, insn), size_of(insn))); }
SEM(ldrs_reg) { a64_set_x(&cpu->s, a64_rd(insn), load_signed(cpu, insn, address_reg(cpu, insn))); }

/* ---- nine bits of offset: unscaled, post- and pre-indexed ---- */

/* The address of the access; *back is what the base becomes, if it does. */
static uint64_t address_9(struct a64_cpu *cpu, uint32_t insn, uint64_t *back)
{
	const uint64_t base = a64_base(cpu, a64_rn(insn));

	*back = base + (uint64_t)a64_sbits(insn, 12, 9);
	return a64_bits(insn, 10, 2) == 1 ? base : *back;
}

static void write_back(struct a64_cpu *cpu, uint32_t insn, uint64_t back)
{
	if (insn & 1u << 10)
		a64_set_xsp(&cpu->s, a64_rn(insn), back);
}

SEM(str_9)
{
	uint64_t back;
	const uint64_t address = address_9(cpu, insn, &back);

	a64_store(cpu, address, size_of(insn), a64_x(&cpu->s, a64_rd(insn)));
	write_back(cpu, insn, back);
}

SEM(ldr_9)
{
	uint64_t back, value;
	const uint64_t address = address_9(cpu, insn, &back);

	value = a64_load(cpu, address, size_of(insn));
	write_back(cpu, insn, back);
	a64_set_x(&cpu->s, a64_rd(insn), value);
}

SEM(ldrs_9)
{
	uint64_t back, value;
	const uint64_t address = address_9(cpu, insn, &back);

	value = load_signed(cpu, insn, address);
	write_back(cpu, insn, back);
	a64_set_x(&cpu->s, a64_rd(insn), value);
}

/* ---- with EL0's rights, unless PSTATE.UAO says otherwise ---- */

static enum a64_tlb_index unprivileged(const struct a64_cpu *cpu)
{
	return cpu->el && (cpu->s.pstate & A64_PSTATE_UAO) ? cpu->rights : A64_TLB_USER;
}

static uint64_t address_unprivileged(struct a64_cpu *cpu, uint32_t insn)
{
	return a64_base(cpu, a64_rn(insn)) + (uint64_t)a64_sbits(insn, 12, 9);
}

SEM(sttr)
{
	a64_store_as(cpu, address_unprivileged(cpu, insn), size_of(insn), a64_x(&cpu->s, a64_rd(insn)), unprivileged(cpu));
}

SEM(ldtr)
{
	a64_set_x(&cpu->s, a64_rd(insn), a64_load_as(cpu, address_unprivileged(cpu, insn), size_of(insn), unprivileged(cpu)));
}

SEM(ldtrs)
{
	const uint64_t value = sign_extend(a64_load_as(cpu, address_unprivileged(cpu, insn), size_of(insn), unprivileged(cpu)), size_of(insn));

	a64_set_x(&cpu->s, a64_rd(insn), insn & 1u << 22 ? (uint32_t)value : value);
}

/* ---- literals and prefetches ---- */

static uint64_t address_literal(const struct a64_cpu *cpu, uint32_t insn)
{
	return cpu->s.pc + (uint64_t)a64_sbits(insn, 5, 19) * 4;
}

SEM(ldr_lit) { a64_set_x(&cpu->s, a64_rd(insn), a64_load(cpu, address_literal(cpu, insn), insn & 1u << 30 ? 8 : 4)); }
SEM(ldrsw_lit) { a64_set_x(&cpu->s, a64_rd(insn), sign_extend(a64_load(cpu, address_literal(cpu, insn), 4), 4)); }

SEM(prfm_lit) {}
SEM(prfm_imm) {}
SEM(prfm_reg) {}
SEM(prfum) {}

/* ---- pairs ---- */

struct pair {
	uint64_t address, back;
	unsigned size;
	bool writes_back;
};

static struct pair pair_of(struct a64_cpu *cpu, uint32_t insn, unsigned size)
{
	const unsigned mode = a64_bits(insn, 23, 2); /* 0 no allocate, 1 post-indexed, 2 offset, 3 pre-indexed */
	const uint64_t base = a64_base(cpu, a64_rn(insn));
	const uint64_t moved = base + (uint64_t)(a64_sbits(insn, 15, 7) * (int64_t)size);

	return (struct pair){.address = mode == 1 ? base : moved, .back = moved, .size = size, .writes_back = mode & 1};
}

static void store_pair(struct a64_cpu *cpu, uint32_t insn)
{
	const struct pair pair = pair_of(cpu, insn, insn >> 31 ? 8 : 4);
	const uint64_t first = a64_x(&cpu->s, a64_rd(insn)), second = a64_x(&cpu->s, a64_ra(insn));

	if (pair.size == 8) {
		a64_store_pair(cpu, pair.address, first, second);
	} else {
		a64_store(cpu, pair.address, 4, (uint32_t)first);
		a64_store(cpu, pair.address + 4, 4, (uint32_t)second);
	}
	if (pair.writes_back)
		a64_set_xsp(&cpu->s, a64_rn(insn), pair.back);
}

static void load_pair(struct a64_cpu *cpu, uint32_t insn, unsigned size, bool is_signed)
{
	const struct pair pair = pair_of(cpu, insn, size);
	uint64_t first = a64_load(cpu, pair.address, size), second = a64_load(cpu, pair.address + size, size);

	if (pair.writes_back)
		a64_set_xsp(&cpu->s, a64_rn(insn), pair.back);
	a64_set_x(&cpu->s, a64_rd(insn), is_signed ? sign_extend(first, 4) : first);
	a64_set_x(&cpu->s, a64_ra(insn), is_signed ? sign_extend(second, 4) : second);
}

SEM(stp) { store_pair(cpu, insn); }
SEM(stnp) { store_pair(cpu, insn); }
SEM(ldp) { load_pair(cpu, insn, insn >> 31 ? 8 : 4, false); }
SEM(ldnp) { load_pair(cpu, insn, insn >> 31 ? 8 : 4, false); }
SEM(ldpsw) { load_pair(cpu, insn, 4, true); }
