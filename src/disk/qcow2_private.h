/* Private to disk/qcow2*.c: an open image.
 *
 * Example: `r = qcow2_l2_get(q, index, &table); entry = read_be64(table->data + 8 * i);`
 */
#ifndef DISK_QCOW2_PRIVATE_H
#define DISK_QCOW2_PRIVATE_H

#include "disk/qcow2.h"
#include "disk/qcow2_format.h"
#include <pthread.h>

/* An L2 table or refcount block in memory, as it is in the file. */
struct qcow2_table {
	struct qcow2_table *newer, *older;
	uint64_t index;               /* in the L1 or refcount table */
	uint64_t offset;              /* in the file */
	uint32_t dirty_from, dirty_to; /* bytes; equal: clean */
	bool fresh;                   /* nothing in the file refers to it yet */
	bool referenced;              /* by another thread since it was last looked at; under the lock */
	uint8_t *data;
};

/* Bounded: the one that was used longest ago makes room. */
struct qcow2_cache {
	struct qcow2_table **at; /* by index; NULL: not in memory */
	uint64_t count;
	struct qcow2_table *newest, *oldest;
	unsigned used, max, dirty;
};

/* Clusters to give free: runs of them. */
struct qcow2_freed {
	struct {
		uint64_t cluster, count;
	} *runs;
	size_t count, capacity;
};

/* Which clusters hold tables, so that no data ever goes there. A hash set of cluster numbers plus one. */
struct qcow2_set {
	uint64_t *slots;
	size_t capacity, used;
};

struct qcow2 {
	struct disk_file *file;
	struct qcow2_options options;
	struct qcow2_grace grace;
	bool writable;

	/* The header. */
	unsigned version, cluster_bits, l2_bits, refcount_order, compression;
	uint32_t cluster_size;
	uint64_t size;
	uint64_t l1_offset, l1_size;
	uint64_t reftable_offset, reftable_clusters, reftable_size; /* size: entries */
	uint64_t snapshot_offset;
	uint32_t snapshot_count, header_length;
	uint64_t incompatible;
	char *backing, *backing_format;

	/* Taken for each change, and by readers that are not the one thread: l1, l2, metadata. */
	pthread_mutex_t lock;
	uint64_t *l1;       /* host's order; its file's part that is old: */
	uint64_t l1_dirty_from, l1_dirty_to;
	struct qcow2_cache l2, refblocks;
	uint64_t *reftable; /* host's order; never dirty */
	struct qcow2_set metadata;

	uint64_t hint;       /* no cluster below is free */
	_Atomic uint64_t high_water; /* bytes: from here on the file was never written */
	/* Clusters that nothing refers to any more: [0] since the last grace period began, [1] before. */
	struct qcow2_freed freed[2];
	bool in_grace; /* freed[1] waits for others */
	_Atomic bool unflushed;
	int failed;          /* what a sync said once: the file's state is unknown, nothing is written any more */

	uint8_t *bounce;     /* one cluster, aligned */
	uint8_t *unpacked;   /* one cluster, of this entry: */
	uint64_t unpacked_entry;
	uint8_t *packed;     /* what compressed clusters are read to */
	uint64_t packed_at, packed_end; /* room for more compressed data in the file */
};

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* ---- qcow2_open.c ---- */
int qcow2_write_header(struct qcow2 *q, unsigned at, const void *bytes, unsigned len) must_check;
int qcow2_set_incompatible(struct qcow2 *q, uint64_t bits);
/* Damage was found: says so in the file, and writes no more. Returns -EIO. */
int qcow2_corrupt(struct qcow2 *q, const char *what, uint64_t offset);
/* Is there any table, or the header, in this cluster? */
bool qcow2_is_metadata(const struct qcow2 *q, uint64_t offset);

/* ---- qcow2_cache.c ---- */
int qcow2_cache_init(struct qcow2_cache *cache, uint64_t count, unsigned max) must_check;
int qcow2_cache_grow(struct qcow2_cache *cache, uint64_t count) must_check;
void qcow2_cache_free(struct qcow2_cache *cache);
/* The table at index, from memory or from offset in the file. Valid until the next call. */
int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index, uint64_t offset, struct qcow2_table **table) must_check;
/* A new one, all zero. */
int qcow2_cache_add(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index, uint64_t offset, struct qcow2_table **table) must_check;
void qcow2_cache_forget(struct qcow2 *q, struct qcow2_cache *cache, uint64_t index);
/* Only if it is in memory; lock held. For any thread: the order of the list is left as it is. */
static inline struct qcow2_table *qcow2_cache_peek(const struct qcow2_cache *cache, uint64_t index)
{
	struct qcow2_table *table = cache->at[index];

	if (table)
		table->referenced = true;
	return table;
}
void qcow2_table_dirty(struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_table *table, uint32_t from, uint32_t to);
void qcow2_l1_set(struct qcow2 *q, uint64_t index, uint64_t entry);
/* Writes what is dirty, in order, without the last sync. */
int qcow2_write_tables(struct qcow2 *q) must_check;
int qcow2_sync(struct qcow2 *q) must_check;

/* ---- qcow2_refcount.c ---- */
uint64_t qcow2_refcount_read(const uint8_t *block, unsigned order, uint64_t i);
void qcow2_refcount_write(uint8_t *block, unsigned order, uint64_t i, uint64_t value);
int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *refcount) must_check;
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t refcount) must_check;
/* Up to wanted clusters in a row, their refcounts one. *fresh: they read as zeroes. */
int qcow2_alloc(struct qcow2 *q, uint64_t wanted, uint64_t *offset, uint64_t *got, bool *fresh) must_check;
/* Exactly so many in a row, at the end. */
int qcow2_alloc_row(struct qcow2 *q, uint64_t count, uint64_t *offset) must_check;
/* Back at once: nothing has ever referred to them. */
void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t count);
/* A reference to them will be gone from the file with the next flush: free them then. */
void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t count);
/* The same for what an L2 entry refers to. */
void qcow2_free_entry(struct qcow2 *q, uint64_t entry);
/* After a flush: what can be freed now. */
int qcow2_free_now(struct qcow2 *q) must_check;
/* Where compressed data lies. */
void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint32_t *len);

int qcow2_set_add(struct qcow2_set *set, uint64_t cluster) must_check;
void qcow2_set_remove(struct qcow2_set *set, uint64_t cluster);
bool qcow2_set_has(const struct qcow2_set *set, uint64_t cluster);

/* ---- qcow2_map.c ---- */
/* The L2 table of a guest's address, such that its entries can be changed. */
int qcow2_l2_for_change(struct qcow2 *q, uint64_t l1_index, struct qcow2_table **table) must_check;
int qcow2_l2_get(struct qcow2 *q, uint64_t l1_index, struct qcow2_table **table) must_check;
void qcow2_entry_set(struct qcow2 *q, struct qcow2_table *table, unsigned index, uint64_t entry);
static inline uint64_t qcow2_l1_index(const struct qcow2 *q, uint64_t offset)
{
	return offset >> (q->cluster_bits + q->l2_bits);
}
static inline unsigned qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
	return (unsigned)(offset >> q->cluster_bits) & ((1u << q->l2_bits) - 1);
}

/* ---- qcow2_compress.c ---- */
/* The cluster that a compressed entry stands for, in q->unpacked. */
int qcow2_unpack(struct qcow2 *q, uint64_t entry) must_check;

#endif
