/* What floating-point instructions share: reporting exceptions, operand shapes, comparison. See fp.h. */
#include "engine/interp/x86_64/fp.h"

static uint32_t unmasked(uint32_t mxcsr)
{
	return ~(mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS;
}

uint32_t fp_visible(uint32_t mxcsr, uint32_t flags)
{
	return flags & unmasked(mxcsr) & MXCSR_PRECOMPUTATION ? flags & MXCSR_PRECOMPUTATION : flags;
}

void fp_report_visible(struct cpu *cpu, uint32_t flags)
{
	const uint32_t mxcsr = cpu->s.fpu.mxcsr;

	if (unlikely(flags & (~mxcsr | unmasked(mxcsr))))
		sem_mxcsr_flags(cpu, flags);
}

void fp_report(struct cpu *cpu, uint32_t flags)
{
	fp_report_visible(cpu, fp_visible(cpu->s.fpu.mxcsr, flags));
}

void fp_binary(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn);

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	fp_report(cpu, fn(cpu->s.fpu.mxcsr, d.half, a, b, vec_halves(insn, 0)));
	vec_write(cpu, insn, 0, d.half);
}

void fp_unary(struct cpu *cpu, const struct x86_insn *insn, fp_fn *fn)
{
	struct vec_pair buf, d;

	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, 1, &buf);
	fp_report(cpu, fn(cpu->s.fpu.mxcsr, d.half, b, b, vec_halves(insn, 0)));
	vec_write(cpu, insn, 0, d.half);
}

/* `infinity` is the format's, which also says where exponent and fraction part. */
static inline enum fp_order compare(uint32_t mxcsr, uint64_t a, uint64_t b, uint64_t sign, uint64_t infinity,
				    bool signaling, uint32_t *flags)
{
	const uint64_t a_size = a & ~sign, b_size = b & ~sign;
	const uint64_t least_normal = infinity & (~infinity + 1), quiet = least_normal >> 1;

	if (a_size > infinity || b_size > infinity) {
		if (signaling || (a_size > infinity && !(a & quiet)) || (b_size > infinity && !(b & quiet)))
			*flags |= MXCSR_IE;
		return FP_UNORDERED;
	}
	/* Zero minus one is large: neither zeros nor normal numbers pass. */
	if (a_size - 1 < least_normal - 1 || b_size - 1 < least_normal - 1) {
		if (!(mxcsr & MXCSR_DAZ))
			*flags |= MXCSR_DE;
		else {
			if (a_size < least_normal)
				a &= sign;
			if (b_size < least_normal)
				b &= sign;
		}
	}
	if (a == b || ((a | b) & ~sign) == 0)
		return FP_EQUAL;
	if ((a ^ b) & sign)
		return a & sign ? FP_LESS : FP_GREATER;
	return (a < b) == !(a & sign) ? FP_LESS : FP_GREATER;
}

enum fp_order fp_compare32(uint32_t mxcsr, uint32_t a, uint32_t b, bool signaling, uint32_t *flags)
{
	return compare(mxcsr, a, b, 1u << 31, 0x7f800000, signaling, flags);
}

enum fp_order fp_compare64(uint32_t mxcsr, uint64_t a, uint64_t b, bool signaling, uint32_t *flags)
{
	return compare(mxcsr, a, b, 1ull << 63, 0x7ff0000000000000, signaling, flags);
}
