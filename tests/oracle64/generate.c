/* Random instructions by the decoder's forms. See generate.h.
 */
#include "tests/oracle64/generate.h"

#include "arch/aarch64/decode.h"
#include "tests/unit/float_operands.h"

/* The forms, as the decoder has them. */
struct form {
	uint32_t mask, value;
	uint16_t op;
	uint16_t first_exclusion, exclusion_count;
};
struct exclusion {
	uint32_t mask, value;
};
#include "arch/aarch64/a64_forms.c.inc"

unsigned a64_generate_form_count(void)
{
	return ARRAY_SIZE(forms);
}

uint32_t a64_generate_below(struct a64_generator *g, uint32_t bound)
{
	return (uint32_t)random_below(&g->rng, bound);
}

static uint32_t with_field(uint32_t word, unsigned at, unsigned count, uint32_t value)
{
	const uint32_t mask = ((1u << count) - 1) << at;

	return (word & ~mask) | value << at;
}

/* Branches go forward a little, or to where x29 says. */
static uint32_t tame(struct a64_generator *g, uint32_t word)
{
	const uint32_t distance = 1 + a64_generate_below(g, g->branch_words + 1);

	switch (a64_decode(word)) {
	case A64_b:
	case A64_bl:
		return with_field(word, 0, 26, distance);
	case A64_b_cond:
	case A64_cbz:
	case A64_cbnz:
		return with_field(word, 5, 19, distance);
	case A64_tbz:
	case A64_tbnz:
		return with_field(word, 5, 14, distance);
	case A64_br:
	case A64_blr:
	case A64_ret:
		return with_field(word, 5, 5, 29);
	default:
		break;
	}
	/* Loads and stores have a base that is an address, and an index that is small. */
	if ((word & 0x0a000000) == 0x08000000 && (!g->wild || a64_generate_below(g, g->wild))) {
		word = with_field(word, 5, 5, a64_generate_below(g, 6) ? 24 + a64_generate_below(g, 4) : 31);
		if ((word & 0x3b200c00) == 0x38200800)
			word = with_field(word, 16, 5, 20 + a64_generate_below(g, 4));
	}
	return word;
}

uint32_t a64_generate_word(struct a64_generator *g, unsigned form)
{
	return tame(g, forms[form].value | ((uint32_t)random_next(&g->rng) & ~forms[form].mask));
}

/* Any bits, or numbers of one format in all elements. */
static void random_vector(struct a64_generator *g, union a64_vreg *v)
{
	struct float_random floats = {random_next(&g->rng)};
	const unsigned format = a64_generate_below(g, 4);

	random_fill(&g->rng, v, sizeof(*v));
	for (unsigned i = 0; i < 2 && format == 1; i++)
		v->d[i] = operand_ieee(&floats, 11, 52);
	for (unsigned i = 0; i < 4 && format == 2; i++)
		v->s[i] = (uint32_t)operand_ieee(&floats, 8, 23);
	for (unsigned i = 0; i < 8 && format == 3; i++)
		v->h[i] = (uint16_t)operand_ieee(&floats, 5, 10);
}

void a64_generate_registers(struct a64_generator *g, struct a64_state *s, uint64_t *sp)
{
	for (unsigned i = 0; i < 31; i++)
		s->x[i] = random_integer(&g->rng);
	for (unsigned i = 20; i < 24; i++)
		s->x[i] = a64_generate_below(g, g->index_size);
	for (unsigned i = 24; i < 29; i++)
		s->x[i] = g->data + a64_generate_below(g, g->data_size);
	for (unsigned i = 24; i < 26; i++)
		s->x[i] &= ~15ull;
	*sp = g->data + 16 * a64_generate_below(g, g->data_size / 16);
	for (unsigned i = 0; i < 32; i++)
		random_vector(g, &s->v[i]);
	s->fpcr = a64_generate_below(g, 4) ? 0 : (uint32_t)random_next(&g->rng) & A64_FPCR_MASK;
	s->fpsr = a64_generate_below(g, 2) ? 0 : (uint32_t)random_next(&g->rng) & A64_FPSR_MASK;
	s->pstate |= (uint64_t)a64_generate_below(g, 16) << 28;
}
