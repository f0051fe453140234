/* The floating-point seam of the interpreter: what the host's unit computes and what integers compute must be
 * the same bits and flags, for random operands in every rounding, with and without DAZ, FTZ and masks. On hosts
 * where the seam is made of the integers alone, only the fixed cases say something. */
#include "engine/interp/x86_64/fp.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

#define CASES 4000

/* ---- random operands: special values, neighbours of limits, exponents near each other ---- */
static uint64_t seed = 1;

static uint64_t random_bits(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t random_float(unsigned exponent_bits, unsigned fraction_bits)
{
	const uint64_t limit = (1ull << exponent_bits) - 1, noise = random_bits();
	uint64_t exponent, fraction = random_bits();

	switch (noise >> 8 & 7) {
	case 0:
		exponent = 0;
		break;
	case 1:
		exponent = limit - (noise >> 16 & 1);
		break;
	case 2:
		exponent = noise >> 16;
		break;
	case 3:
		exponent = (noise & 2 ? limit / 4 * 3 : limit / 4) + (noise >> 16 & 7);
		break;
	default:
		exponent = limit / 2 + (noise >> 16 & 15) - 8;
	}
	switch (noise >> 12 & 7) {
	case 0:
		fraction = 0;
		break;
	case 1:
		fraction = ~0ull;
		break;
	case 2:
		fraction = 1ull << (fraction & 63) % fraction_bits;
		break;
	case 3:
		fraction <<= (noise >> 24) % fraction_bits;
		break;
	}
	return (noise & 1) << (exponent_bits + fraction_bits) | (exponent & limit) << fraction_bits |
	       (fraction & ((1ull << fraction_bits) - 1));
}

static void random_vector(struct vec_pair *v)
{
	const bool wide = random_bits() & 1;

	for (unsigned i = 0; i < 4; i++)
		v->half[i / 2].u64[i % 2] = wide ? random_float(11, 52) : random_float(8, 23) | random_float(8, 23) << 32;
}

static uint32_t random_mxcsr(void)
{
	const uint64_t noise = random_bits();
	uint32_t mxcsr = MXCSR_DEFAULT | (noise & MXCSR_RC);

	if (!(noise >> 32 & 3))
		mxcsr |= noise & (MXCSR_DAZ | MXCSR_FTZ);
	if (!(noise >> 34 & 3))
		mxcsr |= noise & MXCSR_FLAGS;
	if (!(noise >> 36 & 7))
		mxcsr &= ~(uint32_t)(noise >> 40 & MXCSR_MASKS);
	return noise >> 60 ? mxcsr : MXCSR_DEFAULT;
}

static uint32_t unmasked(uint32_t mxcsr)
{
	return ~(mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS;
}

/* What the guest sees of the flags. While all exceptions are masked they may repeat what is set already. */
static uint32_t outcome(uint32_t mxcsr, uint32_t flags)
{
	return unmasked(mxcsr) ? fp_visible(mxcsr, flags) : flags | (mxcsr & MXCSR_FLAGS);
}

/* There is no result where an unmasked exception is raised. */

static void check(const char *name, uint32_t mxcsr, const void *host, uint32_t host_flags, const void *soft,
		  uint32_t soft_flags, unsigned size, const void *inputs, unsigned inputs_size)
{
	const uint32_t flags = outcome(mxcsr, soft_flags);

	if (outcome(mxcsr, host_flags) == flags && ((flags & unmasked(mxcsr)) || !memcmp(host, soft, size)))
		return;
	print_error("%s mxcsr %x flags host %x soft %x\n", name, mxcsr, host_flags, soft_flags);
	for (unsigned i = 0; i < inputs_size / 8; i++)
		print_error("  in   %016llx\n", ((const unsigned long long *)inputs)[i]);
	for (unsigned i = 0; i < size / 8; i++)
		print_error("  host %016llx soft %016llx\n", ((const unsigned long long *)host)[i],
			    ((const unsigned long long *)soft)[i]);
	fail();
}

/* ---- host against soft ---- */
static void compare_binary(const char *name, fp_fn *host, fp_fn *soft)
{
	const bool scalar = strstr(name, "ss") || strstr(name, "sd");

	for (unsigned n = 0; n < CASES; n++) {
		struct vec_pair in[2], h, s;
		const unsigned halves = scalar ? 1 : 1 + (n & 1);
		const uint32_t mxcsr = random_mxcsr();

		random_vector(&in[0]);
		random_vector(&in[1]);
		memset(&h, 0x55, sizeof(h));
		memset(&s, 0x55, sizeof(s));
		const uint32_t hf = host(mxcsr, h.half, in[0].half, in[1].half, halves);
		const uint32_t sf = soft(mxcsr, s.half, in[0].half, in[1].half, halves);
		check(name, mxcsr, &h, hf, &s, sf, sizeof(h), in, sizeof(in));
	}
}

static void test_arithmetic(void **state)
{
#define COMPARE(name, ...) compare_binary(#name, fp_##name, fp_soft_##name);
	FP_SCALAR_FNS(COMPARE)
	FP_PACKED_FNS(COMPARE)
	FP_UNARY_FNS(COMPARE)
	FP_ROUND_FNS(COMPARE)
}

static void compare_fma(const char *name, fp_fma_fn *host, fp_fma_fn *soft)
{
	const bool scalar = strstr(name, "ss") || strstr(name, "sd");

	for (unsigned n = 0; n < CASES; n++) {
		struct vec_pair in[3], h, s;
		const unsigned halves = scalar ? 1 : 2;
		const uint32_t mxcsr = random_mxcsr();

		for (unsigned i = 0; i < 3; i++)
			random_vector(&in[i]);
		memset(&h, 0, sizeof(h));
		memset(&s, 0, sizeof(s));
		const uint32_t hf = host(mxcsr, h.half, in[0].half, in[1].half, in[2].half, halves);
		const uint32_t sf = soft(mxcsr, s.half, in[0].half, in[1].half, in[2].half, halves);
		if (scalar) /* the rest is the caller's */
			for (unsigned i = 4 + 4 * (name[4] == 'd'); i < 16; i++)
				h.half[0].u8[i] = s.half[0].u8[i] = 0;
		check(name, mxcsr, &h, hf, &s, sf, sizeof(h), in, sizeof(in));
	}
}

static void test_fma(void **state)
{
#define COMPARE_FMA(name) compare_fma(#name, fp_##name, fp_soft_##name);
	FP_FMA_FNS(COMPARE_FMA)
}

static void compare_to_integer(const char *name, fp_to_integer_fn *host, fp_to_integer_fn *soft)
{
	for (unsigned n = 0; n < CASES; n++) {
		struct vec_pair in;
		uint64_t h, s;
		const uint32_t mxcsr = random_mxcsr();

		random_vector(&in);
		const uint32_t hf = host(mxcsr, &h, in.half), sf = soft(mxcsr, &s, in.half);
		check(name, mxcsr, &h, hf, &s, sf, sizeof(h), &in, 16);
	}
}

static void compare_from_integer(const char *name, fp_from_integer_fn *host, fp_from_integer_fn *soft)
{
	for (unsigned n = 0; n < CASES; n++) {
		struct vec_pair in;
		union vec h, s;
		const uint64_t value = (uint64_t)((int64_t)random_bits() >> (random_bits() & 63));
		const uint32_t mxcsr = random_mxcsr();

		random_vector(&in);
		const uint32_t hf = host(mxcsr, &h, in.half, value), sf = soft(mxcsr, &s, in.half, value);
		check(name, mxcsr, &h, hf, &s, sf, sizeof(h), &value, 8);
	}
}

static void test_integers(void **state)
{
#define COMPARE_TO(name) compare_to_integer(#name, fp_##name, fp_soft_##name);
#define COMPARE_FROM(name) compare_from_integer(#name, fp_##name, fp_soft_##name);
	FP_TO_INTEGER_FNS(COMPARE_TO)
	FP_FROM_INTEGER_FNS(COMPARE_FROM)
}

/* ---- fixed cases, for either implementation ---- */
static uint32_t single(uint32_t mxcsr, fp_fn *fn, uint32_t a, uint32_t b, uint32_t *flags)
{
	const union vec x = { .u32 = { a } }, y = { .u32 = { b } };
	union vec d;

	*flags = fn(mxcsr, &d, &x, &y, 1);
	return d.u32[0];
}

static void check_fixed(fp_fn *add, fp_fn *mul, fp_fn *div, fp_fn *min)
{
	uint32_t flags;

	assert_int_equal(single(MXCSR_DEFAULT, add, 0x3f800000, 0x33800000, &flags), 0x3f800000);
	assert_int_equal(flags, MXCSR_PE);
	assert_int_equal(single(MXCSR_DEFAULT | 2u << MXCSR_RC_SHIFT, add, 0x3f800000, 0x33800000, &flags), 0x3f800001);
	assert_int_equal(single(MXCSR_DEFAULT, div, 0x3f800000, 0, &flags), 0x7f800000);
	assert_int_equal(flags, MXCSR_ZE);
	/* Signaling NaN first operand, quieted. */
	assert_int_equal(single(MXCSR_DEFAULT, add, 0x7f800001, 0x7fc00002, &flags), 0x7fc00001);
	assert_int_equal(flags, MXCSR_IE);
	/* A denormal: used, ignored, produced, flushed. */
	assert_int_equal(single(MXCSR_DEFAULT, add, 1, 0, &flags), 1);
	assert_int_equal(flags, MXCSR_DE);
	assert_int_equal(single(MXCSR_DEFAULT | MXCSR_DAZ, add, 1, 0, &flags), 0);
	assert_int_equal(flags, 0);
	assert_int_equal(single(MXCSR_DEFAULT, mul, 0x00800000, 0x3f000001, &flags), 0x00400000);
	assert_int_equal(flags, MXCSR_UE | MXCSR_PE);
	assert_int_equal(single(MXCSR_DEFAULT | MXCSR_FTZ, mul, 0x00800000, 0x3f000001, &flags), 0);
	assert_int_equal(flags, MXCSR_UE | MXCSR_PE);
	/* Exact and tiny raises underflow only unmasked; overflow unmasked is not inexact by itself. */
	(void)single(MXCSR_DEFAULT, mul, 0x00800000, 0x3f000000, &flags);
	assert_int_equal(flags, 0);
	(void)single(MXCSR_DEFAULT & ~(uint32_t)MXCSR_UM, mul, 0x00800000, 0x3f000000, &flags);
	assert_int_equal(flags, MXCSR_UE);
	(void)single(MXCSR_DEFAULT, mul, 0x7f000000, 0x40000000, &flags);
	assert_int_equal(flags, MXCSR_OE | MXCSR_PE);
	(void)single(MXCSR_DEFAULT & ~(uint32_t)MXCSR_OM, mul, 0x7f000000, 0x40000000, &flags);
	assert_int_equal(flags, MXCSR_OE);
	/* MIN: the second of equal zeros, the second if there is a NaN. */
	assert_int_equal(single(MXCSR_DEFAULT, min, 0, 0x80000000, &flags), 0x80000000);
	assert_int_equal(single(MXCSR_DEFAULT, min, 0x7fc00000, 0x3f800000, &flags), 0x3f800000);
	assert_int_equal(flags, MXCSR_IE);
}

static void test_fixed(void **state)
{
	check_fixed(fp_addss, fp_mulss, fp_divss, fp_minss);
	check_fixed(fp_soft_addss, fp_soft_mulss, fp_soft_divss, fp_soft_minss);
}

/* Both approximations within what the manual promises: x * rcp(x) is near one. */
static void check_approximation(fp_fn *rcp, fp_fn *rsqrt)
{
	for (unsigned n = 0; n < CASES; n++) {
		const uint32_t x = 0x20000000 + (uint32_t)(random_bits() % 0x30000000);
		uint32_t flags, bits;
		float value, r;

		memcpy(&value, &x, 4);
		bits = single(MXCSR_DEFAULT, rcp, 0, x, &flags);
		memcpy(&r, &bits, 4);
		assert_true(r * value > 1 - 0x1.9p-12f && r * value < 1 + 0x1.9p-12f);
		bits = single(MXCSR_DEFAULT, rsqrt, 0, x, &flags);
		memcpy(&r, &bits, 4);
		assert_true(r * r * value > 1 - 0x1.9p-11f && r * r * value < 1 + 0x1.9p-11f);
	}
}

static void test_approximations(void **state)
{
	check_approximation(fp_rcpss, fp_rsqrtss);
	check_approximation(fp_soft_rcpss, fp_soft_rsqrtss);
}

static void test_half(void **state)
{
	const union vec halves = { .u16 = { 0x3c00, 0x0001, 0xfc00, 0x7c01 } };
	const union vec singles = { .u32 = { 0x3f801000, 0x477ff000, 0x33000000, 0x00000001 } };
	union vec d;

	assert_int_equal(fp_cvtph2ps(MXCSR_DEFAULT | MXCSR_DAZ, &d, &halves, &halves, 1), MXCSR_IE);
	assert_int_equal(d.u32[0], 0x3f800000);
	assert_int_equal(d.u32[1], 0x33800000);
	assert_int_equal(d.u32[2], 0xff800000);
	assert_int_equal(d.u32[3], 0x7fc02000);
	assert_int_equal(fp_cvtps2ph(MXCSR_DEFAULT, &d, &singles, &singles, 1),
			 MXCSR_DE | MXCSR_OE | MXCSR_UE | MXCSR_PE);
	assert_int_equal(d.u16[0], 0x3c00);
	assert_int_equal(d.u16[1], 0x7c00);
	assert_int_equal(d.u16[2], 0);
	assert_int_equal(d.u16[3], 0);
	assert_int_equal(d.u64[1], 0);
}

static void test_comparison(void **state)
{
	uint32_t flags = 0;

	assert_int_equal(fp_compare32(MXCSR_DEFAULT, 0x80000000, 0, false, &flags), FP_EQUAL);
	assert_int_equal(fp_compare32(MXCSR_DEFAULT, 0xbf800000, 0xc0000000, false, &flags), FP_GREATER);
	assert_int_equal(fp_compare32(MXCSR_DEFAULT, 0x7fc00000, 0, false, &flags), FP_UNORDERED);
	assert_int_equal(flags, 0);
	assert_int_equal(fp_compare32(MXCSR_DEFAULT, 0x7fc00000, 0, true, &flags), FP_UNORDERED);
	assert_int_equal(flags, MXCSR_IE);
	flags = 0;
	assert_int_equal(fp_compare64(MXCSR_DEFAULT, 1, 0, true, &flags), FP_GREATER);
	assert_int_equal(flags, MXCSR_DE);
	flags = 0;
	assert_int_equal(fp_compare64(MXCSR_DEFAULT | MXCSR_DAZ, 1, 1ull << 63, true, &flags), FP_EQUAL);
	assert_int_equal(flags, 0);
}

/* Other C code must find the host's rounding as it was. */
static void test_host_mode(void **state)
{
	volatile float third = 1.0f;
	uint32_t flags;

	(void)single(MXCSR_DEFAULT | MXCSR_RC | MXCSR_FTZ | MXCSR_DAZ, fp_divss, 0x3f800000, 0x40400000, &flags);
	third /= 3.0f;
	assert_true(third * 3.0f == 1.0f);
	(void)single(0, fp_addss, 0x7f800001, 0, &flags);
	third = 0.0f;
	third /= 0.0f; /* no SIGFPE */
	assert_true(third != third);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed),	  cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_fma),
		cmocka_unit_test(test_integers),  cmocka_unit_test(test_half),	     cmocka_unit_test(test_approximations),
		cmocka_unit_test(test_comparison), cmocka_unit_test(test_host_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
