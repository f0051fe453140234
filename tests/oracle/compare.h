/* Compares what the two sides made of a case. */
#ifndef TESTS_ORACLE_COMPARE_H
#define TESTS_ORACLE_COMPARE_H

#include "arch/x86_64/decode.h"
#include "tests/oracle/machine.h"
#include <stdio.h>

struct result {
	struct machine machine;
	struct outcome outcome;
};

/* flags: the RFLAGS bits that the instruction defines. Writes one line a difference to out (if not
 * NULL), where the second side is called `name`, and returns how many there are. */
unsigned compare_results(const struct x86_insn *insn, const struct machine *in,
			 const struct result *native, const struct result *guest, uint64_t flags,
			 const char *name, FILE *out);
/* The same for the data pages. */
unsigned compare_data(const uint8_t *native, const uint8_t *guest, const char *name, FILE *out);

#endif
