/* Instances of an encoding: bytes with random registers, addressing, displacements and immediates.
 *
 * Example: `if (encode_random(&form, &random, &instance)) run(instance.bytes,
 * instance.insn.length);`
 */
#ifndef TESTS_ORACLE_ENCODE_H
#define TESTS_ORACLE_ENCODE_H

#include "tests/oracle/forms.h"
#include "tests/oracle/random.h"

struct instance {
	uint8_t bytes[16];
	struct x86_insn insn;
	enum x86_mode mode;
	unsigned tail; /* index of the byte behind the opcode */
	unsigned disp; /* index of the displacement (of disp_size bytes) */
	unsigned disp_size;
};

/* The shortest: no optional prefixes, the encoding's ModRM, zeros. bytes has room for 16. */
void encode_plain(const struct encoding *encoding, uint8_t *bytes);
/* A random instance of the form. */
void encode_random(const struct form *form, struct random *random, struct instance *instance);
/* Overwrites the displacement and decodes again. */
void encode_set_disp(struct instance *instance, int32_t disp);
/* Overwrites `size` bytes at the end of the instruction (its last immediate) and decodes again. */
void encode_set_last(struct instance *instance, unsigned size, uint64_t value);
/* Overwrites the address of a moffs operand. */
void encode_set_moffs(struct instance *instance, uint64_t address);

#endif
