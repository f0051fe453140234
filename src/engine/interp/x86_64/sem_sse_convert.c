/* Conversions between integers and floating point and between its formats, SSE to F16C, with VEX forms.
 *
 * Example: `vcvtpd2ps xmm1, ymm2` converts each half to 64 bits (fp_cvtpd2ps), then the two are joined.
 */
#include "engine/interp/x86_64/fp.h"

/* ---- elements keep their size; scalars between formats ---- */
#define SAME(X) X(CVTDQ2PS, cvtdq2ps) X(CVTPS2DQ, cvtps2dq) X(CVTTPS2DQ, cvttps2dq)
#define DEFINE_SAME(OP, name) VEC_SEM(OP, fp_unary, fp_##name)
SAME(DEFINE_SAME)
VEC_SEM(CVTSS2SD, fp_binary, fp_cvtss2sd)
VEC_SEM(CVTSD2SS, fp_binary, fp_cvtsd2ss)

/* ---- to wider elements: 64 bits of the source make a half ---- */
static void widen(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn)
{
	struct vec_pair buf, source = { 0 }, d;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	source.half[0].u64[0] = b->u64[0];
	source.half[1].u64[0] = b->u64[1];
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, d.half, source.half, source.half, vec_halves(insn, 0)));
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(CVTDQ2PD, widen, fp_cvtdq2pd)
VEC_SEM(CVTPS2PD, widen, fp_cvtps2pd)
VEC_SEM(VCVTPH2PS, widen, fp_cvtph2ps)

/* ---- to narrower elements: each half of the source makes 64 bits ---- */
static void join(struct vec_pair *d, unsigned halves)
{
	d->half[0].u64[1] = halves == 2 ? d->half[1].u64[0] : 0;
}

static void narrow(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn)
{
	struct vec_pair buf, d;
	const unsigned halves = insn->vl == 32 ? 2 : 1; /* no register operand need be that wide */

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, d.half, b, b, halves));
	join(&d, halves);
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(CVTPD2PS, narrow, fp_cvtpd2ps)
VEC_SEM(CVTPD2DQ, narrow, fp_cvtpd2dq)
VEC_SEM(CVTTPD2DQ, narrow, fp_cvttpd2dq)

/* The only one that stores; imm[2] leaves the rounding to MXCSR, else imm[1:0] says it. */
static void sem_VCVTPS2PH(struct cpu *cpu, const struct x86_insn *insn)
{
	struct vec_pair d;
	const unsigned halves = vec_halves(insn, 1);
	const unsigned imm = (unsigned)insn->imm;
	uint32_t mxcsr = cpu_state(cpu)->fpu.mxcsr;

	vec_gate(cpu, insn);
	const union vec *b = vec_register(cpu, insn->operand[1].reg);
	if (!(imm & 4))
		mxcsr = (mxcsr & ~(uint32_t)MXCSR_RC) | (imm & 3) << MXCSR_RC_SHIFT;
	const uint32_t flags = fp_cvtps2ph(mxcsr, d.half, b, b, halves);
	join(&d, halves);
	if (insn->operand[0].kind == X86_OPND_MEM)
		sem_probe_store(cpu, insn->mem.seg, sem_offset(cpu, insn), 8 * halves);
	fp_report(cpu, flags);
	if (insn->operand[0].kind == X86_OPND_MEM)
		sem_write_vector(cpu, insn, 0, (const union x86_vector *)&d, SEM_UNALIGNED);
	else
		vec_write(cpu, insn, 0, d.half);
}

/* ---- to general registers ---- */
static void to_integer(struct cpu *cpu, const struct x86_insn *insn, fp_to_integer_fn *fn32, fp_to_integer_fn *fn64)
{
	struct vec_pair buf;
	uint64_t value;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	fp_report(cpu, (insn->operand[0].size == 8 ? fn64 : fn32)(cpu_state(cpu)->fpu.mxcsr, &value, b));
	cpu_state(cpu)->gpr[insn->operand[0].reg] = value;
}

#define TO_INTEGER(X)                                                                              \
	X(CVTSS2SI, cvtss2si) X(CVTSD2SI, cvtsd2si) X(CVTTSS2SI, cvttss2si) X(CVTTSD2SI, cvttsd2si)
#define DEFINE_TO_INTEGER(OP, name) VEC_SEM(OP, to_integer, fp_##name##32, fp_##name##64)
TO_INTEGER(DEFINE_TO_INTEGER)

/* ---- from general registers and memory ---- */
static void from_integer(struct cpu *cpu, const struct x86_insn *insn, fp_from_integer_fn *fn32,
			 fp_from_integer_fn *fn64)
{
	struct vec_pair d;
	const unsigned first = vec_first_source(insn);

	vec_gate(cpu, insn);
	const uint64_t value = sem_read(cpu, insn, first + 1);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	fp_from_integer_fn *fn = insn->operand[first + 1].size == 8 ? fn64 : fn32;
	fp_report(cpu, fn(cpu_state(cpu)->fpu.mxcsr, d.half, a, value));
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(CVTSI2SS, from_integer, fp_cvtsi32ss, fp_cvtsi64ss)
VEC_SEM(CVTSI2SD, from_integer, fp_cvtsi32sd, fp_cvtsi64sd)

const struct sem_entry sem_sse_convert[] = {
	SAME(VEC_ENTRIES)
	VEC_ENTRIES(CVTSS2SD)
	VEC_ENTRIES(CVTSD2SS)
	VEC_ENTRIES(CVTDQ2PD)
	VEC_ENTRIES(CVTPS2PD)
	{ X86_VCVTPH2PS, sem_VCVTPH2PS },
	VEC_ENTRIES(CVTPD2PS)
	VEC_ENTRIES(CVTPD2DQ)
	VEC_ENTRIES(CVTTPD2DQ)
	{ X86_VCVTPS2PH, sem_VCVTPS2PH },
	TO_INTEGER(VEC_ENTRIES)
	VEC_ENTRIES(CVTSI2SS)
	VEC_ENTRIES(CVTSI2SD)
	{ 0, NULL },
};
