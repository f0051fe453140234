/* host/linux/loop.c: watches, timers in order, work from many threads, stopping.
 *
 * Example: `meson test -C build --suite host loop`
 */
#include "base/types.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop *make_loop(void)
{
	char why[128];
	struct loop *loop = loop_create(why, sizeof(why));

	assert_non_null(loop);
	return loop;
}

static void stop(void *ctx)
{
	loop_stop(ctx);
}

/* ---- timers ---- */

#define TIMERS 200

struct timer_test {
	struct loop *loop;
	struct timer timers[TIMERS];
	uint64_t expected[TIMERS];
	uint64_t last;
	unsigned fired;
};

struct one_timer {
	struct timer_test *test;
	unsigned index;
};

static struct one_timer ones[TIMERS];

static void timer_fired(void *ctx)
{
	struct one_timer *one = ctx;
	struct timer_test *test = one->test;

	assert_true(platform_clock_ns() >= test->expected[one->index]);
	assert_true(test->expected[one->index] >= test->last);
	test->last = test->expected[one->index];
	test->fired++;
}

static void test_timers_fire_in_order(void **state)
{
	static struct timer_test test;
	struct timer end;
	uint64_t now = platform_clock_ns();
	unsigned expected = 0;

	test = (struct timer_test){.loop = make_loop()};
	srand(1);
	for (unsigned i = 0; i < TIMERS; i++) {
		ones[i] = (struct one_timer){&test, i};
		timer_init(&test.timers[i], NULL, timer_fired, &ones[i]);
		loop_timer_arm(test.loop, &test.timers[i], now + 1000000000);
	}
	/* Moved, some cancelled, some of those armed again. */
	for (unsigned i = 0; i < TIMERS; i++) {
		test.expected[i] = now + (uint64_t)(rand() % 20000000);
		loop_timer_arm(test.loop, &test.timers[i], test.expected[i]);
		if (i % 3 == 0)
			loop_timer_cancel(test.loop, &test.timers[i]);
		if (i % 6 == 0)
			loop_timer_arm(test.loop, &test.timers[i], test.expected[i]);
		expected += i % 3 != 0 || i % 6 == 0;
	}
	timer_init(&end, NULL, stop, test.loop);
	loop_timer_arm(test.loop, &end, now + 30000000);
	assert_int_equal(loop_run(test.loop), 0);
	assert_int_equal(test.fired, expected);
	assert_true(platform_clock_ns() >= now + 30000000);
	for (unsigned i = 0; i < TIMERS; i++)
		assert_int_equal(test.timers[i].heap_index, 0);
	/* Long past: at once. */
	loop_timer_arm(test.loop, &end, 0);
	assert_int_equal(loop_run(test.loop), 0);
	loop_destroy(test.loop);
}

static void *arm_later(void *arg)
{
	struct timer *timer = arg;

	usleep(20000);
	loop_timer_arm(timer->ctx, timer, platform_clock_ns() + 1000000);
	return NULL;
}

static void test_timer_armed_by_another_thread_while_asleep(void **state)
{
	struct loop *loop = make_loop();
	struct timer far, near;
	pthread_t thread;
	uint64_t start = platform_clock_ns();

	timer_init(&far, NULL, stop, loop);
	timer_init(&near, NULL, stop, loop);
	loop_timer_arm(loop, &far, start + 10000000000);
	assert_int_equal(pthread_create(&thread, NULL, arm_later, &near), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_true(platform_clock_ns() - start < 5000000000);
	pthread_join(thread, NULL);
	loop_destroy(loop);
}

/* ---- work ---- */

#define POSTERS 4
#define POSTS   20000

struct poster {
	struct loop *loop;
	struct work work;
	_Atomic unsigned asked, done;
};

static void work_ran(void *ctx)
{
	struct poster *poster = ctx;

	atomic_store(&poster->done, atomic_load(&poster->asked));
}

static void *post_often(void *arg)
{
	struct poster *poster = arg;

	for (unsigned i = 1; i <= POSTS; i++) {
		atomic_store(&poster->asked, i);
		loop_post(poster->loop, &poster->work);
		/* Each hundredth is waited for: whatever was posted does run, also when the loop slept. */
		if (i % 100 == 0)
			while (atomic_load(&poster->done) < i)
				sched_yield();
	}
	return NULL;
}

static void *join_posters(void *arg)
{
	pthread_t *threads = arg;

	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	return NULL;
}

struct joiner {
	pthread_t threads[POSTERS];
	struct loop *loop;
};

static void *join_and_stop(void *arg)
{
	struct joiner *joiner = arg;

	join_posters(joiner->threads);
	loop_stop(joiner->loop);
	return NULL;
}

static void test_work_is_never_lost(void **state)
{
	static struct poster posters[POSTERS];
	struct joiner joiner = {.loop = make_loop()};
	pthread_t thread;

	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].loop = joiner.loop;
		work_init(&posters[i].work, NULL, work_ran, &posters[i]);
		assert_int_equal(pthread_create(&joiner.threads[i], NULL, post_often, &posters[i]), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, join_and_stop, &joiner), 0);
	assert_int_equal(loop_run(joiner.loop), 0);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(posters[i].done, POSTS);
	loop_destroy(joiner.loop);
}

struct ordered {
	struct work work;
	char *log, name;
	struct loop *loop;
	struct ordered *unpost;
};

static void log_name(void *ctx)
{
	struct ordered *ordered = ctx;
	size_t len = strlen(ordered->log);

	ordered->log[len] = ordered->name;
	ordered->log[len + 1] = '\0';
	if (ordered->unpost)
		loop_unpost(ordered->loop, &ordered->unpost->work);
}

static void test_work_order_and_unpost(void **state)
{
	struct loop *loop = make_loop();
	struct ordered works[4];
	struct work end;
	char text[16] = "";

	for (unsigned i = 0; i < 4; i++) {
		works[i] = (struct ordered){.log = text, .name = (char)('a' + i), .loop = loop};
		work_init(&works[i].work, NULL, log_name, &works[i]);
		loop_post(loop, &works[i].work);
		loop_post(loop, &works[i].work);
	}
	works[0].unpost = &works[2];
	loop_unpost(loop, &works[1].work);
	loop_unpost(loop, &works[1].work);
	work_init(&end, NULL, stop, loop);
	loop_post(loop, &end);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(text, "ad");
	loop_post(loop, &works[2].work);
	loop_post(loop, &end);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(text, "adc");
	loop_destroy(loop);
}

/* ---- the end of a VM ---- */

static void count_call(void *ctx)
{
	++*(unsigned *)ctx;
}

static void test_forgotten_vm(void **state)
{
	struct loop *loop = make_loop();
	const uint64_t now = platform_clock_ns();
	char vms[2]; /* only their addresses matter */
	struct vm *gone = (void *)&vms[0], *kept = (void *)&vms[1];
	struct timer *timers = calloc(40, sizeof(*timers)), end;
	struct work *works = calloc(4, sizeof(*works));
	unsigned calls[2] = {0};

	/* Deadlines that put the two VMs' timers everywhere in the heap. */
	for (unsigned i = 0; i < 40; i++) {
		timer_init(&timers[i], i % 3 ? gone : kept, count_call, &calls[i % 3 ? 0 : 1]);
		loop_timer_arm(loop, &timers[i], now + (i * 7919) % 40 * 1000);
	}
	for (unsigned i = 0; i < 4; i++) {
		work_init(&works[i], i % 2 ? gone : kept, count_call, &calls[i % 2 ? 0 : 1]);
		loop_post(loop, &works[i]);
	}
	loop_forget_vm(loop, gone);
	loop_post(loop, &works[1]);
	loop_timer_arm(loop, &timers[1], now);
	/* Not looked at any more: a use of them would show under ASan. */
	timer_init(&end, NULL, stop, loop);
	loop_timer_arm(loop, &end, now + 2000000);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(calls[0], 0);
	assert_int_equal(calls[1], 14 + 2);
	free(timers);
	free(works);
	loop_destroy(loop);
}

/* ---- watches ---- */

struct watched {
	struct loop *loop;
	struct watch watch;
	struct watched *other;
	unsigned calls;
};

/* Whichever of the two comes first removes the other, which was found ready in the same round. */
static void remove_other(void *ctx, uint32_t events)
{
	struct watched *watched = ctx;

	assert_true(events & EPOLLIN);
	watched->calls++;
	loop_unwatch(watched->loop, &watched->other->watch);
	loop_stop(watched->loop);
}

static void test_removed_watch_is_not_called(void **state)
{
	struct loop *loop = make_loop();
	struct watched a = {.loop = loop}, b = {.loop = loop, .other = &a};
	int pipes[2][2];

	a.other = &b;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pipe(pipes[i]), 0);
		assert_int_equal(write(pipes[i][1], "x", 1), 1);
	}
	watch_init(&a.watch, pipes[0][0], remove_other, &a);
	watch_init(&b.watch, pipes[1][0], remove_other, &b);
	assert_int_equal(loop_watch(loop, &a.watch, EPOLLIN), 0);
	assert_int_equal(loop_watch(loop, &b.watch, EPOLLIN), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(a.calls + b.calls, 1);
	for (unsigned i = 0; i < 4; i++)
		close(pipes[i / 2][i % 2]);
	loop_destroy(loop);
}

static void count_hook(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static void test_hooks_and_regular_files(void **state)
{
	struct loop *loop = make_loop();
	unsigned calls = 0;
	struct loop_hook hook = {.prepare = count_hook, .finish = count_hook, .ctx = &calls};
	struct watch watch;
	struct work end;
	int fd = open("/proc/self/exe", O_RDONLY);

	watch_init(&watch, fd, NULL, NULL);
	assert_int_equal(loop_watch(loop, &watch, EPOLLIN), -EPERM);
	assert_int_equal(watch.events, 0);
	close(fd);
	loop_hook_add(loop, &hook);
	work_init(&end, NULL, stop, loop);
	loop_post(loop, &end);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(calls, 2);
	loop_hook_remove(loop, &hook);
	loop_post(loop, &end);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(calls, 2);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_in_order),
		cmocka_unit_test(test_timer_armed_by_another_thread_while_asleep),
		cmocka_unit_test(test_work_is_never_lost),
		cmocka_unit_test(test_work_order_and_unpost),
		cmocka_unit_test(test_forgotten_vm),
		cmocka_unit_test(test_removed_watch_is_not_called),
		cmocka_unit_test(test_hooks_and_regular_files),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
