/* What mmu.c and fill.c share: a vcpu's address spaces beyond what the translator sees of them.
 */
#ifndef ENGINE_DBT_MMU_STATE_H
#define ENGINE_DBT_MMU_STATE_H

#include "engine/dbt/mmu.h"
#include "engine/dbt/table.h"

/* Chunks of the shared supervisor table that hold entries of pages without the G bit. */
#define DBT_NONGLOBAL_MAX 32

struct dbt_mmu_state {
	struct dbt_table_budget budget;
	uint64_t clock;            /* for dbt_context.used: how often an address space was selected */
	bool own_supervisor;       /* supervisor tables are a context's own */
	bool want_own;             /* from the next operation on that changes the context or drops mappings */
	bool pge;                  /* CR4.PGE when own_supervisor was set */
	uint64_t global_fills, nonglobal_fills; /* of the shared table, since `clock` was counted_from */
	uint64_t counted_from;
	gva_t nonglobal[DBT_NONGLOBAL_MAX];
	unsigned nonglobal_count;
	uint64_t code_regions[64]; /* hashed set of 2 MiB and 1 GiB regions with code on large pages */
};

static inline struct dbt_mmu_state *dbt_mmu_state(const struct dbt_mmu *mmu)
{
	return mmu->private_state;
}

/* The table for accesses by table `index` in the current context, made if need be; NULL: no address space. */
struct dbt_table *dbt_mmu_table_for(struct dbt_mmu *mmu, unsigned index);
/* dbt_table_chunk() of it, at the expense of other entries if need be. NULL when the host has nothing left. */
uint64_t *dbt_mmu_chunk(struct dbt_mmu *mmu, struct dbt_table *table, gva_t gva, unsigned how);
/* Is it the supervisor table that the contexts share? */
bool dbt_mmu_table_shared(const struct dbt_mmu *mmu, const struct dbt_table *table);
/* The shared table's chunk with gva got entries of pages that are not global (and had none before), or of global ones. */
void dbt_mmu_note_nonglobal(struct dbt_mmu *mmu, gva_t gva, bool first);
void dbt_mmu_note_global(struct dbt_mmu *mmu);

#endif
