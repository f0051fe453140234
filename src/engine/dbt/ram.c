/* See ram.h.
 *
 * Each slot has up to four views, between margins that nothing of ours may touch:
 *
 *     | even pages | margin | odd pages | margin | regions | margin |
 *
 * once to read and once to write. The regions have 2 MiB, and as much nobody's between them, for what the guest maps by large
 * pages: within one the next page is the next page, so only the ends need a guard, and the host's TLB needs one entry.
 *
 * Where these lie tells what they are for: nowhere first, then what all slots have to read, then what they have to write.
 *
 * What a page costs when it is first used decides how fast a guest boots. Measured (Linux 6.18 in a virtual machine on
 * an EPYC; 128 MiB, by page):
 *
 *     guards by madvise() each                       0.70 us    by process_madvise(): 8 in a call  0.46 us
 *                                                               32: 0.40, 256: 0.38, 512: 0.38
 *     a contiguous range of guards, to be removed     0.02 us    removing every second one: 0.77, in vectors 0.38
 *     first touch of a shared page ever              3.0 us     same with MADV_POPULATE_WRITE of 2 MiB, or fallocate
 *       after MADV_COLLAPSE of its 2 MiB             0.24 us    the call included; works where shmem_enabled is "never"
 *     mapping an existing page in a view: by a write  1.2 us     by MADV_POPULATE_WRITE: 1.4 each, 1.0 in vectors
 *       by a read                                    0.43 us    the kernel maps those around it too, writable at once
 *     mapping all pages first, guards over them       0.3 us for each page and 1.5 for each guard
 *
 * So: the first use of 2 MiB collapses them into one huge page; the first use of a window of a view installs all its
 * guards in one call and reads one page. Later uses of the window make no system call. Debian's kernel up to a command
 * (512 MiB, median of 7 on a busy host), user and system time: 1.52 s with windows of 2 MiB, 1.60 s of 256 KiB, 1.81 s of
 * 64 KiB; 1.61 s with 2 MiB and nothing collapsed; 1.99 s with guards two pages at a time. Large windows win because more of
 * a page's neighbours can get their entries with it (dbt_ram_view_ready).
 *
 * Several threads may do that for one window at once: it is all idempotent, so no lock is needed. Guards between
 * pages and protected pages never meet: a guard's page is of the other parity than its view, a protected page of the same.
 *
 * Huge pages are put together by the kernel below the views' feet, and it may drop page tables of shared memory for that:
 * not those with guards, as test_guards_survive_collapse makes sure.
 */
#include "engine/dbt/ram.h"
#include "base/checked.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/lock.h"
#include "core/platform.h"
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000)
#endif

#define MARGIN       MIB(2)
#define HUGE_SHIFT   21
#define HUGE_SIZE    (UINT64_C(1) << HUGE_SHIFT)
#define REGION_STEP  (2 * HUGE_SIZE)
#define REGIONS_MAX  8192 /* mapped: each is a mapping of the 65,530 that Linux grants a process by default */
#define WINDOW_SHIFT 21 /* the part of a view whose guards are installed together */
#define WINDOW_PAGES (1u << (WINDOW_SHIFT - PAGE_SHIFT))

enum { VIEW_WRITE = 0, VIEW_READ = 2, VIEWS = 4 }; /* plus the parity of the page */

struct views {
	const struct mem_slot *slot;
	uint64_t pages;
	uint8_t *base[VIEWS];             /* NULL: the slot has none (ROM) */
	_Atomic uint64_t *ready[VIEWS];   /* one bit a window: its guards are in place */
	uint8_t *regions[2];              /* to write, to read; the first region is HUGE_SIZE behind it */
	_Atomic uint64_t *mapped[2];      /* one bit a region */
	_Atomic uint64_t *collapsed;      /* one bit for each HUGE_SIZE: was tried */
	_Atomic uint64_t *protected_pages; /* one bit a page; written under the lock */
	_Atomic bool no_writing;          /* a page could not be protected: the writable views are gone */
};

struct dbt_ram {
	struct lock lock; /* of protecting, unprotecting and mapping regions */
	unsigned regions; /* mapped */
	struct views views[MEM_MAX_SLOTS];
	unsigned count;
	uint8_t *area; /* holds nowhere and all views */
	size_t area_size;
	_Atomic uint64_t parts[2]; /* windows that were made ready: to read, to write */
	_Atomic uint64_t protections;
	uint8_t *read_begin, *write_begin; /* of what can be read, and written, by views and regions */
};

static bool bit_test(_Atomic uint64_t *bits, uint64_t i)
{
	return atomic_load_explicit(&bits[i / 64], memory_order_acquire) >> (i % 64) & 1;
}

/* Was it set before? */
static bool bit_set(_Atomic uint64_t *bits, uint64_t i)
{
	return atomic_fetch_or(&bits[i / 64], UINT64_C(1) << (i % 64)) >> (i % 64) & 1;
}

static void bit_clear(_Atomic uint64_t *bits, uint64_t i)
{
	atomic_fetch_and(&bits[i / 64], ~(UINT64_C(1) << (i % 64)));
}

static _Atomic uint64_t *bits_alloc(uint64_t bytes, unsigned shift)
{
	return platform_alloc((size_t)((bytes >> shift) / 64 + 1) * sizeof(uint64_t));
}

static int fail(int r, char *why, size_t why_size)
{
	if (r == -ENOSYS)
		fmt_print(why, why_size, "this kernel has no guard pages in shared memory, which the dbt engine needs: "
			  "use Linux 6.15 or later, or --engine interp");
	else if (r == -EINVAL)
		fmt_print(why, why_size, "guest memory is not a shared mapping, as the dbt engine needs it");
	else
		fmt_print(why, why_size, "cannot map guest memory for translated code: raise the limit of address space "
			  "(ulimit -v), give the guest less with --memory, or use --engine interp");
	return r;
}

int dbt_ram_probe(char *why, size_t why_size)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int r;

	if (page == MAP_FAILED)
		return fail(-ENOMEM, why, why_size);
	r = madvise(page, PAGE_SIZE, MADV_GUARD_INSTALL);
	munmap(page, PAGE_SIZE);
	return r < 0 ? fail(-ENOSYS, why, why_size) : 0;
}

static int view_map(struct views *v, unsigned index, uint8_t *at)
{
	const struct mem_slot *slot = v->slot;
	int protection = index < VIEW_READ ? PROT_READ | PROT_WRITE : PROT_READ;

	v->ready[index] = bits_alloc(slot->size, WINDOW_SHIFT);
	if (!v->ready[index])
		return -ENOMEM;
	/* Of size 0, a shared mapping is mapped a second time. */
	if (mremap(slot->hva, 0, slot->size, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
		return errno == EINVAL ? -EINVAL : -ENOMEM;
	if (mprotect(at, slot->size, protection) < 0)
		return -ENOMEM;
	/* Advice: works without as well. */
	madvise(at, slot->size, MADV_DONTDUMP);
	v->base[index] = at;
	return 0;
}

/* What a slot takes for reading, and as much for writing: its two views, and its regions. False: more than there can be. Views start
 * at HUGE_SIZE as the slot does, which keeps their page tables few; a margin more for that. */
static bool layout(const struct mem_slot *slot, uint64_t *step, uint64_t *row)
{
	if (add_overflow(slot->size, MARGIN + HUGE_SIZE - 1, step) || *step > UINT64_MAX / 256)
		return false;
	*step &= ~(HUGE_SIZE - 1);
	*row = (slot->size >> HUGE_SHIFT) * REGION_STEP + HUGE_SIZE;
	return true;
}

/* What is to be read, or written, from `at` on. Nothing is undone on failure: dbt_ram_destroy() does. */
static int views_map(struct views *v, bool writable, uint8_t *at, uint64_t step)
{
	unsigned first = writable ? VIEW_WRITE : VIEW_READ;

	for (unsigned i = 0; i < 2 && !(writable && v->slot->read_only); i++) {
		int r = view_map(v, first + i, at + i * step);

		if (r < 0)
			return r;
	}
	v->regions[!writable] = at + 2 * step;
	v->mapped[!writable] = bits_alloc(v->slot->size, HUGE_SHIFT);
	if (!v->mapped[!writable])
		return -ENOMEM;
	/* Does the kernel know guards, here? The page is one of them anyway. */
	return !writable && madvise(v->base[VIEW_READ + 1], PAGE_SIZE, MADV_GUARD_INSTALL) < 0 ? -ENOSYS : 0;
}

static int views_create(struct views *v, const struct mem_slot *slot)
{
	v->slot = slot;
	v->pages = slot->size >> PAGE_SHIFT;
	v->collapsed = bits_alloc(slot->size, HUGE_SHIFT);
	v->protected_pages = bits_alloc(slot->size, PAGE_SHIFT);
	return v->collapsed && v->protected_pages ? 0 : -ENOMEM;
}

/* All views, nowhere before them. */
static int map_all(struct dbt_ram *ram)
{
	uint64_t size = 3 * PAGE_SIZE + MARGIN + HUGE_SIZE, step, row;
	uint8_t *at;
	void *area;

	for (unsigned i = 0; i < ram->count; i++) {
		if (!layout(ram->views[i].slot, &step, &row) || add_overflow(size, 2 * (2 * step + row), &size))
			return -ENOMEM;
	}
	area = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -ENOMEM;
	ram->area = area;
	ram->area_size = size;
	at = ram->area + 3 * PAGE_SIZE + MARGIN;
	at += -(uintptr_t)at & (HUGE_SIZE - 1);
	ram->read_begin = at;
	for (unsigned writable = 0; writable < 2; writable++) {
		if (writable)
			ram->write_begin = at;
		for (unsigned i = 0; i < ram->count; i++) {
			int r;

			if (!layout(ram->views[i].slot, &step, &row))
				return -ENOMEM;
			r = views_map(&ram->views[i], writable, at, step);
			if (r < 0)
				return r;
			at += 2 * step + row;
		}
	}
	return 0;
}

static void views_destroy(struct views *v)
{
	for (unsigned i = 0; i < VIEWS; i++)
		platform_free((void *)v->ready[i]);
	for (unsigned i = 0; i < 2; i++)
		platform_free((void *)v->mapped[i]);
	platform_free((void *)v->collapsed);
	platform_free((void *)v->protected_pages);
}

int dbt_ram_create(struct mem *mem, struct dbt_ram **out, char *why, size_t why_size)
{
	struct dbt_ram *ram = platform_alloc(sizeof(*ram));
	int r = 0;

	if (!ram)
		return fail(-ENOMEM, why, why_size);
	while (r == 0 && ram->count < mem->count) {
		r = views_create(&ram->views[ram->count], &mem->slots[ram->count]);
		ram->count++;
	}
	if (r == 0)
		r = map_all(ram);
	if (r < 0) {
		dbt_ram_destroy(ram);
		return fail(r, why, why_size);
	}
	*out = ram;
	return 0;
}

void dbt_ram_destroy(struct dbt_ram *ram)
{
	if (!ram)
		return;
	for (unsigned i = 0; i < ram->count; i++)
		views_destroy(&ram->views[i]);
	if (ram->area)
		munmap(ram->area, ram->area_size);
	platform_free(ram);
}

static struct views *find(struct dbt_ram *ram, gpa_t gpa)
{
	for (unsigned i = 0; i < ram->count; i++)
		if (gpa - ram->views[i].slot->gpa < ram->views[i].slot->size)
			return &ram->views[i];
	return NULL;
}

/* One huge page for what is used for the first time, and so one allocation. Where the host will not, RAM comes by the
 * page. */
static void collapse(struct views *v, uint64_t page)
{
	uint64_t at = page >> (HUGE_SHIFT - PAGE_SHIFT);
	uint8_t *hva = v->slot->hva + (at << HUGE_SHIFT);

	if (bit_test(v->collapsed, at) || bit_set(v->collapsed, at))
		return;
	if (v->slot->read_only || ((uintptr_t)hva & (HUGE_SIZE - 1)) || v->slot->size - (at << HUGE_SHIFT) < HUGE_SIZE)
		return;
	/* It collapses no range in which there is nothing yet. */
	if (madvise(hva, PAGE_SIZE, MADV_POPULATE_READ) == 0)
		madvise(hva, HUGE_SIZE, MADV_COLLAPSE);
}

static bool guard_all(const struct iovec *guards, unsigned count)
{
	if (process_madvise(PIDFD_SELF, guards, count, MADV_GUARD_INSTALL, 0) == (ssize_t)count * PAGE_SIZE)
		return true;
	/* A container's seccomp filter may forbid the vector. */
	for (unsigned i = 0; i < count; i++)
		if (madvise(guards[i].iov_base, PAGE_SIZE, MADV_GUARD_INSTALL) < 0)
			return false;
	return true;
}

/* Makes every page of the other parity in the window a guard, and those next to its ends. */
static bool install_guards(struct views *v, unsigned view, uint64_t window)
{
	struct iovec guards[WINDOW_PAGES / 2 + 1];
	uint64_t page = (window << (WINDOW_SHIFT - PAGE_SHIFT)) - 1 + (view & 1);
	unsigned count = 0;

	/* An even view's first guard lies before the window (for page 0 that is the margin), an odd view's last behind it. */
	for (unsigned i = 0; i < ARRAY_SIZE(guards); i++, page += 2)
		if (page < v->pages)
			guards[count++] = (struct iovec){v->base[view] + (page << PAGE_SHIFT), PAGE_SIZE};
	return guard_all(guards, count);
}

static uint8_t *view_of(struct dbt_ram *ram, gpa_t gpa, bool writable, bool ready_only)
{
	struct views *v = find(ram, gpa);
	uint64_t page, window;
	uint8_t *at;
	unsigned view;

	if (!v)
		return NULL;
	page = (gpa - v->slot->gpa) >> PAGE_SHIFT;
	window = page >> (WINDOW_SHIFT - PAGE_SHIFT);
	view = (writable ? VIEW_WRITE : VIEW_READ) + (unsigned)(page & 1);
	if (!v->base[view])
		return NULL;
	if (writable && (bit_test(v->protected_pages, page) || atomic_load_explicit(&v->no_writing, memory_order_relaxed)))
		return NULL;
	at = v->base[view] + (page << PAGE_SHIFT);
	if (bit_test(v->ready[view], window))
		return at;
	if (ready_only)
		return NULL;
	collapse(v, page);
	if (!install_guards(v, view, window))
		return NULL;
	if (!bit_set(v->ready[view], window))
		atomic_fetch_add_explicit(&ram->parts[writable], 1, memory_order_relaxed);
	/* Advice: a read maps the pages around as well. */
	madvise(at, PAGE_SIZE, MADV_POPULATE_READ);
	return at;
}

uint8_t *dbt_ram_view(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return view_of(ram, gpa, writable, false);
}

uint8_t *dbt_ram_view_ready(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return view_of(ram, gpa, writable, true);
}

static uint8_t *region_address(const struct views *v, bool writable, uint64_t region)
{
	return v->regions[!writable] + region * REGION_STEP + HUGE_SIZE;
}

static bool guard(uint8_t *page)
{
	return madvise(page, PAGE_SIZE, MADV_GUARD_INSTALL) == 0;
}

/* Under the lock. */
static bool region_map(struct dbt_ram *ram, struct views *v, uint64_t region, bool writable)
{
	uint8_t *at = region_address(v, writable, region);
	uint64_t page = region << (HUGE_SHIFT - PAGE_SHIFT), end = page + (HUGE_SIZE >> PAGE_SHIFT);
	uint8_t *first = at - (page << PAGE_SHIFT);

	if (ram->regions == REGIONS_MAX)
		return false;
	collapse(v, page);
	if (mremap(v->slot->hva + (region << HUGE_SHIFT), 0, HUGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
		return false;
	/* Advice. */
	madvise(at, HUGE_SIZE, MADV_DONTDUMP);
	for (; writable && page < end; page++) {
		if (bit_test(v->protected_pages, page) && !guard(first + (page << PAGE_SHIFT)))
			goto undo;
	}
	if (!writable && mprotect(at, HUGE_SIZE, PROT_READ) < 0)
		goto undo;
	ram->regions++;
	bit_set(v->mapped[!writable], region);
	return true;
undo:
	BUG_ON(mprotect(at, HUGE_SIZE, PROT_NONE) < 0);
	return false;
}

uint8_t *dbt_ram_region(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	struct views *v = find(ram, gpa);
	uint64_t region;
	bool mapped;

	if (!v || v->slot->read_only || ((gpa - v->slot->gpa) & (HUGE_SIZE - 1)) || gpa - v->slot->gpa > v->slot->size - HUGE_SIZE ||
	    v->slot->size < HUGE_SIZE || (writable && atomic_load_explicit(&v->no_writing, memory_order_relaxed)))
		return NULL;
	region = (gpa - v->slot->gpa) >> HUGE_SHIFT;
	mapped = bit_test(v->mapped[!writable], region);
	if (!mapped) {
		lock_take(&ram->lock);
		mapped = bit_test(v->mapped[!writable], region) || region_map(ram, v, region, writable);
		lock_release(&ram->lock);
	}
	return mapped ? region_address(v, writable, region) : NULL;
}

bool dbt_ram_protected(struct dbt_ram *ram, gpa_t gpa)
{
	struct views *v = find(ram, gpa);

	return v && bit_test(v->protected_pages, (gpa - v->slot->gpa) >> PAGE_SHIFT);
}

/* The kernel had no memory for a guard: then nobody writes through the views any more. Slow, and right. */
static void stop_writing(struct views *v)
{
	atomic_store(&v->no_writing, true);
	for (unsigned i = VIEW_WRITE; i < VIEW_READ; i++)
		BUG_ON(mprotect(v->base[i], v->slot->size, PROT_NONE) < 0);
	for (uint64_t region = 0; region < v->slot->size >> HUGE_SHIFT; region++) {
		if (bit_test(v->mapped[0], region))
			BUG_ON(mprotect(region_address(v, true, region), HUGE_SIZE, PROT_NONE) < 0);
	}
}

static void set_protection(struct dbt_ram *ram, gpa_t gpa, bool on)
{
	struct views *v = find(ram, gpa);
	uint64_t page, region;
	uint8_t *at, *also = NULL;

	if (!v || !v->base[VIEW_WRITE])
		return;
	page = (gpa - v->slot->gpa) >> PAGE_SHIFT;
	region = page >> (HUGE_SHIFT - PAGE_SHIFT);
	at = v->base[VIEW_WRITE + (page & 1)] + (page << PAGE_SHIFT);
	lock_take(&ram->lock);
	if (bit_test(v->mapped[0], region))
		also = region_address(v, true, region) + ((page << PAGE_SHIFT) & (HUGE_SIZE - 1));
	if (on && !bit_set(v->protected_pages, page)) {
		/* Who got the address before it finds a guard there when this returns. */
		if (!guard(at) || (also && !guard(also)))
			stop_writing(v);
	} else if (!on && bit_test(v->protected_pages, page)) {
		/* What cannot be opened stays protected. */
		if (madvise(at, PAGE_SIZE, MADV_GUARD_REMOVE) == 0 && (!also || madvise(also, PAGE_SIZE, MADV_GUARD_REMOVE) == 0))
			bit_clear(v->protected_pages, page);
	}
	lock_release(&ram->lock);
}

void dbt_ram_protect(struct dbt_ram *ram, gpa_t gpa)
{
	if (!dbt_ram_protected(ram, gpa))
		atomic_fetch_add_explicit(&ram->protections, 1, memory_order_relaxed);
	set_protection(ram, gpa, true);
}

void dbt_ram_unprotect(struct dbt_ram *ram, gpa_t gpa)
{
	set_protection(ram, gpa, false);
}

/* Does a guard of the page belong to a window that is in use? It lies in the page's own or, at its ends, in a neighbour's. */
static bool guard_in_use(const struct views *v, unsigned view, uint64_t page)
{
	uint64_t before = page ? page - 1 : page, behind = page + 1 < v->pages ? page + 1 : page;
	const unsigned shift = WINDOW_SHIFT - PAGE_SHIFT;

	return bit_test(v->ready[view], before >> shift) || bit_test(v->ready[view], behind >> shift);
}

static void restore_guards(struct views *v, unsigned view, uint64_t first, uint64_t end)
{
	struct iovec guards[WINDOW_PAGES / 2];
	unsigned count = 0;

	/* Those are the pages of the other parity. */
	for (uint64_t page = first + ((first ^ view ^ 1) & 1); page < end; page += 2) {
		if (guard_in_use(v, view, page))
			guards[count++] = (struct iovec){v->base[view] + (page << PAGE_SHIFT), PAGE_SIZE};
		if (count == ARRAY_SIZE(guards) || (count && page + 2 >= end)) {
			/* A page table that has no room for a guard is a host without memory: nobody touches the view then. */
			if (!guard_all(guards, count))
				BUG_ON(mprotect(v->base[view], v->slot->size, PROT_NONE) < 0);
			count = 0;
		}
	}
}

static void restore_protection(struct views *v, uint64_t page)
{
	uint64_t region = page >> (HUGE_SHIFT - PAGE_SHIFT);

	if (!bit_test(v->protected_pages, page))
		return;
	if (!guard(v->base[VIEW_WRITE + (page & 1)] + (page << PAGE_SHIFT)) ||
	    (bit_test(v->mapped[0], region) &&
	     !guard(region_address(v, true, region) + ((page << PAGE_SHIFT) & (HUGE_SIZE - 1)))))
		stop_writing(v);
}

void dbt_ram_discarded(struct dbt_ram *ram, gpa_t gpa, uint64_t len)
{
	struct views *v;
	uint64_t first, count;

	for (; len; gpa += count << PAGE_SHIFT, len -= count << PAGE_SHIFT) {
		count = 1;
		v = find(ram, gpa);
		if (!v || !v->base[VIEW_WRITE])
			continue;
		first = (gpa - v->slot->gpa) >> PAGE_SHIFT;
		count = v->pages - first < len >> PAGE_SHIFT ? v->pages - first : len >> PAGE_SHIFT;
		lock_take(&ram->lock);
		for (unsigned view = 0; view < VIEWS; view++)
			restore_guards(v, view, first, first + count);
		for (uint64_t page = first; page < first + count; page++)
			restore_protection(v, page);
		lock_release(&ram->lock);
	}
}

struct dbt_ram_counts dbt_ram_counts(const struct dbt_ram *ram)
{
	return (struct dbt_ram_counts){
		.read_parts = atomic_load_explicit(&ram->parts[0], memory_order_relaxed),
		.write_parts = atomic_load_explicit(&ram->parts[1], memory_order_relaxed),
		.regions = __atomic_load_n(&ram->regions, __ATOMIC_RELAXED),
		.protections = atomic_load_explicit(&ram->protections, memory_order_relaxed),
	};
}

uint8_t *dbt_ram_nowhere(struct dbt_ram *ram)
{
	return ram->area + PAGE_SIZE;
}

uintptr_t dbt_ram_begin(struct dbt_ram *ram, bool writable)
{
	return (uintptr_t)(writable ? ram->write_begin : ram->read_begin);
}
