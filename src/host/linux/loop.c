/* The event loop; see loop.h.
 *
 * Example: `loop_post(loop, &work);` from any thread runs work on the I/O thread.
 *
 * Work is a stack that any thread pushes to with one compare-and-swap; the I/O thread takes all of it at
 * once and turns it round. Timers are a binary heap under a lock, the earliest one programmed into a
 * timerfd. A timer that is moved back leaves the timerfd as it is: one early wake-up costs less than a
 * system call for each time a guest re-arms its clock.
 *
 * Who wakes the loop: the poster, but only when the loop says that it sleeps. Both sides store first and
 * look second (core/vcpu.c has the same pattern), so no post is left lying.
 */
#include "host/linux/loop.h"
#include "base/fmt.h"
#include "base/lock.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAX_EVENTS 64
/* Each device and vcpu has a few; guests can't make more. */
#define MAX_TIMERS 1024

struct loop {
	int epoll_fd;
	struct watch wake;  /* eventfd */
	struct watch clock; /* timerfd */
	_Atomic bool stop;
	_Atomic bool asleep;
	_Atomic(struct work *) posted; /* newest first */
	struct work *running;          /* taken from there, oldest first; I/O thread */
	struct loop_hook *hooks;
	const struct vm *forgotten;    /* see loop_forget_vm() */

	struct lock timer_lock;
	struct timer *heap[MAX_TIMERS + 1]; /* [1] is the earliest; timer->heap_index is its place */
	unsigned timer_count;
	uint64_t programmed_ns; /* what the timerfd is set to; UINT64_MAX: nothing */

	struct epoll_event events[MAX_EVENTS]; /* of the running round */
	int event_count;
};

/* ---- watches ---- */

void watch_init(struct watch *watch, int fd, void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	*watch = (struct watch){.fd = fd, .ready = ready, .ctx = ctx};
}

static void forget_ready(struct loop *loop, const struct watch *watch)
{
	for (int i = 0; i < loop->event_count; i++)
		if (loop->events[i].data.ptr == watch)
			loop->events[i].data.ptr = NULL;
}

int loop_watch(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	int op = !watch->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (events == watch->events)
		return 0;
	if (epoll_ctl(loop->epoll_fd, op, watch->fd, &event) < 0)
		return -errno;
	watch->events = events;
	if (!events)
		forget_ready(loop, watch);
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
	/* Can fail only if the descriptor was closed too early, and then it is out of the set already. */
	if (watch->events)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->events = 0;
	forget_ready(loop, watch);
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
	hook->next = loop->hooks;
	loop->hooks = hook;
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
	struct loop_hook **link = &loop->hooks;

	while (*link && *link != hook)
		link = &(*link)->next;
	if (*link)
		*link = hook->next;
}

/* ---- work ---- */

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t r = write(loop->wake.fd, &one, sizeof(one));

	(void)r; /* fails only when 2^64 wake-ups are pending */
}

static void on_wake(void *ctx, uint32_t events)
{
	struct loop *loop = ctx;
	uint64_t count;
	ssize_t r = read(loop->wake.fd, &count, sizeof(count));

	(void)r; /* the work itself is taken in serve() */
}

static bool is_forgotten(const struct loop *loop, const struct vm *vm)
{
	return vm && vm == loop->forgotten;
}

void loop_post(struct loop *loop, struct work *work)
{
	struct work *head;

	if (unlikely(is_forgotten(loop, work->vm)) || atomic_exchange(&work->posted, 1))
		return;
	head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
	do {
		work->next = head;
	} while (!atomic_compare_exchange_weak(&loop->posted, &head, work));
	if (atomic_load(&loop->asleep))
		wake(loop);
}

/* Moves what was posted behind what is left of the running round, oldest first. */
static void take_posted(struct loop *loop)
{
	struct work *newest = atomic_exchange(&loop->posted, NULL), *oldest = NULL;
	struct work **link = &loop->running;

	while (newest) {
		struct work *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (*link)
		link = &(*link)->next;
	*link = oldest;
}

static bool run_posted(struct loop *loop)
{
	struct work *work;
	bool any = false;

	take_posted(loop);
	while ((work = loop->running)) {
		loop->running = work->next;
		/* From here on it may be posted again, or freed by its own function. */
		atomic_store(&work->posted, 0);
		work->run(work->ctx);
		any = true;
	}
	return any;
}

void loop_unpost(struct loop *loop, struct work *work)
{
	take_posted(loop);
	for (struct work **link = &loop->running; *link; link = &(*link)->next) {
		if (*link == work) {
			*link = work->next;
			atomic_store(&work->posted, 0);
			return;
		}
	}
}

/* ---- timers ---- */

static void heap_place(struct loop *loop, unsigned at, struct timer *timer)
{
	loop->heap[at] = timer;
	timer->heap_index = at;
}

/* Puts timer where it belongs, starting from the free place `at`. */
static void heap_settle(struct loop *loop, unsigned at, struct timer *timer)
{
	while (at > 1 && loop->heap[at / 2]->deadline_ns > timer->deadline_ns) {
		heap_place(loop, at, loop->heap[at / 2]);
		at /= 2;
	}
	for (;;) {
		unsigned child = at * 2;

		if (child < loop->timer_count &&
		    loop->heap[child + 1]->deadline_ns < loop->heap[child]->deadline_ns)
			child++;
		if (child > loop->timer_count || loop->heap[child]->deadline_ns >= timer->deadline_ns)
			break;
		heap_place(loop, at, loop->heap[child]);
		at = child;
	}
	heap_place(loop, at, timer);
}

static void heap_remove(struct loop *loop, struct timer *timer)
{
	unsigned at = timer->heap_index;
	struct timer *last = loop->heap[loop->timer_count--];

	timer->heap_index = 0;
	if (last != timer)
		heap_settle(loop, at, last);
}

/* Sets the timerfd to the earliest timer if that comes before what it is set to. */
static void program_clock_locked(struct loop *loop)
{
	struct itimerspec spec = {0};
	uint64_t deadline;

	if (loop->timer_count == 0)
		return;
	deadline = loop->heap[1]->deadline_ns;
	if (deadline >= loop->programmed_ns)
		return;
	loop->programmed_ns = deadline;
	/* Zero would disarm; what is past fires at once. */
	spec.it_value.tv_sec = (time_t)(deadline / 1000000000u);
	spec.it_value.tv_nsec = deadline ? (long)(deadline % 1000000000u) : 1;
	timerfd_settime(loop->clock.fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void loop_timer_arm(struct loop *loop, struct timer *timer, uint64_t deadline_ns)
{
	if (unlikely(is_forgotten(loop, timer->vm)))
		return;
	lock_take(&loop->timer_lock);
	timer->deadline_ns = deadline_ns;
	if (timer->heap_index) {
		heap_settle(loop, timer->heap_index, timer);
	} else {
		BUG_ON(loop->timer_count == MAX_TIMERS);
		heap_settle(loop, ++loop->timer_count, timer);
	}
	program_clock_locked(loop);
	lock_release(&loop->timer_lock);
}

void loop_timer_cancel(struct loop *loop, struct timer *timer)
{
	lock_take(&loop->timer_lock);
	if (timer->heap_index)
		heap_remove(loop, timer);
	lock_release(&loop->timer_lock);
}

void loop_forget_vm(struct loop *loop, const struct vm *vm)
{
	loop->forgotten = vm;
	take_posted(loop);
	for (struct work **link = &loop->running; *link;) {
		struct work *work = *link;

		if (work->vm == vm)
			*link = work->next;
		else
			link = &work->next;
	}
	lock_take(&loop->timer_lock);
	/* Removing moves others: begin again. */
	for (unsigned at = 1; at <= loop->timer_count;) {
		if (loop->heap[at]->vm == vm) {
			heap_remove(loop, loop->heap[at]);
			at = 1;
		} else {
			at++;
		}
	}
	lock_release(&loop->timer_lock);
}

static struct timer *take_due(struct loop *loop, uint64_t now)
{
	struct timer *timer = NULL;

	lock_take(&loop->timer_lock);
	if (loop->timer_count > 0 && loop->heap[1]->deadline_ns <= now) {
		timer = loop->heap[1];
		heap_remove(loop, timer);
	} else {
		loop->programmed_ns = UINT64_MAX;
		program_clock_locked(loop);
	}
	lock_release(&loop->timer_lock);
	return timer;
}

static void on_clock(void *ctx, uint32_t events)
{
	struct loop *loop = ctx;
	uint64_t expirations, now = platform_clock_ns();
	ssize_t r = read(loop->clock.fd, &expirations, sizeof(expirations));
	struct timer *timer;

	(void)r; /* -EAGAIN: armed anew between epoll and here; what is due is due */
	/* Due by now, not by the time we are done: a timer that re-arms itself can't keep us here. */
	while ((timer = take_due(loop, now)))
		timer->fire(timer->ctx);
}

/* ---- running ---- */

static int own_watch(struct loop *loop, struct watch *watch, int fd,
		     void (*ready)(void *ctx, uint32_t events))
{
	if (fd < 0)
		return -errno;
	watch_init(watch, fd, ready, loop);
	return loop_watch(loop, watch, EPOLLIN);
}

struct loop *loop_create(char *why, size_t why_size)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int r = -ENOMEM;

	if (!loop)
		goto fail;
	loop->wake.fd = loop->clock.fd = -1;
	loop->programmed_ns = UINT64_MAX;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = -errno;
	if (loop->epoll_fd < 0)
		goto fail;
	r = own_watch(loop, &loop->wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on_wake);
	if (r < 0)
		goto fail;
	r = own_watch(loop, &loop->clock, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
		      on_clock);
	if (r < 0)
		goto fail;
	return loop;
fail:
	fmt_print(why, why_size, "cannot make the event loop: %s", strerror(-r));
	loop_destroy(loop);
	return NULL;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->wake.fd >= 0)
		close(loop->wake.fd);
	if (loop->clock.fd >= 0)
		close(loop->clock.fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop);
}

static void run_hooks(struct loop *loop, bool before)
{
	struct loop_hook *next;

	for (struct loop_hook *hook = loop->hooks; hook; hook = next) {
		void (*call)(void *ctx) = before ? hook->prepare : hook->finish;

		next = hook->next;
		if (call)
			call(hook->ctx);
	}
}

static int wait_for_events(struct loop *loop)
{
	int timeout = -1, n;

	atomic_store(&loop->asleep, true);
	if (atomic_load(&loop->posted) || loop->running || atomic_load(&loop->stop))
		timeout = 0;
	n = epoll_wait(loop->epoll_fd, loop->events, MAX_EVENTS, timeout);
	atomic_store(&loop->asleep, false);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

static void serve(struct loop *loop)
{
	for (int i = 0; i < loop->event_count; i++) {
		struct watch *watch = loop->events[i].data.ptr;

		if (watch)
			watch->ready(watch->ctx, loop->events[i].events);
	}
	loop->event_count = 0;
	run_posted(loop);
}

int loop_run(struct loop *loop)
{
	while (!atomic_load(&loop->stop)) {
		int n;

		run_hooks(loop, true);
		n = wait_for_events(loop);
		if (n < 0)
			return n;
		loop->event_count = n;
		serve(loop);
		run_hooks(loop, false);
	}
	/* Work may post work, but what was asked for before the stop is not an endless stream. */
	for (unsigned round = 0; round < 16 && run_posted(loop); round++)
		;
	atomic_store(&loop->stop, false);
	return 0;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
}
