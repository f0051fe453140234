/* What an image lies in: a host's file, or in tests memory that can lose its power.
 *
 * Example:
 *     struct host_file_options options = {.path = "disk.qcow2", .writable = true};
 *     r = host_file_open(&options, &file, why, sizeof(why));
 *     r = file_read(file, 0, header, sizeof(header));
 *     file->ops->close(file);
 *
 * Transfers are whole or an error; what lies behind the end reads as zeroes.
 */
#ifndef DISK_FILE_H
#define DISK_FILE_H

#include "base/types.h"
#include <sys/uio.h>

struct disk_file;

struct disk_file_ops {
	/* As preadv and pwritev: bytes, or -errno; a read at the end is 0. */
	int64_t (*readv)(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count);
	int64_t (*writev)(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count);
	/* All that was written is on the medium. */
	int (*sync)(struct disk_file *file);
	/* Reads as zeroes afterwards, without room on the host if `punch`. -EOPNOTSUPP: write zeroes. */
	int (*zero)(struct disk_file *file, uint64_t offset, uint64_t len, bool punch);
	int (*resize)(struct disk_file *file, uint64_t size);
	void (*close)(struct disk_file *file);
};

struct disk_file {
	const struct disk_file_ops *ops;
	_Atomic uint64_t size; /* grows with writes */
	bool writable;
};

/* A place in a vector of buffers. */
struct span {
	const struct iovec *iov;
	unsigned count;
	uint64_t skip; /* bytes in front of the place */
};

/* The next len bytes of span, in at most max pieces; *count is how many pieces, the result how many bytes. */
uint64_t span_slice(struct span span, uint64_t len, struct iovec *pieces, unsigned max, unsigned *count);
static inline struct span span_at(struct span span, uint64_t further)
{
	span.skip += further;
	return span;
}
void span_zero(struct span span, uint64_t len);
void span_fill(struct span span, const void *from, uint64_t len); /* into the span */
void span_copy(void *to, struct span span, uint64_t len);         /* out of it */

/* 0 or -errno. */
int file_readv(struct disk_file *file, uint64_t offset, struct span span, uint64_t len) must_check;
int file_writev(struct disk_file *file, uint64_t offset, struct span span, uint64_t len) must_check;
int file_read(struct disk_file *file, uint64_t offset, void *buf, uint64_t len) must_check;
int file_write(struct disk_file *file, uint64_t offset, const void *buf, uint64_t len) must_check;
/* By whatever way there is. */
int file_zero(struct disk_file *file, uint64_t offset, uint64_t len, bool punch) must_check;

/* ---- files of the host ---- */

struct host_file_options {
	const char *path;
	bool writable;
	bool create;    /* makes it anew; with exclusive: it must not be there */
	bool exclusive;
	bool direct;    /* past the host's page cache where alignment allows */
	bool unsafe;    /* sync does nothing */
	bool unlocked;  /* nobody is kept from writing meanwhile */
	bool together;  /* others may write meanwhile, if they say so too */
	bool given;     /* fd is the file, opened as it is to be used; taken over, also on failure. path is for messages */
	int fd;
};

/* Opens and locks (lock.h). Files and block devices. 0, or -errno with one sentence in why. */
int host_file_open(const struct host_file_options *options, struct disk_file **file, char *why, size_t why_size) must_check;
/* Which descriptor transfers take: the direct one if there is one. And the other. */
int host_file_fd(const struct disk_file *file);
int host_file_buffered_fd(const struct disk_file *file);
bool host_file_is_device(const struct disk_file *file);

#endif
