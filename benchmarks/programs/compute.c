/* What a processor does by itself: integers, calls, a sort, floating point, copying, and chasing
 * pointers.
 *
 * Example: for (const struct test *test = compute_tests; test->name; test++) ...
 */
#include "suite.h"
#include <stdlib.h>
#include <string.h>

#define SORT_LENGTH 4096
#define MATRIX	    48
#define COPY_SIZE   (1 << 20)
#define CHASE_NODES (1 << 15)

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* One round: shifts, additions, a multiplication and a branch that can't be foreseen. */
static uint64_t integer(uint64_t count)
{
	uint64_t x = 88172645463325252ull, sum = 0;

	for (uint64_t i = 0; i < count; i++) {
		x = next_random(&x);
		if (x & 0x100)
			sum += x * 0x9e3779b97f4a7c15ull >> 32;
		else
			sum ^= x + i;
	}
	return sum;
}

static __attribute__((noinline)) uint64_t fibonacci(unsigned n)
{
	__asm__ volatile("" : "+r"(n)); /* each call is made */
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* One operation is fibonacci(12): 465 calls. */
static uint64_t calls(uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count; i++)
		sum += fibonacci(12);
	return sum;
}

static void quicksort(uint32_t *a, long low, long high)
{
	while (low < high) {
		uint32_t pivot = a[low + (high - low) / 2];
		long i = low, j = high;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		if (j - low < high - i) {
			quicksort(a, low, j);
			low = i;
		} else {
			quicksort(a, i, high);
			high = j;
		}
	}
}

static uint64_t sort(uint64_t count)
{
	static uint32_t a[SORT_LENGTH];
	uint64_t x = 1234567, sum = 0;

	for (uint64_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < SORT_LENGTH; k++)
			a[k] = (uint32_t)next_random(&x);
		quicksort(a, 0, SORT_LENGTH - 1);
		sum += a[SORT_LENGTH / 2];
	}
	return sum;
}

/* Matrices multiplied, and a division and a square root an element. */
static uint64_t floating(uint64_t count)
{
	static double a[MATRIX][MATRIX], b[MATRIX][MATRIX], c[MATRIX][MATRIX];
	double sum = 0;

	for (unsigned i = 0; i < MATRIX; i++) {
		for (unsigned j = 0; j < MATRIX; j++) {
			a[i][j] = 1.0 + i * 0.5 - j * 0.25;
			b[i][j] = 2.0 - i * 0.125 + j;
		}
	}
	for (uint64_t n = 0; n < count; n++) {
		for (unsigned i = 0; i < MATRIX; i++) {
			for (unsigned j = 0; j < MATRIX; j++) {
				double dot = 0;

				for (unsigned k = 0; k < MATRIX; k++)
					dot += a[i][k] * b[k][j];
				c[i][j] = __builtin_sqrt(dot * dot + 1.0) / (1.0 + (double)n);
			}
		}
		sum += c[n % MATRIX][n % 7];
		a[n % MATRIX][n % 5] = sum * 1e-9;
	}
	return (uint64_t)sum;
}

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

/* 2 MiB in a random cycle (Sattolo), a cache line each. */
struct node {
	struct node *next;
	char pad[56];
};

static uint64_t chase(uint64_t count)
{
	static struct node nodes[CHASE_NODES];
	static unsigned order[CHASE_NODES];
	const struct node *at = nodes;
	uint64_t x = 987654321;

	if (!nodes[0].next) {
		for (unsigned i = 0; i < CHASE_NODES; i++)
			order[i] = i;
		for (unsigned i = CHASE_NODES - 1; i > 0; i--) {
			unsigned k = (unsigned)(next_random(&x) % i), t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		for (unsigned i = 0; i < CHASE_NODES; i++)
			nodes[order[i]].next = &nodes[order[(i + 1) % CHASE_NODES]];
	}
	for (uint64_t i = 0; i < count; i++)
		at = at->next;
	return (uint64_t)(uintptr_t)at;
}

const struct test compute_tests[] = {
    {"integer", "a round of shifts, adds, a multiplication and a branch", integer},
    {"calls", "fibonacci(12): 465 calls", calls},
    {"sort", "4096 numbers made and sorted", sort},
    {"double", "two 48x48 matrices multiplied", floating},
    {"copy", "1 MiB copied", copy},
    {"chase", "a load from a random cycle through 2 MiB", chase},
    {0},
};
