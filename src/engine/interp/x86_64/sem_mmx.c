/* MMX: 64-bit forms of packed instructions, and the instructions that only MMX registers have (SDM 1 chapter 9).
 *
 * Example: `paddb mm1, [mem]` comes here from vec_binary with lane_PADDB, which is given both operands in the low
 * halves of 128-bit ones; the low half of its result is written.
 */
#include "engine/interp/x86_64/sem_mmx.h"

#include "engine/interp/x86_64/fp.h"

#define FSW_TOP 0x3800u

/* ---- registers ---- */

/* TOP 0, all tags valid: once nothing can fault any more. */
static void transition(struct cpu *cpu)
{
	struct x86_fpu *fpu = &cpu_state(cpu)->fpu;

	fpu->fsw = (uint16_t)(fpu->fsw & ~FSW_TOP);
	fpu->ftw = 0xff;
}

static uint64_t mmx(struct cpu *cpu, const struct x86_insn *insn, unsigned opn)
{
	return cpu_state(cpu)->fpu.r[insn->operand[opn].reg & 7].mantissa;
}

static void mmx_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, uint64_t value)
{
	struct x86_float80 *r = &cpu_state(cpu)->fpu.r[insn->operand[opn].reg & 7];

	transition(cpu);
	r->mantissa = value;
	r->exponent = 0xffff;
}

/* An MMX register or memory; MMX knows no alignment. */
static uint64_t mmx_read(struct cpu *cpu, const struct x86_insn *insn, unsigned opn)
{
	return insn->operand[opn].kind == X86_OPND_MMX ? mmx(cpu, insn, opn) : sem_read(cpu, insn, opn);
}

/* ---- 64-bit forms by the functions of the 128-bit ones ---- */

/* Lays a's and b's low halves out for a lane function that depends on the width. */
static void arrange(unsigned op, union vec *a, union vec *b)
{
	switch (op) {
	/* What is made of a comes before what is made of b: both fit in one 128-bit a. */
	case X86_PACKSSWB:
	case X86_PACKUSWB:
	case X86_PACKSSDW:
	case X86_PHADDW:
	case X86_PHADDD:
	case X86_PHADDSW:
	case X86_PHSUBW:
	case X86_PHSUBD:
	case X86_PHSUBSW:
		a->u64[1] = b->u64[0];
		break;
	/* The upper elements are where the 128-bit form looks for them. */
	case X86_PUNPCKHBW:
	case X86_PUNPCKHWD:
	case X86_PUNPCKHDQ:
		a->u64[1] = a->u64[0] >> 32;
		b->u64[1] = b->u64[0] >> 32;
		break;
	/* Eight bytes to choose from. */
	case X86_PSHUFB:
		b->u64[0] &= 0x8787878787878787ull;
		break;
	/* a:b is 128 bits long, zeros above. */
	case X86_PALIGNR:
		b->u64[1] = a->u64[0];
		a->u64[0] = 0;
		break;
	default:
		break;
	}
}

void sem_mmx_unary(struct cpu *cpu, const struct x86_insn *insn, vec_unary_fn *fn)
{
	union vec a = { 0 }, d;

	sem_check_mmx(cpu);
	a.u64[0] = mmx_read(cpu, insn, 1);
	fn(&d, &a);
	mmx_write(cpu, insn, 0, d.u64[0]);
}

void sem_mmx_binary(struct cpu *cpu, const struct x86_insn *insn, vec_binary_fn *fn)
{
	union vec a = { 0 }, b = { 0 }, d;

	sem_check_mmx(cpu);
	b.u64[0] = mmx_read(cpu, insn, 1);
	a.u64[0] = mmx(cpu, insn, 0);
	arrange(insn->op, &a, &b);
	fn(&d, &a, &b);
	mmx_write(cpu, insn, 0, d.u64[0]);
}

void sem_mmx_binary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_binary_imm_fn *fn)
{
	union vec a = { 0 }, b = { 0 }, d;

	sem_check_mmx(cpu);
	b.u64[0] = mmx_read(cpu, insn, 1);
	a.u64[0] = mmx(cpu, insn, 0);
	arrange(insn->op, &a, &b);
	fn(&d, &a, &b, (uint8_t)insn->imm);
	mmx_write(cpu, insn, 0, d.u64[0]);
}

void sem_mmx_shift(struct cpu *cpu, const struct x86_insn *insn, vec_shift_fn *fn)
{
	union vec a = { 0 }, d;
	uint64_t count = (uint8_t)insn->imm;

	sem_check_mmx(cpu);
	if (insn->operand[1].kind != X86_OPND_IMM)
		count = mmx_read(cpu, insn, 1);
	a.u64[0] = mmx(cpu, insn, 0);
	fn(&d, &a, count);
	mmx_write(cpu, insn, 0, d.u64[0]);
}

/* ---- moves ---- */

static void move(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_check_mmx(cpu);
	if (insn->operand[0].kind == X86_OPND_MMX) {
		mmx_write(cpu, insn, 0, mmx_read(cpu, insn, 1));
		return;
	}
	sem_write(cpu, insn, 0, mmx(cpu, insn, 1));
	transition(cpu);
}

static void insert_word(struct cpu *cpu, const struct x86_insn *insn)
{
	const unsigned shift = 16 * (insn->imm & 3);

	sem_check_mmx(cpu);
	const uint64_t value = sem_read(cpu, insn, 1) & 0xffff;
	mmx_write(cpu, insn, 0, (mmx(cpu, insn, 0) & ~(0xffffull << shift)) | value << shift);
}

static void extract_word(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_check_mmx(cpu);
	cpu_state(cpu)->gpr[insn->operand[0].reg] = mmx(cpu, insn, 1) >> 16 * (insn->imm & 3) & 0xffff;
	transition(cpu);
}

static void byte_mask(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t mask = 0;

	sem_check_mmx(cpu);
	for (unsigned i = 0; i < 8; i++)
		mask |= (mmx(cpu, insn, 1) >> (8 * i + 7) & 1) << i;
	cpu_state(cpu)->gpr[insn->operand[0].reg] = mask;
	transition(cpu);
}

void sem_mmx_dispatch(struct cpu *cpu, const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_MOVD:
	case X86_MOVQ:
		move(cpu, insn);
		break;
	case X86_PINSRW:
		insert_word(cpu, insn);
		break;
	case X86_PEXTRW:
		extract_word(cpu, insn);
		break;
	case X86_PMOVMSKB:
		byte_mask(cpu, insn);
		break;
	default:
		raise_exception(cpu, X86_EXC_UD);
	}
}

/* ---- instructions without XMM form ---- */

static void sem_EMMS(struct cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	sem_check_mmx(cpu);
	transition(cpu);
	cpu_state(cpu)->fpu.ftw = 0;
}

static void sem_PSHUFW(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t d = 0;

	sem_check_mmx(cpu);
	const uint64_t a = mmx_read(cpu, insn, 1);
	for (unsigned i = 0; i < 4; i++)
		d |= (a >> 16 * (insn->imm >> 2 * i & 3) & 0xffff) << 16 * i;
	mmx_write(cpu, insn, 0, d);
}

/* As MASKMOVDQU: the whole range is looked at first. */
static void sem_MASKMOVQ(struct cpu *cpu, const struct x86_insn *insn)
{
	const uint64_t limit = insn->addrsize == 8 ? ~0ull : (1ull << (8 * insn->addrsize)) - 1;

	sem_check_mmx(cpu);
	const uint64_t data = mmx(cpu, insn, 0), mask = mmx(cpu, insn, 1);
	const uint64_t start = cpu_state(cpu)->gpr[X86_RDI];
	sem_probe_store(cpu, insn->mem.seg, start & limit, 8);
	for (unsigned i = 0; i < 8; i++)
		if (mask >> (8 * i + 7) & 1)
			sem_store_int(cpu, insn->mem.seg, (start + i) & limit, 1, data >> 8 * i & 0xff);
	transition(cpu);
}

/* ---- between the register files ---- */

static void sem_MOVQ2DQ(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_check_sse(cpu);
	sem_check_mmx(cpu);
	union vec *d = vec_register(cpu, insn->operand[0].reg);
	d->u64[0] = mmx(cpu, insn, 1);
	d->u64[1] = 0;
	transition(cpu);
}

static void sem_MOVDQ2Q(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_check_sse(cpu);
	sem_check_mmx(cpu);
	mmx_write(cpu, insn, 0, vec_register(cpu, insn->operand[1].reg)->u64[0]);
}

/* Two integers to floating point; bytes of the XMM register that are not written stay. */
static void from_integers(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn, unsigned size)
{
	union vec b = { 0 }, d;
	const bool memory = insn->operand[1].kind == X86_OPND_MEM;

	sem_check_sse(cpu);
	/* From memory the x87 state is left alone: SDM 2 says so of CVTPI2PD, AMD's processors do it with both. */
	if (!memory)
		sem_check_mmx(cpu);
	b.u64[0] = mmx_read(cpu, insn, 1);
	/* Before #XM, as processors do it. */
	if (!memory)
		transition(cpu);
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, &d, &b, &b, 1));
	__builtin_memcpy(vec_register(cpu, insn->operand[0].reg), &d, size);
}
VEC_SEM(CVTPI2PS, from_integers, fp_cvtdq2ps, 8)
VEC_SEM(CVTPI2PD, from_integers, fp_cvtdq2pd, 16)

static void to_integers(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn, unsigned size)
{
	struct vec_pair buf;
	union vec b = { 0 }, d;

	sem_check_sse(cpu);
	sem_check_mmx(cpu);
	__builtin_memcpy(&b, vec_read(cpu, insn, 1, &buf), size);
	transition(cpu);
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, &d, &b, &b, 1));
	mmx_write(cpu, insn, 0, d.u64[0]);
}
VEC_SEM(CVTPS2PI, to_integers, fp_cvtps2dq, 8)
VEC_SEM(CVTTPS2PI, to_integers, fp_cvttps2dq, 8)
VEC_SEM(CVTPD2PI, to_integers, fp_cvtpd2dq, 16)
VEC_SEM(CVTTPD2PI, to_integers, fp_cvttpd2dq, 16)

const struct sem_entry sem_mmx[] = {
	{ X86_EMMS, sem_EMMS },
	{ X86_PSHUFW, sem_PSHUFW },
	{ X86_MASKMOVQ, sem_MASKMOVQ },
	{ X86_MOVNTQ, move },
	{ X86_MOVQ2DQ, sem_MOVQ2DQ },
	{ X86_MOVDQ2Q, sem_MOVDQ2Q },
	{ X86_CVTPI2PS, sem_CVTPI2PS },
	{ X86_CVTPI2PD, sem_CVTPI2PD },
	{ X86_CVTPS2PI, sem_CVTPS2PI },
	{ X86_CVTTPS2PI, sem_CVTTPS2PI },
	{ X86_CVTPD2PI, sem_CVTPD2PI },
	{ X86_CVTTPD2PI, sem_CVTTPD2PI },
	{ 0, NULL },
};
