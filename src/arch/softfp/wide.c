/* 128-bit significands: see wide.h. */
#include "arch/softfp/wide.h"

typedef unsigned __int128 uint128;

const struct wide wide_one = WIDE_CONSTANT(0, 1ull << 63, 0);
const struct wide wide_half_pi = WIDE_CONSTANT(0, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
const struct wide wide_ln2 = WIDE_CONSTANT(-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af);
const struct wide wide_log2_e = WIDE_CONSTANT(0, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88);

struct wide wide_from_parts(struct fp_parts a)
{
	return (struct wide){.frac = (uint128)a.frac << 64, .exp = a.exp, .sign = a.sign};
}

struct wide wide_normalized(bool sign, int32_t exp, uint128 frac)
{
	if (!frac)
		return (struct wide){0};
	const int shift = fp_clz128(frac);
	return (struct wide){.frac = frac << shift, .exp = exp - shift, .sign = sign};
}

struct wide wide_from_int(int32_t a)
{
	const uint32_t magnitude = a < 0 ? 0 - (uint32_t)a : (uint32_t)a;

	return wide_normalized(a < 0, 127, magnitude);
}

struct wide wide_add(struct wide a, struct wide b)
{
	if (!a.frac)
		return b;
	if (!b.frac)
		return a;
	if (a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac)) {
		struct wide t = a;
		a = b;
		b = t;
	}
	/* One bit of headroom; the bits that it costs a matter to nobody. */
	uint128 x = fp_shift_right_sticky(a.frac, 1);
	const uint128 y =
	    fp_shift_right_sticky(b.frac, a.exp - b.exp < 127 ? a.exp - b.exp + 1 : 128);

	x = a.sign == b.sign ? x + y : x - y;
	return wide_normalized(a.sign, a.exp + 1, x);
}

struct wide wide_multiply(struct wide a, struct wide b)
{
	const uint64_t a1 = (uint64_t)(a.frac >> 64), a0 = (uint64_t)a.frac;
	const uint64_t b1 = (uint64_t)(b.frac >> 64), b0 = (uint64_t)b.frac;
	const uint128 low = (uint128)a0 * b0, middle = (uint128)a1 * b0, cross = (uint128)a0 * b1;
	const uint128 carry = (low >> 64) + (uint64_t)middle + (uint64_t)cross;
	const uint128 high = (uint128)a1 * b1 + (middle >> 64) + (cross >> 64) + (carry >> 64);
	const bool lost = (uint64_t)carry || (uint64_t)low;

	return wide_normalized(a.sign != b.sign, a.exp + b.exp + 1, high | lost);
}

struct wide wide_divide(struct wide a, struct wide b)
{
	uint128 quotient = 0, rest = a.frac;
	bool carry = false;

	for (int i = 0; i < 128; i++) {
		quotient <<= 1;
		if (carry || rest >= b.frac) {
			rest -= b.frac;
			quotient |= 1;
		}
		carry = rest >> 127;
		rest <<= 1;
	}
	return wide_normalized(a.sign != b.sign, a.exp - b.exp, quotient | (rest || carry));
}

struct wide wide_divide_int(struct wide a, uint32_t b)
{
	uint128 quotient = 0;
	uint64_t rest = 0;

	for (int i = 96; i >= 0; i -= 32) {
		rest = rest << 32 | (uint32_t)(a.frac >> i);
		quotient = quotient << 32 | rest / b;
		rest %= b;
	}
	return wide_normalized(a.sign, a.exp, quotient | (rest != 0));
}
