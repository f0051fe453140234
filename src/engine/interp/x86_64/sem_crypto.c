/* AES, carry-less multiplication, SHA and GFNI with their VEX forms (SDM 2: AESENC, PCLMULQDQ, SHA256RNDS2, ...).
 * Portable: tables and shifts, the host's own instructions are not needed.
 *
 * Example: `vaesenc ymm1, ymm2, ymm3` is one round of two independent blocks.
 */
#include "engine/interp/crypto.h"
#include "engine/interp/x86_64/vec.h"

/* ---- AES; byte 4c + r of a half is the state's row r, column c ---- */
static void add_key(union vec *restrict d, const union vec *v, const union vec *key)
{
	d->u64[0] = v->u64[0] ^ key->u64[0];
	d->u64[1] = v->u64[1] ^ key->u64[1];
}

static void lane_AESENC(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v;

	aes_substitute(v.u8, a->u8);
	aes_mix_columns(v.u32);
	add_key(d, &v, b);
}

static void lane_AESENCLAST(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v;

	aes_substitute(v.u8, a->u8);
	add_key(d, &v, b);
}

static void lane_AESDEC(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v;

	aes_inverse_substitute(v.u8, a->u8);
	aes_inverse_mix_columns(v.u32);
	add_key(d, &v, b);
}

static void lane_AESDECLAST(union vec *restrict d, const union vec *a, const union vec *b)
{
	union vec v;

	aes_inverse_substitute(v.u8, a->u8);
	add_key(d, &v, b);
}

static void lane_AESIMC(union vec *restrict d, const union vec *a)
{
	*d = *a;
	aes_inverse_mix_columns(d->u32);
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
	carryless_multiply(d->u64, a->u64[imm & 1], b->u64[imm >> 4 & 1]);
}
VEC_SEM(PCLMULQDQ, vec_binary_imm, lane_PCLMULQDQ, 0)

/* ---- SHA-1 ---- */
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
		return sha_choose(b, c, d);
	if (group == 2)
		return sha_majority(b, c, d);
	return sha_parity(b, c, d);
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
		const uint32_t t1 = h + sha_choose(e, f, g) + wk->u32[i] + sha256_sum1(e);
		const uint32_t t2 = sha_majority(a, b, c) + sha256_sum0(a);
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
