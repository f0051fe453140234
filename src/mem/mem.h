/* Guest memory: slots of host memory at guest-physical addresses, accessors that check every
 * (gpa, len), the dirty log, and the hook by which a device's write reaches translated code.
 *
 * Example: `if (mem_read(vm->mem, gpa, &desc, sizeof(desc)) < 0) return -EFAULT;`
 *
 * Slots are added before the VM runs and do not change while it does (a later hot-plug takes the
 * vcpus out of their engines first), so readers take no lock. An access that touches anything but
 * RAM fails with -EFAULT as a whole; nothing is copied then.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include "base/types.h"

#define MEM_MAX_SLOTS 16

struct mem_slot {
	gpa_t gpa;      /* page-aligned */
	uint64_t size;  /* bytes, page-aligned */
	uint8_t *hva;
	bool read_only; /* ROM: guest writes go to the bus instead */
	bool apart;     /* the guest is not told of it as RAM; a device says what it is */
	bool lasting;   /* its bytes are somebody's, a file's for example: mem_discard() leaves them alone */
	/* Bit 0: the page holds translated code; bits 1..31: generation, bumped by every write to
	 * such a page. One word a page; owned by the engines that cache code (see mem_page_word). */
	_Atomic uint32_t *page_words;
	_Atomic uint64_t *dirty; /* one bit a page, or NULL when the dirty log is off */
};

struct mem {
	struct mem_slot slots[MEM_MAX_SLOTS]; /* sorted by gpa, disjoint */
	unsigned count;
	/* Called after somebody other than a vcpu wrote [gpa, gpa+len): device DMA, loaders.
	 * NULL until an engine that caches code sets it. */
	void (*written)(void *ctx, gpa_t gpa, uint64_t len);
	void *written_ctx;
	/* Optional: the host took the memory of [gpa, gpa+len) away and gives zeroed memory at the next touch. Called between that
	 * and written(), with the same ctx. */
	void (*discarded)(void *ctx, gpa_t gpa, uint64_t len);
};

/* Adds RAM at gpa backed by hva (owned by the caller, must outlive the VM; zeroed).
 * -EINVAL: unaligned, empty, wraps or overlaps. -ENOSPC: too many slots. -ENOMEM. */
int mem_add_slot(struct mem *mem, gpa_t gpa, uint64_t size, void *hva, bool read_only) must_check;
void mem_destroy(struct mem *mem); /* frees what mem_add_slot allocated, not the hva */

/* The slot that holds gpa, or NULL. */
struct mem_slot *mem_find(struct mem *mem, gpa_t gpa);

/* The host address of [gpa, gpa+len) if it lies inside one slot, else NULL. Whoever writes through
 * it calls mem_mark_written() afterwards. len may be 0. */
void *mem_hva(struct mem *mem, gpa_t gpa, uint64_t len);

/* The same for writing: NULL for ROM too. */
void *mem_hva_writable(struct mem *mem, gpa_t gpa, uint64_t len);

/* Copy in or out; ranges may span adjacent slots. 0 or -EFAULT. mem_write includes
 * mem_mark_written and refuses read-only slots. */
int mem_read(struct mem *mem, gpa_t gpa, void *buf, size_t len) must_check;
int mem_write(struct mem *mem, gpa_t gpa, const void *buf, size_t len) must_check;
int mem_fill(struct mem *mem, gpa_t gpa, uint8_t byte, uint64_t len) must_check;

/* Gives the host memory of [gpa, gpa+len) back: afterwards it reads as zeros and takes no memory until it is touched again, or is
 * zeroed where the host can't do that. Includes mem_mark_written. -EFAULT: not all of it is writable RAM that isn't lasting;
 * -EINVAL: not whole pages. */
int mem_discard(struct mem *mem, gpa_t gpa, uint64_t len) must_check;

/* A device or loader wrote [gpa, gpa+len) through mem_hva(): sets dirty bits, bumps the generation
 * of pages with translated code. */
void mem_mark_written(struct mem *mem, gpa_t gpa, uint64_t len);

/* The code word of gpa's page, or NULL outside RAM. */
_Atomic uint32_t *mem_page_word(struct mem *mem, gpa_t gpa);

/* Total RAM in bytes. */
uint64_t mem_size(const struct mem *mem);
/* That which the guest is told of as RAM when it starts: without slots that are apart. */
uint64_t mem_told_size(const struct mem *mem);

/* Dirty log; vcpus are out of their engines while it starts or stops. On allocates a clear bitmap (-ENOMEM); collect copies the bits of slot `index` into out
 * (one bit a page, (pages+63)/64 words, caller-owned) and clears them. */
int mem_dirty_start(struct mem *mem) must_check;
void mem_dirty_stop(struct mem *mem);
void mem_dirty_collect(struct mem *mem, unsigned index, uint64_t *out);

#endif
