/* Decoded blocks: straight runs of instructions on one page, kept by guest-physical address and code mode.
 *
 * A block remembers its page's generation (mem_page_word); whoever enters one compares. An instruction that crosses
 * into the next page has a block of its own, which begins with a check of the other page.
 */
#include "engine/interp/x86_64/cpu.h"
#include "base/string.h"
#include "core/debug.h"

#define MAX_INSN_LENGTH 15

static void sem_undefined(struct cpu *cpu, const struct x86_insn *insn)
{
	raise_exception(cpu, X86_EXC_UD);
}

static void sem_too_long(struct cpu *cpu, const struct x86_insn *insn)
{
	raise_error(cpu, X86_EXC_GP, 0);
}

static unsigned hash_of(uint64_t gpa, uint32_t key)
{
	return (unsigned)(((gpa ^ (uint64_t)key << 40) * 0x9e3779b97f4a7c15ull) >> 49);
}

void block_cache_flush(struct cpu *cpu)
{
	memset(cpu->blocks.hash, 0, sizeof(cpu->blocks.hash));
	cpu->blocks.used = 0;
	cpu->blocks.flushes++;
	cpu->block = NULL;
	cpu->epoch++;
}

static void *arena_take(struct block_cache *cache, size_t size)
{
	void *at = cache->arena + cache->used;

	cache->used += (size + 15) & ~(size_t)15;
	return at;
}

/* A processor without TZCNT or LZCNT ignores the prefix that makes them out of BSF and BSR. */
static void replace_not_offered(struct cpu *cpu, struct x86_insn *insn)
{
	if ((insn->op != X86_TZCNT && insn->op != X86_LZCNT) || cpu->cpuid->features[insn->feature])
		return;
	insn->op = insn->op == X86_TZCNT ? X86_BSF : X86_BSR;
	insn->feature = X86_FEATURE_BASE;
}

/* Does the guest have it? VEX is unknown to real and virtual-8086 mode. */
static bool is_offered(const struct cpu *cpu, const struct x86_insn *insn)
{
	return cpu->cpuid->features[insn->feature] && !((insn->prefixes & X86_PFX_VEX) && (cpu->key & KEY_REAL));
}

/* Where an instruction's semantics are looked up: its function, or #UD for what the guest is not offered. */
static sem_fn *function_for(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_fn *fn = cpu->shared->functions[insn->op];

	return fn && is_offered(cpu, insn) ? fn : sem_undefined;
}

/* Fills one uop; true if the block ends with it. insn is copied if the uop needs it. */
static bool make_uop(struct cpu *cpu, struct uop *uop, struct x86_insn *insn, int length, unsigned offset,
		     struct x86_insn *insn_storage)
{
	bool ends_block = false;

	memset(uop, 0, sizeof(*uop));
	uop->offset = (uint16_t)offset;
	uop->length = (uint8_t)(length > 0 ? length : 1);
	if (length > 0)
		replace_not_offered(cpu, insn);
	if (length > 0 && is_offered(cpu, insn) && fast_select(insn, uop, &ends_block))
		return ends_block;
	*insn_storage = *insn;
	uop->insn = insn_storage;
	if (length > 0) {
		uop->fn = function_for(cpu, insn);
		ends_block = sem_ends_block(insn) || uop->fn == sem_undefined;
	} else {
		uop->fn = length == X86_DECODE_LONG ? sem_too_long : sem_undefined;
		ends_block = true;
	}
	uop->go = fast_call_label(ends_block);
	return ends_block;
}

static void end_uop(struct uop *uop, unsigned offset)
{
	memset(uop, 0, sizeof(*uop));
	uop->go = fast_end_label();
	uop->offset = (uint16_t)offset;
}

/* The bytes at gva, across pages and from devices too; returns how many (at least those of the first page). */
static size_t fetch_bytes(struct cpu *cpu, gva_t gva, uint8_t *bytes)
{
	size_t got = 0;

	while (got < MAX_INSN_LENGTH) {
		gva_t at = gva + got;
		uint8_t *hva;
		struct x86_insn insn;

		if (cpu->mode != X86_MODE_64)
			at &= 0xffffffffull;
		/* The next page is touched only if the instruction does go on there. */
		if (got && !(at & ~PAGE_MASK) && x86_decode(&insn, bytes, got, cpu->mode) != X86_DECODE_MORE)
			break;
		gpa_t page = cpu_code_page(cpu, at, &hva);

		bytes[got] = hva ? hva[at & ~PAGE_MASK] : (uint8_t)cpu_phys_read(cpu, page | (at & ~PAGE_MASK), 1);
		got++;
	}
	return got;
}

static void check_code_limit(struct cpu *cpu, uint64_t rip, unsigned length)
{
	if (cpu->mode != X86_MODE_64 && rip + length - 1 > cpu->s.seg[X86_CS].limit)
		raise_error(cpu, X86_EXC_GP, 0);
}

/* One instruction, not cached: steps, page-crossing ones, code in device memory. */
static struct block *block_single(struct cpu *cpu, uint64_t rip, gva_t gva)
{
	struct block *block = cpu->scratch;
	struct x86_insn *storage = (struct x86_insn *)&block->uops[2];
	struct x86_insn insn;
	uint8_t bytes[MAX_INSN_LENGTH];
	size_t available;
	int length;

	check_code_limit(cpu, rip, 1);
	available = fetch_bytes(cpu, gva, bytes);
	length = x86_decode(&insn, bytes, available, cpu->mode);
	check_code_limit(cpu, rip, length > 0 ? (unsigned)length : 1);
	make_uop(cpu, &block->uops[0], &insn, length, 0, storage);
	end_uop(&block->uops[1], (unsigned)(length > 0 ? length : 1));
	block->length = (uint16_t)(length > 0 ? length : 1);
	block->count = 1;
	return block;
}

struct block *block_of(struct cpu *cpu, const struct x86_insn *insn, int length)
{
	struct block *block = cpu->scratch;
	struct x86_insn copy = *insn;

	make_uop(cpu, &block->uops[0], &copy, length, 0, (struct x86_insn *)&block->uops[2]);
	end_uop(&block->uops[1], (unsigned)length);
	block->length = (uint16_t)length;
	block->count = 1;
	return block;
}

static void block_insert(struct cpu *cpu, struct block *block)
{
	unsigned hash = hash_of(block->gpa, block->key);

	block->hash_next = cpu->blocks.hash[hash];
	cpu->blocks.hash[hash] = block;
	cpu->blocks.translations++;
}

/* One instruction on two pages of RAM in 64-bit code. */
static struct block *block_cross(struct cpu *cpu, uint64_t rip, gpa_t gpa, _Atomic uint32_t *word)
{
	struct block_cache *cache = &cpu->blocks;
	uint8_t bytes[MAX_INSN_LENGTH], *hva;
	gpa_t next = cpu_code_page(cpu, (rip & PAGE_MASK) + PAGE_SIZE, &hva);
	uint32_t generation, next_generation;
	struct block *block;
	struct x86_insn insn;
	size_t available;
	int length;

	if (!hva)
		return block_single(cpu, rip, rip);
	code_page_mark(cpu, gpa);
	code_page_mark(cpu, next);
	generation = atomic_load(word);
	next_generation = atomic_load(mem_page_word(&cpu->vm->mem, next));
	available = fetch_bytes(cpu, rip, bytes);
	length = x86_decode(&insn, bytes, available, cpu->mode);
	if (length <= 0)
		return block_single(cpu, rip, rip);

	block = arena_take(cache, sizeof(*block) + 3 * sizeof(struct uop));
	*block = (struct block){
		.gpa = gpa,
		.key = cpu->key,
		.generation = generation | 1,
		.page_word = word,
		.length = (uint16_t)length,
		.count = 1,
	};
	end_uop(&block->uops[0], 0);
	block->uops[0].go = fast_cross_label();
	block->uops[0].imm = next;
	block->uops[0].disp = next_generation | 1;
	make_uop(cpu, &block->uops[1], &insn, length, 0, arena_take(cache, sizeof(insn)));
	end_uop(&block->uops[2], (unsigned)length);
	block_insert(cpu, block);
	return block;
}

static struct block *block_decode(struct cpu *cpu, uint64_t rip, gva_t gva, gpa_t gpa, const uint8_t *page)
{
	struct uop uops[BLOCK_MAX_INSNS + 1];
	struct block_cache *cache = &cpu->blocks;
	struct block *block;
	unsigned start = (unsigned)(gpa & ~PAGE_MASK), offset = 0, count = 0;
	_Atomic uint32_t *word;
	bool ended = false;

	if (cache->size - cache->used <
	    sizeof(*block) + BLOCK_MAX_INSNS * (sizeof(uops[0]) + sizeof(struct x86_insn) + 32) + 4096)
		block_cache_flush(cpu);
	code_page_mark(cpu, gpa);
	word = mem_page_word(&cpu->vm->mem, gpa);

	uint32_t generation = atomic_load(word);

	while (count < BLOCK_MAX_INSNS && !ended) {
		struct x86_insn insn;
		uint8_t bytes[MAX_INSN_LENGTH + 1];
		size_t available = PAGE_SIZE - start - offset;
		int length;

		if (available > MAX_INSN_LENGTH)
			available = MAX_INSN_LENGTH;
		if (!available || (unlikely(cpu->debug != NULL) && offset && debug_cuts_at(cpu->debug, gva + offset)))
			break;
		/* A copy: another processor may be writing the page. */
		memcpy(bytes, page + start + offset, available);
		length = x86_decode(&insn, bytes, available, cpu->mode);
		if (length == X86_DECODE_MORE)
			break;
		if (cpu->mode != X86_MODE_64 &&
		    rip + offset + (unsigned)(length > 0 ? length : 1) - 1 > cpu->s.seg[X86_CS].limit)
			break;
		struct x86_insn *storage = (struct x86_insn *)(cache->arena + cache->used);

		ended = make_uop(cpu, &uops[count], &insn, length, offset, storage);
		if (uops[count].fn)
			arena_take(cache, sizeof(insn));
		offset += (unsigned)(length > 0 ? length : 1);
		count++;
	}
	if (!count)
		return cpu->mode == X86_MODE_64 ? block_cross(cpu, rip, gpa, word) : block_single(cpu, rip, gva);
	if (!ended)
		end_uop(&uops[count], offset);

	size_t uop_count = count + !ended;

	block = arena_take(cache, sizeof(*block) + uop_count * sizeof(uops[0]));
	*block = (struct block){
		.gpa = gpa,
		.key = cpu->key,
		.generation = generation | 1,
		.page_word = word,
		.length = (uint16_t)offset,
		.count = (uint16_t)count,
	};
	memcpy(block->uops, uops, uop_count * sizeof(uops[0]));
	block_insert(cpu, block);
	return block;
}

struct block *block_find(struct cpu *cpu, uint64_t rip, bool single)
{
	gva_t gva = cpu->mode == X86_MODE_64 ? rip : (cpu->s.seg[X86_CS].base + rip) & 0xffffffffull;
	uint8_t *page;
	gpa_t gpa;

	/* (What is not kept does not come after another block without a look.) */
	if (single || (unlikely(cpu->debug != NULL) && debug_cuts_at(cpu->debug, gva)))
		return block_single(cpu, rip, gva);
	gpa = cpu_code_page(cpu, gva, &page) | (gva & ~PAGE_MASK);
	if (!page)
		return block_single(cpu, rip, gva);

	struct block **link = &cpu->blocks.hash[hash_of(gpa, cpu->key)];

	while (*link) {
		struct block *block = *link;

		if (block->gpa == gpa && block->key == cpu->key) {
			if (block->generation != atomic_load(block->page_word)) {
				*link = block->hash_next; /* stale: forget it */
				continue;
			}
			if (cpu->mode != X86_MODE_64 && rip + block->length - 1 > cpu->s.seg[X86_CS].limit)
				return block_single(cpu, rip, gva);
			return block;
		}
		link = &block->hash_next;
	}
	return block_decode(cpu, rip, gva, gpa, page);
}
