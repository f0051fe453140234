/* `--stats`: what a run cost.
 *
 * Example:
 *     stats_collect(&stats, vm);             // before the sandbox closes and the vcpus are made, if somebody wants figures
 *     stats_begin(&stats, vm, start_ns);
 *     ...
 *     stats_end(&stats, vm);                 // while the vcpus are still there
 *     stats_print(&stats, vm, stderr);
 */
#ifndef HOST_LINUX_STATS_H
#define HOST_LINUX_STATS_H

#include "base/lock.h"
#include "core/stats.h"
#include "host/linux/resident.h"
#include <stdio.h>

struct vm;

#define STATS_MAX 512 /* figures; more are left out */
#define STATS_TOP 20  /* shown of a group */

struct stats {
	struct stats_sink sink; /* first */
	struct lock lock;
	struct stat figures[STATS_MAX];
	unsigned count;
	struct resident resident;
	uint64_t start_ns;  /* the process began */
	uint64_t run_ns;    /* the guest began */
};

/* The engine's figures are to come here: vm->stats. */
void stats_collect(struct stats *stats, struct vm *vm);
void stats_begin(struct stats *stats, const struct vm *vm, uint64_t start_ns);
/* The figures of a VM that is running, as of now. stats->run_ns is set. */
void stats_now(struct stats *stats, const struct vm *vm, FILE *out);
/* The guest has ended, the vcpus are not yet destroyed: how much memory they have. */
void stats_end(struct stats *stats, const struct vm *vm);
/* After the vcpu threads have ended, while the guest's memory is still there. One `name: value` a line. */
void stats_print(struct stats *stats, struct vm *vm, FILE *out);

#endif
