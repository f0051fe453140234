/* Immediates and extensions that several forms share (DDI 0487 J1: DecodeBitMasks, ExtendReg).
 *
 * Example: `if (!a64_bitmask(n, imms, immr, &mask)) ... reserved ...`
 */
#ifndef ARCH_AARCH64_BITMASK_H
#define ARCH_AARCH64_BITMASK_H

#include "base/types.h"

/* The mask of a logical immediate, 64 bits of it; false: the fields are reserved. */
static inline bool a64_bitmask(unsigned n, unsigned imms, unsigned immr, uint64_t *mask)
{
	const unsigned length_bits = n << 6 | (~imms & 63);
	unsigned size, s, r;
	uint64_t element;

	if (length_bits < 2)
		return false;
	size = 1u << (31 - __builtin_clz(length_bits));
	s = imms & (size - 1);
	r = immr & (size - 1);
	if (s == size - 1)
		return false;
	element = (1ull << (s + 1)) - 1;
	if (r)
		element = (element >> r | element << (size - r)) & (size == 64 ? ~0ull : (1ull << size) - 1);
	for (; size < 64; size *= 2)
		element |= element << size;
	*mask = element;
	return true;
}

/* option: 0 to 3 UXTB, UXTH, UXTW, UXTX; 4 to 7 the signed ones. */
static inline uint64_t a64_extend(uint64_t value, unsigned option)
{
	switch (option & 7) {
	case 0: return (uint8_t)value;
	case 1: return (uint16_t)value;
	case 2: return (uint32_t)value;
	case 4: return (uint64_t)(int8_t)value;
	case 5: return (uint64_t)(int16_t)value;
	case 6: return (uint64_t)(int32_t)value;
	default: return value;
	}
}

#endif
