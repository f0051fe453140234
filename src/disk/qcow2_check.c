/* Are the reference counts those that the tables make? And if not, mending them. See qcow2.h.
 *
 * Example: `r = qcow2_check(q, QCOW2_REPAIR_LEAKS, &result);`
 *
 * Everything that refers to clusters is walked (header, tables, snapshots) and counted; then the file's counts are compared. A count
 * too high is a leak, and harmless; a count too low is corruption, for the cluster would be taken once more. Repairing all writes
 * the counts anew into fresh clusters, and entries that can't be are taken out.
 */
#include "base/checked.h"
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Four bytes are kept for each. */
#define MAX_CLUSTERS (1ull << 31)

struct check {
	struct qcow2 *q;
	struct qcow2_check_result *result;
	enum qcow2_repair repair;
	uint32_t *counts;      /* of each cluster of the file, as it should be */
	uint64_t clusters;
	uint64_t *reftable;
	uint8_t *block;        /* a refcount block */
	uint8_t *table;        /* an L2 table */
};

__attribute__((format(printf, 2, 3))) static void say(struct check *check, const char *format, ...)
{
	char text[256];
	va_list args;

	if (!check->result->say)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	check->result->say(check->result->ctx, text);
}

/* False: not in the file, which has been said. */
static bool count(struct check *check, uint64_t offset, uint64_t len, const char *what)
{
	const unsigned bits = check->q->cluster_bits;
	uint64_t end;

	if (!len)
		return true;
	if (add_overflow(offset, len - 1, &end) || end >> bits >= check->clusters) {
		say(check, "%s at 0x%llx lies outside of the file", what, (unsigned long long)offset);
		check->result->corruptions++;
		return false;
	}
	for (uint64_t c = offset >> bits; c <= end >> bits; c++) {
		if (check->counts[c] < UINT32_MAX)
			check->counts[c]++;
		if ((c + 1) << bits > check->result->end)
			check->result->end = (c + 1) << bits;
	}
	return true;
}

/* ---- the walk ---- */

/* A sound entry, or what is to be there instead. */
static uint64_t check_entry(struct check *check, uint64_t entry)
{
	struct qcow2 *q = check->q;
	uint64_t offset = entry & QCOW2_OFFSET;
	uint32_t len;

	if (entry & QCOW2_COMPRESSED) {
		if (entry & QCOW2_COPIED) {
			say(check, "a compressed cluster is marked as copied");
			check->result->corruptions++;
		}
		qcow2_compressed_range(q, entry, &offset, &len);
		/* Its last sector may be cut by the end of the file. */
		if (offset < check->clusters << q->cluster_bits && len > (check->clusters << q->cluster_bits) - offset)
			len = (uint32_t)((check->clusters << q->cluster_bits) - offset);
		check->result->compressed++;
		return count(check, offset, len, "compressed data") ? entry & ~QCOW2_COPIED : 0;
	}
	if (!offset)
		return entry;
	check->result->clusters++;
	if (offset % q->cluster_size) {
		say(check, "data at 0x%llx is not at the start of a cluster", (unsigned long long)offset);
		check->result->corruptions++;
		return 0;
	}
	return count(check, offset, q->cluster_size, "data") ? entry : 0;
}

static int check_l2(struct check *check, uint64_t offset)
{
	struct qcow2 *q = check->q;
	bool changed = false;
	int r = file_read(q->file, offset, check->table, q->cluster_size);

	for (unsigned i = 0; i < 1u << q->l2_bits && r == 0; i++) {
		const uint64_t entry = read_be64(check->table + 8u * i), sound = check_entry(check, entry);

		if (entry == sound || check->repair != QCOW2_REPAIR_ALL)
			continue;
		write_be64(check->table + 8u * i, sound);
		check->result->corruptions_fixed++;
		changed = true;
	}
	if (r == 0 && changed)
		r = file_write(q->file, offset, check->table, q->cluster_size);
	return r;
}

static int check_l1(struct check *check, uint64_t l1_offset, uint64_t *l1, uint64_t size)
{
	struct qcow2 *q = check->q;
	int r = 0;

	(void)count(check, l1_offset, size * 8, "an L1 table");
	for (uint64_t i = 0; i < size && r == 0; i++) {
		const uint64_t offset = l1[i] & QCOW2_OFFSET;
		uint8_t none[8] = {0};

		if (!offset)
			continue;
		if (offset % q->cluster_size) {
			say(check, "L2 table at 0x%llx is not at the start of a cluster", (unsigned long long)offset);
			check->result->corruptions++;
		} else if (count(check, offset, q->cluster_size, "an L2 table")) {
			r = check_l2(check, offset);
			continue;
		}
		if (check->repair == QCOW2_REPAIR_ALL) {
			l1[i] = 0;
			r = file_write(q->file, l1_offset + 8 * i, none, sizeof(none));
			check->result->corruptions_fixed++;
		}
	}
	return r;
}

/* A snapshot's own L1 table. */
static int check_snapshot(struct check *check, uint64_t offset, uint64_t size)
{
	struct qcow2 *q = check->q;
	uint64_t *l1;
	int r;

	if (size > QCOW2_MAX_L1_ENTRIES || offset % q->cluster_size || offset > q->file->size || size * 8 > q->file->size - offset) {
		say(check, "a snapshot's L1 table at 0x%llx lies outside of the file", (unsigned long long)offset);
		check->result->corruptions++;
		return 0;
	}
	l1 = calloc(size ? size : 1, 8);
	if (!l1)
		return -ENOMEM;
	r = file_read(q->file, offset, l1, size * 8);
	for (uint64_t i = 0; i < size; i++)
		l1[i] = be64toh(l1[i]);
	if (r == 0)
		r = check_l1(check, offset, l1, size);
	free(l1);
	return r;
}

static int check_snapshots(struct check *check)
{
	struct qcow2 *q = check->q;
	uint64_t at = q->snapshot_offset;
	int r = 0;

	for (uint32_t i = 0; i < q->snapshot_count && r == 0; i++) {
		uint8_t header[40];

		if (i >= QCOW2_MAX_SNAPSHOTS || at % 8 || at >= q->file->size) {
			say(check, "the snapshot table at 0x%llx is damaged", (unsigned long long)q->snapshot_offset);
			check->result->corruptions++;
			return 0;
		}
		r = file_read(q->file, at, header, sizeof(header));
		if (r == 0)
			r = check_snapshot(check, read_be64(header), read_be32(header + 8));
		at += 40 + (uint64_t)read_be32(header + 36) + (uint64_t)(header[12] << 8 | header[13]) +
		      (uint64_t)(header[14] << 8 | header[15]);
		at = (at + 7) / 8 * 8;
	}
	if (q->snapshot_count)
		(void)count(check, q->snapshot_offset, at - q->snapshot_offset, "the snapshot table");
	return r;
}

static void check_reftable(struct check *check)
{
	struct qcow2 *q = check->q;

	(void)count(check, q->reftable_offset, q->reftable_clusters << q->cluster_bits, "the refcount table");
	for (uint64_t i = 0; i < q->reftable_size; i++) {
		const uint64_t offset = check->reftable[i];

		if (!offset)
			continue;
		if (offset % q->cluster_size) {
			say(check, "refcount block %llu is not at the start of a cluster", (unsigned long long)i);
			check->result->corruptions++;
			check->reftable[i] = 0;
		} else if (!count(check, offset, q->cluster_size, "a refcount block")) {
			check->reftable[i] = 0;
		} else if (check->counts[offset >> q->cluster_bits] != 1) {
			say(check, "refcount block %llu shares its cluster", (unsigned long long)i);
			check->result->corruptions++;
		}
	}
}

/* ---- comparing ---- */

static int compare_block(struct check *check, uint64_t index, bool repair)
{
	struct qcow2 *q = check->q;
	const uint64_t per_block = (uint64_t)q->cluster_size * 8 >> q->refcount_order, first = index * per_block;
	const uint64_t offset = index < q->reftable_size ? check->reftable[index] : 0;
	bool changed = false;
	int r = 0;

	memset(check->block, 0, q->cluster_size);
	if (offset)
		r = file_read(q->file, offset, check->block, q->cluster_size);
	for (uint64_t i = 0; i < per_block && r == 0; i++) {
		const uint64_t has = qcow2_refcount_read(check->block, q->refcount_order, i);
		const uint64_t wants = first + i < check->clusters ? check->counts[first + i] : 0;

		if (has == wants)
			continue;
		if (has > wants) {
			if (repair || check->repair == QCOW2_REPAIR_ALL)
				check->result->leaks_fixed++;
			check->result->leaks++;
			say(check, "leaked cluster %llu: refcount %llu, references %llu", (unsigned long long)(first + i),
			    (unsigned long long)has, (unsigned long long)wants);
			if (repair)
				qcow2_refcount_write(check->block, q->refcount_order, i, wants);
			changed = repair;
			continue;
		}
		check->result->corruptions++;
		if (check->repair == QCOW2_REPAIR_ALL)
			check->result->corruptions_fixed++;
		say(check, "corrupt cluster %llu: refcount %llu, references %llu", (unsigned long long)(first + i),
		    (unsigned long long)has, (unsigned long long)wants);
	}
	if (r == 0 && changed && offset)
		r = file_write(q->file, offset, check->block, q->cluster_size);
	return r;
}

static int compare(struct check *check)
{
	struct qcow2 *q = check->q;
	const uint64_t per_block = (uint64_t)q->cluster_size * 8 >> q->refcount_order;
	uint64_t blocks = check->clusters / per_block + 1;
	int r = 0;

	if (blocks < q->reftable_size)
		blocks = q->reftable_size;
	/* Where neither the file counts nor anything refers there is nothing to see. */
	for (uint64_t i = 0; i < blocks && r == 0; i++)
		if ((i < q->reftable_size && check->reftable[i]) || i * per_block < check->clusters)
			r = compare_block(check, i, check->repair == QCOW2_REPAIR_LEAKS);
	return r;
}

/* ---- the marks in the active tables: copied means that the count is one ---- */

static bool is_single(const struct check *check, uint64_t offset)
{
	const uint64_t cluster = offset >> check->q->cluster_bits;

	return cluster < check->clusters && check->counts[cluster] == 1;
}

static uint64_t right_mark(struct check *check, uint64_t entry, const char *what)
{
	const bool copied = (entry & QCOW2_COPIED) != 0;

	if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET) || is_single(check, entry & QCOW2_OFFSET) == copied)
		return entry;
	say(check, "%s at 0x%llx is marked wrongly: %s", what, (unsigned long long)(entry & QCOW2_OFFSET),
	    copied ? "copied, though others refer to it" : "shared, though nobody else refers to it");
	check->result->corruptions++;
	if (check->repair == QCOW2_REPAIR_ALL)
		check->result->corruptions_fixed++;
	return entry ^ QCOW2_COPIED;
}

static int check_marks(struct check *check)
{
	struct qcow2 *q = check->q;
	const bool repair = check->repair == QCOW2_REPAIR_ALL;
	int r = 0;

	for (uint64_t i = 0; i < q->l1_size && r == 0; i++) {
		const uint64_t offset = q->l1[i] & QCOW2_OFFSET, marked = right_mark(check, q->l1[i], "an L2 table");
		bool changed = false;
		uint8_t bytes[8];

		if (!offset || offset % q->cluster_size || offset >> q->cluster_bits >= check->clusters)
			continue;
		if (marked != q->l1[i] && repair) {
			q->l1[i] = marked;
			write_be64(bytes, marked);
			r = file_write(q->file, q->l1_offset + 8 * i, bytes, sizeof(bytes));
		}
		if (r == 0)
			r = file_read(q->file, offset, check->table, q->cluster_size);
		for (unsigned k = 0; k < 1u << q->l2_bits && r == 0; k++) {
			const uint64_t entry = read_be64(check->table + 8u * k), right = right_mark(check, entry, "data");

			changed |= right != entry;
			write_be64(check->table + 8u * k, right);
		}
		if (r == 0 && changed && repair)
			r = file_write(q->file, offset, check->table, q->cluster_size);
	}
	return r;
}

/* ---- all counts anew ---- */

/* New blocks and a new table behind everything that is in use; the old ones become free with the change of the header. */
static int rebuild(struct check *check)
{
	struct qcow2 *q = check->q;
	const uint64_t per_block = (uint64_t)q->cluster_size * 8 >> q->refcount_order;
	const uint64_t start = qcow2_clusters(q, check->result->end), entries_per_cluster = q->cluster_size / 8;
	uint64_t blocks = 1, table_clusters = 1, *table;
	uint8_t header[12];
	int r = 0;

	/* The old table and its blocks are nothing any more. */
	for (uint64_t i = 0; i < q->reftable_clusters; i++) {
		uint64_t c = (q->reftable_offset >> q->cluster_bits) + i;

		if (c < check->clusters && check->counts[c])
			check->counts[c]--;
	}
	for (uint64_t i = 0; i < q->reftable_size; i++)
		if (check->reftable[i] && check->counts[check->reftable[i] >> q->cluster_bits])
			check->counts[check->reftable[i] >> q->cluster_bits]--;
	while (blocks * per_block < start + blocks + table_clusters) {
		blocks = (start + blocks + table_clusters + per_block - 1) / per_block;
		table_clusters = (blocks + entries_per_cluster - 1) / entries_per_cluster;
	}
	if (table_clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_SIZE && table_clusters > 1)
		return -EFBIG;
	table = calloc(table_clusters, q->cluster_size);
	if (!table)
		return -ENOMEM;
	for (uint64_t b = 0; b < blocks && r == 0; b++) {
		memset(check->block, 0, q->cluster_size);
		for (uint64_t i = 0; i < per_block; i++) {
			const uint64_t c = b * per_block + i;
			uint64_t refs = c < start && c < check->clusters ? check->counts[c] : 0;

			if (c >= start && c < start + blocks + table_clusters)
				refs = 1;
			if (refs > 1 && q->refcount_order < 6 && refs > (1ull << (1u << q->refcount_order)) - 1)
				r = -ERANGE; /* such an image can't be */
			qcow2_refcount_write(check->block, q->refcount_order, i, refs);
		}
		table[b] = htobe64((start + b) << q->cluster_bits);
		if (r == 0)
			r = file_write(q->file, (start + b) << q->cluster_bits, check->block, q->cluster_size);
	}
	if (r == 0)
		r = file_write(q->file, (start + blocks) << q->cluster_bits, table, table_clusters << q->cluster_bits);
	free(table);
	if (r == 0)
		r = qcow2_sync(q);
	write_be64(header, (start + blocks) << q->cluster_bits);
	write_be32(header + 8, (uint32_t)table_clusters);
	if (r == 0)
		r = qcow2_write_header(q, QCOW2_REFTABLE_OFFSET, header, sizeof(header));
	if (r == 0)
		r = qcow2_sync(q);
	check->result->end = (start + blocks + table_clusters) << q->cluster_bits;
	return r;
}

static int start(struct check *check)
{
	struct qcow2 *q = check->q;
	int r;

	check->clusters = qcow2_clusters(q, q->file->size);
	if (check->clusters > MAX_CLUSTERS)
		return -EFBIG;
	check->counts = calloc(check->clusters ? check->clusters : 1, sizeof(*check->counts));
	check->block = malloc(q->cluster_size);
	check->table = malloc(q->cluster_size);
	check->reftable = calloc(q->reftable_size ? q->reftable_size : 1, 8);
	if (!check->counts || !check->block || !check->table || !check->reftable)
		return -ENOMEM;
	if (q->reftable_offset % q->cluster_size || q->reftable_offset >= q->file->size) {
		say(check, "the refcount table at 0x%llx lies outside of the file", (unsigned long long)q->reftable_offset);
		check->result->corruptions++;
		return 0;
	}
	r = file_read(q->file, q->reftable_offset, check->reftable, q->reftable_size * 8);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < q->reftable_size; i++)
		check->reftable[i] = be64toh(check->reftable[i]);
	return 0;
}

int qcow2_check(struct qcow2 *q, enum qcow2_repair repair, struct qcow2_check_result *result)
{
	struct check check = {.q = q, .result = result, .repair = q->writable ? repair : QCOW2_REPAIR_NONE};
	static const uint8_t none[8];
	int r = start(&check);

	/* What extensions refer to (bitmaps) is not counted here: they are given up with the first repair. */
	if (r == 0 && check.repair != QCOW2_REPAIR_NONE && q->version >= 3)
		r = qcow2_write_header(q, QCOW2_AUTOCLEAR, none, sizeof(none));
	if (r == 0) {
		(void)count(&check, 0, q->cluster_size, "the header");
		r = check_l1(&check, q->l1_offset, q->l1, q->l1_size);
	}
	if (r == 0)
		r = check_snapshots(&check);
	if (r == 0) {
		check_reftable(&check);
		r = compare(&check);
	}
	if (r == 0)
		r = check_marks(&check);
	if (r == 0 && check.repair == QCOW2_REPAIR_ALL && (result->corruptions || result->leaks))
		r = rebuild(&check);
	if (r == 0 && check.repair != QCOW2_REPAIR_NONE)
		r = qcow2_sync(q);
	if (r == 0 && check.repair == QCOW2_REPAIR_ALL)
		r = qcow2_set_incompatible(q, q->incompatible & ~(uint64_t)(QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT));
	free(check.counts);
	free(check.block);
	free(check.table);
	free(check.reftable);
	return r;
}
