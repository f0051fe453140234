/* What the semantics of floating-point instructions share: operands, and FPCR and FPSR around arch/aarch64/fp.h.
 *
 *     struct a64_fp fp = fp_begin(&cpu->s);
 *     const uint64_t sum = a64_fp_add(&fp, size, fp_read(&cpu->s, size, a64_rn(insn)), ...);
 *     fp_end(&cpu->s, &fp);
 *     fp_write(&cpu->s, a64_rd(insn), sum);
 */
#ifndef ENGINE_INTERP_AARCH64_SEM_FP_H
#define ENGINE_INTERP_AARCH64_SEM_FP_H

#include "arch/aarch64/fp.h"
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static inline struct a64_fp fp_begin(const struct a64_state *s)
{
	return (struct a64_fp){.fpcr = s->fpcr, .fpsr = s->fpsr};
}

static inline void fp_end(struct a64_state *s, const struct a64_fp *fp)
{
	if (unlikely(s->fpsr != fp->fpsr)) /* a store would be waited for by the next instruction's load */
		s->fpsr = fp->fpsr;
}

/* ptype of scalar forms: 00 single, 01 double, 11 half. */
static inline unsigned fp_size(uint32_t insn)
{
	return 0x1032u >> (a64_bits(insn, 22, 2) * 4) & 3;
}

/* Element i of a vector; size is log2 of an element's bytes. */
static inline uint64_t fp_lane(const union a64_vreg *v, unsigned size, unsigned i)
{
	switch (size) {
	case 0: return v->b[i];
	case 1: return v->h[i];
	case 2: return v->s[i];
	default: return v->d[i];
	}
}

static inline void fp_set_lane(union a64_vreg *v, unsigned size, unsigned i, uint64_t value)
{
	switch (size) {
	case 0: v->b[i] = (uint8_t)value; break;
	case 1: v->h[i] = (uint16_t)value; break;
	case 2: v->s[i] = (uint32_t)value; break;
	default: v->d[i] = value; break;
	}
}

static inline uint64_t fp_read(const struct a64_state *s, unsigned size, unsigned n)
{
	return fp_lane(&s->v[n], size, 0);
}

/* A scalar result, zero-extended; the rest of the register becomes zero. */
static inline void fp_write(struct a64_state *s, unsigned n, uint64_t value)
{
	s->v[n].d[0] = value;
	s->v[n].d[1] = 0;
}

/* VFPExpandImm (A1.5): 8 bits to a number of this size. */
static inline uint64_t fp_expand_imm(unsigned size, unsigned imm8)
{
	const unsigned exponent_bits = size == 1 ? 5 : size == 2 ? 8 : 11, fraction_bits = (8u << size) - 1 - exponent_bits;
	const uint64_t repeated = imm8 & 0x40 ? (1ull << (exponent_bits - 3)) - 1 : 0;
	const uint64_t exponent = (uint64_t)!(imm8 & 0x40) << (exponent_bits - 1) | repeated << 2 | (imm8 >> 4 & 3);

	return (uint64_t)(imm8 >> 7) << ((8u << size) - 1) | exponent << fraction_bits | (uint64_t)(imm8 & 15) << (fraction_bits - 4);
}

#endif
