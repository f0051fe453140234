/* The code cache of a vcpu: host code, the blocks it came from, and where branches between them go.
 *
 * Blocks are kept by (rip, gpa, key): their code has the guest's linear addresses in it, and belongs to the bytes of one
 * physical page. Ways from block to block:
 *   - within a page, jumps that are patched (links): wherever the page is mapped at this address, both are valid;
 *   - across pages, jumps that are patched too, behind a look at whether the context has the page that they lead to (pairs);
 *     and to a block that itself goes on into another page through a slot of the context: an address that a flush sets
 *     back to the slot's stub;
 *   - indirect ones, through the context's jump cache, to an entry that checks rip;
 *   - returns, through the side stack, which is emptied whenever mappings, rights or code change.
 * When its page is written a block is suspended: its first bytes are replaced by a way out, and put back when it is looked
 * for again and its guest bytes are what they were. If not it is stale and leads to its successor.
 */
#include "engine/dbt/dbt.h"
#include "engine/dbt/cache.h"
#include "engine/dbt/counts.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/translation.h"
#include "core/vm.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define META_SIZE   MIB(96)
#define TB_MAX      524288
#define SLOT_HASH   (DBT_SLOTS_MAX * 2)
#define PAIR_HASH   (DBT_PAIRS_MAX * 2)

static uint64_t mix(uint64_t value)
{
	return value * 0x9e3779b97f4a7c15ull;
}

static unsigned tb_hash(uint64_t rip, gpa_t gpa, uint32_t key)
{
	return (unsigned)(mix(rip ^ gpa << 20 ^ (uint64_t)key << 50) >> 40) & (DBT_TB_HASH - 1);
}

static unsigned page_hash(gpa_t gpa)
{
	return (unsigned)(mix(gpa >> PAGE_SHIFT) >> 40) & (DBT_PAGE_HASH - 1);
}

static void *reserve(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* Memory of reserve(), all zeroes again, and given back. */
static void clear(void *at, size_t size)
{
	if (madvise(at, size, MADV_DONTNEED) < 0)
		memset(at, 0, size);
}

void *dbt_meta_alloc(struct dbt *d, size_t size)
{
	void *at = d->meta + d->meta_used;

	size = (size + 7) & ~(size_t)7;
	if (size > d->meta_size - d->meta_used)
		return NULL;
	d->meta_used += size;
	return at;
}

/* ---- blocks ---- */

static struct emitter emitter_at(struct dbt *d, size_t offset)
{
	return (struct emitter){.at = d->code_write + offset,
				.end = d->code_write + d->code_size,
				.run_delta = d->code_run - d->code_write};
}

struct tb *dbt_tb_find_host(struct dbt *d, const uint8_t *host)
{
	uint32_t offset = (uint32_t)(host - d->code_run), low = 0, high = d->tb_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (d->tb_order[middle]->host <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;

	struct tb *tb = d->tb_order[low - 1];

	return offset < tb->host + tb->host_size ? tb : NULL;
}

static struct code_page *page_find(struct dbt *d, gpa_t gpa)
{
	struct code_page *page = d->page_hash[page_hash(gpa)];

	while (page && page->gpa != gpa)
		page = page->next;
	return page;
}

static struct code_page *page_get(struct dbt *d, gpa_t gpa)
{
	struct code_page *page = page_find(d, gpa);
	unsigned hash = page_hash(gpa);

	if (page)
		return page;
	page = dbt_meta_alloc(d, sizeof(*page));
	if (!page)
		return NULL;
	*page = (struct code_page){.gpa = gpa, .next = d->page_hash[hash]};
	d->page_hash[hash] = page;
	return page;
}

/* The block's first bytes become a way out, to C or to its successor. */
static void redirect(struct dbt *d, struct tb *tb, const struct tb *successor)
{
	struct emitter e = emitter_at(d, tb->host);

	_Static_assert(TB_REDIRECT >= 10 + 5, "the longest MOV of an immediate and a JMP");
	if (successor) {
		emit_jmp(&e, tb_entry(d, successor));
		return;
	}
	emit_mov_imm(&e, HOST_U, tb->rip);
	emit_jmp(&e, d->exit_lookup);
}

void dbt_tb_drop(struct dbt *d, struct tb *tb)
{
	if (tb->state == TB_LIVE)
		redirect(d, tb, NULL);
	if (tb->state != TB_STALE)
		d->stats.invalidated++;
	tb->state = TB_STALE;
}

/* Of a block that crosses: how many of its bytes lie on its first and on its second page. */
static unsigned bytes_on_first(const struct tb *tb)
{
	unsigned room = PAGE_SIZE - (unsigned)(tb->gpa & ~PAGE_MASK);

	return tb->second && room < tb->length ? room : tb->length;
}

static unsigned bytes_on_second(const struct tb *tb)
{
	return tb->length - bytes_on_first(tb);
}

static void page_forget_stale(struct code_page *page)
{
	struct tb **link = &page->tbs;

	while (*link) {
		if ((*link)->state == TB_STALE)
			*link = (*link)->page_next;
		else
			link = &(*link)->page_next;
	}
	for (link = &page->crossing; *link;) {
		if ((*link)->state == TB_STALE)
			*link = (*link)->second_next;
		else
			link = &(*link)->second_next;
	}
}

static bool is_known(const struct dbt *d, gva_t gva)
{
	for (unsigned i = 0; i < d->breakpoint_count; i++) {
		if (d->breakpoints[i] == gva)
			return true;
	}
	return false;
}

static void drop_across(struct dbt *d, gva_t gva)
{
	for (uint32_t i = 0; i < d->tb_count; i++) {
		struct tb *tb = d->tb_order[i];

		if (tb->rip <= gva && gva - tb->rip < tb->length)
			dbt_tb_drop(d, tb);
	}
}

void dbt_debug(struct dbt *d)
{
	const struct debug_point *points;
	unsigned count = debug_points(d->cpu.vm->debug, &points), kept = 0;
	gva_t now[DEBUG_POINTS_MAX];

	for (unsigned i = 0; i < count; i++) {
		if (points[i].kind != DEBUG_BREAK)
			continue;
		if (!is_known(d, points[i].gva))
			drop_across(d, points[i].gva);
		now[kept++] = points[i].gva;
	}
	memcpy(d->breakpoints, now, kept * sizeof(now[0]));
	d->breakpoint_count = kept;
	/* A return goes into the middle of a block. */
	dbt_side_reset(d);
}

void dbt_page_drop_range(struct dbt *d, gpa_t gpa, unsigned len)
{
	struct code_page *page = page_find(d, gpa & PAGE_MASK);
	bool any = false;

	if (!page)
		return;
	for (struct tb *tb = page->tbs; tb; tb = tb->page_next) {
		if (tb->gpa < gpa + len && gpa < tb->gpa + tb->length) {
			dbt_tb_drop(d, tb);
			any = true;
		}
	}
	for (struct tb *tb = page->crossing; tb; tb = tb->second_next) {
		if (gpa < tb->second + bytes_on_second(tb)) {
			dbt_tb_drop(d, tb);
			any = true;
		}
	}
	if (any) {
		page_forget_stale(page);
		dbt_side_reset(d);
	}
}

static void tb_suspend(struct dbt *d, struct tb *tb)
{
	if (tb->state != TB_LIVE)
		return;
	memcpy(tb->first, d->code_write + tb->host, TB_REDIRECT);
	redirect(d, tb, NULL);
	tb->state = TB_SUSPENDED;
}

void dbt_page_suspend(struct dbt *d, gpa_t gpa)
{
	struct code_page *page = page_find(d, gpa & PAGE_MASK);

	if (!page || page->suspended)
		return;
	page->suspended = true;
	page_forget_stale(page);
	for (struct tb *tb = page->tbs; tb; tb = tb->page_next)
		tb_suspend(d, tb);
	for (struct tb *tb = page->crossing; tb; tb = tb->second_next)
		tb_suspend(d, tb);
	dbt_side_reset(d);
}

#define MIXED_AFTER  32
#define MIXED_WRITES 16 /* in a row: data after all */

bool dbt_page_stays_code(struct dbt *d, gpa_t gpa)
{
	struct code_page *page = page_find(d, gpa & PAGE_MASK);

	return page && page->resumed >= MIXED_AFTER && ++page->writes < MIXED_WRITES;
}

/* The page is code again, watched from now on. */
static void page_resume(struct dbt *d, gpa_t gpa)
{
	struct code_page *page = page_find(d, gpa & PAGE_MASK);

	code_page_mark(&d->cpu, gpa & PAGE_MASK);
	if (!page)
		return;
	page->writes = 0;
	if (!page->suspended)
		return;
	page->suspended = false;
	page->resumed++;
}

static bool tb_resume(struct dbt *d, struct tb *tb, const uint8_t *page)
{
	unsigned first = bytes_on_first(tb);
	const uint8_t *second = tb->second ? mem_hva(&d->cpu.vm->mem, tb->second, PAGE_SIZE) : NULL;

	if (memcmp(tb->bytes, page + (tb->gpa & ~PAGE_MASK), first) ||
	    (second && memcmp(tb->bytes + first, second, tb->length - first))) {
		tb->state = TB_STALE;
		d->stats.invalidated++;
		return false;
	}
	memcpy(d->code_write + tb->host, tb->first, TB_REDIRECT);
	tb->state = TB_LIVE;
	d->stats.resumed++;
	return true;
}

/* The block if it may be entered; else one that was replaced or is to be, in *stale. */
static struct tb *tb_find(struct dbt *d, uint64_t rip, gpa_t gpa, uint32_t key, const uint8_t *page, gpa_t second,
			  struct tb **stale)
{
	*stale = NULL;
	for (struct tb *tb = d->tb_hash[tb_hash(rip, gpa, key)]; tb; tb = tb->hash_next) {
		if (tb->rip != rip || tb->gpa != gpa || tb->key != key || tb->second != second)
			continue;
		if (tb->state == TB_LIVE)
			return tb;
		if (tb->state == TB_SUSPENDED) {
			page_resume(d, gpa);
			if (second)
				page_resume(d, second);
			if (tb_resume(d, tb, page))
				return tb;
		}
		if (!*stale)
			*stale = tb; /* the latest: hash chains grow at the front */
	}
	return NULL;
}

/* One that may be entered as it is, on one page. */
static struct tb *tb_at(const struct dbt *d, uint64_t rip, gpa_t gpa, uint32_t key)
{
	struct tb *tb = d->tb_hash[tb_hash(rip, gpa, key)];

	while (tb && !(tb->rip == rip && tb->gpa == gpa && tb->key == key && tb->state == TB_LIVE && !tb->second))
		tb = tb->hash_next;
	return tb;
}

/* Most of the time there is none, and the answer should not cost a miss of the host's cache. */
#define FILTER_BITS 20
#define FILTER_SIZE ((size_t)1 << (FILTER_BITS - 3))

static unsigned tb_filter_bit(uint64_t rip, gpa_t gpa, uint32_t key)
{
	return (unsigned)(((rip ^ gpa << 20) * 0x9e3779b97f4a7c15ull + key) >> (64 - FILTER_BITS));
}

static bool filter_has(const struct dbt *d, unsigned bit)
{
	return d->tb_filter[bit / 64] >> bit % 64 & 1;
}

bool dbt_tb_exists(const struct dbt *d, uint64_t rip, gpa_t gpa, uint32_t key)
{
	return filter_has(d, tb_filter_bit(rip, gpa, key)) && tb_at(d, rip, gpa, key) != NULL;
}

static void tb_unhash(struct dbt *d, struct tb *tb)
{
	struct tb **link = &d->tb_hash[tb_hash(tb->rip, tb->gpa, tb->key)];

	while (*link && *link != tb)
		link = &(*link)->hash_next;
	if (*link)
		*link = tb->hash_next;
}

static bool tb_insert(struct dbt *d, struct tb *tb)
{
	struct code_page *page = page_get(d, tb->gpa & PAGE_MASK);
	unsigned hash = tb_hash(tb->rip, tb->gpa, tb->key);

	if (!page || d->tb_count == d->tb_max)
		return false;
	d->tb_filter[tb_filter_bit(tb->rip, tb->gpa, tb->key) / 64] |= 1ull << tb_filter_bit(tb->rip, tb->gpa, tb->key) % 64;
	tb->hash_next = d->tb_hash[hash];
	d->tb_hash[hash] = tb;
	tb->page_next = page->tbs;
	page->tbs = tb;
	d->tb_order[d->tb_count++] = tb;
	if (tb->second) {
		struct code_page *second = page_get(d, tb->second);

		if (!second)
			return false;
		tb->second_next = second->crossing;
		second->crossing = tb;
	}
	return true;
}

static bool room_for_block(const struct dbt *d)
{
	return dbt_counts_room(d) && d->code_size - d->code_used - d->cold_used > 2 * TB_MAX_HOST && d->tb_count < d->tb_max - 1 &&
	       d->meta_size - d->meta_used > 65536 && d->link_count < DBT_LINKS_MAX - TB_MAX_EXITS &&
	       d->slot_kinds[dbt_kind_now(d)].count < DBT_SLOTS_MAX - TB_MAX_EXITS &&
	       d->slot_kinds[dbt_kind_now(d)].pair_count < DBT_PAIR_NONE - 1;
}

/* Does the instruction at rip go on in the next page? Then *gpa is that page's; may raise the fetch's fault. False: it is
 * not to be translated (device memory). */
static bool find_second(struct dbt *d, uint64_t rip, const uint8_t *page, gpa_t *gpa, uint8_t **second)
{
	unsigned offset = (unsigned)(rip & ~PAGE_MASK);
	struct x86_insn insn;

	*second = NULL;
	*gpa = 0;
	if (offset <= PAGE_SIZE - 15 ||
	    x86_decode(&insn, page + offset, PAGE_SIZE - offset, (enum x86_mode)d->cpu.mode) != X86_DECODE_MORE)
		return true;
	*gpa = cpu_code_page(&d->cpu, (rip & PAGE_MASK) + PAGE_SIZE, second);
	/* Zero stands for none. */
	return *second && *gpa;
}

/* For --dump tb and --perf-map. */
static void tell(struct dbt *d, const struct tb *tb)
{
	struct translation_log *log = d->cpu.vm->translations;
	struct translation_insn insns[TB_MAX_INSNS];

	if (likely(!log))
		return;
	for (unsigned i = 0; i < tb->count; i++)
		insns[i] = (struct translation_insn){.guest = tb->insns[i].guest, .host = tb->insns[i].host};
	log->add(log, &(struct translation){
		.rip = tb->rip,
		.gpa = tb->gpa,
		.user = d->cpu.cpl == 3,
		.narrow = dbt_narrow(d),
		.guest = tb->bytes,
		.guest_size = tb->length,
		.host = d->code_write + tb->host,
		.host_address = (uintptr_t)tb_entry(d, tb),
		.host_size = tb->host_size,
		.insns = insns,
		.count = tb->count,
	});
}

static void tell_stubs(struct dbt *d)
{
	struct translation_log *log = d->cpu.vm->translations;

	if (log)
		log->add(log, &(struct translation){
			.name = "stubs",
			.host = d->code_write,
			.host_address = (uintptr_t)d->code_run,
			.host_size = (size_t)(d->stubs_end - d->code_run),
		});
}

static bool pair_in_force(struct dbt *d, gva_t page, gpa_t *gpa);

/* Goes on if u is rip. */
static void emit_is_meant(struct dbt *d, struct emitter *e, uint64_t rip)
{
	uint8_t *meant;

	emit_mov_imm(e, HOST_T, 0 - rip);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1}, 8);
	meant = emit_jrcxz(e);
	emit_jmp(e, d->exit_indirect);
	emit_patch_short(e, meant);
}

/* The entry for indirect branches of the block that is about to be made: right before it. */
static uint32_t entry_before(struct dbt *d, uint64_t rip)
{
	struct emitter e = emitter_at(d, d->code_used);
	uint32_t at = (uint32_t)d->code_used;

	emit_is_meant(d, &e, rip);
	d->code_used = (size_t)(e.at - d->code_write);
	return at;
}

/* From the file of an earlier run, from another address, or new. */
static struct tb *translation_of(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page, gpa_t second_gpa, const uint8_t *second)
{
	/* Records know nothing of breakpoints, and code with counters is of no use elsewhere. */
	bool records = !second && !dbt_narrow(d) && !d->cpu.vm->debug && !d->runs;
	struct tb *tb = records ? dbt_cache_load(d, rip, gpa, page) : NULL;

	if (!tb && records)
		tb = dbt_moved_get(d, rip, gpa, page);
	if (tb)
		return tb;
	tb = dbt_translate(d, rip, gpa, page, second_gpa, second);
	if (tb && !d->cpu.vm->debug && !d->runs)
		dbt_cache_offer(d, tb, page);
	return tb;
}

/* The links that the new block made, from the first on: those whose target is there already need not come to C for it. */
static void link_known(struct dbt *d, const struct tb *tb, uint32_t first)
{
	for (uint32_t i = first; i < d->link_count; i++) {
		uint64_t target = d->links[i].target;
		gpa_t page = tb->gpa & PAGE_MASK;
		struct tb *known = NULL;

		if (!d->links[i].check || pair_in_force(d, target & PAGE_MASK, &page))
			known = tb_at(d, target, page | (target & ~PAGE_MASK), d->cpu.key);
		if (known)
			dbt_link_resolve(d, i, known);
	}
}

struct tb *dbt_tb_get(struct dbt *d, bool indirect)
{
	struct cpu *cpu = &d->cpu;
	uint64_t rip = cpu->s.rip;
	struct tb *tb, *stale;
	uint8_t *page, *second;
	gpa_t gpa, second_gpa;
	uint32_t links, entry;

	/* Behind the last page EIP wraps. */
	if (dbt_narrow(d) && rip >= 0xfffff000u)
		return NULL;
	gpa = cpu_code_page(cpu, rip, &page) | (rip & ~PAGE_MASK);
	if (unlikely(cpu->debug != NULL) && debug_break_at(cpu->debug, rip))
		return NULL; /* the run loop stands before it, and looks */
	if (!page || !find_second(d, rip, page, &second_gpa, &second))
		return NULL;
	tb = tb_find(d, rip, gpa, dbt_key(d), page, second_gpa, &stale);
	if (tb)
		return tb;
	if (!room_for_block(d)) {
		dbt_code_flush(d);
		stale = NULL;
	}
	page_resume(d, gpa);
	if (second)
		page_resume(d, second_gpa);
	links = d->link_count;
	dbt_time(d, DBT_TIME_TRANSLATION);
	entry = indirect ? entry_before(d, rip) : 0;
	tb = translation_of(d, rip, gpa, page, second_gpa, second);
	dbt_time(d, DBT_TIME_C);
	if (!tb || !tb_insert(d, tb))
		return NULL;
	tb->indirect = entry;
	/* (In lock-step blocks are not linked.) */
	if (!tb->second && !d->check)
		link_known(d, tb, links);
	tell(d, tb);
	if (stale) {
		redirect(d, stale, tb);
		tb_unhash(d, stale);
	}
	return tb;
}

uint8_t *dbt_tb_indirect_entry(struct dbt *d, struct tb *tb)
{
	struct emitter e = emitter_at(d, d->code_used);

	if (tb->indirect)
		return d->code_run + tb->indirect;
	if (d->code_size - d->code_used - d->cold_used < 64)
		return NULL;
	tb->indirect = (uint32_t)d->code_used;
	emit_is_meant(d, &e, tb->rip);
	emit_jmp(&e, tb_entry(d, tb));
	d->code_used = (size_t)(e.at - d->code_write + 15) & ~(size_t)15;
	return d->code_run + tb->indirect;
}

/* ---- links ---- */

uint32_t dbt_link_new(struct dbt *d, uint64_t target)
{
	if (d->link_count == DBT_LINKS_MAX)
		return ~0u;
	d->links[d->link_count] = (struct dbt_link){.target = target};
	return d->link_count++;
}

struct emitter dbt_cold_emitter(struct dbt *d)
{
	d->cold_used += DBT_COLD;
	return emitter_at(d, d->code_size - d->cold_used);
}

/* ---- pairs ---- */

static uint32_t pair_first(gva_t page)
{
	return (uint32_t)(mix(page >> PAGE_SHIFT) >> 40) & (PAIR_HASH - 1);
}

/* Its number; DBT_PAIR_NONE: there are too many. */
static uint32_t pair_get(struct dbt_slots *kind, gva_t page, gpa_t gpa)
{
	uint32_t at = pair_first(page);

	for (; kind->pair_hash[at]; at = (at + 1) & (PAIR_HASH - 1)) {
		const struct dbt_pair *pair = &kind->pairs[kind->pair_hash[at] - 1];

		if (pair->page == page && pair->gpa == gpa)
			return kind->pair_hash[at] - 1;
	}
	if (kind->pair_count == DBT_PAIR_NONE)
		return DBT_PAIR_NONE;
	kind->pairs[kind->pair_count] = (struct dbt_pair){page, gpa};
	kind->pair_hash[at] = ++kind->pair_count;
	return kind->pair_count - 1;
}

static uint8_t *pair_byte(struct dbt_targets *targets, uint32_t number)
{
	return (uint8_t *)targets->slots + DBT_PAIR_DISP(number);
}

/* The context has no pair, or, if page is one, none with that page. */
static void pairs_reset(struct dbt *d, struct dbt_targets *targets, enum dbt_kind code, gva_t page)
{
	const struct dbt_slots *kind = &d->slot_kinds[code];
	uint32_t at = pair_first(page);

	if (!targets->filled_pairs || !kind->pair_count)
		return;
	if (page == ~0ull) {
		memset(pair_byte(targets, kind->pair_count - 1), 0, kind->pair_count);
		targets->filled_pairs = false;
		return;
	}
	for (; kind->pair_hash[at]; at = (at + 1) & (PAIR_HASH - 1)) {
		if (kind->pairs[kind->pair_hash[at] - 1].page == (page & PAGE_MASK))
			*pair_byte(targets, kind->pair_hash[at] - 1) = 0;
	}
}

/* ---- slots ---- */

static uint32_t *slot_hash(struct dbt_slots *kind, uint64_t target)
{
	uint32_t at = (uint32_t)(mix(target) >> 40) & (SLOT_HASH - 1);

	while (kind->hash[at] && kind->slots[kind->hash[at] - 1].target != target)
		at = (at + 1) & (SLOT_HASH - 1);
	return &kind->hash[at];
}

static uint32_t slot_get(struct dbt *d, uint64_t target, enum dbt_kind kind)
{
	struct dbt_slots *slots = &d->slot_kinds[kind];
	uint32_t *hashed = slot_hash(slots, target);

	if (!*hashed) {
		if (slots->count == DBT_SLOTS_MAX)
			return ~0u;
		slots->slots[slots->count] = (struct dbt_slot){.target = target};
		*hashed = ++slots->count;
	}
	return *hashed - 1;
}

/* Where branches of a kind of code lead, by context. */
static struct dbt_targets *of_contexts(const struct dbt *d, enum dbt_kind kind)
{
	switch (kind) {
	case DBT_KERNEL:
		return d->kernel_own;
	case DBT_USER:
		return d->targets;
	case DBT_USER32:
		return d->targets32;
	default:
		return d->kernel32;
	}
}

/* Slots made since the last time get their stubs and the default in all contexts. */
static void slots_complete(struct dbt *d, enum dbt_kind kind)
{
	struct dbt_slots *slots = &d->slot_kinds[kind];

	for (uint32_t i = slots->count; i-- > 0 && !slots->slots[i].stub;) {
		struct emitter e = emitter_at(d, d->code_used);

		slots->slots[i].stub = (uint32_t)d->code_used;
		emit_mov_imm(&e, HOST_U, slots->slots[i].target);
		emit_mov_imm(&e, HOST_T, i);
		emit_jmp(&e, d->exit_slot);
		d->code_used = (size_t)(e.at - d->code_write);
		for (unsigned n = 0; n < d->mmu.context_count; n++)
			of_contexts(d, kind)[n].slots[i] = (uintptr_t)d->code_run + slots->slots[i].stub;
		if (kind == DBT_KERNEL)
			d->kernel.slots[i] = (uintptr_t)d->code_run + slots->slots[i].stub;
	}
	d->code_used = (d->code_used + 15) & ~(size_t)15;
}

static struct dbt_targets *targets_now(struct dbt *d, enum dbt_kind kind)
{
	unsigned context = (unsigned)(d->mmu.current - d->mmu.contexts);

	return kind == DBT_KERNEL && !d->kernel_private ? &d->kernel : &of_contexts(d, kind)[context];
}

static unsigned code_page_bit(gva_t page)
{
	return (unsigned)(mix(page >> PAGE_SHIFT) >> 48);
}

/* A slot, a pair or a jump cache is about to lead to this block. */
static void note_target(struct dbt *d, const struct tb *tb)
{
	for (unsigned i = 0; i < (tb->second ? 2 : 1); i++) {
		gva_t page = (tb->rip & PAGE_MASK) + i * PAGE_SIZE;
		unsigned bit = code_page_bit(page);
		gpa_t gpa;
		bool global;

		d->code_pages[bit >> 6] |= 1ull << (bit & 63);
		if (d->cpu.cpl != 3 && (dbt_mmu_code_page(&d->mmu, page, false, &gpa, &global) < 0 || !global))
			d->kernel_nonglobal = true;
	}
}

void dbt_slot_resolve(struct dbt *d, uint32_t slot, struct tb *tb)
{
	enum dbt_kind kind = dbt_kind_now(d);

	if (slot >= d->slot_kinds[kind].count || d->slot_kinds[kind].slots[slot].target != tb->rip)
		return;
	note_target(d, tb);
	targets_now(d, kind)->slots[slot] = (uintptr_t)tb_entry(d, tb);
	targets_now(d, kind)->filled_slots++;
}

/* A branch to a block that crosses goes by a slot: its second page may be mapped elsewhere in another context. */
static uint32_t slot_stub(struct dbt *d, struct tb *tb)
{
	uint32_t slot = slot_get(d, tb->rip, dbt_kind_now(d)), at = (uint32_t)d->code_used;
	struct emitter e = emitter_at(d, at);

	if (slot == ~0u || d->code_size - d->code_used - d->cold_used < 64)
		return 0;
	emit_load(&e, HOST_T, mem_gs(DBT_OFFSET(slots_now)), 8);
	emit_jmp_mem(&e, mem_base(HOST_T, (int32_t)(slot * 8)));
	d->code_used = (size_t)(e.at - d->code_write + 15) & ~(size_t)15;
	slots_complete(d, dbt_kind_now(d));
	dbt_slot_resolve(d, slot, tb);
	return at;
}

/* The branch goes to another page: by the pair that the block's page is now. False: not by a link. */
static bool pair_resolve(struct dbt *d, const struct dbt_link *link, const struct tb *tb)
{
	enum dbt_kind kind = dbt_kind_now(d);
	uint32_t pair = pair_get(&d->slot_kinds[kind], tb->rip & PAGE_MASK, tb->gpa & PAGE_MASK);
	struct dbt_targets *targets = targets_now(d, kind);
	int32_t displacement = DBT_PAIR_DISP(pair);

	if (pair == DBT_PAIR_NONE)
		return false;
	note_target(d, tb);
	*pair_byte(targets, pair) = 1;
	targets->filled_pairs = true;
	memcpy(d->code_write + link->check, &displacement, sizeof(displacement));
	return true;
}

/* The guest page of a linear page that the context has a pair for. */
static bool pair_in_force(struct dbt *d, gva_t page, gpa_t *gpa)
{
	const struct dbt_slots *kind = &d->slot_kinds[dbt_kind_now(d)];
	struct dbt_targets *targets = targets_now(d, dbt_kind_now(d));
	uint32_t at = pair_first(page);

	for (; targets->filled_pairs && kind->pair_hash[at]; at = (at + 1) & (PAIR_HASH - 1)) {
		uint32_t pair = kind->pair_hash[at] - 1;

		if (kind->pairs[pair].page != page || !*pair_byte(targets, pair))
			continue;
		*gpa = kind->pairs[pair].gpa;
		return true;
	}
	return false;
}

void dbt_link_resolve(struct dbt *d, uint32_t number, struct tb *tb)
{
	const struct dbt_link *link = &d->links[number];
	int32_t relative;
	uint32_t target = tb->host;
	struct tb *from;

	if (number >= d->link_count || link->target != tb->rip)
		return;
	/* What was written over a stale block stays; and a page's block leads to its own page. */
	from = dbt_tb_find_host(d, d->code_run + link->jump);
	if (!from || from->state != TB_LIVE || (from->key & ~DBT_KEY_RF) != tb->key)
		return;
	if (!link->check && from->gpa >> PAGE_SHIFT != tb->gpa >> PAGE_SHIFT)
		return;
	if (tb->second)
		target = slot_stub(d, tb);
	if (!target || (link->check && !pair_resolve(d, link, tb)))
		return;
	relative = (int32_t)((int64_t)target - (int64_t)(link->jump + 4));
	memcpy(d->code_write + link->jump, &relative, sizeof(relative));
}

void dbt_jump_resolve(struct dbt *d, struct tb *tb)
{
	struct dbt_targets *targets = targets_now(d, dbt_kind_now(d));
	uint8_t *entry = dbt_tb_indirect_entry(d, tb);
	uint16_t at = (uint16_t)tb->rip;

	if (!entry)
		return;
	note_target(d, tb);
	if (targets->jumps[at] == (uintptr_t)d->exit_indirect) {
		if (targets->used_count < ARRAY_SIZE(targets->used))
			targets->used[targets->used_count] = at;
		if (targets->used_count <= ARRAY_SIZE(targets->used))
			targets->used_count++;
	}
	targets->jumps[at] = (uintptr_t)entry;
}

/* page: all, or only what leads to that page. */
static void targets_drop(struct dbt *d, struct dbt_targets *targets, enum dbt_kind kind, gva_t page)
{
	struct dbt_slots *slots = &d->slot_kinds[kind];
	uint16_t first = (uint16_t)page;

	pairs_reset(d, targets, kind, page);
	if (targets->filled_slots) {
		for (uint32_t i = 0; i < slots->count; i++)
			targets->slots[i] = (uintptr_t)d->code_run + slots->slots[i].stub;
		targets->filled_slots = 0;
	}
	if (page != ~0ull) {
		/* They are by the low bits of rip; a block may begin on the page before and end on this one. */
		for (int i = -14; targets->used_count && i < (int)PAGE_SIZE; i++) {
			uint64_t *jump = &targets->jumps[(uint16_t)(first + i)];

			if (*jump != (uintptr_t)d->exit_indirect)
				*jump = (uintptr_t)d->exit_indirect;
		}
		return;
	}
	if (targets->used_count <= ARRAY_SIZE(targets->used)) {
		for (uint32_t i = 0; i < targets->used_count; i++)
			targets->jumps[targets->used[i]] = (uintptr_t)d->exit_indirect;
	} else {
		/* Private copies of the template's pages: back to the template. */
		madvise(targets->jumps, DBT_JUMPS * 8, MADV_DONTNEED);
	}
	targets->used_count = 0;
}

void dbt_targets_flush(struct dbt *d, struct dbt_targets *targets, enum dbt_kind kind)
{
	targets_drop(d, targets, kind, ~0ull);
}

/* ---- what is in force ---- */

void dbt_side_reset(struct dbt *d)
{
	d->side_sp = d->side_user ? d->side_user_base : d->side_base;
	d->side_user_sp = d->side_user_base;
}

void dbt_select(struct dbt *d)
{
	struct dbt_targets *now = targets_now(d, dbt_kind_now(d));

	for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++)
		slots_complete(d, kind);
	for (enum dbt_kind kind = DBT_KERNEL; kind <= DBT_USER; kind++) {
		struct dbt_targets *targets = targets_now(d, kind);

		d->slots_of[kind] = (uintptr_t)targets->slots;
		d->jumps_of[kind] = (uintptr_t)targets->jumps >> 3;
	}
	d->slots_now = (uintptr_t)now->slots;
	d->jumps_now = (uintptr_t)now->jumps >> 3;
	for (unsigned i = 0; i < TLB_COUNT; i++)
		d->table[i] = dbt_mmu_table(&d->mmu, i);
	d->table_now = dbt_mmu_table(&d->mmu, dbt_table_index(d));
}

/* ---- mappings that change ---- */

/* Switches after which a guest is known to have other kernel mappings in each context (page-table isolation). */
#define PRIVATE_AFTER 64

static void on_switched(void *ctx)
{
	struct dbt *d = ctx;

	if (!d->kernel_nonglobal || d->kernel_private)
		return;
	d->kernel_nonglobal = false;
	d->kernel_private = ++d->kernel_flushes == PRIVATE_AFTER;
	dbt_targets_flush(d, &d->kernel, DBT_KERNEL);
	dbt_side_reset(d);
}

static void on_dropped(void *ctx, struct dbt_context *context, gva_t page)
{
	struct dbt *d = ctx;

	if (page != ~0ull) {
		unsigned bit = code_page_bit(page);

		if (!(d->code_pages[bit >> 6] >> (bit & 63) & 1))
			return;
	}
	dbt_side_reset(d);
	if (!context || d->kernel_nonglobal || page != ~0ull)
		targets_drop(d, &d->kernel, DBT_KERNEL, page);
	for (unsigned i = 0; i < d->mmu.context_count; i++) {
		if (context && context != &d->mmu.contexts[i])
			continue;
		for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++)
			targets_drop(d, &of_contexts(d, kind)[i], kind, page);
	}
}

const struct dbt_mmu_listener dbt_code_listener = {.switched = on_switched, .dropped = on_dropped};

/* ---- life ---- */

static void targets_clear(struct dbt *d, struct dbt_targets *targets, enum dbt_kind kind)
{
	targets->used_count = ARRAY_SIZE(targets->used) + 1;
	targets->filled_slots = 0;
	dbt_targets_flush(d, targets, kind);
}

void dbt_code_flush(struct dbt *d)
{
	if (unlikely(d->runs != NULL))
		dbt_counts_collect(d);
	targets_clear(d, &d->kernel, DBT_KERNEL);
	for (unsigned i = 0; i < d->mmu.context_count; i++) {
		for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++)
			targets_clear(d, &of_contexts(d, kind)[i], kind);
	}
	clear(d->tb_hash, DBT_TB_HASH * sizeof(*d->tb_hash));
	clear(d->tb_filter, FILTER_SIZE);
	clear(d->page_hash, DBT_PAGE_HASH * sizeof(*d->page_hash));
	d->tb_count = d->link_count = 0;
	d->meta_used = 0;
	d->code_used = d->code_start;
	d->cold_used = 0;
	for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++) {
		clear(d->slot_kinds[kind].hash, SLOT_HASH * sizeof(uint32_t));
		clear(d->slot_kinds[kind].pair_hash, PAIR_HASH * sizeof(uint32_t));
		d->slot_kinds[kind].count = d->slot_kinds[kind].pair_count = 0;
	}
	dbt_side_reset(d);
	d->stats.cache_flushes++;
}

/* The jump caches begin as private copies of one file of exits. */
static int jump_template(struct dbt *d)
{
	static const size_t size = DBT_JUMPS * 8;
	int fd = memfd_create("ruse-dbt-jumps", MFD_CLOEXEC);
	uint64_t *words;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		goto fail;
	words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		goto fail;
	for (size_t i = 0; i < DBT_JUMPS; i++)
		words[i] = (uintptr_t)d->exit_indirect;
	munmap(words, size);
	return fd;
fail:
	close(fd);
	return -ENOMEM;
}

static int targets_init(struct dbt_targets *targets, int template)
{
	static const size_t size = DBT_JUMPS * 8;
	uint8_t *area = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *slots = reserve(DBT_PAIRS_MAX + DBT_SLOTS_MAX * 8), *aligned;

	if (area == MAP_FAILED || !slots)
		return -ENOMEM;
	targets->slots = (uint64_t *)(void *)(slots + DBT_PAIRS_MAX);
	targets->jumps_area = area;
	/* The index replaces the low 16 bits of address / 8. */
	aligned = (uint8_t *)(((uintptr_t)area + size - 1) & ~(uintptr_t)(size - 1));
	targets->jumps = mmap(aligned, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, template, 0);
	return targets->jumps == MAP_FAILED ? -ENOMEM : 0;
}

/* Memory that is shared but belongs to no file: what perf takes for code of a JIT. */
static int map_code(struct dbt *d, size_t size)
{
	void *at;

	d->code_size = size;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	d->code_write = at;
	/* Of size 0, a shared mapping is mapped a second time. */
	at = mremap(d->code_write, 0, size, MREMAP_MAYMOVE);
	if (at == MAP_FAILED)
		return -errno;
	d->code_run = at;
	return mprotect(d->code_run, size, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static void unmap(void *at, size_t size)
{
	if (at && at != MAP_FAILED)
		munmap(at, size);
}

int dbt_code_probe(char *why, size_t why_size)
{
	struct dbt d = {0};
	int r = map_code(&d, PAGE_SIZE);

	unmap(d.code_run, PAGE_SIZE);
	unmap(d.code_write, PAGE_SIZE);
	if (r < 0)
		fmt_print(why, why_size, "this process may not have executable memory of its own (error %d), which the dbt engine "
					 "needs: change the policy that forbids it or use the interp engine", -r);
	return r;
}

int dbt_code_init(struct dbt *d, size_t code_size)
{
	struct emitter e;
	int r, template;

	r = map_code(d, code_size);
	if (r < 0)
		return r;
	e = emitter_at(d, 0);
	dbt_stubs_emit(d, &e);
	tell_stubs(d);
	d->code_used = d->code_start = (size_t)(e.at - d->code_write + 63) & ~(size_t)63;
	d->meta_size = META_SIZE;
	d->meta = reserve(META_SIZE);
	d->tb_max = TB_MAX;
	d->tb_order = reserve(TB_MAX * sizeof(*d->tb_order));
	d->tb_hash = reserve(DBT_TB_HASH * sizeof(*d->tb_hash));
	d->tb_filter = reserve(FILTER_SIZE);
	d->moved = reserve(dbt_moved_size());
	d->moved_arena = reserve(dbt_moved_arena_size());
	d->page_hash = reserve(DBT_PAGE_HASH * sizeof(*d->page_hash));
	d->sites = reserve(dbt_sites_size());
	d->links = reserve(DBT_LINKS_MAX * sizeof(*d->links));
	for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++) {
		struct dbt_slots *slots = &d->slot_kinds[kind];

		slots->slots = reserve(DBT_SLOTS_MAX * sizeof(struct dbt_slot));
		slots->hash = reserve(SLOT_HASH * sizeof(uint32_t));
		slots->pairs = reserve(DBT_PAIRS_MAX * sizeof(struct dbt_pair));
		slots->pair_hash = reserve(PAIR_HASH * sizeof(uint32_t));
		if (!slots->slots || !slots->hash || !slots->pairs || !slots->pair_hash)
			return -ENOMEM;
	}
	d->side_stack = mmap(NULL, DBT_SIDE_STACK + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	d->targets = calloc(DBT_CONTEXTS_MAX, sizeof(*d->targets));
	d->targets32 = calloc(DBT_CONTEXTS_MAX, sizeof(*d->targets32));
	d->kernel32 = calloc(DBT_CONTEXTS_MAX, sizeof(*d->kernel32));
	d->kernel_own = calloc(DBT_CONTEXTS_MAX, sizeof(*d->kernel_own));
	if (!d->meta || !d->tb_order || !d->tb_hash || !d->tb_filter || !d->moved || !d->moved_arena || !d->page_hash || !d->sites || !d->links || d->side_stack == MAP_FAILED ||
	    !d->targets || !d->targets32 || !d->kernel32 || !d->kernel_own)
		return -ENOMEM;
	/* Guard, user code's, guard, supervisor code's, guard. */
	if (mprotect(d->side_stack + PAGE_SIZE, DBT_SIDE_STACK, PROT_READ | PROT_WRITE) < 0 ||
	    mprotect(d->side_stack + PAGE_SIZE + DBT_SIDE_STACK / 2, PAGE_SIZE, PROT_NONE) < 0)
		return -ENOMEM;
	/* The bottom of the side stack: a return with nothing on it. */
	d->side_base = (uintptr_t)d->side_stack + PAGE_SIZE + DBT_SIDE_STACK - 64;
	*(uint64_t *)d->side_base = (uintptr_t)d->return_underflow;
	d->side_user_base = (uintptr_t)d->side_stack + PAGE_SIZE + DBT_SIDE_STACK / 2 - 64;
	*(uint64_t *)d->side_user_base = (uintptr_t)d->return_underflow_user;
	dbt_side_reset(d);
	template = jump_template(d);
	if (template < 0)
		return template;
	r = targets_init(&d->kernel, template);
	for (unsigned i = 0; r == 0 && i < DBT_KINDS * d->mmu.context_count; i++)
		r = targets_init(&of_contexts(d, i % DBT_KINDS)[i / DBT_KINDS], template);
	close(template);
	return r;
}

static void targets_destroy(struct dbt_targets *targets)
{
	if (targets->slots)
		unmap((uint8_t *)targets->slots - DBT_PAIRS_MAX, DBT_PAIRS_MAX + DBT_SLOTS_MAX * 8);
	unmap(targets->jumps_area, 2 * DBT_JUMPS * 8);
}

void dbt_code_destroy(struct dbt *d)
{
	unmap(d->code_run, d->code_size);
	unmap(d->code_write, d->code_size);
	unmap(d->meta, META_SIZE);
	unmap(d->tb_order, TB_MAX * sizeof(*d->tb_order));
	unmap(d->tb_hash, DBT_TB_HASH * sizeof(*d->tb_hash));
	unmap(d->tb_filter, FILTER_SIZE);
	unmap(d->moved, dbt_moved_size());
	unmap(d->moved_arena, dbt_moved_arena_size());
	unmap(d->page_hash, DBT_PAGE_HASH * sizeof(*d->page_hash));
	unmap(d->sites, dbt_sites_size());
	unmap(d->links, DBT_LINKS_MAX * sizeof(*d->links));
	for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++) {
		unmap(d->slot_kinds[kind].slots, DBT_SLOTS_MAX * sizeof(struct dbt_slot));
		unmap(d->slot_kinds[kind].hash, SLOT_HASH * sizeof(uint32_t));
		unmap(d->slot_kinds[kind].pairs, DBT_PAIRS_MAX * sizeof(struct dbt_pair));
		unmap(d->slot_kinds[kind].pair_hash, PAIR_HASH * sizeof(uint32_t));
	}
	unmap(d->side_stack, DBT_SIDE_STACK + 2 * PAGE_SIZE);
	targets_destroy(&d->kernel);
	for (enum dbt_kind kind = 0; kind < DBT_KINDS; kind++) {
		for (unsigned i = 0; of_contexts(d, kind) && i < DBT_CONTEXTS_MAX; i++)
			targets_destroy(&of_contexts(d, kind)[i]);
		free(of_contexts(d, kind));
	}
}
