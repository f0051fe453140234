/* Floating-point arithmetic and comparison of SSE to SSE4.1 with their VEX forms (SDM 2: ADDPS, CMPPS, ...).
 *
 * Example: `addps xmm1, xmm2` and `vaddps ymm1, ymm2, ymm3` are fp_binary(cpu, insn, fp_addps): one run of
 * the host's unit over all elements.
 */
#include "engine/interp/x86_64/fp.h"

/* ---- op dst, src2 and scalars, which take what they do not write from the first source ---- */
#define BINARY(X)                                                                                  \
	X(ADDPS, addps) X(ADDPD, addpd) X(ADDSS, addss) X(ADDSD, addsd)                            \
	X(SUBPS, subps) X(SUBPD, subpd) X(SUBSS, subss) X(SUBSD, subsd)                            \
	X(MULPS, mulps) X(MULPD, mulpd) X(MULSS, mulss) X(MULSD, mulsd)                            \
	X(DIVPS, divps) X(DIVPD, divpd) X(DIVSS, divss) X(DIVSD, divsd)                            \
	X(MINPS, minps) X(MINPD, minpd) X(MINSS, minss) X(MINSD, minsd)                            \
	X(MAXPS, maxps) X(MAXPD, maxpd) X(MAXSS, maxss) X(MAXSD, maxsd)                            \
	X(SQRTSS, sqrtss) X(SQRTSD, sqrtsd) X(RCPSS, rcpss) X(RSQRTSS, rsqrtss)
#define DEFINE_BINARY(OP, name) VEC_SEM(OP, fp_binary, fp_##name)
BINARY(DEFINE_BINARY)

#define UNARY(X) X(SQRTPS, sqrtps) X(SQRTPD, sqrtpd) X(RCPPS, rcpps) X(RSQRTPS, rsqrtps)
#define DEFINE_UNARY(OP, name) VEC_SEM(OP, fp_unary, fp_##name)
UNARY(DEFINE_UNARY)

/* ---- made of additions ---- */
#define MAGNITUDE32 0x7fffffffu
#define INFINITY32  0x7f800000u
#define MAGNITUDE64 0x7fffffffffffffffull
#define INFINITY64  0x7ff0000000000000ull

/* a - b is a + (-b), but a NaN goes through with the sign it has. */
static uint32_t negate32(uint32_t a)
{
	return (a & MAGNITUDE32) > INFINITY32 ? a : a ^ ~MAGNITUDE32;
}

static uint64_t negate64(uint64_t a)
{
	return (a & MAGNITUDE64) > INFINITY64 ? a : a ^ ~MAGNITUDE64;
}

static uint32_t addsubps(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves)
{
	struct vec_pair t;

	for (unsigned h = 0; h < halves; h++)
		for (unsigned i = 0; i < 4; i++)
			t.half[h].u32[i] = i & 1 ? b[h].u32[i] : negate32(b[h].u32[i]);
	return fp_addps(mxcsr, d, a, t.half, halves);
}

static uint32_t addsubpd(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves)
{
	struct vec_pair t;

	for (unsigned h = 0; h < halves; h++) {
		t.half[h].u64[0] = negate64(b[h].u64[0]);
		t.half[h].u64[1] = b[h].u64[1];
	}
	return fp_addpd(mxcsr, d, a, t.half, halves);
}

/* Even elements of a and b against odd ones. */
static uint32_t horizontal_ps(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b,
			      unsigned halves, fp_fn *fn)
{
	struct vec_pair even, odd;

	for (unsigned h = 0; h < halves; h++)
		for (unsigned i = 0; i < 4; i++) {
			const union vec *v = i < 2 ? &a[h] : &b[h];
			even.half[h].u32[i] = v->u32[2 * (i & 1)];
			odd.half[h].u32[i] = v->u32[2 * (i & 1) + 1];
		}
	return fn(mxcsr, d, even.half, odd.half, halves);
}

static uint32_t horizontal_pd(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b,
			      unsigned halves, fp_fn *fn)
{
	struct vec_pair even, odd;

	for (unsigned h = 0; h < halves; h++)
		for (unsigned i = 0; i < 2; i++) {
			even.half[h].u64[i] = (i ? b : a)[h].u64[0];
			odd.half[h].u64[i] = (i ? b : a)[h].u64[1];
		}
	return fn(mxcsr, d, even.half, odd.half, halves);
}

#define HORIZONTAL(X)                                                                              \
	X(HADDPS, ps, add)                                                                         \
	X(HADDPD, pd, add)                                                                         \
	X(HSUBPS, ps, sub)                                                                         \
	X(HSUBPD, pd, sub)
#define DEFINE_HORIZONTAL(OP, type, op)                                                            \
	static uint32_t h##op##type(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
				    unsigned halves)                                               \
	{                                                                                          \
		return horizontal_##type(mxcsr, d, a, b, halves, fp_##op##type);                   \
	}                                                                                          \
	VEC_SEM(OP, fp_binary, h##op##type)
HORIZONTAL(DEFINE_HORIZONTAL)
VEC_SEM(ADDSUBPS, fp_binary, addsubps)
VEC_SEM(ADDSUBPD, fp_binary, addsubpd)

/* ---- instructions with an immediate; the functions return visible flags ---- */
typedef uint32_t fp_imm_fn(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b,
			   unsigned halves, unsigned imm);

/* op dst, src2, imm8  or  vop dst, src1, src2, imm8; with `unary` op dst, src, imm8 in both encodings. */
static void binary_imm(struct cpu *cpu, const struct x86_insn *insn, fp_imm_fn *fn, bool unary)
{
	struct vec_pair buf, d;
	const unsigned first = unary ? 0 : vec_first_source(insn);

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = unary ? b : vec_register(cpu, insn->operand[first].reg);
	fp_report_visible(cpu, fn(cpu_state(cpu)->fpu.mxcsr, d.half, a, b, vec_halves(insn, 0), (uint8_t)insn->imm));
	vec_write(cpu, insn, 0, d.half);
}

/* ROUNDPS: imm[2] leaves the rounding to MXCSR, else imm[1:0] says it; imm[3] keeps PE from being flagged. */
static uint32_t round_by(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b,
			 unsigned halves, unsigned imm, fp_fn *fn)
{
	if (!(imm & 4))
		mxcsr = (mxcsr & ~(uint32_t)MXCSR_RC) | (imm & 3) << MXCSR_RC_SHIFT;
	const uint32_t flags = fn(mxcsr, d, a, b, halves);
	return fp_visible(mxcsr, imm & 8 ? flags & ~(uint32_t)MXCSR_PE : flags);
}

#define ROUNDS(X)                                                                                  \
	X(ROUNDPS, roundps, true) X(ROUNDPD, roundpd, true) X(ROUNDSS, roundss, false) X(ROUNDSD, roundsd, false)
#define DEFINE_ROUND(OP, name, unary)                                                              \
	static uint32_t name##_by(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, \
				  unsigned halves, unsigned imm)                                   \
	{                                                                                          \
		return round_by(mxcsr, d, a, b, halves, imm, fp_##name);                           \
	}                                                                                          \
	VEC_SEM(OP, binary_imm, name##_by, unary)
ROUNDS(DEFINE_ROUND)

/* Dot products: imm[7:4] chooses the elements that are multiplied, imm[3:0] those that get the sum. What is not
 * multiplied is +0. An unmasked exception of a step ends the instruction; the flags of the steps before stay. */
static bool stops(uint32_t mxcsr, uint32_t flags)
{
	return (flags & ~(mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS) != 0;
}

static uint32_t dpps(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves,
		     unsigned imm)
{
	struct vec_pair x = { 0 }, y = { 0 }, even, odd;
	uint32_t flags;

	for (unsigned h = 0; h < halves; h++)
		for (unsigned i = 0; i < 4; i++) {
			const uint32_t chosen = imm >> (4 + i) & 1 ? ~0u : 0;
			x.half[h].u32[i] = a[h].u32[i] & chosen;
			y.half[h].u32[i] = b[h].u32[i] & chosen;
		}
	flags = fp_visible(mxcsr, fp_mulps(mxcsr, d, x.half, y.half, halves));
	if (stops(mxcsr, flags))
		return flags;
	/* (0 + 1) and (2 + 3), then their sum. The other two elements of each operand are +0. */
	for (unsigned h = 0; h < halves; h++) {
		even.half[h] = (union vec){ .u32 = { d[h].u32[0], d[h].u32[2] } };
		odd.half[h] = (union vec){ .u32 = { d[h].u32[1], d[h].u32[3] } };
	}
	flags |= fp_visible(mxcsr, fp_addps(mxcsr, d, even.half, odd.half, halves));
	if (stops(mxcsr, flags))
		return flags;
	for (unsigned h = 0; h < halves; h++) {
		even.half[h] = (union vec){ .u32 = { d[h].u32[0] } };
		odd.half[h] = (union vec){ .u32 = { d[h].u32[1] } };
	}
	flags |= fp_visible(mxcsr, fp_addps(mxcsr, d, even.half, odd.half, halves));
	for (unsigned h = 0; h < halves; h++) {
		const uint32_t sum = d[h].u32[0];
		for (unsigned i = 0; i < 4; i++)
			d[h].u32[i] = imm >> i & 1 ? sum : 0;
	}
	return flags;
}

static uint32_t dppd(uint32_t mxcsr, union vec *restrict d, const union vec *a, const union vec *b, unsigned halves,
		     unsigned imm)
{
	union vec x, y;
	uint32_t flags;

	for (unsigned i = 0; i < 2; i++) {
		const uint64_t chosen = imm >> (4 + i) & 1 ? ~0ull : 0;
		x.u64[i] = a->u64[i] & chosen;
		y.u64[i] = b->u64[i] & chosen;
	}
	flags = fp_visible(mxcsr, fp_mulpd(mxcsr, d, &x, &y, 1));
	if (stops(mxcsr, flags))
		return flags;
	x = (union vec){ .u64 = { d->u64[0] } };
	y = (union vec){ .u64 = { d->u64[1] } };
	flags |= fp_visible(mxcsr, fp_addpd(mxcsr, d, &x, &y, 1));
	const uint64_t sum = d->u64[0];
	for (unsigned i = 0; i < 2; i++)
		d->u64[i] = imm >> i & 1 ? sum : 0;
	return flags;
}
VEC_SEM(DPPS, binary_imm, dpps, false)
VEC_SEM(DPPD, binary_imm, dppd, false)

/* ---- comparisons ---- */
/* SDM 2A table 3-1: which orders make the predicate true, and whether quiet NaNs are invalid. The second sixteen
 * are the first with that reversed. */
static const struct predicate {
	uint8_t true_for;
	bool signaling;
} predicates[16] = {
	{ FP_EQUAL, false },                             /* EQ_OQ */
	{ FP_LESS, true },                               /* LT_OS */
	{ FP_LESS | FP_EQUAL, true },                    /* LE_OS */
	{ FP_UNORDERED, false },                         /* UNORD_Q */
	{ FP_LESS | FP_GREATER | FP_UNORDERED, false },  /* NEQ_UQ */
	{ FP_EQUAL | FP_GREATER | FP_UNORDERED, true },  /* NLT_US */
	{ FP_GREATER | FP_UNORDERED, true },             /* NLE_US */
	{ FP_LESS | FP_EQUAL | FP_GREATER, false },      /* ORD_Q */
	{ FP_EQUAL | FP_UNORDERED, false },              /* EQ_UQ */
	{ FP_LESS | FP_UNORDERED, true },                /* NGE_US */
	{ FP_LESS | FP_EQUAL | FP_UNORDERED, true },     /* NGT_US */
	{ 0, false },                                    /* FALSE_OQ */
	{ FP_LESS | FP_GREATER, false },                 /* NEQ_OQ */
	{ FP_EQUAL | FP_GREATER, true },                 /* GE_OS */
	{ FP_GREATER, true },                            /* GT_OS */
	{ FP_LESS | FP_EQUAL | FP_GREATER | FP_UNORDERED, false }, /* TRUE_UQ */
};

static void compare(struct cpu *cpu, const struct x86_insn *insn, unsigned size, bool scalar)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn);
	/* Legacy encodings know the first eight. */
	const unsigned imm = (unsigned)insn->imm & (vec_is_vex(insn) ? 31 : 7);
	const struct predicate *p = &predicates[imm & 15];
	const bool signaling = p->signaling != (imm > 15);
	const uint32_t mxcsr = cpu_state(cpu)->fpu.mxcsr;
	uint32_t flags = 0;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++) {
		d.half[h] = a[h];
		for (unsigned i = 0; i < (scalar ? 1 : 16 / size); i++)
			if (size == 4)
				d.half[h].u32[i] = fp_compare32(mxcsr, a[h].u32[i], b[h].u32[i], signaling, &flags) &
								   p->true_for ?
							   ~0u :
							   0;
			else
				d.half[h].u64[i] = fp_compare64(mxcsr, a[h].u64[i], b[h].u64[i], signaling, &flags) &
								   p->true_for ?
							   ~0ull :
							   0;
	}
	fp_report(cpu, flags);
	vec_write(cpu, insn, 0, d.half);
}
VEC_SEM(CMPPS, compare, 4, false)
VEC_SEM(CMPPD, compare, 8, false)
VEC_SEM(CMPSS, compare, 4, true)
VEC_SEM(CMPSD, compare, 8, true)

/* COMISS, UCOMISS: into ZF, PF, CF. */
static void compare_flags(struct cpu *cpu, const struct x86_insn *insn, unsigned size, bool signaling)
{
	struct vec_pair buf;
	uint32_t flags = 0, status = 0;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[0].reg);
	const uint32_t mxcsr = cpu_state(cpu)->fpu.mxcsr;
	const enum fp_order order = size == 4 ? fp_compare32(mxcsr, a->u32[0], b->u32[0], signaling, &flags)
					      : fp_compare64(mxcsr, a->u64[0], b->u64[0], signaling, &flags);
	fp_report(cpu, flags);
	if (order & (FP_EQUAL | FP_UNORDERED))
		status |= X86_FLAG_ZF;
	if (order & (FP_LESS | FP_UNORDERED))
		status |= X86_FLAG_CF;
	if (order & FP_UNORDERED)
		status |= X86_FLAG_PF;
	sem_set_flags(cpu, X86_FLAGS_STATUS, status);
}
VEC_SEM(COMISS, compare_flags, 4, true)
VEC_SEM(COMISD, compare_flags, 8, true)
VEC_SEM(UCOMISS, compare_flags, 4, false)
VEC_SEM(UCOMISD, compare_flags, 8, false)

const struct sem_entry sem_sse_fp[] = {
	BINARY(VEC_ENTRIES)
	UNARY(VEC_ENTRIES)
	HORIZONTAL(VEC_ENTRIES)
	VEC_ENTRIES(ADDSUBPS)
	VEC_ENTRIES(ADDSUBPD)
	ROUNDS(VEC_ENTRIES)
	VEC_ENTRIES(DPPS)
	VEC_ENTRIES(DPPD)
	VEC_ENTRIES(CMPPS)
	VEC_ENTRIES(CMPPD)
	VEC_ENTRIES(CMPSS)
	VEC_ENTRIES(CMPSD)
	VEC_ENTRIES(COMISS)
	VEC_ENTRIES(COMISD)
	VEC_ENTRIES(UCOMISS)
	VEC_ENTRIES(UCOMISD)
	{ 0, NULL },
};
