/* What a translating engine tells of its work, for whoever wants to see it: --dump tb, --perf-map.
 *
 * Example: `if (vm->translations) vm->translations->add(vm->translations, &translation);`
 */
#ifndef CORE_TRANSLATION_H
#define CORE_TRANSLATION_H

#include "base/types.h"

/* Where an instruction of a block begins in the guest's bytes and in the host's. */
struct translation_insn {
	uint32_t guest, host;
};

struct translation {
	const char *name; /* of code that stands for no guest code; NULL: a block */
	uint64_t rip;     /* linear address of the block's first byte */
	gpa_t gpa;
	bool user;
	bool narrow; /* 32-bit code */
	const uint8_t *guest; /* what was translated */
	size_t guest_size;
	const uint8_t *host;    /* the code, to be read */
	uint64_t host_address;  /* where it runs */
	size_t host_size;
	const struct translation_insn *insns; /* ascending; behind the last one's host code are the block's exits */
	unsigned count;
};

struct translation_log {
	/* The code has just been made. Any vcpu's thread, inside the sandbox. */
	void (*add)(struct translation_log *log, const struct translation *translation);
};

#endif
