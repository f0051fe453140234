/* A platform for unit tests: a clock that stands still until told, timers and work that run when told,
 * log lines that can be read.
 *
 * Example:
 *     timer_arm(&pit->timer, platform_clock_ns() + 1000);
 *     fake_advance(1000);               // the timer has fired
 *     fake_run_work();                  // what was posted has run
 *     assert_non_null(strstr(fake_log_text(), "overlaps"));
 *
 * Timers and work are for one thread; clock, allocation, waiting and logging for any.
 */
#ifndef TESTS_UNIT_FAKE_PLATFORM_H
#define TESTS_UNIT_FAKE_PLATFORM_H

#include "core/platform.h"

/* Clock back to 1 s, timers and work forgotten, log empty, allocation never fails. */
void fake_reset(void);
/* Moves the clock; timers that are due fire in order of their deadlines, each at its own time. */
void fake_advance(uint64_t ns);
/* Runs posted work until there is none. Returns how many ran. */
unsigned fake_run_work(void);
/* All log lines since fake_reset(): "level subsystem: text\n". */
const char *fake_log_text(void);
unsigned fake_log_lines(void);
/* The next `count` allocations succeed, all after them fail; UINT32_MAX: never. */
void fake_alloc_limit(uint32_t count);
/* Allocations that were not freed. */
unsigned fake_alloc_live(void);
/* Bytes that platform_discard() was given since fake_reset(). */
uint64_t fake_discarded(void);
/* Calls of platform_vm_stopped(). */
unsigned fake_vm_stops(void);

#endif
