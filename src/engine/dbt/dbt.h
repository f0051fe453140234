/* The translator's vcpu.
 *
 * struct dbt begins with the interpreter's struct cpu, which stays the state of record: translated code is entered with
 * it and leaves to it, and whatever is not translated is one step of the interpreter.
 *
 * In translated code
 *   GS base        struct dbt (cpu.s.gpr[] of registers that have no host register; links; flags bytes)
 *   RSP            the side stack: host return addresses of translated calls
 *   R10            the flat table in force (mmu.h)
 *   R11            `u`: an addend, or the target of an indirect branch
 *   RCX            `t`: a scratch register
 *   the others     guest registers, see guest_to_host[]
 *   EFLAGS         the guest's status flags and DF
 *   XMM/YMM, MXCSR the guest's; x87 too while x87_loaded
 */
#ifndef ENGINE_DBT_DBT_H
#define ENGINE_DBT_DBT_H

#include "base/lock.h"
#include "core/debug.h"
#include "engine/dbt/emit.h"
#include "engine/dbt/mmu.h"
#include "engine/interp/x86_64/cpu.h"

#define HOST_T     HOST_RCX
#define HOST_U     HOST_R11
#define HOST_TABLE HOST_R10

/* Why translated code returned to C. */
enum dbt_exit {
	DBT_EXIT_LOOKUP,   /* find the code of rip */
	DBT_EXIT_LINK,     /* the same; then patch link number `exit_arg` */
	DBT_EXIT_SLOT,     /* the same; then fill slot `exit_arg` of the context: to a block that crosses pages */
	DBT_EXIT_INDIRECT, /* the same; then enter it in the jump cache */
	DBT_EXIT_STEP,     /* the interpreter executes the instruction at rip */
	DBT_EXIT_KICK,     /* requests are to be looked at; rip is a boundary */
	DBT_EXIT_X87,      /* load the x87 state, then go on at rip */
	DBT_EXIT_ABSENT,   /* `missed_gva` has no entry for the access of the instruction at rip; exit_arg: DBT_ABSENT_ARG() */
	DBT_EXIT_HELP,     /* C executes the instruction number `exit_arg`; see help.c */
	DBT_EXIT_COUNT,
};

/* One guest instruction in a translation: where its host code begins, and how far it may be taken back. */
struct tb_insn {
	uint16_t host;   /* offset from tb->host */
	uint16_t commit; /* offset of the first host instruction that changes guest state */
	uint16_t guest;  /* offset from tb->rip */
	uint8_t flags;   /* TB_INSN_* */
};
#define TB_INSN_U_LIVE  1u /* at its memory access `u` is the page's addend: a fault may replace it and go on */
#define TB_INSN_RESTART 2u /* from anywhere up to `commit` it may be started again at `host` */
#define TB_INSN_SHADOW  4u /* no interrupt before it: STI came before */
#define TB_INSN_STEP    8u /* left to the interpreter; it ends the block */
#define TB_INSN_REP     16u /* a host REP, see lower_string.c */
#define TB_INSN_FOLDED  32u /* a retpoline: CALL, MOV and RET as one */
#define TB_FOLDED_INSNS 3
#define TB_INSN_ASIDE   128u /* u came from, or went to, addends[] of the register of its operand */
#define TB_INSN_TRUNCATED 64u /* of 32-bit code: the address is truncated, and in t (or a constant) */

/* A bit of a block's key besides those of struct cpu: its one instruction is entered with RF set, which is how IRET returns from
 * a fault. Nothing can be seen of RF but in the frame of an interrupt that comes before that instruction. */
#define DBT_KEY_RF 32u

/* Host bytes at a block's start that a redirection may replace. */
#define TB_REDIRECT 16

enum tb_state {
	TB_LIVE,
	TB_SUSPENDED, /* its page was written: good again if its own bytes are the same */
	TB_STALE,
};

struct tb {
	uint64_t rip;
	gpa_t gpa;
	uint32_t key;
	uint16_t length, count;
	uint32_t host, host_size; /* offset of the code in the cache */
	uint32_t indirect;        /* offset of the checked entry for indirect branches; 0: not made yet */
	uint8_t state;            /* enum tb_state */
	uint8_t first[TB_REDIRECT]; /* host code that a redirection has replaced */
	const uint8_t *bytes;     /* the guest's, length of them, as translated */
	gpa_t second;             /* of the page on which its one instruction ends; 0: it does not cross */
	struct tb *second_next;   /* in that page's list */
	struct tb *hash_next, *page_next;
	struct tb_insn *insns;    /* count of them */
};

/* A direct branch: a jump in the code that first leads to its stub. */
struct dbt_link {
	uint64_t target;
	uint32_t jump;  /* offset in the cache of the displacement of a rel32 */
	uint32_t check; /* of the displacement of the pair's byte, see DBT_PAIRS_MAX; 0: the target is on the same page */
};

/* A linear page of code and the guest page that it is. A branch to another page is taken in the contexts that have the
 * pair that it was made for; which ones a context has is an array of bytes that ends where its slots begin. */
#define DBT_PAIRS_MAX 65536
#define DBT_PAIR_NONE (DBT_PAIRS_MAX - 1)
#define DBT_PAIR_DISP(number) (-1 - (int32_t)(number)) /* of its byte, from the slots */
struct dbt_pair {
	gva_t page;
	gpa_t gpa;
};

#define DBT_TB_HASH    262144
#define DBT_PAGE_HASH  16384
#define DBT_LINKS_MAX  1048576
#define DBT_SLOTS_MAX  262144
#define DBT_SIDE_STACK 65536
#define DBT_JUMPS      65536 /* entries of a jump cache: the low 16 bits of rip */

/* An instruction that is a SITE_ABSENT: how often it looked since the last review, and found no entry. */
struct dbt_absent {
	gpa_t gpa;
	bool used;
	unsigned idle; /* reviews since it last found none */
	uint32_t misses;
	uint64_t looks; /* counted by translated code */
};
#define DBT_ABSENT_MAX 256
#define DBT_ABSENT_ARG(number, size, write) ((uint32_t)(number) << 8 | (size) << 1 | (write))

/* TBs of one guest page. */
struct code_page {
	gpa_t gpa;
	struct tb *tbs;      /* that begin on it */
	struct tb *crossing; /* that end on it */
	struct code_page *next;
	bool suspended;    /* its blocks are */
	uint32_t resumed;  /* how often it was code again */
	uint32_t writes;   /* since then, or since a block of it was last looked for */
};

/* What belongs to a context and a privilege level: where indirect and page-crossing branches go. */
struct dbt_targets {
	uint64_t *slots;     /* host addresses, by slot number; below them the bytes of pairs */
	uint64_t *jumps;     /* DBT_JUMPS host addresses, by the low bits of rip */
	void *jumps_area;
	uint16_t used[1024]; /* entries of jumps that were filled since the last flush */
	uint32_t used_count; /* 1025: too many to remember */
	uint32_t filled_slots;
	bool filled_pairs;
};

struct dbt_slot {
	uint64_t target;
	uint32_t stub; /* offset: leaves with this slot's number */
};

/* A kind of code: the slots and pairs of one are numbered together, and no block of one leads to a block of another. */
enum dbt_kind {
	DBT_KERNEL,
	DBT_USER,
	DBT_USER32,
	DBT_KERNEL32,
	DBT_KINDS,
};
struct dbt_slots {
	struct dbt_slot *slots;
	uint32_t count;
	uint32_t *hash; /* by target; slot number + 1 */
	struct dbt_pair *pairs;
	uint32_t pair_count;
	uint32_t *pair_hash; /* their numbers */
};

/* Writes to pages of translated code by anybody, for the vcpus to see: gpa << 12 | length, 0 for the whole page. */
#define DBT_WRITES 1024
struct dbt_writes {
	struct lock lock; /* of who adds */
	_Atomic uint32_t head;
	_Atomic uint64_t ring[DBT_WRITES];
};

struct dbt_vm {
	struct interp_vm interp; /* first */
	struct vm *vm;
	struct dbt_ram *ram;
	struct lock marking; /* a page's bit and its protection change together */
	struct dbt_writes writes;
	struct lock offering; /* of who writes to the keeper's ring */
};

/* Why translated code faulted. Up to DBT_FAULT_ADDEND the access can be made again, most often; the others leave to the interpreter. */
enum dbt_fault_cause {
	DBT_FAULT_FILLED,   /* the table's entry was not there yet */
	DBT_FAULT_WRITTEN,  /* it was, to read only: the page's first write, or the first since it was code */
	DBT_FAULT_ADDEND,   /* it was; a kept addend was another page's */
	DBT_FAULT_CROSSES,  /* the access has two pages */
	DBT_FAULT_DEVICE,
	DBT_FAULT_CODE,     /* write to a page of translated code, or to ROM */
	DBT_FAULT_GUEST,    /* the guest gets a page fault */
	DBT_FAULT_WRAPS,    /* an address of 32-bit code that has to wrap */
	DBT_FAULT_ALIGNED,  /* a store that is not aligned as it must be, to a page that has no entry */
	DBT_FAULT_GENERAL,  /* #GP: not canonical, not aligned */
	DBT_FAULT_ARITHMETIC, /* #DE, #MF, #XM */
	DBT_FAULT_OTHER,
	DBT_FAULT_COUNT,
};
extern const char *const dbt_fault_names[DBT_FAULT_COUNT];

struct dbt_stats {
	uint64_t translations, translated_insns, invalidated, resumed, cache_flushes;
	uint64_t moved;  /* blocks that were translated for another address before */
	uint64_t loaded; /* blocks from the translation cache's file */
	uint64_t guest_bytes, host_bytes; /* of translations */
	uint64_t exits[DBT_EXIT_COUNT];
	uint64_t faults, fault_fills, fault_steps, fault_kicks;
	uint64_t fault_causes[DBT_FAULT_COUNT], interpreted_causes[DBT_FAULT_COUNT]; /* of faults; of fault_steps */
	uint64_t absent_filled; /* of DBT_EXIT_ABSENT: the page was there */
	/* With --stats: instructions that translated code left to the interpreter, by operation; and those after a fault. */
	uint64_t steps[X86_OP_COUNT], step_faults[X86_OP_COUNT];
	uint64_t faults_seen; /* of fault_steps */
	uint64_t helped[X86_OP_COUNT]; /* executed by help.c */
	uint64_t checked, unchecked; /* with --check: blocks that agree, blocks that could not be compared */
};

/* What the vcpu's thread does. */
enum dbt_time {
	DBT_TIME_OUTSIDE, /* of the engine */
	DBT_TIME_INTERPRETER,
	DBT_TIME_C,
	DBT_TIME_TRANSLATION,
	DBT_TIME_TRANSLATED, /* and what the kernel does to deliver its faults */
	DBT_TIME_FAULTS,
	DBT_TIME_COUNT,
};

struct dbt_clock {
	uint64_t began, began_ns, at;
	enum dbt_time now;
	uint64_t ticks[DBT_TIME_COUNT];
};

/* What all translations take for granted; without padding. */
struct dbt_assumptions {
	uint64_t cr0, cr4, efer, star, fmask, xcr0;
};

struct dbt {
	struct cpu cpu; /* first: GS offsets and casts */

	/* read and written by translated code */
	uint64_t jump_to, c_sp, side_sp, side_base;
	uint64_t side_user_base, side_user_sp; /* sp: the user's, while supervisor code runs */
	uint8_t side_user;     /* whose side stack RSP is on */
	bool side_narrow;      /* the user's has return sites of 32-bit code */
	uint64_t table[TLB_COUNT]; /* of the current context */
	uint64_t table_now;
	uint64_t slots_of[2], jumps_of[2]; /* kernel, user */
	uint64_t rep_dst, rep_src, rep_count; /* lower_string.c */
	uint64_t bit_index, bit_element, mask_31, mask_63; /* lower_bits.c */
	uint64_t saved_rax;    /* while RAX is borrowed */
	uint64_t saved_flags;  /* likewise, as flags_word */
	uint64_t kicked;       /* a kick has not been looked at */
	uint64_t guest_df;
	uint64_t slots_now;    /* address of the slots of the current privilege and context */
	uint64_t jumps_now;    /* the jump cache's address >> 3 */
	uint64_t segment_odd[2]; /* FS, GS: 0 if all that 32-bit code asks of it is to add its base */
	uint64_t x87_unloaded; /* the x87 state is in cpu.s.fpu, not in the host's registers */
	uint64_t addends[16];  /* that the block at hand has put aside, by guest register */
	uint64_t not_begin[2]; /* minus dbt_ram_begin() of what can be read, and written */
	uint64_t branch_target; /* of a call through memory, while its return address is pushed; MXCSR while it is looked at */
	uint32_t exit_reason, exit_arg;
	uint32_t host_mxcsr;
	uint32_t counting;     /* the counter of the run that is executed, with --count-blocks */
	uint16_t flags_word;   /* AL = OF, AH = LAHF's byte */

	struct dbt_vm *shared;
	struct dbt_mmu mmu;

	/* the code cache */
	uint8_t *code_run, *code_write; /* the executable and the writable alias */
	size_t code_size, code_used, code_start; /* code_start: behind the stubs */
	size_t cold_used;               /* at the end: ways out of blocks, DBT_COLD bytes each */
	uint8_t *meta;                  /* arena of struct tb, tb_insn, code_page */
	size_t meta_size, meta_used;
	struct tb **tb_hash;
	struct code_page **page_hash;
	struct tb **tb_order; /* by host address, for finding the TB of a host pc */
	uint32_t tb_count, tb_max;
	struct dbt_link *links;
	uint32_t link_count;
	struct dbt_slots slot_kinds[DBT_KINDS];
	struct dbt_targets kernel;      /* supervisor code: one for all contexts, while what it leads to is global */
	struct dbt_targets *targets;    /* 64-bit user code: one a context */
	struct dbt_targets *targets32;  /* 32-bit user code: likewise */
	struct dbt_targets *kernel32;   /* 32-bit supervisor code: likewise */
	struct dbt_targets *kernel_own; /* supervisor code: one a context, for a guest whose kernel pages are not global */
	bool kernel_private;            /* kernel_own is in use */
	unsigned kernel_flushes;        /* of `kernel`, because another context was taken */
	bool kernel_nonglobal;          /* kernel targets filled in this context lie on pages that are not global */
	uint64_t code_pages[1024];      /* hashed set of linear pages that slots and jump caches lead to */
	uint8_t *side_stack;
	struct dbt_site_entry *sites;
	struct dbt_moved *moved; /* moved.c */
	uint8_t *moved_arena;
	size_t moved_used;
	uint64_t *tb_filter; /* hashed set of where blocks begin, and some that are no more */

	/* addresses of stubs */
	uint8_t *enter, *enter_window, *enter_window_end;
	uint8_t *exit_lookup, *exit_link, *exit_slot, *exit_indirect, *exit_step, *exit_kick, *exit_x87, *exit_help, *exit_absent, *enter_rip, *return_underflow, *return_underflow_user, *return_miss, *stubs_end;

	struct dbt_absent absent[DBT_ABSENT_MAX];
	unsigned absent_count;
	uint64_t resume_at;      /* the host code that looked */
	uint64_t absent_seen_ns; /* when they were last reviewed */
	uint64_t missed_rip; /* of the last instruction whose access found no page ... */
	gva_t missed_gva;    /* ... here */
	uint32_t writes_seen;
	struct dbt_assumptions assumptions; /* of all translations */
	struct dbt_context *side_context;
	struct dbt_stats stats;
	struct dbt_clock clock;
	struct dbt_check *check; /* NULL without --check */
	bool rf;        /* RF is set before the instruction at rip; translated code has it cleared in cpu.s.rflags */
	bool measuring; /* --stats, --profile, `ruse top`: the clock runs */
	struct dbt_profile *profile; /* NULL without --profile */
	struct counted_run *runs;  /* what counters stand for; NULL without --count-blocks */
	uint32_t run_count;
	int thread_id;
	void *signal_stack;
	_Atomic bool thread_known;
	/* With a translation cache: the number of the environment for code of this key, while `assumptions` are what they are. */
	uint32_t environment, environment_key;
	bool environment_known;
	uint64_t site_pages[(1u << 15) / 64]; /* sites.c */
	_Alignas(64) uint8_t fxsave[512];
	gva_t breakpoints[DEBUG_POINTS_MAX]; /* that no block goes beyond */
	unsigned breakpoint_count;
};

#define DBT_OFFSET(field) offsetof(struct dbt, field)

/* -- code.c: the cache -- */
/* May this process have memory that is executable? 0, or -errno with one sentence in why. */
int dbt_code_probe(char *why, size_t why_size) must_check;
int dbt_code_init(struct dbt *d, size_t code_size);
void dbt_code_destroy(struct dbt *d);
void dbt_code_flush(struct dbt *d);
/* The translation at the current rip (cpu.s.rip, cpu.key), made if need be. NULL: this instruction must be interpreted.
 * indirect: an indirect branch leads there. May raise a guest fault (longjmp) for the instruction fetch. */
struct tb *dbt_tb_get(struct dbt *d, bool indirect);
/* engine_ops.debug: drops what goes beyond a breakpoint. */
void dbt_debug(struct dbt *d);
/* Is there a translation from rip on? */
bool dbt_tb_exists(const struct dbt *d, uint64_t rip, gpa_t gpa, uint32_t key);
struct tb *dbt_tb_find_host(struct dbt *d, const uint8_t *host);
/* The page was written and is data: no block of it is entered before it was compared. */
void dbt_page_suspend(struct dbt *d, gpa_t gpa);
/* A write to a page of code: has it been code and data in turn too often to suspend it for every write? */
bool dbt_page_stays_code(struct dbt *d, gpa_t gpa);
void dbt_page_drop_range(struct dbt *d, gpa_t gpa, unsigned len);
/* The key of the block at rip. */
static inline uint32_t dbt_key(const struct dbt *d)
{
	return d->cpu.key | (d->rf ? DBT_KEY_RF : 0);
}
void *dbt_meta_alloc(struct dbt *d, size_t size); /* NULL: the arena is full */
static inline uint8_t *tb_entry(const struct dbt *d, const struct tb *tb)
{
	return d->code_run + tb->host;
}
/* Where the next way out of a block goes: DBT_COLD bytes. There is room for those of the block at hand. */
#define DBT_COLD 24
struct emitter dbt_cold_emitter(struct dbt *d);
uint8_t *dbt_tb_indirect_entry(struct dbt *d, struct tb *tb);
uint32_t dbt_link_new(struct dbt *d, uint64_t target); /* ~0: full */
void dbt_link_resolve(struct dbt *d, uint32_t link, struct tb *tb);
void dbt_slot_resolve(struct dbt *d, uint32_t slot, struct tb *tb);
void dbt_jump_resolve(struct dbt *d, struct tb *tb);
/* The context, the kind of code or both are others now: sets slots_now, jumps_now and table_now. */
void dbt_select(struct dbt *d);
void dbt_targets_flush(struct dbt *d, struct dbt_targets *targets, enum dbt_kind kind);
void dbt_side_reset(struct dbt *d);

extern const struct dbt_mmu_listener dbt_code_listener; /* ctx to be set */

void dbt_tb_drop(struct dbt *d, struct tb *tb);

/* -- sites.c: guest instructions that fault again and again -- */
enum dbt_site {
	SITE_PLAIN,
	SITE_FRESH,    /* a kept addend is often another page's: look up */
	SITE_ABSENT,   /* its pages are often not there: look before it, which spares the signal. As long as that is so (struct dbt_absent) */
	SITE_WRAPS,    /* an address wraps at 4 GiB: truncate it */
	SITE_CROSSES,  /* its accesses cross pages: check first, and look up */
	SITE_STEP,     /* a device, or data in a page of code: interpret it */
};
/* Counts a fault; true when the instruction is such a site now, and its block, which has it in another form, must go. */
bool dbt_site_count(struct dbt *d, gpa_t gpa, enum dbt_site kind);
enum dbt_site dbt_site_kind(const struct dbt *d, gpa_t gpa);
/* False: no instruction on the page is one. */
bool dbt_site_any(const struct dbt *d, gpa_t gpa);
/* What is counted of a SITE_ABSENT; NULL: it is none. */
struct dbt_absent *dbt_site_absent(struct dbt *d, gpa_t gpa);
/* Now and then: those that found their pages become plain. */
void dbt_sites_review(struct dbt *d);
/* Makes an instruction one of this kind. */
void dbt_site_set(struct dbt *d, gpa_t gpa, enum dbt_site kind);
#define DBT_SITES_BITS      16
#define DBT_SITE_PAGES_BITS 15
size_t dbt_sites_size(void);

/* -- stubs.c -- */
void dbt_stubs_emit(struct dbt *d, struct emitter *e);

/* -- translate.c -- */
/* second: the next page (gpa in second_gpa), when the instruction at rip goes on there; or NULL. */
struct tb *dbt_translate(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page, gpa_t second_gpa,
			 const uint8_t *second);

/* -- moved.c -- */
struct tr;
size_t dbt_moved_size(void);
size_t dbt_moved_arena_size(void);
/* Assumptions have changed. */
void dbt_moved_clear(struct dbt *d);
/* The block at rip from a record of it at another address; NULL: there is none. */
struct tb *dbt_moved_get(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page);
/* It is about to be translated: is it for the second time, for another address, and should be kept? */
bool dbt_moved_again(struct dbt *d, uint64_t rip, gpa_t gpa);
void dbt_moved_keep(struct dbt *d, const struct tr *tr);

/* -- lower_system.c -- */
/* What all translations take for granted of the control registers; another value makes them wrong. */
struct dbt_assumptions dbt_assumptions(const struct cpu *cpu);

/* -- fault.c -- */
/* For a VM, on a thread that may still (or again) change handlers: before the sandbox, or the I/O thread. */
int dbt_signals_init(void);
void dbt_signals_exit(void);
int dbt_thread_init(struct dbt *d); /* on the vcpu thread */
void dbt_thread_exit(struct dbt *d);
int dbt_kick_signal(void);
/* May the instruction be a SITE_ABSENT: one that makes one access to memory by tr_memory(), or one to read and then one to write? */
bool dbt_looks_first(const struct x86_insn *insn);

/* -- writes.c -- */
extern const struct cpu_mmu_hooks dbt_mmu_hooks;
/* [gpa, gpa+len) was written by somebody who is not a vcpu (mem.written). */
void dbt_memory_written(void *vm, gpa_t gpa, uint64_t len);
void dbt_memory_discarded(void *vm, gpa_t gpa, uint64_t len); /* mem.discarded */
/* Drops what others' writes have made stale. Own thread. */
void dbt_see_writes(struct dbt *d);

/* -- check.c -- */
int dbt_check_init(struct dbt *d);
void dbt_check_exit(struct dbt *d);
/* Runs the block by the interpreter, then by `enter`, and compares; leaves the engine at a difference. */
void dbt_check_block(struct dbt *d, struct tb *tb, void (*enter)(struct dbt *d, struct tb *tb));

/* -- help.c -- */
/* Is the instruction one that C executes for translated code? */
bool dbt_helped(const struct x86_insn *insn);
/* Keeps an instruction that will be helped; ~0: no room. */
uint32_t dbt_help_new(struct dbt *d, const struct x86_insn *insn);
/* Executes the one at rip that was kept under this number. Faults, exits and restarts leave by longjmp. False: the
 * interpreter's loop has to look before the next one. */
bool dbt_help(struct dbt *d, uint32_t number);

/* -- run.c -- */
bool dbt_run(struct cpu *cpu);
void dbt_x87_store(struct dbt *d);
void dbt_x87_load(struct dbt *d);

/* -- narrow.c -- */
/* Is 32-bit code such that it can be translated? Also notes what there is to say of FS and GS. */
bool dbt_narrow_good(struct dbt *d);
/* Translated 32-bit code has returned: its registers have 32 bits. */
void dbt_narrow_truncate(struct dbt *d);

/* -- stats.c -- */
struct stats_sink;
void dbt_stats_begin(struct dbt *d);
void dbt_report(struct vcpu *vcpu, struct stats_sink *sink);
void dbt_measure(struct vcpu *vcpu, bool on);
/* The instruction at rip is about to be interpreted. */
void dbt_stats_step(struct dbt *d);
enum dbt_time dbt_time_change(struct dbt *d, enum dbt_time to);
/* From now on the thread does this; what it did before. */
static inline enum dbt_time dbt_time(struct dbt *d, enum dbt_time to)
{
	return unlikely(__atomic_load_n(&d->measuring, __ATOMIC_RELAXED)) ? dbt_time_change(d, to) : DBT_TIME_OUTSIDE;
}

/* Does the state of record stand before 32-bit code? */
static inline bool dbt_narrow(const struct dbt *d)
{
	return d->cpu.mode == X86_MODE_32;
}

static inline enum dbt_kind dbt_kind_now(const struct dbt *d)
{
	if (dbt_narrow(d))
		return d->cpu.cpl == 3 ? DBT_USER32 : DBT_KERNEL32;
	return d->cpu.cpl == 3 ? DBT_USER : DBT_KERNEL;
}

/* Which table's entries translated code goes by. */
static inline unsigned dbt_table_index(const struct dbt *d)
{
	if (dbt_narrow(d))
		return d->cpu.cpl == 3 ? DBT_TABLE_USER32 : DBT_TABLE_KERNEL32;
	return d->cpu.rights;
}

static inline struct dbt *dbt_of(struct cpu *cpu)
{
	return (struct dbt *)cpu;
}

#endif
