/* Block requests on a small pool of threads, for hosts that refuse io_uring (a container's seccomp, the
 * sysctl kernel.io_uring_disabled).
 *
 * Example: `raw->ops = &block_threads_ops; err = raw->ops->start(raw);`
 *
 * Requests go to the workers through one list and come back through another; an eventfd tells the loop.
 */
#include "backend/block_step.h"
#include "base/types.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORKERS     4
#define STACK_BYTES (256u << 10)

/* Requests are linked through backend_private[2]; [3] keeps the status. */
struct list {
	struct block_request *first, **last;
};

struct pool {
	struct block_raw *raw;
	pthread_t threads[WORKERS];
	unsigned started;
	struct watch watch; /* an eventfd: completions wait */

	pthread_mutex_t mutex;
	pthread_cond_t queued, completed;
	struct list queue, done; /* mutex */
	unsigned under_way;      /* mutex: submitted, done() not called yet */
	bool stop;               /* mutex */
};

static void list_init(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct list *list, struct block_request *request)
{
	request->backend_private[2] = NULL;
	*list->last = request;
	list->last = (struct block_request **)(void *)&request->backend_private[2];
}

static struct block_request *list_take(struct list *list)
{
	struct block_request *request = list->first;

	if (request) {
		list->first = request->backend_private[2];
		if (!list->first)
			list->last = &list->first;
	}
	return request;
}

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

static int serve(int fd, struct block_request *request)
{
	struct block_step step;
	int status;

	if (block_step_first(request, &step, &status))
		while (block_step_next(request, carry_out(fd, &step), &step, &status))
			;
	return status;
}

static void *worker(void *ctx)
{
	struct pool *pool = ctx;
	struct block_raw *raw = pool->raw;
	struct block_request *request;
	bool entered = !raw->enter_worker, may_serve = true;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		while (!(request = list_take(&pool->queue)) && !pool->stop)
			pthread_cond_wait(&pool->queued, &pool->mutex);
		if (!request)
			break;
		pthread_mutex_unlock(&pool->mutex);
		/* Not at the start of the thread: the sandbox is made after the disks are open. */
		if (!entered)
			may_serve = raw->enter_worker(raw->enter_ctx);
		entered = true;
		request->backend_private[3] = (void *)(intptr_t)(may_serve ? serve(raw->fd, request) : -EIO);
		pthread_mutex_lock(&pool->mutex);
		list_add(&pool->done, request);
		pthread_cond_signal(&pool->completed);
		(void)eventfd_write(pool->watch.fd, 1);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

/* Calls done() for what is finished. I/O thread. */
static void deliver(void *ctx)
{
	struct pool *pool = ctx;
	struct block_request *request;

	pthread_mutex_lock(&pool->mutex);
	while ((request = list_take(&pool->done))) {
		pool->under_way--;
		pthread_mutex_unlock(&pool->mutex);
		request->done(request, (int)(intptr_t)request->backend_private[3]);
		pthread_mutex_lock(&pool->mutex);
	}
	pthread_mutex_unlock(&pool->mutex);
}

static void on_completed(void *ctx, uint32_t events)
{
	struct pool *pool = ctx;
	eventfd_t count;

	(void)eventfd_read(pool->watch.fd, &count);
	deliver(pool);
}

static void threads_submit(struct block_raw *raw, struct block_request *request)
{
	struct pool *pool = raw->engine;

	pthread_mutex_lock(&pool->mutex);
	list_add(&pool->queue, request);
	pool->under_way++;
	pthread_cond_signal(&pool->queued);
	pthread_mutex_unlock(&pool->mutex);
}

static void threads_drain(struct block_raw *raw)
{
	struct pool *pool = raw->engine;

	pthread_mutex_lock(&pool->mutex);
	while (pool->under_way > 0) {
		while (!pool->done.first)
			pthread_cond_wait(&pool->completed, &pool->mutex);
		pthread_mutex_unlock(&pool->mutex);
		deliver(pool);
		pthread_mutex_lock(&pool->mutex);
	}
	pthread_mutex_unlock(&pool->mutex);
}

static void stop_workers(struct pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	pool->stop = true;
	pthread_cond_broadcast(&pool->queued);
	pthread_mutex_unlock(&pool->mutex);
	while (pool->started > 0)
		pthread_join(pool->threads[--pool->started], NULL);
}

static void threads_stop(struct block_raw *raw)
{
	struct pool *pool = raw->engine;

	stop_workers(pool);
	loop_unwatch(raw->loop, &pool->watch);
	close(pool->watch.fd);
	pthread_cond_destroy(&pool->completed);
	pthread_cond_destroy(&pool->queued);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

/* Signals are for the process's other threads: block all while the workers inherit the mask. */
static int start_workers(struct pool *pool)
{
	pthread_attr_t attr;
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
	sigset_t all, before;
	int err = 0;

	sigfillset(&all);
	/* But for those that a thread causes itself: their handlers report, and restore the terminal. */
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (pool->started < WORKERS && err == 0) {
		err = pthread_create(&pool->threads[pool->started], &attr, worker, pool);
		if (err == 0)
			pool->started++;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool->started > 0 ? 0 : -err;
}

static int threads_start(struct block_raw *raw)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int err, fd;

	if (!pool)
		return -ENOMEM;
	pool->raw = raw;
	list_init(&pool->queue);
	list_init(&pool->done);
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->queued, NULL);
	pthread_cond_init(&pool->completed, NULL);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(pool);
		return err;
	}
	watch_init(&pool->watch, fd, on_completed, pool);
	raw->engine = pool;
	err = loop_watch(raw->loop, &pool->watch, EPOLLIN);
	if (err == 0)
		err = start_workers(pool);
	if (err < 0)
		threads_stop(raw);
	return err;
}

const struct block_engine_ops block_threads_ops = {
	.name = "threads",
	.start = threads_start,
	.submit = threads_submit,
	.drain = threads_drain,
	.stop = threads_stop,
};
