/* Guest RAM from mmap; see memory.h.
 *
 * Example: `r = guest_memory_add(&memory, &vm->mem, 0, MIB(128), 0, why, sizeof(why));`
 */
#include "host/linux/memory.h"
#include "base/checked.h"
#include "base/fmt.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD MIB(2) /* also the alignment: huge pages want it */

static int fail(int error, uint64_t size, char *why, size_t why_size)
{
	fmt_print(why, why_size, "cannot reserve %llu MiB of memory for the guest: %s; give it less with --memory",
		  (unsigned long long)(size >> 20), strerror(error));
	return -error;
}

int guest_memory_add(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, unsigned flags,
		     char *why, size_t why_size)
{
	uint64_t reserve;
	uintptr_t start;
	void *base, *ram;
	int r;

	/* One guard on each side and up to one for the alignment. */
	if (size == 0 || add_overflow(size, 3 * GUARD, &reserve))
		return fail(EINVAL, size, why, why_size);
	if (memory->count == MEM_MAX_SLOTS)
		return fail(ENOSPC, size, why, why_size);
	base = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return fail(errno, size, why, why_size);
	start = ((uintptr_t)base + GUARD + (GUARD - 1)) & ~(uintptr_t)(GUARD - 1);
	ram = mmap((void *)start, size, PROT_READ | PROT_WRITE,
		   (flags & GUEST_MEMORY_SHARED ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		   -1, 0);
	if (ram == MAP_FAILED) {
		r = fail(errno, size, why, why_size);
		goto unmap;
	}
	/* Advice: a kernel without it runs the guest as well. */
	madvise(ram, size, MADV_DONTDUMP);
	if (flags & GUEST_MEMORY_HUGE)
		madvise(ram, size, MADV_HUGEPAGE);
	r = mem_add_slot(mem, gpa, size, ram, flags & GUEST_MEMORY_ROM);
	if (r < 0) {
		r = fail(-r, size, why, why_size);
		goto unmap;
	}
	memory->ranges[memory->count].base = base;
	memory->ranges[memory->count].size = reserve;
	memory->count++;
	return 0;
unmap:
	munmap(base, reserve);
	return r;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	while (memory->count > 0) {
		memory->count--;
		munmap(memory->ranges[memory->count].base, memory->ranges[memory->count].size);
	}
}
