/* Writing x86-64 machine code: the few instructions that the translator makes up itself. Guest instructions are
 * re-encoded by rewrite.c.
 *
 * Example: `emit_lea(e, HOST_T, (struct host_mem){.base = HOST_RSI, .index = HOST_NONE, .disp = 8}, 8);`
 *
 * Nothing here touches the flags, but for what says so in its name: guest flags live in the host's.
 */
#ifndef ENGINE_DBT_EMIT_H
#define ENGINE_DBT_EMIT_H

#include "base/types.h"

enum host_reg {
	HOST_RAX, HOST_RCX, HOST_RDX, HOST_RBX, HOST_RSP, HOST_RBP, HOST_RSI, HOST_RDI,
	HOST_R8, HOST_R9, HOST_R10, HOST_R11, HOST_R12, HOST_R13, HOST_R14, HOST_R15,
	HOST_NONE = 0xff,
};

/* What a number in the code stands for, if it would be another one for the same guest code elsewhere (cache.h). */
enum emit_meaning {
	EMIT_NUMBER, /* itself */
	EMIT_ADDRESS,       /* a guest address that is relative to rip */
	EMIT_MINUS_ADDRESS, /* the same, negated */
	EMIT_TABLE_ENTRY,   /* the offset of such an address's entry in a flat table */
	EMIT_HELP,          /* what C keeps the instruction at hand under */
	EMIT_STUB,          /* where a stub is, from here */
};
enum emit_form { EMIT_ZERO32, EMIT_SIGN32, EMIT_WIDE64, EMIT_REL32 };
struct emit_note {
	uint8_t *at; /* of the number */
	uint8_t form, meaning;
};
#define EMIT_NOTES_MAX 1024
#define EMIT_FIELDS_MAX 192
/* A displacement or immediate of 4 bytes of the guest's that is another number elsewhere: an address in the image that the code is
 * part of; constant: relative to rip, for an address that stays. What was emitted for it is noted accordingly. */
struct emit_field {
	uint16_t at; /* in the guest's bytes */
	bool constant;
};
struct emit_notes {
	struct emit_note note[EMIT_NOTES_MAX];
	unsigned count;
	struct emit_field fields[EMIT_FIELDS_MAX];
	unsigned field_count;
	bool fixed; /* something depends on the place in a way that can't be noted */
	bool full;
};

static inline void emit_notes_begin(struct emit_notes *notes)
{
	notes->count = notes->field_count = 0;
	notes->fixed = notes->full = false;
}

/* A memory operand as encoded: base and index may be HOST_NONE; gs: an offset from the GS base (no registers). */
struct host_mem {
	uint8_t base, index, scale; /* scale 1, 2, 4, 8; 0 counts as 1 */
	bool gs;
	uint8_t meaning; /* of disp */
	int32_t disp;
};

/* Code is written at `at` (a writable alias) and runs at `at + run_delta`. Past `end` nothing is written and
 * `overflow` is set: whoever emits checks once when done. */
struct emitter {
	uint8_t *at, *end;
	intptr_t run_delta;
	bool overflow;
	struct emit_notes *notes; /* NULL: nobody wants them */
};

static inline struct host_mem mem_gs(size_t offset)
{
	return (struct host_mem){.base = HOST_NONE, .index = HOST_NONE, .gs = true, .disp = (int32_t)offset};
}

static inline struct host_mem mem_base(uint8_t base, int32_t disp)
{
	return (struct host_mem){.base = base, .index = HOST_NONE, .disp = disp};
}

/* The address at which what comes next will run. */
static inline uint8_t *emit_here(const struct emitter *e)
{
	return e->at + e->run_delta;
}

void emit_u8(struct emitter *e, unsigned value);
void emit_u16(struct emitter *e, unsigned value);
void emit_u32(struct emitter *e, uint32_t value);
void emit_u64(struct emitter *e, uint64_t value);

/* ModRM, SIB and displacement for `reg` (low three bits) and a memory operand. */
void emit_modrm_mem(struct emitter *e, unsigned reg, struct host_mem mem);
/* [gs] [REX] opcode bytes (1..3, first byte 0x0f escapes included), ModRM...; size 8 sets REX.W, 2 the prefix 66. */
void emit_op_mem(struct emitter *e, unsigned opcode, unsigned reg, struct host_mem mem, unsigned size);
void emit_op_reg(struct emitter *e, unsigned opcode, unsigned reg, unsigned rm, unsigned size);

void emit_mov_reg(struct emitter *e, unsigned dst, unsigned src, unsigned size);
void emit_load(struct emitter *e, unsigned dst, struct host_mem mem, unsigned size);  /* 4 or 8 */
void emit_store(struct emitter *e, struct host_mem mem, unsigned src, unsigned size); /* 1, 2, 4, 8 */
void emit_store_imm(struct emitter *e, struct host_mem mem, int32_t imm, unsigned size);
void emit_lea(struct emitter *e, unsigned dst, struct host_mem mem, unsigned size);
void emit_mov_imm(struct emitter *e, unsigned dst, uint64_t value); /* the shortest form */
/* The same for a number that means more. */
void emit_mov_meaning(struct emitter *e, unsigned dst, uint64_t value, enum emit_meaning meaning);
/* The same for one that depends on the place in a way that can't be noted. */
void emit_mov_unnoted(struct emitter *e, unsigned dst, uint64_t value);
/* The last bytes emitted are a number of this form. */
void emit_note(struct emitter *e, enum emit_form form, enum emit_meaning meaning);
void emit_rorx(struct emitter *e, unsigned dst, unsigned src, unsigned count);
/* The lower half rotated, zero-extended. */
void emit_rorx32(struct emitter *e, unsigned dst, unsigned src, unsigned count);
void emit_sarx(struct emitter *e, unsigned dst, unsigned src, unsigned count_reg);
void emit_lea_code(struct emitter *e, unsigned dst, const uint8_t *at); /* the address of code emitted before (writable alias) */
void emit_not(struct emitter *e, unsigned reg);

/* Jumps to an address in the code cache. */
void emit_jmp(struct emitter *e, const uint8_t *target);
void emit_jmp_stub(struct emitter *e, const uint8_t *stub);
void emit_call(struct emitter *e, const uint8_t *target);
void emit_jcc(struct emitter *e, unsigned cc, const uint8_t *target); /* 6 bytes */
void emit_jmp_mem(struct emitter *e, struct host_mem mem);
void emit_call_mem(struct emitter *e, struct host_mem mem);
void emit_ret(struct emitter *e);
/* jrcxz forward over something: returns where the displacement byte is, for emit_patch_short(). */
uint8_t *emit_jrcxz(struct emitter *e);
uint8_t *emit_jmp_short(struct emitter *e);
void emit_patch_short(struct emitter *e, uint8_t *displacement);

#endif
