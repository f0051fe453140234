/* Exceptions to EL1 and the return from them (DDI 0487 D1.3).
 */
#include "core/trace.h"
#include "engine/interp/aarch64/cpu.h"

static __attribute__((noreturn)) void leave(struct a64_cpu *cpu, struct a64_exception exception)
{
	cpu->exception = exception;
	cpu->leave = A64_LEAVE_EXCEPTION;
	longjmp(cpu->jump, 1);
}

void a64_raise(struct a64_cpu *cpu, unsigned class, uint32_t iss)
{
	leave(cpu, (struct a64_exception){.class = (uint8_t)class, .iss = iss, .ret = cpu->s.pc});
}

void a64_raise_far(struct a64_cpu *cpu, unsigned class, uint32_t iss, uint64_t far)
{
	leave(cpu, (struct a64_exception){.class = (uint8_t)class, .iss = iss, .has_far = true, .far = far, .ret = cpu->s.pc});
}

void a64_raise_after(struct a64_cpu *cpu, unsigned class, uint32_t iss)
{
	leave(cpu, (struct a64_exception){.class = (uint8_t)class, .iss = iss, .ret = cpu->s.pc + 4});
}

void a64_undefined(struct a64_cpu *cpu)
{
	a64_raise(cpu, A64_EC_UNKNOWN, 0);
}

/* AArch64.TakeException to EL1: offset is of the vector in its group. */
static void take(struct a64_cpu *cpu, uint64_t ret, unsigned offset)
{
	struct a64_state *s = &cpu->s;
	const uint64_t old = s->pstate;
	uint64_t group;

	if (a64_el(s) == 0)
		group = 0x400;
	else
		group = old & A64_PSTATE_SP ? 0x200 : 0;
	s->sys[A64_SYS_SPSR_EL1] = old;
	s->sys[A64_SYS_ELR_EL1] = ret;
	s->pstate = (old & (A64_PSTATE_NZCV | A64_PSTATE_PAN | A64_PSTATE_DIT)) | A64_PSTATE_DAIF | A64_PSTATE_EL1 | A64_PSTATE_SP;
	if (!(s->sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_SPAN))
		s->pstate |= A64_PSTATE_PAN;
	s->pc = s->sys[A64_SYS_VBAR_EL1] + group + offset;
	s->activity = A64_ACTIVE;
	a64_update_mode(cpu);
}

void a64_take_exception(struct a64_cpu *cpu)
{
	const struct a64_exception *exception = &cpu->exception;
	struct a64_state *s = &cpu->s;

	if (trace_on(cpu->vm, TRACE_EXCEPTION))
		trace_line(cpu->vm, TRACE_EXCEPTION, "cpu%u class %x iss %x pc %lx far %lx return %lx el %u", cpu->vcpu->index, exception->class,
			   exception->iss, (unsigned long)s->pc, (unsigned long)(exception->has_far ? exception->far : 0),
			   (unsigned long)exception->ret, a64_el(s));
	cpu->counts.exceptions[exception->class & 63]++;
	s->sys[A64_SYS_ESR_EL1] = (uint64_t)exception->class << 26 | 1u << 25 | exception->iss;
	if (exception->has_far)
		s->sys[A64_SYS_FAR_EL1] = exception->far;
	take(cpu, exception->ret, 0);
}

void a64_take_interrupt(struct a64_cpu *cpu, bool fiq)
{
	if (trace_on(cpu->vm, TRACE_EXCEPTION))
		trace_line(cpu->vm, TRACE_EXCEPTION, "cpu%u %s pc %lx el %u", cpu->vcpu->index, fiq ? "fiq" : "irq", (unsigned long)cpu->s.pc,
			   a64_el(&cpu->s));
	*(fiq ? &cpu->counts.fiq : &cpu->counts.irq) += 1;
	take(cpu, cpu->s.pc, fiq ? 0x100 : 0x80);
}

/* The bits of an SPSR that are there for AArch64. */
#define SPSR_BITS                                                                                                                              \
	(A64_PSTATE_NZCV | A64_PSTATE_UAO | A64_PSTATE_PAN | A64_PSTATE_SS | A64_PSTATE_IL | A64_PSTATE_DAIF | A64_PSTATE_EL | A64_PSTATE_SP)

/* IllegalExceptionReturn (D1.3.4): to a higher level, to AArch32, to EL0 with its SP_ELx. */
static bool is_illegal(uint64_t spsr)
{
	return (spsr & A64_PSTATE_NRW) || (spsr & A64_PSTATE_EL) > A64_PSTATE_EL1 || (spsr & 2) || (!(spsr & A64_PSTATE_EL) && (spsr & A64_PSTATE_SP));
}

void a64_exception_return(struct a64_cpu *cpu)
{
	struct a64_state *s = &cpu->s;
	const uint64_t spsr = s->sys[A64_SYS_SPSR_EL1];

	cpu->next_pc = s->sys[A64_SYS_ELR_EL1];
	cpu->exclusive = false;
	cpu->event = true;
	if (is_illegal(spsr)) {
		const uint64_t kept = A64_PSTATE_EL | A64_PSTATE_SP | A64_PSTATE_NRW | A64_PSTATE_UAO | A64_PSTATE_PAN;

		s->pstate = (s->pstate & kept) | (spsr & (A64_PSTATE_NZCV | A64_PSTATE_DAIF)) | A64_PSTATE_IL;
	} else {
		s->pstate = spsr & SPSR_BITS;
	}
	/* Software step is for EL0 alone to set up anew: MDSCR_EL1.SS decides. */
	if (!(s->sys[A64_SYS_MDSCR_EL1] & 1))
		s->pstate &= ~A64_PSTATE_SS;
	a64_update_mode(cpu);
}
