/* Tables in memory: a bounded cache for L2 tables, one for refcount blocks, and the order in which they are written.
 *
 * Example: `r = qcow2_cache_get(q, &q->l2, index, offset, &table);`
 */
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdlib.h>

#define SECTOR 512u

int qcow2_cache_init(struct qcow2_cache *cache, uint64_t count, unsigned max)
{
	*cache = (struct qcow2_cache){.count = count, .max = max};
	cache->at = calloc(count ? count : 1, sizeof(*cache->at));
	return cache->at ? 0 : -ENOMEM;
}

int qcow2_cache_grow(struct qcow2_cache *cache, uint64_t count)
{
	struct qcow2_table **at = calloc(count, sizeof(*at));

	if (!at)
		return -ENOMEM;
	memcpy(at, cache->at, (size_t)(count < cache->count ? count : cache->count) * sizeof(*at));
	free(cache->at);
	cache->at = at;
	cache->count = count;
	return 0;
}

static void unlink_table(struct qcow2_cache *cache, struct qcow2_table *table)
{
	*(table->newer ? &table->newer->older : &cache->newest) = table->older;
	*(table->older ? &table->older->newer : &cache->oldest) = table->newer;
}

static void link_newest(struct qcow2_cache *cache, struct qcow2_table *table)
{
	table->newer = NULL;
	table->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = table;
	cache->newest = table;
}

static void free_table(struct qcow2_table *table)
{
	free(table->data);
	free(table);
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
	while (cache->oldest) {
		struct qcow2_table *table = cache->oldest;

		unlink_table(cache, table);
		free_table(table);
	}
	free(cache->at);
}

/* The one thread may look without the lock, since nobody else changes anything. */
static struct qcow2_table *find(struct qcow2_cache *cache, uint64_t index)
{
	struct qcow2_table *table = cache->at[index];

	if (table && table != cache->newest) {
		unlink_table(cache, table);
		link_newest(cache, table);
	}
	return table;
}

static bool is_dirty(const struct qcow2_table *table)
{
	return table->dirty_from < table->dirty_to;
}

/* What other threads have used meanwhile counts as used now. */
static void spare_referenced(struct qcow2 *q, struct qcow2_cache *cache)
{
	bool referenced = true;

	for (unsigned i = 0; i < cache->used && referenced; i++) {
		struct qcow2_table *table = cache->oldest;

		pthread_mutex_lock(&q->lock);
		referenced = table->referenced;
		table->referenced = false;
		pthread_mutex_unlock(&q->lock);
		if (referenced)
			(void)find(cache, table->index);
	}
}

/* Takes the oldest out and gives its memory for another; or new memory while there may be more. */
static int take_room(struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_table **out)
{
	struct qcow2_table *table;

	if (cache->used >= cache->max) {
		spare_referenced(q, cache);
		if (is_dirty(cache->oldest)) {
			int r = qcow2_write_tables(q);

			if (r < 0)
				return r;
		}
		pthread_mutex_lock(&q->lock);
		table = cache->oldest;
		unlink_table(cache, table);
		cache->at[table->index] = NULL;
		pthread_mutex_unlock(&q->lock);
		cache->used--;
		*out = table;
		return 0;
	}
	table = calloc(1, sizeof(*table));
	if (table && posix_memalign((void **)&table->data, SECTOR, q->cluster_size)) {
		free(table);
		table = NULL;
	}
	*out = table;
	return table ? 0 : -ENOMEM;
}

static void insert(struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_table *table, uint64_t index, uint64_t offset)
{
	table->index = index;
	table->offset = offset;
	table->dirty_from = table->dirty_to = 0;
	table->fresh = table->referenced = false;
	pthread_mutex_lock(&q->lock);
	cache->at[index] = table;
	link_newest(cache, table);
	pthread_mutex_unlock(&q->lock);
	cache->used++;
}

int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index, uint64_t offset, struct qcow2_table **out)
{
	struct qcow2_table *table;
	int r;

	table = find(cache, index);
	*out = table;
	if (table)
		return 0;
	r = take_room(q, cache, &table);
	if (r == 0) {
		r = file_read(q->file, offset, table->data, q->cluster_size);
		if (r == 0)
			insert(q, cache, table, index, offset);
		else
			free_table(table);
	}
	*out = table;
	return r;
}

int qcow2_cache_add(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index, uint64_t offset, struct qcow2_table **out)
{
	int r = take_room(q, cache, out);

	if (r < 0)
		return r;
	memset((*out)->data, 0, q->cluster_size);
	insert(q, cache, *out, index, offset);
	return 0;
}

void qcow2_cache_forget(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index)
{
	struct qcow2_table *table;

	table = find(cache, index);
	if (!table)
		return;
	pthread_mutex_lock(&q->lock);
	unlink_table(cache, table);
	cache->at[index] = NULL;
	pthread_mutex_unlock(&q->lock);
	cache->used--;
	cache->dirty -= is_dirty(table);
	free_table(table);
}

void qcow2_table_dirty(struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_table *table, uint32_t from, uint32_t to)
{
	if (!is_dirty(table)) {
		cache->dirty++;
		table->dirty_from = from;
		table->dirty_to = to;
	}
	if (from < table->dirty_from)
		table->dirty_from = from;
	if (to > table->dirty_to)
		table->dirty_to = to;
	q->unflushed = true;
}

void qcow2_l1_set(struct qcow2 *q, uint64_t index, uint64_t entry)
{
	q->l1[index] = entry;
	if (q->l1_dirty_from == q->l1_dirty_to) {
		q->l1_dirty_from = index;
		q->l1_dirty_to = index + 1;
	}
	if (index < q->l1_dirty_from)
		q->l1_dirty_from = index;
	if (index >= q->l1_dirty_to)
		q->l1_dirty_to = index + 1;
	q->unflushed = true;
}

int qcow2_sync(struct qcow2 *q)
{
	int r = q->file->ops->sync(q->file);

	/* What was to be on the medium may be lost, and the kernel says it only once: no further step may build on it. */
	if (r < 0)
		q->failed = r;
	return r;
}

static int write_table(struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_table *table)
{
	uint32_t from = table->fresh ? 0 : table->dirty_from / SECTOR * SECTOR;
	uint32_t to = table->fresh ? q->cluster_size : (table->dirty_to + SECTOR - 1) / SECTOR * SECTOR;
	int r = file_write(q->file, table->offset + from, table->data + from, to - from);

	if (r == 0) {
		table->dirty_from = table->dirty_to = 0;
		table->fresh = false;
		cache->dirty--;
	}
	return r;
}

/* The dirty ones that are fresh, or those that are not, or (both) all. */
static int write_some(struct qcow2 *q, struct qcow2_cache *cache, bool fresh, bool old)
{
	int r = 0;

	if (!cache->dirty)
		return 0;
	for (struct qcow2_table *table = cache->newest; table && r == 0; table = table->older)
		if (is_dirty(table) && (table->fresh ? fresh : old))
			r = write_table(q, cache, table);
	return r;
}

static int write_l1(struct qcow2 *q)
{
	uint64_t from = q->l1_dirty_from, count = q->l1_dirty_to - from;
	uint64_t *entries;
	int r;

	if (!count)
		return 0;
	entries = malloc(count * 8);
	if (!entries)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++)
		entries[i] = htobe64(q->l1[from + i]);
	r = file_write(q->file, q->l1_offset + from * 8, entries, count * 8);
	free(entries);
	if (r == 0)
		q->l1_dirty_from = q->l1_dirty_to = 0;
	return r;
}

int qcow2_write_tables(struct qcow2 *q)
{
	int r = q->failed;

	/* What is referred to: data is there already. */
	if (r == 0)
		r = write_some(q, &q->refblocks, true, true);
	if (r == 0)
		r = write_some(q, &q->l2, true, false);
	if (r < 0 || (!q->l2.dirty && q->l1_dirty_from == q->l1_dirty_to))
		return r;
	r = qcow2_sync(q);
	/* What refers to it. */
	if (r == 0)
		r = write_some(q, &q->l2, false, true);
	if (r == 0)
		r = write_l1(q);
	return r;
}
