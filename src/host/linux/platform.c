/* core/platform.h on Linux: clocks, futexes, memory, random bytes, stderr, and the loop's timers and work.
 *
 * Example: `uint64_t now = platform_clock_ns();`
 */
#include "host/linux/platform.h"
#include "base/fmt.h"
#include "core/vm.h"
#include "host/linux/loop.h"
#include "host/linux/terminal.h"
#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

static _Atomic int log_level_now = LOG_WARN;
static struct log_limit log_limiter;

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t platform_clock_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t platform_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

void *platform_alloc(size_t size)
{
	return calloc(1, size ? size : 1);
}

void platform_free(void *ptr)
{
	free(ptr);
}

int platform_discard(void *base, size_t len)
{
	/* A shared mapping: out of the object behind it, for all who map it. A private one is only ours. */
	if (madvise(base, len, MADV_REMOVE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	return madvise(base, len, MADV_DONTNEED) == 0 ? 0 : -errno;
}

void platform_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
				    .tv_nsec = (long)(deadline_ns % NS_PER_S)};

	/* Of the two futex waits, the BITSET one takes an absolute time (CLOCK_MONOTONIC). */
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
		deadline_ns == UINT64_MAX ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

void platform_wake(_Atomic uint32_t *word, bool all)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, all ? INT32_MAX : 1, NULL, NULL, 0);
}

int platform_random(void *buf, size_t len)
{
	uint8_t *at = buf;

	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- timers and work: the VM's loop does them ---- */

void timer_init(struct timer *timer, struct vm *vm, void (*fire)(void *ctx), void *ctx)
{
	*timer = (struct timer){.fire = fire, .ctx = ctx, .vm = vm};
}

void timer_arm(struct timer *timer, uint64_t deadline_ns)
{
	loop_timer_arm(timer->vm->platform, timer, deadline_ns);
}

void timer_cancel(struct timer *timer)
{
	loop_timer_cancel(timer->vm->platform, timer);
}

void work_init(struct work *work, struct vm *vm, void (*run)(void *ctx), void *ctx)
{
	*work = (struct work){.run = run, .ctx = ctx, .vm = vm};
}

void work_post(struct work *work)
{
	loop_post(work->vm->platform, work);
}

void work_cancel(struct work *work)
{
	if (atomic_load(&work->posted))
		loop_unpost(work->vm->platform, work);
}

void platform_vm_stopped(struct vm *vm)
{
	loop_stop(vm->platform);
}

/* ---- messages ---- */

void platform_set_log_level(enum log_level level)
{
	atomic_store(&log_level_now, (int)level);
}

bool platform_log_enabled(enum log_level level, const char *subsystem)
{
	return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

struct log_limit *platform_log_limit(void)
{
	return &log_limiter;
}

/* One write, so that lines of several threads do not mix. */
static void write_stderr(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody listens: there is nowhere to say so */
		text += n;
		len -= (size_t)n;
	}
}

void platform_log(enum log_level level, const char *subsystem, const char *text)
{
	static const char *const prefix[] = {
		[LOG_ERROR] = "error: ", [LOG_WARN] = "warning: ", [LOG_INFO] = "", [LOG_DEBUG] = "debug: "};
	char line[640];
	size_t len;

	/* In raw mode the terminal no longer returns the carriage. */
	len = fmt_print(line, sizeof(line) - 2, "ruse: %s%s: %s", prefix[level], subsystem, text);
	if (len >= sizeof(line) - 2)
		len = sizeof(line) - 3;
	if (terminal_is_raw())
		line[len++] = '\r';
	line[len++] = '\n';
	write_stderr(line, len);
}

void platform_bug(const char *file, int line)
{
	char text[256];

	terminal_restore();
	fmt_print(text, sizeof(text), "%s:%d: this is a bug of ruse; the machine is stopped", file, line);
	platform_log(LOG_ERROR, "bug", text);
	_exit(1);
}
