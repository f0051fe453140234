/* The interpreter's AArch64 vcpu: architectural state, what is derived from it, the soft TLB, decoded blocks.
 *
 * Invariants:
 *   - s.pc is the current instruction's address whenever anything that can fault or exit is called;
 *   - a fault or an exit leaves by longjmp to cpu->jump; nothing is committed then, so the instruction can be started again. Device
 *     accesses that were completed meanwhile are in the replay log and give their recorded values when it is;
 *   - decoded blocks follow the architecture's rules for instruction memory: a store to code is seen after cache maintenance (IC), as on
 *     a processor with CTR_EL0.DIC clear. Pages keep generations (mem_page_word): IC IVAU and writes of devices bump them.
 */
#ifndef ENGINE_INTERP_AARCH64_CPU_H
#define ENGINE_INTERP_AARCH64_CPU_H

#include "arch/aarch64/sysregs.h"
#include "arch/aarch64/walk.h"
#include "core/platform.h"
#include "core/vm.h"
#include "engine/interp/aarch64/sem.h"
#include <setjmp.h>
#include <stdatomic.h>

/* ---- soft TLB ---- */
#define A64_TLB_BITS 9
#define A64_TLB_SIZE (1u << A64_TLB_BITS)
#define A64_TLB_NONE 1ull /* a tag that no page has */

struct a64_tlb_entry {
	uint64_t read_tag, write_tag; /* page address, or A64_TLB_NONE */
	uintptr_t addend;             /* host address less virtual address */
	uint64_t gpa;                 /* page address; bit 0: global */
};

struct a64_code_entry {
	uint64_t tag;
	uint64_t gpa; /* page address; bit 0: global */
	uint8_t *hva;
};

/* Whose rights an access has. */
enum a64_tlb_index { A64_TLB_USER, A64_TLB_EL1, A64_TLB_EL1_PAN, A64_TLB_COUNT };
/* Always empty: what cpu->data is while every access has to be looked at, for its alignment for example. */
#define A64_TLB_CHECKED A64_TLB_COUNT

/* ---- decoded blocks: straight runs of instructions on one page ---- */
struct a64_uop {
	a64_sem *fn;
	uint32_t insn;
};

#define A64_BLOCK_MAX 64
struct a64_block {
	uint64_t gpa;
	uint32_t key;                /* cpu->key */
	uint32_t generation;         /* of the page when it was decoded */
	_Atomic uint32_t *page_word; /* mem_page_word(gpa) */
	struct a64_block *hash_next;
	uint32_t count;              /* of uops, the last of which may branch */
	struct a64_uop uops[];
};

#define A64_JUMP_CACHE_SIZE 4096
struct a64_jump_entry {
	uint64_t pc;
	struct a64_block *block;
	uint64_t epoch;
	uint32_t key;
};

#define A64_BLOCK_HASH 16384

/* What a vcpu leaves the middle of an instruction for. */
enum a64_leave { A64_LEAVE_NONE, A64_LEAVE_EXCEPTION, A64_LEAVE_EXIT, A64_LEAVE_RESTART };

#define A64_REPLAY_MAX 64

/* What the vcpus of one VM share. */
struct a64_interp_vm {
	_Atomic uint64_t tlb_ticket; /* broadcast TLB maintenance asked for so far */
	_Atomic uint32_t ic_epoch;   /* all instruction caches were invalidated so often */
};

/* Exceptions taken to EL1, for statistics: by their class, and interrupts. */
struct a64_counts {
	uint64_t exceptions[64], irq, fiq, tlb_flushes;
};

struct a64_exception {
	uint8_t class;  /* ESR_EL1.EC */
	uint32_t iss;
	bool has_far;
	uint64_t far;
	uint64_t ret;   /* ELR_EL1 */
};

/* Numbers for what code may be where: as long as the one for an address stays (a64_epoch()), what was found there is there. One for the
 * upper half of addresses, which address spaces share, and one for the lower half of each of the last address spaces. */
#define A64_SPACES 16
struct a64_epochs {
	uint64_t last, upper, lower; /* the last that was given out; those in force. 48 bits are never used up */
	bool unknown;                /* TTBR0_EL1 or TTBR1_EL1 was written: `lower` is to be looked up */
	bool split;                  /* the upper half has pages that are not global: it goes with the lower one */
	unsigned oldest;
	struct {
		uint64_t ttbr0, ttbr1, lower;
	} spaces[A64_SPACES];
	uint64_t pages[64];          /* a hashed set of the pages that code was found on */
};

struct a64_cpu {
	struct a64_state s;
	uint64_t next_pc; /* set by branches */
	struct vcpu *vcpu;
	struct vm *vm;
	struct a64_interp_vm *shared;

	/* Derived: a64_update_mode() after any change of PSTATE, SCTLR_EL1, CPACR_EL1, FPCR. */
	uint8_t el;
	uint8_t data;        /* enum a64_tlb_index of accesses, or A64_TLB_CHECKED */
	uint8_t rights;      /* the enum a64_tlb_index that data stands for */
	bool fp_enabled;
	uint32_t key;        /* of blocks: EL, fp_enabled, data, which stack pointer, whether its alignment is checked, whether FPCR is zero */
	bool step;           /* one instruction at a time: software step */
	bool attention;      /* the loop has something to look at */
	bool irq_pending;    /* the controller has one: taken when it is not masked */
	bool fiq_pending;
	bool event;          /* the event register, for WFE */

	/* The exclusive monitor (B2.9): a store succeeds if memory still has what was loaded. */
	bool exclusive;
	uint8_t exclusive_size; /* bytes: up to 16 */
	uint64_t exclusive_gpa;
	uint64_t exclusive_value[2];

	struct a64_tlb_entry tlb[A64_TLB_COUNT + 1][A64_TLB_SIZE];
	struct a64_code_entry code_tlb[2][A64_TLB_SIZE]; /* EL0, EL1 */
	uint64_t tlb_private[A64_TLB_COUNT + 2][A64_TLB_SIZE / 64]; /* which entries, of code_tlb too, are not global */
	bool tlb_used;               /* there are such */
	uint64_t large_shifts;       /* bit n: there are fills from pages of 2^n bytes, larger than 4 KiB */
	uint64_t large_pages[64];    /* hashed set of those */
	_Atomic uint64_t tlb_seen;   /* shared->tlb_ticket up to which flushes are done */
	_Atomic bool running;        /* in run() */
	uint32_t ic_seen;
	struct a64_epochs epochs;

	/* Executes guest code by other means until requests are to be looked at. NULL: the interpreter alone. */
	void (*run_translated)(struct a64_cpu *cpu);
	struct a64_jump_entry *jump_cache;
	struct a64_block **hash;
	uint8_t *arena;
	size_t arena_used;
	const struct a64_block *block; /* being executed */
	struct a64_block *scratch;     /* one instruction, not cached */
	uint64_t instructions;
	struct a64_counts counts;

	jmp_buf jump;
	enum a64_leave leave;
	struct a64_exception exception;
	struct vm_exit *exit;
	bool completing; /* the last exit's result goes to the replay log */
	struct {
		uint64_t value;
		bool fault;
	} replay[A64_REPLAY_MAX];
	unsigned replay_count, replay_pos;
};

/* ---- run.c ---- */
__attribute__((noreturn)) void a64_leave_exit(struct a64_cpu *cpu); /* cpu->exit is filled */
void a64_update_mode(struct a64_cpu *cpu);
/* Runs until there is an exit. */
void a64_run(struct a64_cpu *cpu);

/* ---- sem_branch.c ---- */
/* Where a branch to target goes: without its tag, if it may have one (D8.8.1). */
uint64_t a64_branch_address(const struct a64_cpu *cpu, uint64_t target);

/* ---- exception.c ---- */
/* As a64_raise(), with FAR_EL1, or with another return address. Do not return. */
__attribute__((noreturn)) void a64_raise_far(struct a64_cpu *cpu, unsigned class, uint32_t iss, uint64_t far);
__attribute__((noreturn)) void a64_raise_after(struct a64_cpu *cpu, unsigned class, uint32_t iss);
/* cpu->exception is taken. */
void a64_take_exception(struct a64_cpu *cpu);
/* IRQ or FIQ is taken. */
void a64_take_interrupt(struct a64_cpu *cpu, bool fiq);
/* ERET: PSTATE and the return address from SPSR_EL1, ELR_EL1 (C6.2.101). */
void a64_exception_return(struct a64_cpu *cpu);

/* ---- epochs.c ---- */
/* Of code that is fetched from pc. */
uint64_t a64_epoch(struct a64_cpu *cpu, uint64_t pc);
/* Code may be elsewhere: everywhere; wherever pages are not global; on one page. */
void a64_epochs_end(struct a64_cpu *cpu);
void a64_epochs_end_private(struct a64_cpu *cpu);
void a64_epochs_end_page(struct a64_cpu *cpu, uint64_t address);
/* Another TTBR0_EL1 or TTBR1_EL1, and perhaps one that was there before. */
void a64_epochs_switch(struct a64_cpu *cpu);
/* Code was found on this page. */
void a64_epochs_fill(struct a64_cpu *cpu, uint64_t address, bool global);

/* ---- mmu.c ---- */
void a64_tlb_flush(struct a64_cpu *cpu, bool global_too);
/* For another address space: what is not global is forgotten, but may be known again when that is back. */
void a64_tlb_switch(struct a64_cpu *cpu);
void a64_tlb_flush_page(struct a64_cpu *cpu, uint64_t address);
/* VCPU_REQ_FLUSH: forget which pages may be written without looking; and what other processors have asked for by broadcast. */
void a64_tlb_flush_writes(struct a64_cpu *cpu);
void a64_tlb_catch_up(struct a64_cpu *cpu);
/* Every other processor forgets its translations before it executes its next instruction. */
void a64_tlb_broadcast(struct a64_cpu *cpu);
/* Where [address, address + size) is in host memory if it is on one page of RAM that this processor has accessed so before; otherwise, and
 * while alignment is checked, NULL: then a64_load() or a64_store() is the way. size 1 to 4096. */
uint8_t *a64_ram_at(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write);
/* Accesses with other rights than the current EL's: LDTR, STTR. */
uint64_t a64_load_as(struct a64_cpu *cpu, uint64_t address, unsigned size, enum a64_tlb_index rights);
void a64_store_as(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value, enum a64_tlb_index rights);
/* Where [address, address + size) of RAM is for atomic accesses, with write access checked if asked for; faults if it isn't aligned or isn't RAM. size 1 to 16. */
void *a64_atomic_at(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write, uint64_t *gpa);
/* The page of code at address; may fault. *hva is NULL outside RAM. */
uint64_t a64_code_page(struct a64_cpu *cpu, uint64_t address, uint8_t **hva);
/* IC IVAU (its address may fault) and IC IALLU, IALLUIS. */
void a64_ic_invalidate(struct a64_cpu *cpu, uint64_t address);
void a64_ic_invalidate_all(struct a64_cpu *cpu);
/* A translation as by AT S1E1R and the like: PAR_EL1's value. */
uint64_t a64_translate_address(struct a64_cpu *cpu, uint64_t address, unsigned access);
/* Zeroes the block of 64 bytes with address in it (DC ZVA). */
void a64_zero_block(struct a64_cpu *cpu, uint64_t address);
/* The rights of a cache maintenance operation by address, at EL0 in any case: it needs to be readable. */
void a64_check_maintenance(struct a64_cpu *cpu, uint64_t address);

/* ---- io.c ---- */
uint64_t a64_device_read(struct a64_cpu *cpu, uint64_t gpa, unsigned size);
void a64_device_write(struct a64_cpu *cpu, uint64_t gpa, unsigned size, uint64_t value);
/* A system register of a device; false: there is none, or it refuses. */
bool a64_device_sysreg(struct a64_cpu *cpu, uint32_t key, bool write, uint64_t *value);
uint64_t a64_hypercall(struct a64_cpu *cpu);
/* What the last exit asked for has been done: its result goes to the log. */
void a64_complete(struct a64_cpu *cpu, const struct vm_exit *exit);

/* ---- block.c ---- */
/* The decoded block at pc; alone: one instruction. */
const struct a64_block *a64_block_find(struct a64_cpu *cpu, uint64_t pc, bool alone);
/* The function for an instruction in the current mode: its own, or one that raises the exception. */
a64_sem *a64_sem_of(const struct a64_cpu *cpu, uint32_t insn);
/* Control flow, and what changes the state that blocks depend on or that the loop looks at. */
bool a64_ends_block(enum a64_op op);
void a64_blocks_flush(struct a64_cpu *cpu);
/* -1: no memory; a64_blocks_destroy() frees what is there. */
int a64_blocks_create(struct a64_cpu *cpu) must_check;
void a64_blocks_destroy(struct a64_cpu *cpu);

/* ---- exception classes (ESR_EL1.EC, D19.2.37) ---- */
enum {
	A64_EC_UNKNOWN = 0x00,
	A64_EC_WFX = 0x01,
	A64_EC_FP = 0x07,
	A64_EC_ILLEGAL_STATE = 0x0e,
	A64_EC_SVC = 0x15,
	A64_EC_SYSREG = 0x18,
	A64_EC_FETCH_LOWER = 0x20, /* from EL0; from EL1 plus one, as all the following */
	A64_EC_PC_ALIGNMENT = 0x22,
	A64_EC_DATA_LOWER = 0x24,
	A64_EC_SP_ALIGNMENT = 0x26,
	A64_EC_STEP_LOWER = 0x32,
	A64_EC_BRK = 0x3c,
};

#endif
