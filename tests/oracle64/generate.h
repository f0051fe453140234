/* Random A64 instructions and what registers they find: by the forms of the decoder's tables, so that a new form is tried as soon as it is
 * there. Branches go forward a little or to where x29 says; most addresses are of data.
 *
 * Example:
 *     struct a64_generator g = {.rng = {seed}, .branch_words = 1, .data = DATA, .data_size = 0x400};
 *     word = a64_generate_word(&g, a64_generate_form(&g));
 */
#ifndef TESTS_ORACLE64_GENERATE_H
#define TESTS_ORACLE64_GENERATE_H

#include "arch/aarch64/state.h"
#include "tests/oracle/random.h"

struct a64_generator {
	struct random rng;
	unsigned branch_words; /* direct branches skip up to so many instructions */
	uint64_t data;         /* of 64 bytes: x24 to x28 and the stack pointer lie here, x24, x25 and SP at a multiple of 16 */
	uint32_t data_size;
	uint32_t index_size;   /* x20 to x23 are below */
	unsigned wild;         /* one of so many loads and stores has any base; 0: none */
};

unsigned a64_generate_form_count(void);
uint32_t a64_generate_below(struct a64_generator *g, uint32_t bound);
/* A word of the form, 0 to the count less one; what the tables exclude of it may come out, too. */
uint32_t a64_generate_word(struct a64_generator *g, unsigned form);
/* General, vector and floating-point registers and NZCV; sp is the stack pointer in use. */
void a64_generate_registers(struct a64_generator *g, struct a64_state *s, uint64_t *sp);

#endif
