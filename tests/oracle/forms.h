/* Every instruction form that the decoder knows in 64-bit or 32-bit code, found by running all
 * prefixes, maps, opcodes and ModRM bytes through it: nothing is listed by hand.
 *
 * Example: `forms_enumerate(&forms, X86_MODE_64); form_name(&forms.form[i], name, sizeof(name));`
 */
#ifndef TESTS_ORACLE_FORMS_H
#define TESTS_ORACLE_FORMS_H

#include "arch/x86_64/decode.h"

/* What makes two encodings the same form: operation, operand kinds and sizes, LOCK and REP. */
struct form_key {
	uint16_t op;
	uint8_t opsize; /* where the operands don't tell it */
	uint8_t vl;
	uint8_t prefixes; /* X86_PFX_LOCK, REP, REPNE */
	uint8_t count;
	struct {
		uint8_t kind;
		uint8_t size; /* in bytes, 255 and up as 255 */
	} operand[4];
};

/* How an encoding starts: enough to make random instances of it. */
struct encoding {
	uint8_t prefix[3];
	uint8_t prefix_count;
	bool vex, w;
	uint8_t l, pp, map; /* map: 0 one byte, 1 0F, 2 0F38, 3 0F3A */
	uint8_t opcode, modrm;
};

struct form {
	struct form_key key;
	uint8_t feature; /* enum x86_feature */
	enum x86_mode mode;
	struct encoding *encoding;
	unsigned encoding_count;
};

struct forms {
	enum x86_mode mode;
	struct form *form;
	unsigned count;
};

void forms_enumerate(struct forms *forms, enum x86_mode mode);
void forms_free(struct forms *forms);

void form_key_of(const struct x86_insn *insn, struct form_key *key);
bool form_key_equal(const struct form_key *a, const struct form_key *b);
/* "LOCK ADD m32, r32" */
void form_name(const struct form_key *key, char *name, size_t size);

#endif
