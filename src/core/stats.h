/* Figures for `--stats`: who has some adds them here; the host sums them up over the vcpus and prints them.
 *
 * Example:
 *     if (sink) stats_add(sink, NULL, "translated blocks", count);
 *     sink->add(sink, &(struct stat){.group = "interpreted", .name = "HLT", .value = n});
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "base/types.h"

enum stat_unit { STAT_COUNT, STAT_NS };

/* Names are compared by their text and must stay. */
struct stat {
	const char *group; /* its figures are sorted, and only the largest shown; NULL: it stands alone */
	const char *name;
	uint64_t value;
	enum stat_unit unit;
	const char *part; /* what is said of a part of the value, or NULL */
	uint64_t part_value;
};

struct stats_sink {
	void (*add)(struct stats_sink *sink, const struct stat *stat); /* any thread */
};

static inline void stats_add(struct stats_sink *sink, const char *group, const char *name, uint64_t value)
{
	sink->add(sink, &(struct stat){.group = group, .name = name, .value = value});
}

#endif
