/* Making entries of the flat tables: the walk for one page, and its neighbours for nothing. See mmu.h.
 *
 * A fault costs some microseconds, so one fills the whole chunk (2 MiB) with what can be had without changing a bit of
 * the guest's tables: pages that are present, accessed, of the same kind as the one that was asked for, and in RAM.
 * That is what a processor that walks ahead may do (SDM 3A 4.10.2.3).
 */
#include "engine/dbt/mmu.h"
#include "engine/dbt/mmu_state.h"
#include "core/debug.h"

#define PTE_P  (1ull << 0)
#define PTE_RW (1ull << 1)
#define PTE_US (1ull << 2)
#define PTE_A  (1ull << 5)
#define PTE_D  (1ull << 6)
#define PTE_G  (1ull << 8)
#define PTE_PKEY_SHIFT 59

/* What all entries of one fill have in common. */
struct fill {
	struct dbt_ram *ram;
	uint64_t *chunk;
	gva_t start;      /* of the chunk */
	uint64_t invalid; /* entry of `start` when invalid */
	uint8_t *region;  /* of a large page that the chunk lies in, or NULL */
	const struct debug *watching; /* a debugger's watchpoints keep their pages out; or NULL */
};

static unsigned access_of(enum tlb_index index, bool write)
{
	return (write ? X86_WALK_WRITE : 0) | (index == TLB_USER ? X86_WALK_USER : 0) |
	       (index == TLB_SUPERVISOR_AC ? X86_WALK_SMAP_AC : 0);
}

/* May pages without the W bit be written? */
static bool writes_read_only(const struct x86_state *s, enum tlb_index index)
{
	return !(s->cr0 & X86_CR0_PG) || (index != TLB_USER && !(s->cr0 & X86_CR0_WP));
}

static bool keys_on(const struct x86_state *s)
{
	return (s->cr4 & X86_CR4_PKE) && (s->efer & X86_EFER_LMA);
}

/* Does PKRU let the page be written, which may be read? */
static bool key_writable(const struct x86_state *s, const struct x86_walk *walk, enum tlb_index index)
{
	return !keys_on(s) || !walk->user || !(s->pkru >> (2 * walk->pkey + 1) & 1) || writes_read_only(s, index);
}

/* The dirty log is on: pages become writable one by one. */
static bool logging(const struct mem *mem)
{
	for (unsigned i = 0; i < mem->count; i++) {
		if (mem->slots[i].dirty)
			return true;
	}
	return false;
}

static void log_dirty(struct mem *mem, gpa_t gpa)
{
	struct mem_slot *slot = mem_find(mem, gpa);
	uint64_t page;

	if (!slot || !slot->dirty)
		return;
	page = (gpa - slot->gpa) >> PAGE_SHIFT;
	atomic_fetch_or(&slot->dirty[page / 64], 1ull << (page % 64));
}

/* ---- neighbours ---- */

static bool is_watched(const struct fill *fill, unsigned i)
{
	return unlikely(fill->watching != NULL) && debug_watches_page(fill->watching, fill->start + (uint64_t)i * PAGE_SIZE);
}

static bool missing(const struct fill *fill, unsigned i)
{
	return fill->chunk[i] == fill->invalid - (uint64_t)i * PAGE_SIZE;
}

static unsigned put(const struct fill *fill, unsigned i, gpa_t gpa, bool writable)
{
	uint8_t *view = writable ? dbt_ram_view_ready(fill->ram, gpa, true) : NULL;

	if (!view)
		view = dbt_ram_view_ready(fill->ram, gpa, false);
	if (!view)
		return 0;
	fill->chunk[i] = (uintptr_t)view - (fill->start + (uint64_t)i * PAGE_SIZE);
	return 1;
}

/* The chunk lies in one large page (or paging is off): gpa is that of its start. Entries that were there are replaced by the
 * region's: they may be of a time when the page could not be written. */
static unsigned fill_linear(const struct fill *fill, gpa_t gpa, bool writable)
{
	unsigned filled = 0;

	for (unsigned i = 0; i < DBT_CHUNK_ENTRIES; i++, gpa += PAGE_SIZE) {
		if (is_watched(fill, i))
			continue;
		if (fill->region && !(writable && dbt_ram_protected(fill->ram, gpa))) {
			fill->chunk[i] = (uintptr_t)fill->region - fill->start;
			filled++;
		} else if (missing(fill, i)) {
			filled += put(fill, i, gpa, writable);
		}
	}
	return filled;
}

/* What the entry of a neighbour must look like: of the same kind as the walked page's. */
struct rule {
	uint64_t mask, want;
	uint64_t frame;
	uint64_t writable_mask; /* all of these set: it may be written */
	bool writable;          /* unless that is false */
};

static unsigned fill_leaves(const struct fill *fill, const uint64_t *leaves, const struct rule *rule)
{
	unsigned filled = 0;

	for (unsigned i = 0; i < DBT_CHUNK_ENTRIES; i++) {
		uint64_t pte = __atomic_load_n(&leaves[i], __ATOMIC_RELAXED);

		if ((pte & rule->mask) != rule->want || !missing(fill, i) || is_watched(fill, i))
			continue;
		filled += put(fill, i, pte & rule->frame,
			      rule->writable && (pte & rule->writable_mask) == rule->writable_mask);
	}
	return filled;
}

/* pte: the walked page's. */
static struct rule make_rule(const struct cpu *cpu, const struct x86_walk *walk, enum tlb_index index, uint64_t pte,
			     bool log)
{
	const struct x86_state *s = &cpu->s;
	uint64_t same = walk->table_user ? PTE_US : 0;

	if (s->cr4 & X86_CR4_PGE)
		same |= PTE_G;
	if (keys_on(s) && walk->user)
		same |= 15ull << PTE_PKEY_SHIFT;
	return (struct rule){
		.mask = PTE_P | PTE_A | same | x86_leaf_reserved(s, cpu->cpuid->physical_bits),
		.want = PTE_P | PTE_A | (pte & same),
		.frame = ((1ull << cpu->cpuid->physical_bits) - 1) & PAGE_MASK,
		.writable_mask = PTE_D | (writes_read_only(s, index) ? 0 : PTE_RW),
		.writable = !log && key_writable(s, walk, index) &&
			    (walk->table_writable || writes_read_only(s, index)),
	};
}

/* The whole chunk is mapped by one entry, or by none. */
static bool is_large(const struct x86_walk *walk)
{
	return walk->entry == ~0ull || walk->page_size >= MIB(2);
}

/* Of the start of gva's chunk, in a large page. */
static gpa_t chunk_gpa(const struct x86_walk *walk, gva_t gva)
{
	return (walk->gpa & PAGE_MASK) - ((gva & PAGE_MASK) - dbt_chunk_start(gva));
}

static unsigned fill_neighbours(struct dbt_mmu *mmu, const struct fill *fill, gva_t gva, const struct x86_walk *walk,
				enum tlb_index index, bool writable, bool log)
{
	struct cpu *cpu = mmu->cpu;
	const uint64_t *leaves;
	struct rule rule;

	if (is_large(walk))
		return fill_linear(fill, chunk_gpa(walk, gva), writable);
	if (walk->entry_size != 8)
		return 0;
	leaves = mem_hva(&cpu->vm->mem, walk->entry & PAGE_MASK, PAGE_SIZE);
	if (!leaves)
		return 0;
	rule = make_rule(cpu, walk, index, leaves[dbt_chunk_index(gva)], log);
	return fill_leaves(fill, leaves, &rule);
}

/* ---- the page asked for ---- */

static unsigned kind_of(const struct x86_walk *walk, bool shared)
{
	unsigned kind = walk->global ? DBT_CHUNK_GLOBAL : shared ? DBT_CHUNK_NONGLOBAL : 0;

	if (walk->page_size > MIB(4))
		return kind | DBT_CHUNK_HUGE;
	if (walk->page_size == MIB(4))
		return kind | DBT_CHUNK_LARGE4;
	return walk->page_size == MIB(2) ? kind | DBT_CHUNK_LARGE : kind;
}

/* May the page, and its large page's neighbours, be written by entries made now? */
static bool all_writable(const struct dbt_mmu *mmu, const struct x86_walk *walk, enum tlb_index index, bool log)
{
	const struct x86_state *s = &mmu->cpu->s;

	return !log && walk->dirty && (walk->writable || writes_read_only(s, index)) && key_writable(s, walk, index);
}

/* A view of the page for this access. */
static uint8_t *view_for(struct dbt_mmu *mmu, gpa_t page, bool write, bool writable)
{
	uint8_t *view = write || writable ? dbt_ram_view(mmu->ram, page, true) : NULL;

	return view || write ? view : dbt_ram_view(mmu->ram, page, false);
}

static enum tlb_index rights_of(unsigned table)
{
	return table == DBT_TABLE_USER32 ? TLB_USER : table == DBT_TABLE_KERNEL32 ? TLB_SUPERVISOR_AC : (enum tlb_index)table;
}

enum dbt_fill dbt_mmu_fill(struct dbt_mmu *mmu, gva_t gva, bool write, unsigned table_index, uint64_t *addend)
{
	bool narrow = table_index == DBT_TABLE_USER32 || table_index == DBT_TABLE_KERNEL32;
	enum tlb_index index = rights_of(table_index);
	struct cpu *cpu = mmu->cpu;
	struct mem *mem = &cpu->vm->mem;
	struct dbt_table *table;
	struct x86_walk walk;
	uint8_t *view, *region = NULL;
	bool writable, log = logging(mem);
	gpa_t page;

	if (unlikely(cpu->watching) && debug_watches_page(cpu->debug, gva))
		return DBT_FILL_NO;
	if (!canonical(gva) || (narrow && gva >> 32) ||
	    x86_walk(mem, &cpu->s, cpu->cpuid->physical_bits, gva, access_of(index, write), &walk) < 0)
		return DBT_FILL_NO;
	page = walk.gpa & PAGE_MASK;
	writable = all_writable(mmu, &walk, index, log);
	if (write && log)
		log_dirty(mem, page);
	/* (Accesses that cross pages of a region come through the entry of the first.) */
	if (is_large(&walk) && !log && !cpu->watching)
		region = dbt_ram_region(mmu->ram, chunk_gpa(&walk, gva), writable);
	if (region && !(writable && dbt_ram_protected(mmu->ram, page)) && write <= writable)
		view = region + ((gva & PAGE_MASK) - dbt_chunk_start(gva));
	else
		view = view_for(mmu, page, write, writable);
	table = view ? dbt_mmu_table_for(mmu, table_index) : NULL;
	if (!table)
		return DBT_FILL_NO;

	bool shared = dbt_mmu_table_shared(mmu, table);
	bool first = !(dbt_table_chunk_flags(table, gva) & DBT_CHUNK_NONGLOBAL);
	struct fill fill = {
		.ram = mmu->ram,
		.chunk = dbt_mmu_chunk(mmu, table, gva, kind_of(&walk, shared)),
		.start = dbt_chunk_start(gva),
		.invalid = dbt_entry_invalid(table, dbt_chunk_start(gva)),
		.region = region,
		.watching = cpu->watching ? cpu->debug : NULL,
	};

	if (!fill.chunk)
		return DBT_FILL_NO;
	if (shared && walk.global)
		dbt_mmu_note_global(mmu);
	else if (shared)
		dbt_mmu_note_nonglobal(mmu, gva, first);
	mmu->fills++;
	mmu->filled_entries += 1 + fill_neighbours(mmu, &fill, gva, &walk, index, writable, log);
	*addend = (uintptr_t)view - (gva & PAGE_MASK);
	fill.chunk[dbt_chunk_index(gva)] = *addend;
	mmu->commits = dbt_mmu_state(mmu)->budget.commits;
	return DBT_FILLED;
}

bool dbt_mmu_peek(struct dbt_mmu *mmu, gva_t gva, unsigned index, uint64_t *addend)
{
	struct dbt_table *table = dbt_mmu_table_for(mmu, index);

	return table && canonical(gva) && dbt_table_lookup(table, gva, addend);
}
