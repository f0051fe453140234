/* Host memory for the guest's RAM: reserved, zeroed on first touch, between guard pages.
 *
 *     | no access, 2 MiB | RAM of one range, 2 MiB aligned, rounded up to a page | no access, 2 MiB |
 *
 * An access of ours that runs off a range by mistake, by less than the guard, is a crash and not a leak.
 *
 * Example:
 *     struct guest_memory memory = {0};
 *     r = guest_memory_add(&memory, &vm->mem, 0, MIB(512), GUEST_MEMORY_HUGE, why, sizeof(why));
 *     ...
 *     guest_memory_destroy(&memory);          // after vm_destroy()
 */
#ifndef HOST_LINUX_MEMORY_H
#define HOST_LINUX_MEMORY_H

#include "base/types.h"
#include "mem/mem.h"

enum guest_memory_flags {
	GUEST_MEMORY_HUGE   = 1u << 0, /* ask for huge pages: faster, and RAM is used in steps of 2 MiB */
	GUEST_MEMORY_SHARED = 1u << 1, /* MAP_SHARED: an engine may map it a second time */
	GUEST_MEMORY_ROM    = 1u << 2, /* the guest may not write it */
	GUEST_MEMORY_FILE   = 1u << 3, /* shared, and a file behind it that another process can map */
};

struct guest_memory {
	struct {
		void *base;  /* with the guards */
		size_t size;
		int fd;      /* GUEST_MEMORY_FILE: of the RAM, from its beginning; of a size that nobody can change. Else -1 */
		gpa_t gpa;
		void *ram;
		uint64_t ram_size;
	} ranges[MEM_MAX_SLOTS];
	unsigned count;
};

/* Maps host memory for [gpa, gpa+size) and adds it to mem as RAM. 0, or -errno with one sentence in why. */
int guest_memory_add(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, unsigned flags,
		     char *why, size_t why_size) must_check;
/* A file of zeroes in memory, whose size can't be changed any more. A descriptor or -errno. */
int memory_file(uint64_t size) must_check;
/* The same with the first `size` bytes of an open file behind it, for all who map it (GUEST_MEMORY_ROM: only to be read). The slot is lasting. The
 * descriptor may be closed afterwards. */
int guest_memory_add_file(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, int fd, unsigned flags,
			  char *why, size_t why_size) must_check;
void guest_memory_destroy(struct guest_memory *memory);

#endif
