/* New images, and other sizes for old ones. See qcow2.h.
 *
 * Example: `r = qcow2_create(file, &(struct qcow2_create_options){.size = GIB(10), .version = 3, .cluster_bits = 16,
 *                                                                  .refcount_order = 4}, why, sizeof(why));`
 *
 *     cluster 0    header          1    refcount table     2 ...   refcount blocks     then    L1 table
 */
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

static unsigned put_extension(uint8_t *at, uint32_t kind, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	write_be32(at, kind);
	write_be32(at + 4, (uint32_t)len);
	if (len)
		memcpy(at + 8, text, len);
	return 8 + (unsigned)((len + 7) / 8 * 8);
}

struct plan {
	uint64_t cluster_size, l1_size, l1_clusters, blocks, clusters;
};

/* Blocks count themselves too. */
static void make_plan(const struct qcow2_create_options *options, struct plan *plan)
{
	const uint64_t cluster = 1ull << options->cluster_bits;
	const uint64_t per_block = cluster * 8 >> options->refcount_order;

	plan->cluster_size = cluster;
	plan->l1_size = divide_up(options->size, cluster * (cluster / 8));
	plan->l1_clusters = divide_up(plan->l1_size ? plan->l1_size * 8 : 8, cluster);
	plan->blocks = 1;
	while ((plan->clusters = 2 + plan->blocks + plan->l1_clusters) > plan->blocks * per_block)
		plan->blocks++;
}

static int fill_header(const struct qcow2_create_options *options, const struct plan *plan, uint8_t *header, char *why, size_t why_size)
{
	const size_t name_len = options->backing ? strlen(options->backing) : 0;
	unsigned at = options->version == 2 ? QCOW2_V2_LENGTH : QCOW2_OUR_LENGTH;

	if (at + 24 + name_len + (options->backing_format ? strlen(options->backing_format) : 0) + 16 > plan->cluster_size ||
	    name_len > QCOW2_MAX_BACKING_NAME) {
		snprintf(why, why_size, "the backing file's name is too long for a header of %llu bytes: use a shorter one",
			 (unsigned long long)plan->cluster_size);
		return -ENAMETOOLONG;
	}
	write_be32(header, QCOW2_MAGIC);
	write_be32(header + QCOW2_VERSION, options->version);
	write_be32(header + QCOW2_CLUSTER_BITS, options->cluster_bits);
	write_be64(header + QCOW2_SIZE, options->size);
	write_be32(header + QCOW2_L1_SIZE, (uint32_t)plan->l1_size);
	write_be64(header + QCOW2_L1_OFFSET, (2 + plan->blocks) << options->cluster_bits);
	write_be64(header + QCOW2_REFTABLE_OFFSET, plan->cluster_size);
	write_be32(header + QCOW2_REFTABLE_CLUSTERS, 1);
	if (options->version >= 3) {
		if (options->compression != QCOW2_ZLIB)
			write_be64(header + QCOW2_INCOMPATIBLE, QCOW2_INCOMPATIBLE_COMPRESSION);
		write_be32(header + QCOW2_REFCOUNT_ORDER, options->refcount_order);
		write_be32(header + QCOW2_HEADER_LENGTH, QCOW2_OUR_LENGTH);
		header[QCOW2_COMPRESSION_TYPE] = (uint8_t)options->compression;
	}
	if (options->backing_format)
		at += put_extension(header + at, QCOW2_EXTENSION_BACKING_FORMAT, options->backing_format);
	at += put_extension(header + at, QCOW2_EXTENSION_END, NULL);
	if (name_len) {
		write_be64(header + QCOW2_BACKING_OFFSET, at);
		write_be32(header + QCOW2_BACKING_SIZE, (uint32_t)name_len);
		memcpy(header + at, options->backing, name_len);
	}
	return 0;
}

static int write_refcounts(struct disk_file *file, const struct qcow2_create_options *options, const struct plan *plan, uint8_t *cluster)
{
	const uint64_t per_block = plan->cluster_size * 8 >> options->refcount_order;
	int r;

	memset(cluster, 0, plan->cluster_size);
	for (uint64_t i = 0; i < plan->blocks; i++)
		write_be64(cluster + 8 * i, (2 + i) << options->cluster_bits);
	r = file_write(file, plan->cluster_size, cluster, plan->cluster_size);
	for (uint64_t b = 0; b < plan->blocks && r == 0; b++) {
		memset(cluster, 0, plan->cluster_size);
		for (uint64_t i = 0; i < per_block && b * per_block + i < plan->clusters; i++)
			qcow2_refcount_write(cluster, options->refcount_order, i, 1);
		r = file_write(file, (2 + b) << options->cluster_bits, cluster, plan->cluster_size);
	}
	memset(cluster, 0, plan->cluster_size);
	for (uint64_t i = 0; i < plan->l1_clusters && r == 0; i++)
		r = file_write(file, (2 + plan->blocks + i) << options->cluster_bits, cluster, plan->cluster_size);
	return r;
}

static int check_options(const struct qcow2_create_options *options, const struct plan *plan, char *why, size_t why_size)
{
	if (options->size % 512) {
		snprintf(why, why_size, "a disk of %llu bytes can't be: give a multiple of 512", (unsigned long long)options->size);
		return -EINVAL;
	}
	if (plan->l1_size > QCOW2_MAX_L1_ENTRIES || plan->blocks > plan->cluster_size / 8 || options->size > INT64_MAX) {
		snprintf(why, why_size, "the disk is too large for clusters of %llu bytes: choose larger ones",
			 (unsigned long long)plan->cluster_size);
		return -EFBIG;
	}
	return 0;
}

int qcow2_create(struct disk_file *file, const struct qcow2_create_options *options, char *why, size_t why_size)
{
	struct plan plan;
	uint8_t *cluster;
	int r;

	why[0] = 0;
	make_plan(options, &plan);
	r = check_options(options, &plan, why, why_size);
	if (r < 0)
		return r;
	cluster = calloc(1, plan.cluster_size);
	if (!cluster)
		return -ENOMEM;
	/* The header last: until it is there the file is nothing at all. */
	r = write_refcounts(file, options, &plan, cluster);
	if (r == 0)
		r = file->ops->sync(file);
	memset(cluster, 0, plan.cluster_size);
	if (r == 0)
		r = fill_header(options, &plan, cluster, why, why_size);
	if (r == 0)
		r = file_write(file, 0, cluster, plan.cluster_size);
	if (r == 0)
		r = file->ops->sync(file);
	free(cluster);
	if (r < 0 && !why[0])
		snprintf(why, why_size, "it can't be written (%s)", strerror(-r));
	return r;
}

/* ---- another size ---- */

static int write_size(struct qcow2 *q, uint64_t size)
{
	uint8_t bytes[8];
	int r;

	write_be64(bytes, size);
	r = qcow2_write_header(q, QCOW2_SIZE, bytes, sizeof(bytes));
	return r == 0 ? qcow2_sync(q) : r;
}

/* A larger L1 table somewhere else; the header changes over with one write. */
static int grow_l1(struct qcow2 *q, uint64_t entries)
{
	const uint64_t old_offset = q->l1_offset, old_clusters = qcow2_clusters(q, q->l1_size * 8);
	const uint64_t clusters = qcow2_clusters(q, entries * 8), room = clusters << q->cluster_bits;
	uint64_t offset, *on_disk, *l1;
	uint8_t header[12];
	int r = qcow2_flush(q);

	if (r == 0)
		r = qcow2_alloc_row(q, clusters, &offset);
	if (r < 0)
		return r;
	on_disk = calloc(room / 8, 8);
	l1 = calloc(entries, 8);
	r = on_disk && l1 ? qcow2_cache_grow(&q->l2, entries) : -ENOMEM;
	for (uint64_t i = 0; i < q->l1_size && r == 0; i++)
		on_disk[i] = htobe64(l1[i] = q->l1[i]);
	if (r == 0)
		r = file_write(q->file, offset, on_disk, room);
	free(on_disk);
	if (r == 0)
		r = qcow2_flush(q); /* the counts of the new table */
	write_be32(header, (uint32_t)entries);
	write_be64(header + 4, offset);
	if (r == 0)
		r = qcow2_write_header(q, QCOW2_L1_SIZE, header, sizeof(header));
	if (r == 0)
		r = qcow2_sync(q);
	if (r < 0) {
		free(l1);
		return r;
	}
	free(q->l1);
	q->l1 = l1;
	q->l1_size = entries;
	q->l1_offset = offset;
	if (old_clusters)
		qcow2_free_later(q, old_offset, old_clusters);
	return 0;
}

/* What lies behind the new end goes; tables that are empty then stay. */
static int cut(struct qcow2 *q, uint64_t size)
{
	const uint64_t whole = qcow2_clusters(q, size) << q->cluster_bits;
	int r = 0;

	if (whole < q->size)
		r = qcow2_zero(q, whole, q->size - whole, true);
	if (r == 0 && size < whole)
		r = qcow2_zero(q, size, (whole < q->size ? whole : q->size) - size, true);
	return r == 0 ? qcow2_flush(q) : r;
}

int qcow2_resize(struct qcow2 *q, uint64_t size, bool shrink, char *why, size_t why_size)
{
	const uint64_t reach = 1ull << (q->cluster_bits + q->l2_bits), entries = divide_up(size, reach);
	int r = 0;

	why[0] = 0;
	if (!q->writable || q->failed) {
		r = q->writable ? q->failed : -EROFS;
		snprintf(why, why_size, "it can't be written (%s)", strerror(-r));
		return r;
	}
	if (size % 512 || size > INT64_MAX || entries > QCOW2_MAX_L1_ENTRIES) {
		snprintf(why, why_size, "a disk of %llu bytes can't be: give a multiple of 512, up to %llu", (unsigned long long)size,
			 (unsigned long long)QCOW2_MAX_L1_ENTRIES * reach);
		return -EINVAL;
	}
	if (size < q->size && !shrink) {
		snprintf(why, why_size, "it would lose what lies behind the new end: say --shrink if that is meant");
		return -EINVAL;
	}
	if (q->snapshot_count) {
		snprintf(why, why_size, "it has snapshots, whose size would change: remove them with qemu-img snapshot -d first");
		return -EINVAL;
	}
	if (size < q->size)
		r = cut(q, size);
	if (r == 0 && entries > q->l1_size)
		r = grow_l1(q, entries);
	/* Not what a backing file has there, nor what the last cluster held behind the end. */
	if (r == 0)
		r = write_size(q, size);
	if (r == 0) {
		const uint64_t old = q->size;

		q->size = size;
		if (size > old)
			r = qcow2_zero(q, old, size - old, true);
	}
	if (r == 0)
		r = qcow2_flush(q);
	if (r < 0)
		snprintf(why, why_size, "it can't be written (%s)", strerror(-r));
	return r;
}
