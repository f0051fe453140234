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

/* ---- translations that outlive the VM ---- */

struct vm;
struct translation_ring; /* the engine's */

/* Hangs off vm->translation_cache; fixed before vcpu_init. */
struct translation_cache {
	const void *file;              /* what an earlier run left, mapped or in memory, valid; or NULL */
	struct translation_ring *ring; /* for what is new, shared with the keeper's process; NULL: nobody wants it */
	const char *path;              /* of the file */
	bool check;                    /* compare what comes from it with new translations */
	_Atomic bool damaged;          /* the file has turned out to be: it is not used any more */
};

/* What an engine knows of such files. Its work is done in a process of its own, which has a copy of the VM's structures as they were
 * before the first guest instruction, and no other part in it: see engine/dbt/cache.h for why. */
struct translation_keeper {
	/* Of files that this VM can use: of this build of the program, and of what the guest is offered. After the VM's CPUID is known.
	 * 0: there can be none. */
	uint64_t (*identity)(const struct vm *vm);
	/* Is the file (at least size bytes of memory) whole and of that identity? */
	bool (*valid)(const void *file, size_t size, uint64_t identity);
	size_t ring_size;
	/* NULL: no memory. */
	struct translation_kept *(*open)(struct vm *vm, uint64_t identity);
	/* Takes what is in the ring; how many translations. */
	unsigned (*collect)(struct translation_kept *kept, struct translation_ring *ring);
	/* Adds what a valid file has. */
	void (*merge)(struct translation_kept *kept, const void *file);
	/* How many there are, and how many of them merge() did not bring. */
	unsigned (*count)(const struct translation_kept *kept);
	unsigned (*fresh)(const struct translation_kept *kept);
	/* The file that holds them all, to be freed. 0, or -ENOMEM. */
	int (*image)(const struct translation_kept *kept, void **image, size_t *size);
};

#endif
