/* Rate limits: two token buckets, one of bytes and one of operations. An operation passes when there is one in its bucket and
 * anything in the other; its bytes are charged afterwards, so that bucket may go below zero. On the long run the rate is kept
 * whatever the sizes are, and a request that is larger than the bucket passes too.
 *
 * Example (a device's notify()):
 *     while (limiter_open(&blk->limiter) && pop(...))
 *             limiter_charge(&blk->limiter, bytes);
 *     // closed: again() comes, on the I/O thread, when it is open
 *
 * All on the I/O thread, but for limiter_init().
 */
#ifndef DEV_VIRTIO_LIMITER_H
#define DEV_VIRTIO_LIMITER_H

#include "base/types.h"
#include "core/platform.h"

struct stats_sink;

struct rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t burst;      /* what may pass at once after a pause; 0: a second's worth */
};

struct rate_limit {
	struct rate bytes, ops;
};

/* A bucket, in time: what is in it has been earned since empty_ns, which lies ahead while it is below zero. */
struct bucket {
	uint64_t per_second, full_ns;
	uint64_t least_ns; /* as much must be in it to be open */
	uint64_t empty_ns;
};

struct limiter {
	struct bucket bytes, ops;
	struct timer timer;
	void (*again)(void *ctx);
	void *ctx;
	uint64_t closed_since_ns; /* somebody found it closed; 0: nobody */
	uint64_t pauses, paused_ns; /* figures: how often that was, and for how long */
};

/* limit may be NULL: all is open. */
void limiter_init(struct limiter *limiter, struct vm *vm, const struct rate_limit *limit, void (*again)(void *ctx),
		  void *ctx);
/* again() is not called any more. */
void limiter_stop(struct limiter *limiter);

/* May an operation begin now? If not, again() is called when it may. */
bool limiter_open(struct limiter *limiter);
/* Adds the figures, under these names, if anything is limited. */
void limiter_stats(const struct limiter *limiter, struct stats_sink *sink, const char *pauses, const char *paused_ms);
/* One operation, and its bytes, have begun. */
void limiter_charge(struct limiter *limiter, uint64_t bytes);

#endif
