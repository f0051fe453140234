/* `--count-blocks`: guest code by how often it was executed, as tables of text.
 *
 * Example:
 *     r = block_counts_open(&counts, "counts.txt", why, sizeof(why));   // before the sandbox closes
 *     vm->block_counts = &counts.sink;
 *     ...
 *     block_counts_print(&counts);                                      // after the vcpu threads have ended
 *     block_counts_close(&counts);
 */
#ifndef HOST_LINUX_BLOCK_COUNTS_H
#define HOST_LINUX_BLOCK_COUNTS_H

#include "base/lock.h"
#include "core/block_counts.h"
#include <stdio.h>

struct block_counts {
	struct block_count_sink sink; /* first */
	struct lock lock;
	struct block_count *blocks;   /* hashed; executions 0: free */
	size_t size, used;            /* size: a power of two */
	uint64_t lost;                /* instructions that there was no memory to count */
	FILE *out;
};

/* "-" is stderr. 0, or -errno with one sentence in why. */
int block_counts_open(struct block_counts *counts, const char *path, char *why, size_t why_size) must_check;
void block_counts_print(struct block_counts *counts);
void block_counts_close(struct block_counts *counts);

#endif
