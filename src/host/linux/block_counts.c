/* The tables of `--count-blocks`; see block_counts.h.
 *
 *     Instructions of the guest that translated code executed: 3000124
 *
 *     Pages of code (12)
 *       share    instructions  blocks  mode    address           physical
 *      99.97%         3000012       3  kernel  0000000000101000  000000101000
 *     ...
 *     Blocks (73)
 *       share    instructions      executions  insns  guest   host  mode    address           physical
 *      66.65%         2000000         1000000      2      5     61  kernel  0000000000101012  000000101012
 */
#include "host/linux/block_counts.h"
#include "base/fmt.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 4096

/* ---- what is the same ---- */

static bool same(const struct block_count *a, const struct block_count *b)
{
	return a->rip == b->rip && a->gpa == b->gpa && a->user == b->user && a->narrow == b->narrow && a->guest_bytes == b->guest_bytes &&
	       a->insns == b->insns;
}

static size_t hash_of(const struct block_count *count)
{
	return (size_t)((count->rip ^ count->gpa << 20 ^ (uint64_t)count->guest_bytes << 40) * 0x9e3779b97f4a7c15ull >> 20);
}

/* There is room. */
static struct block_count *find(struct block_counts *counts, const struct block_count *count)
{
	size_t at = hash_of(count) & (counts->size - 1);

	while (counts->blocks[at].executions && !same(&counts->blocks[at], count))
		at = (at + 1) & (counts->size - 1);
	return &counts->blocks[at];
}

static bool grow(struct block_counts *counts)
{
	struct block_counts larger = {.size = counts->size ? 2 * counts->size : FIRST_SIZE};

	larger.blocks = calloc(larger.size, sizeof(*larger.blocks));
	if (!larger.blocks)
		return false;
	for (size_t i = 0; i < counts->size; i++)
		if (counts->blocks[i].executions)
			*find(&larger, &counts->blocks[i]) = counts->blocks[i];
	free(counts->blocks);
	counts->blocks = larger.blocks;
	counts->size = larger.size;
	return true;
}

/* False: no memory. */
static bool count(struct block_counts *counts, const struct block_count *count)
{
	struct block_count *place;

	if (2 * counts->used >= counts->size && !grow(counts))
		return false;
	place = find(counts, count);
	if (place->executions) {
		place->executions += count->executions;
		place->instructions += count->instructions;
		place->host_bytes = count->host_bytes; /* of the translation that was there last */
	} else {
		*place = *count;
		counts->used++;
	}
	return true;
}

static void add(struct block_count_sink *sink, const struct block_count *one)
{
	struct block_counts *counts = (struct block_counts *)sink;

	if (!one->executions)
		return;
	lock_take(&counts->lock);
	if (!count(counts, one))
		counts->lost += one->instructions;
	lock_release(&counts->lock);
}

int block_counts_open(struct block_counts *counts, const char *path, char *why, size_t why_size)
{
	*counts = (struct block_counts){.sink = {.add = add}};
	counts->out = strcmp(path, "-") ? fopen(path, "we") : stderr;
	if (counts->out)
		return 0;
	fmt_print(why, why_size, "the counts of --count-blocks can't be written to %s: %s", path, strerror(errno));
	return -errno;
}

void block_counts_close(struct block_counts *counts)
{
	free(counts->blocks);
	counts->blocks = NULL;
	if (counts->out && counts->out != stderr)
		fclose(counts->out);
	counts->out = NULL;
}

/* ---- tables ---- */

/* The free places are left out: the others are moved to the front. */
static void gather(struct block_counts *counts)
{
	size_t used = 0;

	for (size_t i = 0; i < counts->size; i++)
		if (counts->blocks[i].executions)
			counts->blocks[used++] = counts->blocks[i];
}

static bool before(const struct block_count *a, const struct block_count *b)
{
	return a->instructions != b->instructions ? a->instructions > b->instructions : a->rip < b->rip;
}

/* blocks[at] is moved down the heap, whose top comes last. */
static void sift(struct block_count *blocks, size_t at, size_t count)
{
	for (size_t child; (child = 2 * at + 1) < count; at = child) {
		struct block_count moved = blocks[at];

		if (child + 1 < count && before(&blocks[child], &blocks[child + 1]))
			child++;
		if (!before(&moved, &blocks[child]))
			break;
		blocks[at] = blocks[child];
		blocks[child] = moved;
	}
}

/* (The C library's qsort() asks the kernel how much memory there is, which the sandbox does not allow.) */
static void sort(struct block_count *blocks, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sift(blocks, i, count);
	for (size_t end = count; end-- > 1;) {
		struct block_count top = blocks[0];

		blocks[0] = blocks[end];
		blocks[end] = top;
		sift(blocks, 0, end);
	}
}

static const char *mode_of(const struct block_count *count)
{
	return !count->user ? "kernel" : count->narrow ? "user32" : "user";
}

static double share(uint64_t part, uint64_t total)
{
	return total ? 100.0 * (double)part / (double)total : 0;
}

/* By page of code: its blocks' instructions, and in `executions` how many blocks there are. */
static void print_pages(const struct block_counts *counts, uint64_t total)
{
	struct block_counts pages = {0};

	for (size_t i = 0; i < counts->used; i++) {
		struct block_count page = counts->blocks[i];

		page.rip &= PAGE_MASK;
		page.gpa &= PAGE_MASK;
		page.insns = page.guest_bytes = 0;
		page.executions = 1;
		if (!count(&pages, &page))
			break;
	}
	gather(&pages);
	sort(pages.blocks, pages.used);
	fprintf(counts->out, "\nPages of code (%zu)\n  share    instructions  blocks  mode    address           physical\n", pages.used);
	for (size_t i = 0; i < pages.used; i++) {
		const struct block_count *page = &pages.blocks[i];

		fprintf(counts->out, "%6.2f%% %15" PRIu64 " %7" PRIu64 "  %-6s  %016" PRIx64 "  %012" PRIx64 "\n", share(page->instructions, total),
			page->instructions, page->executions, mode_of(page), page->rip, page->gpa);
	}
	free(pages.blocks);
}

static void print_blocks(const struct block_counts *counts, uint64_t total)
{
	fprintf(counts->out, "\nBlocks (%zu)\n  share    instructions      executions  insns  guest   host  mode    address           physical\n",
		counts->used);
	for (size_t i = 0; i < counts->used; i++) {
		const struct block_count *block = &counts->blocks[i];

		fprintf(counts->out, "%6.2f%% %15" PRIu64 " %15" PRIu64 " %6u %6u %6u  %-6s  %016" PRIx64 "  %012" PRIx64 "\n",
			share(block->instructions, total), block->instructions, block->executions, block->insns, block->guest_bytes,
			block->host_bytes, mode_of(block), block->rip, block->gpa);
	}
}

void block_counts_print(struct block_counts *counts)
{
	uint64_t total = 0;

	gather(counts);
	for (size_t i = 0; i < counts->used; i++)
		total += counts->blocks[i].instructions;
	fprintf(counts->out, "Instructions of the guest that translated code executed: %" PRIu64 "\n", total);
	if (counts->lost)
		fprintf(counts->out, "Not counted, for lack of memory: %" PRIu64 "\n", counts->lost);
	if (total) {
		print_pages(counts, total);
		sort(counts->blocks, counts->used);
		print_blocks(counts, total);
	}
	fflush(counts->out);
}
