/* Block requests through io_uring. Submissions gather while the loop serves what is ready and go to the
 * kernel together before it sleeps; completions make the ring's descriptor readable.
 *
 * Example: `files->ops = &block_uring_ops; err = files->ops->start(files);`
 *
 * The ring is restricted to the four operations below on the image and what lies under it: through it nobody who took
 * over the process can do anything else (the kernel doesn't ask seccomp about ring entries).
 *
 * All on the I/O thread, or while it doesn't run.
 */
#include "backend/block_step.h"
#include "base/log.h"
#include "base/types.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define ENTRIES     128
#define COMPLETIONS 1024 /* at least what a device can have under way */

struct uring_op {
	struct block_request *request;
	unsigned file; /* its place in the ring's table */
	struct block_step step;
	struct uring_op *next; /* free list, or those that wait for room in the ring */
};

struct uring {
	struct block_files *files;
	struct io_uring ring;
	struct watch watch;
	struct loop_hook hook;
	unsigned in_kernel;     /* handed to the kernel and not completed */
	struct uring_op *free;
	struct uring_op *waiting, **waiting_tail;
};

static const uint8_t operations[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
				     IORING_OP_FALLOCATE};

static bool prepare(struct uring *uring, struct uring_op *op)
{
	struct io_uring_sqe *sqe;
	const struct block_step *step = &op->step;
	const int fd = (int)op->file; /* in the ring's own table */

	if (uring->in_kernel >= COMPLETIONS)
		return false;
	sqe = io_uring_get_sqe(&uring->ring);
	if (!sqe)
		return false;
	switch (step->kind) {
	case STEP_READ:
		io_uring_prep_readv(sqe, fd, step->iov, step->count, step->offset);
		break;
	case STEP_WRITE:
		io_uring_prep_writev(sqe, fd, step->iov, step->count, step->offset);
		break;
	case STEP_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case STEP_ALLOCATE:
		io_uring_prep_fallocate(sqe, fd, step->mode, (off_t)step->offset, (off_t)step->length);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, op);
	uring->in_kernel++;
	return true;
}

static void queue_op(struct uring *uring, struct uring_op *op)
{
	if (!uring->waiting && prepare(uring, op))
		return;
	op->next = NULL;
	*uring->waiting_tail = op;
	uring->waiting_tail = &op->next;
}

/* Hands over what has gathered. Errors here are passing ones (-EAGAIN, -EBUSY, -EINTR): the entries stay in
 * the ring and go with the next call. */
static void hand_over(struct uring *uring)
{
	while (uring->waiting) {
		struct uring_op *op = uring->waiting;

		if (!prepare(uring, op)) {
			if (io_uring_submit(&uring->ring) <= 0)
				return;
			continue;
		}
		uring->waiting = op->next;
		if (!uring->waiting)
			uring->waiting_tail = &uring->waiting;
	}
	if (io_uring_sq_ready(&uring->ring) > 0)
		io_uring_submit(&uring->ring);
}

static void complete(struct uring *uring, struct uring_op *op, int result)
{
	struct block_request *request = op->request;
	int status;

	uring->in_kernel--;
	if (block_step_next(request, result, &op->step, &status)) {
		queue_op(uring, op);
		return;
	}
	op->next = uring->free;
	uring->free = op;
	request->done(request, status);
}

static void reap(struct uring *uring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct uring_op *op = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&uring->ring, cqe);
		complete(uring, op, result);
	}
}

static void on_ready(void *ctx, uint32_t events)
{
	reap(ctx);
}

/* What the page cache has is done when the kernel has it: no need to be woken for it. */
static void before_sleep(void *ctx)
{
	hand_over(ctx);
	reap(ctx);
	hand_over(ctx); /* what followed */
}

static void uring_submit(struct block_files *files, unsigned file, struct block_request *request)
{
	struct uring *uring = files->engine;
	struct uring_op *op = uring->free;
	int status;

	if (op)
		uring->free = op->next;
	else
		op = malloc(sizeof(*op));
	if (!op) {
		request->done(request, -ENOMEM);
		return;
	}
	op->request = request;
	op->file = file;
	if (block_step_first(request, &op->step, &status)) {
		queue_op(uring, op);
		return;
	}
	op->next = uring->free;
	uring->free = op;
	request->done(request, status);
}

static void uring_drain(struct block_files *files)
{
	struct uring *uring = files->engine;

	while (uring->in_kernel > 0 || uring->waiting) {
		hand_over(uring);
		if (uring->in_kernel > 0)
			(void)io_uring_submit_and_wait(&uring->ring, 1);
		reap(uring);
	}
}

static void uring_stop(struct block_files *files)
{
	struct uring *uring = files->engine;
	struct uring_op *op;

	loop_hook_remove(files->loop, &uring->hook);
	loop_unwatch(files->loop, &uring->watch);
	io_uring_queue_exit(&uring->ring);
	while ((op = uring->free)) {
		uring->free = op->next;
		free(op);
	}
	free(uring);
}

/* Only our operations, only on our files. Kernels before 5.10 don't know this, and get threads. */
static int restrict_ring(struct uring *uring)
{
	struct io_uring_restriction rules[ARRAY_SIZE(operations) + 1] = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
		rules[i].opcode = IORING_RESTRICTION_SQE_OP;
		rules[i].sqe_op = operations[i];
	}
	rules[ARRAY_SIZE(operations)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rules[ARRAY_SIZE(operations)].sqe_flags = IOSQE_FIXED_FILE;
	return io_uring_register_restrictions(&uring->ring, rules, ARRAY_SIZE(rules));
}

static int check_operations(struct uring *uring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&uring->ring);
	int err = 0;

	if (!probe)
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++)
		if (!io_uring_opcode_supported(probe, operations[i]))
			err = -EOPNOTSUPP;
	io_uring_free_probe(probe);
	return err;
}

static int make_ring(struct uring *uring, const struct block_files *files)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED,
		.cq_entries = COMPLETIONS,
	};
	int err = io_uring_queue_init_params(ENTRIES, &uring->ring, &params);

	if (err < 0)
		return err;
	err = check_operations(uring);
	if (err == 0)
		err = io_uring_register_files(&uring->ring, files->fd, files->count);
	if (err == 0)
		err = restrict_ring(uring);
	if (err == 0)
		err = io_uring_enable_rings(&uring->ring);
	if (err < 0)
		io_uring_queue_exit(&uring->ring);
	return err;
}

static int uring_start(struct block_files *files)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	int err;

	if (!uring)
		return -ENOMEM;
	uring->files = files;
	uring->waiting_tail = &uring->waiting;
	err = make_ring(uring, files);
	if (err < 0)
		goto free_uring;
	watch_init(&uring->watch, uring->ring.ring_fd, on_ready, uring);
	err = loop_watch(files->loop, &uring->watch, EPOLLIN);
	if (err < 0)
		goto exit_ring;
	uring->hook = (struct loop_hook){.prepare = before_sleep, .ctx = uring};
	loop_hook_add(files->loop, &uring->hook);
	files->engine = uring;
	return 0;
exit_ring:
	io_uring_queue_exit(&uring->ring);
free_uring:
	free(uring);
	return err;
}

const struct block_engine_ops block_uring_ops = {
	.name = "io_uring",
	.start = uring_start,
	.submit = uring_submit,
	.drain = uring_drain,
	.stop = uring_stop,
};
