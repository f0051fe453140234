/* The portable x87 arithmetic against the processor's own unit: results, exceptions and condition bits for random
 * operands under all precisions, roundings and masks. What IEEE 754 defines must be the same bits; transcendental
 * results may differ in the last ones. Runs on x86-64 hosts; it is also what tests the 80-bit half of arch/softfp.
 *
 * The portable files are compiled a second time for this, with x87_fadd renamed to portable_fadd and so on.
 *
 * Example: `meson test -C build x87_portable`
 */
#include "engine/interp/x86_64/x87_arith.h"
#include "float_operands.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define CASES 20000 /* an operation; half with unmasked exceptions */

#define PORTABLE(name)             x87_fn portable_##name;
#define PORTABLE_WITH_MEMORY(name) x87_fn portable_##name, portable_##name##_f32, portable_##name##_f64;
X87_ARITHMETIC(PORTABLE_WITH_MEMORY)
X87_UNARY(PORTABLE)
X87_BINARY(PORTABLE)
X87_POPPING(PORTABLE)
X87_PUSHING(PORTABLE)
X87_COMPARE(PORTABLE)
X87_CONSTANTS(PORTABLE)
x87_fn portable_fcom_f32, portable_fcom_f64, portable_ftst;
x87_fn portable_fld_f32, portable_fld_f64, portable_fild, portable_fbld;
x87_store_fn portable_fst_f32, portable_fst_f64, portable_fist_16, portable_fist_32, portable_fist_64,
	portable_fbst;

enum memory { NONE, F32, F64, I64, BCD };

struct operation {
	const char *name;
	x87_fn *native, *ours;
	unsigned results; /* in st */
	enum memory memory;
	uint16_t conditions; /* condition bits that it writes */
};

struct store_operation {
	const char *name;
	x87_store_fn *native, *ours;
	unsigned size;
};

#define OPERATION(name, results, memory, conditions)                                               \
	{ #name, x87_##name, portable_##name, results, memory, conditions },
#define ONE(name)       OPERATION(name, 1, NONE, FSW_C1)
#define TWO(name)       OPERATION(name, 2, NONE, FSW_C1)
#define COMPARE(name)   OPERATION(name, 0, NONE, FSW_CONDITION)
#define REMAINDER(name) OPERATION(name, 1, NONE, FSW_CONDITION)
#define ARITHMETIC(name)                                                                           \
	ONE(name) OPERATION(name##_f32, 1, F32, FSW_C1) OPERATION(name##_f64, 1, F64, FSW_C1)
static const struct operation exact_operations[] = {
	X87_ARITHMETIC(ARITHMETIC)
	ONE(fsqrt) ONE(frndint)
	ONE(fscale) REMAINDER(fprem) REMAINDER(fprem1)
	TWO(fxtract)
	X87_COMPARE(COMPARE) COMPARE(ftst)
	OPERATION(fcom_f32, 0, F32, FSW_CONDITION) OPERATION(fcom_f64, 0, F64, FSW_CONDITION)
	X87_CONSTANTS(ONE)
	OPERATION(fld_f32, 1, F32, FSW_C1) OPERATION(fld_f64, 1, F64, FSW_C1)
	OPERATION(fild, 1, I64, FSW_C1) OPERATION(fbld, 1, BCD, FSW_C1)
};

#define SIN(name) OPERATION(name, 1, NONE, FSW_C2)
#define TAN(name) OPERATION(name, 2, NONE, FSW_C2)
static const struct operation transcendental_operations[] = {
	OPERATION(f2xm1, 1, NONE, 0) OPERATION(fyl2x, 1, NONE, 0) OPERATION(fyl2xp1, 1, NONE, 0)
	OPERATION(fpatan, 1, NONE, 0) SIN(fsin) SIN(fcos) TAN(fsincos) TAN(fptan)
};

#define STORE(name, size) { #name, x87_##name, portable_##name, size },
static const struct store_operation stores[] = {
	STORE(fst_f32, 4) STORE(fst_f64, 8) STORE(fist_16, 2) STORE(fist_32, 4) STORE(fist_64, 8) STORE(fbst, 10)
};

static struct float_random random_state = { 1 };

static uint64_t next(void)
{
	return float_random_next(&random_state);
}

static struct x86_float80 operand(void)
{
	struct x86_float80 a;

	operand_f80(&random_state, &a.mantissa, &a.exponent);
	return a;
}

static void memory_operand(enum memory kind, uint8_t bytes[16])
{
	const uint64_t r = next();
	uint64_t value = 0;

	switch (kind) {
	case F32:
		value = operand_ieee(&random_state, 8, 23);
		break;
	case F64:
		value = operand_ieee(&random_state, 11, 52);
		break;
	case I64:
		value = (uint64_t)((int64_t)r >> (next() & 63));
		break;
	case BCD:
		for (unsigned i = 0; i < 9; i++)
			bytes[i] = (uint8_t)(next() % 10 << 4 | next() % 10);
		bytes[9] = (uint8_t)r;
		return;
	default:
		break;
	}
	memcpy(bytes, &value, sizeof(value));
}

static void operands(struct x86_float80 st[2])
{
	const uint64_t r = next();

	st[0] = operand();
	st[1] = operand();
	if ((r & 15) == 0) {
		st[1] = st[0];
		st[1].exponent ^= (uint16_t)(r & 0x8000);
	}
	if ((r & 15) == 1) /* remainders and scales of all distances */
		st[1].exponent = (uint16_t)(16383 + (r >> 8) % 80);
}

static uint16_t control_word(bool masked)
{
	const uint64_t r = next();

	return (uint16_t)(0x40 | (r & 0xf00) | (masked ? 0x3f : r >> 16 & 0x3f));
}

static void report(const char *name, uint16_t fcw, const struct x86_float80 *st, const uint8_t *memory,
		   const char *which, const void *theirs, unsigned theirs_status, const void *ours, unsigned ours_status)
{
	char hex[3][40] = { "" };
	const uint8_t *bytes[3] = { memory, theirs, ours };

	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 10; bytes[k] && i--;)
			snprintf(hex[k] + strlen(hex[k]), 4, "%02x", bytes[k][i]);
	fail_msg("%s(%04x:%016llx, %04x:%016llx, %s) fcw %x: %s: processor %s status %04x, ours %s status %04x", name,
		 st[0].exponent, (unsigned long long)st[0].mantissa, st[1].exponent,
		 (unsigned long long)st[1].mantissa, hex[0], fcw, which, hex[1], theirs_status, hex[2], ours_status);
}

static bool is_nan(const struct x86_float80 *a)
{
	return (a->exponent & 0x7fff) == 0x7fff && a->mantissa << 1;
}

/* Exceptions and the condition bits that the operation writes; without a remainder there is no quotient. */
static uint16_t defined(const struct operation *op, uint16_t fcw, const struct x86_float80 *result, uint16_t status)
{
	uint16_t conditions = op->conditions;

	if (conditions == FSW_CONDITION && op->results &&
	    ((status & (FSW_IE | (~fcw & FSW_PRECOMPUTATION))) || is_nan(result)))
		conditions = FSW_C1 | FSW_C2;
	return status & (FSW_EXCEPTIONS | conditions);
}

static bool same(struct x86_float80 a, struct x86_float80 b)
{
	return a.mantissa == b.mantissa && a.exponent == b.exponent;
}

static void check_exact(const struct operation *op, bool masked)
{
	const uint16_t fcw = control_word(masked);
	struct x86_float80 st[2], theirs[2], ours[2];
	uint8_t memory[16] = { 0 };

	operands(st);
	memory_operand(op->memory, memory);
	memcpy(theirs, st, sizeof(st));
	memcpy(ours, st, sizeof(st));
	uint16_t theirs_status = op->native(fcw, theirs, memory), ours_status = op->ours(fcw, ours, memory);

	theirs_status = defined(op, fcw, theirs, theirs_status);
	ours_status = defined(op, fcw, theirs, ours_status);

	if (theirs_status != ours_status)
		report(op->name, fcw, st, memory, "status", &theirs[0], theirs_status, &ours[0], ours_status);
	if (theirs_status & ~fcw & FSW_PRECOMPUTATION)
		return;
	for (unsigned i = 0; i < op->results; i++)
		if (!same(theirs[i], ours[i]))
			report(op->name, fcw, st, memory, i ? "st1" : "st0", &theirs[i], theirs_status, &ours[i],
			       ours_status);
}

static void check_store(const struct store_operation *op, bool masked)
{
	const uint16_t fcw = control_word(masked);
	uint8_t theirs[16] = { 0 }, ours[16] = { 0 };
	struct x86_float80 st[2];

	operands(st);
	const uint16_t theirs_status = op->native(fcw, st, theirs) & (FSW_EXCEPTIONS | FSW_C1);
	const uint16_t ours_status = op->ours(fcw, st, ours) & (FSW_EXCEPTIONS | FSW_C1);

	if (theirs_status != ours_status)
		report(op->name, fcw, st, NULL, "status", theirs, theirs_status, ours, ours_status);
	/* Nothing is stored with these unmasked. */
	if (!(theirs_status & ~fcw & (FSW_IE | FSW_OE | FSW_UE)) && memcmp(theirs, ours, op->size))
		report(op->name, fcw, st, NULL, "memory", theirs, theirs_status, ours, ours_status);
}

static void test_exact(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(exact_operations); i++)
		for (unsigned n = 0; n < CASES; n++)
			check_exact(&exact_operations[i], n & 1);
}

/* ---- transcendental ---- */

/* Distance in units of the last place; 4 for everything that is not near. */
static unsigned distance(struct x86_float80 a, struct x86_float80 b)
{
	if (same(a, b))
		return 0;
	if ((a.exponent ^ b.exponent) & 0x8000 || is_nan(&a) || is_nan(&b))
		return 4;
	/* With the exponent above the fraction neighbours differ by 1. */
	const __int128 x = (__int128)(a.exponent & 0x7fff) << 63 | (a.mantissa & ~0ull >> 1);
	const __int128 y = (__int128)(b.exponent & 0x7fff) << 63 | (b.mantissa & ~0ull >> 1);
	const __int128 d = x > y ? x - y : y - x;

	return d < 4 ? (unsigned)d : 4;
}

/* Where the manual defines a result. */
static bool in_domain(const struct operation *op, struct x86_float80 a)
{
	const unsigned biased = a.exponent & 0x7fff;

	if (biased == 0x7fff || !a.mantissa)
		return true;
	if (op->native == x87_f2xm1)
		return biased < 16383 || (biased == 16383 && a.mantissa == 1ull << 63);
	if (op->native == x87_fyl2xp1)
		return biased < 16381 || (biased == 16381 && a.mantissa < 0x95f619980c4336f7);
	return true;
}

static void check_transcendental(const struct operation *op, bool masked)
{
	const uint16_t fcw = control_word(masked);
	struct x86_float80 st[2], theirs[2], ours[2];

	operands(st);
	if (!in_domain(op, st[0]))
		return;
	memcpy(theirs, st, sizeof(st));
	memcpy(ours, st, sizeof(st));
	uint16_t theirs_status = op->native(fcw, theirs, NULL), ours_status = op->ours(fcw, ours, NULL);

	theirs_status = defined(op, fcw, theirs, theirs_status);
	ours_status = defined(op, fcw, theirs, ours_status);
	if (theirs_status != ours_status)
		report(op->name, fcw, st, NULL, "status", &theirs[0], theirs_status, &ours[0], ours_status);
	if ((theirs_status & ~fcw & FSW_PRECOMPUTATION) || (theirs_status & FSW_C2))
		return;
	for (unsigned i = 0; i < op->results; i++)
		if (distance(theirs[i], ours[i]) > 1)
			report(op->name, fcw, st, NULL, i ? "st1" : "st0", &theirs[i], theirs_status, &ours[i],
			       ours_status);
}

static void test_transcendental(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(transcendental_operations); i++)
		for (unsigned n = 0; n < CASES / 4; n++)
			check_transcendental(&transcendental_operations[i], n & 1);
}

static void test_stores(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++)
		for (unsigned n = 0; n < CASES; n++)
			check_store(&stores[i], n & 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_exact), cmocka_unit_test(test_stores),
					     cmocka_unit_test(test_transcendental) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
