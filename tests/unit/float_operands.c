#include "float_operands.h"

uint64_t float_random_next(struct float_random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Of `bits` bits. */
static uint64_t fraction(struct float_random *random, unsigned bits)
{
	const uint64_t r = float_random_next(random), mask = ~0ull >> (64 - bits);
	const unsigned n = (unsigned)(r >> 32) % bits;

	switch (r & 15) {
	case 0:
		return 0;
	case 1:
		return mask;
	case 2:
		return 1ull << n;
	case 3:
		return mask ^ 1ull << n;
	case 4:
		return mask << n & mask;
	case 5:
		return mask >> n;
	case 6: /* few bits at the top: exact results */
		return r >> 40 << (bits > 8 ? bits - 8 : 0) & mask;
	case 7: /* as if it came from a narrower format */
		return float_random_next(random) << n & mask;
	default:
		return float_random_next(random) & mask;
	}
}

static uint64_t exponent(struct float_random *random, unsigned bits)
{
	const uint64_t r = float_random_next(random), limit = (1ull << bits) - 1, bias = limit >> 1;

	switch (r & 15) {
	case 0:
		return 0;
	case 1:
		return limit;
	case 2: /* small */
		return 1 + (r >> 8) % 4;
	case 3: /* large */
		return limit - 1 - (r >> 8) % 4;
	case 4:
		return r >> 8 & limit;
	case 5: /* products at the limits */
		return bias / 2 + (r >> 8) % 8;
	case 6:
		return bias + bias / 2 + (r >> 8) % 8;
	case 7: /* integers */
		return (bias + (r >> 8) % 70) & limit;
	case 8:
		return (bias - 8 + (r >> 8) % 16) & limit;
	case 9: /* differences just inside of the denormals */
		return (1 + (r >> 8) % 64) & limit;
	default:
		return bias + (r >> 8) % 3 - 1;
	}
}

uint64_t operand_ieee(struct float_random *random, unsigned exponent_bits, unsigned fraction_bits)
{
	const uint64_t sign = float_random_next(random) & 1;

	return (sign << exponent_bits | exponent(random, exponent_bits)) << fraction_bits |
	       fraction(random, fraction_bits);
}

void operand_f80(struct float_random *random, uint64_t *mantissa, uint16_t *sign_exponent)
{
	const uint64_t r = float_random_next(random), biased = exponent(random, 15);

	*sign_exponent = (uint16_t)(biased | (r & 1) << 15);
	*mantissa = fraction(random, 63);
	if (biased ? (r >> 8 & 31) != 0 : (r >> 8 & 7) == 0)
		*mantissa |= 1ull << 63;
}
