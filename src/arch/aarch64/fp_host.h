/* The host's arithmetic where nothing can come of it but the result that A64 has as well: on numbers that are zero or normal, rounded to
 * nearest (the host's mode, which is never changed), with a result that is normal, and after something that was inexact, so that there is
 * no flag to raise. C's float and double must be the formats; nothing depends on the host otherwise.
 *
 * Functions return false where they don't know: then arch/softfp does it.
 *
 * Example: if (a64_fp_host_does(fp) && a64_fp_host_sqrt(size, a, &result))
 *                  return result;
 */
#ifndef ARCH_AARCH64_FP_HOST_H
#define ARCH_AARCH64_FP_HOST_H

#include "arch/aarch64/fp.h"
#include "arch/aarch64/state.h"
#include <float.h>

union a64_fp_single {
	uint32_t bits;
	float value;
};

union a64_fp_double {
	uint64_t bits;
	double value;
};

static inline double a64_fp_as_double(uint64_t bits)
{
	return (union a64_fp_double){.bits = bits}.value;
}

static inline float a64_fp_as_single(uint64_t bits)
{
	return (union a64_fp_single){.bits = (uint32_t)bits}.value;
}

static inline uint64_t a64_fp_double_bits(double value)
{
	return (union a64_fp_double){.value = value}.bits;
}

static inline uint32_t a64_fp_single_bits(float value)
{
	return (union a64_fp_single){.value = value}.bits;
}

static inline bool a64_fp_host_does(const struct a64_fp *fp)
{
	return FLT_EVAL_METHOD == 0 && !(fp->fpcr & (3u << A64_FPCR_RMODE_SHIFT)) && fp->fpsr & A64_FPSR_IXC;
}

/* Zero or normal. */
static inline bool a64_fp_plain_single(uint64_t a)
{
	return (a >> 23 & 0xff) - 1 < 0xfe || !(uint32_t)(a << 1);
}

static inline bool a64_fp_plain_double(uint64_t a)
{
	return (a >> 52 & 0x7ff) - 1 < 0x7fe || !(a << 1);
}

/* Finite, and not tiny before it was rounded. */
static inline bool a64_fp_safe_single(uint32_t r)
{
	return (r & 0x7fffffff) > 0x00800000 && (r & 0x7fffffff) < 0x7f800000;
}

static inline bool a64_fp_safe_double(uint64_t r)
{
	return (r << 1 >> 1) > 1ull << 52 && (r << 1 >> 1) < 0x7ffull << 52;
}

/* *result = a op b. zero_is_exact, of x and y: that a result of 0 is no underflow. */
#define A64_FP_HOST_OP2(name, op, zero_is_exact)                                                                                           \
	static inline bool a64_fp_host_##name(unsigned size, uint64_t a, uint64_t b, uint64_t *result)                                     \
	{                                                                                                                                  \
		if (size == A64_FP_SIZE_DOUBLE) {                                                                                          \
			const double x = a64_fp_as_double(a), y = a64_fp_as_double(b);                                                     \
			*result = a64_fp_double_bits(x op y);                                                                              \
			return a64_fp_plain_double(a) && a64_fp_plain_double(b) &&                                                         \
			       (likely(a64_fp_safe_double(*result)) || ((zero_is_exact) && !(*result << 1)));                              \
		}                                                                                                                          \
		if (size == A64_FP_SIZE_SINGLE) {                                                                                          \
			const float x = a64_fp_as_single(a), y = a64_fp_as_single(b);                                                      \
			const uint32_t r = a64_fp_single_bits(x op y);                                                                     \
			*result = r;                                                                                                       \
			return a64_fp_plain_single(a) && a64_fp_plain_single(b) &&                                                         \
			       (likely(a64_fp_safe_single(r)) || ((zero_is_exact) && !(r << 1)));                                          \
		}                                                                                                                          \
		return false;                                                                                                              \
	}
A64_FP_HOST_OP2(add, +, true)
A64_FP_HOST_OP2(sub, -, true)
A64_FP_HOST_OP2(mul, *, x == 0 || y == 0)
A64_FP_HOST_OP2(div, /, x == 0)

static inline bool a64_fp_host_sqrt(unsigned size, uint64_t a, uint64_t *result)
{
	if (size == A64_FP_SIZE_DOUBLE && !(a >> 63) && a64_fp_plain_double(a)) {
		*result = a64_fp_double_bits(__builtin_sqrt(a64_fp_as_double(a)));
		return true;
	}
	if (size == A64_FP_SIZE_SINGLE && !(a >> 31) && a64_fp_plain_single(a)) {
		*result = a64_fp_single_bits(__builtin_sqrtf(a64_fp_as_single(a)));
		return true;
	}
	return false;
}

/* A product of singles is exact in a double. Its sum with a third, rounded to a double, rounds on to the right single unless it came to lie
 * in the middle of two. */
static inline bool a64_fp_host_mul_add_single(uint64_t addend, uint64_t a, uint64_t b, uint64_t *result)
{
	const uint64_t sum =
		a64_fp_double_bits((double)a64_fp_as_single(a) * (double)a64_fp_as_single(b) + (double)a64_fp_as_single(addend));
	const uint32_t r = a64_fp_single_bits((float)a64_fp_as_double(sum));

	*result = r;
	return a64_fp_plain_single(addend) && a64_fp_plain_single(a) && a64_fp_plain_single(b) && (sum & 0x1fffffff) != 0x10000000 &&
	       a64_fp_safe_single(r);
}

/* a + b as a double and what that lost (Knuth). */
static inline double a64_fp_two_sum(double a, double b, double *lost)
{
	const double sum = a + b, b_part = sum - a, a_part = sum - b_part;

	*lost = (a - a_part) + (b - b_part);
	return sum;
}

/* The upper half of a significand (Veltkamp). */
static inline double a64_fp_upper_half(double a)
{
	const double scaled = a * 0x1p27, big = scaled + a;

	return big - (big - a);
}

/* The exponent is near enough to 0 for exact products of two such and their parts. */
static inline bool a64_fp_medium_double(uint64_t a)
{
	return (a >> 52 & 0x7ff) - (1023 - 400) < 800;
}

/* The product as a sum of two doubles (Dekker), the addend to the lower of them, and all to the upper with the last bit of what is below
 * kept odd if anything was lost there, so that the last addition rounds as if it were the only one (Boldo and Melquiond, "Emulation of FMA
 * and correctly rounded sums: proved algorithms using rounding to odd"). */
static inline bool a64_fp_host_mul_add_double(uint64_t addend, uint64_t a, uint64_t b, uint64_t *result)
{
	if (!(addend << 1))
		return a64_fp_host_mul(A64_FP_SIZE_DOUBLE, a, b, result) && a64_fp_safe_double(*result);
	if (!(a << 1) || !(b << 1)) {
		*result = addend;
		return a64_fp_plain_double(a) && a64_fp_plain_double(b) && a64_fp_plain_double(addend);
	}
	if (!a64_fp_medium_double(a) || !a64_fp_medium_double(b) || !a64_fp_medium_double(addend))
		return false;
	const double x = a64_fp_as_double(a), y = a64_fp_as_double(b);
	const double x1 = a64_fp_upper_half(x), x0 = x - x1, y1 = a64_fp_upper_half(y), y0 = y - y1;
	const double product = x * y, product_low = ((x1 * y1 - product) + x1 * y0 + x0 * y1) + x0 * y0;
	double low_lost, sum_lost, lost;
	const double low = a64_fp_two_sum(a64_fp_as_double(addend), product_low, &low_lost);
	const double sum = a64_fp_two_sum(product, low, &sum_lost);
	const double rest = a64_fp_two_sum(low_lost, sum_lost, &lost);
	uint64_t odd = a64_fp_double_bits(rest);

	if (lost != 0 && !(odd & 1))
		odd += (lost > 0) == (rest > 0) ? 1ull : ~0ull;
	*result = a64_fp_double_bits(sum + a64_fp_as_double(odd));
	return a64_fp_safe_double(*result);
}

/* Which of two is greater, by their bits: -1, 0, 1. Only while no denormals are flushed. */
static inline bool a64_fp_host_order(const struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, int *order)
{
	static const uint64_t infinities[4] = {0, 0x7c00ull << 48, 0x7f800000ull << 32, 0x7ffull << 52};
	const unsigned unused = 64 - (8u << size);
	const uint64_t x = a << unused, y = b << unused, x_magnitude = x << 1 >> 1, y_magnitude = y << 1 >> 1;

	if (fp->fpcr & (A64_FPCR_FZ | A64_FPCR_FZ16) || x_magnitude > infinities[size] || y_magnitude > infinities[size])
		return false;
	const int64_t x_key = x >> 63 ? -(int64_t)x_magnitude : (int64_t)x_magnitude;
	const int64_t y_key = y >> 63 ? -(int64_t)y_magnitude : (int64_t)y_magnitude;

	*order = (x_key > y_key) - (x_key < y_key);
	return true;
}

/* The integer next to a value below 2^52 in magnitude, as a double with the value's sign. Not by A64_ROUND_ODD. */
static inline double a64_fp_host_integral(double value, enum a64_fp_rounding rounding)
{
	const uint64_t sign = a64_fp_double_bits(value) & 1ull << 63;
	const double magnitude = a64_fp_as_double(a64_fp_double_bits(value) ^ sign), below = (double)(int64_t)magnitude;
	const double rest = magnitude - below;
	bool up = false;

	switch (rounding) {
	case A64_ROUND_NEAREST: up = rest > 0.5 || (rest == 0.5 && (int64_t)magnitude & 1); break;
	case A64_ROUND_AWAY: up = rest >= 0.5; break;
	case A64_ROUND_UP: up = rest > 0 && !sign; break;
	case A64_ROUND_DOWN: up = rest > 0 && sign; break;
	default: break;
	}
	return a64_fp_as_double(a64_fp_double_bits(below + up) | sign);
}

/* The value of a single or double that is zero or normal, and below 2^52 in magnitude. */
static inline bool a64_fp_host_value(unsigned size, uint64_t a, double *value)
{
	if (size == A64_FP_SIZE_DOUBLE && a64_fp_plain_double(a))
		*value = a64_fp_as_double(a);
	else if (size == A64_FP_SIZE_SINGLE && a64_fp_plain_single(a))
		*value = (double)a64_fp_as_single(a);
	else
		return false;
	return *value > -0x1p52 && *value < 0x1p52;
}

static inline bool a64_fp_host_round_int(const struct a64_fp *fp, unsigned size, uint64_t a, enum a64_fp_rounding rounding, bool exact,
					 uint64_t *result)
{
	double value;

	if (!a64_fp_host_value(size, a, &value))
		return false;
	const double integral = a64_fp_host_integral(value, rounding);

	*result = size == A64_FP_SIZE_DOUBLE ? a64_fp_double_bits(integral) : a64_fp_single_bits((float)integral);
	return !exact || integral == value || fp->fpsr & A64_FPSR_IXC;
}

/* To an integer of `bits`, 16 to 64. */
static inline bool a64_fp_host_to_integer(const struct a64_fp *fp, unsigned size, uint64_t a, unsigned bits, bool is_unsigned,
					  enum a64_fp_rounding rounding, uint64_t *result)
{
	double value;

	if (!a64_fp_host_value(size, a, &value))
		return false;
	const double integral = a64_fp_host_integral(value, rounding);
	const int64_t integer = (int64_t)integral;

	*result = (uint64_t)integer & ~0ull >> (64 - bits);
	if (integer != (is_unsigned ? (int64_t)*result : (int64_t)(*result << (64 - bits)) >> (64 - bits)) || (is_unsigned && integer < 0))
		return false;
	return fp->fpsr & A64_FPSR_IXC || integral == value;
}

/* Small enough to be exact in any rounding mode, or there is no flag to raise. */
static inline bool a64_fp_host_from_integer(const struct a64_fp *fp, unsigned size, uint64_t integer, bool is_unsigned, uint64_t *result)
{
	const unsigned precision = size == A64_FP_SIZE_DOUBLE ? 53 : 24;
	const bool negative = !is_unsigned && integer >> 63;

	if (size == A64_FP_SIZE_HALF || (!a64_fp_host_does(fp) && (negative ? -integer : integer) >> precision))
		return false;
	if (size == A64_FP_SIZE_DOUBLE)
		*result = a64_fp_double_bits(is_unsigned ? (double)integer : (double)(int64_t)integer);
	else
		*result = a64_fp_single_bits(is_unsigned ? (float)integer : (float)(int64_t)integer);
	return true;
}

/* Between single and double. */
static inline bool a64_fp_host_convert(const struct a64_fp *fp, unsigned to, unsigned from, uint64_t a, uint64_t *result)
{
	if (to == A64_FP_SIZE_DOUBLE && from == A64_FP_SIZE_SINGLE && a64_fp_plain_single(a)) {
		*result = a64_fp_double_bits((double)a64_fp_as_single(a));
		return true;
	}
	if (to == A64_FP_SIZE_SINGLE && from == A64_FP_SIZE_DOUBLE && a64_fp_host_does(fp) && a64_fp_plain_double(a)) {
		*result = a64_fp_single_bits((float)a64_fp_as_double(a));
		return a64_fp_safe_single((uint32_t)*result) || !(a << 1);
	}
	return false;
}

#endif
