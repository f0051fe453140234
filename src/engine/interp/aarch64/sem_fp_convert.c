/* Scalar floating point: conversions and rounding (DDI 0487 C4.1.68, C7.2).
 */
#include "engine/interp/aarch64/sem_fp.h"

static unsigned general_bits(uint32_t insn)
{
	return insn >> 31 ? 64 : 32;
}

/* ---- to integers and fixed point ---- */
static inline void to_fixed(struct a64_state *s, uint32_t insn, unsigned fraction, bool is_unsigned, enum a64_fp_rounding rounding)
{
	const unsigned size = fp_size(insn);
	struct a64_fp fp = fp_begin(s);
	const uint64_t result =
		a64_fp_to_fixed(&fp, size, fp_read(s, size, a64_rn(insn)), general_bits(insn), fraction, is_unsigned, rounding);

	fp_end(s, &fp);
	a64_set_x(s, a64_rd(insn), result);
}

#define TO_INTEGER(letter, rounding)                                                                                                       \
	SEM(fcvt##letter##s)                                                                                                               \
	{                                                                                                                                  \
		to_fixed(&cpu->s, insn, 0, false, rounding);                                                                               \
	}                                                                                                                                  \
	SEM(fcvt##letter##u)                                                                                                               \
	{                                                                                                                                  \
		to_fixed(&cpu->s, insn, 0, true, rounding);                                                                                \
	}
TO_INTEGER(n, A64_ROUND_NEAREST)
TO_INTEGER(p, A64_ROUND_UP)
TO_INTEGER(m, A64_ROUND_DOWN)
TO_INTEGER(z, A64_ROUND_ZERO)
TO_INTEGER(a, A64_ROUND_AWAY)

static unsigned fraction_bits(uint32_t insn)
{
	return 64 - a64_bits(insn, 10, 6);
}

SEM(fcvtzs_fix)
{
	to_fixed(&cpu->s, insn, fraction_bits(insn), false, A64_ROUND_ZERO);
}

SEM(fcvtzu_fix)
{
	to_fixed(&cpu->s, insn, fraction_bits(insn), true, A64_ROUND_ZERO);
}

/* Z says that the result is the number itself. */
SEM(fjcvtzs)
{
	struct a64_fp fp = fp_begin(&cpu->s);
	bool exact;

	a64_set_x(&cpu->s, a64_rd(insn), a64_fp_to_fixed_js(&fp, cpu->s.v[a64_rn(insn)].d[0], &exact));
	fp_end(&cpu->s, &fp);
	a64_set_nzcv(&cpu->s, false, exact, false, false);
}

/* ---- from integers and fixed point ---- */
static inline void from_fixed(struct a64_state *s, uint32_t insn, unsigned fraction, bool is_unsigned)
{
	const uint64_t x = a64_x(s, a64_rn(insn));
	const uint64_t integer = general_bits(insn) == 64 ? x : is_unsigned ? (uint32_t)x : (uint64_t)(int32_t)x;
	struct a64_fp fp = fp_begin(s);
	const uint64_t result = a64_fp_from_fixed(&fp, fp_size(insn), integer, fraction, is_unsigned);

	fp_end(s, &fp);
	fp_write(s, a64_rd(insn), result);
}

SEM(scvtf)
{
	from_fixed(&cpu->s, insn, 0, false);
}

SEM(ucvtf)
{
	from_fixed(&cpu->s, insn, 0, true);
}

SEM(scvtf_fix)
{
	from_fixed(&cpu->s, insn, fraction_bits(insn), false);
}

SEM(ucvtf_fix)
{
	from_fixed(&cpu->s, insn, fraction_bits(insn), true);
}

/* ---- between formats ---- */
SEM(fcvt)
{
	const unsigned from = fp_size(insn), to = fp_size(a64_bits(insn, 15, 2) << 22);
	struct a64_fp fp = fp_begin(&cpu->s);
	const uint64_t result = a64_fp_convert(&fp, to, from, fp_read(&cpu->s, from, a64_rn(insn)), a64_fp_mode(fp.fpcr));

	fp_end(&cpu->s, &fp);
	fp_write(&cpu->s, a64_rd(insn), result);
}

/* ---- to integral values ---- */
static inline void round_int(struct a64_state *s, uint32_t insn, enum a64_fp_rounding rounding, bool exact)
{
	const unsigned size = fp_size(insn);
	struct a64_fp fp = fp_begin(s);
	const uint64_t result = a64_fp_round_int(&fp, size, fp_read(s, size, a64_rn(insn)), rounding, exact);

	fp_end(s, &fp);
	fp_write(s, a64_rd(insn), result);
}

#define ROUND_INT(letter, rounding, exact)                                                                                                 \
	SEM(frint##letter)                                                                                                                 \
	{                                                                                                                                  \
		round_int(&cpu->s, insn, rounding, exact);                                                                                 \
	}
ROUND_INT(n, A64_ROUND_NEAREST, false)
ROUND_INT(p, A64_ROUND_UP, false)
ROUND_INT(m, A64_ROUND_DOWN, false)
ROUND_INT(z, A64_ROUND_ZERO, false)
ROUND_INT(a, A64_ROUND_AWAY, false)
ROUND_INT(x, a64_fp_mode(cpu->s.fpcr), true)
ROUND_INT(i, a64_fp_mode(cpu->s.fpcr), false)
