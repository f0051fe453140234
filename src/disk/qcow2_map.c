/* From addresses of the guest to places in the file: L1 and L2. See qcow2.h.
 *
 * Example: `r = qcow2_map(q, offset, len, false, &extent);`
 */
#include "disk/qcow2_private.h"
#include <errno.h>

int qcow2_l2_get(struct qcow2 *q, uint64_t l1_index, struct qcow2_table **table)
{
	uint64_t offset = q->l1[l1_index] & QCOW2_OFFSET;

	if (offset % q->cluster_size || offset >= q->high_water)
		return qcow2_corrupt(q, "an L2 table outside of the file", offset);
	return qcow2_cache_get(q, &q->l2, l1_index, offset, table);
}

/* A new table, or a copy of one that snapshots share. */
static int new_table(struct qcow2 *q, uint64_t l1_index, struct qcow2_table **table)
{
	const uint64_t old = q->l1[l1_index] & QCOW2_OFFSET;
	uint64_t offset, got;
	bool fresh;
	int r = qcow2_alloc(q, 1, &offset, &got, &fresh);

	if (r < 0)
		return r;
	if (old)
		r = qcow2_l2_get(q, l1_index, table);
	else
		r = qcow2_cache_add(q, &q->l2, l1_index, offset, table);
	if (r < 0) {
		qcow2_unalloc(q, offset, 1);
		return r;
	}
	pthread_mutex_lock(&q->lock);
	r = qcow2_set_add(&q->metadata, offset >> q->cluster_bits);
	if (r == 0) {
		(*table)->offset = offset;
		(*table)->fresh = true;
		qcow2_table_dirty(q, &q->l2, *table, 0, q->cluster_size);
		qcow2_l1_set(q, l1_index, offset | QCOW2_COPIED);
	}
	pthread_mutex_unlock(&q->lock);
	if (r == 0 && old)
		qcow2_free_later(q, old, 1);
	if (r < 0) {
		if (!old)
			qcow2_cache_forget(q, &q->l2, l1_index);
		qcow2_unalloc(q, offset, 1);
	}
	return r;
}

int qcow2_l2_for_change(struct qcow2 *q, uint64_t l1_index, struct qcow2_table **table)
{
	if (q->failed)
		return q->failed;
	return q->l1[l1_index] & QCOW2_COPIED ? qcow2_l2_get(q, l1_index, table) : new_table(q, l1_index, table);
}

void qcow2_entry_set(struct qcow2 *q, struct qcow2_table *table, unsigned index, uint64_t entry)
{
	pthread_mutex_lock(&q->lock);
	write_be64(table->data + 8u * index, entry);
	qcow2_table_dirty(q, &q->l2, table, 8u * index, 8u * index + 8);
	pthread_mutex_unlock(&q->lock);
}

static enum qcow2_kind kind_of(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_KIND_COMPRESSED;
	if (q->version >= 3 && (entry & QCOW2_ZERO))
		return QCOW2_KIND_ZERO;
	return entry & QCOW2_OFFSET ? QCOW2_KIND_DATA : QCOW2_KIND_BACKING;
}

/* The guest must not reach tables, nor make the file grow to wherever an entry says. */
static bool data_is_sound(const struct qcow2 *q, uint64_t host)
{
	return host % q->cluster_size == 0 && host < q->high_water && !qcow2_is_metadata(q, host);
}

/* Lock held if others may change the table. */
static int look_up(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset, uint64_t len, struct qcow2_extent *extent)
{
	const unsigned first = qcow2_l2_index(q, offset), entries = 1u << q->l2_bits;
	const uint64_t within = offset & (q->cluster_size - 1);
	const uint64_t entry = read_be64(table->data + 8u * first);
	uint64_t covered = q->cluster_size - within;

	*extent = (struct qcow2_extent){.kind = kind_of(q, entry), .entry = entry};
	if (extent->kind == QCOW2_KIND_DATA) {
		extent->in_place = (entry & QCOW2_COPIED) != 0;
		extent->host = (entry & QCOW2_OFFSET) + within;
		if (!data_is_sound(q, entry & QCOW2_OFFSET))
			return -EIO;
	}
	/* What goes on the same way in the next clusters. */
	for (unsigned i = first + 1; i < entries && covered < len && extent->kind != QCOW2_KIND_COMPRESSED; i++) {
		uint64_t next = read_be64(table->data + 8u * i);

		if (kind_of(q, next) != extent->kind)
			break;
		if (extent->kind == QCOW2_KIND_DATA &&
		    ((next & QCOW2_OFFSET) != extent->host + covered || (next ^ entry) & QCOW2_COPIED ||
		     !data_is_sound(q, next & QCOW2_OFFSET)))
			break;
		covered += q->cluster_size;
	}
	extent->len = covered < len ? covered : len;
	return 0;
}

static void map_nothing(const struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *extent)
{
	const uint64_t reach = 1ull << (q->cluster_bits + q->l2_bits), left = reach - (offset & (reach - 1));

	*extent = (struct qcow2_extent){.kind = QCOW2_KIND_BACKING, .len = len < left ? len : left};
}

static int map_cached(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *extent)
{
	const uint64_t index = qcow2_l1_index(q, offset);
	struct qcow2_table *table;
	int r = 0;

	pthread_mutex_lock(&q->lock);
	if (!(q->l1[index] & QCOW2_OFFSET))
		map_nothing(q, offset, len, extent);
	else if ((table = qcow2_cache_peek(&q->l2, index)))
		r = look_up(q, table, offset, len, extent);
	else
		r = -EAGAIN;
	pthread_mutex_unlock(&q->lock);
	return r;
}

int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, bool cached, struct qcow2_extent *extent)
{
	const uint64_t index = qcow2_l1_index(q, offset);
	struct qcow2_table *table;
	int r;

	if (offset >= q->size || len > q->size - offset)
		return -EINVAL;
	if (cached)
		return map_cached(q, offset, len, extent);
	if (!(q->l1[index] & QCOW2_OFFSET)) {
		map_nothing(q, offset, len, extent);
		return 0;
	}
	r = qcow2_l2_get(q, index, &table);
	if (r == 0)
		r = look_up(q, table, offset, len, extent);
	if (r == -EIO)
		return qcow2_corrupt(q, "data outside of the file or in a table", offset);
	return r;
}
