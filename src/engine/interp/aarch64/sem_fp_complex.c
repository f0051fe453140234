/* Vector floating point on complex numbers (FEAT_FCMA), and on halves whose products are added as singles (FEAT_FHM): DDI 0487 C7.2.
 */
#include "engine/interp/aarch64/sem_fp_vector.h"

/* ---- complex numbers: the real part in the even element, the imaginary part above it ---- */
/* Vn + Vm * i, or Vn - Vm * i. */
SEM(fcadd_v)
{
	const unsigned size = a64_bits(insn, 22, 2), lanes = fp_lanes(insn, size);
	const bool subtract = insn >> 12 & 1;
	const uint64_t sign = a64_fp_sign_bit(size);
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *m = &cpu->s.v[a64_rm(insn)];
	struct a64_fp fp = fp_begin(&cpu->s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i += 2) {
		fp_set_lane(&result, size, i, a64_fp_add(&fp, size, fp_lane(n, size, i), fp_lane(m, size, i + 1) ^ (subtract ? 0 : sign)));
		fp_set_lane(&result, size, i + 1,
			    a64_fp_add(&fp, size, fp_lane(n, size, i + 1), fp_lane(m, size, i) ^ (subtract ? sign : 0)));
	}
	fp_end(&cpu->s, &fp);
	cpu->s.v[a64_rd(insn)] = result;
}

/* One part of Vn, the real one at 0 and 180 degrees, times Vm, turned by that many quarters, plus Vd. */
static void complex_mul_add(struct a64_state *s, uint32_t insn, unsigned size, unsigned lanes, const union a64_vreg *m, unsigned quarters)
{
	const bool imaginary = quarters & 1;
	const uint64_t sign = a64_fp_sign_bit(size), flip_real = quarters == 1 || quarters == 2 ? sign : 0;
	const uint64_t flip_imaginary = quarters >= 2 ? sign : 0;
	const union a64_vreg *n = &s->v[a64_rn(insn)], *d = &s->v[a64_rd(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i += 2) {
		const uint64_t part = fp_lane(n, size, i + imaginary);

		fp_set_lane(&result, size, i,
			    a64_fp_mul_add(&fp, size, fp_lane(d, size, i), part, fp_lane(m, size, i + imaginary) ^ flip_real));
		fp_set_lane(&result, size, i + 1,
			    a64_fp_mul_add(&fp, size, fp_lane(d, size, i + 1), part, fp_lane(m, size, i + !imaginary) ^ flip_imaginary));
	}
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

SEM(fcmla_v)
{
	const unsigned size = a64_bits(insn, 22, 2);

	complex_mul_add(&cpu->s, insn, size, fp_lanes(insn, size), &cpu->s.v[a64_rm(insn)], a64_bits(insn, 11, 2));
}

/* One complex element of Vm for all. */
SEM(fcmla_e)
{
	const unsigned size = a64_bits(insn, 22, 2), lanes = fp_lanes(insn, size);
	const unsigned index = fp_index_hlm(insn) >> size; /* H:L of halves, H of singles */
	union a64_vreg m;

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&m, size, i, fp_lane(&cpu->s.v[a64_rm(insn)], size, 2 * index + (i & 1)));
	complex_mul_add(&cpu->s, insn, size, lanes, &m, a64_bits(insn, 13, 2));
}

/* ---- halves multiplied, singles added ---- */
/* first: of the halves in Vn (and m) that are used. */
static inline void mul_add_halves(struct a64_state *s, uint32_t insn, bool upper, const union a64_vreg *m, bool subtract)
{
	const unsigned lanes = fp_lanes(insn, 2), first = upper ? lanes : 0;
	const union a64_vreg *n = &s->v[a64_rn(insn)], *d = &s->v[a64_rd(insn)];
	struct a64_fp fp = fp_begin(s);
	union a64_vreg result = {.d = {0, 0}};

	for (unsigned i = 0; i < lanes; i++)
		fp_set_lane(&result, 2, i,
			    a64_fp_mul_add_half(&fp, d->s[i], n->h[first + i] ^ (uint16_t)(subtract << 15), m->h[first + i]));
	fp_end(s, &fp);
	s->v[a64_rd(insn)] = result;
}

static union a64_vreg half_element(const struct a64_state *s, uint32_t insn)
{
	union a64_vreg m;

	for (unsigned i = 0; i < 8; i++)
		fp_set_lane(&m, 1, i, s->v[a64_rm(insn) & 15].h[fp_index_hlm(insn)]);
	return m;
}

#define MUL_ADD_HALVES(name, upper, subtract)                                                                                              \
	SEM(name##_v)                                                                                                                      \
	{                                                                                                                                  \
		mul_add_halves(&cpu->s, insn, upper, &cpu->s.v[a64_rm(insn)], subtract);                                                   \
	}                                                                                                                                  \
	SEM(name##_e)                                                                                                                      \
	{                                                                                                                                  \
		const union a64_vreg m = half_element(&cpu->s, insn);                                                                      \
		mul_add_halves(&cpu->s, insn, upper, &m, subtract);                                                                        \
	}
MUL_ADD_HALVES(fmlal, false, false)
MUL_ADD_HALVES(fmlsl, false, true)
MUL_ADD_HALVES(fmlal2, true, false)
MUL_ADD_HALVES(fmlsl2, true, true)
