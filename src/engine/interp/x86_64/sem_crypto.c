/* AES, carry-less multiplication, SHA and GFNI with their VEX forms (SDM 2: AESENC, PCLMULQDQ, SHA256RNDS2, ...).
 * Portable: tables and shifts, the host's own instructions are not needed.
 *
 * Example: `vaesenc ymm1, ymm2, ymm3` is one round of two independent blocks.
 */
#include "engine/interp/x86_64/vec.h"

/* ---- AES (FIPS 197); byte 4c + r of a half is the state's row r, column c ---- */
static const uint8_t aes_sbox[256] = {
	0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
	0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
	0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
	0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
	0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
	0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
	0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
	0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
	0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
	0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
	0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
	0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
	0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
	0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
	0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
	0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

static const uint8_t aes_inverse_sbox[256] = {
	0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb,
	0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb,
	0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
	0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25,
	0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16, 0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92,
	0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
	0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06,
	0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b,
	0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
	0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e,
	0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b,
	0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
	0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f,
	0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d, 0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef,
	0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
	0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
};

/* a * x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, in each byte. */
static uint32_t aes_double(uint32_t a)
{
	return (a & 0x7f7f7f7f) << 1 ^ (a >> 7 & 0x01010101) * 0x1b;
}

static uint32_t rotate_right(uint32_t a, unsigned n)
{
	return a >> n | a << (32 - n);
}

static void aes_mix_columns(union vec *v)
{
	for (unsigned c = 0; c < 4; c++) {
		const uint32_t a = v->u32[c], next = rotate_right(a, 8);
		v->u32[c] = aes_double(a ^ next) ^ next ^ rotate_right(a, 16) ^ rotate_right(a, 24);
	}
}

/* The inverse matrix is the forward one times one that takes a' = a + 4 * (a + a two rows on). */
static void aes_inverse_mix_columns(union vec *v)
{
	for (unsigned c = 0; c < 4; c++) {
		const uint32_t a = v->u32[c];
		v->u32[c] = a ^ aes_double(aes_double(a ^ rotate_right(a, 16)));
	}
	aes_mix_columns(v);
}

/* SubBytes of ShiftRows: row r comes from r columns on (encryption) or back. */
static union vec aes_substitute(const union vec *a)
{
	union vec v;

	for (unsigned i = 0; i < 16; i++)
		v.u8[i] = aes_sbox[a->u8[(i + 4 * (i & 3)) & 15]];
	return v;
}

static union vec aes_inverse_substitute(const union vec *a)
{
	union vec v;

	for (unsigned i = 0; i < 16; i++)
		v.u8[i] = aes_inverse_sbox[a->u8[(i - 4 * (i & 3)) & 15]];
	return v;
}

static void add_key(union vec *restrict d, const union vec *v, const union vec *key)
{
	d->u64[0] = v->u64[0] ^ key->u64[0];
	d->u64[1] = v->u64[1] ^ key->u64[1];
}

static void lane_AESENC(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v = aes_substitute(a);

	aes_mix_columns(&v);
	add_key(d, &v, b);
}

static void lane_AESENCLAST(union vec *restrict d, const union vec *a, const union vec *b)
{
	const union vec v = aes_substitute(a);

	add_key(d, &v, b);
}

static void lane_AESDEC(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v = aes_inverse_substitute(a);

	aes_inverse_mix_columns(&v);
	add_key(d, &v, b);
}

static void lane_AESDECLAST(union vec *restrict d, const union vec *a, const union vec *b)
{
	const union vec v = aes_inverse_substitute(a);

	add_key(d, &v, b);
}

static void lane_AESIMC(union vec *restrict d, const union vec *a)
{
	*d = *a;
	aes_inverse_mix_columns(d);
}

static uint32_t aes_substitute_word(uint32_t a)
{
	return (uint32_t)aes_sbox[a & 255] | (uint32_t)aes_sbox[a >> 8 & 255] << 8 |
	       (uint32_t)aes_sbox[a >> 16 & 255] << 16 | (uint32_t)aes_sbox[a >> 24] << 24;
}

static void lane_AESKEYGENASSIST(union vec *restrict d, const union vec *a, unsigned imm)
{
	for (unsigned i = 0; i < 4; i += 2) {
		d->u32[i] = aes_substitute_word(a->u32[i | 1]);
		d->u32[i + 1] = rotate_right(d->u32[i], 8) ^ imm;
	}
}

#define AES_ROUNDS(X) X(AESENC) X(AESENCLAST) X(AESDEC) X(AESDECLAST)
#define DEFINE_BINARY(OP) VEC_SEM(OP, vec_binary, lane_##OP)
AES_ROUNDS(DEFINE_BINARY)
VEC_SEM(AESIMC, vec_unary, lane_AESIMC)
VEC_SEM(AESKEYGENASSIST, vec_unary_imm, lane_AESKEYGENASSIST, 0)

/* ---- PCLMULQDQ: the quadwords that imm[0] and imm[4] choose ---- */
static void lane_PCLMULQDQ(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	const uint64_t x = a->u64[imm & 1], y = b->u64[imm >> 4 & 1];
	uint64_t low = 0, high = 0;

	for (unsigned i = 0; i < 64; i++) {
		const uint64_t chosen = 0 - (y >> i & 1);
		low ^= x << i & chosen;
		high ^= x >> 1 >> (63 - i) & chosen;
	}
	d->u64[0] = low;
	d->u64[1] = high;
}
VEC_SEM(PCLMULQDQ, vec_binary_imm, lane_PCLMULQDQ, 0)

/* ---- SHA-1 ---- */
static uint32_t rotate_left(uint32_t a, unsigned n)
{
	return rotate_right(a, 32 - n);
}

static void lane_SHA1MSG1(union vec *restrict d, const union vec *a, const union vec *b)
{
	d->u32[3] = a->u32[3] ^ a->u32[1];
	d->u32[2] = a->u32[2] ^ a->u32[0];
	d->u32[1] = a->u32[1] ^ b->u32[3];
	d->u32[0] = a->u32[0] ^ b->u32[2];
}

static void lane_SHA1MSG2(union vec *restrict d, const union vec *a, const union vec *b)
{
	d->u32[3] = rotate_left(a->u32[3] ^ b->u32[2], 1);
	d->u32[2] = rotate_left(a->u32[2] ^ b->u32[1], 1);
	d->u32[1] = rotate_left(a->u32[1] ^ b->u32[0], 1);
	d->u32[0] = rotate_left(a->u32[0] ^ d->u32[3], 1);
}

static void lane_SHA1NEXTE(union vec *restrict d, const union vec *a, const union vec *b)
{
	*d = *b;
	d->u32[3] += rotate_left(a->u32[3], 30);
}

static uint32_t sha1_function(unsigned group, uint32_t b, uint32_t c, uint32_t d)
{
	if (group == 0)
		return (b & c) ^ (~b & d);
	if (group == 2)
		return (b & c) ^ (b & d) ^ (c & d);
	return b ^ c ^ d;
}

static void lane_SHA1RNDS4(union vec *restrict d, const union vec *state, const union vec *w, unsigned imm)
{
	static const uint32_t k[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
	uint32_t a = state->u32[3], b = state->u32[2], c = state->u32[1], e = 0, x = state->u32[0];

	/* x is FIPS 180's d; E is already in the first w. */
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t t =
			sha1_function(imm & 3, b, c, x) + rotate_left(a, 5) + w->u32[3 - i] + e + k[imm & 3];
		e = x;
		x = c;
		c = rotate_left(b, 30);
		b = a;
		a = t;
	}
	*d = (union vec){ .u32 = { x, c, b, a } };
}

/* ---- SHA-256 ---- */
static uint32_t sha256_sigma0(uint32_t w)
{
	return rotate_right(w, 7) ^ rotate_right(w, 18) ^ w >> 3;
}

static uint32_t sha256_sigma1(uint32_t w)
{
	return rotate_right(w, 17) ^ rotate_right(w, 19) ^ w >> 10;
}

static void lane_SHA256MSG1(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 4; i++)
		d->u32[i] = a->u32[i] + sha256_sigma0(i < 3 ? a->u32[i + 1] : b->u32[0]);
}

static void lane_SHA256MSG2(union vec *restrict d, const union vec *a, const union vec *b)
{
	d->u32[0] = a->u32[0] + sha256_sigma1(b->u32[2]);
	d->u32[1] = a->u32[1] + sha256_sigma1(b->u32[3]);
	d->u32[2] = a->u32[2] + sha256_sigma1(d->u32[0]);
	d->u32[3] = a->u32[3] + sha256_sigma1(d->u32[1]);
}

/* Two rounds; a, b, e, f are the second operand's, c, d, g, h the first's; W + K are the low half of XMM0. */
static void sem_SHA256RNDS2(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf;
	union vec result;

	vec_gate(cpu, insn);
	const union vec *abef = vec_read(cpu, insn, 1, &buf);
	const union vec *cdgh = vec_register(cpu, insn->operand[0].reg);
	const union vec *wk = vec_register(cpu, 0);
	uint32_t a = abef->u32[3], b = abef->u32[2], c = cdgh->u32[3], d = cdgh->u32[2];
	uint32_t e = abef->u32[1], f = abef->u32[0], g = cdgh->u32[1], h = cdgh->u32[0];

	for (unsigned i = 0; i < 2; i++) {
		const uint32_t t1 = h + ((e & f) ^ (~e & g)) + wk->u32[i] +
				    (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25));
		const uint32_t t2 = ((a & b) ^ (a & c) ^ (b & c)) +
				    (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22));
		h = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	result = (union vec){ .u32 = { f, e, b, a } };
	vec_write(cpu, insn, 0, &result);
}

#define SHA_BINARY(X) X(SHA1MSG1) X(SHA1MSG2) X(SHA1NEXTE) X(SHA256MSG1) X(SHA256MSG2)
SHA_BINARY(DEFINE_BINARY)
VEC_SEM(SHA1RNDS4, vec_binary_imm, lane_SHA1RNDS4, 0)

/* ---- GFNI, in AES's field ---- */
static uint8_t gf_multiply(uint8_t a, uint8_t b)
{
	uint32_t power = a, product = 0;

	for (unsigned i = 0; i < 8; i++) {
		product ^= power & (0u - (b >> i & 1u));
		power = aes_double(power);
	}
	return (uint8_t)product;
}

/* a^254; 0 stays 0. */
static uint8_t gf_inverse(uint8_t a)
{
	uint8_t power = a, inverse = 1;

	for (unsigned i = 0; i < 7; i++) {
		power = gf_multiply(power, power);
		inverse = gf_multiply(inverse, power);
	}
	return inverse;
}

/* Bit i of the result is the parity of x with row 7 - i of the matrix, and imm's bit i. */
static uint8_t gf_affine(uint64_t matrix, uint8_t x, unsigned imm)
{
	uint8_t r = (uint8_t)imm;

	for (unsigned i = 0; i < 8; i++)
		r ^= (uint8_t)(__builtin_parity((unsigned)(matrix >> (8 * (7 - i))) & x) << i);
	return r;
}

static void lane_GF2P8MULB(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = gf_multiply(a->u8[i], b->u8[i]);
}

static void lane_GF2P8AFFINEQB(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = gf_affine(b->u64[i / 8], a->u8[i], imm);
}

static void lane_GF2P8AFFINEINVQB(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = gf_affine(b->u64[i / 8], gf_inverse(a->u8[i]), imm);
}
VEC_SEM(GF2P8MULB, vec_binary, lane_GF2P8MULB)
VEC_SEM(GF2P8AFFINEQB, vec_binary_imm, lane_GF2P8AFFINEQB, 0)
VEC_SEM(GF2P8AFFINEINVQB, vec_binary_imm, lane_GF2P8AFFINEINVQB, 0)

#define LEGACY_ENTRY(OP) { X86_##OP, sem_##OP },

const struct sem_entry sem_crypto[] = {
	AES_ROUNDS(VEC_ENTRIES)
	VEC_ENTRIES(AESIMC)
	VEC_ENTRIES(AESKEYGENASSIST)
	VEC_ENTRIES(PCLMULQDQ)
	SHA_BINARY(LEGACY_ENTRY)
	LEGACY_ENTRY(SHA1RNDS4)
	LEGACY_ENTRY(SHA256RNDS2)
	VEC_ENTRIES(GF2P8MULB)
	VEC_ENTRIES(GF2P8AFFINEQB)
	VEC_ENTRIES(GF2P8AFFINEINVQB)
	{ 0, NULL },
};
