/* Loads and stores of SIMD&FP registers (DDI 0487 C4.1.68): one, pairs, structures.
 */
#include "arch/aarch64/bitmask.h"
#include "base/string.h"
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* log2 of the bytes of one register: B, H, S, D by bits 31:30, Q by bit 23. */
static unsigned scale_of(uint32_t insn)
{
	return insn & 1u << 23 ? 4 : insn >> 30;
}

/* What is not loaded becomes zero. */
static void load(struct a64_cpu *cpu, unsigned t, uint64_t address, unsigned scale, uint64_t *back, unsigned n)
{
	union a64_vreg value = {.d = {0, 0}};

	if (scale == 4)
		a64_load16(cpu, address, &value);
	else
		value.d[0] = a64_load(cpu, address, 1u << scale);
	if (back)
		a64_set_xsp(&cpu->s, n, *back);
	cpu->s.v[t] = value;
}

static void store(struct a64_cpu *cpu, unsigned t, uint64_t address, unsigned scale)
{
	const union a64_vreg *value = &cpu->s.v[t];

	switch (scale) {
	case 0: a64_store(cpu, address, 1, value->b[0]); break;
	case 1: a64_store(cpu, address, 2, value->h[0]); break;
	case 2: a64_store(cpu, address, 4, value->s[0]); break;
	case 3: a64_store(cpu, address, 8, value->d[0]); break;
	default: a64_store16(cpu, address, value); break;
	}
}

/* ---- one register ---- */

static uint64_t address_imm(struct a64_cpu *cpu, uint32_t insn)
{
	return a64_base(cpu, a64_rn(insn)) + ((uint64_t)a64_bits(insn, 10, 12) << scale_of(insn));
}

SEM(vstr_imm) { store(cpu, a64_rd(insn), address_imm(cpu, insn), scale_of(insn)); }
SEM(vldr_imm) { load(cpu, a64_rd(insn), address_imm(cpu, insn), scale_of(insn), NULL, 0); }

static uint64_t address_reg(struct a64_cpu *cpu, uint32_t insn)
{
	const uint64_t offset = a64_extend(a64_x(&cpu->s, a64_rm(insn)), a64_bits(insn, 13, 3));

	return a64_base(cpu, a64_rn(insn)) + (insn & 1u << 12 ? offset << scale_of(insn) : offset);
}

SEM(vstr_reg) { store(cpu, a64_rd(insn), address_reg(cpu, insn), scale_of(insn)); }
SEM(vldr_reg) { load(cpu, a64_rd(insn), address_reg(cpu, insn), scale_of(insn), NULL, 0); }

static uint64_t address_9(struct a64_cpu *cpu, uint32_t insn, uint64_t *back)
{
	const uint64_t base = a64_base(cpu, a64_rn(insn));

	*back = base + (uint64_t)a64_sbits(insn, 12, 9);
	return a64_bits(insn, 10, 2) == 1 ? base : *back;
}

SEM(vstr_9)
{
	uint64_t back;
	const uint64_t address = address_9(cpu, insn, &back);

	store(cpu, a64_rd(insn), address, scale_of(insn));
	if (insn & 1u << 10)
		a64_set_xsp(&cpu->s, a64_rn(insn), back);
}

SEM(vldr_9)
{
	uint64_t back;
	const uint64_t address = address_9(cpu, insn, &back);

	load(cpu, a64_rd(insn), address, scale_of(insn), insn & 1u << 10 ? &back : NULL, a64_rn(insn));
}

SEM(vldr_lit)
{
	load(cpu, a64_rd(insn), cpu->s.pc + (uint64_t)a64_sbits(insn, 5, 19) * 4, 2 + (insn >> 30), NULL, 0);
}

/* ---- pairs ---- */

static uint64_t pair_address(struct a64_cpu *cpu, uint32_t insn, unsigned scale, uint64_t *back)
{
	const uint64_t base = a64_base(cpu, a64_rn(insn));

	*back = base + ((uint64_t)a64_sbits(insn, 15, 7) << scale);
	return a64_bits(insn, 23, 2) == 1 ? base : *back;
}

SEM(vstp)
{
	const unsigned scale = 2 + (insn >> 30);
	uint64_t back;
	const uint64_t address = pair_address(cpu, insn, scale, &back);

	store(cpu, a64_rd(insn), address, scale);
	store(cpu, a64_ra(insn), address + (1u << scale), scale);
	if (insn & 1u << 23)
		a64_set_xsp(&cpu->s, a64_rn(insn), back);
}

SEM(vldp)
{
	const unsigned scale = 2 + (insn >> 30);
	uint64_t back;
	const uint64_t address = pair_address(cpu, insn, scale, &back);
	union a64_vreg first = {.d = {0, 0}};

	if (scale == 4)
		a64_load16(cpu, address, &first);
	else
		first.d[0] = a64_load(cpu, address, 1u << scale);
	load(cpu, a64_ra(insn), address + (1u << scale), scale, insn & 1u << 23 ? &back : NULL, a64_rn(insn));
	cpu->s.v[a64_rd(insn)] = first;
}

/* ---- structures ---- */

static uint64_t element(const union a64_vreg *v, unsigned index, unsigned scale)
{
	switch (scale) {
	case 0: return v->b[index];
	case 1: return v->h[index];
	case 2: return v->s[index];
	default: return v->d[index];
	}
}

static void set_element(union a64_vreg *v, unsigned index, unsigned scale, uint64_t value)
{
	memcpy(v->b + ((size_t)index << scale), &value, (size_t)1 << scale);
}

/* Where a post-indexed form leaves its base: by Rm, or past what was accessed. */
static void post_index(struct a64_cpu *cpu, uint32_t insn, uint64_t base, unsigned bytes)
{
	if (insn & 1u << 23)
		a64_set_xsp(&cpu->s, a64_rn(insn), base + (a64_rm(insn) == 31 ? bytes : cpu->s.x[a64_rm(insn)]));
}

/* How registers are filled: `registers` in turn, each of `structure` together element by element. */
struct shape {
	unsigned registers, structure;
};

static struct shape shape_of(struct a64_cpu *cpu, uint32_t insn)
{
	static const struct shape shapes[16] = {
		[0] = {4, 4}, [2] = {4, 1}, [4] = {3, 3}, [6] = {3, 1}, [7] = {1, 1}, [8] = {2, 2}, [10] = {2, 1},
	};
	const struct shape shape = shapes[a64_bits(insn, 12, 4)];

	if (!shape.registers || (shape.structure > 1 && a64_bits(insn, 10, 2) == 3 && !a64_bits(insn, 30, 1)))
		a64_undefined(cpu);
	return shape;
}

/* Calls once for each element in the order of memory. */
#define EACH_ELEMENT(shape, elements, r, e)                                                                                            \
	for (unsigned group = 0; group < (shape).registers; group += (shape).structure)                                                \
		for (unsigned e = 0; e < (elements); e++)                                                                              \
			for (unsigned r = group; r < group + (shape).structure; r++)

/* Whole registers of 8 or 16 bytes next to each other in memory that a64_ram_at() found; the rest of what is loaded is zero already. */
static void load_registers(union a64_vreg *values, const uint8_t *ram, unsigned count, unsigned bytes)
{
	for (unsigned r = 0; r < count; r++) {
		memcpy(&values[r].d[0], ram + r * bytes, 8);
		if (bytes == 16)
			memcpy(&values[r].d[1], ram + r * 16 + 8, 8);
	}
}

static void store_registers(const struct a64_cpu *cpu, unsigned first, uint8_t *ram, unsigned count, unsigned bytes)
{
	for (unsigned r = 0; r < count; r++) {
		const union a64_vreg *value = &cpu->s.v[(first + r) & 31];

		memcpy(ram + r * bytes, &value->d[0], 8);
		if (bytes == 16)
			memcpy(ram + r * 16 + 8, &value->d[1], 8);
	}
}

SEM(ld_multiple)
{
	const struct shape shape = shape_of(cpu, insn);
	const unsigned scale = a64_bits(insn, 10, 2), bytes = 8u << a64_bits(insn, 30, 1), elements = bytes >> scale;
	const uint64_t base = a64_base(cpu, a64_rn(insn));
	union a64_vreg values[4] = {{.d = {0, 0}}};
	uint64_t address = base;
	const uint8_t *ram = shape.structure == 1 ? a64_ram_at(cpu, base, bytes * shape.registers, false) : NULL;

	if (ram) {
		load_registers(values, ram, shape.registers, bytes);
	} else {
		EACH_ELEMENT(shape, elements, r, e)
		{
			set_element(&values[r], e, scale, a64_load(cpu, address, 1u << scale));
			address += 1u << scale;
		}
	}
	post_index(cpu, insn, base, bytes * shape.registers);
	for (unsigned r = 0; r < shape.registers; r++)
		cpu->s.v[(a64_rd(insn) + r) & 31] = values[r];
}

SEM(st_multiple)
{
	const struct shape shape = shape_of(cpu, insn);
	const unsigned scale = a64_bits(insn, 10, 2), bytes = 8u << a64_bits(insn, 30, 1), elements = bytes >> scale;
	const uint64_t base = a64_base(cpu, a64_rn(insn));
	uint64_t address = base;
	uint8_t *ram = shape.structure == 1 ? a64_ram_at(cpu, base, bytes * shape.registers, true) : NULL;

	if (ram) {
		store_registers(cpu, a64_rd(insn), ram, shape.registers, bytes);
	} else {
		EACH_ELEMENT(shape, elements, r, e)
		{
			a64_store(cpu, address, 1u << scale, element(&cpu->s.v[(a64_rd(insn) + r) & 31], e, scale));
			address += 1u << scale;
		}
	}
	post_index(cpu, insn, base, bytes * shape.registers);
}

/* One element of each register of a structure. */
struct single {
	unsigned registers, scale, index;
	bool replicates;
};

static struct single single_of(struct a64_cpu *cpu, uint32_t insn)
{
	const unsigned opcode = a64_bits(insn, 13, 3), s = a64_bits(insn, 12, 1), size = a64_bits(insn, 10, 2), q = a64_bits(insn, 30, 1);
	struct single single = {.registers = (opcode & 1) * 2 + a64_bits(insn, 21, 1) + 1, .scale = opcode >> 1};

	switch (single.scale) {
	case 0:
		single.index = q << 3 | s << 2 | size;
		break;
	case 1:
		if (size & 1)
			a64_undefined(cpu);
		single.index = q << 2 | s << 1 | size >> 1;
		break;
	case 2:
		if (size & 2 || (size == 1 && s))
			a64_undefined(cpu);
		single.scale += size;
		single.index = size ? q : q << 1 | s;
		break;
	default:
		if (s || !(insn & 1u << 22))
			a64_undefined(cpu);
		single.scale = size;
		single.replicates = true;
		break;
	}
	return single;
}

SEM(ld_single)
{
	const struct single single = single_of(cpu, insn);
	const unsigned size = 1u << single.scale, bytes = 8u << a64_bits(insn, 30, 1);
	const uint64_t base = a64_base(cpu, a64_rn(insn));
	uint64_t values[4];

	for (unsigned r = 0; r < single.registers; r++)
		values[r] = a64_load(cpu, base + r * size, size);
	post_index(cpu, insn, base, single.registers * size);
	for (unsigned r = 0; r < single.registers; r++) {
		union a64_vreg *v = &cpu->s.v[(a64_rd(insn) + r) & 31];

		if (!single.replicates) {
			set_element(v, single.index, single.scale, values[r]);
			continue;
		}
		*v = (union a64_vreg){.d = {0, 0}};
		for (unsigned e = 0; e < bytes >> single.scale; e++)
			set_element(v, e, single.scale, values[r]);
	}
}

SEM(st_single)
{
	const struct single single = single_of(cpu, insn);
	const unsigned size = 1u << single.scale;
	const uint64_t base = a64_base(cpu, a64_rn(insn));

	for (unsigned r = 0; r < single.registers; r++)
		a64_store(cpu, base + r * size, size, element(&cpu->s.v[(a64_rd(insn) + r) & 31], single.index, single.scale));
	post_index(cpu, insn, base, single.registers * size);
}
