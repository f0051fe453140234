/* A virtio device whose other half is elsewhere: what dev/virtio/vhost.c wants of it. As in core/backend.h, all calls are made
 * on, and all callbacks run on, the I/O thread, with no lock held.
 *
 * Example: a chain from the guest's queue 1 goes to `submit(backend, 1, token, &chain)`; some time later
 * `done(ctx, 1, token, written)` says that the other half is through with it, and `finished(ctx, 1)` that it was the last of
 * those for now.
 *
 * The other half writes into guest memory by itself. It never sees the guest's rings: what it says reaches the guest through
 * us, after what it wrote has been marked as written.
 */
#ifndef CORE_VHOST_H
#define CORE_VHOST_H

#include "base/types.h"
#include "core/backend.h"

#define VHOST_MAX_QUEUES 16
#define VHOST_MAX_TOKENS 1024 /* chains that a queue may have under way: tokens are smaller than that */

/* As in struct virtq_chain: `out` pieces to be read, then `in` pieces to be written. */
struct vhost_chain {
	const gpa_t *gpas;
	const struct iobuf *bufs;
	unsigned out, in;
};

struct vhost_backend;
struct vhost_backend_ops {
	/* Before any queue: the driver has chosen these of `features`. 0 or -errno, after failed(). */
	int (*start)(struct vhost_backend *backend, uint64_t features);
	int (*start_queue)(struct vhost_backend *backend, unsigned queue);
	/* 1: accepted; 0: no room, try again after finished(); -EFAULT: a piece is not in memory that is shared. */
	int (*submit)(struct vhost_backend *backend, unsigned queue, unsigned token, const struct vhost_chain *chain);
	/* Tells of what was submitted. */
	void (*kick)(struct vhost_backend *backend, unsigned queue);
	/* When it returns, nothing of the queue is touched any more; done() has run for what got finished, and what did not
	 * is forgotten. */
	void (*stop_queue)(struct vhost_backend *backend, unsigned queue);
	void (*destroy)(struct vhost_backend *backend);
};

struct vhost_backend {
	const struct vhost_backend_ops *ops;
	uint64_t features; /* that the other half offers */
	/* Set by the device. */
	void (*done)(void *ctx, unsigned queue, unsigned token, uint32_t written);
	void (*finished)(void *ctx, unsigned queue);
	void (*failed)(void *ctx); /* it is gone, or broke the rules: nothing more will come, or be touched by us */
	void *ctx;
};

#endif
