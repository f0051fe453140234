/* What the parts of the AArch64 translator share: registers, flags, ways out of a block.
 *
 * Flags: `dbt64.flags` has what LAHF gives in its high byte and OF in its low one, with one convention for all: the host's carry is the
 * inverse of Arm's, as it is after a subtraction. After an instruction that sets flags they are also in the host's own flags, as
 * long as nothing has changed those (`in_host`).
 *
 * Example:
 *     const unsigned n = t_source(t, a64_rn(insn), HOST_RAX, size);
 *     emit_op_reg(t->e, X86_ADD, n, dst, size);
 */
#ifndef ENGINE_DBT_AARCH64_TRANSLATE_H
#define ENGINE_DBT_AARCH64_TRANSLATE_H

#include "engine/dbt/aarch64/dbt64.h"

/* Opcodes of the form r/m, r; two more is r, r/m. */
enum {
	X86_ADD = 0x01,
	X86_OR = 0x09,
	X86_ADC = 0x11,
	X86_SBB = 0x19,
	X86_AND = 0x21,
	X86_SUB = 0x29,
	X86_XOR = 0x31,
	X86_CMP = 0x39,
	X86_TEST = 0x85,
};
/* Shifts by the /digit of 0xc1. */
enum { X86_ROR = 1, X86_SHL = 4, X86_SHR = 5, X86_SAR = 7 };

/* Out of line, after the block's own code. */
struct cold {
	uint8_t *from;  /* the displacement of the jump that comes here, to be patched */
	uint8_t *back;  /* where it goes on */
	uint64_t pc;
	uint32_t insn;
	enum { COLD_HELP, COLD_STALE, COLD_LEAVE, COLD_LINK, COLD_FP } kind;
	uint64_t target; /* LINK */
};
#define COLD_MAX 256

struct translation {
	struct dbt64 *d;
	struct emitter *e;
	const struct dbt64_block *block;
	uint64_t pc;    /* of the instruction at hand */
	uint32_t insn;
	bool in_host;   /* the host's flags are the guest's */
	bool fp_ready;  /* fp_live was seen to be set */
	bool done;      /* the block has ended: nothing falls through */
	struct cold cold[COLD_MAX];
	unsigned cold_count;
};

/* ---- registers ---- */
static inline struct host_mem t_state(size_t offset)
{
	return mem_base(HOST_RBP, (int32_t)offset - STATE_BIAS);
}

/* The host register of a general register, or HOST_NONE. */
uint8_t t_host(unsigned n);
struct host_mem t_home(unsigned n);
/* The value of Xn in a register: its own, or scratch, which is loaded. 31 is zero. Flags stay. */
unsigned t_source(struct translation *t, unsigned n, unsigned scratch, unsigned size);
/* Likewise with 31 as SP. */
unsigned t_source_sp(struct translation *t, unsigned n, unsigned scratch, unsigned size);
/* Where to compute Xn: its own register, or scratch; then t_finish() puts it where it belongs. 31 is nowhere. Flags stay. */
unsigned t_target(unsigned n, unsigned scratch);
void t_finish(struct translation *t, unsigned n, unsigned reg);
unsigned t_target_sp(unsigned n, unsigned scratch);
void t_finish_sp(struct translation *t, unsigned n, unsigned reg);
/* `op reg, Xn`, of the opcodes above. 31 is zero. */
void t_op(struct translation *t, unsigned op, unsigned reg, unsigned n, unsigned size);
/* The same for who has an emitter alone. */
void t_op_imm_raw(struct emitter *e, unsigned op, unsigned reg, int32_t imm, unsigned size);
void t_op_imm(struct translation *t, unsigned op, unsigned reg, int32_t imm, unsigned size);
void t_shift_imm(struct translation *t, unsigned shift, unsigned reg, unsigned amount, unsigned size);

/* ---- flags ---- */
/* The host's flags, with an inverted carry, become the guest's. Uses rax. */
void t_flags_save(struct translation *t);
/* The guest's flags into the host's. Uses rax. */
void t_flags_load(struct translation *t);
/* The host's condition for one of A64's, 0 to 13. */
unsigned t_condition(unsigned cond);

/* ---- ways out ---- */
/* A jump by the host's condition cc (or always, HOST_NONE) to a block at target: linked if that is on the same page. */
void t_branch(struct translation *t, unsigned cc, uint64_t target);
/* The interpreter's function for this instruction, and on where it leads: the block ends. */
void t_go(struct translation *t);
/* By cc, to the interpreter's loop, with this instruction done. */
void t_leave_to_next(struct translation *t, unsigned cc);
/* The jump in t->e at displacement `from` leads to a call of the interpreter for this instruction, which goes on at the place where
 * t_slow_end() is said; if it isn't said, where the instruction leads. */
unsigned t_slow(struct translation *t, uint8_t *from);
void t_slow_end(struct translation *t, unsigned slow); /* COLD_MAX: there is none */
/* jcc with a displacement to be filled in. */
uint8_t *t_jcc(struct translation *t, unsigned cc);
void t_patch(struct translation *t, uint8_t *displacement, const uint8_t *to);

/* ---- memory ---- */
/* Where an address is, between being made and being used. */
#define ADDRESS HOST_RAX
/* ADDRESS = Xn or SP + offset, n by the instruction's field Rn. */
void t_base_plus(struct translation *t, int64_t offset);
/* A slow way if SP, as that base, is misaligned; or COLD_MAX. Before t_base_plus(). */
unsigned t_check_base(struct translation *t);
/* ADDRESS + rcx is where the host has `bytes` bytes, after this: rcx is an addend. Says whose slow way that is. rdx is lost. */
unsigned t_to_host(struct translation *t, unsigned bytes, bool write);
struct host_mem t_at(int32_t offset);
/* After the access: the base moves. rcx is lost. */
void t_write_back(struct translation *t, int64_t offset);

/* ---- vectors: by xmm0 to xmm3 ---- */
static inline bool t_is_whole(const struct translation *t)
{
	return t->insn & 1u << 30;
}
/* 66 0F opcode xmm, from; the opcode with its 0f, 0f38 or 0f3a. */
static inline void t_sse(struct translation *t, unsigned opcode, unsigned xmm, unsigned from)
{
	emit_op_reg(t->e, opcode, xmm, from, 2);
}
/* All of a register, or 64 bits of it from a byte onwards and zeros. */
void t_vector_load(struct translation *t, unsigned xmm, unsigned n);
void t_vector_load_64(struct translation *t, unsigned xmm, unsigned n, unsigned byte);
/* xmm0 to Vd: its upper half is zero in forms on half a register. */
void t_vector_store(struct translation *t);
/* All of xmm0. */
void t_vector_store_all(struct translation *t);
/* 64 bits in both halves. rax is lost. */
void t_vector_constant(struct translation *t, unsigned xmm, uint64_t value);

/* ---- floating point: one slow way, by several jumps, that goes on behind the instruction ---- */
#define FP_SLOW_MAX 4
struct fp_slow {
	unsigned ways[FP_SLOW_MAX], count;
};
/* False: not while FPCR is what it is. The host's flags are lost. */
bool t_fp_begin(struct translation *t, struct fp_slow *slow) must_check;
void t_fp_leave_if(struct translation *t, struct fp_slow *slow, unsigned cc);
void t_fp_end(struct translation *t, const struct fp_slow *slow);
/* Of a register's value, with what is not in the instruction's type zero. */
struct host_mem t_vector_home(unsigned n);

/* ---- the instructions: false if it isn't for them ---- */
bool t_alu(struct translation *t, enum a64_op op);
bool t_memory(struct translation *t, enum a64_op op);
bool t_control(struct translation *t, enum a64_op op);
bool t_simd(struct translation *t, enum a64_op op);
bool t_simd_move(struct translation *t, enum a64_op op);
bool t_simd_wide(struct translation *t, enum a64_op op);
bool t_structure(struct translation *t, enum a64_op op);
bool t_fp(struct translation *t, enum a64_op op);
bool t_fp_vector(struct translation *t, enum a64_op op);

#endif
