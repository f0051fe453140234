/* base/: formatted text, the mutex, the limiter of guest-caused messages.
 *
 * Example: `meson test -C build unit-base`
 */
#include "base/fmt.h"
#include "base/lock.h"
#include "base/log.h"
#include "fake_platform.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Our text must be what the C library prints. */
#define CHECK(format, ...)                                                                         \
	do {                                                                                       \
		char ours[256], theirs[256];                                                       \
		size_t n = fmt_print(ours, sizeof(ours), format, __VA_ARGS__);                     \
		int m = snprintf(theirs, sizeof(theirs), format, __VA_ARGS__);                     \
		assert_string_equal(ours, theirs);                                                 \
		assert_int_equal(n, m);                                                            \
	} while (0)

static void test_fmt_agrees_with_libc(void **state)
{
	CHECK("plain %s", "text");
	CHECK("[%8s] [%-8s] [%.3s] [%8.2s] [%.*s]", "abc", "abc", "abcdef", "abcdef", 2, "xyz");
	CHECK("[%c] [%3c] [%-3c]%%", 'a', 'b', 'c');
	CHECK("%d %d %d %d", 0, -1, 2147483647, (int)-2147483648LL);
	CHECK("[%5d] [%-5d] [%05d] [%.3d] [%8.3d]", -42, -42, -42, 7, -7);
	CHECK("%u %lu %llu %zu", 4000000000u, 18446744073709551615ul, 18446744073709551615ull, (size_t)9);
	CHECK("%ld %lld", -9223372036854775807L - 1, -9223372036854775807LL - 1);
	CHECK("%x %X %08x %#x %lx %016llx", 0xbeefu, 0xBEEFu, 0x12u, 0x12u, 0xfffffffffful, 0x123456789aull);
	CHECK("[%*d] [%-*d]", 6, 1, 6, 2);
	CHECK("%p", (void *)0x1234);
}

static void test_fmt_cuts(void **state)
{
	char buf[8] = "#######";

	assert_int_equal(fmt_print(buf, 4, "abcdef"), 6);
	assert_string_equal(buf, "abc");
	assert_int_equal(buf[4], '#');
	assert_int_equal(fmt_print(buf, 0, "abc"), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(fmt_print(NULL, 0, "%d", 12345), 5);
}

static void test_fmt_unknown_conversion(void **state)
{
	const char *volatile format = "a %q %s";
	const char *volatile nothing = NULL;
	char buf[32];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	fmt_print(buf, sizeof(buf), format, "never read");
	assert_string_equal(buf, "a %q %s");
	format = "end %";
	fmt_print(buf, sizeof(buf), format, 1);
	assert_string_equal(buf, "end %");
#pragma GCC diagnostic pop
	fmt_print(buf, sizeof(buf), "%s", nothing);
	assert_string_equal(buf, "(null)");
}

static void test_log_guest_is_limited(void **state)
{
	fake_reset();
	for (unsigned i = 0; i < 1000; i++)
		log_guest("test", "message %u", i);
	assert_int_equal(fake_log_lines(), 10);
	fake_advance(1000000001);
	log_guest("test", "again");
	assert_non_null(strstr(fake_log_text(), "990 messages"));
	assert_non_null(strstr(fake_log_text(), "warn test: again"));
}

struct shared {
	struct lock lock;
	unsigned count;
};

#define ROUNDS 50000

static void *hammer(void *arg)
{
	struct shared *shared = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		lock_take(&shared->lock);
		shared->count++;
		lock_release(&shared->lock);
	}
	return NULL;
}

static void test_lock_excludes(void **state)
{
	struct shared shared = {0};
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &shared), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.count, 4 * ROUNDS);
	assert_int_equal(shared.lock.word, 0);
	assert_true(lock_try(&shared.lock));
	assert_false(lock_try(&shared.lock));
	lock_release(&shared.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fmt_agrees_with_libc), cmocka_unit_test(test_fmt_cuts),
		cmocka_unit_test(test_fmt_unknown_conversion), cmocka_unit_test(test_log_guest_is_limited),
		cmocka_unit_test(test_lock_excludes),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
