/* The status flags as arithmetic. See flags.h. */
#include "engine/interp/x86_64/flags.h"
#include "arch/x86_64/state.h"

uint64_t size_mask(unsigned size)
{
	return ~0ull >> (64 - 8 * size);
}

unsigned size_bits(unsigned size)
{
	return 8 * size;
}

int64_t size_extend(unsigned size, uint64_t value)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(value << shift) >> shift;
}

static unsigned bit_at(uint64_t value, unsigned index)
{
	return (unsigned)(value >> index) & 1;
}

/* The flag if the condition holds. */
static uint32_t flag_if(uint64_t condition, uint32_t flag)
{
	return condition ? flag : 0;
}

uint32_t flags_logic(unsigned size, uint64_t result)
{
	result &= size_mask(size);
	return flag_if(result == 0, X86_FLAG_ZF) |
	       flag_if(bit_at(result, size_bits(size) - 1), X86_FLAG_SF) |
	       flag_if(!__builtin_parity((unsigned)result & 0xff), X86_FLAG_PF);
}

uint32_t flags_add(unsigned size, uint64_t a, uint64_t b, unsigned carry)
{
	uint64_t result = a + b + carry;
	uint64_t carries = (a & b) | ((a | b) & ~result); /* out of each bit */
	unsigned top = size_bits(size) - 1;

	return flags_logic(size, result) | flag_if(bit_at(carries, top), X86_FLAG_CF) |
	       flag_if(bit_at(carries, 3), X86_FLAG_AF) |
	       flag_if(bit_at((a ^ result) & (b ^ result), top), X86_FLAG_OF);
}

uint32_t flags_sub(unsigned size, uint64_t a, uint64_t b, unsigned borrow)
{
	uint64_t result = a - b - borrow;
	uint64_t borrows = (~a & b) | ((~a | b) & result); /* out of each bit */
	unsigned top = size_bits(size) - 1;

	return flags_logic(size, result) | flag_if(bit_at(borrows, top), X86_FLAG_CF) |
	       flag_if(bit_at(borrows, 3), X86_FLAG_AF) |
	       flag_if(bit_at((a ^ b) & (a ^ result), top), X86_FLAG_OF);
}

uint32_t flags_multiply(bool overflow)
{
	return overflow ? X86_FLAG_CF | X86_FLAG_OF : 0;
}

/* ---- rotates: CF and OF only. count is not 0 ---- */

static struct shift_result rotate_result(unsigned size, uint64_t value, unsigned carry, bool left)
{
	unsigned top = size_bits(size) - 1;
	unsigned overflow =
	    left ? bit_at(value, top) ^ carry : bit_at(value, top) ^ bit_at(value, top - 1);

	return (struct shift_result){
	    .value = value,
	    .mask = X86_FLAG_CF | X86_FLAG_OF,
	    .flags = flag_if(carry, X86_FLAG_CF) | flag_if(overflow, X86_FLAG_OF),
	};
}

static struct shift_result rotate_left(unsigned size, uint64_t value, unsigned count)
{
	unsigned bits = size_bits(size);

	count %= bits;
	if (count)
		value = ((value << count) | (value >> (bits - count))) & size_mask(size);
	return rotate_result(size, value, bit_at(value, 0), true);
}

static struct shift_result rotate_right(unsigned size, uint64_t value, unsigned count)
{
	unsigned bits = size_bits(size);

	count %= bits;
	if (count)
		value = ((value >> count) | (value << (bits - count))) & size_mask(size);
	return rotate_result(size, value, bit_at(value, bits - 1), false);
}

/* RCL and RCR rotate the value with CF above it: bits + 1 places. */
static struct shift_result rotate_carry_left(unsigned size, uint64_t value, unsigned count,
					     unsigned carry)
{
	unsigned __int128 mask = ((unsigned __int128)1 << (size_bits(size) + 1)) - 1;
	unsigned __int128 wide = ((unsigned __int128)carry << size_bits(size)) | value;

	count %= size_bits(size) + 1;
	if (count)
		wide = ((wide << count) | (wide >> (size_bits(size) + 1 - count))) & mask;
	return rotate_result(size, (uint64_t)wide & size_mask(size),
			     (unsigned)(wide >> size_bits(size)), true);
}

static struct shift_result rotate_carry_right(unsigned size, uint64_t value, unsigned count,
					      unsigned carry)
{
	struct shift_result result;

	count %= size_bits(size) + 1;
	result = rotate_carry_left(size, value, size_bits(size) + 1 - count, carry);
	return rotate_result(size, result.value, !!(result.flags & X86_FLAG_CF), false);
}

/* ---- shifts: all flags; AF is undefined, Zen sets it. count is not 0 ---- */

static struct shift_result shift_flags(unsigned size, uint64_t value, unsigned carry,
				       unsigned overflow)
{
	return (struct shift_result){
	    .value = value,
	    .mask = X86_FLAGS_STATUS,
	    .flags = flags_logic(size, value) | flag_if(carry, X86_FLAG_CF) | X86_FLAG_AF |
		     flag_if(overflow, X86_FLAG_OF),
	};
}

static struct shift_result shift_left(unsigned size, uint64_t value, unsigned count)
{
	unsigned top = size_bits(size) - 1;
	uint64_t last = value << (count - 1);
	uint64_t result = (last << 1) & size_mask(size);
	unsigned carry = bit_at(last, top);

	return shift_flags(size, result, carry, carry ^ bit_at(result, top));
}

static struct shift_result shift_right(unsigned size, uint64_t value, unsigned count)
{
	unsigned top = size_bits(size) - 1;
	uint64_t last = value >> (count - 1);
	uint64_t result = last >> 1;

	return shift_flags(size, result, bit_at(last, 0),
			   bit_at(result, top) ^ bit_at(result, top - 1));
}

static struct shift_result shift_arithmetic(unsigned size, uint64_t value, unsigned count)
{
	int64_t last = size_extend(size, value) >> (count - 1);

	return shift_flags(size, (uint64_t)(last >> 1) & size_mask(size), (unsigned)last & 1, 0);
}

static unsigned mask_count(unsigned size, unsigned count)
{
	return count & (size == 8 ? 63 : 31);
}

struct shift_result shift_value(enum shift_kind kind, unsigned size, uint64_t value, unsigned count,
				unsigned carry)
{
	value &= size_mask(size);
	count = mask_count(size, count);
	if (count == 0)
		return (struct shift_result){.value = value};
	switch (kind) {
	case SHIFT_ROL:
		return rotate_left(size, value, count);
	case SHIFT_ROR:
		return rotate_right(size, value, count);
	case SHIFT_RCL:
		return rotate_carry_left(size, value, count, carry);
	case SHIFT_RCR:
		return rotate_carry_right(size, value, count, carry);
	case SHIFT_SHL:
		return shift_left(size, value, count);
	case SHIFT_SHR:
		return shift_right(size, value, count);
	case SHIFT_SAR:
		return shift_arithmetic(size, value, count);
	}
	return (struct shift_result){.value = value};
}

/* A 16-bit double shift by more than 16 is undefined in the manuals; Zen shifts the source in again
 * behind itself, with CF clear, and OF is then CF for a left shift. */
static struct shift_result shift_double_16(bool left, uint64_t value, uint64_t fill, unsigned count)
{
	uint64_t wide;
	unsigned carry, overflow;

	if (left) {
		wide = (value << 32) | (fill << 16) | fill;
		carry = count <= 16 ? bit_at(value, 16 - count) : 0;
		value = (wide << count >> 32) & 0xffff;
		overflow = count < 16 ? carry ^ bit_at(value, 15) : carry;
	} else {
		wide = (fill << 32) | (fill << 16) | value;
		carry = count <= 16 ? bit_at(value, count - 1) : 0;
		value = (wide >> count) & 0xffff;
		overflow = bit_at(value, 15) ^ bit_at(value, 14);
	}
	return shift_flags(2, value, carry, overflow);
}

struct shift_result shift_double(bool left, unsigned size, uint64_t value, uint64_t fill,
				 unsigned count)
{
	unsigned bits = size_bits(size);
	unsigned carry;
	uint64_t result;

	value &= size_mask(size);
	fill &= size_mask(size);
	count = mask_count(size, count);
	if (count == 0)
		return (struct shift_result){.value = value};
	if (size == 2)
		return shift_double_16(left, value, fill, count);
	if (left) {
		carry = bit_at(value, bits - count);
		result = ((value << count) | (fill >> (bits - count))) & size_mask(size);
		return shift_flags(size, result, carry, carry ^ bit_at(result, bits - 1));
	}
	carry = bit_at(value, count - 1);
	result = ((value >> count) | (fill << (bits - count))) & size_mask(size);
	return shift_flags(size, result, carry,
			   bit_at(result, bits - 1) ^ bit_at(result, bits - 2));
}
