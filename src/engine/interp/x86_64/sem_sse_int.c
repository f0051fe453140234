/* Packed integer arithmetic, logic, comparison and shifts, SSE2 to SSE4.2 with their VEX forms, and the bitwise
 * floating-point instructions (SDM 2: PADDB, PAND, PCMPEQB, PSLLW, ...).
 *
 * Example: `paddb xmm1, xmm2` and `vpaddb ymm1, ymm2, [mem]` both are the line `X(PADDB, u8, x + y)`.
 */
#include "engine/interp/x86_64/sem_mmx.h"
#include "engine/interp/x86_64/vec.h"

static int32_t saturate(int32_t value, int32_t low, int32_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* op, element, result from x (first source) and y (second) */
#define INT_LANES(X)                                                                               \
	X(PADDB, u8, x + y)                                                                        \
	X(PADDW, u16, x + y)                                                                       \
	X(PADDD, u32, x + y)                                                                       \
	X(PADDQ, u64, x + y)                                                                       \
	X(PADDSB, s8, saturate(x + y, INT8_MIN, INT8_MAX))                                         \
	X(PADDSW, s16, saturate(x + y, INT16_MIN, INT16_MAX))                                      \
	X(PADDUSB, u8, saturate(x + y, 0, UINT8_MAX))                                              \
	X(PADDUSW, u16, saturate(x + y, 0, UINT16_MAX))                                            \
	X(PSUBB, u8, x - y)                                                                        \
	X(PSUBW, u16, x - y)                                                                       \
	X(PSUBD, u32, x - y)                                                                       \
	X(PSUBQ, u64, x - y)                                                                       \
	X(PSUBSB, s8, saturate(x - y, INT8_MIN, INT8_MAX))                                         \
	X(PSUBSW, s16, saturate(x - y, INT16_MIN, INT16_MAX))                                      \
	X(PSUBUSB, u8, saturate(x - y, 0, UINT8_MAX))                                              \
	X(PSUBUSW, u16, saturate(x - y, 0, UINT16_MAX))                                            \
	X(PAND, u64, x & y)                                                                        \
	X(PANDN, u64, ~x & y)                                                                      \
	X(POR, u64, x | y)                                                                         \
	X(PXOR, u64, x ^ y)                                                                        \
	X(ANDPS, u64, x & y)                                                                       \
	X(ANDPD, u64, x & y)                                                                       \
	X(ANDNPS, u64, ~x & y)                                                                     \
	X(ANDNPD, u64, ~x & y)                                                                     \
	X(ORPS, u64, x | y)                                                                        \
	X(ORPD, u64, x | y)                                                                        \
	X(XORPS, u64, x ^ y)                                                                       \
	X(XORPD, u64, x ^ y)                                                                       \
	X(PCMPEQB, s8, -(x == y))                                                                  \
	X(PCMPEQW, s16, -(x == y))                                                                 \
	X(PCMPEQD, s32, -(x == y))                                                                 \
	X(PCMPEQQ, s64, -(x == y))                                                                 \
	X(PCMPGTB, s8, -(x > y))                                                                   \
	X(PCMPGTW, s16, -(x > y))                                                                  \
	X(PCMPGTD, s32, -(x > y))                                                                  \
	X(PCMPGTQ, s64, -(x > y))                                                                  \
	X(PMINUB, u8, x < y ? x : y)                                                               \
	X(PMINUW, u16, x < y ? x : y)                                                              \
	X(PMINUD, u32, x < y ? x : y)                                                              \
	X(PMINSB, s8, x < y ? x : y)                                                               \
	X(PMINSW, s16, x < y ? x : y)                                                              \
	X(PMINSD, s32, x < y ? x : y)                                                              \
	X(PMAXUB, u8, x > y ? x : y)                                                               \
	X(PMAXUW, u16, x > y ? x : y)                                                              \
	X(PMAXUD, u32, x > y ? x : y)                                                              \
	X(PMAXSB, s8, x > y ? x : y)                                                               \
	X(PMAXSW, s16, x > y ? x : y)                                                              \
	X(PMAXSD, s32, x > y ? x : y)                                                              \
	X(PAVGB, u8, (x + y + 1) >> 1)                                                             \
	X(PAVGW, u16, (x + y + 1) >> 1)                                                            \
	X(PMULLW, s16, x * y)                                                                      \
	X(PMULHW, s16, (x * y) >> 16)                                                              \
	X(PMULHUW, u16, ((uint32_t)x * y) >> 16)                                                   \
	X(PMULHRSW, s16, (((x * y) >> 14) + 1) >> 1)                                               \
	X(PMULLD, u32, x * y)                                                                      \
	X(PMULUDQ, u64, (uint64_t)(uint32_t)x * (uint32_t)y)                                       \
	X(PMULDQ, s64, (int64_t)(int32_t)x * (int32_t)y)                                           \
	X(PSIGNB, s8, y < 0 ? -x : y > 0 ? x : 0)                                                  \
	X(PSIGNW, s16, y < 0 ? -x : y > 0 ? x : 0)                                                 \
	X(PSIGND, u32, (int32_t)y < 0 ? 0u - x : y != 0 ? x : 0)

#define DEFINE_LANES(OP, lane, expr) VEC_LANES(OP, lane, expr) VEC_SEM(OP, vec_binary, lane_##OP)
INT_LANES(DEFINE_LANES)

/* Products of neighbours, added. */
static void lane_PMADDWD(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 4; i++) {
		const int32_t low = a->s16[2 * i] * b->s16[2 * i], high = a->s16[2 * i + 1] * b->s16[2 * i + 1];
		d->u32[i] = (uint32_t)low + (uint32_t)high;
	}
}

static void lane_PMADDUBSW(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 8; i++) {
		const int32_t sum = a->u8[2 * i] * b->s8[2 * i] + a->u8[2 * i + 1] * b->s8[2 * i + 1];
		d->s16[i] = (int16_t)saturate(sum, INT16_MIN, INT16_MAX);
	}
}

static void lane_PSADBW(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned sum = 0;
		for (unsigned k = 8 * i; k < 8 * i + 8; k++)
			sum += (unsigned)(a->u8[k] > b->u8[k] ? a->u8[k] - b->u8[k] : b->u8[k] - a->u8[k]);
		d->u64[i] = sum;
	}
}

/* Four bytes of b, at imm[1:0], against each of eight positions of a, from imm[2]. */
static void lane_MPSADBW(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	const uint8_t *block = &b->u8[(imm & 3) * 4], *start = &a->u8[(imm >> 2 & 1) * 4];

	for (unsigned i = 0; i < 8; i++) {
		int sum = 0;
		for (unsigned k = 0; k < 4; k++) {
			const int difference = start[i + k] - block[k];
			sum += difference < 0 ? -difference : difference;
		}
		d->u16[i] = (uint16_t)sum;
	}
}

static void lane_PHMINPOSUW(union vec *restrict d, const union vec *a)
{
	unsigned least = 0;

	for (unsigned i = 1; i < 8; i++)
		if (a->u16[i] < a->u16[least])
			least = i;
	d->u64[0] = a->u16[least] | least << 16;
	d->u64[1] = 0;
}

/* Horizontal forms: the results of a's pairs, then of b's. */
#define HORIZONTAL(X)                                                                              \
	X(PHADDW, u16, x + y)                                                                      \
	X(PHADDD, u32, x + y)                                                                      \
	X(PHADDSW, s16, saturate(x + y, INT16_MIN, INT16_MAX))                                     \
	X(PHSUBW, u16, x - y)                                                                      \
	X(PHSUBD, u32, x - y)                                                                      \
	X(PHSUBSW, s16, saturate(x - y, INT16_MIN, INT16_MAX))

#define DEFINE_HORIZONTAL(OP, lane, expr)                                                          \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b)       \
	{                                                                                          \
		const unsigned pairs = ARRAY_SIZE(d->lane) / 2;                                    \
		for (unsigned i = 0; i < 2 * pairs; i++) {                                         \
			const union vec *v = i < pairs ? a : b;                                    \
			const unsigned k = 2 * (i % pairs);                                        \
			const __typeof__(d->lane[0]) x = v->lane[k], y = v->lane[k + 1];           \
			d->lane[i] = (__typeof__(d->lane[0]))(expr);                               \
		}                                                                                  \
	}                                                                                          \
	VEC_SEM(OP, vec_binary, lane_##OP)
HORIZONTAL(DEFINE_HORIZONTAL)

#define ABSOLUTE(X)                                                                                \
	X(PABSB, s8)                                                                               \
	X(PABSW, s16)                                                                              \
	X(PABSD, s32)

#define DEFINE_ABSOLUTE(OP, lane)                                                                  \
	static void lane_##OP(union vec *restrict d, const union vec *a)                           \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane); i++)                                 \
			d->lane[i] = (__typeof__(d->lane[0]))(a->lane[i] < 0 ? 0u - (unsigned)a->lane[i] \
									     : (unsigned)a->lane[i]); \
	}                                                                                          \
	VEC_SEM(OP, vec_unary, lane_##OP)
ABSOLUTE(DEFINE_ABSOLUTE)

#define OTHER_BINARY(X)                                                                            \
	X(PMADDWD)                                                                                 \
	X(PMADDUBSW)                                                                               \
	X(PSADBW)
#define DEFINE_BINARY(OP) VEC_SEM(OP, vec_binary, lane_##OP)
OTHER_BINARY(DEFINE_BINARY)
VEC_SEM(MPSADBW, vec_binary_imm, lane_MPSADBW, 3)
VEC_SEM(PHMINPOSUW, vec_unary, lane_PHMINPOSUW)

/* ---- shifts by one count: an immediate, or the low 64 bits of the last operand (always 128 bits wide) ---- */
static void shift(struct cpu *cpu, const struct x86_insn *insn, vec_shift_fn *fn)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn);
	uint64_t count = (uint8_t)insn->imm;

	if (vec_is_mmx(insn)) {
		sem_mmx_shift(cpu, insn, fn);
		return;
	}
	vec_gate(cpu, insn);
	if (insn->operand[first + 1].kind != X86_OPND_IMM)
		count = vec_read(cpu, insn, first + 1, &buf)->u64[0];
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h], count);
	vec_write(cpu, insn, 0, d.half);
}

/* op, element, its bits, the result for a count below the bits, for a larger one */
#define SHIFTS(X)                                                                                  \
	X(PSLLW, u16, 16, x << count, 0)                                                           \
	X(PSLLD, u32, 32, x << count, 0)                                                           \
	X(PSLLQ, u64, 64, x << count, 0)                                                           \
	X(PSRLW, u16, 16, x >> count, 0)                                                           \
	X(PSRLD, u32, 32, x >> count, 0)                                                           \
	X(PSRLQ, u64, 64, x >> count, 0)                                                           \
	X(PSRAW, s16, 16, x >> count, x >> 15)                                                     \
	X(PSRAD, s32, 32, x >> count, x >> 31)

#define DEFINE_SHIFT(OP, lane, bits, within, beyond)                                               \
	static void lane_##OP(union vec *restrict d, const union vec *a, uint64_t count)           \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane); i++) {                               \
			const __typeof__(d->lane[0]) x = a->lane[i];                               \
			(void)x;                                                                   \
			d->lane[i] = (__typeof__(d->lane[0]))(count < (bits) ? (within) : (beyond)); \
		}                                                                                  \
	}                                                                                          \
	VEC_SEM(OP, shift, lane_##OP)
SHIFTS(DEFINE_SHIFT)

/* Whole halves by bytes. */
static void lane_PSLLDQ(union vec *restrict d, const union vec *a, uint64_t count)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = i < count ? 0 : a->u8[i - count];
}

static void lane_PSRLDQ(union vec *restrict d, const union vec *a, uint64_t count)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = i + count > 15 ? 0 : a->u8[i + count];
}
VEC_SEM(PSLLDQ, shift, lane_PSLLDQ)
VEC_SEM(PSRLDQ, shift, lane_PSRLDQ)

/* ---- AVX2: each element by its own count ---- */
#define VARIABLE_SHIFTS(X)                                                                         \
	X(VPSLLVD, u32, y < 32 ? x << y : 0)                                                       \
	X(VPSLLVQ, u64, y < 64 ? x << y : 0)                                                       \
	X(VPSRLVD, u32, y < 32 ? x >> y : 0)                                                       \
	X(VPSRLVQ, u64, y < 64 ? x >> y : 0)                                                       \
	X(VPSRAVD, s32, x >> ((uint32_t)y < 31 ? y : 31))
VARIABLE_SHIFTS(DEFINE_LANES)

#define VEX_ENTRY(OP, ...) { X86_##OP, sem_##OP },

const struct sem_entry sem_sse_int[] = {
	INT_LANES(VEC_ENTRIES)
	HORIZONTAL(VEC_ENTRIES)
	ABSOLUTE(VEC_ENTRIES)
	OTHER_BINARY(VEC_ENTRIES)
	VEC_ENTRIES(MPSADBW)
	VEC_ENTRIES(PHMINPOSUW)
	SHIFTS(VEC_ENTRIES)
	VEC_ENTRIES(PSLLDQ)
	VEC_ENTRIES(PSRLDQ)
	VARIABLE_SHIFTS(VEX_ENTRY)
	{ 0, NULL },
};
