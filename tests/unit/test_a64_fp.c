/* arch/aarch64/fp.h: known answers of what Arm does its own way (DDI 0487 J1.3, shared/functions/float); on x86-64 hosts its arithmetic
 * against the processor's, in all roundings. What instructions do with it is in tests/oracle_aarch64 and tests/interp.
 *
 * Example: `meson test -C build a64_fp`
 */
#include "arch/aarch64/fp.h"
#include "arch/aarch64/state.h"
#include "float_operands.h"
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define FZ   A64_FPCR_FZ
#define DN   A64_FPCR_DN
#define AHP  A64_FPCR_AHP
#define FZ16 A64_FPCR_FZ16
#define UP   (1u << A64_FPCR_RMODE_SHIFT)
#define DOWN (2u << A64_FPCR_RMODE_SHIFT)
#define ZERO (3u << A64_FPCR_RMODE_SHIFT)
#define IOC  A64_FPSR_IOC
#define DZC  A64_FPSR_DZC
#define OFC  A64_FPSR_OFC
#define UFC  A64_FPSR_UFC
#define IXC  A64_FPSR_IXC
#define IDC  A64_FPSR_IDC

struct known {
	a64_fp_op2 *op;
	unsigned size;
	uint32_t fpcr;
	uint64_t a, b, result;
	uint32_t fpsr;
};

static void two_operands(void **state)
{
	static const struct known cases[] = {
		/* The first signalling NaN, else the first quiet one; quieted, or the default. */
		{a64_fp_add, 2, 0, 0x7fc00001, 0xff800002, 0xffc00002, IOC},
		{a64_fp_add, 2, 0, 0x7fc00001, 0xffc00002, 0x7fc00001, 0},
		{a64_fp_add, 2, 0, 0x7f800001, 0xff800002, 0x7fc00001, IOC},
		{a64_fp_add, 2, DN, 0xffc00001, 0x3f800000, 0x7fc00000, 0},
		{a64_fp_sub, 2, 0, 0x7f800000, 0x7f800000, 0x7fc00000, IOC},
		{a64_fp_sub, 3, 0, 0x3ff0000000000000, 0x7ff4000000000000, 0x7ffc000000000000, IOC},
		{a64_fp_add, 1, 0, 0x3c00, 0x7d01, 0x7f01, IOC},
		/* Zeros. */
		{a64_fp_sub, 2, 0, 0x3f800000, 0x3f800000, 0, 0},
		{a64_fp_sub, 2, DOWN, 0x3f800000, 0x3f800000, 0x80000000, 0},
		{a64_fp_div, 2, 0, 0xbf800000, 0, 0xff800000, DZC},
		{a64_fp_div, 2, 0, 0, 0, 0x7fc00000, IOC},
		{a64_fp_mul, 2, 0, 0, 0xff800000, 0x7fc00000, IOC},
		{a64_fp_mulx, 2, 0, 0, 0xff800000, 0xc0000000, 0},
		/* Largest and smallest numbers. */
		{a64_fp_mul, 2, 0, 0x7f7fffff, 0x40000000, 0x7f800000, OFC | IXC},
		{a64_fp_mul, 2, ZERO, 0x7f7fffff, 0x40000000, 0x7f7fffff, OFC | IXC},
		{a64_fp_mul, 2, DOWN, 0xff7fffff, 0x40000000, 0xff800000, OFC | IXC},
		{a64_fp_mul, 2, 0, 0x00800000, 0x3f000000, 0x00400000, 0},              /* exact: no underflow */
		{a64_fp_mul, 2, 0, 0x00ffffff, 0x3f000000, 0x00800000, UFC | IXC},      /* tiny before rounding */
		{a64_fp_mul, 2, FZ, 0x00ffffff, 0xbf000000, 0x80000000, UFC},           /* flushed: not inexact */
		{a64_fp_mul, 2, FZ, 0x00000001, 0x7f000000, 0, IDC},
		{a64_fp_add, 2, FZ, 0x00000001, 0x7fc00003, 0x7fc00003, IDC},
		{a64_fp_add, 1, FZ, 0x0001, 0x0001, 0x0002, 0},                         /* FZ is not for halves */
		{a64_fp_add, 1, FZ16, 0x0001, 0x3c00, 0x3c00, 0},                       /* and FZ16 has no IDC */
		{a64_fp_mul, 1, FZ16, 0x0400, 0xb800, 0x8000, UFC},
		{a64_fp_add, 1, 0, 0x7bff, 0x7bff, 0x7c00, OFC | IXC},
		/* Maxima and minima. */
		{a64_fp_max, 2, 0, 0x80000000, 0, 0, 0},
		{a64_fp_min, 2, 0, 0, 0x80000000, 0x80000000, 0},
		{a64_fp_max, 2, 0, 0x80000000, 0xbf800000, 0x80000000, 0},
		{a64_fp_max, 2, 0, 0x3f800000, 0x7fc00001, 0x7fc00001, 0},
		{a64_fp_max_num, 2, 0, 0x3f800000, 0x7fc00001, 0x3f800000, 0},
		{a64_fp_min_num, 2, 0, 0xffc00001, 0x3f800000, 0x3f800000, 0},
		{a64_fp_min_num, 2, 0, 0x7fc00001, 0x7fc00002, 0x7fc00001, 0},
		{a64_fp_max_num, 2, 0, 0x7fc00001, 0x7f800002, 0x7fc00002, IOC},
		{a64_fp_max, 2, FZ, 0x00000001, 0x80000001, 0, IDC},
		/* Steps: a is negated, also as a NaN; 0 * infinity counts as 0. */
		{a64_fp_recip_step, 2, 0, 0x3f800000, 0x3f800000, 0x3f800000, 0},
		{a64_fp_recip_step, 2, 0, 0x7f800000, 0, 0x40000000, 0},
		{a64_fp_recip_step, 2, 0, 0x7fc00001, 0, 0xffc00001, 0},
		{a64_fp_rsqrt_step, 2, 0, 0x3f800000, 0x3f800000, 0x3f800000, 0},
		{a64_fp_rsqrt_step, 3, 0, 0, 0x7ff0000000000000, 0x3ff8000000000000, 0},
		{a64_fp_rsqrt_step, 1, 0, 0x4000, 0x4000, 0xb800, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct known *c = &cases[i];
		struct a64_fp fp = {.fpcr = c->fpcr};
		const uint64_t result = c->op(&fp, c->size, c->a, c->b);

		if (result != c->result || fp.fpsr != c->fpsr)
			fail_msg("case %zu: %#llx, FPSR %#x instead of %#llx, %#x", i, (unsigned long long)result, fp.fpsr,
				 (unsigned long long)c->result, c->fpsr);
	}
}

static void multiply_add(void **state)
{
	struct a64_fp fp = {0};

	/* The addend's NaN comes first; a quiet one does not hide an invalid product. */
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0x7fc00003, 0x7fc00001, 0x7fc00002), 0x7fc00003);
	assert_int_equal(fp.fpsr, 0);
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0x7fc00003, 0x7fc00001, 0x7f800002), 0x7fc00002);
	assert_int_equal(fp.fpsr, IOC);
	fp.fpsr = 0;
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0xffc00003, 0x7f800000, 0), 0x7fc00000);
	assert_int_equal(fp.fpsr, IOC);
	fp.fpsr = 0;
	/* One rounding: (1 + 2^-23)^2 - (1 + 2^-22) = 2^-46. */
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0xbf800002, 0x3f800001, 0x3f800001), 0x28800000);
	assert_int_equal(fp.fpsr, 0);
	/* The same after something inexact, when the host's arithmetic is asked first; a sum in the middle of two singles. */
	fp.fpsr = IXC;
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0xbf800002, 0x3f800001, 0x3f800001), 0x28800000);
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0x3f800000, 0x33800000, 0x3f800001), 0x3f800001);
	assert_int_equal(a64_fp_mul_add(&fp, 2, 0x3f800000, 0x33800000, 0x3f800000), 0x3f800000);
	assert_int_equal(a64_fp_mul_add_half(&fp, 0x3f800000, 0x7bff, 0x7bff), 0x4f7fc004);
}

static void estimates(void **state)
{
	struct a64_fp fp = {0};

	assert_int_equal(a64_fp_recip_estimate(&fp, 2, 0x3f800000), 0x3f7f8000);
	assert_int_equal(a64_fp_recip_estimate(&fp, 2, 0xc0400000), 0xbeaa8000);
	assert_int_equal(a64_fp_rsqrt_estimate(&fp, 2, 0x3f800000), 0x3f7f8000);
	assert_int_equal(a64_fp_rsqrt_estimate(&fp, 3, 0x4010000000000000), 0x3fdff00000000000);
	assert_int_equal(a64_fp_recpx(&fp, 2, 0x3fc00000), 0x40000000);
	assert_int_equal(a64_fp_recpx(&fp, 1, 0x8000), 0xf800);
	assert_int_equal(a64_unsigned_recip_estimate(0x80000000), 0xff800000);
	assert_int_equal(a64_unsigned_recip_estimate(0x7fffffff), 0xffffffff);
	assert_int_equal(a64_unsigned_rsqrt_estimate(0x40000000), 0xff800000);
	assert_int_equal(fp.fpsr, 0);
	assert_int_equal(a64_fp_recip_estimate(&fp, 2, 0x80000000), 0xff800000);
	assert_int_equal(fp.fpsr, DZC);
	assert_int_equal(a64_fp_recip_estimate(&fp, 2, 0x00100000), 0x7f800000);
	assert_int_equal(fp.fpsr, DZC | OFC | IXC);
	fp.fpsr = 0;
	assert_int_equal(a64_fp_rsqrt_estimate(&fp, 2, 0xbf800000), 0x7fc00000);
	assert_int_equal(fp.fpsr, IOC);
}

static void integers(void **state)
{
	static const struct {
		uint64_t a, result;
		uint32_t fpsr;
		uint8_t bits, fraction, rounding;
		bool is_unsigned;
	} cases[] = {
		{0x4004000000000000, 2, IXC, 32, 0, A64_ROUND_NEAREST, false},                  /* 2.5 */
		{0x4004000000000000, 3, IXC, 32, 0, A64_ROUND_AWAY, false},
		{0xc004000000000000, 0xfffffffd, IXC, 32, 0, A64_ROUND_AWAY, false},
		{0xc004000000000000, 0xfffffffe, IXC, 32, 0, A64_ROUND_UP, false},
		{0x4004000000000000, 5, 0, 32, 1, A64_ROUND_ZERO, false},
		{0xbfe0000000000000, 0, IXC, 64, 0, A64_ROUND_ZERO, true},                      /* -0.5 */
		{0xbfe0000000000000, 0, IOC, 64, 0, A64_ROUND_DOWN, true},
		{0x41e0000000000000, 0x7fffffff, IOC, 32, 0, A64_ROUND_ZERO, false},            /* 2^31 */
		{0xc1e0000000000000, 0x80000000, 0, 32, 0, A64_ROUND_ZERO, false},
		{0xc3f0000000000000, 0x8000000000000000, IOC, 64, 0, A64_ROUND_ZERO, false},    /* -2^64 */
		{0x7ff0000000000000, 0xffffffffffffffff, IOC, 64, 0, A64_ROUND_ZERO, true},
		{0x7ff8000000000000, 0, IOC, 64, 0, A64_ROUND_ZERO, false},
		{0x3ff0000000000000, 0x7fffffffffffffff, IOC, 64, 64, A64_ROUND_ZERO, false},
	};
	bool exact;
	struct a64_fp fp = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fp.fpsr = 0;
		assert_int_equal(a64_fp_to_fixed(&fp, 3, cases[i].a, cases[i].bits, cases[i].fraction, cases[i].is_unsigned,
						 cases[i].rounding), cases[i].result);
		assert_int_equal(fp.fpsr, cases[i].fpsr);
	}
	fp.fpsr = 0;
	assert_int_equal(a64_fp_from_fixed(&fp, 2, ~0ull, 0, true), 0x5f800000);
	assert_int_equal(a64_fp_from_fixed(&fp, 2, ~0ull, 0, false), 0xbf800000);
	assert_int_equal(a64_fp_from_fixed(&fp, 3, 1, 64, true), 0x3bf0000000000000);
	assert_int_equal(a64_fp_from_fixed(&fp, 1, 65520, 0, true), 0x7c00);
	assert_int_equal(fp.fpsr, OFC | IXC);
	fp.fpsr = 0;
	assert_int_equal(a64_fp_round_int(&fp, 2, 0xbf000000, A64_ROUND_NEAREST, false), 0x80000000);
	assert_int_equal(a64_fp_round_int(&fp, 2, 0x3f000000, A64_ROUND_AWAY, false), 0x3f800000);
	assert_int_equal(fp.fpsr, 0);
	a64_fp_round_int(&fp, 2, 0x3f000000, A64_ROUND_AWAY, true);
	assert_int_equal(fp.fpsr, IXC);

	fp.fpsr = 0;
	assert_int_equal(a64_fp_to_fixed_js(&fp, 0x41f0000000100000, &exact), 1); /* 2^32 + 1 */
	assert_false(exact);
	assert_int_equal(fp.fpsr, IOC);
	fp.fpsr = 0;
	assert_int_equal(a64_fp_to_fixed_js(&fp, 0xc000000000000000, &exact), 0xfffffffe);
	assert_true(exact);
	a64_fp_to_fixed_js(&fp, 0x8000000000000000, &exact);
	assert_false(exact);
	assert_int_equal(fp.fpsr, 0);
}

static void formats(void **state)
{
	static const struct {
		unsigned to, from;
		uint32_t fpcr;
		uint64_t a, result;
		uint32_t fpsr;
	} cases[] = {
		{2, 3, 0, 0x7ff0000000000001, 0x7fc00000, IOC},
		{3, 1, 0, 0xfd55, 0xfff5540000000000 | 1ull << 51, IOC},
		{1, 3, 0, 0x40effe0000000000, 0x7c00, OFC | IXC}, /* 65520 */
		{1, 2, FZ16, 0x38000000, 0x0200, 0},              /* FZ16 is not for conversions */
		{3, 1, FZ16, 0x0200, 0x3f00000000000000, 0},
		{3, 2, FZ, 0x00400000, 0, IDC},
		{2, 3, FZ, 0x3800000000000000, 0, UFC},
		/* The alternative half precision. */
		{2, 1, AHP, 0x7c00, 0x47800000, 0},
		{2, 1, AHP, 0xffff, 0xc7ffe000, 0},
		{1, 2, AHP, 0x47ffe000, 0x7fff, 0},
		{1, 2, AHP, 0xc7fff000, 0xffff, IOC},
		{1, 2, AHP | ZERO, 0x47fff000, 0x7fff, IXC},
		{1, 2, AHP, 0xff800000, 0xffff, IOC},
		{1, 2, AHP, 0xffc00000, 0x8000, IOC},
	};
	struct a64_fp fp = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fp = (struct a64_fp){.fpcr = cases[i].fpcr};
		assert_int_equal(a64_fp_convert(&fp, cases[i].to, cases[i].from, cases[i].a, a64_fp_mode(fp.fpcr)), cases[i].result);
		assert_int_equal(fp.fpsr, cases[i].fpsr);
	}
	/* FCVTXN: to odd. */
	fp = (struct a64_fp){0};
	assert_int_equal(a64_fp_convert(&fp, 2, 3, 0x3ff0000000000001, A64_ROUND_ODD), 0x3f800001);
	assert_int_equal(a64_fp_convert(&fp, 2, 3, 0x7fe0000000000000, A64_ROUND_ODD), 0x7f7fffff);
	assert_int_equal(fp.fpsr, OFC | IXC);
}

static void comparisons(void **state)
{
	struct a64_fp fp = {0};

	assert_int_equal(a64_fp_compare(&fp, 3, 0, 1ull << 63, false), 6);
	assert_int_equal(a64_fp_compare(&fp, 3, 1ull << 63, 1, true), 8);
	assert_int_equal(a64_fp_compare(&fp, 2, 0x7f800000, 0x7f7fffff, true), 2);
	assert_int_equal(a64_fp_compare(&fp, 1, 0x7e00, 0, false), 3);
	assert_false(a64_fp_equal(&fp, 2, 0x7fc00000, 0x7fc00000));
	assert_int_equal(fp.fpsr, 0);
	assert_int_equal(a64_fp_compare(&fp, 1, 0x7e00, 0, true), 3);
	assert_int_equal(fp.fpsr, IOC);
	fp.fpsr = 0;
	assert_false(a64_fp_greater(&fp, 2, 0x7fc00000, 0));
	assert_int_equal(fp.fpsr, IOC);
}

/* ---- the host's arithmetic (fp_host.h), which is asked after something inexact, against softfp ---- */
static uint64_t add_to_third(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_mul_add(fp, size, 0x3ff0000000000000, a, b);
}

static uint64_t square_less(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	struct a64_fp plain = {.fpcr = fp->fpcr};

	/* What the product's rounding lost, and about as much of b. */
	return a64_fp_mul_add(fp, size, a64_fp_neg(size, a64_fp_add(&plain, size, a64_fp_mul(&plain, size, a, a), b)), a, a);
}

static uint64_t multiply_add_itself(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_mul_add(fp, size, a, a, b);
}

static uint64_t root(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_sqrt(fp, size, a);
}

static uint64_t to_other_size(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_convert(fp, size ^ 1, size, a, a64_fp_mode(fp->fpcr));
}

static uint64_t from_signed(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_from_fixed(fp, size, a ^ b << 7, 0, false);
}

static uint64_t from_unsigned(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_from_fixed(fp, size, (a ^ b << 7) >> (a & 31), 0, true);
}

static uint64_t to_signed(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_to_fixed(fp, size, a, b & 1 ? 32 : 64, 0, false, A64_ROUND_ZERO);
}

static uint64_t to_unsigned(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return a64_fp_to_fixed(fp, size, a, b & 1 ? 32 : 64, 0, true, b >> 1 & 3);
}

static void host_and_softfp_agree(void **state)
{
	static a64_fp_op2 *const operations[] = {
		a64_fp_add, a64_fp_sub, a64_fp_mul, a64_fp_div, a64_fp_mulx, add_to_third, square_less, multiply_add_itself,
		root, to_other_size, from_signed, from_unsigned, to_signed, to_unsigned,
	};
	struct float_random random = {.state = 7};

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		for (unsigned k = 0; k < 40000; k++) {
			const unsigned size = 2 + (k & 1);
			const uint64_t a = size == 3 ? operand_ieee(&random, 11, 52) : operand_ieee(&random, 8, 23);
			uint64_t b = size == 3 ? operand_ieee(&random, 11, 52) : operand_ieee(&random, 8, 23);
			struct a64_fp slow = {.fpcr = k & 6 ? 0 : FZ}, fast = {.fpcr = slow.fpcr, .fpsr = IXC};

			if (k & 8) /* exponents near each other */
				b = (b & (size == 3 ? ~0ull >> 12 : 0x7fffff)) | (a & (size == 3 ? ~0ull << 52 : 0xff800000));
			const uint64_t expected = operations[i](&slow, size, a, b), result = operations[i](&fast, size, a, b);

			if (result != expected || fast.fpsr != (slow.fpsr | IXC))
				fail_msg("operation %zu of size %u: %#llx, %#llx gives %#llx, FPSR %#x instead of %#llx, %#x", i, size,
					 (unsigned long long)a, (unsigned long long)b, (unsigned long long)result, fast.fpsr,
					 (unsigned long long)expected, slow.fpsr | IXC);
		}
	}
}

#ifdef __x86_64__
#define CASES 20000

#define HOST(name, type, bits, ...)                                                                                                        \
	static uint64_t host_##name(uint64_t a, uint64_t b)                                                                                \
	{                                                                                                                                  \
		const bits p = (bits)a, q = (bits)b;                                                                                       \
		volatile type x, y, r;                                                                                                     \
		bits result;                                                                                                               \
		memcpy((void *)&x, &p, sizeof(p));                                                                                         \
		memcpy((void *)&y, &q, sizeof(q));                                                                                         \
		feclearexcept(FE_ALL_EXCEPT);                                                                                              \
		r = __VA_ARGS__;                                                                                                           \
		memcpy(&result, (const void *)&r, sizeof(result));                                                                         \
		return result;                                                                                                             \
	}
HOST(add_f64, double, uint64_t, x + y)
HOST(sub_f64, double, uint64_t, x - y)
HOST(mul_f64, double, uint64_t, x * y)
HOST(div_f64, double, uint64_t, x / y)
HOST(add_f32, float, uint32_t, x + y)
HOST(sub_f32, float, uint32_t, x - y)
HOST(mul_f32, float, uint32_t, x *y)
HOST(div_f32, float, uint32_t, x / y)

static const struct {
	const char *name;
	a64_fp_op2 *op;
	unsigned size;
	uint64_t (*host)(uint64_t a, uint64_t b);
} host_operations[] = {
	{"fadd double", a64_fp_add, 3, host_add_f64}, {"fsub double", a64_fp_sub, 3, host_sub_f64},
	{"fmul double", a64_fp_mul, 3, host_mul_f64}, {"fdiv double", a64_fp_div, 3, host_div_f64},
	{"fadd single", a64_fp_add, 2, host_add_f32}, {"fsub single", a64_fp_sub, 2, host_sub_f32},
	{"fmul single", a64_fp_mul, 2, host_mul_f32}, {"fdiv single", a64_fp_div, 2, host_div_f32},
};

static bool is_nan(unsigned size, uint64_t a)
{
	return size == 3 ? (a & ~0ull >> 1) > 0x7ffull << 52 : (a & 0x7fffffff) > 0x7f800000;
}

/* Results but NaNs, and all flags but those that the processors have different rules for; before and after something was inexact. */
static void against_the_host(void **state)
{
	static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
	struct float_random random = {.state = 1};

	for (size_t i = 0; i < ARRAY_SIZE(host_operations); i++) {
		for (unsigned k = 0; k < CASES; k++) {
			const unsigned size = host_operations[i].size, mode = k & 3;
			const uint64_t a = size == 3 ? operand_ieee(&random, 11, 52) : operand_ieee(&random, 8, 23);
			const uint64_t b = size == 3 ? operand_ieee(&random, 11, 52) : operand_ieee(&random, 8, 23);
			struct a64_fp fp = {.fpcr = mode << A64_FPCR_RMODE_SHIFT, .fpsr = k & 4 ? IXC : 0};
			uint32_t flags;

			fesetround(modes[mode]);
			const uint64_t expected = host_operations[i].host(a, b);
			const int raised = fetestexcept(FE_ALL_EXCEPT);

			fesetround(FE_TONEAREST);
			flags = (raised & FE_INVALID ? IOC : 0) | (raised & FE_DIVBYZERO ? DZC : 0) | (raised & FE_OVERFLOW ? OFC : 0) |
				(raised & FE_INEXACT ? IXC : 0) | fp.fpsr;
			const uint64_t result = host_operations[i].op(&fp, size, a, b);

			if ((is_nan(size, expected) ? !is_nan(size, result) : result != expected) || (fp.fpsr & ~UFC) != flags)
				fail_msg("%s, mode %u: %#llx, %#llx gives %#llx, FPSR %#x instead of %#llx, %#x", host_operations[i].name,
					 mode, (unsigned long long)a, (unsigned long long)b, (unsigned long long)result, fp.fpsr,
					 (unsigned long long)expected, flags);
		}
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_operands), cmocka_unit_test(multiply_add), cmocka_unit_test(estimates),
		cmocka_unit_test(integers),     cmocka_unit_test(formats),      cmocka_unit_test(comparisons),
		cmocka_unit_test(host_and_softfp_agree),
#ifdef __x86_64__
		cmocka_unit_test(against_the_host),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
