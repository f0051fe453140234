/* From the interpreter's loop into translated code and back.
 */
#include "engine/dbt/aarch64/dbt64.h"
#include <immintrin.h>

/* The four bits of the host's flags as LAHF and SETO give them, in the order of NZCV; the carry is inverted. */
#define HOST_NZCV 0xc101u
#define CARRY     2u

__attribute__((target("bmi2"))) static uint16_t flags_of(uint64_t pstate)
{
	return (uint16_t)(_pdep_u32((uint32_t)(pstate >> 28) ^ CARRY, HOST_NZCV) | 0x200);
}

__attribute__((target("bmi2"))) static uint64_t pstate_of(uint64_t pstate, uint16_t flags)
{
	return (pstate & ~A64_PSTATE_NZCV) | (uint64_t)(_pext_u32(flags, HOST_NZCV) ^ CARRY) << 28;
}

/* FPSR's cumulative flags, of MXCSR's (that have a flag for denormal operands besides). */
static uint32_t fpsr_of(uint32_t mxcsr)
{
	return (mxcsr & 1) | (mxcsr >> 1 & 0x1e);
}

static void to_translated(struct dbt64 *d)
{
	if (d->fp_live)
		_mm_setcsr(d->mxcsr_clear);
	d->flags = flags_of(d->cpu.s.pstate);
	d->sp = *a64_sp(&d->cpu.s);
}

static void from_translated(struct dbt64 *d)
{
	if (d->fp_live)
		d->cpu.s.fpsr |= fpsr_of(_mm_getcsr());
	d->cpu.s.pstate = pstate_of(d->cpu.s.pstate, d->flags);
	*a64_sp(&d->cpu.s) = d->sp;
}

void dbt64_help(struct dbt64 *d, uint32_t insn, a64_sem *fn)
{
	struct a64_cpu *cpu = &d->cpu;

	from_translated(d);
	cpu->next_pc = cpu->s.pc + 4;
	fn(cpu, insn);
	cpu->s.pc = cpu->next_pc;
	to_translated(d);
}

/* Links lead to blocks of the same mode only. On one page, where one may run so may the other. */
static void follow_link(struct dbt64 *d, uint64_t flushes, const struct dbt64_block *block)
{
	const struct dbt64_block *from = d->link_from;
	uint8_t *at = d->link;

	d->link = NULL;
	if (!at || flushes != d->flushes || from->key != block->key)
		return;
	if ((from->pc ^ block->pc) & PAGE_MASK)
		dbt64_link_far(d, at, block);
	else if ((from->gpa & PAGE_MASK) == (block->gpa & PAGE_MASK))
		dbt64_link(d, at, from, block);
}

/* The code at s.pc: mostly the table of jumps knows it. */
static const uint8_t *code_at_pc(struct dbt64 *d)
{
	const uint64_t flushes = d->flushes;
	const struct dbt64_block *block;
	struct dbt64_jump *jump;

	/* Branches in line leave tags to us. */
	d->cpu.s.pc = a64_branch_address(&d->cpu, d->cpu.s.pc);
	jump = &d->jumps[d->cpu.s.pc >> 2 & (DBT64_JUMPS - 1)];

	d->jump_tag = a64_epoch(&d->cpu, d->cpu.s.pc) << 16 | d->cpu.key;
	if (jump->pc == d->cpu.s.pc && jump->tag == d->jump_tag && !d->link && !d->stale)
		return jump->code;
	d->stale = false;
	block = dbt64_block_find(d, d->cpu.s.pc);
	*jump = (struct dbt64_jump){.pc = block->pc, .tag = d->jump_tag, .code = block->code};
	follow_link(d, flushes, block);
	return block->code;
}

void dbt64_svc(struct a64_cpu *cpu, uint32_t insn)
{
	cpu->exception = (struct a64_exception){.class = A64_EC_SVC, .iss = a64_bits(insn, 5, 16), .ret = cpu->s.pc + 4};
	a64_take_exception(cpu);
	cpu->next_pc = cpu->s.pc;
}

/* Is there something for the interpreter's loop? */
static bool must_leave(const struct dbt64 *d)
{
	const struct a64_cpu *cpu = &d->cpu;
	const uint64_t pstate = cpu->s.pstate;

	return cpu->step || (pstate & A64_PSTATE_IL) || cpu->s.activity != A64_ACTIVE || (cpu->irq_pending && !(pstate & A64_PSTATE_I)) ||
	       (cpu->fiq_pending && !(pstate & A64_PSTATE_F)) || atomic_load_explicit(&cpu->vcpu->request, memory_order_relaxed);
}

const uint8_t *dbt64_go(struct dbt64 *d, uint32_t insn, a64_sem *fn)
{
	struct a64_cpu *cpu = &d->cpu;
	const uint8_t *code = d->leave;

	from_translated(d);
	cpu->next_pc = cpu->s.pc + 4;
	fn(cpu, insn);
	cpu->s.pc = cpu->next_pc;
	/* Why the mode was changed is dealt with. */
	if (!must_leave(d)) {
		cpu->attention = false;
		code = code_at_pc(d);
	}
	to_translated(d);
	return code;
}

void dbt64_run(struct a64_cpu *cpu)
{
	struct dbt64 *d = (struct dbt64 *)cpu;

	cpu->attention = false;
	d->link = NULL;
	for (;;) {
		/* Whoever sets a request sets this afterwards, perhaps after the request has been served. */
		atomic_store(&d->stop, 0);
		if (cpu->attention || must_leave(d))
			return;

		const uint8_t *code = code_at_pc(d);

		to_translated(d);
		((void (*)(struct dbt64 *, const uint8_t *))d->enter)(d, code);
		from_translated(d);
		d->fp_live = false;
	}
}
