/* engine/dbt/fault.c: what becomes of signals that are not the translator's. A crash of ours ends the process, by its own
 * signal, also where handlers can't be changed any more; and what was there before is told, and comes back.
 *
 * Example: `meson test -C build dbt_signals`
 */
#include "engine/dbt/dbt.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static int *told; /* shared with children */

static void on_crash(int signal, siginfo_t *info, void *context)
{
	(*told)++;
}

static void handle(void)
{
	struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = (int)SA_RESETHAND | SA_SIGINFO};

	sigaction(SIGSEGV, &action, NULL);
}

/* The status of a child that does this with the translator's handlers in place. */
static int status_of(void (*body)(void), void (*before)(void))
{
	int status;
	pid_t pid;

	*told = 0;
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		alarm(10);
		signal(SIGSEGV, SIG_DFL); /* cmocka has handlers too */
		if (before)
			before();
		if (dbt_signals_init() < 0)
			_exit(1);
		body();
		_exit(2);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void crash(void)
{
	volatile int *nothing = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*nothing = 1;
}

static void be_sent(void)
{
	raise(SIGSEGV);
}

static void test_own_crash(void **state)
{
	assert_int_equal(WTERMSIG(status_of(crash, NULL)), SIGSEGV);
	assert_int_equal(WTERMSIG(status_of(crash, handle)), SIGSEGV);
	assert_int_equal(*told, 1);
}

static void test_sent_signal(void **state)
{
	assert_int_equal(WTERMSIG(status_of(be_sent, NULL)), SIGABRT);
	assert_int_equal(WTERMSIG(status_of(be_sent, handle)), SIGABRT);
}

static void test_handlers_come_back(void **state)
{
	struct sigaction before, now;

	sigaction(SIGSEGV, NULL, &before);
	assert_int_equal(dbt_signals_init(), 0);
	assert_int_equal(dbt_signals_init(), 0);
	dbt_signals_exit();
	sigaction(SIGSEGV, NULL, &now);
	assert_ptr_not_equal(now.sa_sigaction, before.sa_sigaction);
	dbt_signals_exit();
	sigaction(SIGSEGV, NULL, &now);
	assert_ptr_equal(now.sa_sigaction, before.sa_sigaction);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_crash),
		cmocka_unit_test(test_sent_signal),
		cmocka_unit_test(test_handlers_come_back),
	};

	/* A sanitizer has handlers of its own. */
	if (SANITIZED)
		return 77;
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests_name("dbt_signals", tests, NULL, NULL);
}
