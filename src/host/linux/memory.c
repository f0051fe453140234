/* Guest RAM from mmap; see memory.h.
 *
 * Example: `r = guest_memory_add(&memory, &vm->mem, 0, MIB(128), 0, why, sizeof(why));`
 */
#include "host/linux/memory.h"
#include "base/checked.h"
#include "base/fmt.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD MIB(2) /* also the alignment: huge pages want it */

static int fail(int error, uint64_t size, char *why, size_t why_size)
{
	fmt_print(why, why_size, "cannot reserve %llu MiB of memory for the guest: %s; give it less with --memory",
		  (unsigned long long)(size >> 20), strerror(error));
	return -error;
}

int memory_file(uint64_t size)
{
	int fd = memfd_create("ruse-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	/* Sealed, or whoever gets it could make our own accesses fault by making it smaller. */
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

/* file: what is behind it; -1: nothing, or with GUEST_MEMORY_FILE one of its own. */
static int add(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, int file, unsigned flags, char *why,
	       size_t why_size)
{
	const int protection = file >= 0 && flags & GUEST_MEMORY_ROM ? PROT_READ : PROT_READ | PROT_WRITE;
	const bool shared = file >= 0 || flags & (GUEST_MEMORY_SHARED | GUEST_MEMORY_FILE);
	uint64_t reserve;
	uintptr_t start;
	void *base, *ram;
	int r, fd = -1;

	/* One guard on each side and up to one for the alignment. */
	if (size == 0 || add_overflow(size, 3 * GUARD, &reserve))
		return fail(EINVAL, size, why, why_size);
	if (memory->count == MEM_MAX_SLOTS)
		return fail(ENOSPC, size, why, why_size);
	base = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return fail(errno, size, why, why_size);
	start = ((uintptr_t)base + GUARD + (GUARD - 1)) & ~(uintptr_t)(GUARD - 1);
	if (file < 0 && flags & GUEST_MEMORY_FILE) {
		fd = memory_file(size);
		if (fd < 0) {
			r = fail(-fd, size, why, why_size);
			goto unmap;
		}
	}
	ram = mmap((void *)start, size, protection,
		   (shared ? MAP_SHARED : MAP_PRIVATE) | (file < 0 && fd < 0 ? MAP_ANONYMOUS : 0) | MAP_NORESERVE | MAP_FIXED,
		   file >= 0 ? file : fd, 0);
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
	memory->ranges[memory->count].fd = fd;
	memory->ranges[memory->count].gpa = gpa;
	memory->ranges[memory->count].ram = ram;
	memory->ranges[memory->count].ram_size = size;
	memory->count++;
	return 0;
unmap:
	if (fd >= 0)
		close(fd);
	munmap(base, reserve);
	return r;
}

int guest_memory_add(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, unsigned flags,
		     char *why, size_t why_size)
{
	return add(memory, mem, gpa, size, -1, flags, why, why_size);
}

int guest_memory_add_file(struct guest_memory *memory, struct mem *mem, gpa_t gpa, uint64_t size, int fd, unsigned flags,
			  char *why, size_t why_size)
{
	int r = add(memory, mem, gpa, size, fd, flags, why, why_size);

	if (!r)
		mem_find(mem, gpa)->lasting = true;
	return r;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	while (memory->count > 0) {
		memory->count--;
		munmap(memory->ranges[memory->count].base, memory->ranges[memory->count].size);
		if (memory->ranges[memory->count].fd >= 0)
			close(memory->ranges[memory->count].fd);
	}
}
