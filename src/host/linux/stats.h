/* `--stats`: what a run cost.
 *
 * Example: `stats_begin(&stats, vm, start_ns); ...; stats_print(&stats, vm, stderr);`
 */
#ifndef HOST_LINUX_STATS_H
#define HOST_LINUX_STATS_H

#include "base/types.h"
#include <stdio.h>

struct vm;

struct stats {
	uint64_t start_ns;  /* the process began */
	uint64_t run_ns;    /* the guest began */
};

void stats_begin(struct stats *stats, const struct vm *vm, uint64_t start_ns);
/* After the vcpu threads have ended, while the guest's memory is still there. One `name: value` a line. */
void stats_print(const struct stats *stats, struct vm *vm, FILE *out);

#endif
