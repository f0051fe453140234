/* The thread of a shared directory; see share_dir.h.
 *
 * Requests go to it through one list and come back through another; an eventfd tells the loop.
 */
#include "backend/share_dir.h"
#include "backend/p9_server.h"
#include "base/log.h"
#include "base/types.h"
#include "host/linux/landlock.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)
#define MAX_OPEN   2048u /* files that one guest may have open; */
#define OPEN_PART   8u    /* or this part of our descriptors, if that is less */

struct list {
	struct share_request *first, **last;
};

struct share_dir {
	struct share_backend backend;
	struct loop *loop;
	struct p9_server *server;
	int ruleset; /* Landlock's; -1: none */
	bool (*enter_worker)(void *ctx);
	void *enter_ctx;
	pthread_t thread;
	bool started;
	struct watch watch; /* an eventfd: answers wait */

	pthread_mutex_t mutex;
	pthread_cond_t queued, completed;
	struct list queue, done; /* mutex */
	unsigned under_way;      /* mutex: submitted, done() not called yet */
	bool stop;               /* mutex */
};

static struct share_dir *dir_of(struct share_backend *backend)
{
	return container_of(backend, struct share_dir, backend);
}

static void list_init(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct list *list, struct share_request *request)
{
	request->next = NULL;
	*list->last = request;
	list->last = &request->next;
}

static struct share_request *list_take(struct list *list)
{
	struct share_request *request = list->first;

	if (request) {
		list->first = request->next;
		if (!list->first)
			list->last = &list->first;
	}
	return request;
}

/* ---- the thread ---- */

static bool enter(struct share_dir *dir)
{
	int r = 0;

	/* Permissions are the guest's to choose, so the mask of this thread is another than the process's. */
	if (unshare(CLONE_FS) == 0)
		umask(0);
	else
		log_warn("share", "the file mode mask can't be changed: %s; files that the guest makes may get fewer permissions",
			 strerror(errno));
	if (dir->ruleset >= 0)
		r = landlock_enter(dir->ruleset);
	if (r < 0) {
		log_error("share", "the thread can't be confined to its directory: %s", strerror(-r));
		return false;
	}
	return !dir->enter_worker || dir->enter_worker(dir->enter_ctx);
}

static uint32_t serve(struct share_dir *dir, struct share_request *request)
{
	if (request->out_count == 0) {
		p9_server_end_session(dir->server);
		return 0;
	}
	return p9_server_serve(dir->server, request->out, request->out_count, request->in, request->in_count);
}

static void *worker(void *ctx)
{
	struct share_dir *dir = ctx;
	struct share_request *request;
	bool entered = false, may_serve = false;

	pthread_setname_np(pthread_self(), "ruse-share");
	pthread_mutex_lock(&dir->mutex);
	for (;;) {
		while (!(request = list_take(&dir->queue)) && !dir->stop)
			pthread_cond_wait(&dir->queued, &dir->mutex);
		if (!request)
			break;
		pthread_mutex_unlock(&dir->mutex);
		/* Not at the start of the thread: the sandbox is made after the backends are open. */
		if (!entered)
			may_serve = enter(dir);
		entered = true;
		request->backend_len = may_serve ? serve(dir, request) : 0;
		pthread_mutex_lock(&dir->mutex);
		list_add(&dir->done, request);
		pthread_cond_signal(&dir->completed);
		(void)eventfd_write(dir->watch.fd, 1);
	}
	pthread_mutex_unlock(&dir->mutex);
	return NULL;
}

/* ---- the I/O thread ---- */

/* Calls done() for what is finished. */
static void deliver(struct share_dir *dir)
{
	struct share_request *request;

	pthread_mutex_lock(&dir->mutex);
	while ((request = list_take(&dir->done))) {
		dir->under_way--;
		pthread_mutex_unlock(&dir->mutex);
		request->done(request, request->backend_len);
		pthread_mutex_lock(&dir->mutex);
	}
	pthread_mutex_unlock(&dir->mutex);
}

static void on_completed(void *ctx, uint32_t events)
{
	struct share_dir *dir = ctx;
	eventfd_t count;

	(void)eventfd_read(dir->watch.fd, &count);
	deliver(dir);
}

static void dir_submit(struct share_backend *backend, struct share_request *request)
{
	struct share_dir *dir = dir_of(backend);

	pthread_mutex_lock(&dir->mutex);
	list_add(&dir->queue, request);
	dir->under_way++;
	pthread_cond_signal(&dir->queued);
	pthread_mutex_unlock(&dir->mutex);
}

static void dir_drain(struct share_backend *backend)
{
	struct share_dir *dir = dir_of(backend);

	pthread_mutex_lock(&dir->mutex);
	while (dir->under_way > 0) {
		while (!dir->done.first)
			pthread_cond_wait(&dir->completed, &dir->mutex);
		pthread_mutex_unlock(&dir->mutex);
		deliver(dir);
		pthread_mutex_lock(&dir->mutex);
	}
	pthread_mutex_unlock(&dir->mutex);
}

static void stop_worker(struct share_dir *dir)
{
	pthread_mutex_lock(&dir->mutex);
	dir->stop = true;
	pthread_cond_broadcast(&dir->queued);
	pthread_mutex_unlock(&dir->mutex);
	if (dir->started)
		pthread_join(dir->thread, NULL);
}

static void dir_destroy(struct share_backend *backend)
{
	struct share_dir *dir = dir_of(backend);

	stop_worker(dir);
	if (dir->watch.fd >= 0) {
		loop_unwatch(dir->loop, &dir->watch);
		close(dir->watch.fd);
	}
	if (dir->ruleset >= 0)
		close(dir->ruleset);
	p9_server_destroy(dir->server);
	pthread_cond_destroy(&dir->completed);
	pthread_cond_destroy(&dir->queued);
	pthread_mutex_destroy(&dir->mutex);
	free(dir);
}

static const struct share_backend_ops dir_ops = {
	.submit = dir_submit,
	.drain = dir_drain,
	.destroy = dir_destroy,
};

/* ---- opening ---- */

/* Signals are for the process's other threads, but for those that a thread causes itself. */
static int start_worker(struct share_dir *dir)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
	sigset_t all, before;
	pthread_attr_t attr;
	int error;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	error = pthread_create(&dir->thread, &attr, worker, dir);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	dir->started = !error;
	return -error;
}

/* How many files the guest may have open, so that enough descriptors are left for everything else. */
static unsigned open_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 64;
	/* Often 1024 where more is allowed. */
	if (limit.rlim_cur < (rlim_t)MAX_OPEN * OPEN_PART) {
		limit.rlim_cur = limit.rlim_max < (rlim_t)MAX_OPEN * OPEN_PART ? limit.rlim_max : (rlim_t)MAX_OPEN * OPEN_PART;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0)
			return 64;
	}
	return limit.rlim_cur / OPEN_PART < MAX_OPEN ? (unsigned)(limit.rlim_cur / OPEN_PART) : MAX_OPEN;
}

static void confine(struct share_dir *dir, const struct share_dir_options *options)
{
	dir->ruleset = landlock_make(p9_server_root(dir->server), options->read_only);
	if (dir->ruleset < 0)
		log_warn("share", "%s: the kernel doesn't confine the thread that serves it (Landlock: %s); what is left are its own checks. "
			 "Boot the kernel with landlock among lsm=", options->directory, strerror(-dir->ruleset));
}

int share_dir_open(const struct share_dir_options *options, struct loop *loop, struct share_backend **out, char *why, size_t why_size)
{
	struct share_dir *dir = calloc(1, sizeof(*dir));
	int r;

	if (!dir) {
		snprintf(why, why_size, "no memory to share %s; free some on the host", options->directory);
		return -ENOMEM;
	}
	dir->backend.ops = &dir_ops;
	dir->loop = loop;
	dir->ruleset = dir->watch.fd = -1;
	dir->enter_worker = options->enter_worker;
	dir->enter_ctx = options->enter_ctx;
	list_init(&dir->queue);
	list_init(&dir->done);
	pthread_mutex_init(&dir->mutex, NULL);
	pthread_cond_init(&dir->queued, NULL);
	pthread_cond_init(&dir->completed, NULL);
	r = p9_server_create(options->directory, options->read_only, open_limit(), &dir->server, why, why_size);
	if (r < 0)
		goto fail;
	if (options->confine)
		confine(dir, options);
	watch_init(&dir->watch, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), on_completed, dir);
	r = dir->watch.fd < 0 ? -errno : loop_watch(loop, &dir->watch, EPOLLIN);
	if (r == 0)
		r = start_worker(dir);
	if (r < 0) {
		snprintf(why, why_size, "the thread that shares %s can't be started: %s; raise the host's limits", options->directory,
			 strerror(-r));
		goto fail;
	}
	*out = &dir->backend;
	return 0;
fail:
	dir_destroy(&dir->backend);
	return r;
}
