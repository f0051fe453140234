/* See copy.h. */
#include "disk/copy.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK MIB(2) /* the largest cluster */
#define GRAIN 4096u  /* zeroes of this size are left out */

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
	return len == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, len - 1));
}

static struct span span_of(struct iovec *iov, void *bytes, uint64_t len)
{
	*iov = (struct iovec){bytes, (size_t)len};
	return (struct span){iov, 1, 0};
}

/* Writes what is not zero of it. */
static int write_data(struct disk_image *to, uint64_t offset, uint8_t *bytes, uint64_t len)
{
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < len) {
		const uint64_t grain = len - at < GRAIN ? len - at : GRAIN;
		uint64_t end = at;
		struct iovec iov;

		if (is_zero(bytes + at, grain)) {
			at += grain;
			continue;
		}
		while (end < len && !is_zero(bytes + end, len - end < GRAIN ? len - end : GRAIN))
			end += len - end < GRAIN ? len - end : GRAIN;
		r = disk_image_write(to, offset + at, span_of(&iov, bytes + at, end - at), end - at);
		at = end;
	}
	return r;
}

static int write_compressed(struct disk_image *to, uint64_t offset, const uint8_t *bytes, uint64_t len)
{
	struct qcow2_info info;
	int r = 0;

	qcow2_describe(to->qcow2, &info);
	for (uint64_t at = 0; at < len && r == 0; at += info.cluster_size) {
		const uint64_t n = len - at < info.cluster_size ? len - at : info.cluster_size;

		if (!is_zero(bytes + at, n))
			r = qcow2_write_compressed(to->qcow2, offset + at, bytes + at, n);
	}
	return r;
}

int disk_copy(struct disk_image *from, struct disk_image *to, bool compress)
{
	const bool device = host_file_is_device(to->file);
	uint8_t *bytes = aligned_alloc(GRAIN, CHUNK);
	uint64_t size = from->size < to->size ? from->size : to->size;
	int r = bytes ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < size && r == 0;) {
		const uint64_t chunk = size - at < CHUNK ? size - at : CHUNK;
		struct disk_extent extent;
		struct iovec iov;

		r = disk_image_map(from, at, size - at, false, &extent);
		if (r < 0)
			break;
		/* Whole chunks, so that whole clusters are seen. */
		if (extent.kind == DISK_ZERO && extent.len >= chunk && at % CHUNK == 0) {
			const uint64_t skip = extent.len < size - at ? extent.len / CHUNK * CHUNK : extent.len;

			if (device)
				r = disk_image_zero(to, at, skip ? skip : chunk, true);
			at += skip ? skip : chunk;
			continue;
		}
		r = disk_image_read(from, at, span_of(&iov, bytes, chunk), chunk);
		if (r == 0 && device)
			r = disk_image_write(to, at, span_of(&iov, bytes, chunk), chunk);
		else if (r == 0)
			r = compress ? write_compressed(to, at, bytes, chunk) : write_data(to, at, bytes, chunk);
		at += chunk;
	}
	free(bytes);
	return r == 0 ? disk_image_flush(to) : r;
}

/* ---- commit ---- */

static int grow(struct disk_image *image, uint64_t size, char *why, size_t why_size)
{
	int r;

	if (image->size >= size)
		return 0;
	r = image->qcow2 ? qcow2_resize(image->qcow2, size, false, why, why_size) : image->file->ops->resize(image->file, size);
	if (r == 0)
		image->size = size;
	return r;
}

static int commit_extent(struct disk_image *image, const struct qcow2_extent *extent, uint64_t at, uint8_t *bytes)
{
	int r = 0;

	if (extent->kind == QCOW2_KIND_BACKING)
		return 0;
	if (extent->kind == QCOW2_KIND_ZERO)
		return disk_image_zero(image->backing, at, extent->len, true);
	for (uint64_t done = 0; done < extent->len && r == 0;) {
		const uint64_t n = extent->len - done < CHUNK ? extent->len - done : CHUNK;
		struct iovec iov;

		r = disk_image_read(image, at + done, span_of(&iov, bytes, n), n);
		if (r == 0)
			r = disk_image_write(image->backing, at + done, span_of(&iov, bytes, n), n);
		done += n;
	}
	return r;
}

int disk_commit(struct disk_image *image, char *why, size_t why_size)
{
	uint8_t *bytes;
	int r;

	why[0] = 0;
	if (!image->qcow2 || !image->backing) {
		snprintf(why, why_size, "%s has no backing file that it could be committed to", image->path);
		return -EINVAL;
	}
	r = grow(image->backing, image->size, why, why_size);
	bytes = aligned_alloc(GRAIN, CHUNK);
	if (r == 0 && !bytes)
		r = -ENOMEM;
	for (uint64_t at = 0; at < image->size && r == 0;) {
		struct qcow2_extent extent;

		r = qcow2_map(image->qcow2, at, image->size - at, false, &extent);
		if (r == 0)
			r = commit_extent(image, &extent, at, bytes);
		at += extent.len;
	}
	free(bytes);
	/* It is all there before it goes here. */
	if (r == 0)
		r = disk_image_flush(image->backing);
	if (r == 0)
		r = qcow2_empty(image->qcow2);
	if (r == 0)
		r = disk_image_flush(image);
	if (r < 0 && !why[0])
		snprintf(why, why_size, "%s can't be committed (%s): nothing is lost; make room, and do it again", image->path, strerror(-r));
	return r;
}
