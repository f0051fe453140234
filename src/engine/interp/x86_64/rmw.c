/* Read-modify-write of operand 0. See rmw.h. */
#include "engine/interp/x86_64/rmw.h"

void rmw_memory(struct cpu *cpu, unsigned seg, uint64_t offset, bool locked, struct rmw *rmw,
		rmw_fn *update)
{
	uint64_t value;

	/* A page that can't be written faults as a write, although it is read first. */
	sem_probe_store(cpu, seg, offset, rmw->size);
	rmw->old = sem_load_int(cpu, seg, offset, rmw->size);
	if (locked) {
		do
			value = update(rmw, rmw->old);
		while (!sem_cas(cpu, seg, offset, rmw->size, &rmw->old, &value));
	} else {
		value = update(rmw, rmw->old);
		sem_store_int(cpu, seg, offset, rmw->size, value);
	}
	sem_set_flags(cpu, rmw->mask, rmw->flags);
}

void rmw_operand(struct cpu *cpu, const struct x86_insn *insn, struct rmw *rmw, rmw_fn *update)
{
	uint64_t value;

	if (insn->prefixes & X86_PFX_LOCK) {
		/* The decoder lets LOCK through with a memory operand only. */
		rmw_memory(cpu, insn->mem.seg, sem_offset(cpu, insn), true, rmw, update);
		return;
	}
	rmw->old = sem_read_for_write(cpu, insn, 0);
	value = update(rmw, rmw->old);
	sem_write(cpu, insn, 0, value);
	sem_set_flags(cpu, rmw->mask, rmw->flags);
}
