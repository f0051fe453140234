/* The decoder's test against Zydis, in five files: zydis_compare.c runs it, generate.c makes byte strings,
 * mnemonics.c knows which operation a Zydis mnemonic is, registers.c compares the registers used, differences.c
 * lists where Zydis and the manuals (and so the two decoders) are known to differ, with the reason.
 *
 * Example of use:
 *     zydis_compare --count 50000000 --seed 7
 */
#ifndef TESTS_DECODER_COMPARE_H
#define TESTS_DECODER_COMPARE_H

#include <Zydis/Zydis.h>

#include "arch/x86_64/decode.h"

#define BYTES_MAX 16 /* one more than an instruction may have, so that "too long" shows itself */

/* One byte string and what either decoder made of it. */
struct comparison {
	uint8_t bytes[BYTES_MAX];
	enum x86_mode mode;
	int length; /* of x86_decode: positive or X86_DECODE_* */
	struct x86_insn insn;
	ZyanStatus status;
	ZydisDecodedInstruction zydis; /* valid if ZYAN_SUCCESS(status) */
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* What can differ, as bits: a difference listed in differences.c explains some of them. */
enum mismatch {
	MISMATCH_REFUSED_HERE = 1 << 0, /* valid in Zydis only */
	MISMATCH_REFUSED_THERE = 1 << 1,
	MISMATCH_ERROR = 1 << 2, /* both refuse, one with #UD, the other because it is too long */
	MISMATCH_LENGTH = 1 << 3,
	MISMATCH_OPERATION = 1 << 4,
	MISMATCH_CONDITION = 1 << 5,
	MISMATCH_ADDRESS_SIZE = 1 << 6,
	MISMATCH_OPERAND_SIZE = 1 << 7,
	MISMATCH_FEATURE = 1 << 8,
	MISMATCH_OPERAND_COUNT = 1 << 9,
	MISMATCH_OPERAND_KIND = 1 << 10,
	MISMATCH_REGISTER = 1 << 11,
	MISMATCH_GPR_SIZE = 1 << 12,
	MISMATCH_VECTOR_SIZE = 1 << 13,
	MISMATCH_MEMORY_SIZE = 1 << 14,
	MISMATCH_ACCESS = 1 << 15,
	MISMATCH_SEGMENT = 1 << 16,
	MISMATCH_BASE = 1 << 17,
	MISMATCH_INDEX = 1 << 18,
	MISMATCH_DISPLACEMENT = 1 << 19,
	MISMATCH_IMMEDIATE = 1 << 20,
	MISMATCH_FLAGS_READ = 1 << 21,
	MISMATCH_FLAGS_CHANGED = 1 << 22,
	MISMATCH_FLAGS_UNDEFINED = 1 << 23,
	MISMATCH_LAYOUT = 1 << 24, /* map, VEX prefix, where opcode, ModRM and immediate are */
	MISMATCH_FIELD = 1 << 25,  /* where an operand is encoded */
	MISMATCH_REGS_READ = 1 << 26, /* general registers, implicit ones included */
	MISMATCH_REGS_WRITTEN = 1 << 27,
};

/* generate.c */
struct generator;
struct generator *generator_new(uint64_t seed, char *const *files, int file_count);
void generator_free(struct generator *generator);
/* Fills bytes; a valid instruction found there may be handed back to generator_keep() for mutation. */
void generator_next(struct generator *generator, uint8_t bytes[BYTES_MAX]);
void generator_keep(struct generator *generator, const uint8_t bytes[BYTES_MAX]);

/* mnemonics.c: the operation, X86_INVALID if there is none; *cc is the condition of JCC, SETCC, CMOVCC. */
void mnemonics_init(void);
enum x86_op mnemonic_op(const struct comparison *c, int *cc);

/* registers.c: a set of enum mismatch. */
uint32_t compare_registers(const struct comparison *c);

/* differences.c: takes the mismatches that a listed difference explains out of *mismatches. Returns the name
 * of the last such difference, NULL if there was none. */
const char *explain_mismatches(const struct comparison *c, uint32_t *mismatches);

#endif
