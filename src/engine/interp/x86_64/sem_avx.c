/* AVX and AVX2 instructions without a legacy form: broadcasts, permutes, 128-bit inserts and extracts,
 * VZEROALL and VZEROUPPER. (FMA: sem_avx_fma.c; masked moves and gathers: sem_avx_memory.c; shifts by vectors,
 * VPBLENDD, VTESTPS and F16C stand with their kin.)
 *
 * Example: `vpermq ymm1, [mem], 0x1b` moves whole elements across the halves.
 */
#include "engine/interp/x86_64/vec.h"
#include <string.h>

/* ---- broadcasts: memory or the low element of a register ---- */
static void broadcast(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *a = vec_read(cpu, insn, 1, &buf);
	for (unsigned i = 0; i < sizeof(d); i += size)
		memcpy(&d.half[i / 16].u8[i % 16], a, size);
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(VPBROADCASTB, broadcast, 1)
VEC_SEM(VPBROADCASTW, broadcast, 2)
VEC_SEM(VPBROADCASTD, broadcast, 4)
VEC_SEM(VPBROADCASTQ, broadcast, 8)
VEC_SEM(VBROADCASTF128, broadcast, 16)

/* ---- 128-bit halves ---- */
static void sem_VINSERTF128(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 2, &buf);
	const union vec *a = vec_register(cpu, insn->operand[1].reg);
	for (unsigned h = 0; h < 2; h++)
		d.half[h] = (insn->imm & 1) == h ? b[0] : a[h];
	vec_write(cpu, insn, 0, d.half);
}

static void sem_VEXTRACTF128(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair d = { 0 };

	vec_gate(cpu, insn);
	d.half[0] = vec_register(cpu, insn->operand[1].reg)[insn->imm & 1];
	if (insn->operand[0].kind == X86_OPND_MEM)
		sem_write_vector(cpu, insn, 0, (const union x86_vector *)&d, SEM_UNALIGNED);
	else
		vec_write(cpu, insn, 0, d.half);
}

/* Each half by two bits (one of four halves) and one that clears. */
static void sem_VPERM2F128(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 2, &buf);
	const union vec *a = vec_register(cpu, insn->operand[1].reg);
	for (unsigned h = 0; h < 2; h++) {
		const unsigned control = (unsigned)insn->imm >> (4 * h) & 15;
		if (control & 8)
			d.half[h] = (union vec){ 0 };
		else
			d.half[h] = (control & 2 ? b : a)[control & 1];
	}
	vec_write(cpu, insn, 0, d.half);
}

/* ---- permutes within halves ---- */
static void lane_permute_ps(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 4; i++)
		d->u32[i] = a->u32[b->u32[i] & 3];
}

static void lane_permute_pd(union vec *restrict d, const union vec *a, const union vec *b)
{
	for (unsigned i = 0; i < 2; i++)
		d->u64[i] = a->u64[b->u64[i] >> 1 & 1];
}

static void lane_permute_ps_imm(union vec *restrict d, const union vec *a, unsigned imm)
{
	for (unsigned i = 0; i < 4; i++)
		d->u32[i] = a->u32[imm >> (2 * i) & 3];
}

static void lane_permute_pd_imm(union vec *restrict d, const union vec *a, unsigned imm)
{
	for (unsigned i = 0; i < 2; i++)
		d->u64[i] = a->u64[imm >> i & 1];
}

static void sem_VPERMILPS(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->operand[2].kind == X86_OPND_IMM)
		vec_unary_imm(cpu, insn, lane_permute_ps_imm, 0);
	else
		vec_binary(cpu, insn, lane_permute_ps);
}

static void sem_VPERMILPD(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->operand[2].kind == X86_OPND_IMM)
		vec_unary_imm(cpu, insn, lane_permute_pd_imm, 2);
	else
		vec_binary(cpu, insn, lane_permute_pd);
}

/* ---- permutes across the register ---- */
/* VPERMD, VPERMPS: indices first, data last. */
static void sem_VPERMD(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *data = vec_read(cpu, insn, 2, &buf);
	const union vec *index = vec_register(cpu, insn->operand[1].reg);
	for (unsigned i = 0; i < 8; i++) {
		const unsigned from = index[i / 4].u32[i % 4] & 7;
		d.half[i / 4].u32[i % 4] = data[from / 4].u32[from % 4];
	}
	vec_write(cpu, insn, 0, d.half);
}

/* VPERMQ, VPERMPD: by an immediate. */
static void sem_VPERMQ(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *data = vec_read(cpu, insn, 1, &buf);
	for (unsigned i = 0; i < 4; i++) {
		const unsigned from = (unsigned)insn->imm >> (2 * i) & 3;
		d.half[i / 2].u64[i % 2] = data[from / 2].u64[from % 2];
	}
	vec_write(cpu, insn, 0, d.half);
}

/* ---- clearing; outside of 64-bit code only the registers that exist there ---- */
static void zero(struct cpu *cpu, const struct x86_insn *insn, unsigned first_half)
{
	vec_gate(cpu, insn);
	for (unsigned reg = 0; reg < (sem_long_code(cpu) ? 16 : 8); reg++)
		for (unsigned h = first_half; h < 2; h++)
			vec_register(cpu, reg)[h] = (union vec){ 0 };
}

static void sem_VZERO(struct cpu *cpu, const struct x86_insn *insn)
{
	zero(cpu, insn, insn->op == X86_VZEROALL ? 0 : 1);
}

const struct sem_entry sem_avx[] = {
	{ X86_VPBROADCASTB, sem_VPBROADCASTB },
	{ X86_VPBROADCASTW, sem_VPBROADCASTW },
	{ X86_VPBROADCASTD, sem_VPBROADCASTD },
	{ X86_VBROADCASTSS, sem_VPBROADCASTD },
	{ X86_VPBROADCASTQ, sem_VPBROADCASTQ },
	{ X86_VBROADCASTSD, sem_VPBROADCASTQ },
	{ X86_VBROADCASTF128, sem_VBROADCASTF128 },
	{ X86_VBROADCASTI128, sem_VBROADCASTF128 },
	{ X86_VINSERTF128, sem_VINSERTF128 },
	{ X86_VINSERTI128, sem_VINSERTF128 },
	{ X86_VEXTRACTF128, sem_VEXTRACTF128 },
	{ X86_VEXTRACTI128, sem_VEXTRACTF128 },
	{ X86_VPERM2F128, sem_VPERM2F128 },
	{ X86_VPERM2I128, sem_VPERM2F128 },
	{ X86_VPERMILPS, sem_VPERMILPS },
	{ X86_VPERMILPD, sem_VPERMILPD },
	{ X86_VPERMD, sem_VPERMD },
	{ X86_VPERMPS, sem_VPERMD },
	{ X86_VPERMQ, sem_VPERMQ },
	{ X86_VPERMPD, sem_VPERMQ },
	{ X86_VZEROALL, sem_VZERO },
	{ X86_VZEROUPPER, sem_VZERO },
	{ 0, NULL },
};
