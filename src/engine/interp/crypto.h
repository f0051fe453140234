/* The steps of ciphers and hashes that several architectures have instructions for: AES (FIPS 197), SHA-1 and SHA-2 (FIPS 180-4),
 * multiplication of polynomials over GF(2). Portable: tables and shifts.
 *
 * Example, a round of AES: `aes_substitute(out, in); aes_mix_columns(columns of out);`, then add the key.
 */
#ifndef ENGINE_INTERP_CRYPTO_H
#define ENGINE_INTERP_CRYPTO_H

#include "base/types.h"

/* SubBytes of ShiftRows, and the inverses; byte 4c + r is the state's row r, column c. out is not in. */
void aes_substitute(uint8_t out[16], const uint8_t in[16]);
void aes_inverse_substitute(uint8_t out[16], const uint8_t in[16]);
/* SubWord. */
uint32_t aes_substitute_word(uint32_t word);
/* MixColumns and its inverse; row 0 of a column is the lowest byte. */
void aes_mix_columns(uint32_t columns[4]);
void aes_inverse_mix_columns(uint32_t columns[4]);

/* a * x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, in each byte. */
static inline uint32_t aes_double(uint32_t a)
{
	return (a & 0x7f7f7f7f) << 1 ^ (a >> 7 & 0x01010101) * 0x1b;
}

/* 64 by 64 bits; product[0] is the low half. */
void carryless_multiply(uint64_t product[2], uint64_t a, uint64_t b);

/* By 1 to 31. */
static inline uint32_t rotate_right(uint32_t a, unsigned n)
{
	return a >> n | a << (32 - n);
}

static inline uint32_t rotate_left(uint32_t a, unsigned n)
{
	return rotate_right(a, 32 - n);
}

/* By 1 to 63. */
static inline uint64_t rotate_right64(uint64_t a, unsigned n)
{
	return a >> n | a << (64 - n);
}

/* Ch, Maj and Parity; of 32 or 64 bits. */
static inline uint64_t sha_choose64(uint64_t x, uint64_t y, uint64_t z)
{
	return z ^ (x & (y ^ z));
}

static inline uint64_t sha_majority64(uint64_t x, uint64_t y, uint64_t z)
{
	return (x & y) | (z & (x | y));
}

static inline uint32_t sha_choose(uint32_t x, uint32_t y, uint32_t z)
{
	return z ^ (x & (y ^ z));
}

static inline uint32_t sha_majority(uint32_t x, uint32_t y, uint32_t z)
{
	return (x & y) | (z & (x | y));
}

static inline uint32_t sha_parity(uint32_t x, uint32_t y, uint32_t z)
{
	return x ^ y ^ z;
}

/* SHA-256: the capital sigmas of the rounds, the small ones of the schedule. */
static inline uint32_t sha256_sum0(uint32_t a)
{
	return rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
}

static inline uint32_t sha256_sum1(uint32_t e)
{
	return rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
}

static inline uint32_t sha256_sigma0(uint32_t w)
{
	return rotate_right(w, 7) ^ rotate_right(w, 18) ^ w >> 3;
}

static inline uint32_t sha256_sigma1(uint32_t w)
{
	return rotate_right(w, 17) ^ rotate_right(w, 19) ^ w >> 10;
}

#endif
