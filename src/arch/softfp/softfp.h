/* Binary floating point in integers: exact IEEE 754 results and flags on any host, with x86's NaN,
 * denormal and tininess rules as parameters, for binary32, binary64 and x87's 80-bit format. Arm's
 * rules are put around it by arch/aarch64/fp.h.
 *
 * Example:
 *     struct softfp fp = { .rounding = SOFTFP_NEAREST, .masked = 0x3f };
 *     uint64_t sum = softfp_f64_add(&fp, a, b);   // fp.flags now has what was raised
 *
 * With an unmasked exception a result is specified only where x87 has one: overflow and underflow
 * of f80 operations bias its exponent (SDM 1 8.5.4). Flags are then the processor's too: an
 * unmasked denormal operand ends the operation, so nothing after it is raised.
 */
#ifndef ARCH_SOFTFP_SOFTFP_H
#define ARCH_SOFTFP_SOFTFP_H

#include "base/types.h"

/* Values of MXCSR.RC and FCW.RC. */
enum softfp_rounding { SOFTFP_NEAREST, SOFTFP_DOWN, SOFTFP_UP, SOFTFP_ZERO };

/* Bits as in MXCSR and FSW. */
enum softfp_flag {
	SOFTFP_INVALID = 1,
	SOFTFP_DENORMAL = 2,
	SOFTFP_DIVZERO = 4,
	SOFTFP_OVERFLOW = 8,
	SOFTFP_UNDERFLOW = 16,
	SOFTFP_INEXACT = 32,
};

struct softfp {
	uint8_t rounding;   /* enum softfp_rounding */
	uint8_t precision;  /* x87 FCW.PC for f80 arithmetic: 0 = 24 bits, 2 = 53, 3 = 64 */
	bool flush_to_zero; /* MXCSR.FTZ: only effective while underflow is masked */
	bool denormals_are_zero;
	uint8_t masked;	 /* enum softfp_flag; exact tiny results raise UNDERFLOW only if it is
			    unmasked */
	uint8_t flags;	 /* accumulated, never cleared here */
	bool rounded_up; /* x87 C1 of the last operation */
	bool tiny_before_rounding; /* Arm: what is tiny before it is rounded underflows, and a
				      flushed result is not inexact; with UNDERFLOW masked */
};

struct softfp_f80 {
	uint64_t mantissa;
	uint16_t exponent; /* sign in bit 15 */
};

enum softfp_order { SOFTFP_LESS = -1, SOFTFP_EQUAL = 0, SOFTFP_GREATER = 1, SOFTFP_UNORDERED = 2 };

/* x86 NaN rule for two operands (SDM 1 table 4-7): SSE takes the first operand's NaN, quieted, if
 * it is one, else the second's; x87 takes the one with the larger significand. */

#define SOFTFP_DECLARE(f, type)                                                                    \
	type softfp_##f##_add(struct softfp *fp, type a, type b);                                  \
	type softfp_##f##_sub(struct softfp *fp, type a, type b);                                  \
	type softfp_##f##_mul(struct softfp *fp, type a, type b);                                  \
	type softfp_##f##_div(struct softfp *fp, type a, type b);                                  \
	type softfp_##f##_sqrt(struct softfp *fp, type a);                                         \
	type softfp_##f##_round_to_int(struct softfp *fp, type a, bool exact);                     \
	/* quiet: QNaN operands do not raise INVALID (UCOMISS, FUCOM) */                           \
	enum softfp_order softfp_##f##_compare(struct softfp *fp, type a, type b, bool quiet);     \
	/* To integers: INVALID and the integer indefinite value on overflow or NaN. */            \
	int32_t softfp_##f##_to_i32(struct softfp *fp, type a);                                    \
	int64_t softfp_##f##_to_i64(struct softfp *fp, type a);                                    \
	type softfp_##f##_from_i32(struct softfp *fp, int32_t a);                                  \
	type softfp_##f##_from_i64(struct softfp *fp, int64_t a);

SOFTFP_DECLARE(f32, uint32_t)
SOFTFP_DECLARE(f64, uint64_t)
SOFTFP_DECLARE(f80, struct softfp_f80)

int16_t softfp_f80_to_i16(struct softfp *fp, struct softfp_f80 a);

/* a * b + c with one rounding; the sign variants are made by the caller flipping sign bits, except
 * that NaN operands propagate unflipped: negate_product and negate_addend do that right. NaN
 * priority: a, then b, then c (the caller passes operands in the order of the SDM's rule). */
uint32_t softfp_f32_fma(struct softfp *fp, uint32_t a, uint32_t b, uint32_t c, bool negate_product,
			bool negate_addend);
uint64_t softfp_f64_fma(struct softfp *fp, uint64_t a, uint64_t b, uint64_t c, bool negate_product,
			bool negate_addend);

/* Conversions between formats. */
uint64_t softfp_f32_to_f64(struct softfp *fp, uint32_t a);
uint32_t softfp_f64_to_f32(struct softfp *fp, uint64_t a);
struct softfp_f80 softfp_f32_to_f80(struct softfp *fp, uint32_t a);
struct softfp_f80 softfp_f64_to_f80(struct softfp *fp, uint64_t a);
uint32_t softfp_f80_to_f32(struct softfp *fp, struct softfp_f80 a);
uint64_t softfp_f80_to_f64(struct softfp *fp, struct softfp_f80 a);
uint32_t softfp_f16_to_f32(struct softfp *fp, uint16_t a);
uint16_t softfp_f32_to_f16(struct softfp *fp, uint32_t a);

/* x87 only: */
struct softfp_f80 softfp_f80_scale(struct softfp *fp, struct softfp_f80 a, struct softfp_f80 b);
/* FPREM (nearest=false) and FPREM1. *quotient gets the low three bits; returns *partial = C2. */
struct softfp_f80 softfp_f80_remainder(struct softfp *fp, struct softfp_f80 a, struct softfp_f80 b,
				       bool nearest, unsigned *quotient, bool *partial);
/* The transcendental instructions, rounded to 64 bits from 128 (F2XM1, FYL2X, FYL2XP1, FPATAN,
 * FSIN, FCOS, FPTAN). Of the last three *out_of_range (C2) says that |a| >= 2^63; a is returned
 * then. */
struct softfp_f80 softfp_f80_exp2m1(struct softfp *fp, struct softfp_f80 a);
struct softfp_f80 softfp_f80_y_log2_x(struct softfp *fp, struct softfp_f80 y, struct softfp_f80 x);
struct softfp_f80 softfp_f80_y_log2_x_plus_1(struct softfp *fp, struct softfp_f80 y,
					     struct softfp_f80 x);
struct softfp_f80 softfp_f80_atan2(struct softfp *fp, struct softfp_f80 y, struct softfp_f80 x);
struct softfp_f80 softfp_f80_sin(struct softfp *fp, struct softfp_f80 a, bool *out_of_range);
struct softfp_f80 softfp_f80_cos(struct softfp *fp, struct softfp_f80 a, bool *out_of_range);
struct softfp_f80 softfp_f80_tan(struct softfp *fp, struct softfp_f80 a, bool *out_of_range);

#endif
