/* One flat addend table: an entry for each of the 2^36 pages of the 48-bit linear space (see mmu.h).
 *
 * It is committed in chunks of one host page: 512 entries, 2 MiB of linear space. Every entry of a committed chunk is
 * either valid, that is (host address of a view) - (linear address of its page), or of the invalid form, the same with
 * the middle page of dbt_ram_nowhere(). Everything else of the 512 GiB is PROT_NONE.
 *
 * A table belongs to one vcpu's thread; it may be used in a handler of a signal that interrupted translated code (its
 * functions call nothing but mmap, mprotect and madvise).
 *
 * Example:
 *     uint64_t *chunk = dbt_table_chunk(table, gva, DBT_CHUNK_LARGE);
 *     if (chunk) chunk[dbt_chunk_index(gva)] = (uintptr_t)view - (gva & PAGE_MASK);
 */
#ifndef ENGINE_DBT_TABLE_H
#define ENGINE_DBT_TABLE_H

#include "base/types.h"

#define DBT_CHUNK_SHIFT   21
#define DBT_CHUNK_ENTRIES 512u

/* What is known of a chunk. It was filled: */
#define DBT_CHUNK_LARGE     0x01u /* from a 2 MiB page */
#define DBT_CHUNK_LARGE4    0x02u /* from a 4 MiB page */
#define DBT_CHUNK_HUGE      0x04u /* from a 1 GiB page */
#define DBT_CHUNK_GLOBAL    0x08u /* with global pages */
#define DBT_CHUNK_NONGLOBAL 0x10u /* with others; only noted in the table that contexts share */
#define DBT_CHUNK_FILLED    0x1fu
#define DBT_CHUNK_ACTIVE    0x40u /* at all */
/* table.c's own: */
#define DBT_CHUNK_COMMITTED 0x80u

/* What the tables of a vcpu may commit together. */
struct dbt_table_budget {
	unsigned chunks, chunks_max;
	unsigned runs, runs_max; /* of chunks side by side: each costs the process two mappings */
	uint64_t commits;        /* statistics */
};

struct dbt_table {
	uint64_t *centre;     /* the entry of linear address 0; 64-byte aligned */
	uintptr_t nowhere;    /* where invalid entries lead */
	struct dbt_table_budget *budget;
	uint8_t *flags;       /* DBT_CHUNK_*: of linear address 0; sparse */
	uint32_t *committed, *active; /* chunk numbers; active: may have valid entries */
	unsigned committed_count, active_count;
	uint8_t seen;         /* DBT_CHUNK_FILLED bits and DBT_CHUNK_ACTIVE of any chunk since the table was dropped */
};

/* Reserves a table. nowhere: the middle page of dbt_ram_nowhere(). NULL: no address space. */
struct dbt_table *dbt_table_create(uintptr_t nowhere, struct dbt_table_budget *budget);
void dbt_table_destroy(struct dbt_table *table);

/* The chunk that has gva's entry, committed, noted as filled with `how` (DBT_CHUNK_FILLED bits). NULL: the budget is used
 * up or the host refuses; dbt_table_release() of this table or others helps. gva: canonical. */
uint64_t *dbt_table_chunk(struct dbt_table *table, gva_t gva, unsigned how);
/* What dbt_table_chunk() noted; 0: the chunk has no valid entries. */
unsigned dbt_table_chunk_flags(const struct dbt_table *table, gva_t gva);

/* gva's entry if it is valid; else false. */
bool dbt_table_lookup(const struct dbt_table *table, gva_t gva, uint64_t *entry);

/* Makes entries invalid: all; all of a chunk; that of a page, and if it lies in a large page all of that. */
void dbt_table_drop(struct dbt_table *table);
void dbt_table_drop_chunk(struct dbt_table *table, gva_t gva);
void dbt_table_drop_page(struct dbt_table *table, gva_t gva);
/* The same as dbt_table_drop(), and the memory is given back. */
void dbt_table_release(struct dbt_table *table);

static inline unsigned dbt_chunk_index(gva_t gva)
{
	return (unsigned)(gva >> PAGE_SHIFT) % DBT_CHUNK_ENTRIES;
}

/* The first linear address of gva's chunk. */
static inline gva_t dbt_chunk_start(gva_t gva)
{
	return gva & ~(((gva_t)1 << DBT_CHUNK_SHIFT) - 1);
}

static inline uint64_t dbt_entry_invalid(const struct dbt_table *table, gva_t page)
{
	return table->nowhere - page;
}

#endif
