/* The interpreter's vcpu: architectural state, what is derived from it, the soft TLB, the block cache.
 *
 * Invariants:
 *   - s.rip is the current instruction's address whenever anything that can fault or exit is called;
 *   - the status flags live in lf (lazily), the other RFLAGS bits in s.rflags; cpu_rflags() joins them;
 *   - a fault or an exit leaves by longjmp to cpu->jump; nothing is committed then, so the
 *     instruction can be started again. Device accesses that were completed meanwhile are in the replay log
 *     and give their recorded values when it is.
 */
#ifndef ENGINE_INTERP_X86_64_CPU_H
#define ENGINE_INTERP_X86_64_CPU_H

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/decode.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/state.h"
#include "core/platform.h"
#include "core/vm.h"
#include "engine/interp/x86_64/sem.h"
#include <setjmp.h>
#include <stdatomic.h>

/* ---- lazy flags ----
 * result: the last result, sign-extended to 64 bits: ZF, SF, PF come from it.
 * aux: bit 0 OF^CF of the carry chain (carry into the top bit), bit 1 CF, bit 3 AF; bits 15:8 are xored into the
 *      result's low byte for PF, bit 16 is xored into SF. Explicitly written flags use the xor bits. */
struct lazy_flags {
	uint64_t result;
	uint32_t aux;
};
#define LF_CARRY_IN (1u << 0) /* OF = bit 0 ^ bit 1 */
#define LF_CF       (1u << 1)
#define LF_AF       (1u << 3)
#define LF_PF_SHIFT 8
#define LF_SF       (1u << 16)

/* ---- soft TLB ---- */
#define TLB_BITS 9
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_NONE (~0ull) /* a tag that no page has */

struct tlb_entry {
	uint64_t read_tag, write_tag; /* page address, or TLB_NONE */
	uintptr_t addend;             /* hva - gva */
	uint64_t gpa_global;          /* page address; bit 0: global; bit 1: TLB_MAY_WRITE */
};
/* With mmu_hooks: the page may be written, but each store looks at the page's word afterwards. */
#define TLB_MAY_WRITE 2u
struct code_tlb_entry {
	uint64_t tag;
	uint64_t gpa_global;
	uint8_t *hva;
};
/* Data accesses go by one of these; code by user or not. */
enum tlb_index { TLB_SUPERVISOR, TLB_SUPERVISOR_AC, TLB_USER, TLB_COUNT };
/* An always empty TLB: what cpu->data_tlb is while alignment checks or data breakpoints are on, so that every
 * access takes the slow way, where they are looked at. */
#define TLB_CHECKED TLB_COUNT
#define TLB_LOG 64 /* fills that a flush can undo one by one */

/* ---- decoded blocks ---- */
/* Registers are named by their byte offset in struct cpu, so that an address is three loads and two additions
 * whatever its form: "none" is the offset of cpu->zero, RIP that of cpu->s.rip, which holds the address of the
 * running block's first byte between instructions. */
struct uop {
	const void *go;   /* label in fast.c */
	sem_fn *fn;       /* what the calling labels call */
	union {
		uint64_t imm;
		const struct x86_insn *insn; /* for fn */
	};
	int64_t disp;
	uint16_t base, index, segment; /* offsets of 64-bit values in struct cpu */
	uint16_t dst, src;             /* likewise; bytes may be at odd offsets (AH) */
	uint16_t offset;               /* of the instruction in the block */
	uint8_t length;
	uint8_t scale;                 /* shift */
	uint8_t seg;                   /* enum x86_seg, for #SS or #GP */
	uint8_t cc;
};

struct block {
	uint64_t gpa;                 /* of the first byte */
	uint32_t key;                 /* mode of the code, see block_key() */
	uint32_t generation;          /* of the page when it was decoded */
	_Atomic uint32_t *page_word;  /* mem_page_word(gpa) */
	struct block *hash_next;
	uint16_t length;              /* bytes */
	uint16_t count;               /* instructions */
	/* Successors, valid while epoch and base match. [0]: fall-through, [1]: taken. */
	uint32_t chain_epoch;
	uint64_t chain_base;
	struct block *chain[2];
	struct uop uops[];
};

#define JUMP_CACHE_SIZE 4096
struct jump_cache_entry {
	uint64_t linear, rip; /* both: the same code may be at another offset of another segment, behind its limit */
	struct block *block;
	uint32_t epoch, key;
};

#define BLOCK_HASH_SIZE 32768
#define BLOCK_MAX_INSNS 64

struct block_cache {
	struct block *hash[BLOCK_HASH_SIZE];
	uint8_t *arena;      /* reserved, committed by use */
	size_t used, size;
	uint64_t translations, flushes;
};

/* ---- exits and replay ---- */
#define REPLAY_MAX 64
enum cpu_leave { LEAVE_NONE, LEAVE_EXCEPTION, LEAVE_EXIT, LEAVE_RESTART };

enum cpu_event_kind {
	EVENT_EXCEPTION,     /* fault: saves RF */
	EVENT_TRAP,          /* #DB after an instruction: single-step, data breakpoint, task switch */
	EVENT_SOFTWARE,      /* INT n, INT3, INTO: rip is already the next instruction's */
	EVENT_INT1,          /* INT1: as EVENT_SOFTWARE, but without the check of the gate's DPL */
	EVENT_EXTERNAL,      /* interrupt */
	EVENT_NMI,
};

struct cpu_event {
	enum cpu_event_kind kind;
	uint8_t vector;
	bool has_error;
	uint32_t error;
};

/* What a vcpu was interrupted by: counted where it costs nothing, reported by cpu_report(). */
struct cpu_counts {
	uint64_t exceptions[32], external, nmi, software; /* delivered to the guest */
	uint64_t irq, held_back, nmi_requests, flush, timer, loop; /* requests seen; held_back: of an interrupt while IF was clear */
};

/* What the vcpus of one VM share. */
struct interp_vm {
	struct lock split_lock; /* locked operations that no host atomic can do take turns */
	sem_fn *functions[X86_OP_COUNT];
	_Atomic uint32_t marking; /* vcpus that are in code_page_mark()'s handshake */
};

/* For an engine that runs guest code by other means and falls back to the interpreter: the operations on linear memory that
 * its own caches must follow, and how pages of code are watched instead of by write tags. With hooks the interpreter
 * never writes to memory without looking at the page's word afterwards (bit 0: the page holds code), so marking a page needs no
 * word from the other vcpus' interpreters; code_page_marked() sees to their translated code. */
struct cpu_mmu_hooks {
	/* MOV to CR3, task switch: cpu->s.cr3 is the new value; no_flush: bit 63 was set. (With CR4.PCIDE it names a PCID.) */
	void (*write_cr3)(void *ctx, uint64_t cr3, bool no_flush);
	/* CR0, CR4, EFER or PKRU changed what entries stand for, or all state was set: forget all, global entries too. */
	void (*flush)(void *ctx);
	void (*flush_page)(void *ctx, gva_t gva); /* INVLPG */
	void (*invpcid)(void *ctx, unsigned type, unsigned pcid, gva_t gva);
	void (*flush_writes)(void *ctx); /* VCPU_REQ_FLUSH: the dirty log was collected */
	/* Bit 0 of the page's word is set: from the return on every write to the page must be noticed. Any vcpu may call it
	 * for the same page again. */
	void (*code_page_marked)(void *ctx, gpa_t gpa);
	/* The interpreter wrote [gpa, gpa + len), on one page that holds code, and bumped its generation. Bit 0 stays set; who
	 * clears it bumps the generation too. */
	void (*code_page_written)(void *ctx, gpa_t gpa, unsigned len);
};

/* For lock-step, instead of memory: what the interpreter loads (buf has what memory holds) and stores. hva is NULL for devices. Only
 * with data_tlb = TLB_CHECKED: other accesses do not come here. May leave by cpu_restart(). */
struct cpu_overlay {
	void (*load)(struct cpu *cpu, const uint8_t *hva, uint8_t *buf, unsigned len);
	void (*store)(struct cpu *cpu, uint8_t *hva, gpa_t gpa, const uint8_t *buf, unsigned len);
};

/* A bit of the block key: real or virtual-8086 mode. */
#define KEY_REAL 16u

struct cpu {
	struct x86_state s;
	struct lazy_flags lf;
	uint64_t zero; /* always 0: the missing base or index of an address */

	struct vcpu *vcpu;
	struct vm *vm;
	struct interp_vm *shared;
	const struct x86_cpuid_table *cpuid;

	/* Derived: cpu_update_mode() after any change of CR0, CR4, EFER, CS, RFLAGS.VM/AC. */
	uint8_t mode;          /* enum x86_mode of the code */
	uint8_t cpl;
	bool long_mode;        /* EFER.LMA */
	bool stack32;          /* SS.B, outside 64-bit code */
	uint8_t data_tlb;      /* enum tlb_index for explicit accesses, or TLB_CHECKED */
	uint8_t rights;        /* the enum tlb_index that data_tlb stands for */
	bool smc;              /* the running block's own page was written */
	uint32_t key;          /* block key: mode, 4 at CPL 3, 8 in long mode, KEY_REAL */
	bool jumped;           /* the instruction has set s.rip itself */
	bool step;             /* TF or a breakpoint register is on: one instruction at a time */
	bool irq_blocked;      /* something is pending while IF was clear */
	uint64_t shadow_rip;   /* the one instruction under an interrupt shadow; ~0 none */

	struct tlb_entry tlb[TLB_COUNT + 1][TLB_SIZE];
	struct code_tlb_entry code_tlb[2][TLB_SIZE]; /* supervisor, user */
	uint16_t tlb_log[TLB_LOG]; /* slots of tlb, then of code_tlb, filled since the last flush */
	unsigned tlb_log_left;     /* 0: they are too many */
	const struct cpu_mmu_hooks *mmu_hooks; /* or NULL */
	void *mmu_hooks_ctx;
	const struct cpu_overlay *overlay; /* or NULL */
	uint64_t large_pages[64]; /* hashed set of 2 MiB and 1 GiB regions filled from large pages */
	_Atomic uint32_t flushes; /* VCPU_REQ_FLUSH requests done, for whoever waits */
	uint32_t epoch;           /* bumped whenever a code mapping may have changed */
	struct jump_cache_entry *jump_cache;
	uint64_t code_base; /* of CS, outside of 64-bit mode, as of the last look into the jump cache */
	/* Executes guest code by other means, up to a boundary where requests are looked at (false) or to an instruction that
	 * has to be interpreted (true). NULL: the interpreter alone. */
	bool (*run_translated)(struct cpu *cpu);
	struct block_cache blocks;
	uint64_t instructions;
	struct cpu_counts counts;

	jmp_buf jump;
	enum cpu_leave leave;
	struct cpu_event event;
	int delivering;          /* vector under delivery, or -1 */
	bool delivering_exception;
	bool fault_rip_valid;     /* INT n under delivery: a fault is reported at fault_rip */
	uint64_t fault_rip;
	struct vm_exit *exit;
	bool completing;         /* the last exit's result goes to the replay log */
	struct {
		uint64_t value;
		bool fault;
	} replay[REPLAY_MAX];
	unsigned replay_count, replay_pos;
	const struct block *block; /* being executed */
	const struct uop *uop;     /* last synchronised */
	bool trap_due;             /* TF was set when the stepped instruction began */
	uint64_t db_pending;       /* DR6 bits of a trap #DB due after this instruction */
	struct block *scratch;     /* one-instruction block, not cached */
	/* debug.c */
	const struct debug *debug; /* vm->debug if it has points or a step for this vcpu, else NULL */
	bool debug_step;           /* one instruction, then out */
	bool debug_stepped;        /* it has begun */
	bool debug_alone;          /* an instruction goes alone, under a debugger */
	bool watching;             /* there are watchpoints; only with debug */
	bool watch_alone;          /* the instruction at rip is to go alone */
	const struct debug_point *watch_hit; /* it has done an access that is watched */
};

/* Does it stand before 32-bit code that, like 64-bit code, run_translated may execute? Not in real mode, and not what SMAP keeps from
 * some pages. */
static inline bool cpu_narrow(const struct cpu *cpu)
{
	return cpu->mode == X86_MODE_32 && (cpu->s.cr0 & X86_CR0_PE) && (cpu->cpl == 3 || !(cpu->s.cr4 & X86_CR4_SMAP));
}

/* ---- life (engine.c) ---- */
/* A zeroed struct cpu becomes vcpu's at power-on; vm->engine_vm is a struct interp_vm or begins with one. -ENOMEM. */
int cpu_init(struct cpu *cpu, struct vcpu *vcpu) must_check;
void cpu_destroy(struct cpu *cpu);

/* ---- counts.c ---- */
struct stats_sink;
void cpu_count_delivery(struct cpu *cpu, const struct cpu_event *event);
/* The figures of cpu->counts; any thread. */
void cpu_report(const struct cpu *cpu, struct stats_sink *sink);

/* ---- run loop (run.c) ---- */
/* Ends the instruction and leaves the engine; cpu->exit is filled. Does not return. */
__attribute__((noreturn)) void cpu_leave_exit(struct cpu *cpu);
/* Ends the block: state is consistent with rip at `cpu->s.rip`; the loop starts anew from there. */
__attribute__((noreturn)) void cpu_restart(struct cpu *cpu);
/* Registers were committed part-way through an instruction that may start again (REP strings): what the
 * replay log gave so far is used up. */
void cpu_commit_iteration(struct cpu *cpu);
/* Recomputes everything derived from control registers, CS, SS, RFLAGS. Flushes nothing. */
void cpu_update_mode(struct cpu *cpu);
/* s.rflags with the lazy status flags joined in. */
uint64_t cpu_rflags(struct cpu *cpu);
/* Writes all of RFLAGS given (no privilege rules), splits off the lazy part, updates the mode. */
void cpu_set_rflags(struct cpu *cpu, uint64_t rflags);
/* IF went from 0 to 1: have pending interrupts looked at. */
void cpu_irq_enabled(struct cpu *cpu);
/* Before IF goes from 1 to 0 within a block: takes a pending interrupt first (does not return then). */
void cpu_irq_window(struct cpu *cpu);

/* ---- memory (mmu.c) ---- */
/* Bits 63:47 are the same (48-bit linear addresses). */
bool canonical(uint64_t address);
/* The operations of SDM 3A 4.10.4, with all that hangs on them: the TLB and mmu_hooks. */
void cpu_set_cr3(struct cpu *cpu, uint64_t value); /* bit 63 as in the instruction's operand; no checks */
void cpu_set_pkru(struct cpu *cpu, uint32_t value);
void cpu_flush(struct cpu *cpu);                   /* CR0, CR4, EFER, PKRU: everything */
void cpu_flush_page(struct cpu *cpu, gva_t gva);   /* INVLPG */
void cpu_invpcid(struct cpu *cpu, unsigned type, unsigned pcid, gva_t gva); /* operands checked */
/* The page at gpa is about to be decoded: from when this returns every write to it, by any vcpu, bumps its
 * generation. */
void code_page_mark(struct cpu *cpu, gpa_t gpa);
/* VCPU_REQ_FLUSH: forget which pages may be written without looking. */
void tlb_flush_writes(struct cpu *cpu);
/* Linear accesses, all checks of paging done, atomic in faults. index: whose rights. seg only chooses between
 * #SS and #GP for non-canonical addresses. */
void cpu_load_linear(struct cpu *cpu, gva_t gva, void *buf, unsigned len, enum tlb_index index, unsigned seg);
void cpu_store_linear(struct cpu *cpu, gva_t gva, const void *buf, unsigned len, enum tlb_index index, unsigned seg);
void cpu_probe_linear(struct cpu *cpu, gva_t gva, unsigned len, enum tlb_index index, unsigned seg);
/* Compare-and-swap where a host atomic on the TLB's address will not do: page-crossing, code pages, devices. */
bool cpu_cas_slow(struct cpu *cpu, gva_t gva, unsigned size, void *expected, const void *desired, unsigned seg);
/* System structures (GDT, IDT, TSS): implicit supervisor accesses. */
uint64_t cpu_load_system(struct cpu *cpu, gva_t gva, unsigned size);
void cpu_store_system(struct cpu *cpu, gva_t gva, unsigned size, uint64_t value);
/* seg:offset to a linear address with segment checks (limit, type, canonical). */
gva_t cpu_linear(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len, bool write);
/* Host address of seg:offset if it is plain RAM with the right to access it and `len` bytes of it lie on one page;
 * *available (<= len) says how many do. NULL: take the slow way (element by element). May fault. For a
 * page that holds translated code a write span is refused; who has one calls cpu_span_written() for what it wrote, before
 * anything else is accessed. */
void *cpu_span(struct cpu *cpu, unsigned seg, uint64_t offset, uint64_t len, bool write, uint64_t *available);
void cpu_span_written(struct cpu *cpu, unsigned seg, uint64_t offset, uint64_t len);
/* Guest-physical access that may hit a device. size 1, 2, 4, 8. */
uint64_t cpu_phys_read(struct cpu *cpu, gpa_t gpa, unsigned size);
void cpu_phys_write(struct cpu *cpu, gpa_t gpa, unsigned size, uint64_t value);
/* Where code at rip lies; may fault (#PF). *hva is NULL outside RAM. */
gpa_t cpu_code_page(struct cpu *cpu, gva_t gva, uint8_t **hva);

/* ---- ports (io.c) ---- */
/* The permission check alone (IOPL, TSS bitmap): #GP(0). */
void cpu_check_port(struct cpu *cpu, uint16_t port, unsigned size);
/* Permission check, then the access. size 1, 2, 4. */
uint32_t cpu_io(struct cpu *cpu, uint16_t port, unsigned size, bool write, uint32_t value);

/* The instruction is to be started again at the same rip after a look at interrupts (REP in progress). */
void cpu_repeat(struct cpu *cpu);

/* ---- segments, transfers, events ---- */
/* Loads a data segment register or SS from selector with all checks (SDM MOV, POP). Real mode too. */
void cpu_load_segment(struct cpu *cpu, unsigned seg, uint16_t selector);
void cpu_set_segment_real(struct cpu *cpu, unsigned seg, uint16_t selector);
/* INT n, INT3, INTO: checks and delivers; rip of the saved frame is the next instruction's. Does not return. */
__attribute__((noreturn)) void cpu_interrupt(struct cpu *cpu, const struct x86_insn *insn, unsigned vector,
					     enum cpu_event_kind kind);
/* Delivers cpu->event through the IDT or IVT; may raise. */
void cpu_deliver_event(struct cpu *cpu, const struct cpu_event *event);
/* Task switch (SDM 3A 7.3). reason as below. */
enum task_switch { TASK_JMP, TASK_CALL, TASK_IRET, TASK_GATE };
void cpu_task_switch(struct cpu *cpu, uint16_t selector, enum task_switch reason, uint64_t next_rip, bool has_error,
		     uint32_t error);
/* Stack by SS and its size: pushes are probed first by the caller where several must be atomic. */
void cpu_push(struct cpu *cpu, unsigned size, uint64_t value);
uint64_t cpu_stack_mask(const struct cpu *cpu);

/* ---- debug.c: all but the first only while cpu->debug is set ---- */
/* engine_ops.debug. */
void cpu_debug_update(struct cpu *cpu);
gva_t cpu_linear_rip(const struct cpu *cpu);
/* cpu->watching: an access, or a check that a write is possible. May leave by cpu_restart(). */
void cpu_watch(struct cpu *cpu, gva_t gva, unsigned len, bool write, bool probe);
/* Is there something to report of what was executed; is there a breakpoint at rip? True: cpu->exit says it. */
bool cpu_debug_after(struct cpu *cpu);
bool cpu_debug_before(struct cpu *cpu);
/* In a step without interrupts, instead of serving requests: true if the engine has to be left for one. */
bool cpu_debug_requests(struct cpu *cpu, uint32_t of_engine);

/* ---- blocks (block.c, fast.c) ---- */
struct block *block_find(struct cpu *cpu, uint64_t rip, bool single);
/* One instruction that was fetched and decoded before; good until the next. */
struct block *block_of(struct cpu *cpu, const struct x86_insn *insn, int length);
void block_cache_flush(struct cpu *cpu);
/* Executes blocks until a request, a step or an exit; returns normally at a block boundary. */
void fast_run(struct cpu *cpu);
/* Executes one block (a scratch one of a single instruction) and returns. */
void fast_run_once(struct cpu *cpu, struct block *block);
/* Fills uop->go and operands for the instruction if there is a fast form; true if so. */
bool fast_select(const struct x86_insn *insn, struct uop *uop, bool *ends_block);
/* go for an instruction that calls uop->fn, and for the end of a block that has no branch. */
const void *fast_call_label(bool ends_block);
const void *fast_end_label(void);
/* Stands before an instruction that goes on into the next page: imm is that page's address, disp its generation. */
const void *fast_cross_label(void);
/* Instructions after which the block must end: control flow, anything that changes the mode, the mappings or
 * the interrupt flag. */
bool sem_ends_block(const struct x86_insn *insn);

/* op -> semantic function; what has none stays NULL (#UD). */
void sem_fill_table(sem_fn *functions[X86_OP_COUNT]);

#endif
