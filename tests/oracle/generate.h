/* Makes one case: an instance of a form, placed in the code pages, and a state in which it does
 * something: memory operands mostly point into the data pages, counts are small, divisions mostly
 * don't overflow.
 *
 * Example: `generate_case(&forms.form[i], &random, &data, &test);`
 */
#ifndef TESTS_ORACLE_GENERATE_H
#define TESTS_ORACLE_GENERATE_H

#include "tests/oracle/encode.h"
#include "tests/oracle/machine.h"

/* The two copies of the data pages, kept equal. */
struct data {
	uint8_t *native, *guest;
	uint64_t code_base;
	bool wide;  /* 64-bit code */
	bool edges; /* operands and instructions at the ends of pages, more often than else */
};

struct test_case {
	struct instance instance;
	unsigned code_offset;
	struct machine in;
};

void generate_case(const struct form *form, struct random *random, struct data *data,
		   struct test_case *test);
/* The linear address of the memory operand. */
uint64_t operand_address(const struct test_case *test);
/* Offset of an address in the data pages, or -1. */
int64_t data_offset(const struct data *data, uint64_t address);
/* New contents for all data pages. */
void generate_data(struct random *random, struct data *data);

#endif
