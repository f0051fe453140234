/* Unpacks gzip (RFC 1952, RFC 1951): for kernels that come compressed. What is unpacked is untrusted.
 *
 * Example:
 *     r = gunzip(&(struct gzip_source){.read = next_piece, .ctx = &cursor}, hva, room, &size);
 */
#ifndef LOADER_GUNZIP_H
#define LOADER_GUNZIP_H

#include "base/types.h"

struct gzip_source {
	/* Up to size bytes of what comes next; 0: that was all. -errno: can't be read. */
	int64_t (*read)(void *ctx, void *buf, size_t size);
	void *ctx;
};

/* Unpacks the first member to out, which has room for size bytes; *produced says how many there are, on failure too. -ENOSPC: there
 * would be more; -EINVAL: damaged (its check sum included); else what read() said. */
int gunzip(const struct gzip_source *source, void *out, size_t size, size_t *produced) must_check;

#endif
