/* What the code below stands on. Implemented once for each world and chosen at link time:
 * host/linux/platform.c for the Linux process, tests/unit/fake_platform.c for tests, later hyp/.
 */
#ifndef CORE_PLATFORM_H
#define CORE_PLATFORM_H

#include "base/log.h"
#include "base/types.h"

struct vm;

/* Nanoseconds of a monotonic clock; any thread. */
uint64_t platform_clock_ns(void);
/* Nanoseconds since 1970-01-01 UTC; any thread. */
uint64_t platform_wall_ns(void);

/* Zeroed memory, or NULL; platform_free(NULL) is allowed. */
void *platform_alloc(size_t size);
void platform_free(void *ptr);
/* Gives the memory of whole pages of guest RAM back to whoever is below; they read as zeros afterwards. 0 or -errno: not
 * possible, all is as it was. */
int platform_discard(void *base, size_t len) must_check;

/* Sleeps while *word == expected, until woken or until the clock passes deadline_ns
 * (UINT64_MAX: no deadline). May return early. */
void platform_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns);
/* Wakes one or all sleepers on word. */
void platform_wake(_Atomic uint32_t *word, bool all);

/* One-shot timers. The callback runs on the I/O thread, no locks held. Arming an armed timer moves
 * it. After timer_cancel() returns on the I/O thread the callback does not run; on other threads it
 * may still be under way, so callbacks check their state under the device's lock. */
struct timer {
	void (*fire)(void *ctx);
	void *ctx;
	struct vm *vm;
	uint64_t deadline_ns;  /* platform's */
	unsigned heap_index;   /* platform's; 0: not armed */
};
void timer_init(struct timer *timer, struct vm *vm, void (*fire)(void *ctx), void *ctx);
void timer_arm(struct timer *timer, uint64_t deadline_ns);
void timer_cancel(struct timer *timer);

/* Work for the I/O thread. Posting posted work does nothing more: it runs once, after the last post.
 * Any thread may post; the callback runs on the I/O thread, no locks held. */
struct work {
	void (*run)(void *ctx);
	void *ctx;
	struct vm *vm;
	struct work *next;       /* platform's */
	_Atomic uint32_t posted; /* platform's */
};
void work_init(struct work *work, struct vm *vm, void (*run)(void *ctx), void *ctx);
void work_post(struct work *work);
/* Posted work does not run any more. I/O thread; for owners that are about to free it. */
void work_cancel(struct work *work);

/* Cryptographic random bytes. 0 or -errno. */
int platform_random(void *buf, size_t len) must_check;

/* One finished log line, without a newline. */
bool platform_log_enabled(enum log_level level, const char *subsystem);
void platform_log(enum log_level level, const char *subsystem, const char *text);
/* The process's one limiter for messages that guests cause. */
struct log_limit *platform_log_limit(void);
/* Our own bug; see BUG(). */
__attribute__((noreturn)) void platform_bug(const char *file, int line);

#endif
