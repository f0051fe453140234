/* Token buckets, against a clock that the test moves. */
#include "dev/virtio/limiter.h"
#include "fake_platform.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull

static void again(void *ctx)
{
	++*(unsigned *)ctx;
}

/* Takes operations of so many bytes for so long; returns how many passed. */
static unsigned run(struct limiter *limiter, uint64_t bytes, uint64_t ns)
{
	uint64_t end = platform_clock_ns() + ns;
	unsigned passed = 0;

	while (platform_clock_ns() < end) {
		while (limiter_open(limiter) && passed < 1000000) {
			limiter_charge(limiter, bytes);
			passed++;
		}
		fake_advance(MS);
	}
	return passed;
}

static void without_limits_all_is_open(void **state)
{
	struct limiter limiter;
	unsigned called = 0;

	fake_reset();
	limiter_init(&limiter, NULL, NULL, again, &called);
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(limiter_open(&limiter));
		limiter_charge(&limiter, UINT64_MAX);
	}
	fake_advance(1000 * MS);
	assert_int_equal(called, 0);
	limiter_stop(&limiter);
}

static void rates_hold_over_time(void **state)
{
	const struct {
		struct rate_limit limit;
		uint64_t bytes;
		unsigned least, most; /* in ten seconds, the first burst included */
	} cases[] = {
		{{.ops = {100, 10}}, 512, 1005, 1015},
		{{.ops = {100, 0}}, 512, 1095, 1105},           /* a second's worth to begin with */
		{{.bytes = {1 << 20, 4096}}, 4096, 2555, 2565},
		{{.bytes = {1 << 20, 1 << 20}}, 65536, 174, 178},
		{{.bytes = {1000, 100}}, 5000, 2, 4},           /* each larger than the bucket */
		{{.bytes = {1 << 20, 4096}, .ops = {50, 1}}, 4096, 499, 503},
		{{.bytes = {4096, 4096}, .ops = {5000, 1}}, 4096, 10, 12},
		{{.bytes = {1ull << 40, 1ull << 40}, .ops = {7, 7}}, 1, 76, 79},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct limiter limiter;
		unsigned called = 0, passed;

		fake_reset();
		limiter_init(&limiter, NULL, &cases[i].limit, again, &called);
		passed = run(&limiter, cases[i].bytes, 10000 * MS);
		if (passed < cases[i].least || passed > cases[i].most)
			print_error("case %u: %u passed\n", i, passed);
		assert_in_range(passed, cases[i].least, cases[i].most);
		assert_true(called > 0);
		assert_true(limiter.pauses > 0 && limiter.paused_ns > 8000 * MS && limiter.paused_ns <= 10000 * MS);
		limiter_stop(&limiter);
	}
}

static void a_pause_fills_the_bucket_and_no_more(void **state)
{
	const struct rate_limit limit = {.ops = {1000, 20}};
	struct limiter limiter;
	unsigned called = 0, passed = 0;

	fake_reset();
	limiter_init(&limiter, NULL, &limit, again, &called);
	(void)run(&limiter, 0, 100 * MS);
	fake_advance(3600000 * MS);
	while (limiter_open(&limiter)) {
		limiter_charge(&limiter, 0);
		passed++;
	}
	assert_in_range(passed, 20, 21);
	limiter_stop(&limiter);
}

static void again_comes_when_it_is_open(void **state)
{
	const struct rate_limit limit = {.ops = {10, 1}};
	struct limiter limiter;
	unsigned called = 0;

	fake_reset();
	limiter_init(&limiter, NULL, &limit, again, &called);
	while (limiter_open(&limiter))
		limiter_charge(&limiter, 1);
	assert_false(limiter_open(&limiter));
	fake_advance(99 * MS);
	assert_int_equal(called, 0);
	fake_advance(2 * MS);
	assert_int_equal(called, 1);
	assert_true(limiter_open(&limiter));
	/* Stopped, it says nothing. */
	limiter_charge(&limiter, 1);
	limiter_charge(&limiter, 1);
	assert_false(limiter_open(&limiter));
	limiter_stop(&limiter);
	fake_advance(10000 * MS);
	assert_int_equal(called, 1);
}

/* Numbers at the ends of their ranges neither wrap nor divide by zero. */
static void extremes(void **state)
{
	const struct rate_limit limits[] = {
		{.bytes = {1, UINT64_MAX}}, {.bytes = {UINT64_MAX, 1}}, {.bytes = {1, 1}, .ops = {UINT64_MAX, UINT64_MAX}}};

	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		struct limiter limiter;
		unsigned called = 0;

		fake_reset();
		limiter_init(&limiter, NULL, &limits[i], again, &called);
		for (unsigned j = 0; j < 10; j++) {
			(void)limiter_open(&limiter);
			limiter_charge(&limiter, UINT64_MAX);
		}
		if (limits[i].bytes.per_second == 1)
			assert_false(limiter_open(&limiter));
		limiter_stop(&limiter);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_all_is_open),
		cmocka_unit_test(rates_hold_over_time),
		cmocka_unit_test(a_pause_fills_the_bucket_and_no_more),
		cmocka_unit_test(again_comes_when_it_is_open),
		cmocka_unit_test(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
