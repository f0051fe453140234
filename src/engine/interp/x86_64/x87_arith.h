/* x87 arithmetic: the seam between what instructions do with the register stack and who computes. On x86-64 hosts
 * that is the processor's own x87 unit (x87_host_x86_64.c).
 *
 * Example:
 *     struct x86_float80 st[2] = { a, b };
 *     uint16_t status = x87_fadd(fcw, st, NULL);   // st[0] = a + b
 *
 * All functions take the guest's control word, masks included, and return status word bits: the exceptions of this
 * operation and C0..C3. Results are those of SDM 1 8.5 for these masks: with an unmasked exception that comes before
 * the computation (IE, DE, ZE) st is unspecified and must not be used, with overflow or underflow unmasked the
 * exponent is biased. The values given need not be canonical.
 */
#ifndef ENGINE_INTERP_X86_64_X87_ARITH_H
#define ENGINE_INTERP_X86_64_X87_ARITH_H

#include "arch/x86_64/state.h"

enum {
	FCW_IM = 1, FCW_DM = 2, FCW_ZM = 4, FCW_OM = 8, FCW_UM = 16, FCW_PM = 32,
	FCW_MASKS = 0x3f,
	FCW_RC = 0xc00,
	FCW_DEFAULT = 0x37f,
	FSW_IE = 1, FSW_DE = 2, FSW_ZE = 4, FSW_OE = 8, FSW_UE = 16, FSW_PE = 32,
	FSW_EXCEPTIONS = 0x3f,
	FSW_PRECOMPUTATION = FSW_IE | FSW_DE | FSW_ZE,
	FSW_SF = 1 << 6,
	FSW_ES = 1 << 7,
	FSW_C0 = 1 << 8,
	FSW_C1 = 1 << 9,
	FSW_C2 = 1 << 10,
	FSW_TOP_SHIFT = 11,
	FSW_TOP = 7 << FSW_TOP_SHIFT,
	FSW_C3 = 1 << 14,
	FSW_B = 1 << 15,
	FSW_CONDITION = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3,
};

/* st[0] and st[1] are ST(0) and ST(1), as far as the instruction has them, before and afterwards; from is what its
 * memory operand holds. What is one result goes to st[0], of those with two (FSINCOS, FPTAN, FXTRACT) the one pushed
 * last. */
typedef uint16_t x87_fn(uint16_t fcw, struct x86_float80 *st, const void *from);
/* Converts *st to what its memory operand gets. */
typedef uint16_t x87_store_fn(uint16_t fcw, const struct x86_float80 *st, void *to);

/* st[0] op st[1], or the memory operand; reversed ones the other way round. */
#define X87_ARITHMETIC(X) X(fadd) X(fmul) X(fsub) X(fsubr) X(fdiv) X(fdivr)
/* Of st[0] (and st[1]) to st[0]. */
#define X87_UNARY(X)      X(fsqrt) X(frndint) X(f2xm1) X(fsin) X(fcos)
#define X87_BINARY(X)     X(fprem) X(fprem1) X(fscale)
/* st[1] and st[0] to one result, in st[0]. */
#define X87_POPPING(X)    X(fyl2x) X(fyl2xp1) X(fpatan)
#define X87_PUSHING(X)    X(fsincos) X(fptan) X(fxtract)
/* To C3, C2, C0; against st[1]. */
#define X87_COMPARE(X)    X(fcom) X(fucom)
#define X87_CONSTANTS(X)  X(fld1) X(fldl2t) X(fldl2e) X(fldpi) X(fldlg2) X(fldln2) X(fldz)

#define X87_DECLARE(name)           x87_fn x87_##name;
#define X87_DECLARE_WITH_MEMORY(name) x87_fn x87_##name, x87_##name##_f32, x87_##name##_f64;
X87_ARITHMETIC(X87_DECLARE_WITH_MEMORY)
X87_UNARY(X87_DECLARE)
X87_BINARY(X87_DECLARE)
X87_POPPING(X87_DECLARE)
X87_PUSHING(X87_DECLARE)
X87_COMPARE(X87_DECLARE)
X87_CONSTANTS(X87_DECLARE)
x87_fn x87_fcom_f32, x87_fcom_f64, x87_ftst;
/* Loads: *from to st[0]. */
x87_fn x87_fld_f32, x87_fld_f64, x87_fild, x87_fbld; /* fild: of 64 bits */
x87_store_fn x87_fst_f32, x87_fst_f64, x87_fist_16, x87_fist_32, x87_fist_64, x87_fbst;

#endif
