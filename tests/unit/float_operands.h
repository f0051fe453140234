/* Random floating-point operands, biased to what goes wrong: specials, neighbours of limits, runs
 * of ones and zeros, exponents near each other.
 *
 * Example: uint64_t a = operand_ieee(11, 52);    // a double
 */
#ifndef TESTS_UNIT_FLOAT_OPERANDS_H
#define TESTS_UNIT_FLOAT_OPERANDS_H

#include "base/types.h"

struct float_random {
	uint64_t state;
};

uint64_t float_random_next(struct float_random *random);
/* Sign, exponent and fraction packed as IEEE 754 does. */
uint64_t operand_ieee(struct float_random *random, unsigned exponent_bits, unsigned fraction_bits);
/* x87's format, sometimes an unsupported encoding or a pseudo-denormal. */
void operand_f80(struct float_random *random, uint64_t *mantissa, uint16_t *exponent);

#endif
