/* Threads that carry out block requests, one call each: for hosts without io_uring, and for what io_uring can't do.
 *
 * Example:
 *     struct block_pool_options options = {.loop = loop, .workers = 1, .serve = serve, .ctx = image};
 *     r = block_pool_create(&options, &pool);
 *     block_pool_submit(pool, request);          // serve(ctx, request) on a worker, then request->done() on the I/O thread
 *
 * With one worker requests are served in order, one at a time. The pool keeps its own things in backend_private[2] and [3].
 */
#ifndef BACKEND_BLOCK_POOL_H
#define BACKEND_BLOCK_POOL_H

#include "core/backend.h"

struct loop;
struct block_pool;

#define BLOCK_POOL_MAX 4

struct block_pool_options {
	struct loop *loop;
	unsigned workers;
	int (*serve)(void *ctx, struct block_request *request); /* the status */
	void *ctx;
	/* Optional: restricts the thread that calls it. Called before each request until it says that this is done (> 0); 0: the time
	 * has not come, the sandbox is made after the disks are open; < 0: the request is refused with -EIO. */
	int (*enter)(void *ctx);
	void *enter_ctx;
};

/* 0 or -errno. */
int block_pool_create(const struct block_pool_options *options, struct block_pool **pool) must_check;
void block_pool_submit(struct block_pool *pool, struct block_request *request);
/* Returns when no request is under way; done() runs inside. */
void block_pool_drain(struct block_pool *pool);
/* Nothing is under way. */
void block_pool_destroy(struct block_pool *pool);

#endif
