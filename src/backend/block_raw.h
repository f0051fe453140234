/* Disk images that are what they look like: raw files and block devices.
 *
 * Example:
 *     struct block_raw_options options = {.path = "disk.img", .serial = "root"};
 *     err = block_raw_open(&options, loop, &backend, why, sizeof(why));
 *
 * Requests go through io_uring where the host allows it, else through a small pool of threads with
 * preadv/pwritev. Flush is fdatasync, discard punches holes (BLKDISCARD on block devices).
 * The image is locked (OFD lock) so that two machines never write the same one.
 */
#ifndef BACKEND_BLOCK_RAW_H
#define BACKEND_BLOCK_RAW_H

#include "core/backend.h"

struct loop;

enum block_raw_engine { BLOCK_RAW_AUTO, BLOCK_RAW_URING, BLOCK_RAW_THREADS };

struct block_raw_options {
	const char *path;
	const char *serial; /* or NULL; at most 20 bytes count */
	bool read_only;
	enum block_raw_engine engine;
	/* Optional: called on each worker thread before its first request, to restrict the thread. False: it does
	 * not serve, and its requests fail with -EIO. */
	bool (*enter_worker)(void *ctx);
	void *enter_ctx;
};

/* Opens and locks the image and attaches it to the event loop. 0, or -errno with one sentence in why.
 * Starts threads and makes every descriptor it will need, so before the sandbox closes. */
int block_raw_open(const struct block_raw_options *options, struct loop *loop, struct block_backend **out,
		   char *why, size_t why_size) must_check;

/* Whether the backend runs on io_uring (for messages and tests). */
bool block_raw_uses_uring(const struct block_backend *backend);

#endif
