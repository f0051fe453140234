/* See ram.h. Guards are installed as pages are first exposed: what a page needs are its two neighbours in the view. */
#include "engine/dbt/ram.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/lock.h"
#include "core/platform.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#define MARGIN MIB(2)

enum { VIEW_WRITE = 0, VIEW_READ = 2, VIEWS = 4 }; /* plus the parity of the page */

struct views {
	const struct mem_slot *slot;
	uint8_t *area[VIEWS];
	size_t area_size;
	uint8_t *base[VIEWS];       /* NULL: the slot has none (ROM) */
	_Atomic uint64_t *guarded[VIEWS]; /* bit: the page is a guard of this view */
	_Atomic uint64_t *exposed[VIEWS]; /* bit: the page's neighbours are guards */
	_Atomic uint64_t *protected_;
};

struct dbt_ram {
	struct lock lock;
	struct views views[MEM_MAX_SLOTS];
	unsigned count;
	uint8_t *nowhere;
};

static bool test(_Atomic uint64_t *bits, uint64_t i)
{
	return atomic_load_explicit(&bits[i / 64], memory_order_acquire) >> (i % 64) & 1;
}

static void set(_Atomic uint64_t *bits, uint64_t i)
{
	atomic_fetch_or(&bits[i / 64], 1ull << (i % 64));
}

static int fail(int r, char *why, size_t why_size)
{
	fmt_print(why, why_size,
		  r == -ENOSYS ? "this kernel has no guard pages in shared memory (Linux 6.15 has), which the dbt engine needs: "
				 "use the interp engine"
			       : "cannot map guest memory for translated code (error %d): raise the limit of address space "
				 "(ulimit -v) or use the interp engine", -r);
	return r;
}

static int views_create(struct views *v, const struct mem_slot *slot)
{
	uint64_t pages = slot->size >> PAGE_SHIFT;
	size_t words = (pages + 63) / 64 * sizeof(uint64_t);

	v->slot = slot;
	v->protected_ = platform_alloc(words);
	if (!v->protected_)
		return -ENOMEM;
	v->area_size = slot->size + 2 * MARGIN;
	for (unsigned i = 0; i < VIEWS; i++) {
		void *view;

		if (slot->read_only && i < VIEW_READ)
			continue;
		v->guarded[i] = platform_alloc(words);
		v->exposed[i] = platform_alloc(words);
		v->area[i] = mmap(NULL, v->area_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (v->area[i] == MAP_FAILED || !v->guarded[i] || !v->exposed[i])
			return -ENOMEM;
		/* Of size 0, a shared mapping is mapped a second time. */
		view = mremap(slot->hva, 0, slot->size, MREMAP_MAYMOVE | MREMAP_FIXED, v->area[i] + MARGIN);
		if (view == MAP_FAILED)
			return -EINVAL;
		v->base[i] = view;
		if (i >= VIEW_READ && mprotect(view, slot->size, PROT_READ) < 0)
			return -ENOMEM;
		madvise(view, slot->size, MADV_DONTDUMP);
	}
	return 0;
}

int dbt_ram_create(struct mem *mem, struct dbt_ram **out, char *why, size_t why_size)
{
	struct dbt_ram *ram = platform_alloc(sizeof(*ram));
	int r = 0;

	if (!ram)
		return fail(-ENOMEM, why, why_size);
	ram->nowhere = mmap(NULL, 3 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram->nowhere == MAP_FAILED) {
		platform_free(ram);
		return fail(-ENOMEM, why, why_size);
	}
	for (unsigned i = 0; r == 0 && i < mem->count; i++, ram->count++)
		r = views_create(&ram->views[i], &mem->slots[i]);
	/* Does the kernel know guards, here? */
	if (r == 0 && ram->count) {
		uint8_t *page = ram->views[0].base[VIEW_READ + 1];

		if (madvise(page, PAGE_SIZE, MADV_GUARD_INSTALL) < 0)
			r = -ENOSYS;
		else
			set(ram->views[0].guarded[VIEW_READ + 1], 0);
	}
	if (r < 0) {
		dbt_ram_destroy(ram);
		return fail(r, why, why_size);
	}
	*out = ram;
	return 0;
}

void dbt_ram_destroy(struct dbt_ram *ram)
{
	for (unsigned i = 0; i < ram->count; i++) {
		struct views *v = &ram->views[i];

		for (unsigned n = 0; n < VIEWS; n++) {
			if (v->area[n] && v->area[n] != MAP_FAILED)
				munmap(v->area[n], v->area_size);
			platform_free((void *)v->guarded[n]);
			platform_free((void *)v->exposed[n]);
		}
		platform_free((void *)v->protected_);
	}
	munmap(ram->nowhere, 3 * PAGE_SIZE);
	platform_free(ram);
}

static struct views *find(struct dbt_ram *ram, gpa_t gpa)
{
	for (unsigned i = 0; i < ram->count; i++) {
		if (gpa - ram->views[i].slot->gpa < ram->views[i].slot->size)
			return &ram->views[i];
	}
	return NULL;
}

static void guard(struct views *v, unsigned view, uint64_t page)
{
	if (page >= v->slot->size >> PAGE_SHIFT || test(v->guarded[view], page))
		return;
	if (madvise(v->base[view] + (page << PAGE_SHIFT), PAGE_SIZE, MADV_GUARD_INSTALL) == 0)
		set(v->guarded[view], page);
}

static uint8_t *view_of(struct dbt_ram *ram, gpa_t gpa, bool writable, bool ready_only)
{
	struct views *v = find(ram, gpa);
	uint64_t page;
	unsigned view;

	if (!v)
		return NULL;
	page = (gpa - v->slot->gpa) >> PAGE_SHIFT;
	view = (writable ? VIEW_WRITE : VIEW_READ) + (unsigned)(page & 1);
	if (!v->base[view] || (writable && test(v->protected_, page)))
		return NULL;
	if (!test(v->exposed[view], page)) {
		if (ready_only)
			return NULL;
		lock_take(&ram->lock);
		guard(v, view, page - 1);
		guard(v, view, page + 1);
		set(v->exposed[view], page);
		lock_release(&ram->lock);
	}
	return v->base[view] + (page << PAGE_SHIFT);
}

uint8_t *dbt_ram_view(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return view_of(ram, gpa, writable, false);
}

uint8_t *dbt_ram_view_ready(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return view_of(ram, gpa, writable, true);
}

static void set_protection(struct dbt_ram *ram, gpa_t gpa, bool on)
{
	struct views *v = find(ram, gpa);
	uint64_t page;
	uint8_t *at;

	if (!v || v->slot->read_only)
		return;
	page = (gpa - v->slot->gpa) >> PAGE_SHIFT;
	at = v->base[VIEW_WRITE + (page & 1)] + (page << PAGE_SHIFT);
	lock_take(&ram->lock);
	if (on && !test(v->protected_, page)) {
		set(v->protected_, page);
		madvise(at, PAGE_SIZE, MADV_GUARD_INSTALL);
	} else if (!on && test(v->protected_, page)) {
		madvise(at, PAGE_SIZE, MADV_GUARD_REMOVE);
		atomic_fetch_and(&v->protected_[page / 64], ~(1ull << (page % 64)));
	}
	lock_release(&ram->lock);
}

void dbt_ram_protect(struct dbt_ram *ram, gpa_t gpa)
{
	set_protection(ram, gpa, true);
}

void dbt_ram_unprotect(struct dbt_ram *ram, gpa_t gpa)
{
	set_protection(ram, gpa, false);
}

uint8_t *dbt_ram_nowhere(struct dbt_ram *ram)
{
	return ram->nowhere + PAGE_SIZE;
}
