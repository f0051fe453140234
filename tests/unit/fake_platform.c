/* The unit tests' platform; see fake_platform.h.
 *
 * Example: link this file into a test instead of host/linux/platform.c.
 */
#include "fake_platform.h"
#include "base/fmt.h"
#include "core/vm.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_TIMERS 64
#define START_NS   1000000000ull

static _Atomic uint64_t clock_ns = START_NS;
static struct timer *timers[MAX_TIMERS]; /* armed ones; heap_index is the place + 1 */
static unsigned timer_count;
static struct work *work_head, **work_tail = &work_head;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* work list and log */
static char log_text[16384];
static size_t log_length;
static unsigned log_lines;
static _Atomic uint32_t alloc_limit = UINT32_MAX;
static _Atomic int alloc_live;
static _Atomic unsigned vm_stops;
static _Atomic uint64_t discarded;
static struct log_limit limiter;

void fake_reset(void)
{
	atomic_store(&clock_ns, START_NS);
	timer_count = 0;
	work_head = NULL;
	work_tail = &work_head;
	log_length = 0;
	log_lines = 0;
	log_text[0] = '\0';
	atomic_store(&alloc_limit, UINT32_MAX);
	atomic_store(&vm_stops, 0);
	atomic_store(&discarded, 0);
	limiter = (struct log_limit){0};
}

void fake_advance(uint64_t ns)
{
	uint64_t end = atomic_load(&clock_ns) + ns;

	for (;;) {
		struct timer *first = NULL;

		for (unsigned i = 0; i < timer_count; i++)
			if (timers[i]->deadline_ns <= end &&
			    (!first || timers[i]->deadline_ns < first->deadline_ns))
				first = timers[i];
		if (!first)
			break;
		if (first->deadline_ns > atomic_load(&clock_ns))
			atomic_store(&clock_ns, first->deadline_ns);
		timer_cancel(first);
		first->fire(first->ctx);
	}
	atomic_store(&clock_ns, end);
}

unsigned fake_run_work(void)
{
	unsigned count = 0;

	for (;; count++) {
		struct work *work;

		pthread_mutex_lock(&mutex);
		work = work_head;
		if (work) {
			work_head = work->next;
			if (!work_head)
				work_tail = &work_head;
		}
		pthread_mutex_unlock(&mutex);
		if (!work)
			return count;
		atomic_store(&work->posted, 0);
		work->run(work->ctx);
	}
}

const char *fake_log_text(void)
{
	return log_text;
}

unsigned fake_log_lines(void)
{
	return log_lines;
}

void fake_alloc_limit(uint32_t count)
{
	atomic_store(&alloc_limit, count);
}

unsigned fake_alloc_live(void)
{
	return (unsigned)atomic_load(&alloc_live);
}

unsigned fake_vm_stops(void)
{
	return atomic_load(&vm_stops);
}

uint64_t platform_clock_ns(void)
{
	return atomic_load(&clock_ns);
}

uint64_t platform_wall_ns(void)
{
	return 1700000000ull * 1000000000 + atomic_load(&clock_ns);
}

void *platform_alloc(size_t size)
{
	void *ptr;

	if (atomic_load(&alloc_limit) != UINT32_MAX) {
		if (atomic_load(&alloc_limit) == 0)
			return NULL;
		atomic_fetch_sub(&alloc_limit, 1);
	}
	ptr = calloc(1, size);
	if (ptr)
		atomic_fetch_add(&alloc_live, 1);
	return ptr;
}

int platform_discard(void *base, size_t len)
{
	atomic_fetch_add(&discarded, len);
	memset(base, 0, len);
	return 0;
}

uint64_t fake_discarded(void)
{
	return atomic_load(&discarded);
}

void platform_free(void *ptr)
{
	if (ptr)
		atomic_fetch_sub(&alloc_live, 1);
	free(ptr);
}

void platform_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	/* The fake clock does not tick: a sleeper with a deadline only naps. */
	struct timespec nap = {.tv_nsec = 1000000};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, deadline_ns == UINT64_MAX ? NULL : &nap,
		NULL, 0);
}

void platform_wake(_Atomic uint32_t *word, bool all)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, all ? INT32_MAX : 1, NULL, NULL, 0);
}

void timer_init(struct timer *timer, struct vm *vm, void (*fire)(void *ctx), void *ctx)
{
	*timer = (struct timer){.fire = fire, .ctx = ctx, .vm = vm};
}

void timer_arm(struct timer *timer, uint64_t deadline_ns)
{
	timer->deadline_ns = deadline_ns;
	if (timer->heap_index)
		return;
	if (timer_count == MAX_TIMERS)
		abort();
	timers[timer_count++] = timer;
	timer->heap_index = timer_count;
}

void timer_cancel(struct timer *timer)
{
	if (!timer->heap_index)
		return;
	timers[timer->heap_index - 1] = timers[--timer_count];
	timers[timer->heap_index - 1]->heap_index = timer->heap_index;
	timer->heap_index = 0;
}

void work_init(struct work *work, struct vm *vm, void (*run)(void *ctx), void *ctx)
{
	*work = (struct work){.run = run, .ctx = ctx, .vm = vm};
}

void work_post(struct work *work)
{
	if (atomic_exchange(&work->posted, 1))
		return;
	pthread_mutex_lock(&mutex);
	work->next = NULL;
	*work_tail = work;
	work_tail = &work->next;
	pthread_mutex_unlock(&mutex);
}

void work_cancel(struct work *work)
{
	pthread_mutex_lock(&mutex);
	for (struct work **link = &work_head; *link; link = &(*link)->next) {
		if (*link != work)
			continue;
		*link = work->next;
		if (work_tail == &work->next)
			work_tail = link;
		atomic_store(&work->posted, 0);
		break;
	}
	pthread_mutex_unlock(&mutex);
}

int platform_random(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(i * 37 + 11);
	return 0;
}

bool platform_log_enabled(enum log_level level, const char *subsystem)
{
	return true;
}

void platform_log(enum log_level level, const char *subsystem, const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	pthread_mutex_lock(&mutex);
	log_lines++;
	log_length += fmt_print(log_text + log_length, sizeof(log_text) - log_length, "%s %s: %s\n",
				names[level], subsystem, text);
	if (log_length >= sizeof(log_text))
		log_length = sizeof(log_text) - 1;
	pthread_mutex_unlock(&mutex);
}

struct log_limit *platform_log_limit(void)
{
	return &limiter;
}

void platform_bug(const char *file, int line)
{
	fprintf(stderr, "BUG at %s:%d\n", file, line);
	abort();
}

void platform_vm_stopped(struct vm *vm)
{
	atomic_fetch_add(&vm_stops, 1);
}
