/* How often guest code is executed, for `--count-blocks`: an engine that can tell counts each run of instructions that it translates, and
 * gives the counts here whenever it forgets translations, and at the end.
 *
 * Example: `if (vm->block_counts) vm->block_counts->add(vm->block_counts, &count);`
 */
#ifndef CORE_BLOCK_COUNTS_H
#define CORE_BLOCK_COUNTS_H

#include "base/types.h"

/* Instructions that follow each other, up to a branch or to where the translation ends. What is the same code at the same place is
 * added up. */
struct block_count {
	uint64_t rip; /* linear address of the first */
	gpa_t gpa;
	bool user, narrow; /* narrow: 32-bit code */
	uint32_t insns, guest_bytes, host_bytes;
	uint64_t executions;   /* how often the first was begun */
	uint64_t instructions; /* that were begun in all: fewer than insns each time, where it was left in between */
};

struct block_count_sink {
	void (*add)(struct block_count_sink *sink, const struct block_count *count); /* any vcpu's thread, inside the sandbox */
};

#endif
