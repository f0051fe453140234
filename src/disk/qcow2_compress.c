/* Compressed clusters: zlib's raw deflate, or zstd. See qcow2.h.
 *
 * Example: `r = qcow2_unpack(q, entry); memcpy(to, q->unpacked + within, len);`
 *
 * Compressed data is packed byte after byte; several pieces may share a cluster of the file, and one may reach into the next.
 */
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define WINDOW_BITS (-12) /* raw; what QEMU chose, and can read back */
#define ZSTD_LEVEL  3

static int inflate_zlib(const uint8_t *from, size_t from_len, uint8_t *to, size_t to_len)
{
	z_stream stream = {.next_in = (uint8_t *)(uintptr_t)from,
			   .avail_in = (unsigned)from_len,
			   .next_out = to,
			   .avail_out = (unsigned)to_len};
	int r = inflateInit2(&stream, WINDOW_BITS);

	if (r != Z_OK)
		return -ENOMEM;
	r = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	/* Behind the data may be anything to the end of the sector. */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && stream.avail_out == 0 ? 0 : -EIO;
}

static int inflate_zstd(const uint8_t *from, size_t from_len, uint8_t *to, size_t to_len)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = {from, from_len, 0};
	ZSTD_outBuffer out = {to, to_len, 0};
	size_t r = 1;

	if (!context)
		return -ENOMEM;
	while (out.pos < out.size) {
		const size_t before = in.pos + out.pos;

		r = ZSTD_decompressStream(context, &out, &in);
		if (ZSTD_isError(r) || (in.pos + out.pos == before && out.pos < out.size))
			break;
	}
	ZSTD_freeDCtx(context);
	return !ZSTD_isError(r) && out.pos == out.size ? 0 : -EIO;
}

static int ensure_packed(struct qcow2 *q)
{
	/* An entry can describe one sector more than two clusters; zlib and zstd may need a little more than that. */
	if (!q->packed)
		q->packed = malloc(2u * q->cluster_size + 1024);
	return q->packed ? 0 : -ENOMEM;
}

int qcow2_unpack(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset;
	uint32_t len;
	int r = ensure_packed(q);

	if (r < 0 || (entry == q->unpacked_entry && entry))
		return r;
	qcow2_compressed_range(q, entry, &offset, &len);
	if (offset >= q->file->size || len > 2 * q->cluster_size)
		return qcow2_corrupt(q, "compressed data outside of the file", offset);
	q->unpacked_entry = 0;
	r = file_read(q->file, offset, q->packed, len);
	if (r == 0)
		r = q->compression == QCOW2_ZSTD ? inflate_zstd(q->packed, len, q->unpacked, q->cluster_size)
						 : inflate_zlib(q->packed, len, q->unpacked, q->cluster_size);
	if (r == 0)
		q->unpacked_entry = entry;
	return r;
}

/* ---- making them ---- */

/* Bytes, or 0: it does not get smaller. */
static size_t deflate_cluster(const struct qcow2 *q, const uint8_t *from, uint8_t *to)
{
	const size_t room = q->cluster_size - 512;
	z_stream stream = {.next_in = (uint8_t *)(uintptr_t)from,
			   .avail_in = q->cluster_size,
			   .next_out = to,
			   .avail_out = (unsigned)room};
	int r;

	if (q->cluster_size <= 512)
		return 0;
	if (q->compression == QCOW2_ZSTD) {
		size_t size = ZSTD_compress(to, room, from, q->cluster_size, ZSTD_LEVEL);

		return ZSTD_isError(size) ? 0 : size;
	}
	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	r = deflate(&stream, Z_FINISH);
	deflateEnd(&stream);
	return r == Z_STREAM_END ? room - stream.avail_out : 0;
}

/* Room for len bytes in a row, with a reference for each cluster that they touch. */
static int alloc_bytes(struct qcow2 *q, size_t len, uint64_t *offset)
{
	uint64_t refcount, next, got;
	bool fresh;
	int r;

	/* Goes on in the cluster where the last piece ended, if the next one is still free to grow into. */
	if (q->packed_at < q->packed_end) {
		const uint64_t cluster = q->packed_at >> q->cluster_bits;

		r = qcow2_refcount_get(q, cluster, &refcount);
		if (r < 0)
			return r;
		if (len <= q->packed_end - q->packed_at) {
			r = qcow2_refcount_set(q, cluster, refcount + 1);
			if (r == 0) {
				*offset = q->packed_at;
				q->packed_at += len;
				return 0;
			}
			if (r != -ERANGE)
				return r;
		}
	}
	r = qcow2_alloc(q, 1, &next, &got, &fresh);
	if (r < 0)
		return r;
	if (q->packed_at < q->packed_end && next == q->packed_end) {
		r = qcow2_refcount_set(q, q->packed_at >> q->cluster_bits, refcount + 1);
		if (r == 0) {
			*offset = q->packed_at;
			q->packed_at += len;
			q->packed_end = next + q->cluster_size;
			return 0;
		}
		if (r != -ERANGE)
			return r;
	}
	*offset = next;
	q->packed_at = next + len;
	q->packed_end = next + q->cluster_size;
	return 0;
}

static int write_plain(struct qcow2 *q, uint64_t offset, const void *data, uint64_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)data, (size_t)len};

	return qcow2_write(q, offset, (struct span){&iov, 1, 0}, len);
}

int qcow2_write_compressed(struct qcow2 *q, uint64_t offset, const void *data, uint64_t len)
{
	const unsigned shift = 62 - (q->cluster_bits - 8);
	struct qcow2_table *table;
	uint64_t at = 0, old, sectors;
	size_t size;
	int r = ensure_packed(q);

	if (r < 0 || !q->writable || q->failed)
		return r < 0 ? r : q->writable ? q->failed : -EROFS;
	if (offset % q->cluster_size || offset >= q->size || len > q->cluster_size || len > q->size - offset)
		return -EINVAL;
	memcpy(q->bounce, data, len);
	memset(q->bounce + len, 0, q->cluster_size - len);
	size = deflate_cluster(q, q->bounce, q->packed);
	q->unpacked_entry = 0;
	if (!size)
		return write_plain(q, offset, data, len);
	r = alloc_bytes(q, size, &at);
	if (r < 0)
		return r;
	if (at + size >= 1ull << shift)
		return -EFBIG;
	r = file_write(q->file, at, q->packed, size);
	if (r == 0)
		r = qcow2_l2_for_change(q, qcow2_l1_index(q, offset), &table);
	if (r < 0)
		return r;
	sectors = ((at + size - 1) >> 9) - (at >> 9);
	old = read_be64(table->data + 8u * qcow2_l2_index(q, offset));
	qcow2_entry_set(q, table, qcow2_l2_index(q, offset), at | sectors << shift | QCOW2_COMPRESSED);
	qcow2_free_entry(q, old);
	return 0;
}
