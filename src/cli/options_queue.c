/* What disks and network cards have in common: how many queues, and how fast; see options.h.
 *
 * Example: `--disk x.img,queues=2,rate=bytes:10M/1M,ops:500`
 *
 * The commas of a rate are those of the option, so `bytes:` and `ops:` may follow a rate as pieces of their own.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

static bool starts(const char *text, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(text, with, strlen(with));
}

static bool parse_count(const char *text, size_t len, uint64_t *count)
{
	char copy[32];

	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	return parse_size(copy, count) && *count > 0 && *count <= INT64_MAX;
}

/* "N" or "N/BURST" */
static bool parse_rate(const char *text, size_t len, struct rate *rate)
{
	const char *slash = memchr(text, '/', len);
	size_t number = slash ? (size_t)(slash - text) : len;

	*rate = (struct rate){0};
	return parse_count(text, number, &rate->per_second) &&
	       (!slash || parse_count(slash + 1, len - number - 1, &rate->burst));
}

static int parse_rates(const char *text, size_t len, struct rate_limit *limit, char *why, size_t why_size)
{
	bool bytes = starts(text, len, "bytes:"), ops = starts(text, len, "ops:");
	size_t name = bytes ? 6 : 4;

	if ((!bytes && !ops) || !parse_rate(text + name, len - name, bytes ? &limit->bytes : &limit->ops))
		return refuse(why, why_size, "rate=%.*s is not understood; write rate=bytes:N[/BURST],ops:N[/BURST]", (int)len,
			      text);
	return 1;
}

int parse_queue_option(unsigned *queues, unsigned max_queues, struct rate_limit *limit, const char *text, size_t len, char *why,
		       size_t why_size)
{
	const bool has_rate = limit->bytes.per_second || limit->ops.per_second;
	unsigned long count;

	if (starts(text, len, "queues=")) {
		if (!parse_number(text + 7, len - 7, max_queues, &count) || !count)
			return refuse(why, why_size, "%.*s is not a number from 1 to %u", (int)len, text, max_queues);
		*queues = (unsigned)count;
		return 1;
	}
	if (starts(text, len, "rate="))
		return parse_rates(text + 5, len - 5, limit, why, why_size);
	if (has_rate && (starts(text, len, "bytes:") || starts(text, len, "ops:")))
		return parse_rates(text, len, limit, why, why_size);
	return 0;
}
