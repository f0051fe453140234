/* Log lines: formatted here, written by the platform.
 *
 * Example: `log_guest("bus", "%s: read past the end", dev->id);`
 */
#include "base/log.h"
#include "base/fmt.h"
#include "core/platform.h"
#include <stdatomic.h>

#define LINE_SIZE  512
#define WINDOW_NS  1000000000ull
#define WINDOW_MAX 10u

static void write_line(enum log_level level, const char *subsystem, const char *format, va_list args)
{
	char text[LINE_SIZE];

	fmt_vprint(text, sizeof(text), format, args);
	platform_log(level, subsystem, text);
}

void log_write(enum log_level level, const char *subsystem, const char *format, ...)
{
	va_list args;

	if (!platform_log_enabled(level, subsystem))
		return;
	va_start(args, format);
	write_line(level, subsystem, format, args);
	va_end(args);
}

bool log_limit_take(struct log_limit *limit, uint64_t now_ns, uint32_t *dropped)
{
	uint64_t start = atomic_load(&limit->window_ns);

	/* Whoever moves the window opens it; a thread that loses the race counts in the new one. */
	if ((start == 0 || (now_ns > start && now_ns - start >= WINDOW_NS)) &&
	    atomic_compare_exchange_strong(&limit->window_ns, &start, now_ns | 1))
		atomic_store(&limit->count, 0);
	if (atomic_load(&limit->count) >= WINDOW_MAX ||
	    atomic_fetch_add(&limit->count, 1) >= WINDOW_MAX) {
		atomic_fetch_add(&limit->dropped, 1);
		return false;
	}
	*dropped = atomic_exchange(&limit->dropped, 0);
	return true;
}

void log_guest(const char *subsystem, const char *format, ...)
{
	uint32_t dropped;
	va_list args;

	if (!platform_log_enabled(LOG_WARN, subsystem) ||
	    !log_limit_take(platform_log_limit(), platform_clock_ns(), &dropped))
		return;
	if (dropped)
		log_warn(subsystem, "%u messages about the guest were dropped", dropped);
	va_start(args, format);
	write_line(LOG_WARN, subsystem, format, args);
	va_end(args);
}

void bug_report(const char *file, int line)
{
	platform_bug(file, line);
}
