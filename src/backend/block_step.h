/* A block request as a sequence of system calls: shared by the engines that carry them out.
 *
 * Example (an engine):
 *     if (!block_step_first(request, &step, &status))
 *             request->done(request, status);
 *     else do
 *             result = carry_out(&step);
 *     while (block_step_next(request, result, &step, &status));
 *
 * Short transfers, interrupted calls and file systems that can't punch holes are dealt with here, once.
 */
#ifndef BACKEND_BLOCK_STEP_H
#define BACKEND_BLOCK_STEP_H

#include "core/backend.h"
#include <sys/uio.h>

struct block_files;

enum block_step_kind { STEP_READ, STEP_WRITE, STEP_SYNC, STEP_ALLOCATE };

struct block_step {
	enum block_step_kind kind;
	const struct iovec *iov; /* READ, WRITE */
	unsigned count;
	uint64_t offset;
	uint64_t length;         /* ALLOCATE */
	int mode;                /* ALLOCATE: fallocate's */
};

/* The first thing to do. False: nothing, the request is done with *status. */
bool block_step_first(struct block_request *request, struct block_step *step, int *status);
/* What follows, given the result (>= 0 or -errno) of the last. False: nothing, it's done with *status. */
bool block_step_next(struct block_request *request, int64_t result, struct block_step *step, int *status);

/* How steps are carried out; one table for each way. */
struct block_engine_ops {
	const char *name;
	/* 0 or -errno; then files->engine is the engine's. */
	int (*start)(struct block_files *files);
	/* Its offset is in this file. */
	void (*submit)(struct block_files *files, unsigned file, struct block_request *request);
	void (*drain)(struct block_files *files);
	void (*stop)(struct block_files *files); /* nothing is under way */
};

extern const struct block_engine_ops block_uring_ops;
extern const struct block_engine_ops block_threads_ops;

#define BLOCK_MAX_FILES 16

/* The files of one disk: the image and what lies under it. */
struct block_files {
	const struct block_engine_ops *ops;
	void *engine;
	struct loop *loop;
	int fd[BLOCK_MAX_FILES]; /* not ours to close */
	unsigned count;
	int (*enter)(void *ctx); /* block_pool_options */
	void *enter_ctx;
};

#endif
