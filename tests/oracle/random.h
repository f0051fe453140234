/* Reproducible randomness: the same seed gives the same cases on every machine.
 *
 * Example: `struct random random = {seed}; if (random_chance(&random, 10)) ...`   (one in ten)
 */
#ifndef TESTS_ORACLE_RANDOM_H
#define TESTS_ORACLE_RANDOM_H

#include "base/types.h"

struct random {
	uint64_t state;
};

uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t limit);
bool random_chance(struct random *random, unsigned one_in);

/* Values that instructions care about: small numbers, powers of two, limits, and plain noise. */
uint64_t random_integer(struct random *random);
/* Fills size bytes (a multiple of 8) with one of: noise, integers of some width, single, double or
 * extended floats; floats with zeros, denormals, infinities, NaNs and neighbours of integers. */
void random_fill(struct random *random, void *to, unsigned size);
/* An 80-bit value. */
void random_float80(struct random *random, uint8_t to[10]);

#endif
