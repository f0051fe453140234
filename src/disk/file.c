/* Transfers by pieces; see file.h. */
#include "disk/file.h"
#include <errno.h>
#include <string.h>

#define PIECES    64u
#define ZERO_SIZE 65536u

static const uint8_t zeroes[ZERO_SIZE];

uint64_t span_slice(struct span span, uint64_t len, struct iovec *pieces, unsigned max, unsigned *count)
{
	uint64_t skip = span.skip, done = 0;

	*count = 0;
	for (unsigned i = 0; i < span.count && *count < max && done < len; i++) {
		uint64_t size = span.iov[i].iov_len;

		if (skip >= size) {
			skip -= size;
			continue;
		}
		size -= skip;
		if (size > len - done)
			size = len - done;
		pieces[(*count)++] = (struct iovec){(uint8_t *)span.iov[i].iov_base + skip, (size_t)size};
		skip = 0;
		done += size;
	}
	return done;
}

/* Calls for each piece of memory of the span, with its place from the beginning. */
static void each_piece(struct span span, uint64_t len, void (*call)(void *ctx, uint64_t at, struct iovec piece), void *ctx)
{
	uint64_t skip = span.skip, done = 0;

	for (unsigned i = 0; i < span.count && done < len; i++) {
		uint64_t size = span.iov[i].iov_len;

		if (skip >= size) {
			skip -= size;
			continue;
		}
		size -= skip;
		if (size > len - done)
			size = len - done;
		call(ctx, done, (struct iovec){(uint8_t *)span.iov[i].iov_base + skip, (size_t)size});
		skip = 0;
		done += size;
	}
}

static void zero_piece(void *ctx, uint64_t at, struct iovec piece)
{
	memset(piece.iov_base, 0, piece.iov_len);
}

static void fill_piece(void *ctx, uint64_t at, struct iovec piece)
{
	memcpy(piece.iov_base, (const uint8_t *)ctx + at, piece.iov_len);
}

static void copy_piece(void *ctx, uint64_t at, struct iovec piece)
{
	memcpy((uint8_t *)ctx + at, piece.iov_base, piece.iov_len);
}

void span_zero(struct span span, uint64_t len)
{
	each_piece(span, len, zero_piece, NULL);
}

void span_fill(struct span span, const void *from, uint64_t len)
{
	each_piece(span, len, fill_piece, (void *)(uintptr_t)from);
}

void span_copy(void *to, struct span span, uint64_t len)
{
	each_piece(span, len, copy_piece, to);
}

int file_readv(struct disk_file *file, uint64_t offset, struct span span, uint64_t len)
{
	struct iovec pieces[PIECES];
	unsigned count;

	while (len > 0) {
		uint64_t slice = span_slice(span, len, pieces, PIECES, &count);
		int64_t n = slice ? file->ops->readv(file, offset, pieces, count) : -EINVAL;

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0) {
			span_zero(span, len);
			return 0;
		}
		offset += (uint64_t)n;
		span.skip += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int file_writev(struct disk_file *file, uint64_t offset, struct span span, uint64_t len)
{
	struct iovec pieces[PIECES];
	unsigned count;

	while (len > 0) {
		uint64_t slice = span_slice(span, len, pieces, PIECES, &count);
		int64_t n = slice ? file->ops->writev(file, offset, pieces, count) : -EINVAL;

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		offset += (uint64_t)n;
		span.skip += (uint64_t)n;
		len -= (uint64_t)n;
		if (offset > file->size)
			file->size = offset;
	}
	return 0;
}

int file_read(struct disk_file *file, uint64_t offset, void *buf, uint64_t len)
{
	const struct iovec iov = {buf, (size_t)len};

	return file_readv(file, offset, (struct span){&iov, 1, 0}, len);
}

int file_write(struct disk_file *file, uint64_t offset, const void *buf, uint64_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)buf, (size_t)len};

	return file_writev(file, offset, (struct span){&iov, 1, 0}, len);
}

int file_zero(struct disk_file *file, uint64_t offset, uint64_t len, bool punch)
{
	int r = file->ops->zero(file, offset, len, punch);

	if (r != -EOPNOTSUPP)
		return r;
	for (r = 0; r == 0 && len > 0;) {
		uint64_t n = len < ZERO_SIZE ? len : ZERO_SIZE;

		r = file_write(file, offset, zeroes, n);
		offset += n;
		len -= n;
	}
	return r;
}
