/* The run loop: exceptions, requests, interrupts, then blocks; and the ways out of the middle of an instruction.
 */
#include "core/trace.h"
#include "engine/interp/aarch64/cpu.h"

#define REQUESTS_OF_ENGINE (VCPU_REQ_IRQ | VCPU_REQ_NMI | VCPU_REQ_FLUSH | VCPU_REQ_TIMER)

struct a64_state *a64_state_of(struct a64_cpu *cpu)
{
	return &cpu->s;
}

void a64_leave_exit(struct a64_cpu *cpu)
{
	cpu->leave = A64_LEAVE_EXIT;
	longjmp(cpu->jump, 1);
}

/* CPACR_EL1.FPEN (D19.2.30). */
static bool fp_enabled(const struct a64_state *s)
{
	const unsigned fpen = s->sys[A64_SYS_CPACR_EL1] >> 20 & 3;

	return fpen == 3 || (fpen == 1 && a64_el(s));
}

/* Software step (D2.12): from EL1 with MDSCR_EL1.KDE and PSTATE.D clear, from EL0 always. */
static bool steps(const struct a64_state *s)
{
	const uint64_t mdscr = s->sys[A64_SYS_MDSCR_EL1];

	if (!(mdscr & 1) || (s->sys[A64_SYS_OSLSR_EL1] & 2))
		return false;
	return !a64_el(s) || ((mdscr & 1u << 13) && !(s->pstate & A64_PSTATE_D));
}

void a64_update_mode(struct a64_cpu *cpu)
{
	const struct a64_state *s = &cpu->s;

	cpu->el = (uint8_t)a64_el(s);
	cpu->rights = !cpu->el ? A64_TLB_USER : s->pstate & A64_PSTATE_PAN ? A64_TLB_EL1_PAN : A64_TLB_EL1;
	cpu->data = s->sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_A ? A64_TLB_CHECKED : cpu->rights;
	cpu->fp_enabled = fp_enabled(s);
	cpu->key = cpu->el | (uint32_t)cpu->fp_enabled << 2 | (uint32_t)cpu->data << 3 | (s->pstate & A64_PSTATE_SP) << 5 |
		   !!(s->sys[A64_SYS_SCTLR_EL1] & (cpu->el ? A64_SCTLR_SA : A64_SCTLR_SA0)) << 6 | (uint32_t)!!s->fpcr << 7;
	cpu->step = steps(s);
	cpu->attention = true;
}

/* ---- requests and interrupts ---- */

static void look_at_interrupts(struct a64_cpu *cpu)
{
	const struct vcpu_irq_ops *ops = cpu->vm->irq_ops;

	cpu->irq_pending = ops && ops->pending(cpu->vcpu) >= 0;
	cpu->fiq_pending = ops && ops->fiq && ops->fiq(cpu->vcpu) >= 0;
}

static void catch_up(struct a64_cpu *cpu)
{
	const uint32_t ic = atomic_load(&cpu->shared->ic_epoch);

	a64_tlb_flush_writes(cpu);
	if (cpu->ic_seen != ic) {
		cpu->ic_seen = ic;
		a64_blocks_flush(cpu);
	}
}

/* True if the engine has to be left. */
static bool handle_requests(struct a64_cpu *cpu)
{
	struct vcpu *vcpu = cpu->vcpu;
	const uint32_t request = atomic_load(&vcpu->request);

	if (likely(!request))
		return false;
	if (request & ~(uint32_t)REQUESTS_OF_ENGINE)
		return true;
	if (vcpu_take_request(vcpu, VCPU_REQ_FLUSH))
		catch_up(cpu);
	vcpu_take_request(vcpu, VCPU_REQ_TIMER | VCPU_REQ_NMI);
	if (vcpu_take_request(vcpu, VCPU_REQ_IRQ))
		look_at_interrupts(cpu);
	return false;
}

static void take_interrupts(struct a64_cpu *cpu)
{
	if (cpu->fiq_pending && !(cpu->s.pstate & A64_PSTATE_F))
		a64_take_interrupt(cpu, true);
	else if (cpu->irq_pending && !(cpu->s.pstate & A64_PSTATE_I))
		a64_take_interrupt(cpu, false);
}

/* ---- execution ---- */

static inline void execute(struct a64_cpu *cpu, const struct a64_block *block)
{
	const struct a64_uop *uop = block->uops, *last = uop + block->count - 1;

	cpu->block = block;
	for (; uop < last; uop++) {
		uop->fn(cpu, uop->insn);
		cpu->s.pc += 4;
	}
	cpu->next_pc = cpu->s.pc + 4;
	uop->fn(cpu, uop->insn);
	cpu->s.pc = cpu->next_pc;
	cpu->instructions += block->count;
}

static const struct a64_block *block_at(struct a64_cpu *cpu, uint64_t pc)
{
	struct a64_jump_entry *entry = &cpu->jump_cache[pc >> 2 & (A64_JUMP_CACHE_SIZE - 1)];
	const struct a64_block *block = entry->block;

	if (likely(entry->pc == pc && entry->epoch == a64_epoch(cpu, pc) && entry->key == cpu->key && block &&
		   block->generation == atomic_load_explicit(block->page_word, memory_order_relaxed)))
		return block;
	block = a64_block_find(cpu, pc, false);
	*entry = (struct a64_jump_entry){.pc = pc, .block = (struct a64_block *)block, .epoch = a64_epoch(cpu, pc), .key = cpu->key};
	return block;
}

/* Until somebody wants something. */
static void run_blocks(struct a64_cpu *cpu)
{
	cpu->attention = false;
	do
		execute(cpu, block_at(cpu, cpu->s.pc));
	while (likely(!cpu->attention && !atomic_load_explicit(&cpu->vcpu->request, memory_order_relaxed)));
}

/* One instruction. An exception or an exit leaves in its middle. */
static void step(struct a64_cpu *cpu)
{
	cpu->replay_pos = 0;
	execute(cpu, a64_block_find(cpu, cpu->s.pc, true));
	cpu->replay_count = cpu->replay_pos = 0;
}

static void trace_step(const struct a64_cpu *cpu)
{
	const uint64_t *x = cpu->s.x;

	trace_line(cpu->vm, TRACE_INSN,
		   "cpu%u pc %lx pstate %lx 0 %lx 1 %lx 2 %lx 3 %lx 4 %lx 5 %lx 6 %lx 7 %lx 8 %lx 19 %lx 20 %lx 29 %lx 30 %lx sp %lx",
		   cpu->vcpu->index, (unsigned long)cpu->s.pc, (unsigned long)cpu->s.pstate, (unsigned long)x[0], (unsigned long)x[1],
		   (unsigned long)x[2], (unsigned long)x[3], (unsigned long)x[4], (unsigned long)x[5], (unsigned long)x[6], (unsigned long)x[7],
		   (unsigned long)x[8], (unsigned long)x[19], (unsigned long)x[20], (unsigned long)x[29], (unsigned long)x[30],
		   (unsigned long)cpu->s.sp[cpu->s.pstate & 1]);
}

/* Software step: PSTATE.SS says that an instruction is to be executed before the exception (D2.12.3). */
static void software_step(struct a64_cpu *cpu)
{
	if (!(cpu->s.pstate & A64_PSTATE_SS))
		a64_raise(cpu, A64_EC_STEP_LOWER + (cpu->el ? 1 : 0), 1u << 24 | 0x22);
	cpu->s.pstate &= ~A64_PSTATE_SS;
	step(cpu);
}

static void loop(struct a64_cpu *cpu)
{
	for (;;) {
		cpu->block = NULL;
		if (cpu->leave == A64_LEAVE_EXCEPTION) {
			cpu->leave = A64_LEAVE_NONE;
			cpu->replay_count = 0;
			a64_take_exception(cpu);
		}
		/* An instruction waiting for its device access goes on before anything else happens. */
		if (cpu->replay_count) {
			step(cpu);
			continue;
		}
		if (handle_requests(cpu)) {
			cpu->exit->kind = VM_EXIT_INTERRUPTED;
			return;
		}
		if (cpu->s.activity == A64_WAITING) {
			if (!cpu->irq_pending && !cpu->fiq_pending) {
				cpu->exit->kind = VM_EXIT_HALT;
				return;
			}
			cpu->s.activity = A64_ACTIVE;
		}
		take_interrupts(cpu);
		if (unlikely(cpu->s.pstate & A64_PSTATE_IL))
			a64_raise(cpu, A64_EC_ILLEGAL_STATE, 0);
		if (unlikely(trace_on(cpu->vm, TRACE_INSN)))
			trace_step(cpu);
		if (unlikely(cpu->step))
			software_step(cpu);
		else if (unlikely(trace_on(cpu->vm, TRACE_INSN)))
			step(cpu);
		else if (cpu->run_translated)
			cpu->run_translated(cpu);
		else
			run_blocks(cpu);
	}
}

void a64_run(struct a64_cpu *cpu)
{
	atomic_store(&cpu->running, true);
	catch_up(cpu);
	if (setjmp(cpu->jump)) {
		/* What the block had done before. */
		if (cpu->block)
			cpu->instructions += ((cpu->s.pc - cpu->block->gpa) & ~PAGE_MASK) / 4;
	}
	cpu->block = NULL;
	if (cpu->leave == A64_LEAVE_EXIT)
		cpu->leave = A64_LEAVE_NONE;
	else
		loop(cpu);
	atomic_store(&cpu->running, false);
}
