/* Views of guest RAM for translated code: guards around every page, coherence, protection, ROM.
 *
 * Example: `meson test -C build --suite unit dbt_ram`
 */
#include "base/errno.h"
#include "engine/dbt/ram.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define RAM_SIZE  MIB(8)
#define HIGH      GIB(4)
#define HIGH_SIZE (MIB(1) + 3 * PAGE_SIZE) /* not aligned to anything */
#define ROM       (GIB(4) - MIB(1))
#define ROM_SIZE  (16 * PAGE_SIZE)

/* ---- accesses that may fault ---- */

static _Thread_local sigjmp_buf recover;

static void on_fault(int signal)
{
	siglongjmp(recover, signal);
}

static void catch_faults(void)
{
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

/* One access of len bytes, as translated code makes it: by general registers, by vectors if the host has them, else by a
 * string instruction. What it writes is anything. */
static __attribute__((noinline)) void access_memory(uint8_t *at, unsigned len, bool write)
{
	uint8_t buffer[64] = {0};
	uint8_t *from = write ? buffer : at, *to = write ? at : buffer;
	uint64_t value = 0;
	size_t count = len;

	if (len == 2 && write)
		__asm__ volatile("movw %w1, (%0)" : : "r"(at), "r"(value) : "memory");
	else if (len == 2)
		__asm__ volatile("movw (%1), %w0" : "=r"(value) : "r"(at) : "memory");
	else if (len == 4 && write)
		__asm__ volatile("movl %k1, (%0)" : : "r"(at), "r"(value) : "memory");
	else if (len == 4)
		__asm__ volatile("movl (%1), %k0" : "=r"(value) : "r"(at) : "memory");
	else if (len == 8 && write)
		__asm__ volatile("movq %1, (%0)" : : "r"(at), "r"(value) : "memory");
	else if (len == 8)
		__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(at) : "memory");
	else if (len == 16 && write)
		__asm__ volatile("movups %%xmm0, (%0)" : : "r"(at) : "memory");
	else if (len == 16)
		__asm__ volatile("movups (%0), %%xmm0" : : "r"(at) : "memory", "xmm0");
	else if (len == 32 && __builtin_cpu_supports("avx") && write)
		__asm__ volatile("vmovups %%ymm0, (%0)" : : "r"(at) : "memory");
	else if (len == 32 && __builtin_cpu_supports("avx"))
		__asm__ volatile("vmovups (%0), %%ymm0" : : "r"(at) : "memory", "xmm0");
	else
		__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
}

static bool faults(uint8_t *at, unsigned len, bool write)
{
	if (sigsetjmp(recover, 0))
		return true;
	access_memory(at, len, write);
	return false;
}

static bool byte_faults(uint8_t *at, bool write)
{
	return faults(at, 1, write);
}

/* ---- a machine's memory ---- */

struct machine {
	struct mem mem;
	struct dbt_ram *ram;
	struct {
		void *base;
		size_t size;
	} maps[3];
	unsigned count;
	char why[256];
};

static uint8_t *add(struct machine *m, gpa_t gpa, uint64_t size, bool read_only, int kind)
{
	uint8_t *base = mmap(NULL, size + MIB(4), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *hva;

	assert_true(base != MAP_FAILED);
	hva = base + MIB(2) + (-(uintptr_t)base & (MIB(2) - 1));
	hva = mmap(hva, size, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	assert_true(hva != MAP_FAILED);
	assert_int_equal(mem_add_slot(&m->mem, gpa, size, hva, read_only), 0);
	m->maps[m->count].base = base;
	m->maps[m->count++].size = size + MIB(4);
	return hva;
}

static void drop(struct machine *m)
{
	dbt_ram_destroy(m->ram);
	mem_destroy(&m->mem);
	while (m->count > 0) {
		m->count--;
		munmap(m->maps[m->count].base, m->maps[m->count].size);
	}
}

static int setup(void **state)
{
	static struct machine machine; /* of the test that runs */
	struct machine *m = &machine;

	*m = (struct machine){0};
	add(m, 0, RAM_SIZE, false, MAP_SHARED);
	add(m, HIGH, HIGH_SIZE, false, MAP_SHARED);
	memset(add(m, ROM, ROM_SIZE, true, MAP_SHARED), 0xf4, ROM_SIZE);
	int r = dbt_ram_create(&m->mem, &m->ram, m->why, sizeof(m->why));
	if (r == -ENOSYS) {
		print_message("%s\n", m->why);
		skip();
	}
	assert_int_equal(r, 0);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	drop(*state);
	return 0;
}

/* cmocka has handlers of its own until the test runs. */
static struct machine *begin(void **state)
{
	catch_faults();
	return *state;
}

/* ---- guards ---- */

static const unsigned lengths[] = {2, 3, 4, 8, 16, 32, 64};

/* All accesses of these lengths that leave the page at either end fault, those that touch its ends from inside don't. */
static void check_ends(uint8_t *page, bool writable)
{
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		unsigned len = lengths[i];

		for (unsigned write = 0; write <= 1; write++) {
			for (unsigned over = 1; over < len; over++) {
				assert_true(faults(page - over, len, write));
				assert_true(faults(page + PAGE_SIZE - (len - over), len, write));
			}
			assert_int_equal(faults(page, len, write), write && !writable);
			assert_int_equal(faults(page + PAGE_SIZE - len, len, write), write && !writable);
		}
	}
	/* An addend serves up to a page away. */
	assert_true(byte_faults(page - PAGE_SIZE, false));
	assert_true(byte_faults(page + 2 * PAGE_SIZE - 1, false));
}

static void check_page(struct machine *m, gpa_t gpa)
{
	for (unsigned writable = 0; writable <= 1; writable++) {
		uint8_t *view = dbt_ram_view(m->ram, gpa, writable);

		assert_non_null(view);
		assert_int_equal((uintptr_t)view % PAGE_SIZE, 0);
		check_ends(view, writable);
	}
}

static void test_guards(void **state)
{
	struct machine *m = begin(state);
	/* First and last pages of whatever is done together, of the slot, and some between. */
	static const unsigned pages[] = {0, 1, 2, 7, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 511, 512, 513, 1023, 1024,
					 1500, 1777, 2046, 2047};

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		check_page(m, (gpa_t)pages[i] * PAGE_SIZE);
	for (gpa_t at = 0; at < HIGH_SIZE; at += PAGE_SIZE)
		check_page(m, HIGH + at);
}

/* Each page is the first to be used of all. */
static void test_guards_first(void **state)
{
	static const unsigned pages[] = {0, 1, 62, 63, 64, 65, 511, 512, 2046, 2047};

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		struct machine *m = begin(state);

		check_page(m, (gpa_t)pages[i] * PAGE_SIZE);
		teardown(state);
		setup(state);
	}
}

/* Whole views: a page that was exposed stands alone in it, whatever the order was. */
static void test_guards_all(void **state)
{
	struct machine *m = begin(state);
	unsigned pages = RAM_SIZE / PAGE_SIZE;

	for (unsigned i = 0; i < pages; i++)
		assert_non_null(dbt_ram_view(m->ram, (i * 1021ull % pages) * PAGE_SIZE, i & 1));
	for (unsigned i = 0; i < pages; i++) {
		for (unsigned writable = 0; writable <= 1; writable++) {
			uint8_t *view = dbt_ram_view(m->ram, (gpa_t)i * PAGE_SIZE, writable);

			assert_false(byte_faults(view, writable));
			assert_true(byte_faults(view - 1, false));
			assert_true(byte_faults(view + PAGE_SIZE, false));
		}
	}
}

static void test_margins(void **state)
{
	struct machine *m = begin(state);
	static const gpa_t slots[] = {0, HIGH, ROM};
	static const uint64_t sizes[] = {RAM_SIZE, HIGH_SIZE, ROM_SIZE};

	for (unsigned s = 0; s < ARRAY_SIZE(slots); s++) {
		for (unsigned view = 0; view < 4; view++) {
			uint8_t *at = dbt_ram_view(m->ram, slots[s] + (view & 1) * PAGE_SIZE, view & 2);

			if (!at)
				continue;
			at -= (view & 1) * PAGE_SIZE;
			for (uint64_t over = 1; over <= MIB(2); over += PAGE_SIZE - 1) {
				assert_true(byte_faults(at - over, false));
				assert_true(byte_faults(at + sizes[s] + over - 1, false));
			}
		}
	}
}

/* What the kernel does on its own where it makes huge pages of shared memory. */
static void test_guards_survive_collapse(void **state)
{
	struct machine *m = begin(state);
	uint8_t *hva = mem_hva(&m->mem, 0, RAM_SIZE), *stale;

	for (gpa_t at = 0; at < MIB(4); at += PAGE_SIZE) {
		hva[at] = (uint8_t)(at >> PAGE_SHIFT);
		assert_non_null(dbt_ram_view(m->ram, at, true));
		assert_non_null(dbt_ram_view(m->ram, at, false));
	}
	stale = dbt_ram_view(m->ram, 5 * PAGE_SIZE, true);
	dbt_ram_protect(m->ram, 5 * PAGE_SIZE);
	/* Make small pages of them, first. */
	assert_int_equal(madvise(hva + MIB(1), MIB(2), MADV_REMOVE), 0);
	for (gpa_t at = MIB(1); at < MIB(3); at += PAGE_SIZE)
		hva[at] = (uint8_t)(at >> PAGE_SHIFT);
	if (madvise(hva, MIB(4), MADV_COLLAPSE) < 0)
		print_message("this kernel collapses nothing\n");
	assert_true(byte_faults(stale, true));
	for (gpa_t at = 0; at < MIB(4); at += PAGE_SIZE) {
		for (unsigned writable = 0; writable <= 1; writable++) {
			uint8_t *view = dbt_ram_view(m->ram, at, writable);

			if (at == 5 * PAGE_SIZE && writable)
				continue;
			assert_int_equal(*view, (uint8_t)(at >> PAGE_SHIFT));
			assert_true(byte_faults(view - 1, writable));
			assert_true(byte_faults(view + PAGE_SIZE, writable));
		}
	}
}

static void test_nowhere(void **state)
{
	struct machine *m = begin(state);
	uint8_t *nowhere = dbt_ram_nowhere(m->ram);

	assert_int_equal((uintptr_t)nowhere % PAGE_SIZE, 0);
	for (int at = -(int)PAGE_SIZE; at < 2 * (int)PAGE_SIZE; at += 64) {
		assert_true(byte_faults(nowhere + at, false));
		assert_true(byte_faults(nowhere + at, true));
	}
}

/* ---- what is seen through views ---- */

static void test_coherent(void **state)
{
	struct machine *m = begin(state);

	for (unsigned page = 0; page < 40; page++) {
		gpa_t gpa = (page & 1 ? HIGH : 0) + page * PAGE_SIZE;
		uint8_t *hva = mem_hva(&m->mem, gpa, PAGE_SIZE);
		volatile uint8_t *w = dbt_ram_view(m->ram, gpa, true), *r = dbt_ram_view(m->ram, gpa, false);

		assert_int_equal(*r, 0);
		w[page] = (uint8_t)(page + 1);
		assert_int_equal(hva[page], page + 1);
		assert_int_equal(r[page], page + 1);
		hva[4095] = (uint8_t)(page + 2);
		assert_int_equal(w[4095], page + 2);
		assert_int_equal(r[4095], page + 2);
	}
}

static void test_outside(void **state)
{
	struct machine *m = begin(state);
	static const gpa_t none[] = {RAM_SIZE, ROM - PAGE_SIZE, ROM + ROM_SIZE, HIGH + HIGH_SIZE, HIGH - PAGE_SIZE,
				     UINT64_MAX & PAGE_MASK, UINT64_C(1) << 52};

	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		assert_null(dbt_ram_view(m->ram, none[i], false));
		assert_null(dbt_ram_view(m->ram, none[i], true));
		assert_null(dbt_ram_view_ready(m->ram, none[i], false));
		dbt_ram_protect(m->ram, none[i]);
		dbt_ram_unprotect(m->ram, none[i]);
	}
	/* Any byte of a page stands for it. */
	assert_ptr_equal(dbt_ram_view(m->ram, 0x3fff, false), dbt_ram_view(m->ram, 0x3000, false));
}

static void test_rom(void **state)
{
	struct machine *m = begin(state);

	for (gpa_t gpa = ROM; gpa < ROM + ROM_SIZE; gpa += PAGE_SIZE) {
		uint8_t *view = dbt_ram_view(m->ram, gpa, false);

		assert_null(dbt_ram_view(m->ram, gpa, true));
		assert_non_null(view);
		assert_int_equal(view[100], 0xf4);
		check_ends(view, false);
		dbt_ram_protect(m->ram, gpa);
		dbt_ram_unprotect(m->ram, gpa);
		assert_null(dbt_ram_view(m->ram, gpa, true));
	}
}

static void test_ready(void **state)
{
	struct machine *m = begin(state);

	for (unsigned writable = 0; writable <= 1; writable++) {
		uint8_t *view;

		assert_null(dbt_ram_view_ready(m->ram, MIB(4), writable));
		view = dbt_ram_view(m->ram, MIB(4), writable);
		assert_ptr_equal(dbt_ram_view_ready(m->ram, MIB(4), writable), view);
		assert_null(dbt_ram_view_ready(m->ram, MIB(6), writable));
		/* What comes for nothing is guarded as well. */
		for (gpa_t gpa = MIB(2); gpa < MIB(6); gpa += PAGE_SIZE) {
			view = dbt_ram_view_ready(m->ram, gpa, writable);
			if (!view)
				continue;
			assert_true(byte_faults(view - 1, false));
			assert_true(byte_faults(view + PAGE_SIZE, false));
		}
	}
	dbt_ram_protect(m->ram, MIB(4));
	assert_null(dbt_ram_view_ready(m->ram, MIB(4), true));
	assert_non_null(dbt_ram_view_ready(m->ram, MIB(4), false));
}

/* ---- protected pages ---- */

static void test_protect(void **state)
{
	struct machine *m = begin(state);
	static const gpa_t pages[] = {0, 0x1000, 0x3f000, 0x40000, 0x41000, MIB(2) - PAGE_SIZE, MIB(2), HIGH,
				      HIGH + HIGH_SIZE - PAGE_SIZE};

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		uint8_t *w = dbt_ram_view(m->ram, pages[i], true), *r = dbt_ram_view(m->ram, pages[i], false);

		memset(w, 0x11, PAGE_SIZE);
		dbt_ram_protect(m->ram, pages[i]);
		dbt_ram_protect(m->ram, pages[i]);
		assert_null(dbt_ram_view(m->ram, pages[i], true));
		assert_ptr_equal(dbt_ram_view(m->ram, pages[i], false), r);
		assert_true(byte_faults(w, true));
		assert_true(byte_faults(w + PAGE_SIZE - 1, true));
		assert_true(byte_faults(w, false));
		assert_int_equal(r[7], 0x11);
		/* Guards that come later leave it as it is. */
		for (gpa_t near = pages[i] & ~(MIB(2) - 1); near < pages[i] + 4 * PAGE_SIZE; near += PAGE_SIZE)
			dbt_ram_view(m->ram, near, true);
		assert_true(byte_faults(w, true));
		dbt_ram_unprotect(m->ram, pages[i]);
		dbt_ram_unprotect(m->ram, pages[i]);
		assert_ptr_equal(dbt_ram_view(m->ram, pages[i], true), w);
		assert_int_equal(w[8], 0x11);
		check_ends(w, true);
	}
}

/* Before anybody has used it. */
static void test_protect_first(void **state)
{
	struct machine *m = begin(state);
	uint8_t *other;

	dbt_ram_protect(m->ram, MIB(4) + 2 * PAGE_SIZE);
	assert_null(dbt_ram_view(m->ram, MIB(4) + 2 * PAGE_SIZE, true));
	other = dbt_ram_view(m->ram, MIB(4), true);
	check_ends(other, true);
	assert_true(byte_faults(other + 2 * PAGE_SIZE, true));
	check_ends(dbt_ram_view(m->ram, MIB(4) + PAGE_SIZE, true), true);
	dbt_ram_unprotect(m->ram, MIB(4) + 2 * PAGE_SIZE);
	check_page(m, MIB(4) + 2 * PAGE_SIZE);
}

/* ---- regions ---- */

static void check_region_ends(uint8_t *region, bool writable)
{
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		unsigned len = lengths[i];

		for (unsigned over = 1; over < len; over++) {
			assert_true(faults(region - over, len, false));
			assert_true(faults(region + MIB(2) - (len - over), len, false));
			assert_true(faults(region + MIB(2) - (len - over), len, true));
			/* From page to page within it. */
			assert_false(faults(region + PAGE_SIZE - over, len, false));
			assert_int_equal(faults(region + MIB(1) - over, len, true), !writable);
		}
	}
	/* An addend serves others near by. */
	assert_true(byte_faults(region - PAGE_SIZE, false));
	assert_true(byte_faults(region + MIB(2) + PAGE_SIZE - 1, false));
}

static void test_regions(void **state)
{
	struct machine *m = begin(state);
	uint8_t *hva = mem_hva(&m->mem, 0, PAGE_SIZE);

	for (gpa_t at = 0; at < RAM_SIZE; at += MIB(2)) {
		uint8_t *r = dbt_ram_region(m->ram, at, false), *w = dbt_ram_region(m->ram, at, true);

		assert_non_null(r);
		assert_non_null(w);
		assert_ptr_equal(dbt_ram_region(m->ram, at, true), w);
		check_region_ends(r, false);
		check_region_ends(w, true);
		w[5 * PAGE_SIZE + 1] = 0x77;
		assert_int_equal(r[5 * PAGE_SIZE + 1], 0x77);
		assert_int_equal(hva[at + 5 * PAGE_SIZE + 1], 0x77);
		assert_int_equal(*(dbt_ram_view(m->ram, at + 5 * PAGE_SIZE, false) + 1), 0x77);
	}
	/* What is not all RAM, or no such piece. */
	assert_null(dbt_ram_region(m->ram, RAM_SIZE, false));
	assert_null(dbt_ram_region(m->ram, PAGE_SIZE, false));
	assert_null(dbt_ram_region(m->ram, HIGH, false));
	assert_null(dbt_ram_region(m->ram, ROM, false));
}

static void test_regions_protect(void **state)
{
	struct machine *m = begin(state);
	const gpa_t before = MIB(2) + 3 * PAGE_SIZE, after = MIB(2) + 9 * PAGE_SIZE;
	uint8_t *r, *w;

	/* One page before the region is mapped, one when it is. */
	dbt_ram_protect(m->ram, before);
	w = dbt_ram_region(m->ram, MIB(2), true);
	r = dbt_ram_region(m->ram, MIB(2), false);
	memset(w + 9 * PAGE_SIZE, 0x12, PAGE_SIZE);
	dbt_ram_protect(m->ram, after);
	for (unsigned i = 3; i <= 9; i += 6) {
		assert_true(dbt_ram_protected(m->ram, MIB(2) + i * PAGE_SIZE));
		assert_true(byte_faults(w + i * PAGE_SIZE, true));
		assert_true(byte_faults(w + (i + 1) * PAGE_SIZE - 1, true));
		assert_true(faults(w + i * PAGE_SIZE - 1, 2, true));
		assert_false(byte_faults(w + i * PAGE_SIZE - 1, true));
		assert_false(byte_faults(w + (i + 1) * PAGE_SIZE, true));
		assert_false(byte_faults(r + i * PAGE_SIZE, false));
	}
	assert_int_equal(r[9 * PAGE_SIZE], 0x12);
	dbt_ram_unprotect(m->ram, before);
	dbt_ram_unprotect(m->ram, after);
	assert_false(dbt_ram_protected(m->ram, after));
	assert_int_equal(w[9 * PAGE_SIZE], 0x12);
	check_region_ends(w, true);
	assert_false(byte_faults(w + 3 * PAGE_SIZE, true));
}

/* ---- several threads ---- */

#define SHARED_PAGE (MIB(2) + PAGE_SIZE)

struct race {
	struct machine *m;
	_Atomic bool stop;
	_Atomic unsigned start;
	_Atomic uint64_t wrote, faulted;
	unsigned bad;
};

/* Writes to the page as translated code with an entry of old does. */
static void *write_always(void *arg)
{
	struct race *race = arg;
	uint8_t *view = dbt_ram_view(race->m->ram, SHARED_PAGE, true);

	while (!view)
		view = dbt_ram_view(race->m->ram, SHARED_PAGE, true);
	while (!atomic_load(&race->stop)) {
		if (sigsetjmp(recover, 0)) {
			atomic_fetch_add(&race->faulted, 1);
			continue;
		}
		for (unsigned i = 0; i < 1000; i++)
			atomic_fetch_add((_Atomic uint64_t *)(void *)view, 1);
		atomic_fetch_add(&race->wrote, 1);
	}
	return NULL;
}

static void wait_for_change(_Atomic uint64_t *count)
{
	uint64_t before = atomic_load(count);

	for (unsigned i = 0; i < 20000 && atomic_load(count) == before; i++)
		usleep(50);
}

static void test_protect_race(void **state)
{
	struct race race = {.m = begin(state)};
	_Atomic uint64_t *word = mem_hva(&race.m->mem, SHARED_PAGE, 8);
	pthread_t threads[2];

	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_always, &race), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t seen;

		dbt_ram_protect(race.m->ram, SHARED_PAGE);
		seen = atomic_load(word);
		/* Now and then, long enough for the others to be scheduled: faults when they have had the address, then writes. */
		if (i % 100 == 99)
			wait_for_change(&race.faulted);
		for (unsigned spin = 0; spin < 5000; spin++)
			race.bad += atomic_load(word) != seen;
		dbt_ram_unprotect(race.m->ram, SHARED_PAGE);
		if (i % 100 == 0)
			wait_for_change(&race.wrote);
	}
	atomic_store(&race.stop, true);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.bad, 0);
	assert_true(atomic_load(&race.wrote) > 0);
	assert_true(atomic_load(&race.faulted) > 0);
}

/* Protects and releases the pages beside ours, over and over. */
static void *protect_always(void *arg)
{
	struct race *race = arg;

	while (!atomic_load(&race->stop)) {
		dbt_ram_protect(race->m->ram, SHARED_PAGE + PAGE_SIZE);
		dbt_ram_unprotect(race->m->ram, SHARED_PAGE - PAGE_SIZE);
		dbt_ram_unprotect(race->m->ram, SHARED_PAGE + PAGE_SIZE);
		dbt_ram_protect(race->m->ram, SHARED_PAGE - PAGE_SIZE);
	}
	return NULL;
}

static void test_protect_neighbours_race(void **state)
{
	struct race race = {.m = begin(state)};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, protect_always, &race), 0);
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t *view = dbt_ram_view(race.m->ram, SHARED_PAGE, true);

		race.bad += byte_faults(view, true);
		dbt_ram_protect(race.m->ram, SHARED_PAGE);
		race.bad += !byte_faults(view, true);
		race.bad += dbt_ram_view(race.m->ram, SHARED_PAGE, true) != NULL;
		dbt_ram_unprotect(race.m->ram, SHARED_PAGE);
	}
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(race.bad, 0);
}

/* Exposes every page in step with the other thread: its guards must be there when it has the address. */
static void *expose(void *arg)
{
	struct race *race = arg;

	atomic_fetch_add(&race->start, 1);
	while (atomic_load(&race->start) < 2)
		;
	for (gpa_t gpa = 0; gpa < RAM_SIZE; gpa += 3 * PAGE_SIZE) {
		uint8_t *view = dbt_ram_view(race->m->ram, gpa, true);

		if (!byte_faults(view + PAGE_SIZE, true) || !byte_faults(view - 1, true) || byte_faults(view, true))
			return race;
	}
	return NULL;
}

static void test_expose_race(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		struct race race = {.m = begin(state)};
		pthread_t thread;
		void *bad, *bad_too;

		assert_int_equal(pthread_create(&thread, NULL, expose, &race), 0);
		bad = expose(&race);
		pthread_join(thread, &bad_too);
		assert_null(bad);
		assert_null(bad_too);
		teardown(state);
		setup(state);
	}
}

/* ---- hosts that lack something ---- */

static void test_private_memory(void **state)
{
	struct machine m = {0};

	add(&m, 0, MIB(2), false, MAP_PRIVATE);
	assert_int_equal(dbt_ram_create(&m.mem, &m.ram, m.why, sizeof(m.why)), -EINVAL);
	assert_non_null(strstr(m.why, "shared"));
	assert_null(m.ram);
	drop(&m);
}

static void test_no_room(void **state)
{
	struct rlimit before, tight;
	struct machine m = {0};
	int r;

	add(&m, 0, MIB(64), false, MAP_SHARED);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	tight = (struct rlimit){MIB(64), before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
	r = dbt_ram_create(&m.mem, &m.ram, m.why, sizeof(m.why));
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(r, -ENOMEM);
	assert_non_null(strstr(m.why, "ulimit"));
	assert_null(m.ram);
	drop(&m);
}

/* From now on, system call `number` fails with `error`, if argument 2 is `argument` (or any: ~0). */
static void forbid(unsigned number, unsigned argument, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | (argument == ~0u ? BPF_JGE : BPF_JEQ) | BPF_K, argument == ~0u ? 0 : argument, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(77);
}

/* Runs check in a process of its own, where it may not do that. */
static void check_without(struct machine *m, unsigned number, unsigned argument, unsigned error,
			  bool (*check)(struct machine *m))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		forbid(number, argument, error);
		_exit(!check(m));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool create_says_enosys(struct machine *m)
{
	struct dbt_ram *ram = NULL;

	return dbt_ram_create(&m->mem, &ram, m->why, sizeof(m->why)) == -ENOSYS && !ram && strstr(m->why, "6.15");
}

static void test_no_guards(void **state)
{
	check_without(begin(state), SYS_madvise, MADV_GUARD_INSTALL, EINVAL, create_says_enosys);
}

static bool guards_come(struct machine *m)
{
	for (gpa_t gpa = MIB(2); gpa < MIB(4); gpa += 17 * PAGE_SIZE) {
		uint8_t *view = dbt_ram_view(m->ram, gpa, true);

		if (!view || byte_faults(view, true) || !byte_faults(view - 1, true) || !byte_faults(view + PAGE_SIZE, true))
			return false;
	}
	return true;
}

static void test_no_process_madvise(void **state)
{
	check_without(begin(state), SYS_process_madvise, ~0u, EPERM, guards_come);
}

static bool no_view_without_guards(struct machine *m)
{
	uint8_t *old = dbt_ram_view(m->ram, 0, true);

	forbid(SYS_madvise, MADV_GUARD_INSTALL, ENOMEM);
	if (dbt_ram_view(m->ram, MIB(4), true) || dbt_ram_view(m->ram, MIB(4), false) ||
	    dbt_ram_view_ready(m->ram, MIB(4), false) || byte_faults(old, true))
		return false;
	/* A page that cannot be protected alone: they all are. */
	dbt_ram_protect(m->ram, 0);
	return byte_faults(old, true) && !dbt_ram_region(m->ram, 0, true) && !dbt_ram_view(m->ram, 0, true) && !dbt_ram_view(m->ram, 2 * PAGE_SIZE, true);
}

static void test_no_memory_for_guards(void **state)
{
	check_without(begin(state), SYS_process_madvise, ~0u, ENOMEM, no_view_without_guards);
}

/* ---- memory that is given back ---- */

struct toucher {
	struct machine *m;
	_Atomic bool stop;
};

/* The guest goes on using what it gives away. */
static void *touch(void *ctx)
{
	struct toucher *toucher = ctx;

	while (!atomic_load(&toucher->stop))
		for (gpa_t gpa = 0; gpa < MIB(4); gpa += PAGE_SIZE) {
			uint8_t *view = dbt_ram_view(toucher->m->ram, gpa, !(gpa & PAGE_SIZE));

			if (gpa & PAGE_SIZE)
				(void)*(volatile uint8_t *)(view + 8);
			else
				*(volatile uint8_t *)(view + 8) = 1;
		}
	return NULL;
}

static void check_discarded(struct machine *m)
{
	for (gpa_t gpa = PAGE_SIZE; gpa < MIB(4) - PAGE_SIZE; gpa += 37 * PAGE_SIZE)
		check_page(m, gpa);
	/* Protected it stays. */
	assert_null(dbt_ram_view(m->ram, 5 * PAGE_SIZE, true));
}

static void test_discarded(void **state)
{
	struct machine *m = begin(state);
	uint8_t *hva = m->mem.slots[0].hva, *page5 = dbt_ram_view(m->ram, 5 * PAGE_SIZE, true);
	uint8_t *region = dbt_ram_region(m->ram, 0, true);
	struct toucher toucher = {.m = m};
	pthread_t thread;

	memset(hva, 0x77, MIB(4));
	dbt_ram_protect(m->ram, 5 * PAGE_SIZE);
	for (gpa_t gpa = 0; gpa < MIB(4); gpa += PAGE_SIZE)
		assert_int_equal(dbt_ram_view(m->ram, gpa, false)[1], 0x77);
	assert_int_equal(madvise(hva, MIB(4), MADV_REMOVE), 0);
	dbt_ram_discarded(m->ram, 0, MIB(4));
	for (gpa_t gpa = 0; gpa < MIB(4); gpa += PAGE_SIZE)
		assert_int_equal(dbt_ram_view(m->ram, gpa, false)[1], 0);
	check_discarded(m);
	assert_true(byte_faults(page5, true));
	assert_true(byte_faults(region + 5 * PAGE_SIZE, true));
	/* By single pages, under a guest that touches them. (The page that is protected has no view to write.) */
	dbt_ram_unprotect(m->ram, 5 * PAGE_SIZE);
	assert_int_equal(pthread_create(&thread, NULL, touch, &toucher), 0);
	for (unsigned round = 0; round < 3; round++)
		for (gpa_t gpa = 0; gpa < MIB(4); gpa += PAGE_SIZE) {
			assert_int_equal(madvise(hva + gpa, PAGE_SIZE, MADV_REMOVE), 0);
			dbt_ram_discarded(m->ram, gpa, PAGE_SIZE);
		}
	atomic_store(&toucher.stop, true);
	pthread_join(thread, NULL);
	dbt_ram_protect(m->ram, 5 * PAGE_SIZE);
	check_discarded(m);
	/* Outside RAM, and in ROM, there is nothing to do. */
	dbt_ram_discarded(m->ram, ROM, ROM_SIZE);
	dbt_ram_discarded(m->ram, GIB(2), PAGE_SIZE);
}

/* Linux may drop guards below memory that goes: here they are taken out by hand. */
static void test_guards_restored(void **state)
{
	struct machine *m = begin(state);
	uint8_t *even = dbt_ram_view(m->ram, 2 * PAGE_SIZE, false), *odd = dbt_ram_view(m->ram, 3 * PAGE_SIZE, true);

	assert_int_equal(madvise(even + PAGE_SIZE, PAGE_SIZE, 103 /* MADV_GUARD_REMOVE */), 0);
	assert_int_equal(madvise(odd + PAGE_SIZE, PAGE_SIZE, 103), 0);
	assert_false(byte_faults(even + PAGE_SIZE, false));
	assert_false(byte_faults(odd + PAGE_SIZE, true));
	dbt_ram_discarded(m->ram, 3 * PAGE_SIZE, 2 * PAGE_SIZE);
	assert_true(byte_faults(even + PAGE_SIZE, false));
	assert_true(byte_faults(odd + PAGE_SIZE, true));
	assert_false(byte_faults(even, false));
	assert_false(byte_faults(odd, true));
}

#define WITH_MACHINE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MACHINE(test_guards),
		WITH_MACHINE(test_guards_first),
		WITH_MACHINE(test_guards_all),
		WITH_MACHINE(test_margins),
		WITH_MACHINE(test_guards_survive_collapse),
		WITH_MACHINE(test_nowhere),
		WITH_MACHINE(test_coherent),
		WITH_MACHINE(test_outside),
		WITH_MACHINE(test_rom),
		WITH_MACHINE(test_ready),
		WITH_MACHINE(test_protect),
		WITH_MACHINE(test_protect_first),
		WITH_MACHINE(test_regions),
		WITH_MACHINE(test_regions_protect),
		WITH_MACHINE(test_protect_race),
		WITH_MACHINE(test_protect_neighbours_race),
		WITH_MACHINE(test_expose_race),
		WITH_MACHINE(test_discarded),
		WITH_MACHINE(test_guards_restored),
		cmocka_unit_test(test_private_memory),
		cmocka_unit_test(test_no_room),
		WITH_MACHINE(test_no_guards),
		WITH_MACHINE(test_no_process_madvise),
		WITH_MACHINE(test_no_memory_for_guards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
