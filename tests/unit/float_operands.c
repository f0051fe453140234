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

/* At most two off a limit of the integer and decimal formats, in quarters, so that the rounding decides
 * which side it falls on; cut to 64 bits. The significand, and its exponent in *exponent. */
static uint64_t near_integer_limit(struct float_random *random, unsigned *exponent)
{
	static const uint64_t limits[] = {1ull << 15, 1ull << 31, 1ull << 63, 1000000000000000000};
	const uint64_t r = float_random_next(random);
	unsigned __int128 quarters = (unsigned __int128)limits[r & 3] * 4 + (r >> 8) % 17 - 8;
	unsigned top = 127;

	for (; !(quarters >> 127); quarters <<= 1)
		top--;
	*exponent = top - 2;
	return (uint64_t)(quarters >> 64);
}

uint64_t operand_ieee(struct float_random *random, unsigned exponent_bits, unsigned fraction_bits)
{
	const uint64_t r = float_random_next(random), sign = r & 1;

	if (exponent_bits >= 8 && (r >> 8 & 31) == 0) {
		unsigned unbiased;
		const uint64_t significand = near_integer_limit(random, &unbiased);
		const uint64_t biased = (1ull << (exponent_bits - 1)) - 1 + unbiased;

		return (sign << exponent_bits | biased) << fraction_bits |
		       significand << 1 >> (64 - fraction_bits);
	}
	return (sign << exponent_bits | exponent(random, exponent_bits)) << fraction_bits |
	       fraction(random, fraction_bits);
}

void operand_f80(struct float_random *random, uint64_t *mantissa, uint16_t *sign_exponent)
{
	const uint64_t r = float_random_next(random), biased = exponent(random, 15);

	if ((r >> 16 & 31) == 0) {
		unsigned unbiased;

		*mantissa = near_integer_limit(random, &unbiased);
		*sign_exponent = (uint16_t)((16383 + unbiased) | (r & 1) << 15);
		return;
	}
	*sign_exponent = (uint16_t)(biased | (r & 1) << 15);
	*mantissa = fraction(random, 63);
	if (biased ? (r >> 8 & 31) != 0 : (r >> 8 & 7) == 0)
		*mantissa |= 1ull << 63;
}
