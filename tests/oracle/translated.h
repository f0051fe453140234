/* The translator's side: the case's instruction in the middle of a block.
 *
 * Before it stand a few instructions that leave the state as the case wants it (the run begins with the state that they
 * turn into that one), behind it some that change nothing. Whether the translator's tables know the pages of the
 * operands already, whether they have been accessed or written, is random.
 *
 * Example:
 *     translated_place(&placed, guest, &random, &test, data);
 *     if (translated_usable(&placed, target)) translated_run(guest, &placed, &out, &outcome);
 */
#ifndef TESTS_ORACLE_TRANSLATED_H
#define TESTS_ORACLE_TRANSLATED_H

#include "tests/oracle/generate.h"
#include "tests/oracle/guest.h"

struct placed {
	uint64_t at, end;         /* of the instruction itself */
	uint64_t first, last;     /* of all of them */
	uint8_t bytes[160];
	unsigned length;
	struct machine in;        /* at `first` */
	bool hung;
};

/* NULL with a message if this host has no translator. */
const struct engine_ops *translated_engine(void);

void translated_place(struct placed *placed, struct guest *guest, struct random *random, const struct test_case *test,
		      const struct data *data);
/* A branch into what stands around the instruction is no case. */
bool translated_usable(const struct placed *placed, uint64_t target);
void translated_run(struct guest *guest, const struct placed *placed, struct machine *out, struct outcome *outcome);

#endif
