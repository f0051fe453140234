/* Rearranging elements: shuffles, unpacks, packs, blends, widening moves, single elements to and from general
 * registers and memory, sign masks and PTEST, with their VEX forms.
 *
 * Example: `vpshufd ymm1, ymm2, 0x1b` is lane_PSHUFD run on both halves with the same immediate.
 */
#include "engine/interp/x86_64/sem_mmx.h"
#include "engine/interp/x86_64/vec.h"
#include <string.h>

/* ---- packs: a's elements narrowed with saturation, then b's ---- */
#define PACKS(X)                                                                                   \
	X(PACKSSWB, s16, s8, INT8_MIN, INT8_MAX)                                                   \
	X(PACKUSWB, s16, u8, 0, UINT8_MAX)                                                         \
	X(PACKSSDW, s32, s16, INT16_MIN, INT16_MAX)                                                \
	X(PACKUSDW, s32, u16, 0, UINT16_MAX)

#define DEFINE_PACK(OP, wide, narrow, low, high)                                                   \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b)       \
	{                                                                                          \
		const unsigned count = ARRAY_SIZE(d->wide);                                        \
		for (unsigned i = 0; i < 2 * count; i++) {                                         \
			const int32_t x = i < count ? a->wide[i] : b->wide[i - count];             \
			d->narrow[i] = (__typeof__(d->narrow[0]))(x < (low)    ? (low)             \
								  : x > (high) ? (high)            \
									       : x);               \
		}                                                                                  \
	}                                                                                          \
	VEC_SEM(OP, vec_binary, lane_##OP)
PACKS(DEFINE_PACK)

/* ---- unpacks: elements of a and b in turn, from the low or the high half ---- */
#define UNPACKS(X)                                                                                 \
	X(PUNPCKLBW, u8, 0)                                                                        \
	X(PUNPCKLWD, u16, 0)                                                                       \
	X(PUNPCKLDQ, u32, 0)                                                                       \
	X(PUNPCKLQDQ, u64, 0)                                                                      \
	X(PUNPCKHBW, u8, 8)                                                                        \
	X(PUNPCKHWD, u16, 4)                                                                       \
	X(PUNPCKHDQ, u32, 2)                                                                       \
	X(PUNPCKHQDQ, u64, 1)                                                                      \
	X(UNPCKLPS, u32, 0)                                                                        \
	X(UNPCKLPD, u64, 0)                                                                        \
	X(UNPCKHPS, u32, 2)                                                                        \
	X(UNPCKHPD, u64, 1)

#define DEFINE_UNPACK(OP, lane, start)                                                             \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b)       \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane) / 2; i++) {                           \
			d->lane[2 * i] = a->lane[(start) + i];                                     \
			d->lane[2 * i + 1] = b->lane[(start) + i];                                 \
		}                                                                                  \
	}                                                                                          \
	VEC_SEM(OP, vec_binary, lane_##OP)
UNPACKS(DEFINE_UNPACK)

/* ---- shuffles ---- */
static void lane_PSHUFB(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 16; i++)
		d->u8[i] = b->u8[i] & 0x80 ? 0 : a->u8[b->u8[i] & 15];
}

static void lane_PSHUFD(union vec *restrict d, const union vec *a, unsigned imm)
{
	for (unsigned i = 0; i < 4; i++)
		d->u32[i] = a->u32[imm >> (2 * i) & 3];
}

static void lane_PSHUFLW(union vec *restrict d, const union vec *a, unsigned imm)
{
	for (unsigned i = 0; i < 4; i++)
		d->u16[i] = a->u16[imm >> (2 * i) & 3];
	d->u64[1] = a->u64[1];
}

static void lane_PSHUFHW(union vec *restrict d, const union vec *a, unsigned imm)
{
	d->u64[0] = a->u64[0];
	for (unsigned i = 0; i < 4; i++)
		d->u16[4 + i] = a->u16[4 + (imm >> (2 * i) & 3)];
}

static void lane_SHUFPS(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	for (unsigned i = 0; i < 4; i++)
		d->u32[i] = (i < 2 ? a : b)->u32[imm >> (2 * i) & 3];
}

static void lane_SHUFPD(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	d->u64[0] = a->u64[imm & 1];
	d->u64[1] = b->u64[imm >> 1 & 1];
}

/* Sixteen bytes of a:b (b low) from byte imm on. */
static void lane_PALIGNR(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm)
{
	uint8_t both[256 + 16] = { 0 };

	memcpy(both, b, 16);
	memcpy(both + 16, a, 16);
	memcpy(d, both + (imm & 0xff), 16);
}

static void lane_MOVSLDUP(union vec *restrict d, const union vec *a)
{
	d->u32[0] = d->u32[1] = a->u32[0];
	d->u32[2] = d->u32[3] = a->u32[2];
}

static void lane_MOVSHDUP(union vec *restrict d, const union vec *a)
{
	d->u32[0] = d->u32[1] = a->u32[1];
	d->u32[2] = d->u32[3] = a->u32[3];
}

static void lane_MOVDDUP(union vec *restrict d, const union vec *a)
{
	d->u64[0] = d->u64[1] = a->u64[0];
}

VEC_SEM(PSHUFB, vec_binary, lane_PSHUFB)
VEC_SEM(PSHUFD, vec_unary_imm, lane_PSHUFD, 0)
VEC_SEM(PSHUFLW, vec_unary_imm, lane_PSHUFLW, 0)
VEC_SEM(PSHUFHW, vec_unary_imm, lane_PSHUFHW, 0)
VEC_SEM(SHUFPS, vec_binary_imm, lane_SHUFPS, 0)
VEC_SEM(SHUFPD, vec_binary_imm, lane_SHUFPD, 2)
VEC_SEM(PALIGNR, vec_binary_imm, lane_PALIGNR, 0)
VEC_SEM(MOVSLDUP, vec_unary, lane_MOVSLDUP)
VEC_SEM(MOVSHDUP, vec_unary, lane_MOVSHDUP)
VEC_SEM(MOVDDUP, vec_unary, lane_MOVDDUP)

/* ---- blends ---- */
#define BLENDS(X)                                                                                  \
	X(BLENDPS, u32, 4)                                                                         \
	X(BLENDPD, u64, 2)                                                                         \
	X(PBLENDW, u16, 0)

#define DEFINE_BLEND(OP, lane, high_shift)                                                         \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b, unsigned imm) \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane); i++)                                 \
			d->lane[i] = (imm >> i & 1 ? b : a)->lane[i];                              \
	}                                                                                          \
	VEC_SEM(OP, vec_binary_imm, lane_##OP, high_shift)
BLENDS(DEFINE_BLEND)

static void sem_VPBLENDD(struct cpu *cpu, const struct x86_insn *insn)
{
	vec_binary_imm(cpu, insn, lane_BLENDPS, 4);
}

/* By the sign bits of a third source: XMM0, or VEX's fourth operand. */
typedef void select_fn(union vec *restrict d, const union vec *a, const union vec *b, const union vec *mask);

static void variable_blend(struct cpu *cpu, const struct x86_insn *insn, select_fn *fn)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn);

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	const union vec *mask = vec_register(cpu, vec_is_vex(insn) ? insn->operand[3].reg : 0);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h], &b[h], &mask[h]);
	vec_write(cpu, insn, 0, d.half);
}

#define VARIABLE_BLENDS(X)                                                                         \
	X(PBLENDVB, u8, s8)                                                                        \
	X(BLENDVPS, u32, s32)                                                                      \
	X(BLENDVPD, u64, s64)

#define DEFINE_VARIABLE_BLEND(OP, lane, slane)                                                     \
	static void lane_##OP(union vec *restrict d, const union vec *a, const union vec *b,       \
			      const union vec *mask)                                               \
	{                                                                                          \
		for (unsigned i = 0; i < ARRAY_SIZE(d->lane); i++)                                 \
			d->lane[i] = (mask->slane[i] < 0 ? b : a)->lane[i];                        \
	}                                                                                          \
	VEC_SEM(OP, variable_blend, lane_##OP)
VARIABLE_BLENDS(DEFINE_VARIABLE_BLEND)

/* ---- widening moves: the low elements of the source fill the whole destination ---- */
#define WIDENINGS(X)                                                                               \
	X(PMOVSXBW, s8, s16)                                                                       \
	X(PMOVSXBD, s8, s32)                                                                       \
	X(PMOVSXBQ, s8, s64)                                                                       \
	X(PMOVSXWD, s16, s32)                                                                      \
	X(PMOVSXWQ, s16, s64)                                                                      \
	X(PMOVSXDQ, s32, s64)                                                                      \
	X(PMOVZXBW, u8, u16)                                                                       \
	X(PMOVZXBD, u8, u32)                                                                       \
	X(PMOVZXBQ, u8, u64)                                                                       \
	X(PMOVZXWD, u16, u32)                                                                      \
	X(PMOVZXWQ, u16, u64)                                                                      \
	X(PMOVZXDQ, u32, u64)

#define DEFINE_WIDENING(OP, narrow, wide)                                                          \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		struct vec_pair buf, d;                                                            \
		vec_gate(cpu, insn);                                                               \
		const union vec *a = vec_read(cpu, insn, 1, &buf);                                 \
		const unsigned per_half = ARRAY_SIZE(a->wide);                                     \
		for (unsigned i = 0; i < per_half * vec_halves(insn, 0); i++)                         \
			d.half[i / per_half].wide[i % per_half] = a->narrow[i];                    \
		vec_write(cpu, insn, 0, d.half);                                                   \
	}
WIDENINGS(DEFINE_WIDENING)

/* ---- single elements ---- */
/* A GPR destination gets the value zero-extended to 64 bits, memory the element. */
static void write_element(struct cpu *cpu, const struct x86_insn *insn, uint64_t value, unsigned size)
{
	if (insn->operand[0].kind == X86_OPND_GPR)
		cpu_state(cpu)->gpr[insn->operand[0].reg] = value;
	else
		sem_store_int(cpu, insn->mem.seg, sem_offset(cpu, insn), size, value);
}

static void extract(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	uint64_t value = 0;

	if (vec_is_mmx(insn)) {
		sem_mmx_dispatch(cpu, insn);
		return;
	}
	vec_gate(cpu, insn);
	const union vec *a = vec_register(cpu, insn->operand[1].reg);
	memcpy(&value, &a->u8[(unsigned)insn->imm * size & 15], size);
	write_element(cpu, insn, value, size);
}
VEC_SEM(PEXTRB, extract, 1)
VEC_SEM(PEXTRW, extract, 2)
VEC_SEM(PEXTRD, extract, 4)
VEC_SEM(PEXTRQ, extract, 8)
VEC_SEM(EXTRACTPS, extract, 4)

static void insert(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	struct vec_pair d = { 0 };
	const unsigned first = vec_first_source(insn);
	const struct x86_operand *source = &insn->operand[first + 1];

	if (vec_is_mmx(insn)) {
		sem_mmx_dispatch(cpu, insn);
		return;
	}
	vec_gate(cpu, insn);
	const uint64_t value = source->kind == X86_OPND_GPR
				       ? cpu_state(cpu)->gpr[source->reg]
				       : sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), size);
	d.half[0] = *vec_register(cpu, insn->operand[first].reg);
	memcpy(&d.half[0].u8[(unsigned)insn->imm * size & 15], &value, size);
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(PINSRB, insert, 1)
VEC_SEM(PINSRW, insert, 2)
VEC_SEM(PINSRD, insert, 4)
VEC_SEM(PINSRQ, insert, 8)

static void sem_INSERTPS(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf, d = { 0 };
	const unsigned first = vec_first_source(insn), imm = (uint8_t)insn->imm;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const uint32_t value = b->u32[insn->operand[first + 1].kind == X86_OPND_MEM ? 0 : imm >> 6];
	d.half[0] = *vec_register(cpu, insn->operand[first].reg);
	d.half[0].u32[imm >> 4 & 3] = value;
	for (unsigned i = 0; i < 4; i++)
		if (imm >> i & 1)
			d.half[0].u32[i] = 0;
	vec_write(cpu, insn, 0, d.half);
}

/* ---- sign masks, PTEST ---- */
#define MASKS(X)                                                                                   \
	X(PMOVMSKB, s8)                                                                            \
	X(MOVMSKPS, s32)                                                                           \
	X(MOVMSKPD, s64)

#define DEFINE_MASK(OP, lane)                                                                      \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		uint32_t mask = 0;                                                                 \
		if (vec_is_mmx(insn)) {                                                            \
			sem_mmx_dispatch(cpu, insn);                                               \
			return;                                                                    \
		}                                                                                  \
		vec_gate(cpu, insn);                                                               \
		const union vec *a = vec_register(cpu, insn->operand[1].reg);                      \
		const unsigned per_half = ARRAY_SIZE(a->lane);                                     \
		for (unsigned i = 0; i < per_half * vec_halves(insn, 1); i++)                         \
			mask |= (uint32_t)(a[i / per_half].lane[i % per_half] < 0) << i;           \
		cpu_state(cpu)->gpr[insn->operand[0].reg] = mask;                                  \
	}
MASKS(DEFINE_MASK)

/* ZF: no bit of `bits` is set in both; CF: none in the second that is clear in the first. */
static void test(struct cpu *cpu, const struct x86_insn *insn, uint64_t bits)
{
	struct vec_pair buf;
	uint64_t both = 0, second_only = 0;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[0].reg);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		for (unsigned i = 0; i < 2; i++) {
			both |= a[h].u64[i] & b[h].u64[i];
			second_only |= ~a[h].u64[i] & b[h].u64[i];
		}
	sem_set_flags(cpu, X86_FLAGS_STATUS,
		      (both & bits ? 0 : X86_FLAG_ZF) | (second_only & bits ? 0 : X86_FLAG_CF));
}
VEC_SEM(PTEST, test, ~0ull)
VEC_SEM(VTESTPS, test, 0x8000000080000000ull)
VEC_SEM(VTESTPD, test, 0x8000000000000000ull)

const struct sem_entry sem_sse_shuffle[] = {
	PACKS(VEC_ENTRIES)
	UNPACKS(VEC_ENTRIES)
	VEC_ENTRIES(PSHUFB)
	VEC_ENTRIES(PSHUFD)
	VEC_ENTRIES(PSHUFLW)
	VEC_ENTRIES(PSHUFHW)
	VEC_ENTRIES(SHUFPS)
	VEC_ENTRIES(SHUFPD)
	VEC_ENTRIES(PALIGNR)
	VEC_ENTRIES(MOVSLDUP)
	VEC_ENTRIES(MOVSHDUP)
	VEC_ENTRIES(MOVDDUP)
	BLENDS(VEC_ENTRIES)
	{ X86_VPBLENDD, sem_VPBLENDD },
	VARIABLE_BLENDS(VEC_ENTRIES)
	WIDENINGS(VEC_ENTRIES)
	VEC_ENTRIES(PEXTRB)
	VEC_ENTRIES(PEXTRW)
	VEC_ENTRIES(PEXTRD)
	VEC_ENTRIES(PEXTRQ)
	VEC_ENTRIES(EXTRACTPS)
	VEC_ENTRIES(PINSRB)
	VEC_ENTRIES(PINSRW)
	VEC_ENTRIES(PINSRD)
	VEC_ENTRIES(PINSRQ)
	VEC_ENTRIES(INSERTPS)
	MASKS(VEC_ENTRIES)
	VEC_ENTRIES(PTEST)
	{ X86_VTESTPS, sem_VTESTPS },
	{ X86_VTESTPD, sem_VTESTPD },
	{ 0, NULL },
};
