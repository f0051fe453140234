/* x87 arithmetic in integers (arch/softfp), for hosts without an x87 unit: all that IEEE 754 defines, bit for bit.
 * Transcendental results may differ from a given processor's in the last bits.
 *
 * Example: see x87_arith.h.
 */
#include <string.h>
#include "arch/softfp/softfp.h"
#include "engine/interp/x86_64/x87_arith.h"

#define INTEGER_BIT  (1ull << 63)
#define QUIET_BIT    (1ull << 62)
#define BCD_DIGITS   18
#define BCD_LIMIT    1000000000000000000ull
#define UNORDERED    (FSW_C3 | FSW_C2 | FSW_C0)

static const struct x86_float80 zero = { 0 }, one = { .mantissa = INTEGER_BIT, .exponent = 16383 };

static struct softfp_f80 in(struct x86_float80 a)
{
	return (struct softfp_f80){ .mantissa = a.mantissa, .exponent = a.exponent };
}

static struct x86_float80 out(struct softfp_f80 a)
{
	return (struct x86_float80){ .mantissa = a.mantissa, .exponent = a.exponent };
}

static struct softfp environment(uint16_t fcw)
{
	return (struct softfp){
		.rounding = (fcw & FCW_RC) >> 10,
		.precision = fcw >> 8 & 3,
		.masked = fcw & FCW_MASKS,
	};
}

static uint16_t status_of(const struct softfp *fp)
{
	return (uint16_t)(fp->flags | (fp->rounded_up ? FSW_C1 : 0));
}

static bool is_nan(struct x86_float80 a)
{
	return (a.exponent & 0x7fff) == 0x7fff && a.mantissa << 1;
}

/* ---- memory operands ---- */

/* A memory operand as a register has it, signalling NaNs still signalling. */
struct loaded {
	struct x86_float80 value;
	bool denormal; /* it was one, though it is none in 80 bits */
};

static struct loaded widen(bool sign, unsigned biased, unsigned bias, uint64_t fraction)
{
	struct loaded r = { .value = { .mantissa = fraction | INTEGER_BIT } };
	unsigned exponent = biased + 16383 - bias;

	if (biased == 2 * bias + 1) {
		exponent = 0x7fff;
	} else if (!biased && !fraction) {
		r.value.mantissa = 0;
		exponent = 0;
	} else if (!biased) {
		const unsigned shift = (unsigned)__builtin_clzll(fraction);

		r.denormal = true;
		r.value.mantissa = fraction << shift;
		exponent = 16383 + 1 - bias - shift;
	}
	r.value.exponent = (uint16_t)(sign << 15 | exponent);
	return r;
}

static struct loaded load_f32(const void *from)
{
	uint32_t a;

	memcpy(&a, from, sizeof(a));
	return widen(a >> 31, a >> 23 & 0xff, 127, (uint64_t)(a & 0x7fffff) << 40);
}

static struct loaded load_f64(const void *from)
{
	uint64_t a;

	memcpy(&a, from, sizeof(a));
	return widen(a >> 63, a >> 52 & 0x7ff, 1023, (a & 0xfffffffffffffull) << 11);
}

/* An operand that was denormal in memory, after the operation with its value: NaNs, invalid operations and divisions
 * by zero come first, and what comes after an unmasked denormal operand is not reported. */
static uint16_t with_denormal(uint16_t fcw, uint16_t status, bool ordered)
{
	if ((status & (FSW_IE | FSW_ZE)) || !ordered)
		return status;
	return fcw & FCW_DM ? status | FSW_DE : FSW_DE;
}

static uint16_t load(uint16_t fcw, struct x86_float80 *st, struct loaded from)
{
	st[0] = from.value;
	if (from.denormal)
		return FSW_DE;
	if (!is_nan(from.value) || (from.value.mantissa & QUIET_BIT))
		return 0;
	st[0].mantissa |= QUIET_BIT;
	return FSW_IE;
}

uint16_t x87_fld_f32(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return load(fcw, st, load_f32(from));
}

uint16_t x87_fld_f64(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return load(fcw, st, load_f64(from));
}

uint16_t x87_fild(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);
	int64_t a;

	memcpy(&a, from, sizeof(a));
	st[0] = out(softfp_f80_from_i64(&fp, a));
	return 0;
}

/* Ten bytes: 18 digits, low first, and the sign (SDM 1 4.7). Digits above 9 count as what they are worth. */
uint16_t x87_fbld(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);
	uint8_t bytes[10];
	int64_t value = 0;

	memcpy(bytes, from, sizeof(bytes));
	for (unsigned i = BCD_DIGITS / 2; i--;)
		value = value * 100 + (bytes[i] >> 4) * 10 + (bytes[i] & 15);
	st[0] = out(softfp_f80_from_i64(&fp, value));
	st[0].exponent |= (uint16_t)((bytes[9] & 0x80) << 8);
	return 0;
}

#define DEFINE_STORE(name, type, convert)                                                          \
	uint16_t x87_##name(uint16_t fcw, const struct x86_float80 *st, void *to)                  \
	{                                                                                          \
		struct softfp fp = environment(fcw);                                           \
		const type r = convert(&fp, in(st[0]));                                            \
                                                                                                   \
		memcpy(to, &r, sizeof(r));                                                         \
		return status_of(&fp);                                                            \
	}
DEFINE_STORE(fst_f32, uint32_t, softfp_f80_to_f32)
DEFINE_STORE(fst_f64, uint64_t, softfp_f80_to_f64)
DEFINE_STORE(fist_16, int16_t, softfp_f80_to_i16)
DEFINE_STORE(fist_32, int32_t, softfp_f80_to_i32)
DEFINE_STORE(fist_64, int64_t, softfp_f80_to_i64)

uint16_t x87_fbst(uint16_t fcw, const struct x86_float80 *st, void *to)
{
	static const uint8_t bcd_indefinite[10] = { 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff };
	struct softfp fp = environment(fcw);
	const int64_t value = softfp_f80_to_i64(&fp, in(st[0]));
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	uint8_t bytes[10] = { 0 };

	if ((fp.flags & SOFTFP_INVALID) || magnitude >= BCD_LIMIT) {
		memcpy(to, bcd_indefinite, sizeof(bcd_indefinite));
		return FSW_IE;
	}
	for (unsigned i = 0; i < BCD_DIGITS / 2; i++) {
		const unsigned pair = (unsigned)(magnitude % 100);

		bytes[i] = (uint8_t)(pair / 10 << 4 | pair % 10);
		magnitude /= 100;
	}
	bytes[9] = (uint8_t)(st->exponent >> 8 & 0x80);
	memcpy(to, bytes, sizeof(bytes));
	return status_of(&fp);
}

/* ---- arithmetic ---- */

#define FORWARD(a, b)  in(a), in(b)
#define BACKWARD(a, b) in(b), in(a)
#define DEFINE_ARITHMETIC(name, operation, ORDER)                                                  \
	uint16_t x87_##name(uint16_t fcw, struct x86_float80 *st, const void *from)                \
	{                                                                                          \
		struct softfp fp = environment(fcw);                                           \
                                                                                                   \
		st[0] = out(softfp_f80_##operation(&fp, ORDER(st[0], st[1])));                     \
		return status_of(&fp);                                                            \
	}                                                                                          \
	static uint16_t name##_loaded(uint16_t fcw, struct x86_float80 *st, struct loaded from)    \
	{                                                                                          \
		st[1] = from.value;                                                                \
		const uint16_t status = x87_##name(fcw, st, NULL);                                 \
		return from.denormal ? with_denormal(fcw, status, !is_nan(st[0])) : status;        \
	}                                                                                          \
	uint16_t x87_##name##_f32(uint16_t fcw, struct x86_float80 *st, const void *from)          \
	{                                                                                          \
		return name##_loaded(fcw, st, load_f32(from));                                     \
	}                                                                                          \
	uint16_t x87_##name##_f64(uint16_t fcw, struct x86_float80 *st, const void *from)          \
	{                                                                                          \
		return name##_loaded(fcw, st, load_f64(from));                                     \
	}
DEFINE_ARITHMETIC(fadd, add, FORWARD)
DEFINE_ARITHMETIC(fmul, mul, FORWARD)
DEFINE_ARITHMETIC(fsub, sub, FORWARD)
DEFINE_ARITHMETIC(fsubr, sub, BACKWARD)
DEFINE_ARITHMETIC(fdiv, div, FORWARD)
DEFINE_ARITHMETIC(fdivr, div, BACKWARD)

uint16_t x87_fsqrt(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);

	st[0] = out(softfp_f80_sqrt(&fp, in(st[0])));
	return status_of(&fp);
}

uint16_t x87_frndint(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);

	st[0] = out(softfp_f80_round_to_int(&fp, in(st[0]), true));
	return status_of(&fp);
}

uint16_t x87_fscale(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);

	st[0] = out(softfp_f80_scale(&fp, in(st[0]), in(st[1])));
	return status_of(&fp);
}

/* The quotient's low bits go to C0, C3, C1 (SDM 2A FPREM). */
static uint16_t partial_remainder(uint16_t fcw, struct x86_float80 *st, bool nearest)
{
	struct softfp fp = environment(fcw);
	unsigned quotient;
	bool partial;

	st[0] = out(softfp_f80_remainder(&fp, in(st[0]), in(st[1]), nearest, &quotient, &partial));
	return (uint16_t)(fp.flags | (partial ? FSW_C2 : 0) | (quotient & 4 ? FSW_C0 : 0) |
			  (quotient & 2 ? FSW_C3 : 0) | (quotient & 1 ? FSW_C1 : 0));
}

uint16_t x87_fprem(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return partial_remainder(fcw, st, false);
}

uint16_t x87_fprem1(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return partial_remainder(fcw, st, true);
}

/* ST(0) to its exponent, the significand pushed. */
uint16_t x87_fxtract(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);
	const struct x86_float80 a = st[0];
	const uint16_t sign = a.exponent & 0x8000, biased = a.exponent & 0x7fff;

	if (biased == 0x7fff || (biased && !(a.mantissa & INTEGER_BIT))) { /* infinity, NaN, unsupported */
		st[0] = out(softfp_f80_round_to_int(&fp, in(a), true));
		st[1] = st[0];
		if (!fp.flags && !(a.mantissa << 1))
			st[1].exponent = 0x7fff;
		return status_of(&fp);
	}
	if (!a.mantissa) {
		st[1] = (struct x86_float80){ .mantissa = INTEGER_BIT, .exponent = 0xffff };
		return FSW_ZE;
	}
	const int shift = __builtin_clzll(a.mantissa);
	const int32_t exponent = (biased ? biased : 1) - 16383 - shift;

	st[0] = (struct x86_float80){ .mantissa = a.mantissa << shift, .exponent = (uint16_t)(sign | 16383) };
	st[1] = out(softfp_f80_from_i32(&fp, exponent));
	return biased ? 0 : FSW_DE;
}

/* ---- transcendental ---- */

uint16_t x87_f2xm1(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);

	st[0] = out(softfp_f80_exp2m1(&fp, in(st[0])));
	return status_of(&fp);
}

#define DEFINE_POPPING(name, operation)                                                            \
	uint16_t x87_##name(uint16_t fcw, struct x86_float80 *st, const void *from)                \
	{                                                                                          \
		struct softfp fp = environment(fcw);                                           \
                                                                                                   \
		st[0] = out(softfp_f80_##operation(&fp, in(st[1]), in(st[0])));                    \
		return status_of(&fp);                                                            \
	}
DEFINE_POPPING(fyl2x, y_log2_x)
DEFINE_POPPING(fyl2xp1, y_log2_x_plus_1)
DEFINE_POPPING(fpatan, atan2)

#define DEFINE_TRIGONOMETRIC(name, operation)                                                      \
	uint16_t x87_##name(uint16_t fcw, struct x86_float80 *st, const void *from)                \
	{                                                                                          \
		struct softfp fp = environment(fcw);                                           \
		bool out_of_range;                                                                 \
                                                                                                   \
		st[0] = out(softfp_f80_##operation(&fp, in(st[0]), &out_of_range));                \
		return status_of(&fp) | (out_of_range ? FSW_C2 : 0);                              \
	}
DEFINE_TRIGONOMETRIC(fsin, sin)
DEFINE_TRIGONOMETRIC(fcos, cos)

/* The tangent, and 1 pushed; with a NaN the NaN twice. */
uint16_t x87_fptan(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);
	bool out_of_range;

	st[1] = out(softfp_f80_tan(&fp, in(st[0]), &out_of_range));
	if (out_of_range)
		return FSW_C2;
	st[0] = is_nan(st[1]) ? st[1] : one;
	return status_of(&fp);
}

/* The sine, and the cosine pushed. */
uint16_t x87_fsincos(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	struct softfp fp = environment(fcw);
	bool out_of_range;

	st[1] = out(softfp_f80_sin(&fp, in(st[0]), &out_of_range));
	if (out_of_range)
		return FSW_C2;
	st[0] = out(softfp_f80_cos(&fp, in(st[0]), &out_of_range));
	return status_of(&fp);
}

/* ---- comparison ---- */

static uint16_t compare(uint16_t fcw, struct x86_float80 a, struct x86_float80 b, bool quiet)
{
	struct softfp fp = environment(fcw);
	unsigned condition = 0;

	switch (softfp_f80_compare(&fp, in(a), in(b), quiet)) {
	case SOFTFP_LESS:
		condition = FSW_C0;
		break;
	case SOFTFP_EQUAL:
		condition = FSW_C3;
		break;
	case SOFTFP_GREATER:
		break;
	default:
		condition = UNORDERED;
	}
	return (uint16_t)(fp.flags | condition);
}

static uint16_t compare_loaded(uint16_t fcw, struct x86_float80 a, struct loaded b)
{
	const uint16_t status = compare(fcw, a, b.value, false);

	return b.denormal && !(status & FSW_IE) ? status | FSW_DE : status;
}

uint16_t x87_fcom(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return compare(fcw, st[0], st[1], false);
}

uint16_t x87_fucom(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return compare(fcw, st[0], st[1], true);
}

uint16_t x87_fcom_f32(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return compare_loaded(fcw, st[0], load_f32(from));
}

uint16_t x87_fcom_f64(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return compare_loaded(fcw, st[0], load_f64(from));
}

uint16_t x87_ftst(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	return compare(fcw, st[0], zero, false);
}

/* ---- constants: 66 bits rounded as RC says (SDM 2A FLDPI) ---- */

/* `mantissa` is the nearest; above: it is larger than the constant. */
static uint16_t constant(uint16_t fcw, struct x86_float80 *st, uint16_t exponent, uint64_t mantissa, bool above)
{
	const unsigned rounding = environment(fcw).rounding;

	if (above && (rounding == SOFTFP_DOWN || rounding == SOFTFP_ZERO))
		mantissa--;
	if (!above && rounding == SOFTFP_UP)
		mantissa++;
	st[0] = (struct x86_float80){ .mantissa = mantissa, .exponent = exponent };
	return 0;
}

#define DEFINE_CONSTANT(name, exponent, mantissa, above)                                           \
	uint16_t x87_##name(uint16_t fcw, struct x86_float80 *st, const void *from)                \
	{                                                                                          \
		return constant(fcw, st, exponent, mantissa, above);                               \
	}
DEFINE_CONSTANT(fldl2t, 0x4000, 0xd49a784bcd1b8afe, false)
DEFINE_CONSTANT(fldl2e, 0x3fff, 0xb8aa3b295c17f0bc, true)
DEFINE_CONSTANT(fldpi, 0x4000, 0xc90fdaa22168c235, true)
DEFINE_CONSTANT(fldlg2, 0x3ffd, 0x9a209a84fbcff799, true)
DEFINE_CONSTANT(fldln2, 0x3ffe, 0xb17217f7d1cf79ac, true)

uint16_t x87_fld1(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	st[0] = one;
	return 0;
}

uint16_t x87_fldz(uint16_t fcw, struct x86_float80 *st, const void *from)
{
	st[0] = zero;
	return 0;
}
