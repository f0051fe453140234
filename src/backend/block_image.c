/* Requests to images: which way each takes. See block_image.h.
 *
 *     raw image          request ----------------------------> engine (io_uring, threads)
 *     mapped in memory   request -> job, its parts ----------> engine
 *     all else           request -> job ---------------------> worker: disk/image.h, one after the other
 *     flush              joins the one that waits, or waits for the one that is under way
 *
 * Jobs are on the I/O thread. Between it and the worker are only qcow2_map() and the counters of `reading` below.
 */
#include "backend/block_image.h"
#include "backend/block_pool.h"
#include "backend/block_step.h"
#include "base/log.h"
#include "base/types.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR     512u
#define MAX_PARTS  64u /* of a request that goes the short way */
#define DIRECT     512u

_Static_assert(BLOCK_MAX_FILES >= DISK_MAX_LAYERS, "each layer has its file");

struct job;

/* A piece of a request that lies in one place. */
struct part {
	struct block_request io;
	struct iobuf *bufs;
	struct job *job;
};

struct job {
	struct block_image *image;
	struct block_request *request; /* the device's */
	struct block_request io;       /* as the worker or the engine sees it */
	struct job *next;              /* free list, or those that wait for a flush */
	unsigned pending;
	unsigned period;               /* which of image->reading counts it */
	int status;
	bool counted;
	struct part *parts;            /* NULL: io is all */
};

struct block_image {
	struct block_backend backend;
	struct disk_image *image;
	struct block_files files;
	struct block_pool *worker;     /* NULL: nothing ever needs it */
	enum block_cache cache;
	bool passes;                   /* raw and nothing to add: requests go to the engine as they are */
	unsigned under_way;            /* jobs */
	struct job *free;

	/* One flush at a time; those that come meanwhile share the next. */
	bool flushing;
	struct job *flush_waiting;
	struct job flush;              /* its io */
	struct job *flush_sharing;     /* who is served by the one under way */

	/* How many jobs use places that they found in tables, by period: the worker begins a new period when clusters are to become
	 * free, and waits until nobody of the old one is left (qcow2_grace). */
	atomic_uint reading[2], period;
};

static struct block_image *image_of(struct block_backend *backend)
{
	return container_of(backend, struct block_image, backend);
}

/* ---- jobs ---- */

static struct job *take_job(struct block_image *image, struct block_request *request)
{
	struct job *job = image->free;

	if (job)
		image->free = job->next;
	else
		job = malloc(sizeof(*job));
	if (!job)
		return NULL;
	*job = (struct job){.image = image, .request = request};
	image->under_way++;
	return job;
}

static void submit_flush(struct job *job);

/* The last of a job: its request's answer. */
static void end_job(struct job *job, int status)
{
	struct block_image *image = job->image;
	struct block_request *request = job->request;

	if (job->parts) {
		free(job->parts[0].bufs);
		free(job->parts);
	}
	job->next = image->free;
	image->free = job;
	image->under_way--;
	request->done(request, status);
}

static void stop_reading(struct job *job)
{
	if (job->counted)
		atomic_fetch_sub(&job->image->reading[job->period], 1);
	job->counted = false;
}

/* What the request asked for is done. */
static void finish(struct job *job, int status)
{
	struct block_image *image = job->image;
	const bool changes = job->request->op != BLOCK_READ && job->request->op != BLOCK_FLUSH;

	stop_reading(job);
	if (status == 0 && changes && image->cache == BLOCK_CACHE_WRITETHROUGH)
		submit_flush(job);
	else
		end_job(job, status);
}

static void io_done(struct block_request *io, int status)
{
	finish(io->ctx, status);
}

static void part_done(struct block_request *io, int status)
{
	struct part *part = container_of(io, struct part, io);
	struct job *job = part->job;

	if (status < 0 && job->status == 0)
		job->status = status;
	if (--job->pending == 0)
		finish(job, job->status);
}

/* ---- the worker ---- */

static int serve(void *ctx, struct block_request *io)
{
	struct block_image *image = ctx;
	const struct span span = {(const struct iovec *)(const void *)io->bufs, io->count, 0};

	switch (io->op) {
	case BLOCK_READ:
		return disk_image_read(image->image, io->offset, span, io->length);
	case BLOCK_WRITE:
		return disk_image_write(image->image, io->offset, span, io->length);
	case BLOCK_FLUSH:
		return disk_image_flush(image->image);
	case BLOCK_DISCARD:
		return disk_image_discard(image->image, io->offset, io->length);
	case BLOCK_WRITE_ZEROES:
		return disk_image_zero(image->image, io->offset, io->length, io->unmap);
	}
	return -EINVAL;
}

static void take_io(struct job *job, void (*done)(struct block_request *io, int status))
{
	job->io = *job->request;
	job->io.done = done;
	job->io.ctx = job;
}

static void go_long_way(struct job *job)
{
	stop_reading(job);
	take_io(job, io_done);
	block_pool_submit(job->image->worker, &job->io);
}

/* Begun by the worker after a flush, in which it changed the tables that lead to what is to become free. Who has looked before that
 * counts in the old period; who counts there later looks later still, and finds the new tables. */
static void begin_period(void *ctx)
{
	struct block_image *image = ctx;

	atomic_fetch_xor(&image->period, 1);
}

static bool period_is_over(void *ctx)
{
	struct block_image *image = ctx;

	return atomic_load(&image->reading[atomic_load(&image->period) ^ 1]) == 0;
}

static void start_reading(struct job *job)
{
	job->period = atomic_load(&job->image->period);
	atomic_fetch_add(&job->image->reading[job->period], 1);
	job->counted = true;
}

/* ---- the short way ---- */

static bool is_aligned(const struct block_request *request)
{
	for (unsigned i = 0; i < request->count; i++)
		if ((uintptr_t)request->bufs[i].base % DIRECT || request->bufs[i].len % DIRECT)
			return false;
	return true;
}

/* Finds the places of a whole request. How many; 0: it must go the long way. */
static unsigned find_places(struct job *job, struct disk_extent extents[MAX_PARTS])
{
	const struct block_request *request = job->request;
	const bool write = request->op == BLOCK_WRITE;
	uint64_t at = request->offset, left = request->length;
	unsigned count = 0;

	for (; left > 0; count++) {
		struct disk_extent *extent = &extents[count];

		if (count == MAX_PARTS || disk_image_map(job->image->image, at, left, true, extent) < 0 || extent->kind == DISK_ELSEWHERE ||
		    (write && !extent->in_place) || extent->len == 0)
			return 0;
		at += extent->len;
		left -= extent->len;
	}
	return count;
}

/* The request's buffers, cut to the parts. */
static bool cut(struct job *job, const struct disk_extent *extents, unsigned count)
{
	const struct block_request *request = job->request;
	struct iobuf *bufs = malloc((request->count + count) * sizeof(*bufs));
	struct span span = {(const struct iovec *)(const void *)request->bufs, request->count, 0};

	job->parts = calloc(count, sizeof(*job->parts));
	if (!job->parts || !bufs) {
		free(job->parts);
		free(bufs);
		job->parts = NULL;
		return false;
	}
	for (unsigned i = 0; i < count; i++) {
		struct part *part = &job->parts[i];
		unsigned pieces;

		(void)span_slice(span, extents[i].len, (struct iovec *)(void *)bufs, request->count + count, &pieces);
		span.skip += extents[i].len;
		part->job = job;
		part->bufs = bufs;
		part->io = (struct block_request){.op = request->op,
						  .offset = extents[i].host,
						  .length = extents[i].len,
						  .bufs = bufs,
						  .count = pieces,
						  .done = part_done,
						  .ctx = job};
		bufs += pieces;
	}
	return true;
}

static void submit_parts(struct job *job, const struct disk_extent *extents, unsigned count)
{
	struct block_files *files = &job->image->files;
	struct span span = {(const struct iovec *)(const void *)job->request->bufs, job->request->count, 0};

	job->pending = 1; /* so that it doesn't end under our feet */
	for (unsigned i = 0; i < count; i++) {
		if (extents[i].kind == DISK_ZERO) {
			span_zero(span, extents[i].len);
		} else {
			job->pending++;
			files->ops->submit(files, extents[i].layer, &job->parts[i].io);
		}
		span.skip += extents[i].len;
	}
	if (--job->pending == 0)
		finish(job, job->status);
}

static bool go_short_way(struct job *job)
{
	struct block_image *image = job->image;
	struct disk_extent extents[MAX_PARTS];
	unsigned count;

	if (image->cache == BLOCK_CACHE_NONE && !is_aligned(job->request))
		return false;
	start_reading(job);
	count = find_places(job, extents);
	if (count == 1 && extents[0].kind == DISK_DATA) {
		take_io(job, io_done);
		job->io.offset = extents[0].host;
		image->files.ops->submit(&image->files, extents[0].layer, &job->io);
		return true;
	}
	if (count == 0 || !cut(job, extents, count))
		return false;
	submit_parts(job, extents, count);
	return true;
}

/* ---- flushes ---- */

static void start_flush(struct block_image *image);

static void flush_done(struct block_request *io, int status)
{
	struct block_image *image = io->ctx;
	struct job *job = image->flush_sharing, *next;

	image->flushing = false;
	image->flush_sharing = NULL;
	if (image->flush_waiting)
		start_flush(image);
	for (; job; job = next) {
		next = job->next;
		end_job(job, status);
	}
}

/* Serves all that wait: whatever they wrote is written. */
static void start_flush(struct block_image *image)
{
	struct block_request *io = &image->flush.io;
	const struct qcow2 *qcow2 = image->image->qcow2;

	image->flushing = true;
	image->flush_sharing = image->flush_waiting;
	image->flush_waiting = NULL;
	*io = (struct block_request){.op = BLOCK_FLUSH, .done = flush_done, .ctx = image};
	if (qcow2 && (image->cache == BLOCK_CACHE_UNSAFE || qcow2_needs_flush(qcow2)))
		block_pool_submit(image->worker, io);
	else
		image->files.ops->submit(&image->files, 0, io);
}

static void submit_flush(struct job *job)
{
	struct block_image *image = job->image;

	/* Nobody has been promised anything; but tables are not only in our memory then. */
	if (image->cache == BLOCK_CACHE_UNSAFE && !(image->image->qcow2 && qcow2_needs_flush(image->image->qcow2))) {
		end_job(job, 0);
		return;
	}
	job->next = image->flush_waiting;
	image->flush_waiting = job;
	if (!image->flushing)
		start_flush(image);
}

/* ---- the backend ---- */

static bool is_allowed(const struct block_image *image, const struct block_request *request)
{
	const uint64_t size = image->backend.size;

	if (request->op == BLOCK_FLUSH)
		return true;
	return (request->op == BLOCK_READ || !image->backend.read_only) && request->offset <= size && request->length <= size - request->offset;
}

static void image_submit(struct block_backend *backend, struct block_request *request)
{
	struct block_image *image = image_of(backend);
	const bool transfers = request->op == BLOCK_READ || request->op == BLOCK_WRITE;
	struct job *job;

	if (!is_allowed(image, request)) {
		request->done(request, -EINVAL);
		return;
	}
	if (request->op != BLOCK_FLUSH && request->length == 0) {
		request->done(request, 0);
		return;
	}
	if (request->op != BLOCK_FLUSH && image->passes) {
		image->files.ops->submit(&image->files, 0, request);
		return;
	}
	job = take_job(image, request);
	if (!job) {
		request->done(request, -ENOMEM);
		return;
	}
	if (request->op == BLOCK_FLUSH) {
		submit_flush(job);
	} else if (image->image->qcow2) {
		if (!transfers || !go_short_way(job))
			go_long_way(job);
	} else if (transfers && image->cache == BLOCK_CACHE_NONE && !is_aligned(request)) {
		go_long_way(job);
	} else {
		take_io(job, io_done);
		image->files.ops->submit(&image->files, 0, &job->io);
	}
}

static void image_drain(struct block_backend *backend)
{
	struct block_image *image = image_of(backend);

	/* One may lead to the other: a write to a flush, a flush to the next. */
	do {
		if (image->worker)
			block_pool_drain(image->worker);
		image->files.ops->drain(&image->files);
	} while (image->under_way > 0);
}

static void free_image(struct block_image *image)
{
	char path[256];
	struct job *job;
	int r;

	snprintf(path, sizeof(path), "%s", image->image ? image->image->path : "");
	if (image->worker)
		block_pool_destroy(image->worker);
	if (image->files.engine)
		image->files.ops->stop(&image->files);
	r = disk_image_close(image->image);
	if (r < 0)
		log_error("disk", "%s: what was written last can't be kept (%s): check the host's disk", path, strerror(-r));
	while ((job = image->free)) {
		image->free = job->next;
		free(job);
	}
	free(image);
}

static void image_destroy(struct block_backend *backend)
{
	image_drain(backend);
	free_image(image_of(backend));
}

static const struct block_backend_ops image_ops = {
	.submit = image_submit,
	.drain = image_drain,
	.destroy = image_destroy,
};

/* ---- opening ---- */

static int check_size(const struct disk_image *image, char *why, size_t why_size)
{
	if (image->size == 0) {
		snprintf(why, why_size, "%s is empty: grow it, for instance with ruse disk resize %s 1G", image->path, image->path);
		return -EINVAL;
	}
	if (image->size % SECTOR != 0) {
		snprintf(why, why_size, "%s has %llu bytes, not a whole number of 512-byte sectors: grow it with truncate -s %%512 %s",
			 image->path, (unsigned long long)image->size, image->path);
		return -EINVAL;
	}
	return 0;
}

static int start_engine(struct block_files *files, enum block_engine engine, const char *path, char *why, size_t why_size)
{
	int err = -ENOSYS;

	if (engine != BLOCK_ENGINE_THREADS) {
		files->ops = &block_uring_ops;
		err = files->ops->start(files);
		if (err == 0)
			return 0;
		log_debug("block", "io_uring is not to be had (error %d): using threads", -err);
	}
	if (engine != BLOCK_ENGINE_URING) {
		files->ops = &block_threads_ops;
		err = files->ops->start(files);
	}
	if (err < 0)
		snprintf(why, why_size, "%s: the host refuses %s (%s): raise its limits", path, files->ops->name, strerror(-err));
	return err;
}

static int start_worker(struct block_image *image, const struct block_image_options *options, struct loop *loop, char *why, size_t why_size)
{
	const struct block_pool_options pool = {.loop = loop,
						.workers = 1,
						.serve = serve,
						.ctx = image,
						.enter = options->enter_worker,
						.enter_ctx = options->enter_ctx};
	const struct qcow2_grace grace = {.begin = begin_period, .done = period_is_over, .ctx = image};
	int err;

	if (!image->image->qcow2 && image->cache != BLOCK_CACHE_NONE)
		return 0;
	if (image->image->qcow2)
		qcow2_set_grace(image->image->qcow2, &grace);
	err = block_pool_create(&pool, &image->worker);
	if (err < 0)
		snprintf(why, why_size, "%s: the host refuses a thread (%s): raise its limits", options->path, strerror(-err));
	return err;
}

static int open_image(struct block_image *image, const struct block_image_options *options, char *why, size_t why_size)
{
	const struct disk_image_options disk = {.path = options->path,
						.format = options->format,
						.backing_dir = options->backing_dir,
						.writable = !options->read_only,
						.together = options->together,
						.direct = options->cache == BLOCK_CACHE_NONE,
						.unsafe = options->cache == BLOCK_CACHE_UNSAFE,
						.discard = true};
	int err = disk_image_open(&disk, &image->image, why, why_size);

	if (err == 0)
		err = check_size(image->image, why, why_size);
	if (err < 0)
		return err;
	for (const struct disk_image *layer = image->image; layer; layer = layer->backing)
		image->files.fd[image->files.count++] = host_file_fd(layer->file);
	image->backend.size = image->image->size;
	image->passes = !image->image->qcow2 && (options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_UNSAFE);
	return 0;
}

int block_image_open(const struct block_image_options *options, struct loop *loop, struct block_backend **out, char *why, size_t why_size)
{
	struct block_image *image = calloc(1, sizeof(*image));
	int err;

	if (!image) {
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
		return -ENOMEM;
	}
	image->cache = options->cache;
	image->files.loop = loop;
	image->files.enter = options->enter_worker;
	image->files.enter_ctx = options->enter_ctx;
	image->backend.ops = &image_ops;
	image->backend.read_only = options->read_only;
	image->backend.can_discard = !options->read_only;
	if (options->serial)
		snprintf(image->backend.serial, sizeof(image->backend.serial), "%s", options->serial);
	err = open_image(image, options, why, why_size);
	if (err == 0)
		err = start_engine(&image->files, options->engine, options->path, why, why_size);
	if (err == 0)
		err = start_worker(image, options, loop, why, why_size);
	if (err < 0) {
		free_image(image);
		return err;
	}
	*out = &image->backend;
	return 0;
}

bool block_image_uses_uring(const struct block_backend *backend)
{
	return image_of((struct block_backend *)(uintptr_t)backend)->files.ops == &block_uring_ops;
}

int block_image_descriptor(const struct block_backend *backend)
{
	return host_file_buffered_fd(image_of((struct block_backend *)(uintptr_t)backend)->image->file);
}
