/* Private to the translator: the state of one translation, and what its files give each other.
 *
 *   translate.c   the walk over a block, one instruction after another
 *   operands.c    memory operands: linear address, table lookup, addends kept for reuse
 *   rewrite.c     a guest instruction re-encoded with host registers
 *   lower_*.c     instructions that become something else
 */
#ifndef ENGINE_DBT_TRANSLATE_H
#define ENGINE_DBT_TRANSLATE_H

#include "engine/dbt/dbt.h"

/* Which host register holds a guest register; HOST_NONE: it is in cpu.s.gpr[]. */
extern const uint8_t guest_to_host[16];

/* Instructions a block may have. */
#define TB_MAX_INSNS 96
#define TB_MAX_EXITS 64
/* Host code of a block; what is left of the cache must hold one. */
#define TB_MAX_HOST 24576

/* What leaves the block: written behind its code, with a jump in the code to be led there. */
struct tr_exit {
	uint8_t *jump;   /* of the displacement of a rel32 in the code (writable alias) */
	uint64_t target; /* rip */
	bool step;       /* interpret there, instead of linking */
	uint32_t help;   /* number + 1 of what C executes there; 0: nothing */
};

struct tr {
	struct dbt *d;
	struct cpu *cpu;
	struct emitter e;
	uint8_t *start;       /* writable alias of the block's first byte */
	uint64_t rip;         /* of the block */
	gpa_t gpa;
	const uint8_t *page;  /* host address of the guest page */
	const uint8_t *second; /* of the next one, when the block is one instruction that goes on there */
	bool sites;           /* some instructions of the page are not plain */
	enum dbt_kind kind;
	bool user;
	bool narrow;          /* 32-bit code */
	unsigned word;        /* bytes of a stack slot, and of an address: 4 or 8 */

	struct x86_insn insn; /* the one at hand */
	uint8_t bytes[16];
	bool image_disp, image_imm; /* its displacement or immediate is an address that moves with rip (emit_notes.fields) */
	bool constant_disp;         /* its displacement is relative to rip, but the address does not move with it */
	uint64_t at, next;    /* its rip, and the next one's */
	struct tb_insn *info;
	bool failed;          /* it can't be lowered: interpret it */
	bool ended;           /* the block has ended with it */

	/* u is the addend of the page of [u_base + u_disp], u_base a guest register; HOST_NONE: of nothing. */
	uint8_t u_base;
	int32_t u_disp;

	/* Addends that the block has put aside, of [guest register + disp], in dbt.addends: for where the one in u was another's
	 * meanwhile. */
	struct tr_addend {
		enum {ADDEND_NONE, ADDEND_ONCE, ADDEND_TWICE /* looked up so often */, ADDEND_KEPT} state;
		int32_t disp;
	} addends[16];

	struct tb_insn insns[TB_MAX_INSNS];
	unsigned count;
	struct tr_exit exits[TB_MAX_EXITS];
	unsigned exit_count;
	bool uses_x87;
	bool fresh;           /* kept addends have been seen to be another page's, for the instruction at hand */
	bool wraps;           /* an address of the instruction at hand has been seen to wrap */
	struct dbt_absent *absent; /* the page that the instruction at hand accesses has often been absent; or NULL */
	bool check_crossing;  /* the instruction at hand has been seen to access two pages */
	uint8_t guest[TB_MAX_INSNS * 15]; /* the block's bytes so far */
	bool shadow;          /* the instruction was an STI: no interrupt before the next */
	bool shadowed;        /* it comes behind an STI */
	uint8_t runs[TB_MAX_INSNS]; /* with --count-blocks (counts.h): their first instructions */
	unsigned run_count;
	bool run_ended;       /* the next instruction begins one */
	uint8_t *run_at;      /* where its counting would begin */
};

/* ---- translate.c: one block, see dbt_translate() ---- */
/* Nothing of it yet: it begins where code_used ends. page: of its first byte. */
void tr_begin(struct tr *tr, struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page);
/* Its instructions, up to its end or to the one that lies `limit` bytes behind the first. Without a limit also to where there is a
 * translation already. */
#define TR_NO_LIMIT (~0u)
void tr_walk(struct tr *tr, unsigned limit);
/* Its ways out, and its entry; not yet in the tables of code.c. NULL: no room. */
struct tb *tr_finish(struct tr *tr);

/* The first host instruction that changes guest state comes next. */
static inline void tr_commit(struct tr *tr)
{
	tr->info->commit = (uint16_t)(tr->e.at - tr->start);
}

/* Does a memory operand of these bytes, of 64-bit code, have a displacement of 4 bytes that is added to registers or to the base of FS
 * or GS, or is an address? It ends at imm_offset. Not one that is relative to RIP alone. */
static inline bool insn_has_disp32(const struct x86_insn *insn, const uint8_t *bytes)
{
	unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;

	/* MOV to and from CR and DR has none, whatever its mod is. */
	if (!insn->modrm_offset || insn->imm_offset < insn->modrm_offset + 5)
		return false;
	return mod == 2 || (mod == 0 && rm == 4 && (bytes[insn->modrm_offset + 1] & 7) == 5) ||
	       (mod == 0 && rm == 5 && insn->mem.seg >= X86_FS);
}

/* Has it an immediate of 4 bytes, from imm_offset on? Not a branch displacement. */
static inline bool insn_has_imm32(const struct x86_insn *insn)
{
	if (insn->length - insn->imm_offset != 4)
		return false;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_IMM)
			return true;
	}
	return false;
}

/* ---- operands.c ---- */
static inline void tr_forget_u(struct tr *tr)
{
	tr->u_base = HOST_NONE;
}
/* Nor is any addend that was put aside: other code may have run, or another table is in force. */
static inline void tr_forget_addends(struct tr *tr)
{
	tr_forget_u(tr);
	for (unsigned i = 0; i < 16; i++)
		tr->addends[i].state = ADDEND_NONE;
}
/* A memory operand of the instruction made accessible: the host operand to use. Clobbers u and, unless the
 * address is a register and a displacement, t. */
struct host_mem tr_memory(struct tr *tr, const struct x86_mem *mem, unsigned size);
/* The same, as an address in u; t is free. Restartable only. */
struct host_mem tr_memory_in_u(struct tr *tr, const struct x86_mem *mem, unsigned size);
struct host_mem tr_memory_in_t(struct tr *tr, const struct x86_mem *mem, unsigned size);
/* [guest rsp + disp] */
struct host_mem tr_stack(struct tr *tr, int32_t disp, unsigned size);
/* [register + disp] of a register that the host has: t stays what it is. */
bool tr_is_simple(const struct tr *tr, const struct x86_mem *mem);
/* The linear address of a memory operand into `reg` (t or u; may clobber u when `reg` is t). */
void tr_address(struct tr *tr, const struct x86_mem *mem, unsigned reg);
/* A guest register's value: its host register, or `scratch` after loading it there. */
unsigned tr_value(struct tr *tr, unsigned guest, unsigned scratch);
/* Writes host register `src` to a guest register, all 64 bits. */
void tr_set(struct tr *tr, unsigned guest, unsigned src);
/* Guest rsp += delta. */
void tr_adjust_rsp(struct tr *tr, int32_t delta);
/* Guest register `guest` changes: drops u if it was kept for it. */
void tr_register_written(struct tr *tr, unsigned guest);
/* It changes by delta: keeps u. */
void tr_register_moved(struct tr *tr, unsigned guest, int64_t delta);

/* ---- rewrite.c ---- */
/* The instruction as it is, with its registers replaced and its memory operand made accessible. */
void tr_copy(struct tr *tr);
bool tr_has_high_byte(const struct x86_insn *insn);

/* ---- narrow.c: 32-bit code ---- */
/* Gives the instruction at hand an encoding that 64-bit code has too. */
void tr_narrow_encoding(struct tr *tr);
/* Would 64-bit code take it for the same? */
bool tr_narrow_same(const struct tr *tr);
/* Can it be copied or lowered at all? */
bool tr_narrow_possible(const struct tr *tr);

/* ---- lower.c ---- */
/* Lowers what is not copied. False: not one of those. */
bool tr_lower(struct tr *tr);
bool tr_lower_system(struct tr *tr);
bool tr_lower_string(struct tr *tr);
bool tr_lower_bits(struct tr *tr);
/* Where the direct branch at hand leads. */
uint64_t tr_target(const struct tr *tr);
/* Leaves to the interpreter with the instruction not begun, when t (looked at without flags) is not zero. */
void tr_step_unless_t_zero(struct tr *tr);
/* Saves the flags and RAX, which are then free; and for jumps in `slow` that are taken then: puts both back and leaves
 * to the interpreter. */
void tr_free_flags(struct tr *tr);
void tr_slow_path(struct tr *tr, uint8_t **slow, unsigned count);
/* The flags from RAX: AL is OF, AH the others. */
void tr_flags_from_rax(struct tr *tr);
/* What a displacement of the instruction at hand stands for. */
static inline enum emit_meaning tr_disp_meaning(const struct tr *tr, int64_t disp)
{
	return tr->image_disp && disp == tr->insn.mem.disp ? EMIT_ADDRESS : EMIT_NUMBER;
}
/* u = the addend of the page of the address in a host register. */
void tr_look_up(struct tr *tr, unsigned address);
void emit_indirect_jump(struct emitter *e);
/* Ends the block with a jump to target. */
void tr_jump_to(struct tr *tr, uint64_t target);
/* The block ends here, the interpreter goes on with the instruction at hand. */
void tr_step(struct tr *tr);

/* The block ends here, C executes the instruction at hand. False: it is none of those. */
bool tr_help(struct tr *tr);
/* Keeps the instruction at hand for dbt_help(); ~0: no room. */
uint32_t tr_help_new(struct tr *tr);

/* ---- how.c ---- */
enum tr_how {
	TR_INTERPRET,
	TR_HELP,
	TR_LOWER,
	TR_COPY,
};
/* What becomes of an operation, as how.def says. */
enum tr_how tr_how(unsigned op);
/* May the instruction be copied, operands and all? */
bool tr_copyable(const struct x86_insn *insn);

bool dbt_host_avx(void);

#endif
