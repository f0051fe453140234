/* Random guest programs for the isolation fuzz, 64-bit or 32-bit: straight-line code whose memory operands are aimed at the boundaries of
 * the translator's tables.
 *
 * Example: `program_make(&program, &forms, usable, usable_count, &random); memcpy(ram, program.ram, sizeof(program.ram));`
 */
#ifndef TESTS_DBT_PROGRAM_H
#define TESTS_DBT_PROGRAM_H

#include "arch/x86_64/state.h"
#include "tests/oracle/forms.h"
#include "tests/oracle/random.h"

#define PROGRAM_CODE_GVA 0x0000600012340000ull
#define PROGRAM_CODE_GVA_32 0x12340000ull
#define PROGRAM_CODE_GPA 0x40000u
#define PROGRAM_CODE     (2 * 4096u)
#define PROGRAM_DATA_GPA 0x50000u
#define PROGRAM_DATA     0x18000u
#define PROGRAM_TABLES   0x40000u /* below the code */
#define PROGRAM_INSNS    80

struct program {
	uint8_t ram[0x80000];
	struct x86_state state;
	enum x86_mode mode;
	uint64_t code_gva;
	uint64_t start, end;
	uint64_t insn[PROGRAM_INSNS + 1]; /* their addresses; then the end */
	unsigned count;
};

/* usable: which of the forms, by number; the mode is theirs. */
void program_make(struct program *program, const struct forms *forms, const uint32_t *usable, unsigned usable_count,
		  struct random *random);
/* May the form be part of a program? */
bool program_usable(const struct form *form);
/* The instruction behind the one at rip; the end if there is none. */
uint64_t program_next(const struct program *program, uint64_t rip);
void program_print(const struct program *program);

#endif
