/* Memory: libc's copy, and pointers chased through a set that fits the first cache, and through one
 * that fits the last.
 *
 * Example: for (const struct test *test = memory_tests; test->name; test++) ...
 */
#include "suite.h"
#include <stdlib.h>
#include <string.h>

#define COPY_SIZE   (1 << 20)
#define SMALL_NODES (1u << 8)  /* 16 KiB */
#define LARGE_NODES (1u << 18) /* 16 MiB */

static uint64_t copy(uint64_t count)
{
	static char *from, *to;
	uint64_t sum = 0;

	if (!from) {
		from = malloc(COPY_SIZE);
		to = malloc(COPY_SIZE);
		if (!from || !to)
			fail("memory");
		memset(from, 1, COPY_SIZE);
		memset(to, 2, COPY_SIZE);
	}
	for (uint64_t i = 0; i < count; i++) {
		memcpy(to, from, COPY_SIZE);
		__asm__ volatile("" ::"r"(to) : "memory");
		from[i % COPY_SIZE]++;
		sum += (uint64_t)to[i * 64 % COPY_SIZE];
	}
	return sum;
}

/* A cache line each. */
struct node {
	struct node *next;
	char pad[56];
};

/* All nodes in one random cycle (Sattolo). */
static void make_cycle(struct node *nodes, unsigned count)
{
	unsigned *order = malloc(count * sizeof(*order));
	uint64_t x = 987654321;

	if (!order)
		fail("memory");
	for (unsigned i = 0; i < count; i++)
		order[i] = i;
	for (unsigned i = count - 1; i > 0; i--) {
		unsigned k = (unsigned)(next_random(&x) % i), t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	for (unsigned i = 0; i < count; i++)
		nodes[order[i]].next = &nodes[order[(i + 1) % count]];
	free(order);
}

static uint64_t chase(struct node *nodes, unsigned size, uint64_t count)
{
	const struct node *at = nodes;

	if (!nodes[0].next)
		make_cycle(nodes, size);
	for (uint64_t i = 0; i < count; i++)
		at = at->next;
	return (uint64_t)(uintptr_t)at;
}

static uint64_t chase_small(uint64_t count)
{
	static struct node nodes[SMALL_NODES];

	return chase(nodes, SMALL_NODES, count);
}

static uint64_t chase_large(uint64_t count)
{
	static struct node nodes[LARGE_NODES];

	return chase(nodes, LARGE_NODES, count);
}

const struct test memory_tests[] = {
    {"copy", "1 MiB copied", copy},
    {"chase-l1", "a load from a random cycle through 16 KiB", chase_small},
    {"chase-l3", "a load from a random cycle through 16 MiB", chase_large},
    {0},
};
