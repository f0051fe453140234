/* What a processor does by itself, in its caches: integers, calls, a sort, a tree, floating point,
 * a hash.
 *
 * Example: for (const struct test *test = compute_tests; test->name; test++) ...
 */
#include "suite.h"
#include <math.h>
#include <stddef.h>

#define SORT_LENGTH 4096
#define MATRIX	    48
#define TREE_NODES  4096
#define LIBM_ROUNDS 64
#define HASH_SIZE   65536

uint64_t next_random(uint64_t *state)
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

/* What programs call of libm; the arguments differ each time. */
static uint64_t libm(uint64_t count)
{
	double x = 0.5, sum = 0;

	for (uint64_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < LIBM_ROUNDS; k++) {
			x += 0.37;
			sum += sin(x) + cos(x) + exp(-x) + log(x) + pow(x, 0.7) + atan2(x, 3.0);
		}
		x = 0.5 + (double)(i & 1023);
	}
	return (uint64_t)sum;
}

/* A binary search tree, made and asked for as many numbers again. */
struct tree_node {
	struct tree_node *child[2];
	uint32_t key;
};

static uint64_t tree(uint64_t count)
{
	static struct tree_node nodes[TREE_NODES];
	uint64_t x = 192837465, found = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct tree_node *root = NULL;

		for (unsigned k = 0; k < TREE_NODES; k++) {
			struct tree_node **at = &root;

			nodes[k] = (struct tree_node){.key = (uint32_t)next_random(&x)};
			while (*at)
				at = &(*at)->child[nodes[k].key > (*at)->key];
			*at = &nodes[k];
		}
		for (unsigned k = 0; k < TREE_NODES; k++) {
			/* Every second one is there. */
			uint32_t key = k & 1 ? nodes[k].key : (uint32_t)next_random(&x);
			const struct tree_node *at = root;

			while (at && at->key != key)
				at = at->child[key > at->key];
			found += at != NULL;
		}
	}
	return found;
}

/* FNV-1a, a byte at a time. */
static uint64_t hash(uint64_t count)
{
	static unsigned char text[HASH_SIZE];
	uint64_t x = 424242, sum = 0;

	for (unsigned i = 0; i < HASH_SIZE; i++)
		text[i] = (unsigned char)next_random(&x);
	for (uint64_t n = 0; n < count; n++) {
		uint64_t h = 0xcbf29ce484222325ull;

		for (unsigned i = 0; i < HASH_SIZE; i++)
			h = (h ^ text[i]) * 0x100000001b3ull;
		sum += h;
		text[n % HASH_SIZE]++;
	}
	return sum;
}

const struct test compute_tests[] = {
    {"integer", "a round of shifts, adds, a multiplication and a branch", integer},
    {"calls", "fibonacci(12): 465 calls", calls},
    {"sort", "4096 numbers made and sorted", sort},
    {"tree", "4096 numbers put into a binary tree and 4096 looked for", tree},
    {"double", "two 48x48 matrices multiplied", floating},
    {"libm", "64 times sin, cos, exp, log, pow, atan2", libm},
    {"hash", "64 KiB hashed, a byte at a time", hash},
    {0},
};
