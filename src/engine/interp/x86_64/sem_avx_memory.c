/* AVX memory accesses by element: masked moves and gathers.
 *
 * Masked-off elements are not accessed and cannot fault. A masked store checks all its elements before it
 * stores the first. A gather may stop at a fault between elements: those before it are in the destination
 * and their mask is cleared, so that the restarted instruction goes on behind them (SDM 2, VGATHERDPS).
 *
 * Example: `vpmaskmovd [mem], ymm1, ymm2` stores the doublewords of ymm2 whose sign bit in ymm1 is set.
 */
#include "engine/interp/x86_64/cpu.h"
#include "engine/interp/x86_64/vec.h"
#include <string.h>

static bool masked_on(const union vec *mask, unsigned element, unsigned size)
{
	return mask[element * size / 16].s8[(element * size + size - 1) % 16] < 0;
}

static uint64_t address_limit(const struct x86_insn *insn)
{
	return insn->addrsize == 8 ? ~0ull : (1ull << (8 * insn->addrsize)) - 1;
}

/* ---- masked moves ---- */
static void masked_load(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	struct vec_pair d = { 0 };
	const unsigned count = insn->vl / size;
	const uint64_t limit = address_limit(insn), start = sem_offset(cpu, insn);
	const union vec *mask = vec_register(cpu, insn->operand[1].reg);

	for (unsigned i = 0; i < count; i++)
		if (masked_on(mask, i, size))
			sem_load(cpu, insn->mem.seg, (start + i * size) & limit, &d.half[i * size / 16].u8[i * size % 16],
				 size);
	vec_write(cpu, insn, 0, d.half);
}

static void masked_store(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	const unsigned count = insn->vl / size;
	const uint64_t limit = address_limit(insn), start = sem_offset(cpu, insn);
	const union vec *mask = vec_register(cpu, insn->operand[1].reg);
	const union vec *data = vec_register(cpu, insn->operand[2].reg);

	for (unsigned i = 0; i < count; i++)
		if (masked_on(mask, i, size))
			sem_probe_store(cpu, insn->mem.seg, (start + i * size) & limit, size);
	for (unsigned i = 0; i < count; i++)
		if (masked_on(mask, i, size))
			sem_store(cpu, insn->mem.seg, (start + i * size) & limit,
				  &data[i * size / 16].u8[i * size % 16], size);
}

static void masked_move(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	vec_gate(cpu, insn);
	if (insn->operand[0].kind == X86_OPND_MEM)
		masked_store(cpu, insn, size);
	else
		masked_load(cpu, insn, size);
}
VEC_SEM(VMASKMOVPS, masked_move, 4)
VEC_SEM(VMASKMOVPD, masked_move, 8)

/* ---- gathers ---- */
static int64_t gather_index(const union vec *index, unsigned element, unsigned size)
{
	return size == 4 ? (int64_t)index[element / 4].s32[element % 4] : index[element / 2].s64[element % 2];
}

static void gather(struct cpu *cpu, const struct x86_insn *insn, unsigned index_size, unsigned size)
{
	const unsigned dst = insn->operand[0].reg, mask_reg = insn->operand[2].reg;
	const unsigned wider = size > index_size ? size : index_size;
	const unsigned count = insn->vl / wider;
	const uint64_t limit = address_limit(insn);
	const struct x86_mem *mem = &insn->mem;

	if (dst == mem->index || dst == mask_reg || mask_reg == mem->index)
		raise_exception(cpu, X86_EXC_UD);
	vec_gate(cpu, insn);
	union vec *d = vec_register(cpu, dst), *mask = vec_register(cpu, mask_reg);
	const union vec *index = vec_register(cpu, mem->index);

	/* Sign bits fill their elements before anything is loaded, which a fault lets the guest see. */
	for (unsigned i = 0; i < count; i++)
		memset(&mask[i * size / 16].u8[i * size % 16], masked_on(mask, i, size) ? 0xff : 0, size);
	for (unsigned i = 0; i < count; i++) {
		if (!masked_on(mask, i, size))
			continue;
		const uint64_t base = mem->base == X86_REG_NONE ? 0 : cpu_state(cpu)->gpr[mem->base];
		const uint64_t offset =
			base + (uint64_t)mem->disp + (uint64_t)gather_index(index, i, index_size) * mem->scale;
		sem_load(cpu, mem->seg, offset & limit, &d[i * size / 16].u8[i * size % 16], size);
		memset(&mask[i * size / 16].u8[i * size % 16], 0, size);
		cpu_commit_iteration(cpu);
	}
	/* The whole mask, and what is beyond the elements in both. */
	memset(mask, 0, sizeof(struct vec_pair));
	memset((uint8_t *)d + count * size, 0, sizeof(struct vec_pair) - count * size);
}
VEC_SEM(VPGATHERDD, gather, 4, 4)
VEC_SEM(VPGATHERDQ, gather, 4, 8)
VEC_SEM(VPGATHERQD, gather, 8, 4)
VEC_SEM(VPGATHERQQ, gather, 8, 8)

const struct sem_entry sem_avx_memory[] = {
	{ X86_VMASKMOVPS, sem_VMASKMOVPS },
	{ X86_VPMASKMOVD, sem_VMASKMOVPS },
	{ X86_VMASKMOVPD, sem_VMASKMOVPD },
	{ X86_VPMASKMOVQ, sem_VMASKMOVPD },
	{ X86_VPGATHERDD, sem_VPGATHERDD },
	{ X86_VGATHERDPS, sem_VPGATHERDD },
	{ X86_VPGATHERDQ, sem_VPGATHERDQ },
	{ X86_VGATHERDPD, sem_VPGATHERDQ },
	{ X86_VPGATHERQD, sem_VPGATHERQD },
	{ X86_VGATHERQPS, sem_VPGATHERQD },
	{ X86_VPGATHERQQ, sem_VPGATHERQQ },
	{ X86_VGATHERQPD, sem_VPGATHERQQ },
	{ 0, NULL },
};
