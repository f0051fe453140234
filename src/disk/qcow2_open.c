/* The header: reading it, believing none of it, and opening what it describes. See qcow2.h. */
#include "base/checked.h"
#include "base/log.h"
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CACHE MIB(32)
#define MIN_TABLES    8u
#define ALIGNMENT     4096

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

bool qcow2_recognise(const uint8_t *bytes, size_t len)
{
	return len >= 4 && read_be32(bytes) == QCOW2_MAGIC;
}

int qcow2_write_header(struct qcow2 *q, unsigned at, const void *bytes, unsigned len)
{
	return file_write(q->file, at, bytes, len);
}

int qcow2_set_incompatible(struct qcow2 *q, uint64_t bits)
{
	uint8_t bytes[8];
	int r;

	if (q->version < 3 || bits == q->incompatible)
		return 0;
	write_be64(bytes, bits);
	r = qcow2_write_header(q, QCOW2_INCOMPATIBLE, bytes, sizeof(bytes));
	if (r == 0)
		r = q->file->ops->sync(q->file);
	if (r == 0)
		q->incompatible = bits;
	return r;
}

int qcow2_corrupt(struct qcow2 *q, const char *what, uint64_t offset)
{
	if (q->failed == 0 && q->writable) {
		log_guest("disk", "a qcow2 image is damaged: %s at 0x%llx; nothing is written to it any more, see ruse disk check",
			  what, (unsigned long long)offset);
		q->failed = -EIO;
		(void)qcow2_set_incompatible(q, q->incompatible | QCOW2_INCOMPATIBLE_CORRUPT);
	}
	return -EIO;
}

static bool overlaps(uint64_t offset, uint64_t len, uint64_t from, uint64_t size)
{
	return offset < from + size && from < offset + len;
}

bool qcow2_is_metadata(const struct qcow2 *q, uint64_t offset)
{
	return offset < q->cluster_size || overlaps(offset, q->cluster_size, q->l1_offset, q->l1_size * 8) ||
	       overlaps(offset, q->cluster_size, q->reftable_offset, q->reftable_clusters << q->cluster_bits) ||
	       (q->snapshot_count && q->snapshot_offset >> q->cluster_bits == offset >> q->cluster_bits) ||
	       qcow2_set_has(&q->metadata, offset >> q->cluster_bits);
}

/* ---- the header ---- */

static int check_features(struct qcow2 *q, char *why, size_t why_size)
{
	uint64_t unknown = q->incompatible & ~(uint64_t)QCOW2_INCOMPATIBLE_KNOWN;

	if (unknown & QCOW2_INCOMPATIBLE_DATA_FILE)
		return refuse(why, why_size, "its data is in another file (data_file), which ruse doesn't do; qemu-img convert makes an "
						"ordinary image of it");
	if (unknown & QCOW2_INCOMPATIBLE_EXTENDED_L2)
		return refuse(why, why_size, "it has subclusters (extended_l2), which ruse doesn't know; qemu-img convert makes an "
						"ordinary image of it");
	if (unknown)
		return refuse(why, why_size, "it needs features that ruse doesn't know (incompatible bits 0x%llx); qemu-img convert "
						"makes an ordinary image of it", (unsigned long long)unknown);
	if (q->options.check || !q->writable)
		return 0;
	if (q->incompatible & QCOW2_INCOMPATIBLE_CORRUPT)
		return refuse(why, why_size, "it is marked as corrupt; look at it read-only (,ro), or repair it with ruse disk check -r all");
	if (q->incompatible & QCOW2_INCOMPATIBLE_DIRTY)
		return refuse(why, why_size, "it was not closed and its reference counts are stale (lazy refcounts); repair it with "
						"ruse disk check -r all");
	return 0;
}

static int read_fields(struct qcow2 *q, const uint8_t *header, char *why, size_t why_size)
{
	q->version = read_be32(header + QCOW2_VERSION);
	q->cluster_bits = read_be32(header + QCOW2_CLUSTER_BITS);
	q->size = read_be64(header + QCOW2_SIZE);
	q->l1_size = read_be32(header + QCOW2_L1_SIZE);
	q->l1_offset = read_be64(header + QCOW2_L1_OFFSET);
	q->reftable_offset = read_be64(header + QCOW2_REFTABLE_OFFSET);
	q->reftable_clusters = read_be32(header + QCOW2_REFTABLE_CLUSTERS);
	q->snapshot_count = read_be32(header + QCOW2_SNAPSHOT_COUNT);
	q->snapshot_offset = read_be64(header + QCOW2_SNAPSHOT_OFFSET);
	q->refcount_order = 4;
	q->header_length = QCOW2_V2_LENGTH;
	if (q->version != 2 && q->version != 3)
		return refuse(why, why_size, "qcow2 version %u is unknown; ruse knows 2 and 3", q->version);
	if (q->cluster_bits < QCOW2_MIN_CLUSTER_BITS || q->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return refuse(why, why_size, "its header is damaged: cluster_bits is %u, not 9 to 21", q->cluster_bits);
	q->cluster_size = 1u << q->cluster_bits;
	q->l2_bits = q->cluster_bits - 3;
	if (read_be32(header + QCOW2_CRYPT_METHOD))
		return refuse(why, why_size, "it is encrypted, which ruse doesn't do; qemu-img convert makes a plain image of it");
	if (q->version == 2)
		return 0;
	q->incompatible = read_be64(header + QCOW2_INCOMPATIBLE);
	q->refcount_order = read_be32(header + QCOW2_REFCOUNT_ORDER);
	q->header_length = read_be32(header + QCOW2_HEADER_LENGTH);
	if (q->header_length < QCOW2_V3_LENGTH || q->header_length > q->cluster_size || q->header_length % 8)
		return refuse(why, why_size, "its header is damaged: it says to be %u bytes long", q->header_length);
	if (q->refcount_order > 6)
		return refuse(why, why_size, "its header is damaged: refcount_order is %u, not 0 to 6", q->refcount_order);
	if (q->header_length > QCOW2_COMPRESSION_TYPE)
		q->compression = header[QCOW2_COMPRESSION_TYPE];
	if (q->compression > QCOW2_ZSTD)
		return refuse(why, why_size, "its compression type %u is unknown; ruse knows zlib and zstd", q->compression);
	if (!!(q->incompatible & QCOW2_INCOMPATIBLE_COMPRESSION) != (q->compression != QCOW2_ZLIB))
		return refuse(why, why_size, "its header is damaged: compression type and feature bit contradict each other");
	return check_features(q, why, why_size);
}

static int check_places(struct qcow2 *q, char *why, size_t why_size)
{
	const uint64_t reach = 1ull << (q->cluster_bits + q->l2_bits);
	const uint64_t end = q->file->size;

	if (q->size % 512 || q->size > (uint64_t)QCOW2_MAX_L1_ENTRIES << (q->cluster_bits + q->l2_bits) || q->size > INT64_MAX)
		return refuse(why, why_size, "its header is damaged: a disk of %llu bytes can't be", (unsigned long long)q->size);
	if (q->l1_size > QCOW2_MAX_L1_ENTRIES || q->l1_size < (q->size + reach - 1) / reach)
		return refuse(why, why_size, "its header is damaged: an L1 table with %llu entries is not for %llu bytes",
			      (unsigned long long)q->l1_size, (unsigned long long)q->size);
	if (q->l1_size && (q->l1_offset % q->cluster_size || q->l1_offset < q->cluster_size || q->l1_offset > end ||
			   q->l1_size * 8 > end - q->l1_offset))
		return refuse(why, why_size, "its header is damaged: the L1 table is not in the file");
	if (!q->l1_size)
		q->l1_offset = 0;
	if (q->reftable_clusters > QCOW2_MAX_REFTABLE_SIZE >> q->cluster_bits &&
	    q->reftable_clusters > 1)
		return refuse(why, why_size, "its header is damaged: a refcount table of %llu clusters is too large",
			      (unsigned long long)q->reftable_clusters);
	q->reftable_size = q->reftable_clusters << (q->cluster_bits - 3);
	if (q->options.check)
		return 0;
	if (q->reftable_clusters == 0 || q->reftable_offset % q->cluster_size || q->reftable_offset < q->cluster_size ||
	    q->reftable_offset > end || q->reftable_clusters << q->cluster_bits > end - q->reftable_offset + q->cluster_size)
		return refuse(why, why_size, "its header is damaged: the refcount table is not in the file");
	if (q->l1_size && overlaps(q->l1_offset, q->l1_size * 8, q->reftable_offset, q->reftable_clusters << q->cluster_bits))
		return refuse(why, why_size, "its header is damaged: the L1 and the refcount table overlap");
	if (q->snapshot_count > QCOW2_MAX_SNAPSHOTS || (q->snapshot_count && (q->snapshot_offset % q->cluster_size ||
	    q->snapshot_offset < q->cluster_size || q->snapshot_offset >= end)))
		return refuse(why, why_size, "its header is damaged: the snapshot table is not in the file");
	return 0;
}

/* The text behind the header: the backing file's name, and among the extensions its format. */
static int read_backing(struct qcow2 *q, const uint8_t *header, uint64_t header_size, char *why, size_t why_size)
{
	uint64_t offset = read_be64(header + QCOW2_BACKING_OFFSET);
	uint32_t len = read_be32(header + QCOW2_BACKING_SIZE);
	uint64_t at = q->header_length, end = offset ? offset : header_size;

	if (offset && (len == 0 || len > QCOW2_MAX_BACKING_NAME || offset > header_size || len > header_size - offset ||
		       offset < q->header_length))
		return refuse(why, why_size, "its header is damaged: the backing file's name is not in it");
	if (offset && memchr(header + offset, 0, len))
		return refuse(why, why_size, "its header is damaged: the backing file's name contains a zero byte");
	if (offset && !(q->backing = strndup((const char *)header + offset, len)))
		return -ENOMEM;
	while (at + 8 <= end) {
		uint32_t kind = read_be32(header + at), size = read_be32(header + at + 4);

		if (kind == QCOW2_EXTENSION_END)
			break;
		if (size > end - at - 8)
			return refuse(why, why_size, "its header is damaged: extension 0x%x is too long", kind);
		if (kind == QCOW2_EXTENSION_BACKING_FORMAT && !q->backing_format &&
		    !(q->backing_format = strndup((const char *)header + at + 8, size)))
			return -ENOMEM;
		at += 8 + ((uint64_t)size + 7) / 8 * 8;
	}
	return 0;
}

static int read_header(struct qcow2 *q, char *why, size_t why_size)
{
	uint8_t first[QCOW2_OUR_LENGTH], *whole;
	int r = file_read(q->file, 0, first, sizeof(first));

	if (r < 0) {
		snprintf(why, why_size, "it can't be read (%s); check the host's disk", strerror(-r));
		return r;
	}
	if (q->file->size < QCOW2_V2_LENGTH || !qcow2_recognise(first, sizeof(first)))
		return refuse(why, why_size, "it is no qcow2 image; say format=raw if it is a raw one");
	r = read_fields(q, first, why, why_size);
	if (r == 0)
		r = check_places(q, why, why_size);
	if (r < 0)
		return r;
	whole = malloc(q->cluster_size);
	if (!whole)
		return -ENOMEM;
	r = file_read(q->file, 0, whole, q->cluster_size);
	if (r == 0)
		r = read_backing(q, whole, q->cluster_size, why, why_size);
	free(whole);
	return r;
}

/* ---- the tables ---- */

static int read_table(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t **out)
{
	uint64_t *table = calloc(count ? count : 1, 8);
	int r;

	if (!table)
		return -ENOMEM;
	r = file_read(q->file, offset, table, count * 8);
	for (uint64_t i = 0; i < count; i++)
		table[i] = be64toh(table[i]);
	*out = table;
	return r;
}

/* Where tables lie; each in its own place, or nothing that is written is safe. */
static int note_tables(struct qcow2 *q, const uint64_t *entries, uint64_t count, uint64_t mask, const char *what, char *why,
		       size_t why_size)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t offset = entries[i] & mask;
		int r;

		if (!offset || q->options.check)
			continue;
		if (offset % q->cluster_size || offset >= q->file->size || qcow2_is_metadata(q, offset))
			return refuse(why, why_size, "it is damaged: %s %llu lies at 0x%llx, outside of the file or in another table; "
				      "look at it with ruse disk check", what, (unsigned long long)i, (unsigned long long)offset);
		r = qcow2_set_add(&q->metadata, offset >> q->cluster_bits);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_tables(struct qcow2 *q, char *why, size_t why_size)
{
	uint64_t budget = q->options.cache_bytes ? q->options.cache_bytes : DEFAULT_CACHE;
	uint64_t tables = budget >> q->cluster_bits;
	unsigned max = tables < MIN_TABLES ? MIN_TABLES : (unsigned)tables;
	int r = read_table(q, q->l1_offset, q->l1_size, &q->l1);

	if (r == 0)
		r = qcow2_cache_init(&q->l2, q->l1_size, max);
	if (r == 0 && (q->writable || q->options.check))
		r = note_tables(q, q->l1, q->l1_size, QCOW2_OFFSET, "L2 table", why, why_size);
	if (r < 0 || !q->writable)
		return r;
	if (q->options.check) /* which brings its own */
		return 0;
	r = read_table(q, q->reftable_offset, q->reftable_size, &q->reftable);
	if (r == 0)
		r = qcow2_cache_init(&q->refblocks, q->reftable_size, max / 4 < MIN_TABLES ? MIN_TABLES : max / 4);
	if (r == 0)
		r = note_tables(q, q->reftable, q->reftable_size, ~(uint64_t)0, "refcount block", why, why_size);
	return r;
}

static void *aligned(size_t size)
{
	void *memory;

	return posix_memalign(&memory, ALIGNMENT, size) == 0 ? memory : NULL;
}

static void free_image(struct qcow2 *q)
{
	qcow2_cache_free(&q->l2);
	qcow2_cache_free(&q->refblocks);
	free(q->metadata.slots);
	free(q->freed[0].runs);
	free(q->freed[1].runs);
	free(q->l1);
	free(q->reftable);
	free(q->backing);
	free(q->backing_format);
	free(q->bounce);
	free(q->unpacked);
	free(q->packed);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* What others have written about the image in extensions may be wrong after us. */
static int clear_autoclear(struct qcow2 *q)
{
	static const uint8_t none[8];
	uint8_t bits[8];
	int r;

	if (q->version < 3 || !q->writable || q->options.check)
		return 0;
	r = file_read(q->file, QCOW2_AUTOCLEAR, bits, sizeof(bits));
	if (r < 0 || !memcmp(bits, none, sizeof(bits)))
		return r;
	r = qcow2_write_header(q, QCOW2_AUTOCLEAR, none, sizeof(none));
	return r < 0 ? r : q->file->ops->sync(q->file);
}

int qcow2_open(struct disk_file *file, const struct qcow2_options *options, struct qcow2 **out, char *why, size_t why_size)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int r = -ENOMEM;

	why[0] = 0;
	if (!q)
		goto no_memory;
	pthread_mutex_init(&q->lock, NULL);
	q->file = file;
	q->options = *options;
	q->writable = file->writable;
	r = read_header(q, why, why_size);
	if (r == 0)
		r = read_tables(q, why, why_size);
	if (r < 0)
		goto fail;
	q->high_water = qcow2_clusters(q, file->size) << q->cluster_bits;
	q->bounce = aligned(q->cluster_size);
	q->unpacked = aligned(q->cluster_size);
	r = q->bounce && q->unpacked ? clear_autoclear(q) : -ENOMEM;
	if (r < 0)
		goto fail;
	*out = q;
	return 0;
fail:
	free_image(q);
no_memory:
	if (!why[0])
		snprintf(why, why_size, "it can't be opened (%s)", strerror(-r));
	return r;
}

int qcow2_close(struct qcow2 *q)
{
	int r = q->writable && !q->options.check ? qcow2_flush(q) : 0;

	if (r == 0 && q->writable && !q->options.check)
		r = qcow2_flush(q); /* what the first one has freed */
	free_image(q);
	return r;
}

void qcow2_set_grace(struct qcow2 *q, const struct qcow2_grace *grace)
{
	q->grace = *grace;
}

void qcow2_set_backing(struct qcow2 *q, int (*read)(void *ctx, uint64_t offset, struct span span, uint64_t len), void *ctx)
{
	q->options.read_backing = read;
	q->options.backing_ctx = ctx;
}

bool qcow2_needs_flush(const struct qcow2 *q)
{
	return q->unflushed;
}

void qcow2_describe(const struct qcow2 *q, struct qcow2_info *info)
{
	*info = (struct qcow2_info){
		.version = q->version,
		.size = q->size,
		.cluster_size = q->cluster_size,
		.refcount_bits = 1u << q->refcount_order,
		.snapshots = q->snapshot_count,
		.dirty = (q->incompatible & QCOW2_INCOMPATIBLE_DIRTY) != 0,
		.corrupt = (q->incompatible & QCOW2_INCOMPATIBLE_CORRUPT) != 0,
		.compression = q->compression == QCOW2_ZSTD ? "zstd" : "zlib",
		.backing = q->backing,
		.backing_format = q->backing_format,
	};
}
