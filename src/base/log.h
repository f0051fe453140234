/* Logging by subsystem, and the one way to report our own bugs.
 *
 * Example: `log_warn("virtio", "%s: queue %u size %u is not a power of two", id, q, size);`
 *
 * The format is the subset of printf that base/fmt.c implements: %s %c %d %u %x %X %p %% with
 * width, zero fill, `-`, precision for %s, and the length modifiers l, ll, z. There are no floats.
 * Messages below the level that the platform chose are dropped before they are formatted.
 * A message that a guest can cause must use log_guest(), which is rate-limited.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/types.h"
#include <stdarg.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *subsystem,
						     const char *format, ...);
/* How log_guest() keeps a guest from filling the host's disk; the platform holds one. */
struct log_limit {
	_Atomic uint64_t window_ns; /* start of the running second */
	_Atomic uint32_t count;     /* messages in it */
	_Atomic uint32_t dropped;
};
/* May one more be logged at now_ns? If so *dropped is how many were swallowed since the last one. */
bool log_limit_take(struct log_limit *limit, uint64_t now_ns, uint32_t *dropped);

/* A warning that a guest can cause: at most 10 a second, the rest are counted and dropped. */
__attribute__((format(printf, 2, 3))) void log_guest(const char *subsystem, const char *format, ...);

#define log_error(subsystem, ...) log_write(LOG_ERROR, subsystem, __VA_ARGS__)
#define log_warn(subsystem, ...)  log_write(LOG_WARN, subsystem, __VA_ARGS__)
#define log_info(subsystem, ...)  log_write(LOG_INFO, subsystem, __VA_ARGS__)
#ifdef RUSE_DEBUG
#define log_debug(subsystem, ...) log_write(LOG_DEBUG, subsystem, __VA_ARGS__)
#else
#define log_debug(subsystem, ...) ((void)0)
#endif

/* Our own bug: names file and line, and stops this VM and no other. Never on guest data. */
#define BUG()        bug_report(__FILE__, __LINE__)
#define BUG_ON(cond) ((void)(unlikely(cond) && (BUG(), 0)))
__attribute__((noreturn)) void bug_report(const char *file, int line);

#endif
