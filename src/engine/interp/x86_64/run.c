/* The run loop: events, requests, then blocks; and the ways out of the middle of an instruction.
 */
#include "engine/interp/x86_64/cpu.h"
#include "base/string.h"
#include "core/debug.h"
#include "core/trace.h"
#include "engine/interp/x86_64/lazy.h"
#include "engine/interp/x86_64/run.h"

#define REQUESTS_OF_ENGINE (VCPU_REQ_IRQ | VCPU_REQ_NMI | VCPU_REQ_FLUSH | VCPU_REQ_TIMER)

struct x86_state *cpu_state(struct cpu *cpu)
{
	return &cpu->s;
}

/* ---- derived state ---- */

void cpu_update_mode(struct cpu *cpu)
{
	const struct x86_state *s = &cpu->s;
	bool protected_mode = s->cr0 & X86_CR0_PE, vm86 = s->rflags & X86_FLAG_VM;
	bool align = (s->cr0 & X86_CR0_AM) && (s->rflags & X86_FLAG_AC);
	bool breakpoints = s->dr7 & 0xff;

	cpu->long_mode = s->efer & X86_EFER_LMA;
	cpu->cpl = !protected_mode ? 0 : vm86 ? 3 : (uint8_t)X86_AR_DPL(s->seg[X86_SS].ar);
	if (cpu->long_mode && (s->seg[X86_CS].ar & X86_AR_L))
		cpu->mode = X86_MODE_64;
	else
		cpu->mode = s->seg[X86_CS].ar & X86_AR_DB ? X86_MODE_32 : X86_MODE_16;
	cpu->stack32 = s->seg[X86_SS].ar & X86_AR_DB;
	cpu->rights = cpu->cpl == 3                                              ? TLB_USER
		      : (s->cr4 & X86_CR4_SMAP) && !(s->rflags & X86_FLAG_AC) ? TLB_SUPERVISOR
										 : TLB_SUPERVISOR_AC;
	cpu->data_tlb = (align && cpu->cpl == 3) || breakpoints ? TLB_CHECKED : cpu->rights;
	cpu->key = cpu->mode | (cpu->cpl == 3 ? 4 : 0) | (uint32_t)cpu->long_mode << 3 |
		   (!protected_mode || vm86 ? KEY_REAL : 0);
	cpu->step = (s->rflags & (X86_FLAG_TF | X86_FLAG_RF)) || breakpoints;
}

uint64_t cpu_rflags(struct cpu *cpu)
{
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)X86_FLAGS_STATUS) | lf_get(&cpu->lf);
	return cpu->s.rflags;
}

void cpu_set_rflags(struct cpu *cpu, uint64_t rflags)
{
	cpu->s.rflags = (rflags & 0x3fffd7) | X86_FLAG_FIX;
	lf_set(&cpu->lf, (uint32_t)rflags & X86_FLAGS_STATUS);
	cpu_update_mode(cpu);
}

void cpu_irq_enabled(struct cpu *cpu)
{
	if (cpu->irq_blocked) {
		cpu->irq_blocked = false;
		atomic_fetch_or(&cpu->vcpu->request, VCPU_REQ_IRQ);
	}
}

/* A debugger steps, and does not want to end in a handler. */
static bool masks_interrupts(const struct cpu *cpu)
{
	return unlikely(cpu->debug_step) && !debug_steps_interrupts(cpu->debug);
}

void cpu_irq_window(struct cpu *cpu)
{
	if ((cpu->s.rflags & X86_FLAG_IF) && cpu->shadow_rip != cpu->s.rip && !masks_interrupts(cpu) &&
	    (atomic_load(&cpu->vcpu->request) & VCPU_REQ_IRQ))
		cpu_restart(cpu);
}

/* ---- leaving an instruction ---- */

static __attribute__((noreturn)) void leave(struct cpu *cpu, enum cpu_leave how)
{
	cpu->leave = how;
	longjmp(cpu->jump, 1);
}

void cpu_leave_exit(struct cpu *cpu)
{
	leave(cpu, LEAVE_EXIT);
}

void cpu_restart(struct cpu *cpu)
{
	leave(cpu, LEAVE_RESTART);
}

void cpu_repeat(struct cpu *cpu)
{
	cpu->jumped = true;
}

void cpu_commit_iteration(struct cpu *cpu)
{
	unsigned left = cpu->replay_count - cpu->replay_pos;

	memmove(cpu->replay, cpu->replay + cpu->replay_pos, left * sizeof(cpu->replay[0]));
	cpu->replay_count = left;
	cpu->replay_pos = 0;
}

static bool contributory(unsigned vector)
{
	return vector == X86_EXC_DE || (vector >= X86_EXC_TS && vector <= X86_EXC_GP);
}

/* SDM 3A table 6-5: an exception while another one's delivery is under way. */
static void combine(struct cpu *cpu, struct cpu_event *event)
{
	unsigned first = (unsigned)cpu->delivering, second = event->vector;

	if (cpu->delivering < 0 || !cpu->delivering_exception)
		return;
	if (first == X86_EXC_DF && (contributory(second) || second == X86_EXC_PF)) {
		*cpu->exit = (struct vm_exit){.kind = VM_EXIT_SHUTDOWN, .reason = "triple fault"};
		if (trace_on(cpu->vm, TRACE_EXCEPTION))
			trace_line(cpu->vm, TRACE_EXCEPTION, "cpu%u triple fault at %lx (vector %u during double fault)",
				   cpu->vcpu->index, (unsigned long)cpu->s.rip, second);
		cpu->delivering = -1;
		cpu_leave_exit(cpu);
	}
	if ((contributory(first) && contributory(second)) ||
	    (first == X86_EXC_PF && (second == X86_EXC_PF || contributory(second))))
		*event = (struct cpu_event){
			.kind = EVENT_EXCEPTION, .vector = X86_EXC_DF, .has_error = true, .error = 0};
}

static __attribute__((noreturn)) void raise(struct cpu *cpu, struct cpu_event event)
{
	if (cpu->fault_rip_valid) {
		cpu->fault_rip_valid = false;
		cpu->s.rip = cpu->fault_rip;
		if (event.has_error)
			event.error &= ~1u;
	}
	if (cpu->delivering >= 0 && event.has_error && event.vector != X86_EXC_PF)
		event.error |= cpu->event.kind != EVENT_SOFTWARE; /* EXT */
	combine(cpu, &event);
	cpu->delivering = -1;
	cpu->event = event;
	leave(cpu, LEAVE_EXCEPTION);
}

void raise_exception(struct cpu *cpu, unsigned vector)
{
	raise(cpu, (struct cpu_event){.kind = EVENT_EXCEPTION, .vector = (uint8_t)vector});
}

void raise_error(struct cpu *cpu, unsigned vector, uint32_t error_code)
{
	raise(cpu, (struct cpu_event){
			   .kind = EVENT_EXCEPTION, .vector = (uint8_t)vector, .has_error = true, .error = error_code});
}

/* ---- events ---- */

static void deliver(struct cpu *cpu)
{
	struct cpu_event event = cpu->event;

	cpu_count_delivery(cpu, &event);
	if (trace_on(cpu->vm, TRACE_EXCEPTION))
		trace_line(cpu->vm, TRACE_EXCEPTION, "cpu%u vector %u error %x rip %lx cr2 %lx rsp %lx cpl %u kind %d",
			   cpu->vcpu->index, event.vector, event.error, (unsigned long)cpu->s.rip,
			   (unsigned long)cpu->s.cr2, (unsigned long)cpu->s.gpr[X86_RSP], cpu->cpl, (int)event.kind);
	cpu->delivering = event.vector;
	cpu->delivering_exception = event.kind == EVENT_EXCEPTION || event.kind == EVENT_TRAP;
	cpu->s.activity = X86_ACTIVE;
	cpu->shadow_rip = ~0ull;
	cpu_deliver_event(cpu, &event);
	cpu->delivering = -1;
}

static void debug_event(struct cpu *cpu, enum cpu_event_kind kind, uint64_t bits)
{
	cpu->s.dr6 |= bits;
	cpu->event = (struct cpu_event){.kind = kind, .vector = X86_EXC_DB};
	cpu->leave = LEAVE_EXCEPTION;
}

static void flush_requested(struct cpu *cpu)
{
	cpu->counts.flush++;
	tlb_flush_writes(cpu);
}

/* True if the engine has to be left. */
static bool handle_requests(struct cpu *cpu)
{
	struct vcpu *vcpu = cpu->vcpu;
	uint32_t request = atomic_load(&vcpu->request);
	bool shadow = cpu->shadow_rip == cpu->s.rip;

	if (likely(!request))
		return false;
	if (request & ~(uint32_t)REQUESTS_OF_ENGINE) {
		cpu->counts.loop++;
		return true;
	}
	if (vcpu_take_request(vcpu, VCPU_REQ_FLUSH))
		flush_requested(cpu);
	if (vcpu_take_request(vcpu, VCPU_REQ_TIMER))
		cpu->counts.timer++;
	if (vcpu_take_request(vcpu, VCPU_REQ_NMI)) {
		cpu->counts.nmi_requests++;
		cpu->s.nmi_pending = true;
	}
	if (cpu->s.nmi_pending && !cpu->s.nmi_blocked && !shadow) {
		cpu->s.nmi_pending = false;
		cpu->s.nmi_blocked = true;
		cpu->event = (struct cpu_event){.kind = EVENT_NMI, .vector = X86_EXC_NMI};
		deliver(cpu);
		return false;
	}
	if (!(request & VCPU_REQ_IRQ) || !cpu->vm->irq_ops)
		return false;
	if (shadow && (cpu->s.rflags & X86_FLAG_IF))
		return false; /* after the next instruction; the request stays */
	vcpu_take_request(vcpu, VCPU_REQ_IRQ);
	cpu->counts.irq++;
	if (!(cpu->s.rflags & X86_FLAG_IF)) {
		cpu->irq_blocked = cpu->vm->irq_ops->pending(vcpu) >= 0;
		cpu->counts.held_back += cpu->irq_blocked;
		return false;
	}

	int vector = cpu->vm->irq_ops->ack(vcpu);

	if (vector >= 0) {
		if (cpu->vm->irq_ops->pending(vcpu) >= 0)
			cpu->irq_blocked = true; /* looked at again when IF returns */
		cpu->event = (struct cpu_event){.kind = EVENT_EXTERNAL, .vector = (uint8_t)vector};
		deliver(cpu);
		if (cpu->s.rflags & X86_FLAG_IF)
			cpu_irq_enabled(cpu);
	}
	return false;
}

/* ---- stepping: TF, breakpoints, RF, replay ---- */

static bool code_breakpoint(struct cpu *cpu)
{
	gva_t gva = cpu_linear_rip(cpu);
	uint64_t hits = 0;

	if ((cpu->s.rflags & X86_FLAG_RF) || !(cpu->s.dr7 & 0xff))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if ((cpu->s.dr7 >> (2 * i) & 3) && !(cpu->s.dr7 >> (16 + 4 * i) & 3) && cpu->s.dr[i] == gva)
			hits |= 1ull << i;
	}
	if (!hits)
		return false;
	debug_event(cpu, EVENT_EXCEPTION, hits);
	return true;
}

#define DR6_BS (1ull << 14)

/* After a stepped instruction: the traps that are due, unless MOV SS holds them back. */
static void step_done(struct cpu *cpu)
{
	if (cpu->trap_due)
		cpu->db_pending |= DR6_BS;
	cpu->trap_due = false;
	if (!cpu->db_pending || cpu->shadow_rip == cpu->s.rip)
		return;
	debug_event(cpu, EVENT_TRAP, cpu->db_pending);
	cpu->db_pending = 0;
	cpu->leave = LEAVE_NONE;
	deliver(cpu);
}

static void step(struct cpu *cpu)
{
	bool trap = cpu->s.rflags & X86_FLAG_TF;
	bool shadow = cpu->shadow_rip == cpu->s.rip;
	uint64_t rip = cpu->s.rip;

	/* An instruction that waits for its device access has passed its breakpoint, and used up RF. */
	if (!cpu->replay_count && code_breakpoint(cpu)) {
		cpu->leave = LEAVE_NONE;
		deliver(cpu);
		return;
	}
	cpu->db_pending = 0;
	cpu->debug_alone = cpu->debug != NULL;
	cpu->replay_pos = 0;
	cpu->trap_due = trap;
	/* The instruction may itself set RF (IRET); that one lasts for the next. */
	cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
	fast_run_once(cpu, block_find(cpu, rip, true));
	cpu->smc = cpu->debug_alone = false;
	cpu->replay_count = cpu->replay_pos = 0;
	if (shadow)
		cpu->shadow_rip = ~0ull;
	cpu_update_mode(cpu);
	step_done(cpu);
}

static void trace_step(struct cpu *cpu)
{
	const uint64_t *r = cpu->s.gpr;

	trace_line(cpu->vm, TRACE_INSN,
		   "cpu%u rip %lx fl %lx ax %lx cx %lx dx %lx bx %lx sp %lx bp %lx si %lx di %lx 8 %lx 9 %lx 10 %lx "
		   "11 %lx 12 %lx 13 %lx 14 %lx 15 %lx",
		   cpu->vcpu->index, (unsigned long)cpu->s.rip, (unsigned long)cpu_rflags(cpu), (unsigned long)r[0],
		   (unsigned long)r[1], (unsigned long)r[2], (unsigned long)r[3], (unsigned long)r[4],
		   (unsigned long)r[5], (unsigned long)r[6], (unsigned long)r[7], (unsigned long)r[8],
		   (unsigned long)r[9], (unsigned long)r[10], (unsigned long)r[11], (unsigned long)r[12],
		   (unsigned long)r[13], (unsigned long)r[14], (unsigned long)r[15]);
}

/* ---- the loop ---- */

enum debug_turn { DEBUG_GO, DEBUG_AGAIN, DEBUG_LEAVE };

/* Before what comes next is executed, when a debugger wants to know. */
static enum debug_turn debug_turn(struct cpu *cpu)
{
	if (cpu->watch_hit)
		return DEBUG_AGAIN; /* an interrupt's frame */
	if (cpu_debug_before(cpu))
		return DEBUG_LEAVE;
	if (!cpu->debug_step && !cpu->watch_alone)
		return DEBUG_GO;
	cpu->debug_stepped = cpu->debug_step;
	cpu->watch_alone = false;
	step(cpu);
	return DEBUG_AGAIN;
}

static void loop(struct cpu *cpu)
{
	for (;;) {
		if (cpu->leave == LEAVE_EXCEPTION) {
			cpu->leave = LEAVE_NONE;
			cpu->watch_hit = NULL; /* the access will be done again */
			deliver(cpu);
		}
		/* An instruction waiting for its device access goes on before anything else happens. */
		if (cpu->replay_count) {
			step(cpu);
			continue;
		}
		if (unlikely(cpu->debug != NULL) && cpu_debug_after(cpu))
			return;
		if (masks_interrupts(cpu) ? cpu_debug_requests(cpu, REQUESTS_OF_ENGINE) : handle_requests(cpu)) {
			cpu->exit->kind = VM_EXIT_INTERRUPTED;
			return;
		}
		if (cpu->s.activity == X86_ACTIVITY_HLT) {
			cpu->exit->kind = VM_EXIT_HALT;
			return;
		}
		if (unlikely(cpu->debug != NULL)) {
			enum debug_turn turn = debug_turn(cpu);

			if (turn == DEBUG_LEAVE)
				return;
			if (turn == DEBUG_AGAIN)
				continue;
		}
		if (unlikely(trace_on(cpu->vm, TRACE_INSN))) {
			trace_step(cpu);
			step(cpu);
			continue;
		}
		/* One instruction under a shadow, then interrupts are looked at again. */
		if (cpu->step || cpu->shadow_rip == cpu->s.rip) {
			step(cpu);
			continue;
		}
		cpu->shadow_rip = ~0ull;
		if (!cpu->run_translated)
			fast_run(cpu);
		else if (!cpu->run_translated(cpu))
			;
		else if (unlikely(cpu->debug != NULL) && cpu_debug_before(cpu))
			return;
		else
			step(cpu);
	}
}

/* What the exit asked for has been done: the instruction will find it in the log. */
static void complete(struct cpu *cpu, const struct vm_exit *exit)
{
	if (!cpu->completing)
		return;
	cpu->completing = false;
	if (cpu->replay_count >= REPLAY_MAX)
		return;

	uint64_t value = 0;
	bool fault = false;

	switch (exit->kind) {
	case VM_EXIT_IO:
		value = exit->io.value;
		break;
	case VM_EXIT_MMIO:
		value = exit->mmio.value;
		break;
	case VM_EXIT_MSR:
		value = exit->msr.value;
		fault = exit->msr.fault;
		break;
	case VM_EXIT_HYPERCALL:
		value = exit->hypercall.result;
		break;
	default:
		return;
	}
	cpu->replay[cpu->replay_count].value = value;
	cpu->replay[cpu->replay_count].fault = fault;
	cpu->replay_count++;
}

/* An instruction ended the block on its own: an iteration of a REP string is a step of its own too; what cleared
 * TF (INT n) is not trapped. */
static void restarted(struct cpu *cpu)
{
	cpu->leave = LEAVE_NONE;
	if (!cpu->trap_due || !(cpu->s.rflags & X86_FLAG_TF))
		return;
	debug_event(cpu, EVENT_TRAP, DR6_BS);
}

int interp_x86_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct cpu *cpu = vcpu->engine_vcpu;

	cpu->exit = exit;
	/* Before anything is executed, the rest of a half-done instruction too: see code_page_mark(). */
	if (vcpu_take_request(vcpu, VCPU_REQ_FLUSH))
		flush_requested(cpu);
	complete(cpu, exit);
	cpu->leave = LEAVE_NONE;
	if (setjmp(cpu->jump)) {
		/* Back from the middle of an instruction. */
		if (cpu->block && cpu->uop >= cpu->block->uops && cpu->uop < cpu->block->uops + cpu->block->count)
			cpu->instructions += (uint64_t)(cpu->uop - cpu->block->uops);
		cpu->uop = NULL;
		cpu->smc = cpu->debug_alone = false;
		if (cpu->leave == LEAVE_EXIT)
			return 0;
		cpu->replay_count = cpu->replay_pos = 0;
		if (cpu->leave == LEAVE_RESTART)
			restarted(cpu);
		cpu->trap_due = false;
	}
	loop(cpu);
	return 0;
}
