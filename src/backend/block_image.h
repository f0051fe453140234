/* Disk images as a device sees them: raw and qcow2 files with their backing files, and block devices.
 *
 * Example:
 *     struct block_image_options options = {.path = "disk.qcow2", .serial = "root"};
 *     err = block_image_open(&options, loop, &backend, why, sizeof(why));
 *
 * What is known to lie somewhere in a file goes there at once, through io_uring where the host allows it, else through a small pool
 * of threads. What takes more (a table that is not in memory, a new cluster, a compressed one, zeroes, the flush of tables) is done
 * by one thread of the image's own, in order. No virtual processor ever waits for either.
 *
 * The image is locked (disk/lock.h) so that two machines, of ours or QEMU's, never write the same one.
 */
#ifndef BACKEND_BLOCK_IMAGE_H
#define BACKEND_BLOCK_IMAGE_H

#include "core/backend.h"
#include "disk/image.h"

struct loop;

enum block_engine { BLOCK_ENGINE_AUTO, BLOCK_ENGINE_URING, BLOCK_ENGINE_THREADS };

enum block_cache {
	BLOCK_CACHE_WRITEBACK,    /* a write may be lost until the guest flushes */
	BLOCK_CACHE_WRITETHROUGH, /* a write that is done is on the medium */
	BLOCK_CACHE_NONE,         /* as writeback, past the host's page cache */
	BLOCK_CACHE_UNSAFE,       /* flushes are not passed on */
};

struct block_image_options {
	const char *path;
	const char *serial;       /* or NULL; at most 20 bytes count */
	bool read_only;
	bool together;            /* others may write the image too, if they say so */
	enum disk_format format;
	const char *backing_dir;  /* disk_image_options */
	enum block_cache cache;
	enum block_engine engine;
	/* Optional: restricts the thread that calls it; see block_pool.h. */
	int (*enter_worker)(void *ctx);
	void *enter_ctx;
};

/* Opens and locks the image and attaches it to the event loop. 0, or -errno with one sentence in why.
 * Starts threads and makes every descriptor it will need, so before the sandbox closes. */
int block_image_open(const struct block_image_options *options, struct loop *loop, struct block_backend **out, char *why,
		     size_t why_size) must_check;

/* Whether the backend runs on io_uring (for messages and tests). */
bool block_image_uses_uring(const struct block_backend *backend);

/* The open file of the image itself, which stays the backend's. */
int block_image_descriptor(const struct block_backend *backend);

#endif
