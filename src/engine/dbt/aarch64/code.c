/* The code of a vcpu: memory for it, and the blocks by address, page and mode.
 */
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "engine/dbt/aarch64/dbt64.h"
#include <sys/mman.h>

/* The most that a block takes: its instructions, and the ways out. */
#define BLOCK_ROOM KIB(64)

static void *reserve(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void release(void *at, size_t size)
{
	if (at && at != MAP_FAILED)
		munmap(at, size);
}

/* Shared memory that is mapped twice: no page is writable and executable by one address. */
static int map_code(struct dbt64 *d, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	d->code_write = at;
	at = mremap(at, 0, size, MREMAP_MAYMOVE);
	if (at == MAP_FAILED)
		return -errno;
	d->code_run = at;
	return mprotect(at, size, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

int dbt64_code_probe(char *why, size_t why_size)
{
	struct dbt64 *d = reserve(sizeof(*d));
	int r = d ? map_code(d, PAGE_SIZE) : -ENOMEM;

	if (d) {
		release(d->code_write, PAGE_SIZE);
		release(d->code_run, PAGE_SIZE);
	}
	release(d, sizeof(*d));
	if (r < 0)
		fmt_print(why, why_size, "this process may not have executable memory of its own (error %d), which the dbt engine "
					 "needs: change the policy that forbids it or use the interp engine", -r);
	return r;
}

static struct emitter emitter_at(const struct dbt64 *d, size_t offset)
{
	return (struct emitter){.at = d->code_write + offset, .end = d->code_write + DBT64_CODE_SIZE, .run_delta = d->code_run - d->code_write};
}

int dbt64_code_create(struct dbt64 *d)
{
	struct emitter e;
	int r = map_code(d, DBT64_CODE_SIZE);

	if (r < 0)
		return r;
	d->hash = reserve(DBT64_HASH * sizeof(d->hash[0]));
	d->blocks = reserve(DBT64_BLOCKS_MAX * sizeof(d->blocks[0]));
	if (!d->hash || !d->blocks)
		return -ENOMEM;
	e = emitter_at(d, 0);
	dbt64_stubs_emit(d, &e);
	d->code_start = d->code_used = ((size_t)(e.at - d->code_write) + 63) & ~(size_t)63;
	return 0;
}

void dbt64_code_destroy(struct dbt64 *d)
{
	release(d->code_write, DBT64_CODE_SIZE);
	release(d->code_run, DBT64_CODE_SIZE);
	release(d->hash, DBT64_HASH * sizeof(d->hash[0]));
	release(d->blocks, DBT64_BLOCKS_MAX * sizeof(d->blocks[0]));
}

void dbt64_flush(struct dbt64 *d)
{
	memset(d->hash, 0, DBT64_HASH * sizeof(d->hash[0]));
	memset(d->jumps, 0, sizeof(d->jumps));
	d->block_count = 0;
	d->code_used = d->code_start;
	d->flushes++;
}

static void set_target(struct dbt64 *d, uint8_t *at, const uint8_t *target)
{
	const uint8_t *end = at + 4 + (d->code_run - d->code_write);
	const int32_t displacement = (int32_t)(target - end);

	memcpy(at, &displacement, sizeof(displacement));
}

/* The page was looked at where the block was entered that the jump is in. What goes round has a jump back in it. */
void dbt64_link(struct dbt64 *d, uint8_t *at, const struct dbt64_block *from, const struct dbt64_block *block)
{
	set_target(d, at, block->code + (block->pc > from->pc ? block->body_at : block->stop_at));
}

void dbt64_link_far(struct dbt64 *d, uint8_t *at, const struct dbt64_block *block)
{
	/* imm64, CMP of 7 bytes, JCC of 6, the jump's opcode. */
	memcpy(at - 1 - 6 - 7 - 8, &d->jump_tag, sizeof(d->jump_tag));
	set_target(d, at, block->code);
}

static unsigned hash_of(uint64_t pc, uint64_t gpa, uint32_t key)
{
	return (unsigned)(((pc ^ gpa << 20 ^ (uint64_t)key << 50) * 0x9e3779b97f4a7c15ull) >> 48) & (DBT64_HASH - 1);
}

static struct dbt64_block *look_up(const struct dbt64 *d, uint64_t pc, uint64_t gpa, unsigned hash)
{
	for (struct dbt64_block *block = d->hash[hash]; block; block = block->next) {
		if (block->pc == pc && block->gpa == gpa && block->key == d->cpu.key && block->generation == atomic_load(block->page_word))
			return block;
	}
	return NULL;
}

static const struct dbt64_block *translate(struct dbt64 *d, uint64_t pc, uint64_t gpa, unsigned hash, const uint8_t *guest)
{
	unsigned max = (PAGE_SIZE - (unsigned)(pc & ~PAGE_MASK)) / 4;
	struct dbt64_block *block;
	struct emitter e;

	if (max > DBT64_BLOCK_MAX)
		max = DBT64_BLOCK_MAX;
	if (d->block_count == DBT64_BLOCKS_MAX || DBT64_CODE_SIZE - d->code_used < BLOCK_ROOM)
		dbt64_flush(d);
	block = &d->blocks[d->block_count];
	e = emitter_at(d, d->code_used);
	*block = (struct dbt64_block){.pc = pc, .gpa = gpa, .key = d->cpu.key, .page_word = mem_page_word(&d->cpu.vm->mem, gpa), .code = emit_here(&e)};
	/* From now on who maintains the page bumps its generation; what is read afterwards is of this one. */
	block->generation = atomic_fetch_or(block->page_word, 1) | 1;
	while (!dbt64_translate(d, &e, block, guest, max)) {
		/* Too much for its room: less of it. */
		e = emitter_at(d, d->code_used);
		max = (max + 1) / 2;
	}
	d->code_used = ((size_t)(e.at - d->code_write) + 15) & ~(size_t)15;
	d->block_count++;
	d->translations++;
	block->next = d->hash[hash];
	d->hash[hash] = block;
	return block;
}

const struct dbt64_block *dbt64_block_find(struct dbt64 *d, uint64_t pc)
{
	struct a64_cpu *cpu = &d->cpu;
	struct dbt64_block *block;
	unsigned hash;
	uint8_t *hva;
	uint64_t gpa;

	if (pc & 3)
		a64_raise_far(cpu, A64_EC_PC_ALIGNMENT, 0, pc);
	gpa = a64_code_page(cpu, pc, &hva) | (pc & ~PAGE_MASK);
	if (!hva)
		a64_raise_far(cpu, A64_EC_FETCH_LOWER + (cpu->el ? 1 : 0), A64_FAULT_EXTERNAL, pc);
	hash = hash_of(pc, gpa, cpu->key);
	block = look_up(d, pc, gpa, hash);
	return block ? block : translate(d, pc, gpa, hash, hva + (pc & ~PAGE_MASK));
}
