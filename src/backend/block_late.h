/* Disk images that come while the guest runs, when no descriptor can be opened and no thread be made any more: the files are handed over
 * open, and one thread, made before, serves all of them.
 *
 * Example:
 *     err = block_late_create(&(struct block_late_options){.loop = loop}, &late);      // before the sandbox closes
 *     err = block_late_open(late, &image_options, &backend, why, sizeof(why));        // I/O thread
 *     backend->ops->destroy(backend);
 *     block_late_destroy(late);
 */
#ifndef BACKEND_BLOCK_LATE_H
#define BACKEND_BLOCK_LATE_H

#include "backend/block_image.h"

struct block_late;

struct block_late_options {
	struct loop *loop;
	int (*enter_worker)(void *ctx); /* block_pool.h */
	void *enter_ctx;
};

struct block_late_disk {
	const char *path;         /* for messages, and for what its name says of its format */
	const char *serial;       /* or NULL */
	bool read_only;
	enum disk_format format;
	enum block_cache cache;   /* any but BLOCK_CACHE_NONE, which would need a second opening */
	int *files;               /* the image and what lies under it; those that are used become -1 */
	unsigned file_count;
};

/* 0 or -errno. */
int block_late_create(const struct block_late_options *options, struct block_late **out) must_check;
/* Locks the image, too. 0, or -errno with one sentence in why. */
int block_late_open(struct block_late *late, const struct block_late_disk *disk, struct block_backend **out, char *why, size_t why_size)
	must_check;
/* No disk of it is left. NULL is allowed. */
void block_late_destroy(struct block_late *late);

#endif
