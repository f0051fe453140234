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

/* AdvSIMDExpandImm (J1), 64 bits of it, before it is inverted where op asks for that. */
static inline uint64_t a64_expand_immediate(unsigned cmode, bool op, uint64_t imm8)
{
	const uint64_t in_32 = 0x100000001, in_16 = 0x0001000100010001;
	uint64_t mask = 0;

	switch (cmode >> 1) {
	case 0:
	case 1:
	case 2:
	case 3:
		return in_32 * (imm8 << 8 * (cmode >> 1));
	case 4:
	case 5:
		return in_16 * (imm8 << 8 * (cmode >> 1 & 1));
	case 6:
		return in_32 * (cmode & 1 ? imm8 << 16 | 0xffff : imm8 << 8 | 0xff);
	default:
		if (!op)
			return imm8 * 0x0101010101010101ull;
		for (unsigned i = 0; i < 8; i++)
			mask |= imm8 >> i & 1 ? 0xffull << 8 * i : 0;
		return mask;
	}
}

/* VFPExpandImm (J1) of 32 or 64 bits. */
static inline uint64_t a64_expand_float(bool wide, uint64_t imm8)
{
	const uint64_t sign = imm8 >> 7, b = imm8 >> 6 & 1, low = imm8 & 63;

	if (wide)
		return sign << 63 | (b ? 0xffull << 54 : 1ull << 62) | low << 48;
	return sign << 31 | (b ? 0x1full << 25 : 1ull << 30) | low << 19;
}

#endif
