/* Code that runs at several addresses: shared libraries and position-independent programs, which are somewhere else in each
 * process. A block that is translated for the second time, from the same bytes of guest memory for another address, becomes a
 * record as those of --tb-cache are (cache.h), and is from then on moved instead of translated: a tenth of the work.
 *
 * The records are this vcpu's, and good while its assumptions hold. They are few MiB, and when there is no room all go.
 */
#include "engine/dbt/cache.h"
#include "base/string.h"

#define ENTRIES_BITS 16
#define ARENA_SIZE   MIB(32)

struct dbt_moved {
	gpa_t gpa;
	uint64_t rip;    /* for which it was translated first */
	uint32_t key;
	uint32_t record; /* offset in the arena / 8; 0: none */
};

static struct dbt_moved *entry_of(const struct dbt *d, gpa_t gpa)
{
	return &d->moved[(gpa ^ (uint64_t)dbt_key(d) << 52) * 0x9e3779b97f4a7c15ull >> (64 - ENTRIES_BITS)];
}

static struct dbt_moved *find(const struct dbt *d, gpa_t gpa)
{
	struct dbt_moved *entry = entry_of(d, gpa);

	return entry->gpa == gpa && entry->key == dbt_key(d) && entry->rip ? entry : NULL;
}

size_t dbt_moved_size(void)
{
	return sizeof(struct dbt_moved) << ENTRIES_BITS;
}

size_t dbt_moved_arena_size(void)
{
	return ARENA_SIZE;
}

void dbt_moved_clear(struct dbt *d)
{
	for (size_t i = 0; d->moved_used && i < (size_t)1 << ENTRIES_BITS; i++)
		d->moved[i].record = 0;
	d->moved_used = 0;
}

struct tb *dbt_moved_get(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page)
{
	struct dbt_moved *entry = find(d, gpa);
	const struct cache_record *record;
	struct cache_parts parts;
	struct tb *tb = NULL;

	if (!entry || !entry->record)
		return NULL;
	record = (const struct cache_record *)(d->moved_arena + (size_t)entry->record * 8);
	parts = cache_parts(record);
	if (cache_sites_match(d, record, &parts, gpa))
		tb = cache_use(d, record, rip, gpa, page, "another address");
	if (tb)
		d->stats.moved++;
	else
		*entry = (struct dbt_moved){0};
	return tb;
}

bool dbt_moved_again(struct dbt *d, uint64_t rip, gpa_t gpa)
{
	struct dbt_moved *entry = find(d, gpa);

	if (entry)
		return entry->rip != rip && !entry->record;
	*entry_of(d, gpa) = (struct dbt_moved){.gpa = gpa, .rip = rip, .key = dbt_key(d)};
	return false;
}

static void *from_arena(void *ctx, size_t size)
{
	struct dbt *d = ctx;
	uint8_t *at = d->moved_arena + d->moved_used;

	if (size > ARENA_SIZE - d->moved_used)
		return NULL;
	d->moved_used += size;
	memset(at, 0, size);
	return at;
}

void dbt_moved_keep(struct dbt *d, const struct tr *tr)
{
	struct dbt_moved *entry = find(d, tr->gpa);
	struct cache_site sites[TB_MAX_INSNS];
	int count = cache_sites_of(d, tr->gpa, tr->insns, tr->count, sites);
	const struct cache_record *record;
	size_t used;

	if (!entry || count < 0 || tr->e.notes->full)
		return;
	if (!d->moved_used)
		d->moved_used = 8; /* no record is number 0 */
	used = d->moved_used;
	record = cache_record_of(tr, (unsigned)(tr->at - tr->rip), sites, (unsigned)count, 0, from_arena, d);
	if (record) {
		entry->record = (uint32_t)(((const uint8_t *)record - d->moved_arena) / 8);
	} else if (d->moved_used == used) {
		dbt_moved_clear(d);
	} else {
		d->moved_used = used;
	}
}
