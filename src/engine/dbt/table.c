/* Flat addend tables: reservation, chunks, dropping. See table.h.
 *
 * A drop costs in proportion to the chunks that were filled since the last one: only these are listed as active.
 * Chunks stay committed for the next use, until there are many more of them than a table fills between two drops.
 */
#include "engine/dbt/table.h"
#include <stdlib.h>
#include <sys/mman.h>

#define TABLE_SIZE  ((size_t)1 << 39)
#define CHUNK_BYTES (DBT_CHUNK_ENTRIES * sizeof(uint64_t))
#define CHUNKS      (TABLE_SIZE / CHUNK_BYTES)
#define LIST_MAX    ((size_t)1 << 20) /* chunks of a table: 2 TiB of linear space */
#define KEEP_MIN    128u              /* committed chunks that are never too many */

/* The bookkeeping, which lies before the table: address space too, of which little is ever touched. */
struct books {
	struct dbt_table table;
	uint32_t committed[LIST_MAX], active[LIST_MAX];
	uint8_t flags[CHUNKS];
} __attribute__((aligned(PAGE_SIZE)));

/* A page of another protection stands on either side of the table, so that its ends are ends of mappings: taking all of
 * it back splits none and can't fail for their number. */
#define RESERVED (sizeof(struct books) + PAGE_SIZE + TABLE_SIZE + PAGE_SIZE)

_Static_assert(CHUNK_BYTES == PAGE_SIZE, "a chunk is what mprotect can change");

struct dbt_table *dbt_table_create(uintptr_t nowhere, struct dbt_table_budget *budget)
{
	uint8_t *at = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;

	uint8_t *entries = at + sizeof(struct books) + PAGE_SIZE;
	struct books *books = (struct books *)at;

	if (mprotect(at, sizeof(*books), PROT_READ | PROT_WRITE) < 0 ||
	    mprotect(entries - PAGE_SIZE, PAGE_SIZE, PROT_READ) < 0 ||
	    mprotect(entries + TABLE_SIZE, PAGE_SIZE, PROT_READ) < 0) {
		munmap(at, RESERVED);
		return NULL;
	}
	books->table = (struct dbt_table){
		.centre = (uint64_t *)(entries + TABLE_SIZE / 2),
		.nowhere = nowhere,
		.budget = budget,
		.flags = books->flags + CHUNKS / 2,
		.committed = books->committed,
		.active = books->active,
	};
	return &books->table;
}

static uint8_t *start_of(const struct dbt_table *table)
{
	return (uint8_t *)table->centre - TABLE_SIZE / 2;
}

void dbt_table_destroy(struct dbt_table *table)
{
	if (!table)
		return;
	dbt_table_release(table);
	munmap(container_of(table, struct books, table), RESERVED);
}

/* ---- chunks ---- */

/* Chunks are numbered from the centre, as pages are; lists hold the low 32 bits. */
static int64_t chunk_of(gva_t gva)
{
	return (int64_t)gva >> DBT_CHUNK_SHIFT;
}

static uint64_t *chunk_entries(const struct dbt_table *table, int64_t chunk)
{
	return table->centre + chunk * (int64_t)DBT_CHUNK_ENTRIES;
}

static void refill(const struct dbt_table *table, int64_t chunk)
{
	uint64_t *entries = chunk_entries(table, chunk);
	uint64_t invalid = dbt_entry_invalid(table, (gva_t)chunk << DBT_CHUNK_SHIFT);

	for (unsigned i = 0; i < DBT_CHUNK_ENTRIES; i++)
		entries[i] = invalid - (uint64_t)i * PAGE_SIZE;
}

static bool committed(const struct dbt_table *table, int64_t chunk)
{
	return chunk >= -(int64_t)(CHUNKS / 2) && chunk < (int64_t)(CHUNKS / 2) &&
	       (table->flags[chunk] & DBT_CHUNK_COMMITTED);
}

/* How many runs more or fewer there are with this chunk than without. */
static int runs_added(const struct dbt_table *table, int64_t chunk)
{
	return 1 - committed(table, chunk - 1) - committed(table, chunk + 1);
}

static bool commit(struct dbt_table *table, int64_t chunk)
{
	struct dbt_table_budget *budget = table->budget;
	int runs = runs_added(table, chunk);

	if (budget->chunks >= budget->chunks_max || table->committed_count >= LIST_MAX ||
	    (runs > 0 && budget->runs >= budget->runs_max))
		return false;
	if (mprotect(chunk_entries(table, chunk), CHUNK_BYTES, PROT_READ | PROT_WRITE) < 0)
		return false;
	refill(table, chunk);
	table->flags[chunk] = DBT_CHUNK_COMMITTED;
	table->committed[table->committed_count++] = (uint32_t)chunk;
	budget->chunks++;
	budget->runs = (unsigned)((int)budget->runs + runs);
	budget->commits++;
	return true;
}

uint64_t *dbt_table_chunk(struct dbt_table *table, gva_t gva, unsigned how)
{
	int64_t chunk = chunk_of(gva);
	uint8_t *flags = &table->flags[chunk];

	if (unlikely(!(*flags & DBT_CHUNK_COMMITTED)) && !commit(table, chunk))
		return NULL;
	if (!(*flags & DBT_CHUNK_ACTIVE))
		table->active[table->active_count++] = (uint32_t)chunk;
	*flags |= (uint8_t)(DBT_CHUNK_ACTIVE | how);
	table->seen |= (uint8_t)(DBT_CHUNK_ACTIVE | how);
	return chunk_entries(table, chunk);
}

unsigned dbt_table_chunk_flags(const struct dbt_table *table, gva_t gva)
{
	unsigned flags = table->flags[chunk_of(gva)];

	return flags & DBT_CHUNK_ACTIVE ? flags & DBT_CHUNK_FILLED : 0;
}

bool dbt_table_lookup(const struct dbt_table *table, gva_t gva, uint64_t *entry)
{
	int64_t chunk = chunk_of(gva);

	if (!(table->flags[chunk] & DBT_CHUNK_COMMITTED))
		return false;
	*entry = chunk_entries(table, chunk)[dbt_chunk_index(gva)];
	return *entry != dbt_entry_invalid(table, gva & PAGE_MASK);
}

/* ---- dropping ---- */

static void drop_chunk(struct dbt_table *table, int64_t chunk)
{
	refill(table, chunk);
	table->flags[chunk] &= (uint8_t)~DBT_CHUNK_FILLED; /* it stays listed */
}

void dbt_table_drop_chunk(struct dbt_table *table, gva_t gva)
{
	if (table->flags[chunk_of(gva)] & DBT_CHUNK_ACTIVE)
		drop_chunk(table, chunk_of(gva));
}

static void drop_huge(struct dbt_table *table, int64_t chunk)
{
	for (unsigned i = 0; i < table->active_count; i++) {
		int64_t other = (int32_t)table->active[i];

		if (other >> 9 == chunk >> 9 && (table->flags[other] & DBT_CHUNK_HUGE))
			drop_chunk(table, other);
	}
}

void dbt_table_drop_page(struct dbt_table *table, gva_t gva)
{
	int64_t chunk = chunk_of(gva);
	uint8_t flags = table->flags[chunk];

	if (flags & DBT_CHUNK_ACTIVE) {
		if (flags & (DBT_CHUNK_LARGE | DBT_CHUNK_LARGE4 | DBT_CHUNK_HUGE))
			drop_chunk(table, chunk);
		else
			chunk_entries(table, chunk)[dbt_chunk_index(gva)] = dbt_entry_invalid(table, gva & PAGE_MASK);
	}
	if (table->flags[chunk ^ 1] & DBT_CHUNK_LARGE4)
		drop_chunk(table, chunk ^ 1); /* the other half of a 4 MiB page */
	if (table->seen & DBT_CHUNK_HUGE)
		drop_huge(table, chunk);
}

void dbt_table_drop(struct dbt_table *table)
{
	if (table->committed_count > KEEP_MIN && table->committed_count / 4 > table->active_count) {
		dbt_table_release(table);
		return;
	}
	for (unsigned i = 0; i < table->active_count; i++) {
		int64_t chunk = (int32_t)table->active[i];

		refill(table, chunk);
		table->flags[chunk] = DBT_CHUNK_COMMITTED;
	}
	table->active_count = 0;
	table->seen = 0;
}

void dbt_table_release(struct dbt_table *table)
{
	struct dbt_table_budget *budget = table->budget;

	/* Inaccessible first: afterwards the pages would read as zero. Were the host to refuse, nobody could say which
	 * translations still stand. */
	if (mprotect(start_of(table), TABLE_SIZE, PROT_NONE) < 0)
		abort();
	madvise(start_of(table), TABLE_SIZE, MADV_DONTNEED);
	for (unsigned i = 0; i < table->committed_count; i++) {
		int64_t chunk = (int32_t)table->committed[i];

		budget->runs = (unsigned)((int)budget->runs - runs_added(table, chunk));
		table->flags[chunk] = 0;
	}
	budget->chunks -= table->committed_count;
	table->committed_count = table->active_count = 0;
	table->seen = 0;
}
