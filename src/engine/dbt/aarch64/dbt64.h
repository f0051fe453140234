/* Binary translation of AArch64 guests on x86-64 hosts.
 *
 * The vcpu begins with the interpreter's, whose run loop, MMU and semantics it uses: what is not translated in line calls the
 * interpreter's function for that instruction, and what changes the processor's mode ends a block and goes back to its loop.
 *
 *     host register   holds, while translated code runs
 *     rbp             the vcpu, plus STATE_BIAS
 *     r8 r9 r10 r11   x0 x1 x2 x3
 *     rsi rdi r14     x4 x5 x6
 *     rbx r12 r13     x8 x19 x20
 *     r15             the current stack pointer
 *     rax rcx rdx     nothing from one instruction to the next
 *
 * The other registers are in the vcpu. NZCV is in `flags`, in the form of the host's flags, and sometimes in those themselves: translate.h.
 *
 * Code is valid for one guest-virtual address of one guest-physical page in one mode (cpu->key), as long as the page's generation
 * (mem_page_word) stays; each block looks at that. Jumps within a page are linked, those from page to page in the upper half too, while the
 * epoch is the same; all others go by a table of which each entry is good for one epoch (a64_epoch()).
 */
#ifndef ENGINE_DBT_AARCH64_DBT64_H
#define ENGINE_DBT_AARCH64_DBT64_H

#include "engine/dbt/emit.h"
#include "engine/interp/aarch64/cpu.h"

/* So that x0 to x30 are within a byte's displacement. */
#define STATE_BIAS 128

#define DBT64_CODE_SIZE   MIB(128)
#define DBT64_BLOCKS_MAX  262144u
#define DBT64_HASH        65536u
#define DBT64_JUMPS       8192u
#define DBT64_BLOCK_MAX   48u /* instructions */

struct dbt64_block {
	uint64_t pc, gpa;
	uint32_t key;
	uint32_t generation;
	_Atomic uint32_t *page_word;
	struct dbt64_block *next; /* of the same hash */
	const uint8_t *code;
	uint8_t stop_at, body_at; /* of code: behind the look at the page; behind that at requests too */
};

/* Where indirect branches look: an entry is right if pc and tag are. 32 bytes. */
struct dbt64_jump {
	uint64_t pc;
	uint64_t tag; /* dbt64.jump_tag */
	const uint8_t *code;
	uint64_t unused;
};

struct dbt64 {
	struct a64_cpu cpu; /* first: the interpreter's functions take it */
	uint64_t sp;        /* the current stack pointer, when it is not in its register */
	uint16_t flags;     /* translate.h */
	_Atomic uint32_t stop; /* blocks are to end: somebody wants something of this vcpu */
	bool stale;         /* the block at s.pc is no longer what memory has */
	bool fp_live;       /* MXCSR has flags that FPSR has not: it was cleared when this was set */
	uint32_t mxcsr_clear; /* no flags, no exceptions, to nearest */
	uint64_t jump_tag;  /* of entries that are right now: the epoch, and in the low 16 bits cpu.key */
	uint8_t *link;      /* the displacement of the jump by which the code was left, to be linked; or NULL */
	const struct dbt64_block *link_from;
	struct dbt64_jump jumps[DBT64_JUMPS];

	uint8_t *code_write, *code_run; /* the same memory: writable, executable */
	size_t code_used, code_start;
	uint8_t *enter, *leave, *leave_to, *link_to, *look_up, *help, *go; /* stubs, where they run */
	struct dbt64_block **hash;
	struct dbt64_block *blocks;
	uint32_t block_count;
	bool has_fma, has_aes;
	uint64_t smallest[2][2]; /* twice the bits of the smallest normal number in each lane: of single, of double */
	uint64_t translations, flushes; /* for statistics */
};

/* ---- code.c ---- */
/* Executable memory for one vcpu. -ENOMEM or what mmap says. */
int dbt64_code_create(struct dbt64 *d) must_check;
void dbt64_code_destroy(struct dbt64 *d);
/* Can this process have such? One sentence in why if not. */
int dbt64_code_probe(char *why, size_t why_size) must_check;
/* The block at cpu.s.pc in the current mode; translated if need be. Faults as a fetch does. */
const struct dbt64_block *dbt64_block_find(struct dbt64 *d, uint64_t pc);
void dbt64_flush(struct dbt64 *d);
/* Makes the jump at `at` (where it is written) go to a block, of the same page as the block that it is in. Far: on another page, while jump_tag is what it is now. */
void dbt64_link_far(struct dbt64 *d, uint8_t *at, const struct dbt64_block *block);
void dbt64_link(struct dbt64 *d, uint8_t *at, const struct dbt64_block *from, const struct dbt64_block *block);

/* ---- run.c ---- */
/* The a64_cpu's run_translated. */
void dbt64_run(struct a64_cpu *cpu);
/* What the stub `help` calls: the interpreter's function for an instruction, with the state where that looks for it. */
void dbt64_help(struct dbt64 *d, uint32_t insn, a64_sem *fn);

/* What the stub `go` calls: the same for an instruction that ends a block. Says where to go on: in the code of the next one, or out. */
const uint8_t *dbt64_go(struct dbt64 *d, uint32_t insn, a64_sem *fn);
/* SVC, which takes its exception here and not by way of the interpreter's loop. */
void dbt64_svc(struct a64_cpu *cpu, uint32_t insn);

/* ---- stubs.c ---- */
void dbt64_stubs_emit(struct dbt64 *d, struct emitter *e);
/* Code that goes to the block at rax, in line: where each indirect branch has its own, the host foresees each by itself. */
void dbt64_emit_look_up(const struct dbt64 *d, struct emitter *e);

/* ---- translate.c ---- */
/* Writes code for the block at pc, whose bytes begin at `guest` with room for max instructions on its page. False: no space. */
bool dbt64_translate(struct dbt64 *d, struct emitter *e, struct dbt64_block *block, const uint8_t *guest, unsigned max);

#endif
