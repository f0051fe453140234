/* Counters in translated code, for `--count-blocks`.
 *
 * A block is divided into runs: instructions that follow each other whatever happens, from the block's beginning, from behind a
 * branch that was not taken, or from where a call returns to. Before the first of a run stands
 *
 *     mov  t, gs:[counter]
 *     lea  t, [t + 1]
 *     mov  gs:[counter], t
 *     mov  gs:[counting], number of the counter
 *
 * which touches no flag. It belongs to no instruction: one that is begun again after a fault is not counted again, and a kick that
 * arrives there goes on to the first boundary. When translated code has returned, `counting` says which run it was in, so what was left
 * of that is known: then so many instructions less were executed, and where it was left before its first one, it does not count, since
 * it will when it is entered again. So chaining, kicks and exits leave the counts exact; an instruction that faults and is executed
 * again counts twice.
 *
 * Code with counters is of no use elsewhere: nothing is taken from --tb-cache or from other addresses, or given there.
 */
#include "engine/dbt/counts.h"
#include "base/errno.h"
#include "core/block_counts.h"
#include "core/vm.h"
#include <sys/mman.h>

/* What a counter stands for. */
struct counted_run {
	const struct tb *tb;
	uint64_t not_executed; /* instructions, of runs that were left */
	uint16_t first, count; /* instructions of tb */
};

static size_t offset_of(unsigned counter)
{
	return ((sizeof(struct dbt) + PAGE_SIZE - 1) & PAGE_MASK) + counter * sizeof(uint64_t);
}

static uint64_t *counter_at(struct dbt *d, unsigned counter)
{
	return (uint64_t *)(void *)((uint8_t *)d + offset_of(counter));
}

size_t dbt_counts_size(const struct vm *vm)
{
	return vm->block_counts ? offset_of(DBT_COUNTERS_MAX) - sizeof(struct dbt) : 0;
}

int dbt_counts_init(struct dbt *d)
{
	void *at;

	if (!d->cpu.vm->block_counts)
		return 0;
	at = mmap(NULL, DBT_COUNTERS_MAX * sizeof(*d->runs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	d->runs = at;
	return 0;
}

void dbt_counts_destroy(struct dbt *d)
{
	if (d->runs)
		munmap(d->runs, DBT_COUNTERS_MAX * sizeof(*d->runs));
	d->runs = NULL;
}

bool dbt_counts_room(const struct dbt *d)
{
	return d->run_count <= DBT_COUNTERS_MAX - TB_MAX_INSNS;
}

/* ---- in a translation ---- */

void dbt_counts_emit(struct tr *tr)
{
	unsigned counter = tr->d->run_count + tr->run_count;
	struct host_mem at = mem_gs(offset_of(counter));
	struct emitter *e = &tr->e;

	emit_load(e, HOST_T, at, 8);
	emit_lea(e, HOST_T, mem_base(HOST_T, 1), 8);
	emit_store(e, at, HOST_T, 8);
	emit_store_imm(e, mem_gs(DBT_OFFSET(counting)), (int32_t)counter, 4);
	tr->runs[tr->run_count++] = (uint8_t)tr->count;
}

void dbt_counts_take_back(struct tr *tr, uint8_t *at)
{
	tr->e.at = at;
	tr->run_count--;
}

void dbt_counts_keep(struct tr *tr, const struct tb *tb)
{
	struct dbt *d = tr->d;

	for (unsigned i = 0; i < tr->run_count; i++) {
		unsigned end = i + 1 < tr->run_count ? tr->runs[i + 1] : tr->count;

		d->runs[d->run_count + i] = (struct counted_run){.tb = tb, .first = tr->runs[i], .count = (uint16_t)(end - tr->runs[i])};
		*counter_at(d, d->run_count + i) = 0;
	}
	d->run_count += tr->run_count;
}

bool dbt_counts_ends_run(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_JCC: case X86_JCXZ: case X86_LOOP: case X86_CALL:
	case X86_SERIALIZE: /* leaves behind it, when there are requests */
		return true;
	default:
		return false;
	}
}

/* ---- what was not executed ---- */

static unsigned instructions_of(const struct tb_insn *insn)
{
	return insn->flags & TB_INSN_FOLDED ? TB_FOLDED_INSNS : 1;
}

static unsigned instructions_from(const struct counted_run *run, unsigned first)
{
	unsigned count = 0;

	for (unsigned i = first; i < run->count; i++)
		count += instructions_of(&run->tb->insns[run->first + i]);
	return count;
}

/* The instructions of the run that were not, when it was left for `reason` with rip where it is. */
static unsigned left_over(const struct dbt *d, const struct counted_run *run)
{
	uint64_t offset = d->cpu.s.rip - run->tb->rip;
	bool executed = true; /* by C, the instruction at rip */

	switch (d->exit_reason) {
	case DBT_EXIT_KICK:
	case DBT_EXIT_X87:
		executed = false;
		break;
	case DBT_EXIT_STEP:
	case DBT_EXIT_HELP:
	case DBT_EXIT_ABSENT:
		break;
	default: /* it has come to its end */
		return 0;
	}
	for (unsigned i = 0; i < run->count; i++) {
		if (run->tb->insns[run->first + i].guest == offset)
			return instructions_from(run, i + executed);
	}
	return 0;
}

void dbt_counts_left(struct dbt *d)
{
	struct counted_run *run;
	unsigned left;

	if (likely(!d->runs) || d->counting >= d->run_count)
		return;
	run = &d->runs[d->counting];
	left = left_over(d, run);
	if (left && left == instructions_from(run, 0))
		--*counter_at(d, d->counting);
	else
		run->not_executed += left;
}

/* ---- to the VM ---- */

static uint32_t guest_end(const struct tb *tb, unsigned insn)
{
	return insn < tb->count ? tb->insns[insn].guest : tb->length;
}

static uint32_t host_end(const struct tb *tb, unsigned insn)
{
	return insn < tb->count ? tb->insns[insn].host : tb->host_size;
}

void dbt_counts_collect(struct dbt *d)
{
	struct block_count_sink *sink = d->cpu.vm->block_counts;

	for (unsigned i = 0; i < d->run_count; i++) {
		const struct counted_run *run = &d->runs[i];
		const struct tb *tb = run->tb;
		uint64_t executions = *counter_at(d, i);
		uint32_t guest = guest_end(tb, run->first);

		if (!executions)
			continue;
		sink->add(sink, &(struct block_count){
			.rip = tb->rip + guest,
			.gpa = tb->gpa + guest,
			.user = tb->key & 4,
			.narrow = (tb->key & 3) == X86_MODE_32,
			.insns = instructions_from(run, 0),
			.guest_bytes = guest_end(tb, run->first + run->count) - guest,
			.host_bytes = host_end(tb, run->first + run->count) - host_end(tb, run->first),
			.executions = executions,
			.instructions = executions * instructions_from(run, 0) - run->not_executed,
		});
	}
	d->run_count = 0;
	d->counting = DBT_COUNTERS_MAX;
}
