/* Breakpoints, watchpoints and steps of a debugger (core/debug.h) in the interpreter, and for the translator, which leaves what they
 * need to it.
 *
 * Breakpoints: no decoded block goes beyond an address at whose page offset there is one, so the run loop stands before each such
 * address once, and compares. Watchpoints: their pages are in no TLB, so every access to them comes to mmu.c and from there here. The
 * instruction that does it starts again alone (`debug_alone`): then the access is noted, and when it is complete the engine is left.
 */
#include "core/debug.h"
#include "engine/interp/x86_64/cpu.h"

gva_t cpu_linear_rip(const struct cpu *cpu)
{
	return cpu->mode == X86_MODE_64 ? cpu->s.rip : (cpu->s.seg[X86_CS].base + cpu->s.rip) & 0xffffffffull;
}

void cpu_debug_update(struct cpu *cpu)
{
	const struct debug *debug = cpu->vm->debug;
	bool watched = cpu->watching;
	const struct debug_point *points;

	cpu->debug_step = debug_steps(debug, cpu->vcpu);
	cpu->debug = debug_points(debug, &points) || cpu->debug_step ? debug : NULL;
	cpu->watching = debug_has_watches(debug);
	cpu->debug_stepped = cpu->watch_alone = false;
	cpu->watch_hit = NULL;
	/* Blocks end, and TLBs have holes, where the points are now. */
	block_cache_flush(cpu);
	if (watched || cpu->watching)
		cpu_flush(cpu);
}

void cpu_watch(struct cpu *cpu, gva_t gva, unsigned len, bool write, bool probe)
{
	const struct debug_point *point = debug_watch_at(cpu->debug, gva, len, write);

	if (!point)
		return;
	/* Nothing of the instruction is done, or it could not fault here. (The delivery of an event can't be started again.) */
	if (!cpu->debug_alone && cpu->delivering < 0) {
		cpu->watch_alone = true;
		cpu_restart(cpu);
	}
	if (!probe && !cpu->watch_hit)
		cpu->watch_hit = point;
}

static bool leave(struct cpu *cpu, enum debug_cause cause, const struct debug_point *point)
{
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_DEBUG, .debug = {.cause = cause}};
	if (point)
		cpu->exit->debug.point = *point;
	return true;
}

bool cpu_debug_after(struct cpu *cpu)
{
	const struct debug_point *hit = cpu->watch_hit;
	bool stepped = cpu->debug_stepped;

	if (!hit && !stepped)
		return false;
	cpu->watch_hit = NULL;
	cpu->debug_stepped = false;
	return leave(cpu, hit ? DEBUG_HIT : DEBUG_STEPPED, hit);
}

bool cpu_debug_before(struct cpu *cpu)
{
	const struct debug_point *point = cpu->debug_step ? NULL : debug_break_at(cpu->debug, cpu_linear_rip(cpu));

	return point && leave(cpu, DEBUG_HIT, point);
}

/* What would end the HLT ends it; it stays pending. */
static void look_at_halt(struct cpu *cpu)
{
	struct vcpu *vcpu = cpu->vcpu;

	if (vcpu_take_request(vcpu, VCPU_REQ_NMI))
		cpu->s.nmi_pending = true;
	if (cpu->s.nmi_pending && !cpu->s.nmi_blocked)
		cpu->s.activity = X86_ACTIVE;
	if (!vcpu_take_request(vcpu, VCPU_REQ_IRQ) || !cpu->vm->irq_ops || cpu->vm->irq_ops->pending(vcpu) < 0)
		return;
	cpu->irq_blocked = true; /* looked at again when IF is set, or by cpu_irq_enabled() */
	if (cpu->s.rflags & X86_FLAG_IF) {
		cpu->s.activity = X86_ACTIVE;
		cpu_irq_enabled(cpu);
	}
}

bool cpu_debug_requests(struct cpu *cpu, uint32_t of_engine)
{
	if (atomic_load(&cpu->vcpu->request) & ~of_engine)
		return true;
	if (vcpu_take_request(cpu->vcpu, VCPU_REQ_FLUSH))
		tlb_flush_writes(cpu);
	vcpu_take_request(cpu->vcpu, VCPU_REQ_TIMER);
	if (cpu->s.activity == X86_ACTIVITY_HLT)
		look_at_halt(cpu);
	return false;
}
