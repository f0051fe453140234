/* Address spaces of the translator's vcpu: contexts, what is dropped when. See mmu.h; fill.c makes the entries.
 *
 * A table does not know which of its entries are global, but for those that contexts share: dropping too much is always
 * right (a TLB may forget). What must not happen is dropping too little:
 *   - the tables of the current context and the shared one are exact at any time;
 *   - a context that is not current may be !valid: its tables hold old entries then, and are dropped when it is
 *     given to the next address space.
 */
#include "engine/dbt/mmu.h"
#include "base/errno.h"
#include "base/string.h"
#include "engine/dbt/mmu_state.h"
#include <stdlib.h>

#define PCID_MASK 0xfffull
#define ROOT_MASK 0x000ffffffffff000ull

/* ---- tables ---- */

static struct dbt_table **table_slot(struct dbt_mmu *mmu, unsigned index)
{
	if (index == TLB_SUPERVISOR && !dbt_mmu_state(mmu)->own_supervisor)
		return &mmu->global;
	return &mmu->current->table[index];
}

bool dbt_mmu_table_shared(const struct dbt_mmu *mmu, const struct dbt_table *table)
{
	return table == mmu->global;
}

/* No address space is left for one more table: take that of the context that was not used for longest. */
static struct dbt_table *steal_table(struct dbt_mmu *mmu)
{
	struct dbt_context *from = NULL;
	unsigned which = 0;

	for (unsigned i = 0; i < mmu->context_count; i++) {
		struct dbt_context *context = &mmu->contexts[i];

		if (context == mmu->current || (from && from->used < context->used))
			continue;
		for (unsigned index = 0; index < DBT_TABLES; index++) {
			if (context->table[index]) {
				from = context;
				which = index;
			}
		}
	}
	if (!from)
		return NULL;

	struct dbt_table *table = from->table[which];

	from->table[which] = NULL;
	dbt_table_drop(table);
	return table;
}

struct dbt_table *dbt_mmu_table_for(struct dbt_mmu *mmu, unsigned index)
{
	struct dbt_table **slot = table_slot(mmu, index);

	if (unlikely(!*slot))
		*slot = dbt_table_create((uintptr_t)mmu->nowhere, &dbt_mmu_state(mmu)->budget);
	if (unlikely(!*slot))
		*slot = steal_table(mmu);
	return *slot;
}

uint64_t dbt_mmu_table(struct dbt_mmu *mmu, unsigned index)
{
	struct dbt_table *table = dbt_mmu_table_for(mmu, index);

	return table ? (uintptr_t)table->centre + DBT_TABLE_BIAS : 0;
}

static void forget_nonglobal(struct dbt_mmu *mmu, bool drop)
{
	struct dbt_mmu_state *state = dbt_mmu_state(mmu);

	for (unsigned i = 0; drop && i < state->nonglobal_count; i++)
		dbt_table_drop_chunk(mmu->global, state->nonglobal[i]);
	state->nonglobal_count = 0;
}

/* Gives all chunks of all tables back. */
static void release_all(struct dbt_mmu *mmu)
{
	if (mmu->global)
		dbt_table_release(mmu->global);
	forget_nonglobal(mmu, false);
	for (unsigned i = 0; i < mmu->context_count; i++) {
		for (unsigned index = 0; index < DBT_TABLES; index++) {
			if (mmu->contexts[i].table[index])
				dbt_table_release(mmu->contexts[i].table[index]);
		}
	}
}

uint64_t *dbt_mmu_chunk(struct dbt_mmu *mmu, struct dbt_table *table, gva_t gva, unsigned how)
{
	uint64_t *chunk = dbt_table_chunk(table, gva, how);

	if (likely(chunk))
		return chunk;
	release_all(mmu);
	return dbt_table_chunk(table, gva, how);
}

static void count_fills(struct dbt_mmu_state *state)
{
	state->global_fills = state->nonglobal_fills = 0;
	state->counted_from = state->clock;
}

void dbt_mmu_note_global(struct dbt_mmu *mmu)
{
	dbt_mmu_state(mmu)->global_fills++;
}

void dbt_mmu_note_nonglobal(struct dbt_mmu *mmu, gva_t gva, bool first)
{
	struct dbt_mmu_state *state = dbt_mmu_state(mmu);

	if (++state->nonglobal_fills >= 256) {
		/* Most of them, and more than one for each address space that was selected: Linux patches its code through a page
		 * of an address space of its own, thousands of times. The translator keeps the table's address in a register,
		 * so the change waits for an operation that tells it. */
		if (state->nonglobal_fills > state->global_fills && state->nonglobal_fills > state->clock - state->counted_from)
			state->want_own = true;
		count_fills(state);
	}
	if (!first)
		return;
	if (state->nonglobal_count == DBT_NONGLOBAL_MAX) {
		forget_nonglobal(mmu, true);
		state->want_own = true;
	}
	state->nonglobal[state->nonglobal_count++] = gva;
}

/* ---- life ---- */

int dbt_mmu_init(struct dbt_mmu *mmu, struct cpu *cpu, struct dbt_ram *ram, unsigned contexts)
{
	struct dbt_mmu_state *state = calloc(1, sizeof(*state));
	unsigned vcpus = cpu->vm->vcpu_count ? cpu->vm->vcpu_count : 1;

	*mmu = (struct dbt_mmu){
		.cpu = cpu,
		.ram = ram,
		.nowhere = dbt_ram_nowhere(ram),
		.context_count = contexts < 1 ? 1 : contexts > DBT_CONTEXTS_MAX ? DBT_CONTEXTS_MAX : contexts,
		.private_state = state,
	};
	if (!state)
		return -ENOMEM;
	/* 16 MiB of tables, and twice what one needs for all RAM; of the 65,530 mappings that Linux grants a process by
	 * default less than half, shared by the vcpus. */
	state->budget.chunks_max = 4096 + (unsigned)(mem_size(&cpu->vm->mem) >> (DBT_CHUNK_SHIFT - 1));
	state->budget.runs_max = 12288 / vcpus < 128 ? 128 : 12288 / vcpus;
	mmu->current = &mmu->contexts[0];
	mmu->current->cr3 = cpu->s.cr3;
	mmu->current->valid = true;
	if (!dbt_mmu_table_for(mmu, TLB_SUPERVISOR) || !dbt_mmu_table_for(mmu, TLB_SUPERVISOR_AC) ||
	    !dbt_mmu_table_for(mmu, TLB_USER)) {
		dbt_mmu_destroy(mmu);
		return -ENOMEM;
	}
	return 0;
}

void dbt_mmu_destroy(struct dbt_mmu *mmu)
{
	dbt_table_destroy(mmu->global);
	mmu->global = NULL;
	for (unsigned i = 0; i < mmu->context_count; i++) {
		for (unsigned index = 0; index < DBT_TABLES; index++) {
			dbt_table_destroy(mmu->contexts[i].table[index]);
			mmu->contexts[i].table[index] = NULL;
		}
	}
	free(mmu->private_state);
	mmu->private_state = NULL;
}

/* ---- what the listener hears ---- */

static void tell_dropped(struct dbt_mmu *mmu, struct dbt_context *context, gva_t page)
{
	if (mmu->listener.dropped)
		mmu->listener.dropped(mmu->listener.ctx, context, page);
}

static void tell_switched(struct dbt_mmu *mmu)
{
	mmu->switches++;
	if (mmu->listener.switched)
		mmu->listener.switched(mmu->listener.ctx);
}

/* ---- code on large pages ---- */

static unsigned region_bit(uint64_t region)
{
	return (unsigned)((region * 0x9e3779b97f4a7c15ull) >> 52); /* 12 bits: 64 words of 64 */
}

static uint64_t region_name(gva_t gva, uint64_t size)
{
	return size > MIB(4) ? gva >> 30 | 1ull << 63 : gva >> 22;
}

static void code_region_add(struct dbt_mmu *mmu, gva_t gva, uint64_t size)
{
	unsigned bit = region_bit(region_name(gva, size));

	dbt_mmu_state(mmu)->code_regions[bit >> 6] |= 1ull << (bit & 63);
}

static bool code_region_has(const struct dbt_mmu *mmu, gva_t gva, uint64_t size)
{
	unsigned bit = region_bit(region_name(gva, size));

	return dbt_mmu_state(mmu)->code_regions[bit >> 6] >> (bit & 63) & 1;
}

/* What the code side has to forget when gva's page is invalidated. */
static gva_t code_page_dropped(const struct dbt_mmu *mmu, gva_t gva)
{
	return code_region_has(mmu, gva, MIB(2)) || code_region_has(mmu, gva, GIB(1)) ? ~0ull : gva & PAGE_MASK;
}

int dbt_mmu_code_page(struct dbt_mmu *mmu, gva_t gva, bool user, gpa_t *gpa, bool *global)
{
	struct cpu *cpu = mmu->cpu;
	struct x86_walk walk;

	if (!canonical(gva) || x86_walk(&cpu->vm->mem, &cpu->s, cpu->cpuid->physical_bits, gva,
					X86_WALK_FETCH | (user ? X86_WALK_USER : 0), &walk) < 0)
		return -EFAULT;
	if (walk.page_size > PAGE_SIZE)
		code_region_add(mmu, gva, walk.page_size);
	*gpa = walk.gpa & PAGE_MASK;
	*global = walk.global;
	return 0;
}

/* ---- contexts ---- */

static bool pcids(const struct dbt_mmu *mmu)
{
	return mmu->cpu->s.cr4 & X86_CR4_PCIDE;
}

static uint64_t pcid_of(const struct dbt_mmu *mmu, uint64_t cr3)
{
	return pcids(mmu) ? cr3 & PCID_MASK : 0;
}

static struct dbt_context *find_context(struct dbt_mmu *mmu, uint64_t pcid)
{
	for (unsigned i = 0; i < mmu->context_count; i++) {
		if (mmu->contexts[i].valid && pcid_of(mmu, mmu->contexts[i].cr3) == pcid)
			return &mmu->contexts[i];
	}
	return NULL;
}

/* One that is free, or was not used for longest. */
static struct dbt_context *oldest_context(struct dbt_mmu *mmu)
{
	struct dbt_context *oldest = &mmu->contexts[0];

	for (unsigned i = 0; i < mmu->context_count; i++) {
		struct dbt_context *context = &mmu->contexts[i];

		if (!context->valid)
			return context;
		if (context->used < oldest->used)
			oldest = context;
	}
	return oldest;
}

static void drop_tables(struct dbt_context *context)
{
	for (unsigned index = 0; index < DBT_TABLES; index++) {
		if (context->table[index])
			dbt_table_drop(context->table[index]);
	}
}

/* All entries of a context that are not global. */
static void drop_context(struct dbt_mmu *mmu, struct dbt_context *context)
{
	if (context == mmu->current) {
		drop_tables(context);
		forget_nonglobal(mmu, true);
	} else {
		context->valid = false;
	}
	tell_dropped(mmu, context, ~0ull);
}

/* Supervisor tables become the contexts' own, if that was found to be better. */
static bool apply_want_own(struct dbt_mmu *mmu)
{
	struct dbt_mmu_state *state = dbt_mmu_state(mmu);

	if (!state->want_own)
		return false;
	state->want_own = false;
	state->own_supervisor = true;
	state->pge = mmu->cpu->s.cr4 & X86_CR4_PGE;
	forget_nonglobal(mmu, false);
	dbt_table_release(mmu->global);
	return true;
}

/* Everything was dropped because control registers changed: pages may be global now that were not. */
static bool share_again(struct dbt_mmu *mmu)
{
	struct dbt_mmu_state *state = dbt_mmu_state(mmu);

	if (!state->own_supervisor || state->pge == !!(mmu->cpu->s.cr4 & X86_CR4_PGE))
		return false;
	state->own_supervisor = false;
	count_fills(state);
	for (unsigned i = 0; i < mmu->context_count; i++) {
		if (mmu->contexts[i].table[TLB_SUPERVISOR])
			dbt_table_release(mmu->contexts[i].table[TLB_SUPERVISOR]);
	}
	return true;
}

void dbt_mmu_write_cr3(struct dbt_mmu *mmu, uint64_t cr3, bool no_flush)
{
	struct dbt_context *before = mmu->current, *context;

	cr3 &= ~X86_CR3_NOFLUSH;
	context = find_context(mmu, pcid_of(mmu, cr3));
	if (context && (!pcids(mmu) || !no_flush || ((context->cr3 ^ cr3) & ROOT_MASK))) {
		drop_context(mmu, context);
	} else if (!context) {
		context = oldest_context(mmu);
		if (context->valid)
			drop_context(mmu, context);
	}
	if (context != before)
		forget_nonglobal(mmu, true);
	if (!context->valid) {
		drop_tables(context);
		context->valid = true;
	}
	context->cr3 = cr3;
	context->used = ++dbt_mmu_state(mmu)->clock;
	mmu->current = context;
	if (apply_want_own(mmu) | (context != before))
		tell_switched(mmu);
}

void dbt_mmu_flush(struct dbt_mmu *mmu, bool global_too)
{
	struct dbt_mmu_state *state = dbt_mmu_state(mmu);
	bool changed;

	mmu->flushes++;
	for (unsigned i = 0; i < mmu->context_count; i++)
		mmu->contexts[i].valid = false;
	mmu->current->valid = true;
	mmu->current->cr3 = mmu->cpu->s.cr3;
	drop_tables(mmu->current);
	forget_nonglobal(mmu, !global_too);
	if (global_too) {
		dbt_table_drop(mmu->global);
		memset(state->code_regions, 0, sizeof(state->code_regions));
	}
	changed = apply_want_own(mmu);
	if (global_too)
		changed |= share_again(mmu);
	tell_dropped(mmu, NULL, ~0ull);
	if (changed)
		tell_switched(mmu);
}

void dbt_mmu_flush_writes(struct dbt_mmu *mmu)
{
	for (unsigned i = 0; i < mmu->context_count; i++)
		drop_tables(&mmu->contexts[i]);
	forget_nonglobal(mmu, false);
	dbt_table_drop(mmu->global);
}

/* ---- single pages ---- */

static void drop_page(struct dbt_context *context, gva_t gva)
{
	for (unsigned index = 0; index < DBT_TABLES; index++) {
		if (context->table[index] && context->table[index]->seen)
			dbt_table_drop_page(context->table[index], gva);
	}
}

/* Only what may come from a global page. */
static void drop_global_page(struct dbt_context *context, gva_t gva)
{
	for (unsigned index = 0; index < DBT_TABLES; index++) {
		struct dbt_table *table = context->table[index];

		if (table && (table->seen & DBT_CHUNK_GLOBAL) &&
		    ((dbt_table_chunk_flags(table, gva) & DBT_CHUNK_GLOBAL) ||
		     (table->seen & (DBT_CHUNK_LARGE4 | DBT_CHUNK_HUGE))))
			dbt_table_drop_page(table, gva);
	}
}

void dbt_mmu_flush_page(struct dbt_mmu *mmu, gva_t gva)
{
	mmu->page_flushes++;
	if (!canonical(gva))
		return;
	dbt_table_drop_page(mmu->global, gva);
	for (unsigned i = 0; i < mmu->context_count; i++) {
		if (&mmu->contexts[i] == mmu->current)
			drop_page(mmu->current, gva);
		else if (mmu->contexts[i].valid)
			drop_global_page(&mmu->contexts[i], gva);
	}
	tell_dropped(mmu, NULL, code_page_dropped(mmu, gva));
}

void dbt_mmu_invpcid(struct dbt_mmu *mmu, unsigned type, unsigned pcid, gva_t gva)
{
	struct dbt_context *context = find_context(mmu, pcid);

	switch (type) {
	case 0:
		if (!context || !canonical(gva))
			return;
		mmu->page_flushes++;
		drop_page(context, gva);
		if (context == mmu->current)
			dbt_table_drop_page(mmu->global, gva);
		tell_dropped(mmu, context, code_page_dropped(mmu, gva));
		return;
	case 1:
		if (context)
			drop_context(mmu, context);
		return;
	default:
		dbt_mmu_flush(mmu, type == 2);
		return;
	}
}
