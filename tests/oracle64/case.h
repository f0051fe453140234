/* One instruction under test, with what it starts from and what it leaves: shared by the process that interprets it and the program that
 * executes it under an emulator of user programs. Both have code and data at the same addresses.
 *
 * Example: `batch->cases[i].words[0] = 0x8b020020;`   // add x0, x1, x2
 */
#ifndef TESTS_ORACLE64_CASE_H
#define TESTS_ORACLE64_CASE_H

#include <stdint.h>

#define CODE_ADDRESS   0x04010000ull /* a page: the instruction, then where it may go on: one word or two words further */
#define DATA_ADDRESS   0x04020000ull
#define DATA_SIZE      0x20000u
/* What of the data is random; the rest is zeros. Addresses are made to lie here. */
#define WINDOW_OFFSET  0xf000u
#define WINDOW_SIZE    0x400u

struct registers {
	uint64_t x[31], sp;
	uint64_t nzcv, fpcr, fpsr;
	uint64_t unused;
	uint64_t v[32][2];
};

struct oracle_case {
	struct registers before, after;
	uint32_t word;
	uint32_t signal; /* that it ended by; 0: none */
	uint32_t taken;  /* it went on two words further */
	uint32_t reserved;
	uint64_t data_sum; /* of all data afterwards */
	uint64_t window[WINDOW_SIZE / 8]; /* before; then after */
};

#define BATCH_CASES 256u
struct batch {
	uint32_t count;
	uint32_t reserved[15];
	struct oracle_case cases[BATCH_CASES];
};

/* A sum in which every place counts. */
static inline uint64_t data_sum(const uint64_t *data)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < DATA_SIZE / 8; i++)
		sum = (sum << 1 | sum >> 63) ^ data[i];
	return sum;
}

#endif
