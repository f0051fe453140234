/* Decoded blocks, kept by guest-physical address and key. Whoever enters one compares its page's generation (mem_page_word).
 */
#include "base/string.h"
#include "engine/interp/aarch64/cpu.h"

#define ARENA_SIZE MIB(32)

static void sem_fp_trap(struct a64_cpu *cpu, uint32_t insn)
{
	a64_raise(cpu, A64_EC_FP, 1u << 24 | 14u << 20); /* CV, COND always */
}

static void sem_unallocated(struct a64_cpu *cpu, uint32_t insn)
{
	a64_undefined(cpu);
}

static a64_sem *const functions[A64_OP_COUNT] = {
	[A64_UNALLOCATED] = sem_unallocated,
#define X(name, class) [A64_##name] = a64_sem_##name,
	A64_FORMS(X)
#undef X
};

/* Control flow, and what changes the state that blocks depend on or that the loop looks at. */
bool a64_ends_block(enum a64_op op)
{
	switch (op) {
	case A64_UNALLOCATED:
	case A64_udf:
	case A64_b_cond:
	case A64_b:
	case A64_bl:
	case A64_cbz:
	case A64_cbnz:
	case A64_tbz:
	case A64_tbnz:
	case A64_br:
	case A64_blr:
	case A64_ret:
	case A64_eret:
	case A64_drps:
	case A64_svc:
	case A64_hvc:
	case A64_smc:
	case A64_brk:
	case A64_hlt:
	case A64_wfe:
	case A64_wfi:
	case A64_isb:
	case A64_msr_uao:
	case A64_msr_pan:
	case A64_msr_spsel:
	case A64_msr_daifset:
	case A64_msr_daifclr:
	case A64_sys:
	case A64_msr_reg:
		return true;
	default:
		return false;
	}
}

void a64_blocks_flush(struct a64_cpu *cpu)
{
	memset(cpu->hash, 0, A64_BLOCK_HASH * sizeof(cpu->hash[0]));
	cpu->arena_used = 0;
	a64_epochs_end(cpu);
}

static unsigned hash_of(uint64_t gpa, uint32_t key)
{
	return (unsigned)(((gpa ^ (uint64_t)key << 48) * 0x9e3779b97f4a7c15ull) >> 50);
}

a64_sem *a64_sem_of(const struct a64_cpu *cpu, uint32_t insn)
{
	const enum a64_op op = a64_decode(insn);

	return op != A64_UNALLOCATED && a64_class_of(op) != A64_CLASS_BASE && !cpu->fp_enabled ? sem_fp_trap : functions[op];
}

/* True if the block ends with it. */
static bool make_uop(const struct a64_cpu *cpu, struct a64_uop *uop, uint32_t insn)
{
	uop->insn = insn;
	uop->fn = a64_sem_of(cpu, insn);
	return a64_ends_block(a64_decode(insn));
}

static void decode(const struct a64_cpu *cpu, struct a64_block *block, const uint8_t *code, unsigned max)
{
	bool last = false;

	for (block->count = 0; block->count < max && !last; block->count++) {
		uint32_t insn;

		memcpy(&insn, code + 4 * block->count, 4);
		last = make_uop(cpu, &block->uops[block->count], insn);
	}
}

static struct a64_block *look_up(const struct a64_cpu *cpu, uint64_t gpa, unsigned hash)
{
	for (struct a64_block *block = cpu->hash[hash]; block; block = block->hash_next) {
		if (block->gpa == gpa && block->key == cpu->key && block->generation == atomic_load(block->page_word))
			return block;
	}
	return NULL;
}

/* The page is code from now on: who maintains it bumps the generation. */
static uint32_t mark(_Atomic uint32_t *word)
{
	return atomic_fetch_or(word, 1) | 1;
}

const struct a64_block *a64_block_find(struct a64_cpu *cpu, uint64_t pc, bool alone)
{
	uint8_t *hva;
	uint64_t gpa;
	unsigned max, hash;
	struct a64_block *block;

	cpu->block = NULL;
	if (pc & 3)
		a64_raise_far(cpu, A64_EC_PC_ALIGNMENT, 0, pc);
	gpa = a64_code_page(cpu, pc, &hva) | (pc & ~PAGE_MASK);
	if (!hva)
		a64_raise_far(cpu, A64_EC_FETCH_LOWER + (cpu->el ? 1 : 0), A64_FAULT_EXTERNAL, pc);
	hva += pc & ~PAGE_MASK;
	if (alone) {
		block = cpu->scratch;
		block->gpa = gpa;
		decode(cpu, block, hva, 1);
		return block;
	}
	hash = hash_of(gpa, cpu->key);
	block = look_up(cpu, gpa, hash);
	if (block)
		return block;
	max = (PAGE_SIZE - (unsigned)(pc & ~PAGE_MASK)) / 4;
	if (max > A64_BLOCK_MAX)
		max = A64_BLOCK_MAX;
	if (cpu->arena_used + sizeof(*block) + max * sizeof(block->uops[0]) > ARENA_SIZE)
		a64_blocks_flush(cpu);
	block = (struct a64_block *)(cpu->arena + cpu->arena_used);
	block->gpa = gpa;
	block->key = cpu->key;
	block->page_word = mem_page_word(&cpu->vm->mem, gpa);
	block->generation = mark(block->page_word);
	decode(cpu, block, hva, max);
	cpu->arena_used += sizeof(*block) + block->count * sizeof(block->uops[0]);
	block->hash_next = cpu->hash[hash];
	cpu->hash[hash] = block;
	return block;
}

int a64_blocks_create(struct a64_cpu *cpu)
{
	cpu->arena = platform_alloc(ARENA_SIZE);
	cpu->hash = platform_alloc(A64_BLOCK_HASH * sizeof(cpu->hash[0]));
	cpu->jump_cache = platform_alloc(A64_JUMP_CACHE_SIZE * sizeof(cpu->jump_cache[0]));
	cpu->scratch = platform_alloc(sizeof(struct a64_block) + sizeof(struct a64_uop));
	return cpu->arena && cpu->hash && cpu->jump_cache && cpu->scratch ? 0 : -1;
}

void a64_blocks_destroy(struct a64_cpu *cpu)
{
	platform_free(cpu->arena);
	platform_free(cpu->hash);
	platform_free(cpu->jump_cache);
	platform_free(cpu->scratch);
}
