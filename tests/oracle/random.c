/* Reproducible randomness. See random.h. */
#include "tests/oracle/random.h"
#include <string.h>

uint64_t random_next(struct random *random)
{
	/* splitmix64 */
	uint64_t z = random->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t random_below(struct random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

bool random_chance(struct random *random, unsigned one_in)
{
	return random_next(random) % one_in == 0;
}

uint64_t random_integer(struct random *random)
{
	uint64_t noise = random_next(random);
	unsigned shift = (unsigned)random_below(random, 64);

	switch (random_below(random, 8)) {
	case 0:
		return noise & 0xf;
	case 1:
		return 0 - (noise & 0xf);
	case 2:
		return 1ull << shift;
	case 3:
		return (1ull << shift) - 1 + (noise & 1);
	case 4:
		return (uint64_t)((int64_t)noise >> shift);
	case 5:
		return noise >> shift;
	default:
		return noise;
	}
}

/* A float of the given widths from sign, exponent and fraction chosen to be interesting. */
static uint64_t random_float(struct random *random, unsigned exponent_bits, unsigned fraction_bits)
{
	uint64_t noise = random_next(random);
	uint64_t limit = (1ull << exponent_bits) - 1, bias = limit >> 1, exponent, fraction;

	switch (random_below(random, 12)) {
	case 0:
		exponent = 0;
		break;
	case 1:
		exponent = limit;
		break;
	case 2:
		exponent = random_below(random, limit + 1);
		break;
	case 3:
		exponent = random_chance(random, 2) ? 1 : limit - 1;
		break;
	case 4:
		exponent = bias + random_below(random, 70);
		break;
	default:
		exponent = bias - 8 + random_below(random, 16);
	}
	fraction = random_next(random) & ((1ull << fraction_bits) - 1);
	switch (fraction_bits ? random_below(random, 6) : 0) {
	case 0:
		fraction = 0;
		break;
	case 1:
		fraction &= ~0ull << random_below(random, fraction_bits);
		break;
	case 2:
		fraction = 1ull << random_below(random, fraction_bits);
		break;
	}
	return (noise & 1) << (exponent_bits + fraction_bits) |
	       (exponent & limit) << fraction_bits | fraction;
}

void random_float80(struct random *random, uint8_t to[10])
{
	uint64_t mantissa = random_float(random, 1, 62) | 1ull << 63;
	uint16_t exponent = (uint16_t)random_float(random, 15, 0);

	/* Rarely an encoding that no processor makes: unnormals, pseudo-denormals. */
	if (exponent == 0 || exponent == 0x8000)
		mantissa &= ~(1ull << 63);
	if (random_chance(random, 8))
		mantissa = 1ull << 63;
	if (random_chance(random, 16))
		mantissa = exponent & 0x7fff ? mantissa : 0;
	if (random_chance(random, 32))
		mantissa ^= 1ull << 63;
	memcpy(to, &mantissa, 8);
	memcpy(to + 8, &exponent, 2);
}

void random_fill(struct random *random, void *to, unsigned size)
{
	uint8_t *bytes = to;
	unsigned style = (unsigned)random_below(random, 8);

	for (unsigned i = 0; i < size; i += 8) {
		uint64_t value = random_next(random);

		switch (style) {
		case 0:
		case 1:
			value = random_float(random, 8, 23) | random_float(random, 8, 23) << 32;
			break;
		case 2:
		case 3:
			value = random_float(random, 11, 52);
			break;
		case 4:
			value = random_integer(random);
			break;
		case 5: /* bytes and words at their limits */
			value &= 0x80ff7f01807f00ffull ^ random_next(random);
			break;
		case 6:
			value = (random_integer(random) & 0xffffffff) | random_integer(random)
									    << 32;
			break;
		}
		memcpy(bytes + i, &value, 8);
	}
	if (style == 7 && size >= 16)
		random_float80(random, bytes);
}
