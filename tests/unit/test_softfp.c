/* arch/softfp against the processor's own SSE, FMA and F16C instructions: results and flags, for
 * random operands in all roundings, with DAZ, FTZ and unmasked exceptions. Runs on x86-64 hosts.
 * x87's half is in test_x87_portable.c.
 *
 * Example: `meson test -C build softfp`
 */
#include "arch/softfp/softfp.h"
#include "float_operands.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <cmocka.h>

#define CASES	      40000 /* an operation; a tenth with unmasked exceptions */
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_DAZ     0x40u
#define MXCSR_FTZ     0x8000u

/* ---- the processor ---- */

struct operands {
	uint64_t a, b, c;
};

/* A SIGFPE's flags: the handler masks everything, so that the instruction ends when it is executed
 * again. */
static volatile uint32_t trapped;

static void on_sigfpe(int signal, siginfo_t *info, void *context)
{
	struct _libc_fpstate *fpu = ((ucontext_t *)context)->uc_mcontext.fpregs;

	trapped = 0x80000000u | (fpu->mxcsr & 0x3f);
	fpu->mxcsr = MXCSR_DEFAULT;
}

#define RUN(body, result_constraint, result, ...)                                                  \
	do {                                                                                       \
		const uint32_t normal = MXCSR_DEFAULT;                                             \
		uint32_t after;                                                                    \
		__asm__ volatile(                                                                  \
		    "vmovq %[x], %%xmm0\n\tvmovq %[y], %%xmm1\n\tvmovq %[z], %%xmm2\n\t"           \
		    "ldmxcsr %[mxcsr]\n\t" body "\n\t"                                             \
		    "stmxcsr %[after]\n\tldmxcsr %[normal]\n\t"                                    \
		    : [after] "=m"(after), [r] result_constraint(result)                           \
		    : [x] "m"(in.a), [y] "m"(in.b), [z] "m"(in.c), [mxcsr] "m"(mxcsr),             \
		      [normal] "m"(normal)                                                         \
		    : "cc", "xmm0", "xmm1", "xmm2", "memory");                                     \
		*flags = after & 0x3f;                                                             \
		return (uint64_t)result;                                                           \
	} while (0)

#define NATIVE_XMM(name, body)                                                                     \
	static uint64_t native_##name(struct operands in, uint32_t mxcsr, uint32_t *flags)         \
	{                                                                                          \
		uint64_t r;                                                                        \
		RUN(body "\n\tvmovq %%xmm0, %[r]", "=&r", r);                                      \
	}
/* 32-bit results: the upper half is not the operation's. */
#define NATIVE_XMM32(name, body)                                                                   \
	static uint64_t native_##name(struct operands in, uint32_t mxcsr, uint32_t *flags)         \
	{                                                                                          \
		uint32_t r;                                                                        \
		RUN(body "\n\tvmovd %%xmm0, %[r]", "=&r", r);                                      \
	}
#define NATIVE_INT(name, type, body)                                                               \
	static uint64_t native_##name(struct operands in, uint32_t mxcsr, uint32_t *flags)         \
	{                                                                                          \
		type r;                                                                            \
		RUN(body, "=&r", r);                                                               \
	}
/* ZF, PF, CF as bits 2, 1, 0. */
#define NATIVE_FLAGS(name, body)                                                                   \
	static uint64_t native_##name(struct operands in, uint32_t mxcsr, uint32_t *flags)         \
	{                                                                                          \
		uint64_t r;                                                                        \
		RUN(body "\n\tpushfq\n\tpop %[r]", "=&r", r);                                      \
	}

#define NATIVE_BOTH(name, mnemonic)                                                                \
	NATIVE_XMM32(f32_##name, mnemonic "ss %%xmm1, %%xmm0")                                     \
	NATIVE_XMM(f64_##name, mnemonic "sd %%xmm1, %%xmm0")
NATIVE_BOTH(add, "add")
NATIVE_BOTH(sub, "sub")
NATIVE_BOTH(mul, "mul")
NATIVE_BOTH(div, "div")
NATIVE_XMM32(f32_sqrt, "sqrtss %%xmm0, %%xmm0")
NATIVE_XMM(f64_sqrt, "sqrtsd %%xmm0, %%xmm0")
NATIVE_XMM32(f32_round, "roundss $4, %%xmm0, %%xmm0")
NATIVE_XMM(f64_round, "roundsd $4, %%xmm0, %%xmm0")
NATIVE_XMM32(f32_round_quiet, "roundss $12, %%xmm0, %%xmm0")
NATIVE_XMM(f64_round_quiet, "roundsd $12, %%xmm0, %%xmm0")
NATIVE_FLAGS(f32_comi, "comiss %%xmm1, %%xmm0")
NATIVE_FLAGS(f64_comi, "comisd %%xmm1, %%xmm0")
NATIVE_FLAGS(f32_ucomi, "ucomiss %%xmm1, %%xmm0")
NATIVE_FLAGS(f64_ucomi, "ucomisd %%xmm1, %%xmm0")
NATIVE_INT(f32_to_i32, uint32_t, "cvtss2si %%xmm0, %[r]")
NATIVE_INT(f64_to_i32, uint32_t, "cvtsd2si %%xmm0, %[r]")
NATIVE_INT(f32_to_i64, uint64_t, "cvtss2si %%xmm0, %[r]")
NATIVE_INT(f64_to_i64, uint64_t, "cvtsd2si %%xmm0, %[r]")
NATIVE_INT(f32_truncate, uint64_t, "cvttss2si %%xmm0, %[r]")
NATIVE_INT(f64_truncate, uint64_t, "cvttsd2si %%xmm0, %[r]")
NATIVE_XMM32(f32_from_i32, "cvtsi2ssl %[x], %%xmm0")
NATIVE_XMM(f64_from_i32, "cvtsi2sdl %[x], %%xmm0")
NATIVE_XMM32(f32_from_i64, "cvtsi2ssq %[x], %%xmm0")
NATIVE_XMM(f64_from_i64, "cvtsi2sdq %[x], %%xmm0")
NATIVE_XMM(f32_to_f64, "cvtss2sd %%xmm0, %%xmm0")
NATIVE_XMM32(f64_to_f32, "cvtsd2ss %%xmm0, %%xmm0")
NATIVE_XMM32(f16_to_f32, "vcvtph2ps %%xmm0, %%xmm0")
NATIVE_XMM32(f32_to_f16, "vcvtps2ph $4, %%xmm0, %%xmm0")
/* xmm0 = +-(xmm1 * xmm0) +- xmm2, NaNs chosen in this order. */
#define NATIVE_FMA(name, mnemonic)                                                                 \
	NATIVE_XMM32(f32_##name, mnemonic "ss %%xmm2, %%xmm1, %%xmm0")                             \
	NATIVE_XMM(f64_##name, mnemonic "sd %%xmm2, %%xmm1, %%xmm0")
NATIVE_FMA(fmadd, "vfmadd213")
NATIVE_FMA(fmsub, "vfmsub213")
NATIVE_FMA(fnmadd, "vfnmadd213")
NATIVE_FMA(fnmsub, "vfnmsub213")

/* ---- ours ---- */

#define OURS(name, expression)                                                                     \
	static uint64_t ours_##name(struct operands in, struct softfp *fp)                         \
	{                                                                                          \
		return (uint64_t)(expression);                                                     \
	}
#define OURS_2(name)                                                                               \
	OURS(f32_##name, softfp_f32_##name(fp, (uint32_t)in.a, (uint32_t)in.b))                    \
	OURS(f64_##name, softfp_f64_##name(fp, in.a, in.b))
OURS_2(add)
OURS_2(sub)
OURS_2(mul)
OURS_2(div)
OURS(f32_sqrt, softfp_f32_sqrt(fp, (uint32_t)in.a))
OURS(f64_sqrt, softfp_f64_sqrt(fp, in.a))
OURS(f32_round, softfp_f32_round_to_int(fp, (uint32_t)in.a, true))
OURS(f64_round, softfp_f64_round_to_int(fp, in.a, true))
OURS(f32_round_quiet, softfp_f32_round_to_int(fp, (uint32_t)in.a, false))
OURS(f64_round_quiet, softfp_f64_round_to_int(fp, in.a, false))

static uint64_t rflags(enum softfp_order order)
{
	switch (order) {
	case SOFTFP_LESS:
		return 0x01;
	case SOFTFP_EQUAL:
		return 0x40;
	case SOFTFP_GREATER:
		return 0;
	default:
		return 0x45;
	}
}
OURS(f32_comi, rflags(softfp_f32_compare(fp, (uint32_t)in.a, (uint32_t)in.b, false)))
OURS(f64_comi, rflags(softfp_f64_compare(fp, in.a, in.b, false)))
OURS(f32_ucomi, rflags(softfp_f32_compare(fp, (uint32_t)in.a, (uint32_t)in.b, true)))
OURS(f64_ucomi, rflags(softfp_f64_compare(fp, in.a, in.b, true)))

OURS(f32_to_i32, (uint32_t)softfp_f32_to_i32(fp, (uint32_t)in.a))
OURS(f64_to_i32, (uint32_t)softfp_f64_to_i32(fp, in.a))
OURS(f32_to_i64, softfp_f32_to_i64(fp, (uint32_t)in.a))
OURS(f64_to_i64, softfp_f64_to_i64(fp, in.a))
OURS(f32_truncate, (fp->rounding = SOFTFP_ZERO, softfp_f32_to_i64(fp, (uint32_t)in.a)))
OURS(f64_truncate, (fp->rounding = SOFTFP_ZERO, softfp_f64_to_i64(fp, in.a)))
OURS(f32_from_i32, softfp_f32_from_i32(fp, (int32_t)in.a))
OURS(f64_from_i32, softfp_f64_from_i32(fp, (int32_t)in.a))
OURS(f32_from_i64, softfp_f32_from_i64(fp, (int64_t)in.a))
OURS(f64_from_i64, softfp_f64_from_i64(fp, (int64_t)in.a))
OURS(f32_to_f64, softfp_f32_to_f64(fp, (uint32_t)in.a))
OURS(f64_to_f32, softfp_f64_to_f32(fp, in.a))
OURS(f16_to_f32, softfp_f16_to_f32(fp, (uint16_t)in.a))
OURS(f32_to_f16, softfp_f32_to_f16(fp, (uint32_t)in.a))
#define OURS_FMA(name, negate_product, negate_addend)                                              \
	OURS(f32_##name, softfp_f32_fma(fp, (uint32_t)in.b, (uint32_t)in.a, (uint32_t)in.c,        \
					negate_product, negate_addend))                            \
	OURS(f64_##name, softfp_f64_fma(fp, in.b, in.a, in.c, negate_product, negate_addend))
OURS_FMA(fmadd, false, false)
OURS_FMA(fmsub, false, true)
OURS_FMA(fnmadd, true, false)
OURS_FMA(fnmsub, true, true)

/* ---- comparison ---- */

enum kind { F16, F32, F64, INTEGER };
enum feature { BASE, FMA, F16C };

struct operation {
	const char *name;
	uint64_t (*native)(struct operands in, uint32_t mxcsr, uint32_t *flags);
	uint64_t (*ours)(struct operands in, struct softfp *fp);
	enum kind kind;
	uint64_t result_mask;
	enum feature feature;
};

#define OPERATION(name, kind, mask, feature)                                                       \
	{                                                                                          \
#name, native_##name, ours_##name, kind, mask, feature                             \
	}
#define BOTH(name, feature)                                                                        \
	OPERATION(f32_##name, F32, 0xffffffff, feature), OPERATION(f64_##name, F64, ~0ull, feature)
static const struct operation operations[] = {
    BOTH(add, BASE),
    BOTH(sub, BASE),
    BOTH(mul, BASE),
    BOTH(div, BASE),
    BOTH(sqrt, BASE),
    BOTH(round, BASE),
    BOTH(round_quiet, BASE),
    BOTH(fmadd, FMA),
    BOTH(fmsub, FMA),
    BOTH(fnmadd, FMA),
    BOTH(fnmsub, FMA),
    OPERATION(f32_comi, F32, 0x45, BASE),
    OPERATION(f64_comi, F64, 0x45, BASE),
    OPERATION(f32_ucomi, F32, 0x45, BASE),
    OPERATION(f64_ucomi, F64, 0x45, BASE),
    OPERATION(f32_to_i32, F32, 0xffffffff, BASE),
    OPERATION(f64_to_i32, F64, 0xffffffff, BASE),
    OPERATION(f32_to_i64, F32, ~0ull, BASE),
    OPERATION(f64_to_i64, F64, ~0ull, BASE),
    OPERATION(f32_truncate, F32, ~0ull, BASE),
    OPERATION(f64_truncate, F64, ~0ull, BASE),
    OPERATION(f32_from_i32, INTEGER, 0xffffffff, BASE),
    OPERATION(f64_from_i32, INTEGER, ~0ull, BASE),
    OPERATION(f32_from_i64, INTEGER, 0xffffffff, BASE),
    OPERATION(f64_from_i64, INTEGER, ~0ull, BASE),
    OPERATION(f32_to_f64, F32, ~0ull, BASE),
    OPERATION(f64_to_f32, F64, 0xffffffff, BASE),
    OPERATION(f16_to_f32, F16, 0xffffffff, F16C),
    OPERATION(f32_to_f16, F32, 0xffff, F16C),
};

static uint64_t operand(struct float_random *random, enum kind kind)
{
	switch (kind) {
	case F16:
		return operand_ieee(random, 5, 10);
	case F32:
		return operand_ieee(random, 8, 23);
	case F64:
		return operand_ieee(random, 11, 52);
	default:
		return (uint64_t)((int64_t)float_random_next(random) >>
				  (float_random_next(random) & 63));
	}
}

static struct operands operands(struct float_random *random, enum kind kind)
{
	struct operands in = {operand(random, kind), operand(random, kind), operand(random, kind)};
	const uint64_t r = float_random_next(random);

	/* Cancellation, comparison of equals, products next to the addend. */
	if ((r & 15) == 0)
		in.b = in.a ^ (r & 0x100);
	if ((r & 15) == 1)
		in.c = in.a;
	return in;
}

static void check(const struct operation *op, struct float_random *random, uint32_t masks)
{
	const struct operands in = operands(random, op->kind);
	const uint64_t r = float_random_next(random);
	uint32_t mxcsr = masks << 7 | (uint32_t)(r & 3) << 13, native_flags;

	if ((r >> 8 & 7) == 0)
		mxcsr |= (uint32_t)(r >> 16) & (MXCSR_DAZ | MXCSR_FTZ);
	struct softfp fp = {
	    .rounding = (uint8_t)(mxcsr >> 13 & 3),
	    .flush_to_zero = mxcsr & MXCSR_FTZ,
	    .denormals_are_zero = mxcsr & MXCSR_DAZ,
	    .masked = (uint8_t)masks,
	};
	trapped = 0;
	const uint64_t native = op->native(in, mxcsr, &native_flags);
	const uint64_t ours = op->ours(in, &fp);

	if (trapped)
		native_flags = trapped & 0x3f;
	const bool same = native_flags == fp.flags &&
			  (trapped || !((native ^ ours) & op->result_mask)) &&
			  !!trapped == !!(fp.flags & ~masks & 0x3f);
	if (!same)
		fail_msg(
		    "%s(%llx, %llx, %llx) mxcsr %x: processor %llx flags %x%s, ours %llx flags %x",
		    op->name, (unsigned long long)in.a, (unsigned long long)in.b,
		    (unsigned long long)in.c, mxcsr, (unsigned long long)(native & op->result_mask),
		    native_flags, trapped ? " trapped" : "",
		    (unsigned long long)(ours & op->result_mask), fp.flags);
}

static bool has(enum feature feature)
{
	return feature == BASE ||
	       __builtin_cpu_supports("fma"); /* no processor has only one of FMA and F16C */
}

static void test_against_the_processor(void **state)
{
	const struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO};
	struct float_random random = {1};

	sigaction(SIGFPE, &action, NULL); /* cmocka has its own outside of the test */
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (!has(operations[i].feature))
			continue;
		for (unsigned n = 0; n < CASES; n++)
			check(&operations[i], &random, 0x3f);
		for (unsigned n = 0; n < CASES / 10; n++)
			check(&operations[i], &random, float_random_next(&random) & 0x3f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_the_processor)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
