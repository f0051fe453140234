/* Moves between vector registers, memory and general registers, non-temporal stores and loads, MASKMOVDQU,
 * MXCSR, with their VEX forms.
 *
 * Example: `movaps [mem], xmm1` needs 16-byte alignment; `vmovups ymm1, [mem]` needs none.
 */
#include "engine/interp/x86_64/sem_mmx.h"
#include "engine/interp/x86_64/vec.h"

/* ---- whole registers ---- */
static void move(struct cpu *cpu, const struct x86_insn *insn, enum sem_alignment alignment)
{
	struct vec_pair buf;

	vec_gate(cpu, insn);
	const union vec *a = vec_read_as(cpu, insn, 1, &buf, alignment);
	if (insn->operand[0].kind == X86_OPND_MEM)
		sem_write_vector(cpu, insn, 0, (const union x86_vector *)a, alignment);
	else
		vec_write(cpu, insn, 0, a);
}

static void sem_move_aligned(struct cpu *cpu, const struct x86_insn *insn)
{
	move(cpu, insn, SEM_ALIGNED);
}

static void sem_move_unaligned(struct cpu *cpu, const struct x86_insn *insn)
{
	move(cpu, insn, SEM_UNALIGNED);
}

/* ---- one element at the low end ---- */
/* MOVD, MOVQ: to a vector register, zero-extended; or from one. */
static void move_low(struct cpu *cpu, const struct x86_insn *insn, unsigned vector_size)
{
	struct vec_pair d = { 0 };
	const struct x86_operand *to = &insn->operand[0], *from = &insn->operand[1];

	if (vec_is_mmx(insn)) {
		sem_mmx_dispatch(cpu, insn);
		return;
	}
	vec_gate(cpu, insn);
	if (to->kind == X86_OPND_XMM && from->kind == X86_OPND_XMM) {
		d.half[0].u64[0] = vec_register(cpu, from->reg)->u64[0];
		vec_write(cpu, insn, 0, d.half);
	} else if (to->kind == X86_OPND_XMM) {
		d.half[0].u64[0] = sem_read(cpu, insn, 1);
		vec_write(cpu, insn, 0, d.half);
	} else {
		sem_write(cpu, insn, 0, vec_register(cpu, from->reg)->u64[0] & (~0ull >> (64 - 8 * vector_size)));
	}
}

static void sem_MOVD(struct cpu *cpu, const struct x86_insn *insn)
{
	move_low(cpu, insn, insn->operand[0].kind == X86_OPND_XMM ? 4 : insn->operand[0].size);
}

static void sem_MOVQ(struct cpu *cpu, const struct x86_insn *insn)
{
	move_low(cpu, insn, 8);
}

/* MOVSS, MOVSD: a load clears the rest, register forms keep it (of the first source). */
static void move_scalar(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	struct vec_pair d = { 0 };

	vec_gate(cpu, insn);
	if (insn->operand[0].kind == X86_OPND_MEM) {
		sem_store_int(cpu, insn->mem.seg, sem_offset(cpu, insn), size,
			      vec_register(cpu, insn->operand[1].reg)->u64[0]);
		return;
	}
	if (insn->operand[1].kind == X86_OPND_MEM) {
		d.half[0].u64[0] = sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), size);
	} else {
		const unsigned first = vec_first_source(insn);
		const union vec *low = vec_register(cpu, insn->operand[first + 1].reg);
		d.half[0] = *vec_register(cpu, insn->operand[first].reg);
		if (size == 4)
			d.half[0].u32[0] = low->u32[0];
		else
			d.half[0].u64[0] = low->u64[0];
	}
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(MOVSS, move_scalar, 4)
VEC_SEM(MOVSD, move_scalar, 8)

/* MOVLPS and MOVHPS and their like: 64 bits of memory to or from one half; the other is the first source's. */
static void move_half(struct cpu *cpu, const struct x86_insn *insn, unsigned half)
{
	struct vec_pair d = { 0 };

	vec_gate(cpu, insn);
	if (insn->operand[0].kind == X86_OPND_MEM) {
		sem_store_int(cpu, insn->mem.seg, sem_offset(cpu, insn), 8,
			      vec_register(cpu, insn->operand[1].reg)->u64[half]);
		return;
	}
	const uint64_t value = sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), 8);
	d.half[0] = *vec_register(cpu, insn->operand[vec_first_source(insn)].reg);
	d.half[0].u64[half] = value;
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(MOVLPS, move_half, 0)
VEC_SEM(MOVLPD, move_half, 0)
VEC_SEM(MOVHPS, move_half, 1)
VEC_SEM(MOVHPD, move_half, 1)

static void lane_MOVHLPS(union vec *restrict d, const union vec *a, const union vec *b)
{
	d->u64[0] = b->u64[1];
	d->u64[1] = a->u64[1];
}

static void lane_MOVLHPS(union vec *restrict d, const union vec *a, const union vec *b)
{
	d->u64[0] = a->u64[0];
	d->u64[1] = b->u64[0];
}
VEC_SEM(MOVHLPS, vec_binary, lane_MOVHLPS)
VEC_SEM(MOVLHPS, vec_binary, lane_MOVLHPS)

/* ---- MOVNTI: a plain store of a general register; no SSE state is involved, so no gate ---- */
static void sem_MOVNTI(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, sem_read(cpu, insn, 1));
}

/* ---- MASKMOVDQU: the bytes whose mask byte is negative, to seg:rDI. Whether bytes that are not stored can fault is
 * the processor's choice (SDM 2, MASKMOVDQU); here they do, as on those we compared with. ---- */
static void sem_MASKMOVDQU(struct cpu *cpu, const struct x86_insn *insn)
{
	const uint64_t limit = insn->addrsize == 8 ? ~0ull : (1ull << (8 * insn->addrsize)) - 1;

	vec_gate(cpu, insn);
	const union vec *data = vec_register(cpu, insn->operand[0].reg);
	const union vec *mask = vec_register(cpu, insn->operand[1].reg);
	const uint64_t start = cpu_state(cpu)->gpr[X86_RDI];
	sem_probe_store(cpu, insn->mem.seg, start & limit, 16);
	for (unsigned i = 0; i < 16; i++)
		if (mask->s8[i] < 0)
			sem_store_int(cpu, insn->mem.seg, (start + i) & limit, 1, data->u8[i]);
}

/* ---- MXCSR ---- */
#define MXCSR_RESERVED 0xffff0000u

static void sem_LDMXCSR(struct cpu *cpu, const struct x86_insn *insn)
{
	vec_gate(cpu, insn);
	const uint32_t value = (uint32_t)sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), 4);
	if (value & MXCSR_RESERVED)
		raise_error(cpu, X86_EXC_GP, 0);
	cpu_state(cpu)->fpu.mxcsr = value;
}

static void sem_STMXCSR(struct cpu *cpu, const struct x86_insn *insn)
{
	vec_gate(cpu, insn);
	sem_store_int(cpu, insn->mem.seg, sem_offset(cpu, insn), 4, cpu_state(cpu)->fpu.mxcsr);
}

#define ALIGNED_MOVES(X) X(MOVAPS) X(MOVAPD) X(MOVDQA) X(MOVNTPS) X(MOVNTPD) X(MOVNTDQ) X(MOVNTDQA)
#define UNALIGNED_MOVES(X) X(MOVUPS) X(MOVUPD) X(MOVDQU) X(LDDQU)
#define ALIGNED_ENTRIES(OP) { X86_##OP, sem_move_aligned }, { X86_V##OP, sem_move_aligned },
#define UNALIGNED_ENTRIES(OP) { X86_##OP, sem_move_unaligned }, { X86_V##OP, sem_move_unaligned },

const struct sem_entry sem_sse_move[] = {
	ALIGNED_MOVES(ALIGNED_ENTRIES)
	UNALIGNED_MOVES(UNALIGNED_ENTRIES)
	VEC_ENTRIES(MOVD)
	VEC_ENTRIES(MOVQ)
	VEC_ENTRIES(MOVSS)
	VEC_ENTRIES(MOVSD)
	VEC_ENTRIES(MOVLPS)
	VEC_ENTRIES(MOVLPD)
	VEC_ENTRIES(MOVHPS)
	VEC_ENTRIES(MOVHPD)
	VEC_ENTRIES(MOVHLPS)
	VEC_ENTRIES(MOVLHPS)
	{ X86_MOVNTI, sem_MOVNTI },
	VEC_ENTRIES(MASKMOVDQU)
	VEC_ENTRIES(LDMXCSR)
	VEC_ENTRIES(STMXCSR)
	{ 0, NULL },
};
