/* Running translated code: find it, enter it, and see to what it returned for.
 */
#include "engine/dbt/dbt.h"
#include "engine/dbt/counts.h"
#include "base/string.h"
#include "engine/dbt/x87_image.h"
#include "engine/interp/x86_64/lazy.h"
#include <stdatomic.h>

/* What translated code takes for granted (and that RF is clear, which run() sees to); all else is interpreted until it holds again. */
#define FLAGS_NOT_TRANSLATED                                                                       \
	(X86_FLAG_TF | X86_FLAG_VM | X86_FLAG_NT | X86_FLAG_IOPL | X86_FLAG_ID | X86_FLAG_VIF | X86_FLAG_VIP)

static bool translatable(struct dbt *d)
{
	const struct cpu *cpu = &d->cpu;

	if ((cpu->s.rflags & FLAGS_NOT_TRANSLATED) || cpu->data_tlb != cpu->rights)
		return false;
	if (cpu->mode == X86_MODE_64)
		return true;
	/* A table of its own: there may be no address space for one. */
	return cpu_narrow(cpu) && dbt_narrow_good(d) && dbt_mmu_table(&d->mmu, dbt_table_index(d));
}

/* ---- x87: in the host's registers while translated code uses it ---- */

void dbt_x87_store(struct dbt *d)
{
	if (d->x87_unloaded)
		return;
	/* FNINIT: C code, the interpreter's x87 windows among it, wants masked exceptions and an empty stack. */
	__asm__ volatile("fxsave64 %0\n\tfninit"
			 : "=m"(d->fxsave)
			 :
			 : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
	x87_image_get(d->fxsave, &d->cpu.s.fpu);
	d->x87_unloaded = 1;
}

void dbt_x87_load(struct dbt *d)
{
	if (!d->x87_unloaded)
		return;
	x87_image_put(d->fxsave, &d->cpu.s.fpu);
	__asm__ volatile("fxrstor64 %0" : : "m"(d->fxsave) : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	/* FXRSTOR loaded MXCSR as well. */
	__asm__ volatile("ldmxcsr %0" : : "m"(d->host_mxcsr));
	d->x87_unloaded = 0;
}

/* ---- flags: AL is OF, AH what LAHF gives ---- */

static void flags_to_host(struct dbt *d)
{
	uint32_t flags = lf_get(&d->cpu.lf);

	d->flags_word = (uint16_t)((flags & 0xd7) << 8 | (flags & X86_FLAG_OF ? 1 : 0));
	d->guest_df = !!(d->cpu.s.rflags & X86_FLAG_DF);
	d->cpu.s.rflags &= ~(uint64_t)(X86_FLAGS_STATUS | X86_FLAG_DF);
}

static void flags_from_host(struct dbt *d)
{
	lf_set(&d->cpu.lf, (d->flags_word >> 8 & 0xd5u) | (d->flags_word & 1 ? X86_FLAG_OF : 0));
	if (d->guest_df)
		d->cpu.s.rflags |= X86_FLAG_DF;
	else
		d->cpu.s.rflags &= ~(uint64_t)X86_FLAG_DF;
}

/* Which branch is to lead to the next block. */
static void resolve(struct dbt *d, struct tb *tb, uint32_t reason, uint32_t arg)
{
	switch (reason) {
	case DBT_EXIT_LINK:
		dbt_link_resolve(d, arg, tb);
		break;
	case DBT_EXIT_SLOT:
		dbt_slot_resolve(d, arg, tb);
		break;
	case DBT_EXIT_INDIRECT:
		dbt_jump_resolve(d, tb);
		break;
	default:
		break;
	}
}

static void enter(struct dbt *d, uint64_t host)
{
	struct cpu *cpu = &d->cpu;

	d->jump_to = host;
	flags_to_host(d);
	cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
	cpu->step = false;
	dbt_time(d, DBT_TIME_TRANSLATED);
	((void (*)(void))(uintptr_t)d->enter)();
	dbt_time(d, DBT_TIME_C);
	flags_from_host(d);
	if (dbt_narrow(d))
		dbt_narrow_truncate(d);
	d->stats.exits[d->exit_reason]++;
	cpu->block = NULL;
}

/* Host return addresses of another address space are not to be used; each privilege level has its own. */
static void select_side(struct dbt *d)
{
	bool user = d->cpu.cpl == 3;

	if (d->side_context != d->mmu.current) {
		d->side_context = d->mmu.current;
		dbt_side_reset(d);
	}
	/* Addresses of 64-bit and of 32-bit code may be the same. User code that the kernel returns to by itself is 64-bit. */
	if (d->side_narrow != dbt_narrow(d)) {
		d->side_narrow = dbt_narrow(d);
		dbt_side_reset(d);
	}
	if (user == d->side_user)
		return;
	if (!user)
		d->side_user_sp = d->side_sp;
	d->side_sp = user ? d->side_user_sp : d->side_base;
	d->side_user = user;
}

/* tb: the block at rip; NULL: translated code finds it itself, by its jump cache. */
static void run_block(struct dbt *d, struct tb *tb)
{
	select_side(d);
	dbt_select(d);
	dbt_counts_enter(d);
	enter(d, tb ? (uintptr_t)tb_entry(d, tb) : (uintptr_t)d->enter_rip);
}

static void see_assumptions(struct dbt *d)
{
	struct dbt_assumptions now = dbt_assumptions(&d->cpu);

	if (!memcmp(&d->assumptions, &now, sizeof(now)))
		return;
	dbt_code_flush(d);
	dbt_moved_clear(d);
	d->assumptions = now;
	d->environment_known = false;
}

/* The guest returns to an access that found no page: most often there is one now, and its entry spares a second fault. */
static void page_came(struct dbt *d)
{
	uint64_t addend;

	d->missed_rip = 0;
	(void)dbt_mmu_fill(&d->mmu, d->missed_gva, false, dbt_table_index(d), &addend);
}

/* Translated code has looked for a page that has no entry. True: it has one now, and the access is to be made. */
static bool page_found(struct dbt *d, uint32_t arg)
{
	struct cpu *cpu = &d->cpu;
	bool write = arg & 1, crosses = (d->missed_gva & ~PAGE_MASK) + (arg >> 1 & 0x7f) > PAGE_SIZE;
	uint64_t addend;

	d->absent[arg >> 8].misses++;
	/* Both pages are looked at before D is set in one. */
	if (!crosses && dbt_mmu_fill(&d->mmu, d->missed_gva, write, dbt_table_index(d), &addend) == DBT_FILLED) {
		d->stats.absent_filled++;
		return true;
	}
	d->missed_rip = cpu->s.rip;
	return false;
}

/* dbt_run() with the x87 state wherever translated code left it. */
static bool run(struct dbt *d)
{
	struct cpu *cpu = &d->cpu;
	uint32_t reason = DBT_EXIT_LOOKUP, arg = 0;
	uint64_t flushes;

	for (;;) {
		struct tb *tb;

		/* First this, then the requests: a kick that comes later finds `kicked` clear and sets it. */
		d->kicked = 0;
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&cpu->vcpu->request))
			return false;
		dbt_see_writes(d);
		if (!translatable(d)) {
			dbt_x87_store(d); /* fast_run() may leave by longjmp */
			dbt_time(d, DBT_TIME_INTERPRETER);
			fast_run(cpu);
			return false;
		}
		see_assumptions(d);
		d->rf = cpu->s.rflags & X86_FLAG_RF;
		if (d->rf && cpu->s.rip == d->missed_rip)
			page_came(d);
		if (reason == DBT_EXIT_HELP && !d->rf) {
			run_block(d, NULL);
			goto left;
		}
		flushes = d->stats.cache_flushes;
		tb = dbt_tb_get(d, reason == DBT_EXIT_INDIRECT);
		if (!tb) {
			dbt_x87_store(d);
			return true;
		}
		/* In lock-step blocks are not linked. */
		if (flushes == d->stats.cache_flushes && !d->check)
			resolve(d, tb, reason, arg);
		if (unlikely(d->check != NULL))
			dbt_check_block(d, tb, run_block);
		else
			run_block(d, tb);
left:
		/* Not even the first instruction has been executed. */
		if (d->rf && d->exit_reason == DBT_EXIT_KICK)
			cpu->s.rflags |= X86_FLAG_RF;
		reason = d->exit_reason;
		arg = d->exit_arg;
		/* An access for which there is an entry now goes on where it was. */
		if (reason != DBT_EXIT_ABSENT)
			dbt_counts_left(d);
		switch (reason) {
		case DBT_EXIT_STEP:
			dbt_x87_store(d);
			if (unlikely(d->measuring))
				dbt_stats_step(d);
			return true;
		case DBT_EXIT_HELP:
			dbt_x87_store(d); /* it may leave by longjmp */
			if (unlikely(d->check != NULL))
				return true;
			if (!dbt_help(d, arg))
				return false;
			break;
		case DBT_EXIT_ABSENT:
			if (!page_found(d, arg)) {
				dbt_counts_left(d);
				dbt_x87_store(d);
				return true;
			}
			if (unlikely(d->check != NULL))
				break;
			enter(d, d->resume_at);
			goto left;
		case DBT_EXIT_KICK:
			dbt_sites_review(d);
			cpu->step = d->rf;
			return false;
		case DBT_EXIT_X87:
			dbt_x87_load(d);
			break;
		default:
			break;
		}
	}
}

bool dbt_run(struct cpu *cpu)
{
	bool step;

	dbt_time(dbt_of(cpu), DBT_TIME_C);
	step = run(dbt_of(cpu));
	/* What is interpreted now may look at it: x87, MMX, FXSAVE. (A fault of the fetch leaves by longjmp with the state still
	 * loaded; its delivery does not look.) */
	dbt_x87_store(dbt_of(cpu));
	dbt_time(dbt_of(cpu), DBT_TIME_INTERPRETER);
	return step;
}
