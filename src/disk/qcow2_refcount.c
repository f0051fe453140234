/* Who uses which cluster of the file: reference counts, taking clusters and giving them back.
 *
 * Example:
 *     r = qcow2_alloc(q, wanted, &offset, &got, &fresh);
 *     ... the data is written, an L2 entry refers to it ...
 *     qcow2_free_later(q, offset, 1);         // the entry is changed: free after the next flush
 */
#include "base/log.h"
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdlib.h>

/* So many runs wait at most; then the image is flushed before its time. */
#define MAX_RUNS 65536u

uint64_t qcow2_refcount_read(const uint8_t *block, unsigned order, uint64_t i)
{
	switch (order) {
	case 3:
		return block[i];
	case 4:
		return (uint64_t)(block[2 * i] << 8 | block[2 * i + 1]);
	case 5:
		return read_be32(block + 4 * i);
	case 6:
		return read_be64(block + 8 * i);
	default: { /* 1, 2 or 4 bits, the least significant first */
		unsigned bits = 1u << order, per_byte = 8 / bits;

		return block[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
	}
	}
}

void qcow2_refcount_write(uint8_t *block, unsigned order, uint64_t i, uint64_t value)
{
	switch (order) {
	case 3:
		block[i] = (uint8_t)value;
		break;
	case 4:
		block[2 * i] = (uint8_t)(value >> 8);
		block[2 * i + 1] = (uint8_t)value;
		break;
	case 5:
		write_be32(block + 4 * i, (uint32_t)value);
		break;
	case 6:
		write_be64(block + 8 * i, value);
		break;
	default: {
		unsigned bits = 1u << order, per_byte = 8 / bits, shift = (unsigned)(i % per_byte) * bits;
		unsigned mask = ((1u << bits) - 1) << shift;

		block[i / per_byte] = (uint8_t)((block[i / per_byte] & ~mask) | ((unsigned)value << shift & mask));
	}
	}
}

static uint64_t per_block(const struct qcow2 *q)
{
	return (uint64_t)q->cluster_size * 8 >> q->refcount_order;
}

static uint64_t max_refcount(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

static int get_block(struct qcow2 *q, uint64_t cluster, struct qcow2_table **block)
{
	uint64_t index = cluster / per_block(q);

	*block = NULL;
	if (index >= q->reftable_size || !q->reftable[index])
		return 0; /* none: its clusters are free */
	return qcow2_cache_get(q, &q->refblocks, index, q->reftable[index], block);
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *refcount)
{
	struct qcow2_table *block;
	int r = get_block(q, cluster, &block);

	*refcount = r == 0 && block ? qcow2_refcount_read(block->data, q->refcount_order, cluster % per_block(q)) : 0;
	return r;
}

static void set_in_block(struct qcow2 *q, struct qcow2_table *block, uint64_t cluster, uint64_t refcount)
{
	uint64_t i = cluster % per_block(q);
	uint32_t from = (uint32_t)((i << q->refcount_order) / 8);

	qcow2_refcount_write(block->data, q->refcount_order, i, refcount);
	qcow2_table_dirty(q, &q->refblocks, block, from, from + (q->refcount_order > 3 ? 1u << (q->refcount_order - 3) : 1));
}

/* ---- more blocks, and a larger table of them; rare, so they go to the file at once ---- */

static int write_reftable_entry(struct qcow2 *q, uint64_t index, uint64_t offset)
{
	uint8_t bytes[8];
	int r;

	write_be64(bytes, offset);
	r = file_write(q->file, q->reftable_offset + index * 8, bytes, sizeof(bytes));
	if (r == 0)
		r = qcow2_sync(q);
	if (r == 0)
		q->reftable[index] = offset;
	return r;
}

static int note_table(struct qcow2 *q, uint64_t cluster)
{
	int r;

	pthread_mutex_lock(&q->lock);
	r = qcow2_set_add(&q->metadata, cluster);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static void raise_high_water(struct qcow2 *q, uint64_t end)
{
	if (end > q->high_water)
		q->high_water = end;
}

/* The block for clusters that have none: all of them are free, and it takes the first. */
static int add_block(struct qcow2 *q, uint64_t index)
{
	uint64_t cluster = index * per_block(q), offset = cluster << q->cluster_bits;
	struct qcow2_table *block;
	int r;

	if (offset >= QCOW2_MAX_FILE_SIZE)
		return -EFBIG;
	if (qcow2_is_metadata(q, offset))
		return qcow2_corrupt(q, "a table without reference count", offset);
	r = qcow2_cache_add(q, &q->refblocks, index, offset, &block);
	if (r < 0)
		return r;
	qcow2_refcount_write(block->data, q->refcount_order, 0, 1);
	r = file_write(q->file, offset, block->data, q->cluster_size);
	raise_high_water(q, offset + q->cluster_size);
	if (r == 0)
		r = note_table(q, cluster);
	/* The block before its entry. */
	if (r == 0)
		r = qcow2_sync(q);
	if (r == 0)
		r = write_reftable_entry(q, index, offset);
	if (r < 0)
		qcow2_cache_forget(q, &q->refblocks, index);
	return r;
}

static int check_taken(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (qcow2_is_metadata(q, (cluster + i) << q->cluster_bits))
			return qcow2_corrupt(q, "a table without reference count", (cluster + i) << q->cluster_bits);
	return 0;
}

/* One block of a larger table: counts of the first `used` clusters behind `start` are one. */
static int write_first_blocks(struct qcow2 *q, uint64_t start, uint64_t blocks, uint64_t used)
{
	uint8_t *data = malloc(q->cluster_size);
	int r = data ? 0 : -ENOMEM;

	for (uint64_t b = 0; b < blocks && r == 0; b++) {
		memset(data, 0, q->cluster_size);
		for (uint64_t i = 0; i < per_block(q) && b * per_block(q) + i < used; i++)
			qcow2_refcount_write(data, q->refcount_order, i, 1);
		r = file_write(q->file, (start + b) << q->cluster_bits, data, q->cluster_size);
	}
	free(data);
	return r;
}

static int switch_reftable(struct qcow2 *q, uint64_t offset, uint64_t clusters, uint64_t *table, uint64_t size)
{
	const uint64_t old_offset = q->reftable_offset, old_clusters = q->reftable_clusters;
	uint8_t header[12];
	int r;

	write_be64(header, offset);
	write_be32(header + 8, (uint32_t)clusters);
	r = qcow2_sync(q);
	if (r == 0)
		r = qcow2_cache_grow(&q->refblocks, size);
	if (r == 0)
		r = qcow2_write_header(q, QCOW2_REFTABLE_OFFSET, header, sizeof(header));
	if (r == 0)
		r = qcow2_sync(q);
	if (r < 0) {
		/* Either may be the one in the file: go on with neither. */
		q->failed = r;
		return r;
	}
	pthread_mutex_lock(&q->lock);
	q->reftable_offset = offset;
	q->reftable_clusters = clusters;
	pthread_mutex_unlock(&q->lock);
	free(q->reftable);
	q->reftable = table;
	q->reftable_size = size;
	qcow2_free_later(q, old_offset, old_clusters);
	return 0;
}

/* The new table lies behind all that the old one covers, after the blocks that count it. */
static int grow_reftable(struct qcow2 *q)
{
	const uint64_t start = q->reftable_size * per_block(q);
	uint64_t clusters = q->reftable_clusters + q->reftable_clusters / 2 + 1, blocks, size, *table;
	int r;

	/* A count for the table, the counts, and some room. */
	blocks = (clusters + 2 + per_block(q) - 1) / per_block(q);
	while (blocks * per_block(q) < clusters + blocks)
		blocks++;
	while (clusters << (q->cluster_bits - 3) < q->reftable_size + blocks)
		clusters++;
	size = clusters << (q->cluster_bits - 3);
	if (clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_SIZE || (start + blocks + clusters) << q->cluster_bits >= QCOW2_MAX_FILE_SIZE)
		return -EFBIG;
	r = check_taken(q, start, blocks + clusters);
	if (r < 0)
		return r;
	table = calloc(size, 8);
	if (!table)
		return -ENOMEM;
	for (uint64_t i = 0; i < q->reftable_size; i++)
		table[i] = htobe64(q->reftable[i]);
	for (uint64_t i = 0; i < blocks; i++)
		table[q->reftable_size + i] = htobe64((start + i) << q->cluster_bits);
	r = write_first_blocks(q, start, blocks, blocks + clusters);
	if (r == 0)
		r = file_write(q->file, (start + blocks) << q->cluster_bits, table, size * 8);
	for (uint64_t i = 0; i < blocks && r == 0; i++)
		r = note_table(q, start + i);
	for (uint64_t i = 0; i < size; i++)
		table[i] = be64toh(table[i]);
	raise_high_water(q, (start + blocks + clusters) << q->cluster_bits);
	if (r == 0)
		r = switch_reftable(q, (start + blocks) << q->cluster_bits, clusters, table, size);
	if (r < 0)
		free(table);
	return r;
}

static int block_for_change(struct qcow2 *q, uint64_t cluster, struct qcow2_table **block)
{
	uint64_t index = cluster / per_block(q);
	int r = q->failed;

	if (cluster >= QCOW2_MAX_FILE_SIZE >> q->cluster_bits)
		return -EFBIG;
	while (r == 0 && index >= q->reftable_size)
		r = grow_reftable(q);
	if (r == 0 && !q->reftable[index])
		r = add_block(q, index);
	return r == 0 ? get_block(q, cluster, block) : r;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t refcount)
{
	struct qcow2_table *block;
	int r = refcount > max_refcount(q) ? -ERANGE : block_for_change(q, cluster, &block);

	if (r == 0)
		set_in_block(q, block, cluster, refcount);
	return r;
}

/* ---- taking ---- */

/* Takes what is free of one block, from *cluster on: up to wanted in a row. */
static uint64_t take_run(struct qcow2 *q, struct qcow2_table *block, uint64_t *cluster, uint64_t wanted)
{
	const uint64_t end = (*cluster / per_block(q) + 1) * per_block(q);
	uint64_t got = 0;

	while (*cluster < end && qcow2_refcount_read(block->data, q->refcount_order, *cluster % per_block(q)))
		++*cluster;
	while (*cluster + got < end && got < wanted &&
	       !qcow2_refcount_read(block->data, q->refcount_order, (*cluster + got) % per_block(q))) {
		set_in_block(q, block, *cluster + got, 1);
		got++;
	}
	return got;
}

int qcow2_alloc(struct qcow2 *q, uint64_t wanted, uint64_t *offset, uint64_t *got, bool *fresh)
{
	uint64_t cluster = q->hint;
	struct qcow2_table *block;

	for (*got = 0; *got == 0;) {
		int r = block_for_change(q, cluster, &block);

		if (r < 0)
			return r;
		*got = take_run(q, block, &cluster, wanted);
		q->hint = cluster + *got;
	}
	*offset = cluster << q->cluster_bits;
	*fresh = *offset >= q->high_water;
	raise_high_water(q, (cluster + *got) << q->cluster_bits);
	return check_taken(q, cluster, *got);
}

int qcow2_alloc_row(struct qcow2 *q, uint64_t count, uint64_t *offset)
{
	uint64_t start = q->high_water >> q->cluster_bits;
	int r = 0;

	/* Counting them may take blocks of the same clusters: begin again behind those. */
	for (uint64_t i = 0; i < count && r == 0; i++) {
		uint64_t refcount;
		struct qcow2_table *block;

		r = block_for_change(q, start + i, &block);
		if (r == 0)
			r = qcow2_refcount_get(q, start + i, &refcount);
		if (r == 0 && refcount) {
			start = q->high_water >> q->cluster_bits > start + i ? q->high_water >> q->cluster_bits : start + i + 1;
			i = UINT64_MAX; /* from the first again */
		}
	}
	for (uint64_t i = 0; i < count && r == 0; i++)
		r = qcow2_refcount_set(q, start + i, 1);
	if (r < 0)
		return r;
	*offset = start << q->cluster_bits;
	raise_high_water(q, (start + count) << q->cluster_bits);
	return check_taken(q, start, count);
}

/* ---- giving back ---- */

static int give_back(struct qcow2 *q, uint64_t cluster)
{
	uint64_t refcount;
	int r = qcow2_refcount_get(q, cluster, &refcount);

	if (r < 0)
		return r;
	if (refcount == 0)
		return qcow2_corrupt(q, "a cluster in use without reference count", cluster << q->cluster_bits);
	r = qcow2_refcount_set(q, cluster, refcount - 1);
	if (r < 0 || refcount > 1)
		return r;
	if (cluster < q->hint)
		q->hint = cluster;
	if (q->packed_end && (q->packed_end - 1) >> q->cluster_bits == cluster)
		q->packed_at = q->packed_end = 0;
	if (qcow2_set_has(&q->metadata, cluster)) {
		pthread_mutex_lock(&q->lock);
		qcow2_set_remove(&q->metadata, cluster);
		pthread_mutex_unlock(&q->lock);
	}
	return 1;
}

void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t count)
{
	/* What fails is leaked. */
	for (uint64_t i = 0; i < count && q->failed == 0; i++)
		if (give_back(q, (offset >> q->cluster_bits) + i) < 0)
			return;
}

static void add_run(struct qcow2_freed *freed, uint64_t cluster, uint64_t count)
{
	if (freed->count && freed->runs[freed->count - 1].cluster + freed->runs[freed->count - 1].count == cluster) {
		freed->runs[freed->count - 1].count += count;
		return;
	}
	if (freed->count == freed->capacity) {
		size_t capacity = freed->capacity ? freed->capacity * 2 : 64;
		void *runs = realloc(freed->runs, capacity * sizeof(*freed->runs));

		if (!runs)
			return; /* leaked */
		freed->runs = runs;
		freed->capacity = capacity;
	}
	freed->runs[freed->count].cluster = cluster;
	freed->runs[freed->count++].count = count;
}

void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t count)
{
	if (q->freed[0].count < MAX_RUNS)
		add_run(&q->freed[0], offset >> q->cluster_bits, count);
	else
		log_guest("disk", "a guest frees more of a qcow2 image without a flush than is kept in mind: some room is lost until "
				  "ruse disk check -r leaks");
	q->unflushed = true;
}

void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint32_t *len)
{
	const unsigned shift = 62 - (q->cluster_bits - 8);
	const uint64_t sectors = (entry >> shift & ((1ull << (q->cluster_bits - 8)) - 1)) + 1;

	*offset = entry & ((1ull << shift) - 1);
	*len = (uint32_t)(sectors * 512 - *offset % 512);
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset;
	uint32_t len;

	if (!(entry & QCOW2_COMPRESSED)) {
		if (entry & QCOW2_OFFSET)
			qcow2_free_later(q, entry & QCOW2_OFFSET, 1);
		return;
	}
	if (entry == q->unpacked_entry)
		q->unpacked_entry = 0;
	qcow2_compressed_range(q, entry, &offset, &len);
	for (uint64_t c = offset >> q->cluster_bits; c <= (offset + len - 1) >> q->cluster_bits; c++)
		qcow2_free_later(q, c << q->cluster_bits, 1);
}

static int free_runs(struct qcow2 *q, struct qcow2_freed *freed)
{
	int r = 0;

	for (size_t i = 0; i < freed->count && r >= 0; i++) {
		uint64_t first = freed->runs[i].cluster, end = first + freed->runs[i].count, gone = first;

		for (uint64_t c = first; c < end && r >= 0; c++) {
			r = give_back(q, c);
			/* The host gets a row at once, and what is still referred to stays. */
			if (r != 1 || c + 1 == end) {
				uint64_t to = r == 1 ? c + 1 : c;

				if (q->options.discard && to > gone)
					(void)q->file->ops->zero(q->file, gone << q->cluster_bits, (to - gone) << q->cluster_bits, true);
				gone = c + 1;
			}
		}
	}
	freed->count = 0;
	return r < 0 ? r : 0;
}

int qcow2_free_now(struct qcow2 *q)
{
	if (!q->in_grace && q->freed[0].count) {
		struct qcow2_freed empty = q->freed[1];

		q->freed[1] = q->freed[0];
		q->freed[0] = empty;
		q->in_grace = true;
		if (q->grace.begin)
			q->grace.begin(q->grace.ctx);
	}
	if (!q->in_grace)
		return 0;
	if (q->grace.done && !q->grace.done(q->grace.ctx))
		return 0;
	q->in_grace = false;
	return free_runs(q, &q->freed[1]);
}
