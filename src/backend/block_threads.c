/* Block requests on a small pool of threads, for hosts that refuse io_uring (a container's seccomp, the
 * sysctl kernel.io_uring_disabled).
 *
 * Example: `files->ops = &block_threads_ops; err = files->ops->start(files);`
 */
#include "backend/block_pool.h"
#include "backend/block_step.h"
#include "base/types.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORKERS 4

static int64_t carry_out(int fd, const struct block_step *step)
{
	int64_t result = -1;

	switch (step->kind) {
	case STEP_READ:
		result = preadv(fd, step->iov, (int)step->count, (off_t)step->offset);
		break;
	case STEP_WRITE:
		result = pwritev(fd, step->iov, (int)step->count, (off_t)step->offset);
		break;
	case STEP_SYNC:
		result = fdatasync(fd);
		break;
	case STEP_ALLOCATE:
		result = fallocate(fd, step->mode, (off_t)step->offset, (off_t)step->length);
		break;
	}
	return result < 0 ? -errno : result;
}

/* Which file: in backend_private[0] until the first step. */
static int serve(void *ctx, struct block_request *request)
{
	const struct block_files *files = ctx;
	const int fd = files->fd[(uintptr_t)request->backend_private[0]];
	struct block_step step;
	int status;

	if (block_step_first(request, &step, &status))
		while (block_step_next(request, carry_out(fd, &step), &step, &status))
			;
	return status;
}

static void threads_submit(struct block_files *files, unsigned file, struct block_request *request)
{
	request->backend_private[0] = (void *)(uintptr_t)file;
	block_pool_submit(files->engine, request);
}

static void threads_drain(struct block_files *files)
{
	block_pool_drain(files->engine);
}

static void threads_stop(struct block_files *files)
{
	block_pool_destroy(files->engine);
}

static int threads_start(struct block_files *files)
{
	const struct block_pool_options options = {
		.loop = files->loop, .workers = WORKERS, .serve = serve, .ctx = files, .enter = files->enter, .enter_ctx = files->enter_ctx};
	struct block_pool *pool;
	int err = block_pool_create(&options, &pool);

	if (err == 0)
		files->engine = pool;
	return err;
}

const struct block_engine_ops block_threads_ops = {
	.name = "threads",
	.start = threads_start,
	.submit = threads_submit,
	.drain = threads_drain,
	.stop = threads_stop,
};
