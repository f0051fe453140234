/* Which form of A64 an instruction word is (DDI 0487 C4). The forms are named in base.insns, fp.insns and simd.insns; fields of a word are
 * taken out where they are needed, by a64_bits().
 *
 * Example: `if (a64_decode(word) == A64_add_imm) imm = a64_bits(word, 10, 12);`
 */
#ifndef ARCH_AARCH64_DECODE_H
#define ARCH_AARCH64_DECODE_H

#include "base/types.h"
#include "arch/aarch64/a64_forms.h" /* made of the tables */

enum a64_op {
	A64_UNALLOCATED,
#define X(name, class) A64_##name,
	A64_FORMS(X)
#undef X
	A64_OP_COUNT
};

/* What a form is about: A64_CLASS_BASE, A64_CLASS_FP (scalar floating point), A64_CLASS_SIMD; the latter two are trapped by CPACR_EL1.FPEN. */
enum a64_class {
#define X(class) A64_CLASS_##class,
	A64_CLASSES(X)
#undef X
};

/* A64_UNALLOCATED if it is none. A form that is found may still have reserved values in its fields: its semantics look at those. */
enum a64_op a64_decode(uint32_t word);
enum a64_class a64_class_of(enum a64_op op);
/* "add_imm"; for traces and tests. */
const char *a64_op_name(enum a64_op op);

/* Bits at to at+count-1 of the word, as an unsigned and as a two's complement number. count 1 to 31. */
static inline uint32_t a64_bits(uint32_t word, unsigned at, unsigned count)
{
	return word >> at & ((1u << count) - 1);
}

static inline int64_t a64_sbits(uint32_t word, unsigned at, unsigned count)
{
	return (int32_t)(word << (32 - at - count)) >> (32 - count);
}

/* The register numbers of nearly all forms. */
static inline unsigned a64_rd(uint32_t word)
{
	return word & 31;
}

static inline unsigned a64_rn(uint32_t word)
{
	return word >> 5 & 31;
}

static inline unsigned a64_rm(uint32_t word)
{
	return word >> 16 & 31;
}

static inline unsigned a64_ra(uint32_t word)
{
	return word >> 10 & 31;
}

#endif
