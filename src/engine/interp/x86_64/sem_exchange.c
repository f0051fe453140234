/* XCHG, XADD and the compare-and-exchange family. */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include "engine/interp/x86_64/rmw.h"
#include "engine/interp/x86_64/sem_integer.h"
#include <string.h>

static uint64_t update_replace(struct rmw *rmw, uint64_t old)
{
	return rmw->source;
}

/* With memory it is locked, prefix or not. */
void sem_xchg(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned memory = insn->operand[1].kind == X86_OPND_MEM;
	struct rmw rmw = {.size = insn->operand[0].size};

	if (insn->operand[memory].kind != X86_OPND_MEM) {
		uint64_t a = sem_read(cpu, insn, 0), b = sem_read(cpu, insn, 1);

		sem_write(cpu, insn, 0, b);
		sem_write(cpu, insn, 1, a);
		return;
	}
	rmw.source = sem_read(cpu, insn, !memory);
	rmw_memory(cpu, insn->mem.seg, sem_offset(cpu, insn), true, &rmw, update_replace);
	sem_write(cpu, insn, !memory, rmw.old);
}

static uint64_t update_add(struct rmw *rmw, uint64_t old)
{
	rmw->flags = flags_add(rmw->size, old, rmw->source, 0);
	return old + rmw->source;
}

void sem_xadd(struct cpu *cpu, const struct x86_insn *insn)
{
	struct rmw rmw = {
	    .size = insn->operand[0].size,
	    .source = sem_read(cpu, insn, 1),
	    .mask = X86_FLAGS_STATUS,
	};

	if (insn->operand[0].kind == X86_OPND_MEM) {
		rmw_operand(cpu, insn, &rmw, update_add);
		sem_write(cpu, insn, 1, rmw.old);
		return;
	}
	/* The sum is written last: XADD of a register with itself doubles it. */
	uint64_t a = sem_read(cpu, insn, 0);

	sem_write(cpu, insn, 1, a);
	sem_write(cpu, insn, 0, update_add(&rmw, a));
	sem_set_flags(cpu, rmw.mask, rmw.flags);
}

/* A destination that does not match keeps its value: memory gets it written back, a register is not
 * written at all (its upper half stays under a 32-bit operation). */
void sem_cmpxchg(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t accumulator = gpr_read(cpu, X86_RAX, size);
	uint64_t desired = sem_read(cpu, insn, 1);
	uint64_t found;
	bool equal;

	if (insn->operand[0].kind == X86_OPND_MEM) {
		uint64_t offset = sem_offset(cpu, insn);

		found = accumulator;
		equal = sem_cas(cpu, insn->mem.seg, offset, size, &found, &desired);
		if (equal)
			found = accumulator;
	} else {
		found = sem_read(cpu, insn, 0);
		equal = found == accumulator;
		if (equal)
			sem_write(cpu, insn, 0, desired);
	}
	if (!equal)
		gpr_write(cpu, X86_RAX, size, found);
	sem_set_flags(cpu, X86_FLAGS_STATUS, flags_sub(size, accumulator, found, 0));
}

/* rDX:rAX against memory, rCX:rBX into it; size is that of one half. */
static void compare_exchange_pair(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	uint64_t offset = sem_offset(cpu, insn);
	uint64_t half[2] = {gpr_read(cpu, X86_RAX, size), gpr_read(cpu, X86_RDX, size)};
	uint64_t desired[2] = {gpr_read(cpu, X86_RBX, size), gpr_read(cpu, X86_RCX, size)};
	uint8_t expected_bytes[16], desired_bytes[16];
	bool equal;

	for (unsigned i = 0; i < 2; i++) {
		memcpy(expected_bytes + i * size, &half[i], size);
		memcpy(desired_bytes + i * size, &desired[i], size);
	}
	equal = sem_cas(cpu, insn->mem.seg, offset, 2 * size, expected_bytes, desired_bytes);
	if (!equal) {
		half[0] = half[1] = 0;
		memcpy(&half[0], expected_bytes, size);
		memcpy(&half[1], expected_bytes + size, size);
		gpr_write(cpu, X86_RAX, size, half[0]);
		gpr_write(cpu, X86_RDX, size, half[1]);
	}
	sem_set_flags(cpu, X86_FLAG_ZF, equal ? X86_FLAG_ZF : 0);
}

void sem_cmpxchg8b(struct cpu *cpu, const struct x86_insn *insn)
{
	compare_exchange_pair(cpu, insn, 4);
}

void sem_cmpxchg16b(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->mem.seg;
	uint64_t base =
	    seg >= X86_FS ? cpu->s.seg[seg].base : 0; /* 64-bit mode: the others are zero */

	if ((base + sem_offset(cpu, insn)) & 15)
		raise_error(cpu, X86_EXC_GP, 0);
	compare_exchange_pair(cpu, insn, 8);
}
