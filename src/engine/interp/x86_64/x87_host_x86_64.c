/* x87 arithmetic on the host's own unit: see x87_arith.h.
 *
 * Each function is one asm statement: a window in which the unit has the guest's control word, masks too, so that
 * results with unmasked exceptions are the processor's as well. An exception that is unmasked stays pending inside of
 * the window, for only waiting instructions deliver it: FNSTSW and FNCLEX are not. The window ends with the ABI's
 * default control word and an empty stack.
 *
 * `ffree` at the end is for operands that an exception kept from being popped; on an empty register it does nothing.
 */
#include "engine/interp/x86_64/x87_arith.h"

#define CLOBBERS                                                                                   \
	"cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"

#define OPEN  "fnclex\n\tfldcw %[fcw]\n\t"
#define CLOSE "\n\tfnstsw %%ax\n\ttestb $0x80, %%al\n\tjz 1f\n\tfnclex\n1:\tfldcw %[normal]\n\t"

#define WINDOW(body, after)                                                                        \
	const uint16_t normal = FCW_DEFAULT;                                                       \
	uint16_t status;                                                                           \
	__asm__ volatile(OPEN body CLOSE after                                                     \
			 : "=&a"(status)                                                           \
			 : [fcw] "m"(fcw), [normal] "m"(normal), [st0] "r"(st), [memory] "r"(operand), \
			   [st1] "r"(st + 1)                                                       \
			 : CLOBBERS);                                                              \
	return status & (FSW_EXCEPTIONS | FSW_CONDITION)

#define DEFINE(name, body, after)                                                                  \
	uint16_t x87_##name(uint16_t fcw, struct x86_float80 *st, const void *operand)             \
	{                                                                                          \
		WINDOW(body, after);                                                               \
	}
#define DEFINE_STORE(name, body)                                                                   \
	uint16_t x87_##name(uint16_t fcw, const struct x86_float80 *st, void *operand)             \
	{                                                                                          \
		WINDOW("fldt (%[st0])\n\t" body, "ffree %%st(0)");                                 \
	}

#define LOAD_ONE  "fldt (%[st0])\n\t"
#define LOAD_BOTH "fldt (%[st1])\n\tfldt (%[st0])\n\t"
#define STORE_ONE "fstpt (%[st0])\n\tffree %%st(0)"
#define STORE_BOTH "fstpt (%[st0])\n\tfstpt (%[st1])"
#define DROP_BOTH "ffree %%st(0)\n\tffree %%st(1)"

#define DEFINE_ARITHMETIC(name)                                                                    \
	DEFINE(name, LOAD_BOTH #name " %%st(1), %%st", STORE_ONE)                                  \
	DEFINE(name##_f32, LOAD_ONE #name "s (%[memory])", STORE_ONE)                              \
	DEFINE(name##_f64, LOAD_ONE #name "l (%[memory])", STORE_ONE)
#define DEFINE_UNARY(name)    DEFINE(name, LOAD_ONE #name, STORE_ONE)
#define DEFINE_BINARY(name)   DEFINE(name, LOAD_BOTH #name, STORE_ONE)
#define DEFINE_PUSHING(name)  DEFINE(name, LOAD_ONE #name, STORE_BOTH)
#define DEFINE_COMPARE(name)  DEFINE(name, LOAD_BOTH #name " %%st(1)", DROP_BOTH)
#define DEFINE_CONSTANT(name) DEFINE(name, #name, STORE_ONE)
X87_ARITHMETIC(DEFINE_ARITHMETIC)
X87_UNARY(DEFINE_UNARY)
X87_BINARY(DEFINE_BINARY)
X87_POPPING(DEFINE_BINARY)
X87_PUSHING(DEFINE_PUSHING)
X87_COMPARE(DEFINE_COMPARE)
X87_CONSTANTS(DEFINE_CONSTANT)
DEFINE(fcom_f32, LOAD_ONE "fcoms (%[memory])", DROP_BOTH)
DEFINE(fcom_f64, LOAD_ONE "fcoml (%[memory])", DROP_BOTH)
DEFINE(ftst, LOAD_ONE "ftst", DROP_BOTH)
DEFINE(fld_f32, "flds (%[memory])", STORE_ONE)
DEFINE(fld_f64, "fldl (%[memory])", STORE_ONE)
DEFINE(fild, "fildll (%[memory])", STORE_ONE)
DEFINE(fbld, "fbld (%[memory])", STORE_ONE)
DEFINE_STORE(fst_f32, "fstps (%[memory])")
DEFINE_STORE(fst_f64, "fstpl (%[memory])")
DEFINE_STORE(fist_16, "fistps (%[memory])")
DEFINE_STORE(fist_32, "fistpl (%[memory])")
DEFINE_STORE(fist_64, "fistpll (%[memory])")
DEFINE_STORE(fbst, "fbstp (%[memory])")
