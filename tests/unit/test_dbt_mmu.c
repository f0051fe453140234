/* engine/dbt/: the flat addend tables and the rules of address spaces, over views of guest RAM that are only
 * numbers (nothing is accessed through them), and page tables that each test writes.
 *
 * Example: `meson test -C build dbt_mmu`
 */
#include "engine/dbt/mmu.h"
#include "engine/dbt/table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#define RAM_SIZE MIB(64)
#define RAM_2G   0x80000000ull /* more of it, for 1 GiB pages: GIB(1) of address space, never touched */

#define P   0x001ull
#define W   0x002ull
#define U   0x004ull
#define A   0x020ull
#define D   0x040ull
#define PS  0x080ull
#define G   0x100ull
#define ALL (P | W | U | A | D)

/* ---- a fake of ram.h ---- */

#define WRITABLE_VIEW 0x500000000000ull
#define READABLE_VIEW 0x600000000000ull
#define NOWHERE       0x4ffffffff000ull

struct dbt_ram {
	struct mem *mem;
	gpa_t protected, not_ready, rom;
};

uint8_t *dbt_ram_view(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	assert_int_equal(gpa & ~PAGE_MASK, 0);
	if (!mem_find(ram->mem, gpa) || (writable && (gpa == ram->protected || gpa == ram->rom)))
		return NULL;
	return (uint8_t *)((writable ? WRITABLE_VIEW : READABLE_VIEW) + 2 * gpa);
}

uint8_t *dbt_ram_view_ready(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return gpa == ram->not_ready ? NULL : dbt_ram_view(ram, gpa, writable);
}

/* Tests without large pages of RAM: see test_dbt_ram.c. */
uint8_t *dbt_ram_region(struct dbt_ram *ram, gpa_t gpa, bool writable)
{
	return NULL;
}

bool dbt_ram_protected(struct dbt_ram *ram, gpa_t gpa)
{
	return gpa == ram->protected;
}

uint8_t *dbt_ram_nowhere(struct dbt_ram *ram)
{
	return (uint8_t *)NOWHERE;
}

/* ---- a machine ---- */

struct machine {
	struct vm vm;
	struct vcpu vcpu;
	struct x86_cpuid_table cpuid;
	struct dbt_ram ram;
	struct dbt_mmu mmu;
	struct cpu *cpu;
	uint8_t *hva;
	gpa_t next_table;
	/* what the listener heard last */
	unsigned switched, dropped;
	struct dbt_context *dropped_context;
	gva_t dropped_page;
};

static void heard_switched(void *ctx)
{
	((struct machine *)ctx)->switched++;
}

static void heard_dropped(void *ctx, struct dbt_context *context, gva_t page)
{
	struct machine *m = ctx;

	m->dropped++;
	m->dropped_context = context;
	m->dropped_page = page;
}

static gpa_t new_table(struct machine *m)
{
	return m->next_table += PAGE_SIZE;
}

static uint64_t *entry_at(struct machine *m, gpa_t table, gva_t gva, unsigned level)
{
	return (uint64_t *)(m->hva + table) + (gva >> (12 + 9 * (level - 1)) & 511);
}

/* Maps gva to the leaf `pte` at `level` (1: 4 KiB) below root; levels above grant everything. */
static uint64_t *map(struct machine *m, gpa_t root, gva_t gva, unsigned level, uint64_t pte)
{
	gpa_t table = root & PAGE_MASK;

	for (unsigned i = 4; i > level; i--) {
		uint64_t *entry = entry_at(m, table, gva, i);

		if (!(*entry & P))
			*entry = new_table(m) | ALL;
		table = *entry & 0xffffffffff000ull;
	}
	*entry_at(m, table, gva, level) = pte;
	return entry_at(m, table, gva, level);
}

static int setup_contexts(void **state, unsigned contexts)
{
	struct machine *m = calloc(1, sizeof(*m));
	uint8_t *more;

	m->cpu = calloc(1, sizeof(*m->cpu));
	m->hva = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	more = mmap(NULL, GIB(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(m->hva != MAP_FAILED && more != MAP_FAILED);
	assert_int_equal(mem_add_slot(&m->vm.mem, 0, RAM_SIZE, m->hva, false), 0);
	assert_int_equal(mem_add_slot(&m->vm.mem, RAM_2G, GIB(1), more, false), 0);
	m->ram = (struct dbt_ram){&m->vm.mem, ~0ull, ~0ull, ~0ull};
	m->next_table = MIB(1);
	m->cpuid.physical_bits = 40;
	m->vm.vcpu_count = 1;
	m->cpu->vm = &m->vm;
	m->cpu->vcpu = &m->vcpu;
	m->cpu->cpuid = &m->cpuid;
	m->cpu->s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
	m->cpu->s.cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMAP | X86_CR4_PCIDE;
	m->cpu->s.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	m->cpu->s.cr3 = new_table(m);
	assert_int_equal(dbt_mmu_init(&m->mmu, m->cpu, &m->ram, contexts), 0);
	m->mmu.listener.switched = heard_switched;
	m->mmu.listener.dropped = heard_dropped;
	m->mmu.listener.ctx = m;
	*state = m;
	return 0;
}

static int setup(void **state)
{
	return setup_contexts(state, 4);
}

static int teardown(void **state)
{
	struct machine *m = *state;

	dbt_mmu_destroy(&m->mmu);
	munmap(m->vm.mem.slots[0].hva, RAM_SIZE);
	munmap(m->vm.mem.slots[1].hva, GIB(1));
	mem_dirty_stop(&m->vm.mem);
	mem_destroy(&m->vm.mem);
	free(m->cpu);
	free(m);
	return 0;
}

/* Where an access at gva goes now. */
enum where { NONE, READ, WRITE };

static enum where peek(struct machine *m, gva_t gva, enum tlb_index index, gpa_t *gpa)
{
	uint64_t addend, hva;

	if (!dbt_mmu_peek(&m->mmu, gva, index, &addend))
		return NONE;
	hva = (gva & PAGE_MASK) + addend;
	*gpa = (hva - (hva >= READABLE_VIEW ? READABLE_VIEW : WRITABLE_VIEW)) / 2;
	return hva >= READABLE_VIEW ? READ : WRITE;
}

#define assert_at(m, gva, index, kind, at)                                                         \
	do {                                                                                       \
		gpa_t gpa_ = ~0ull;                                                                \
		assert_int_equal(peek(m, gva, index, &gpa_), kind);                                \
		if ((kind) != NONE)                                                                \
			assert_int_equal(gpa_, at);                                                \
	} while (0)
#define assert_none(m, gva, index) assert_at(m, gva, index, NONE, 0)

static bool fill(struct machine *m, gva_t gva, bool write, enum tlb_index index)
{
	uint64_t addend = 0, seen = 1;

	if (dbt_mmu_fill(&m->mmu, gva, write, index, &addend) == DBT_FILL_NO)
		return false;
	assert_true(dbt_mmu_peek(&m->mmu, gva, index, &seen));
	assert_int_equal(addend, seen);
	return true;
}

static void load_cr3(struct machine *m, uint64_t cr3, bool keep)
{
	m->cpu->s.cr3 = cr3;
	dbt_mmu_write_cr3(&m->mmu, cr3, keep);
}

/* ---- form ---- */

static void check_table(const struct dbt_table *table)
{
	for (unsigned i = 0; i < table->committed_count; i++) {
		int64_t chunk = (int32_t)table->committed[i];

		for (unsigned k = 0; k < DBT_CHUNK_ENTRIES; k++) {
			gva_t gva = ((gva_t)chunk << DBT_CHUNK_SHIFT) + k * PAGE_SIZE;
			uint64_t hva = table->centre[(int64_t)gva >> PAGE_SHIFT] + gva;

			assert_true(hva == NOWHERE || (hva >= WRITABLE_VIEW && hva < READABLE_VIEW + 4 * GIB(2)));
			assert_int_equal(hva & ~PAGE_MASK, 0);
		}
	}
}

static void check_tables(struct machine *m)
{
	check_table(m->mmu.global);
	for (unsigned i = 0; i < m->mmu.context_count; i++) {
		for (unsigned index = 0; index < TLB_COUNT; index++) {
			if (m->mmu.contexts[i].table[index])
				check_table(m->mmu.contexts[i].table[index]);
		}
	}
}

static uint64_t next_random(void)
{
	static uint64_t seed = 1;
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* What translated code computes for an access at any 64-bit address. */
static uint64_t host_address(struct machine *m, uint64_t t, enum tlb_index index)
{
	uint64_t table = dbt_mmu_table(&m->mmu, index);
	int64_t i = (int64_t)(t << 16 | t >> 48) >> (table & 63);

	return t + *(const uint64_t *)(table - DBT_TABLE_BIAS + i * 8);
}

static void test_no_address_reaches_anything_else(void **state)
{
	struct machine *m = *state;
	gva_t pages[] = {0, 0x400000, 0x7ffffffff000, 0xffff800000000000, 0xfffffffffffff000, 0x123456789000};

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		map(m, m->cpu->s.cr3, pages[i], 1, MIB(8) | ALL);
		assert_true(fill(m, pages[i], false, TLB_USER));
	}
	/* Entries beside them are invalid ones. */
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		for (uint64_t top = 0; top < 0x10000; top++) {
			uint64_t low = (pages[i] ^ (top & 1 ? PAGE_SIZE : 0)) + (next_random() & 0xfff);
			uint64_t t = (low & 0xffffffffffffull) | top << 48;
			uint64_t hva = host_address(m, t, TLB_USER);

			if (!canonical(t)) {
				assert_false(canonical(hva));
				continue;
			}
			if (top & 1)
				assert_true(hva - NOWHERE < PAGE_SIZE);
			else
				assert_true(hva - (WRITABLE_VIEW + 2 * MIB(8)) < PAGE_SIZE);
		}
	}
	check_tables(m);
	assert_false(fill(m, 0x800000000000, false, TLB_USER));
	assert_int_equal(dbt_mmu_table(&m->mmu, TLB_USER) & 63, DBT_TABLE_BIAS);
}

/* ---- fills ---- */

static void test_neighbours(void **state)
{
	struct machine *m = *state;
	gva_t base = 0x400000;
	uint64_t *late;

	m->ram.not_ready = MIB(9) + 7 * PAGE_SIZE;
	m->ram.protected = MIB(9) + 8 * PAGE_SIZE;
	for (unsigned i = 0; i < 512; i++)
		map(m, m->cpu->s.cr3, base + i * PAGE_SIZE, 1, (MIB(9) + i * PAGE_SIZE) | ALL);
	map(m, m->cpu->s.cr3, base + 1 * PAGE_SIZE, 1, 0);
	late = map(m, m->cpu->s.cr3, base + 2 * PAGE_SIZE, 1, (MIB(9) + 2 * PAGE_SIZE) | P | W | U);
	map(m, m->cpu->s.cr3, base + 3 * PAGE_SIZE, 1, (MIB(9) + 3 * PAGE_SIZE) | P | W | U | A);
	map(m, m->cpu->s.cr3, base + 4 * PAGE_SIZE, 1, (MIB(9) + 4 * PAGE_SIZE) | P | U | A | D);
	map(m, m->cpu->s.cr3, base + 5 * PAGE_SIZE, 1, (MIB(9) + 5 * PAGE_SIZE) | P | W | A | D);
	map(m, m->cpu->s.cr3, base + 6 * PAGE_SIZE, 1, GIB(1) | ALL); /* no RAM */
	map(m, m->cpu->s.cr3, base + 9 * PAGE_SIZE, 1, (MIB(9) + 9 * PAGE_SIZE) | ALL | 1ull << 45);
	map(m, m->cpu->s.cr3, base + 10 * PAGE_SIZE, 1, (MIB(9) + 10 * PAGE_SIZE) | ALL | G);
	assert_true(fill(m, base + 0x123, false, TLB_USER));
	assert_at(m, base, TLB_USER, WRITE, MIB(9));
	assert_none(m, base + 1 * PAGE_SIZE, TLB_USER);
	assert_none(m, base + 2 * PAGE_SIZE, TLB_USER);
	assert_at(m, base + 3 * PAGE_SIZE, TLB_USER, READ, MIB(9) + 3 * PAGE_SIZE);
	assert_at(m, base + 4 * PAGE_SIZE, TLB_USER, READ, MIB(9) + 4 * PAGE_SIZE);
	assert_none(m, base + 5 * PAGE_SIZE, TLB_USER);
	assert_none(m, base + 6 * PAGE_SIZE, TLB_USER);
	assert_none(m, base + 7 * PAGE_SIZE, TLB_USER);
	assert_at(m, base + 8 * PAGE_SIZE, TLB_USER, READ, MIB(9) + 8 * PAGE_SIZE);
	assert_none(m, base + 9 * PAGE_SIZE, TLB_USER);
	assert_none(m, base + 10 * PAGE_SIZE, TLB_USER);
	assert_at(m, base + 511 * PAGE_SIZE, TLB_USER, WRITE, MIB(9) + 511 * PAGE_SIZE);
	assert_none(m, base + 512 * PAGE_SIZE, TLB_USER);
	assert_none(m, base, TLB_SUPERVISOR_AC);
	assert_int_equal(*late & (A | D), 0);

	/* What was asked for is walked as the processor does. */
	assert_true(fill(m, base + 2 * PAGE_SIZE, false, TLB_USER));
	assert_at(m, base + 2 * PAGE_SIZE, TLB_USER, READ, MIB(9) + 2 * PAGE_SIZE);
	assert_int_equal(*late & (A | D), A);
	assert_true(fill(m, base + 2 * PAGE_SIZE, true, TLB_USER));
	assert_at(m, base + 2 * PAGE_SIZE, TLB_USER, WRITE, MIB(9) + 2 * PAGE_SIZE);
	assert_int_equal(*late & (A | D), A | D);
	assert_false(fill(m, base + 1 * PAGE_SIZE, false, TLB_USER));
	assert_false(fill(m, base + 4 * PAGE_SIZE, true, TLB_USER));
	assert_false(fill(m, base + 5 * PAGE_SIZE, false, TLB_USER));
	assert_false(fill(m, base + 6 * PAGE_SIZE, false, TLB_USER));
	assert_true(fill(m, base + 7 * PAGE_SIZE, false, TLB_USER));
	assert_false(fill(m, base + 8 * PAGE_SIZE, true, TLB_USER));
	assert_false(fill(m, base + 9 * PAGE_SIZE, false, TLB_USER));
	check_tables(m);
}

static void test_rights_of_the_levels_above(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < 4; i++)
		map(m, m->cpu->s.cr3, 0x400000 + i * PAGE_SIZE, 1, (MIB(8) + i * PAGE_SIZE) | ALL);
	*entry_at(m, *entry_at(m, *entry_at(m, m->cpu->s.cr3, 0x400000, 4) & PAGE_MASK, 0x400000, 3) & PAGE_MASK,
		  0x400000, 2) &= ~W;
	assert_true(fill(m, 0x400000, false, TLB_USER));
	assert_at(m, 0x400000, TLB_USER, READ, MIB(8));
	assert_at(m, 0x401000, TLB_USER, READ, MIB(8) + PAGE_SIZE);
	assert_false(fill(m, 0x400000, true, TLB_USER));

	*entry_at(m, m->cpu->s.cr3, 0x400000, 4) &= ~U;
	dbt_mmu_flush_page(&m->mmu, 0x400000);
	assert_false(fill(m, 0x400000, false, TLB_USER));
	/* By its combined rights it is a supervisor page: no matter for SMAP. */
	assert_true(fill(m, 0x400000, false, TLB_SUPERVISOR));
	assert_at(m, 0x401000, TLB_SUPERVISOR, READ, MIB(8) + PAGE_SIZE);
}

static void test_write_protection(void **state)
{
	struct machine *m = *state;
	gva_t base = 0xffff800000000000;

	map(m, m->cpu->s.cr3, base, 1, MIB(8) | P | A | D | G);
	map(m, m->cpu->s.cr3, base + PAGE_SIZE, 1, (MIB(8) + PAGE_SIZE) | P | A | D | G);
	assert_true(fill(m, base, false, TLB_SUPERVISOR));
	assert_at(m, base, TLB_SUPERVISOR, READ, MIB(8));
	assert_at(m, base + PAGE_SIZE, TLB_SUPERVISOR, READ, MIB(8) + PAGE_SIZE);
	assert_false(fill(m, base, true, TLB_SUPERVISOR));
	m->cpu->s.cr0 &= ~(uint64_t)X86_CR0_WP;
	dbt_mmu_flush(&m->mmu, true);
	assert_none(m, base, TLB_SUPERVISOR);
	assert_true(fill(m, base, true, TLB_SUPERVISOR));
	assert_at(m, base, TLB_SUPERVISOR, WRITE, MIB(8));
	assert_at(m, base + PAGE_SIZE, TLB_SUPERVISOR, WRITE, MIB(8) + PAGE_SIZE);
}

static void test_smap(void **state)
{
	struct machine *m = *state;

	map(m, m->cpu->s.cr3, 0x400000, 1, MIB(8) | ALL);
	map(m, m->cpu->s.cr3, 0x401000, 1, (MIB(8) + PAGE_SIZE) | P | W | A | D);
	assert_false(fill(m, 0x400000, false, TLB_SUPERVISOR));
	assert_true(fill(m, 0x401000, false, TLB_SUPERVISOR));
	assert_none(m, 0x400000, TLB_SUPERVISOR);
	assert_true(fill(m, 0x400000, false, TLB_SUPERVISOR_AC));
	assert_at(m, 0x400000, TLB_SUPERVISOR_AC, WRITE, MIB(8));
	assert_none(m, 0x401000, TLB_SUPERVISOR_AC);
	assert_true(fill(m, 0x401000, false, TLB_SUPERVISOR_AC));
}

static void test_protection_keys(void **state)
{
	struct machine *m = *state;

	m->cpu->s.cr4 |= X86_CR4_PKE;
	m->cpu->s.pkru = 2 << 2 | 1 << 4; /* key 1: no writes; key 2: nothing */
	for (uint64_t i = 0; i < 6; i++)
		map(m, m->cpu->s.cr3, 0x400000 + i * PAGE_SIZE, 1, (MIB(8) + i * PAGE_SIZE) | ALL | (i % 3) << 59);
	assert_true(fill(m, 0x400000, false, TLB_USER));
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8));
	assert_at(m, 0x403000, TLB_USER, WRITE, MIB(8) + 3 * PAGE_SIZE);
	assert_none(m, 0x401000, TLB_USER);
	assert_none(m, 0x402000, TLB_USER);
	assert_true(fill(m, 0x401000, false, TLB_USER));
	assert_at(m, 0x401000, TLB_USER, READ, MIB(8) + PAGE_SIZE);
	assert_at(m, 0x404000, TLB_USER, READ, MIB(8) + 4 * PAGE_SIZE);
	assert_false(fill(m, 0x401000, true, TLB_USER));
	assert_false(fill(m, 0x402000, false, TLB_USER));
}

static void test_large_pages(void **state)
{
	struct machine *m = *state;
	gva_t two = 0x40000000, one = 0xffff888000000000;

	map(m, m->cpu->s.cr3, two, 2, MIB(16) | ALL | PS);
	map(m, m->cpu->s.cr3, one, 3, RAM_2G | P | W | A | PS | G);
	m->ram.protected = MIB(16) + 5 * PAGE_SIZE;
	assert_true(fill(m, two + 0x5678, false, TLB_USER));
	for (unsigned i = 0; i < 512; i++)
		assert_at(m, two + i * PAGE_SIZE, TLB_USER, i == 5 ? READ : WRITE, MIB(16) + i * PAGE_SIZE);
	assert_none(m, two + MIB(2), TLB_USER);
	assert_none(m, two - 1, TLB_USER);

	/* D is clear: for reading, until it is written. */
	assert_true(fill(m, one + MIB(7), false, TLB_SUPERVISOR));
	assert_at(m, one + MIB(6), TLB_SUPERVISOR, READ, RAM_2G + MIB(6));
	assert_none(m, one, TLB_SUPERVISOR);
	assert_true(fill(m, one + MIB(7), true, TLB_SUPERVISOR));
	assert_at(m, one + MIB(7), TLB_SUPERVISOR, WRITE, RAM_2G + MIB(7));
	assert_true(fill(m, one + MIB(64), false, TLB_SUPERVISOR));
	assert_at(m, one + MIB(65), TLB_SUPERVISOR, WRITE, RAM_2G + MIB(65));

	/* INVLPG anywhere in a large page drops all of it. */
	dbt_mmu_flush_page(&m->mmu, two + 400 * PAGE_SIZE);
	for (unsigned i = 0; i < 512; i++)
		assert_none(m, two + i * PAGE_SIZE, TLB_USER);
	dbt_mmu_flush_page(&m->mmu, one + MIB(500));
	assert_none(m, one + MIB(7), TLB_SUPERVISOR);
	assert_none(m, one + MIB(65), TLB_SUPERVISOR);
	check_tables(m);
}

static void test_paging_of_32_bits(void **state)
{
	struct machine *m = *state;
	uint32_t *root, *table;

	m->cpu->s.cr4 = X86_CR4_PSE;
	m->cpu->s.efer = 0;
	root = (uint32_t *)(m->hva + m->cpu->s.cr3);
	root[1] = (uint32_t)(MIB(12) | ALL | PS);
	root[2] = (uint32_t)(MIB(2) | ALL);
	table = (uint32_t *)(m->hva + MIB(2));
	table[3] = (uint32_t)(MIB(8) | ALL);
	dbt_mmu_flush(&m->mmu, true);
	assert_true(fill(m, MIB(4), false, TLB_USER));
	assert_true(fill(m, MIB(6), false, TLB_USER));
	assert_at(m, MIB(7), TLB_USER, WRITE, MIB(15));
	dbt_mmu_flush_page(&m->mmu, MIB(7));
	assert_none(m, MIB(7), TLB_USER);
	assert_none(m, MIB(5), TLB_USER);
	assert_true(fill(m, MIB(8) + 3 * PAGE_SIZE, true, TLB_USER));
	assert_at(m, MIB(8) + 3 * PAGE_SIZE, TLB_USER, WRITE, MIB(8));

	m->cpu->s.cr0 &= ~(uint64_t)X86_CR0_PG;
	dbt_mmu_flush(&m->mmu, true);
	assert_true(fill(m, MIB(4), false, TLB_SUPERVISOR));
	assert_at(m, MIB(4) + 3 * PAGE_SIZE, TLB_SUPERVISOR, WRITE, MIB(4) + 3 * PAGE_SIZE);
}

static void test_dirty_log(void **state)
{
	struct machine *m = *state;
	uint64_t bits[RAM_SIZE / PAGE_SIZE / 64];

	for (unsigned i = 0; i < 8; i++)
		map(m, m->cpu->s.cr3, 0x400000 + i * PAGE_SIZE, 1, (MIB(8) + i * PAGE_SIZE) | ALL);
	assert_true(fill(m, 0x400000, false, TLB_USER));
	assert_int_equal(mem_dirty_start(&m->vm.mem), 0);
	dbt_mmu_flush_writes(&m->mmu);
	assert_none(m, 0x400000, TLB_USER);
	assert_true(fill(m, 0x400000, false, TLB_USER));
	for (unsigned i = 0; i < 8; i++)
		assert_at(m, 0x400000 + i * PAGE_SIZE, TLB_USER, READ, MIB(8) + i * PAGE_SIZE);
	assert_true(fill(m, 0x403000, true, TLB_USER));
	assert_at(m, 0x403000, TLB_USER, WRITE, MIB(8) + 3 * PAGE_SIZE);
	assert_at(m, 0x402000, TLB_USER, READ, MIB(8) + 2 * PAGE_SIZE);
	mem_dirty_collect(&m->vm.mem, 0, bits);
	assert_int_equal(bits[MIB(8) / PAGE_SIZE / 64], 1 << 3);
}

/* ---- address spaces ---- */

static void test_pcids(void **state)
{
	struct machine *m = *state;
	uint64_t a = m->cpu->s.cr3, b = new_table(m), c = new_table(m);
	uint64_t kernel = 0xffff800000000000;
	gpa_t roots[3] = {a, b, c};
	unsigned switched;

	for (unsigned i = 0; i < 3; i++) {
		map(m, roots[i], 0x400000, 1, (MIB(8) + i * PAGE_SIZE) | ALL);
		map(m, roots[i], kernel, 1, MIB(10) | P | W | A | D | G);
	}
	load_cr3(m, a | 1, true);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_true(fill(m, kernel, true, TLB_SUPERVISOR));
	switched = m->switched;
	load_cr3(m, b | 2, true);
	assert_int_equal(m->switched, switched + 1);
	assert_none(m, 0x400000, TLB_USER);
	assert_at(m, kernel, TLB_SUPERVISOR, WRITE, MIB(10));
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);

	/* Kept both ways. */
	m->dropped = 0;
	load_cr3(m, a | 1, true);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8));
	load_cr3(m, b | 2, true);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	assert_int_equal(m->dropped, 0);

	/* Without bit 63 that PCID's are dropped, and only these. */
	load_cr3(m, a | 1, false);
	assert_none(m, 0x400000, TLB_USER);
	assert_int_equal(m->dropped, 1);
	load_cr3(m, b | 2, true);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	/* To the same one again. */
	load_cr3(m, b | 2, true);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	load_cr3(m, b | 2, false);
	assert_none(m, 0x400000, TLB_USER);

	/* Another root by the same PCID: what is kept by the manual would be wrong for most, and may be forgotten. */
	assert_true(fill(m, 0x400000, true, TLB_USER));
	load_cr3(m, c | 2, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + 2 * PAGE_SIZE);
	assert_at(m, kernel, TLB_SUPERVISOR, WRITE, MIB(10));

	/* Without PCIDs everything that is not global goes. */
	m->cpu->s.cr4 &= ~(uint64_t)X86_CR4_PCIDE;
	dbt_mmu_flush(&m->mmu, true);
	load_cr3(m, a, false);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_true(fill(m, kernel, true, TLB_SUPERVISOR));
	load_cr3(m, b, false);
	assert_none(m, 0x400000, TLB_USER);
	load_cr3(m, a, false);
	assert_none(m, 0x400000, TLB_USER);
	assert_at(m, kernel, TLB_SUPERVISOR, WRITE, MIB(10));
}

static void test_more_pcids_than_contexts(void **state)
{
	struct machine *m = *state;
	gpa_t roots[6];

	for (unsigned i = 0; i < 6; i++) {
		roots[i] = new_table(m);
		map(m, roots[i], 0x400000, 1, (MIB(8) + i * PAGE_SIZE) | ALL);
	}
	for (unsigned i = 0; i < 200; i++) {
		unsigned which = (unsigned)next_random() % 6;
		enum where where;
		gpa_t gpa;

		load_cr3(m, roots[which] | (which + 1), true);
		where = peek(m, 0x400000, TLB_USER, &gpa);
		assert_true(where == NONE || gpa == MIB(8) + which * PAGE_SIZE);
		assert_true(fill(m, 0x400000, true, TLB_USER));
		/* The one used last stays. */
		load_cr3(m, roots[(which + 1) % 6] | ((which + 1) % 6 + 1), true);
		load_cr3(m, roots[which] | (which + 1), true);
		assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + which * PAGE_SIZE);
	}
	check_tables(m);
}

/* Two address spaces, PCID 1 and 2; in each two private user pages and one global; a global kernel page and one that
 * is not. Ends in PCID 2. */
#define KERNEL  0xffff800000000000ull
#define PRIVATE 0xffffa00000000000ull
static void two_spaces(struct machine *m, gpa_t roots[2])
{
	for (unsigned i = 0; i < 2; i++) {
		roots[i] = new_table(m);
		map(m, roots[i], 0x400000, 1, (MIB(8) + i * PAGE_SIZE) | ALL);
		map(m, roots[i], 0x600000, 1, (MIB(9) + i * PAGE_SIZE) | ALL);
		map(m, roots[i], 0x800000, 1, MIB(10) | ALL | G);
		map(m, roots[i], KERNEL, 1, MIB(11) | P | W | A | D | G);
		map(m, roots[i], PRIVATE, 1, (MIB(12) + i * PAGE_SIZE) | P | W | A | D);
	}
}

static void fill_two_spaces(struct machine *m, gpa_t roots[2])
{
	for (unsigned i = 0; i < 2; i++) {
		load_cr3(m, roots[i] | (i + 1), true);
		for (gva_t gva = 0x400000; gva <= 0x800000; gva += 0x200000) {
			assert_true(fill(m, gva, true, TLB_USER));
			assert_true(fill(m, gva, true, TLB_SUPERVISOR_AC));
		}
		assert_true(fill(m, KERNEL, true, TLB_SUPERVISOR));
		assert_true(fill(m, PRIVATE, true, TLB_SUPERVISOR));
	}
}

static void test_supervisor_pages_that_are_not_global(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2];

	two_spaces(m, roots);
	fill_two_spaces(m, roots);
	assert_at(m, PRIVATE, TLB_SUPERVISOR, WRITE, MIB(12) + PAGE_SIZE);
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	assert_at(m, KERNEL, TLB_SUPERVISOR, WRITE, MIB(11));
	assert_true(fill(m, PRIVATE, true, TLB_SUPERVISOR));
	load_cr3(m, roots[0] | 1, true);
	assert_at(m, PRIVATE, TLB_SUPERVISOR, WRITE, MIB(12));
	load_cr3(m, roots[0] | 1, false);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	assert_at(m, KERNEL, TLB_SUPERVISOR, WRITE, MIB(11));
}

static void test_invlpg(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2];

	two_spaces(m, roots);
	fill_two_spaces(m, roots);
	dbt_mmu_flush_page(&m->mmu, 0x400123);
	assert_int_equal(m->dropped_page, 0x400000);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, 0x400000, TLB_SUPERVISOR_AC);
	assert_at(m, 0x600000, TLB_USER, WRITE, MIB(9) + PAGE_SIZE);
	dbt_mmu_flush_page(&m->mmu, 0x800000);
	dbt_mmu_flush_page(&m->mmu, KERNEL);
	assert_none(m, 0x800000, TLB_USER);
	assert_none(m, KERNEL, TLB_SUPERVISOR);
	assert_at(m, PRIVATE, TLB_SUPERVISOR, WRITE, MIB(12) + PAGE_SIZE);
	dbt_mmu_flush_page(&m->mmu, PRIVATE);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	dbt_mmu_flush_page(&m->mmu, 0x900000000000); /* nothing */

	/* In the other space: the global page is gone, the others are not. */
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x800000, TLB_USER);
	assert_none(m, 0x800000, TLB_SUPERVISOR_AC);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8));
	assert_at(m, 0x400000, TLB_SUPERVISOR_AC, WRITE, MIB(8));
	check_tables(m);
}

static void test_invpcid(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2];

	two_spaces(m, roots);
	fill_two_spaces(m, roots);
	/* 0: one page of one PCID */
	dbt_mmu_invpcid(&m->mmu, 0, 1, 0x400000);
	assert_int_equal(m->dropped_context->cr3, roots[0] | 1);
	assert_int_equal(m->dropped_page, 0x400000);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	dbt_mmu_invpcid(&m->mmu, 0, 2, PRIVATE);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	dbt_mmu_invpcid(&m->mmu, 0, 77, 0x400000);
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, 0x400000, TLB_SUPERVISOR_AC);
	assert_at(m, 0x600000, TLB_USER, WRITE, MIB(9));

	/* 1: one PCID, not its global pages */
	fill_two_spaces(m, roots);
	dbt_mmu_invpcid(&m->mmu, 1, 1, 0);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	assert_at(m, PRIVATE, TLB_SUPERVISOR, WRITE, MIB(12) + PAGE_SIZE);
	dbt_mmu_invpcid(&m->mmu, 1, 2, 0);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	assert_at(m, KERNEL, TLB_SUPERVISOR, WRITE, MIB(11));
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x400000, TLB_USER);

	/* 3: all PCIDs, but global pages */
	fill_two_spaces(m, roots);
	dbt_mmu_invpcid(&m->mmu, 3, 0, 0);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	assert_at(m, KERNEL, TLB_SUPERVISOR, WRITE, MIB(11));
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_at(m, KERNEL, TLB_SUPERVISOR, WRITE, MIB(11));

	/* 2: everything */
	fill_two_spaces(m, roots);
	dbt_mmu_invpcid(&m->mmu, 2, 0, 0);
	assert_null(m->dropped_context);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, KERNEL, TLB_SUPERVISOR);
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_none(m, 0x800000, TLB_USER);
	check_tables(m);
}

/* A guest whose kernel pages are not global gets supervisor tables for each address space. */
static void test_own_supervisor_tables(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2] = {new_table(m), new_table(m)};
	uint64_t shared = dbt_mmu_table(&m->mmu, TLB_SUPERVISOR);
	unsigned switched;

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < 100; k++)
			map(m, roots[i], PRIVATE + k * MIB(2), 1, (MIB(12) + i * PAGE_SIZE) | P | W | A | D);
	}
	load_cr3(m, roots[0] | 1, true);
	for (unsigned k = 0; k < 100; k++)
		assert_true(fill(m, PRIVATE + k * MIB(2), true, TLB_SUPERVISOR));
	/* Not before the translator can be told. */
	assert_int_equal(dbt_mmu_table(&m->mmu, TLB_SUPERVISOR), shared);
	switched = m->switched;
	load_cr3(m, roots[0] | 1, true);
	assert_int_equal(m->switched, switched + 1);
	assert_int_not_equal(dbt_mmu_table(&m->mmu, TLB_SUPERVISOR), shared);
	for (unsigned k = 0; k < 100; k++) {
		assert_none(m, PRIVATE + k * MIB(2), TLB_SUPERVISOR);
		assert_true(fill(m, PRIVATE + k * MIB(2), true, TLB_SUPERVISOR));
	}
	load_cr3(m, roots[1] | 2, true);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);
	assert_true(fill(m, PRIVATE, true, TLB_SUPERVISOR));
	assert_at(m, PRIVATE, TLB_SUPERVISOR, WRITE, MIB(12) + PAGE_SIZE);
	load_cr3(m, roots[0] | 1, true);
	for (unsigned k = 0; k < 100; k++)
		assert_at(m, PRIVATE + k * MIB(2), TLB_SUPERVISOR, WRITE, MIB(12));
	dbt_mmu_invpcid(&m->mmu, 1, 1, 0);
	assert_none(m, PRIVATE, TLB_SUPERVISOR);

	/* When global pages are turned on or off, it is tried anew. */
	m->cpu->s.cr4 ^= X86_CR4_PGE;
	switched = m->switched;
	dbt_mmu_flush(&m->mmu, true);
	assert_int_equal(m->switched, switched + 1);
	assert_int_equal(dbt_mmu_table(&m->mmu, TLB_SUPERVISOR), shared);
	check_tables(m);
}

/* One page of an address space that is selected for it, over and over, as Linux patches code. */
static void test_patching_keeps_the_shared_table(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2] = {new_table(m), new_table(m)};
	uint64_t shared = dbt_mmu_table(&m->mmu, TLB_SUPERVISOR);

	map(m, roots[1], PRIVATE, 1, MIB(12) | P | W | A | D);
	for (unsigned i = 0; i < 1000; i++) {
		load_cr3(m, roots[1] | 2, true);
		assert_true(fill(m, PRIVATE, true, TLB_SUPERVISOR));
		load_cr3(m, roots[0] | 1, true);
	}
	assert_int_equal(dbt_mmu_table(&m->mmu, TLB_SUPERVISOR), shared);
	check_tables(m);
}

/* More pages that are not global than are remembered: none survives a switch. */
static void test_overflow_of_the_log(void **state)
{
	struct machine *m = *state;
	gpa_t roots[2] = {new_table(m), new_table(m)};

	for (unsigned k = 0; k < 40; k++)
		map(m, roots[0], PRIVATE + k * MIB(2), 1, MIB(12) | P | W | A | D);
	map(m, roots[0], KERNEL, 1, MIB(11) | P | W | A | D | G);
	load_cr3(m, roots[0] | 1, true);
	for (unsigned k = 0; k < 40; k++)
		assert_true(fill(m, PRIVATE + k * MIB(2), true, TLB_SUPERVISOR));
	load_cr3(m, roots[1] | 2, true);
	for (unsigned k = 0; k < 40; k++)
		assert_none(m, PRIVATE + k * MIB(2), TLB_SUPERVISOR);
	for (unsigned k = 0; k < 40; k++)
		assert_int_equal(dbt_table_chunk_flags(m->mmu.global, PRIVATE + k * MIB(2)), 0);
}

static void test_code_pages(void **state)
{
	struct machine *m = *state;
	uint64_t *entry = map(m, m->cpu->s.cr3, 0x400000, 1, MIB(8) | P | U);
	bool global = true;
	gpa_t gpa;

	assert_int_equal(dbt_mmu_code_page(&m->mmu, 0x400123, true, &gpa, &global), 0);
	assert_int_equal(gpa, MIB(8));
	assert_false(global);
	assert_true(*entry & A);
	*entry |= 1ull << 63;
	assert_true(dbt_mmu_code_page(&m->mmu, 0x400123, true, &gpa, &global) < 0);
	assert_true(dbt_mmu_code_page(&m->mmu, 0x800000000000, true, &gpa, &global) < 0);
	assert_true(dbt_mmu_code_page(&m->mmu, KERNEL, false, &gpa, &global) < 0);

	map(m, m->cpu->s.cr3, KERNEL, 2, MIB(10) | P | A | PS | G);
	assert_int_equal(dbt_mmu_code_page(&m->mmu, KERNEL + 0x1234, false, &gpa, &global), 0);
	assert_int_equal(gpa, MIB(10) + PAGE_SIZE);
	assert_true(global);
	assert_true(dbt_mmu_code_page(&m->mmu, KERNEL, true, &gpa, &global) < 0);
	/* The code side forgets all when a part of a large page is invalidated. */
	dbt_mmu_flush_page(&m->mmu, 0x401000);
	assert_int_equal(m->dropped_page, 0x401000);
	dbt_mmu_flush_page(&m->mmu, KERNEL + 5 * PAGE_SIZE);
	assert_int_equal(m->dropped_page, ~0ull);
}

/* A guest that touches pages far from each other does not use up the host's memory or mappings. */
static void test_budget(void **state)
{
	struct machine *m = *state;
	struct dbt_table *table = m->mmu.current->table[TLB_USER];
	struct dbt_table_budget *budget = table->budget;

	for (unsigned i = 0; i < 20000; i++) {
		gva_t gva = (uint64_t)i * MIB(4);

		m->next_table = MIB(1) + PAGE_SIZE;
		memset(m->hva + m->cpu->s.cr3, 0, PAGE_SIZE);
		memset(m->hva + MIB(1), 0, 8 * PAGE_SIZE);
		m->cpu->s.cr3 = MIB(1) + PAGE_SIZE;
		map(m, m->cpu->s.cr3, gva, 1, MIB(8) | ALL);
		assert_true(fill(m, gva, true, TLB_USER));
		assert_true(budget->chunks <= budget->chunks_max && budget->runs <= budget->runs_max);
	}
	assert_true(budget->commits >= 20000);
	check_tables(m);
	dbt_table_release(table);
	assert_int_equal(budget->chunks, 0);
	assert_int_equal(budget->runs, 0);

	/* Runs grow together and fall apart. */
	for (unsigned i = 0; i < 7; i++)
		assert_non_null(dbt_table_chunk(table, (uint64_t)(i * 2 % 7) * MIB(2), 0));
	assert_int_equal(budget->runs, 1);
	assert_int_equal(budget->chunks, 7);
	dbt_table_release(table);
	assert_int_equal(budget->runs, 0);
}

/* After much was filled and dropped, most of it is given back. */
static void test_memory_is_given_back(void **state)
{
	struct machine *m = *state;
	struct dbt_table *table = m->mmu.current->table[TLB_USER];

	for (unsigned i = 0; i < 1000; i++)
		assert_non_null(dbt_table_chunk(table, (uint64_t)i * MIB(2), 0));
	dbt_table_drop(table);
	assert_int_equal(table->committed_count, 1000);
	assert_non_null(dbt_table_chunk(table, 0, 0));
	dbt_table_drop(table);
	assert_int_equal(table->committed_count, 0);
	assert_non_null(dbt_table_chunk(table, MIB(2), 0));
	check_tables(m);
}

/* Too little address space for a table more: another context's is used. */
static void test_table_is_taken_from_another_context(void **state)
{
	struct machine *m = *state;
	struct rlimit before, little = {GIB(1), GIB(1)};
	gpa_t roots[2];

	two_spaces(m, roots);
	load_cr3(m, roots[0] | 1, true);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	load_cr3(m, roots[1] | 2, true);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	little.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
	assert_none(m, 0x400000, TLB_USER);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_true(fill(m, 0x400000, true, TLB_SUPERVISOR_AC));
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	/* The first context's two tables went there; the next one's comes from what was used longest ago of the others. */
	load_cr3(m, roots[0] | 3, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	load_cr3(m, roots[1] | 2, true);
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8) + PAGE_SIZE);
	load_cr3(m, roots[0] | 1, true);
	assert_none(m, 0x400000, TLB_USER);
	assert_true(fill(m, 0x400000, true, TLB_USER));
	assert_at(m, 0x400000, TLB_USER, WRITE, MIB(8));
	check_tables(m);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_address_reaches_anything_else),
		TEST(test_neighbours),
		TEST(test_rights_of_the_levels_above),
		TEST(test_write_protection),
		TEST(test_smap),
		TEST(test_protection_keys),
		TEST(test_large_pages),
		TEST(test_paging_of_32_bits),
		TEST(test_dirty_log),
		TEST(test_pcids),
		TEST(test_more_pcids_than_contexts),
		TEST(test_supervisor_pages_that_are_not_global),
		TEST(test_invlpg),
		TEST(test_invpcid),
		TEST(test_own_supervisor_tables),
		TEST(test_patching_keeps_the_shared_table),
		TEST(test_overflow_of_the_log),
		TEST(test_code_pages),
		TEST(test_budget),
		TEST(test_memory_is_given_back),
		TEST(test_table_is_taken_from_another_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
