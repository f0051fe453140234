/* The decoder: forms by the highest 11 bits of a word, of these the first that fits. See gen_decode.py. */
#include "arch/aarch64/decode.h"

struct form {
	uint32_t mask, value;
	uint16_t op;
	uint16_t first_exclusion, exclusion_count;
};

struct exclusion {
	uint32_t mask, value;
};

#include "arch/aarch64/a64_forms.c.inc"

static bool fits(const struct form *form, uint32_t word)
{
	if ((word & form->mask) != form->value)
		return false;
	for (unsigned i = 0; i < form->exclusion_count; i++) {
		const struct exclusion *exclusion = &exclusions[form->first_exclusion + i];

		if ((word & exclusion->mask) == exclusion->value)
			return false;
	}
	return true;
}

enum a64_op a64_decode(uint32_t word)
{
	for (const uint16_t *candidate = &candidates[buckets[word >> 21]]; *candidate != NO_FORM; candidate++) {
		if (fits(&forms[*candidate], word))
			return forms[*candidate].op;
	}
	return A64_UNALLOCATED;
}

enum a64_class a64_class_of(enum a64_op op)
{
	static const uint8_t classes[A64_OP_COUNT] = {
#define X(name, class) [A64_##name] = A64_CLASS_##class,
		A64_FORMS(X)
#undef X
	};

	return classes[op];
}

const char *a64_op_name(enum a64_op op)
{
	static const char *const names[A64_OP_COUNT] = {
		[A64_UNALLOCATED] = "unallocated",
#define X(name, class) [A64_##name] = #name,
		A64_FORMS(X)
#undef X
	};

	return op < A64_OP_COUNT ? names[op] : "unallocated";
}
