/* Translations that are kept (engine/dbt/cache.h), without files and processes: blocks of this program's own code are translated,
 * told to the keeper, made into a file's image, and loaded for the same bytes at other addresses, where they must be what a new
 * translation is. Then the ring is filled with what no VM of ours would put there.
 *
 *     kept [--blocks N] [--seed S]
 */
#include "engine/dbt/cache.h"
#include "base/log.h"
#include "core/platform.h"
#include "tests/oracle/random.h"
#include "tests/unit/fake_machine.h"
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const uint8_t __executable_start[], etext[];

/* Where kernels, modules, position-independent programs, others and early boot code are. */
static const struct place {
	uint64_t base;
	bool user, moves;
} places[] = {
	{0xffffffff81000000, false, true}, {0xffffffffc0200000, false, true}, {0x00007f1234000000, true, true},
	{0x0000555555554000, true, true},  {0x0000000000401000, true, true}, {0x0000000004000000, false, true},
	{0xffff888001000000, false, true},
};

static struct dbt *make_vcpu(struct vm *vm)
{
	struct dbt *d = aligned_alloc(64, (sizeof(*d) + 63) & ~63ul);

	memset(d, 0, sizeof(*d));
	d->cpu.vm = vm;
	d->cpu.cpuid = vm->cpuid;
	d->shared = calloc(1, sizeof(*d->shared));
	if (dbt_code_init(d, MIB(64)) < 0) {
		printf("SKIP: no executable memory\n");
		exit(77);
	}
	return d;
}

static void set_privilege(struct dbt *d, bool user)
{
	struct cpu *cpu = &d->cpu;

	cpu->mode = X86_MODE_64;
	cpu->long_mode = true;
	cpu->cpl = user ? 3 : 0;
	cpu->key = X86_MODE_64 | 1u << 3 | (user ? 4 : 0);
	cpu->s.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_SMAP | X86_CR4_FSGSBASE;
	cpu->s.efer = X86_EFER_SCE;
	cpu->s.fmask = 0x47700;
	cpu->s.xcr0 = 7;
	d->assumptions = dbt_assumptions(cpu);
	d->environment_known = false;
}

/* A page of this program with its code, or parts of it, at random offsets. */
static void fill_page(uint8_t *page, struct random *random)
{
	size_t text = (size_t)(etext - __executable_start);

	for (size_t at = 0; at < PAGE_SIZE;) {
		size_t len = 64 + random_below(random, 512);

		if (len > PAGE_SIZE - at)
			len = PAGE_SIZE - at;
		memcpy(page + at, __executable_start + random_below(random, text - len), len);
		at += len;
	}
}

struct piece {
	uint64_t rip;
	const struct place *place;
	uint8_t page[PAGE_SIZE];
};

#define BLOCKS_A_PAGE 8
#define GPA MIB(1)

static unsigned failures;

/* Translates, and offers to the keeper. */
static void translate(struct dbt *d, const struct piece *block)
{
	struct tb *tb;

	set_privilege(d, block->place->user);
	if (d->code_size - d->code_used - d->cold_used < 4 * TB_MAX_HOST || d->meta_size - d->meta_used < MIB(1))
		dbt_code_flush(d);
	tb = dbt_translate(d, block->rip, GPA | (block->rip & ~PAGE_MASK), block->page, 0, NULL);
	if (tb)
		dbt_cache_offer(d, tb, block->page);
}

/* At another address. */
static bool load(struct dbt *d, struct piece *block, struct random *random)
{
	uint64_t rip = block->rip + (uint64_t)random_below(random, 0x1000) * PAGE_SIZE;
	uint64_t checked = d->stats.checked;
	struct tb *tb;

	set_privilege(d, block->place->user);
	if (d->code_size - d->code_used - d->cold_used < 4 * TB_MAX_HOST || d->meta_size - d->meta_used < MIB(1))
		dbt_code_flush(d);
	tb = dbt_cache_load(d, rip, GPA | (rip & ~PAGE_MASK), block->page);
	if (!tb)
		return false;
	if (tb->rip != rip || d->stats.checked != checked + 1 || atomic_load(&d->cpu.vm->stop_reason)) {
		printf("FAIL: the block at %lx, loaded for %lx, is not what it would be translated to\n", (unsigned long)block->rip,
		       (unsigned long)rip);
		failures++;
		atomic_store(&d->cpu.vm->stop_reason, 0);
	}
	return true;
}

static void check_moved(struct vm *vm, struct dbt *d, unsigned count, struct random *random)
{
	struct translation_cache *cache = vm->translation_cache;
	struct translation_kept *kept = dbt_keeper.open(vm, 7);
	struct piece *blocks = calloc(count, sizeof(*blocks));
	unsigned kept_count = 0, loaded = 0;
	void *image;
	size_t size;

	for (unsigned i = 0; i < count; i++) {
		struct piece *block = &blocks[i];

		block->place = &places[random_below(random, ARRAY_SIZE(places))];
		fill_page(block->page, random);
		block->rip = block->place->base + random_below(random, PAGE_SIZE - 16);
		translate(d, block);
		kept_count += dbt_keeper.collect(kept, cache->ring);
	}
	if (dbt_keeper.image(kept, &image, &size) < 0 || !dbt_keeper.valid(image, size, 7)) {
		printf("FAIL: no image, or one that is not valid\n");
		exit(1);
	}
	if (dbt_keeper.valid(image, size, 8) || dbt_keeper.valid(image, size - 8, 7)) {
		printf("FAIL: another identity or a part of the file is valid\n");
		failures++;
	}
	cache->file = image;
	for (unsigned i = 0; i < count; i++)
		loaded += load(d, &blocks[i], random);
	printf("%u blocks, %u told, %u kept, %u loaded elsewhere\n", count, kept_count, dbt_keeper.count(kept), loaded);
	/* Some keep to their place, are no code, or are in another form where faults have asked for it. */
	if (loaded < count / 10 * 7) {
		printf("FAIL: too few\n");
		failures++;
	}
	/* Damage anywhere is seen, or does not matter. */
	for (unsigned i = 0; i < 64; i++) {
		uint8_t *at = (uint8_t *)image + random_below(random, size);

		*at ^= (uint8_t)(1 + random_below(random, 255));
		(void)dbt_keeper.valid(image, size, 7);
	}
	for (unsigned i = 0; i < count; i++)
		(void)load(d, &blocks[i], random);
	if (!atomic_load(&cache->damaged)) {
		printf("FAIL: damage was not seen\n");
		failures++;
	}
	cache->file = NULL;
	free(image);
	free(blocks);
}

/* A block is translated for two addresses and moved to a third; then its bytes are others. */
static void check_again(struct dbt *d, unsigned count, struct random *random)
{
	struct piece block;
	unsigned moved = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t checked = d->stats.checked, rip;
		struct tb *tb;

		block.place = &places[random_below(random, ARRAY_SIZE(places))];
		fill_page(block.page, random);
		rip = block.rip = block.place->base + random_below(random, PAGE_SIZE - 16);
		dbt_moved_clear(d);
		memset(d->moved, 0, dbt_moved_size());
		translate(d, &block);
		if (dbt_moved_get(d, rip + PAGE_SIZE, GPA | (rip & ~PAGE_MASK), block.page)) {
			printf("FAIL: moved what was translated once\n");
			failures++;
		}
		block.rip = rip + 3 * PAGE_SIZE;
		translate(d, &block);
		block.rip = rip + (uint64_t)random_below(random, 0x1000) * PAGE_SIZE;
		tb = dbt_moved_get(d, block.rip, GPA | (rip & ~PAGE_MASK), block.page);
		if (!tb)
			continue;
		moved++;
		if (tb->rip != block.rip || d->stats.checked != checked + 1 || atomic_load(&d->cpu.vm->stop_reason)) {
			printf("FAIL: the block at %lx, moved to %lx, is not what it would be translated to\n", (unsigned long)rip,
			       (unsigned long)block.rip);
			failures++;
			atomic_store(&d->cpu.vm->stop_reason, 0);
		}
		block.page[(rip & ~PAGE_MASK) + random_below(random, tb->length)] ^= (uint8_t)(1 + random_below(random, 255));
		if (dbt_moved_get(d, block.rip, GPA | (rip & ~PAGE_MASK), block.page)) {
			printf("FAIL: other bytes were taken for the same block\n");
			failures++;
		}
	}
	printf("%u blocks, %u moved\n", count, moved);
	if (moved < count / 10 * 7) {
		printf("FAIL: too few\n");
		failures++;
	}
}

/* What a VM that somebody has taken over might put into the ring. */
static void attack(struct vm *vm, struct dbt *d, unsigned count, struct random *random)
{
	struct translation_cache *cache = vm->translation_cache;
	struct translation_ring *ring = cache->ring;
	struct translation_kept *kept = dbt_keeper.open(vm, 7);
	struct piece block;

	for (unsigned i = 0; i < count; i++) {
		uint64_t head, tail = atomic_load(&ring->tail);

		block.place = &places[random_below(random, ARRAY_SIZE(places))];
		fill_page(block.page, random);
		block.rip = block.place->base + random_below(random, PAGE_SIZE - 16);
		translate(d, &block);
		head = atomic_load(&ring->head);
		for (uint64_t n = random_below(random, 4) + 1; head > tail && n > 0; n--) {
			size_t size = random_below(random, 2) ? sizeof(struct cache_recipe) : head - tail;

			ring->data[(tail + random_below(random, size)) % CACHE_RING] = (uint8_t)random_below(random, 256);
		}
		if (random_below(random, 64) == 0)
			atomic_store(&ring->head, head + random_next(random) % (2 * CACHE_RING));
		(void)dbt_keeper.collect(kept, ring);
		/* It takes nothing more from a ring that was none of ours: a new one. */
		if (atomic_load(&ring->tail) != atomic_load(&ring->head)) {
			atomic_store(&ring->head, 0);
			atomic_store(&ring->tail, 0);
			kept = dbt_keeper.open(vm, 7);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"blocks", required_argument, NULL, 'b'}, {"seed", required_argument, NULL, 's'}, {0}};
	struct translation_cache cache = {.path = "the image", .check = true};
	unsigned count = 4000;
	uint64_t seed = 1;
	struct random random;
	struct vm *vm = machine_create(1);
	struct dbt *d;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'b')
			count = (unsigned)strtoul(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	random.state = seed;
	cache.ring = calloc(1, dbt_keeper.ring_size);
	vm->translation_cache = &cache;
	d = make_vcpu(vm);
	check_moved(vm, d, count, &random);
	check_again(d, count, &random);
	attack(vm, d, count, &random);
	printf("%u failed\n", failures);
	return failures != 0;
}
