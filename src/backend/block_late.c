/* Disks that come late; see block_late.h. All that they do is done by the one thread, in order. */
#include "backend/block_late.h"
#include "backend/block_pool.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

struct block_late {
	struct block_pool *pool;
};

struct late_disk {
	struct block_backend backend;
	struct block_late *late;
	struct disk_image *image;
	bool writethrough;
};

static struct late_disk *disk_of(struct block_backend *backend)
{
	return container_of(backend, struct late_disk, backend);
}

/* ---- the worker ---- */

static int carry_out(struct disk_image *image, const struct block_request *io)
{
	const struct span span = {(const struct iovec *)(const void *)io->bufs, io->count, 0};

	switch (io->op) {
	case BLOCK_READ:
		return disk_image_read(image, io->offset, span, io->length);
	case BLOCK_WRITE:
		return disk_image_write(image, io->offset, span, io->length);
	case BLOCK_FLUSH:
		return disk_image_flush(image);
	case BLOCK_DISCARD:
		return disk_image_discard(image, io->offset, io->length);
	case BLOCK_WRITE_ZEROES:
		return disk_image_zero(image, io->offset, io->length, io->unmap);
	}
	return -EINVAL;
}

static int serve(void *ctx, struct block_request *io)
{
	struct late_disk *disk = io->backend_private[0];
	int r = carry_out(disk->image, io);

	if (r == 0 && disk->writethrough && io->op != BLOCK_READ && io->op != BLOCK_FLUSH)
		r = disk_image_flush(disk->image);
	return r;
}

/* ---- the backend ---- */

static bool is_allowed(const struct block_backend *backend, const struct block_request *request)
{
	if (request->op == BLOCK_FLUSH)
		return true;
	return (request->op == BLOCK_READ || !backend->read_only) && request->offset <= backend->size &&
	       request->length <= backend->size - request->offset;
}

static void late_submit(struct block_backend *backend, struct block_request *request)
{
	struct late_disk *disk = disk_of(backend);

	if (!is_allowed(backend, request)) {
		request->done(request, -EINVAL);
		return;
	}
	request->backend_private[0] = disk;
	block_pool_submit(disk->late->pool, request);
}

static void late_drain(struct block_backend *backend)
{
	block_pool_drain(disk_of(backend)->late->pool);
}

static void late_close(struct block_backend *backend)
{
	struct late_disk *disk = disk_of(backend);
	char path[256];
	int r;

	late_drain(backend);
	snprintf(path, sizeof(path), "%s", disk->image ? disk->image->path : "");
	r = disk_image_close(disk->image);
	if (r < 0)
		log_error("disk", "%s: what was written last can't be kept (%s): check the host's disk", path, strerror(-r));
	free(disk);
}

static const struct block_backend_ops late_ops = {.submit = late_submit, .drain = late_drain, .destroy = late_close};

static int open_image(struct late_disk *disk, const struct block_late_disk *options, char *why, size_t why_size)
{
	const struct disk_image_options image = {.path = options->path,
						 .format = options->format,
						 .writable = !options->read_only,
						 .unsafe = options->cache == BLOCK_CACHE_UNSAFE,
						 .discard = true,
						 .files = options->files,
						 .file_count = options->file_count};
	int r;

	if (options->cache == BLOCK_CACHE_NONE) {
		snprintf(why, why_size, "a disk that comes while the VM runs can't bypass the page cache: choose another cache= than none");
		return -EINVAL;
	}
	r = disk_image_open(&image, &disk->image, why, why_size);
	if (r == 0 && (!disk->image->size || disk->image->size % SECTOR)) {
		snprintf(why, why_size, "%s is not a whole number of 512-byte sectors: grow it, for instance with ruse disk resize", options->path);
		r = -EINVAL;
	}
	return r;
}

int block_late_open(struct block_late *late, const struct block_late_disk *options, struct block_backend **out, char *why, size_t why_size)
{
	struct late_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (!disk) {
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
		return -ENOMEM;
	}
	disk->late = late;
	disk->writethrough = options->cache == BLOCK_CACHE_WRITETHROUGH;
	disk->backend.ops = &late_ops;
	r = open_image(disk, options, why, why_size);
	if (r < 0) {
		(void)disk_image_close(disk->image);
		free(disk);
		return r;
	}
	disk->backend.size = disk->image->size;
	disk->backend.read_only = options->read_only;
	disk->backend.can_discard = !options->read_only;
	if (options->serial)
		snprintf(disk->backend.serial, sizeof(disk->backend.serial), "%s", options->serial);
	*out = &disk->backend;
	return 0;
}

int block_late_create(const struct block_late_options *options, struct block_late **out)
{
	const struct block_pool_options pool = {
		.loop = options->loop, .workers = 1, .serve = serve, .enter = options->enter_worker, .enter_ctx = options->enter_ctx};
	struct block_late *late = calloc(1, sizeof(*late));
	int r = late ? block_pool_create(&pool, &late->pool) : -ENOMEM;

	if (r < 0)
		free(late);
	else
		*out = late;
	return r;
}

void block_late_destroy(struct block_late *late)
{
	if (!late)
		return;
	block_pool_destroy(late->pool);
	free(late);
}
