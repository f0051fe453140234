/* See block_pool.h.
 *
 * Example: `block_pool_submit(pool, request);`
 *
 * Requests go to the workers through one list and come back through another; an eventfd tells the loop.
 */
#include "backend/block_pool.h"
#include "base/types.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)

/* Requests are linked through backend_private[2]; [3] keeps the status. */
struct list {
	struct block_request *first, **last;
};

struct block_pool {
	struct block_pool_options options;
	pthread_t threads[BLOCK_POOL_MAX];
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

static void *worker(void *ctx)
{
	struct block_pool *pool = ctx;
	const struct block_pool_options *options = &pool->options;
	struct block_request *request;
	int entered = options->enter ? 0 : 1;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		int status;

		while (!(request = list_take(&pool->queue)) && !pool->stop)
			pthread_cond_wait(&pool->queued, &pool->mutex);
		if (!request)
			break;
		pthread_mutex_unlock(&pool->mutex);
		if (entered == 0)
			entered = options->enter(options->enter_ctx);
		status = entered < 0 ? -EIO : options->serve(options->ctx, request);
		request->backend_private[3] = (void *)(intptr_t)status;
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
	struct block_pool *pool = ctx;
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
	struct block_pool *pool = ctx;
	eventfd_t count;

	(void)eventfd_read(pool->watch.fd, &count);
	deliver(pool);
}

void block_pool_submit(struct block_pool *pool, struct block_request *request)
{
	pthread_mutex_lock(&pool->mutex);
	list_add(&pool->queue, request);
	pool->under_way++;
	pthread_cond_signal(&pool->queued);
	pthread_mutex_unlock(&pool->mutex);
}

void block_pool_drain(struct block_pool *pool)
{
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

static void stop_workers(struct block_pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	pool->stop = true;
	pthread_cond_broadcast(&pool->queued);
	pthread_mutex_unlock(&pool->mutex);
	while (pool->started > 0)
		pthread_join(pool->threads[--pool->started], NULL);
}

void block_pool_destroy(struct block_pool *pool)
{
	stop_workers(pool);
	loop_unwatch(pool->options.loop, &pool->watch);
	close(pool->watch.fd);
	pthread_cond_destroy(&pool->completed);
	pthread_cond_destroy(&pool->queued);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

/* Signals are for the process's other threads: block all while the workers inherit the mask. */
static int start_workers(struct block_pool *pool)
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
	while (pool->started < pool->options.workers && err == 0) {
		err = pthread_create(&pool->threads[pool->started], &attr, worker, pool);
		if (err == 0)
			pool->started++;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool->started > 0 ? 0 : -err;
}

int block_pool_create(const struct block_pool_options *options, struct block_pool **out)
{
	struct block_pool *pool = calloc(1, sizeof(*pool));
	int err, fd;

	if (!pool)
		return -ENOMEM;
	pool->options = *options;
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
	err = loop_watch(options->loop, &pool->watch, EPOLLIN);
	if (err == 0)
		err = start_workers(pool);
	if (err < 0)
		block_pool_destroy(pool);
	else
		*out = pool;
	return err;
}
