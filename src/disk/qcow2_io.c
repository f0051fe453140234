/* Reading, writing, zeroing, discarding and flushing. See qcow2.h.
 *
 * Example: `r = qcow2_write(q, offset, span, len); if (!r) r = qcow2_flush(q);`
 *
 * A write to a cluster that is not the image's alone (or not there) goes to a new one, together with what the old one holds around
 * it; the L2 entry follows in memory. The whole cluster is written at once: there is never a mixture to be seen.
 */
#include "base/checked.h"
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdlib.h>

static int check_range(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t end;

	return add_overflow(offset, len, &end) || end > q->size ? -EINVAL : 0;
}

static int check_write(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
	return !q->writable ? -EROFS : q->failed ? q->failed : check_range(q, offset, len);
}

/* ---- reading ---- */

static int read_extent(struct qcow2 *q, const struct qcow2_extent *extent, uint64_t offset, struct span span)
{
	int r = 0;

	switch (extent->kind) {
	case QCOW2_KIND_DATA:
		return file_readv(q->file, extent->host, span, extent->len);
	case QCOW2_KIND_COMPRESSED:
		r = qcow2_unpack(q, extent->entry);
		if (r == 0)
			span_fill(span, q->unpacked + (offset & (q->cluster_size - 1)), extent->len);
		return r;
	case QCOW2_KIND_BACKING:
		if (q->options.read_backing)
			return q->options.read_backing(q->options.backing_ctx, offset, span, extent->len);
		break;
	case QCOW2_KIND_ZERO:
		break;
	}
	span_zero(span, extent->len);
	return 0;
}

int qcow2_read(struct qcow2 *q, uint64_t offset, struct span span, uint64_t len)
{
	struct qcow2_extent extent;
	int r = check_range(q, offset, len);

	while (r == 0 && len > 0) {
		r = qcow2_map(q, offset, len, false, &extent);
		if (r == 0)
			r = read_extent(q, &extent, offset, span);
		offset += extent.len;
		span.skip += extent.len;
		len -= extent.len;
	}
	return r;
}

/* ---- writing ---- */

/* What is to be written of some new clusters: [from, to) of the guest's addresses, the data in span. */
struct piece {
	uint64_t from, to;
	struct span span;
};

static bool old_is_zero(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return false;
	if (q->version >= 3 && (entry & QCOW2_ZERO))
		return true;
	return !(entry & QCOW2_OFFSET) && !q->options.read_backing;
}

static int read_old(struct qcow2 *q, uint64_t offset, uint8_t *to, uint64_t len)
{
	const struct iovec iov = {to, (size_t)len};
	const uint64_t end = offset + len;

	if (end > q->size) {
		const uint64_t there = q->size > offset ? q->size - offset : 0;

		memset(to + there, 0, (size_t)(len - there));
		len = there;
	}
	return len ? qcow2_read(q, offset, (struct span){&iov, 1, 0}, len) : 0;
}

/* A cluster of which only a part is new. */
static int write_mixed(struct qcow2 *q, uint64_t host, const struct piece *piece, uint64_t old_entry, bool fresh)
{
	const uint64_t start = piece->from & ~(uint64_t)(q->cluster_size - 1), end = start + q->cluster_size;
	int r;

	if (fresh && old_is_zero(q, old_entry))
		return file_writev(q->file, host + (piece->from - start), piece->span, piece->to - piece->from);
	r = read_old(q, start, q->bounce, piece->from - start);
	if (r == 0)
		r = read_old(q, piece->to, q->bounce + (piece->to - start), end - piece->to);
	if (r < 0)
		return r;
	span_copy(q->bounce + (piece->from - start), piece->span, piece->to - piece->from);
	return file_write(q->file, host, q->bounce, q->cluster_size);
}

/* Writes piece to clusters in a row at host, the first of them for piece->from. */
static int write_new(struct qcow2 *q, uint64_t host, const struct piece *piece, const struct qcow2_table *table, bool fresh)
{
	uint64_t at = piece->from;
	int r = 0;

	while (r == 0 && at < piece->to) {
		const uint64_t within = at & (q->cluster_size - 1);
		struct piece part = {at, at - within + q->cluster_size, span_at(piece->span, at - piece->from)};

		if (within == 0 && piece->to - at >= q->cluster_size) {
			part.to = piece->to & ~(uint64_t)(q->cluster_size - 1);
			r = file_writev(q->file, host, part.span, part.to - at);
			host += part.to - at;
		} else {
			uint64_t entry = table ? read_be64(table->data + 8u * qcow2_l2_index(q, at)) : 0;

			if (part.to > piece->to)
				part.to = piece->to;
			r = write_mixed(q, host, &part, entry, fresh);
			host += q->cluster_size;
		}
		at = part.to;
	}
	return r;
}

/* A zero cluster may have kept its place in the file. */
static bool keeps_place(const struct qcow2 *q, uint64_t entry)
{
	return q->version >= 3 && (entry & QCOW2_ZERO) && !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_COPIED) && (entry & QCOW2_OFFSET);
}

static int link_new(struct qcow2 *q, uint64_t host, uint64_t offset, uint64_t count)
{
	struct qcow2_table *table;
	int r = qcow2_l2_for_change(q, qcow2_l1_index(q, offset), &table);

	for (uint64_t i = 0; i < count && r == 0; i++) {
		const unsigned index = qcow2_l2_index(q, offset) + (unsigned)i;
		const uint64_t old = read_be64(table->data + 8u * index);

		qcow2_entry_set(q, table, index, (host + (i << q->cluster_bits)) | QCOW2_COPIED);
		if ((old & QCOW2_OFFSET) != host + (i << q->cluster_bits) || old & QCOW2_COMPRESSED)
			qcow2_free_entry(q, old);
	}
	return r;
}

/* Writes [offset, offset+len) of one extent to new clusters; *done is how much of it. */
static int write_allocating(struct qcow2 *q, uint64_t offset, struct span span, const struct qcow2_extent *extent, uint64_t *done)
{
	const uint64_t within = offset & (q->cluster_size - 1);
	uint64_t host, got = 1, wanted = qcow2_clusters(q, within + extent->len);
	struct qcow2_table *table = NULL;
	struct piece piece = {.from = offset, .span = span};
	bool fresh = false, kept = keeps_place(q, extent->entry);
	int r = 0;

	if (kept) {
		host = extent->entry & QCOW2_OFFSET;
		if (host % q->cluster_size || host >= q->high_water || qcow2_is_metadata(q, host))
			return qcow2_corrupt(q, "data outside of the file or in a table", offset);
	} else {
		r = qcow2_alloc(q, wanted, &host, &got, &fresh);
	}
	if (r < 0)
		return r;
	*done = (got << q->cluster_bits) - within;
	if (*done > extent->len)
		*done = extent->len;
	piece.to = offset + *done;
	if (q->l1[qcow2_l1_index(q, offset)] & QCOW2_OFFSET)
		r = qcow2_l2_get(q, qcow2_l1_index(q, offset), &table);
	if (r == 0)
		r = write_new(q, host, &piece, table, fresh);
	if (r == 0)
		r = link_new(q, host, offset & ~(uint64_t)(q->cluster_size - 1), got);
	if (r < 0 && !kept)
		qcow2_unalloc(q, host, got);
	return r;
}

int qcow2_write(struct qcow2 *q, uint64_t offset, struct span span, uint64_t len)
{
	struct qcow2_extent extent;
	int r = check_write(q, offset, len);

	while (r == 0 && len > 0) {
		uint64_t done;

		r = qcow2_map(q, offset, len, false, &extent);
		if (r < 0)
			break;
		/* Zero clusters may keep places of their own, one by one. */
		if (extent.kind == QCOW2_KIND_ZERO && extent.len > q->cluster_size - (offset & (q->cluster_size - 1)))
			extent.len = q->cluster_size - (offset & (q->cluster_size - 1));
		done = extent.len;
		if (extent.kind == QCOW2_KIND_DATA && extent.in_place)
			r = file_writev(q->file, extent.host, span, extent.len);
		else
			r = write_allocating(q, offset, span, &extent, &done);
		offset += done;
		span.skip += done;
		len -= done;
	}
	return r;
}

/* ---- zeroes ---- */

#define ZERO_BYTES 65536u

static const uint8_t zeroes[ZERO_BYTES];

/* By writing them: parts of clusters, and version 2. */
static int write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	int r = 0;

	while (r == 0 && len > 0) {
		struct iovec iov = {(void *)(uintptr_t)zeroes, len < ZERO_BYTES ? (size_t)len : ZERO_BYTES};
		struct qcow2_extent extent;

		r = qcow2_map(q, offset, iov.iov_len, false, &extent);
		if (r < 0)
			break;
		iov.iov_len = (size_t)extent.len;
		if (!old_is_zero(q, extent.entry))
			r = qcow2_write(q, offset, (struct span){&iov, 1, 0}, iov.iov_len);
		offset += iov.iov_len;
		len -= iov.iov_len;
	}
	return r;
}

enum drop {
	DROP_ZERO,    /* reads as zeroes; keeps its place */
	DROP_UNMAP,   /* reads as zeroes */
	DROP_DISCARD, /* reads as whatever is cheapest and does not show older data of others */
	DROP_REVEAL,  /* shows what lies under the image */
};

/* What becomes of an entry. */
static uint64_t dropped(const struct qcow2 *q, uint64_t old, enum drop how)
{
	if (how == DROP_REVEAL)
		return 0;
	if (how == DROP_DISCARD && !(old & (QCOW2_OFFSET | QCOW2_COMPRESSED)))
		return old; /* nothing there to give back */
	if (q->version < 3)
		return q->options.read_backing ? old : 0; /* nothing says zero in version 2 */
	if (how == DROP_ZERO && !(old & QCOW2_COMPRESSED) && (old & QCOW2_COPIED))
		return old | QCOW2_ZERO;
	return old_is_zero(q, old) && !(old & QCOW2_OFFSET) ? old : QCOW2_ZERO;
}

/* Whole clusters, all of one L2 table. */
static int drop_clusters(struct qcow2 *q, uint64_t offset, uint64_t count, enum drop how)
{
	const uint64_t l1_index = qcow2_l1_index(q, offset);
	struct qcow2_table *table = NULL;
	bool changes = false;
	int r = 0;

	if (q->l1[l1_index] & QCOW2_OFFSET)
		r = qcow2_l2_get(q, l1_index, &table);
	for (uint64_t i = 0; i < count && r == 0 && !changes; i++) {
		uint64_t old = table ? read_be64(table->data + 8u * (qcow2_l2_index(q, offset) + (unsigned)i)) : 0;

		changes = dropped(q, old, how) != old;
	}
	if (r < 0 || !changes)
		return r;
	r = qcow2_l2_for_change(q, l1_index, &table);
	for (uint64_t i = 0; i < count && r == 0; i++) {
		const unsigned index = qcow2_l2_index(q, offset) + (unsigned)i;
		const uint64_t old = read_be64(table->data + 8u * index), entry = dropped(q, old, how);

		if (entry == old)
			continue;
		qcow2_entry_set(q, table, index, entry);
		if ((entry & QCOW2_OFFSET) != (old & QCOW2_OFFSET) || old & QCOW2_COMPRESSED)
			qcow2_free_entry(q, old);
	}
	return r;
}

static int drop_range(struct qcow2 *q, uint64_t offset, uint64_t end, enum drop how)
{
	const uint64_t reach = 1ull << (q->cluster_bits + q->l2_bits);
	int r = 0;

	while (r == 0 && offset < end) {
		uint64_t stop = (offset | (reach - 1)) + 1;

		if (stop > end)
			stop = end;
		r = drop_clusters(q, offset, qcow2_clusters(q, stop - offset), how);
		offset = stop;
	}
	return r;
}

/* The whole clusters in [offset, offset + len); the last of the disk may be cut by its end. */
static void whole_clusters(const struct qcow2 *q, uint64_t offset, uint64_t len, uint64_t *from, uint64_t *to)
{
	*from = qcow2_clusters(q, offset) << q->cluster_bits;
	*to = (offset + len) & ~(uint64_t)(q->cluster_size - 1);
	if (offset + len == q->size)
		*to = q->size;
	if (*to < *from)
		*to = *from = offset + len;
}

int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t len, bool unmap)
{
	uint64_t from, to;
	int r = check_write(q, offset, len);

	if (r < 0)
		return r;
	whole_clusters(q, offset, len, &from, &to);
	if (q->version < 3 && (q->options.read_backing || !unmap))
		return write_zeroes(q, offset, len);
	r = write_zeroes(q, offset, (from < offset + len ? from : offset + len) - offset);
	if (r == 0 && from < to)
		r = drop_range(q, from, to, unmap ? DROP_UNMAP : DROP_ZERO);
	if (r == 0 && to < offset + len)
		r = write_zeroes(q, to, offset + len - to);
	return r;
}

int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t from, to;
	int r = check_write(q, offset, len);

	if (r < 0)
		return r;
	whole_clusters(q, offset, len, &from, &to);
	return from < to ? drop_range(q, from, to, DROP_DISCARD) : 0;
}

int qcow2_empty(struct qcow2 *q)
{
	int r = check_write(q, 0, 0);

	return r == 0 ? drop_range(q, 0, q->size, DROP_REVEAL) : r;
}

/* ---- durability ---- */

int qcow2_flush(struct qcow2 *q)
{
	int r;

	if (!q->writable)
		return 0;
	r = qcow2_write_tables(q);
	if (r == 0)
		r = qcow2_sync(q);
	if (r == 0)
		r = qcow2_free_now(q);
	/* Counts that shrank may come late, and early costs nothing. */
	if (r == 0 && q->refblocks.dirty)
		r = qcow2_write_tables(q);
	/* Only now: another flush that finds nothing to do must not be done before this one. */
	if (r == 0)
		q->unflushed = q->in_grace || q->freed[0].count || q->refblocks.dirty;
	return r;
}
