/* The status flags as arithmetic: pure functions from operands to RFLAGS bits, and the shift
 * family.
 *
 * Example: `sem_set_flags(cpu, X86_FLAGS_STATUS, flags_sub(4, a, b, 0));`   (CMP r32, r32)
 *
 * Sizes are in bytes: 1, 2, 4 or 8. Operands may carry rubbish above their size; results don't.
 * Flags that the manuals leave undefined have the value that AMD's Zen family gives them; the
 * native oracle (tests/oracle --strict) compares them.
 */
#ifndef ENGINE_INTERP_X86_64_FLAGS_H
#define ENGINE_INTERP_X86_64_FLAGS_H

#include "base/types.h"

/* All ones up to `size` bytes; the number of bits; the value sign-extended to 64 bits. */
uint64_t size_mask(unsigned size);
unsigned size_bits(unsigned size);
int64_t size_extend(unsigned size, uint64_t value);

/* SF, ZF and PF of a result; CF, OF and AF clear: all that a logical operation sets. */
uint32_t flags_logic(unsigned size, uint64_t result);
/* All six flags of a + b + carry and of a - b - borrow. */
uint32_t flags_add(unsigned size, uint64_t a, uint64_t b, unsigned carry);
uint32_t flags_sub(unsigned size, uint64_t a, uint64_t b, unsigned borrow);
/* CF and OF as MUL and IMUL set them when `overflow`. */
uint32_t flags_multiply(bool overflow);

/* What a shift did: the value, and which flags it changed to what. A masked count of zero changes
 * no flag. */
struct shift_result {
	uint64_t value;
	uint32_t mask; /* flags written */
	uint32_t flags;
};

enum shift_kind { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAR };

/* count is the raw 8-bit count: it is masked here. carry is CF before (RCL, RCR). SDM 2B
 * "RCL/RCR/..", "SAL/SAR/SHL/SHR". */
struct shift_result shift_value(enum shift_kind kind, unsigned size, uint64_t value, unsigned count,
				unsigned carry);
/* SHLD and SHRD: value filled from `fill`. size 2, 4 or 8. */
struct shift_result shift_double(bool left, unsigned size, uint64_t value, uint64_t fill,
				 unsigned count);

#endif
