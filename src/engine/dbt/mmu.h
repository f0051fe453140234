/* Linear memory of the translator's vcpu: flat addend tables, one set an address space.
 *
 * A table has one 64-bit entry for each of the 2^36 pages of the 48-bit linear space, indexed by the signed page
 * number from its centre: entry = (host address of a view of the page) - (linear address of the page). It is reserved address
 * space, committed in chunks. Whatever an entry is, it has the form (host page that we chose) - (canonical address of
 * its own page): invalid entries point to dbt_ram_nowhere(). That is the isolation boundary: a non-canonical guest address
 * uses the entry of its lower 48 bits and ends as a non-canonical host address. Chunks that are not committed are
 * PROT_NONE: no entry ever reads as zero.
 *
 * A read of a page is possible if its entry is valid; a write if the entry leads to a writable view. Entries to
 * read-only views stand for pages that are not writable, not dirty yet, or hold translated code: a write to those faults, and
 * dbt_mmu_fill() finds out.
 *
 * Address spaces: a context is what CR3 (and with CR4.PCIDE its PCID) selects. Each has a table for user rights (USER:
 * what CPL 3 may touch) and one for supervisor accesses with EFLAGS.AC set or SMAP off (SUPERVISOR_AC), made on first
 * use. Supervisor accesses under SMAP (SUPERVISOR) go by one table for all contexts of the vcpu as long as what they touch is
 * global; entries of pages without the G bit are remembered and dropped when the context changes. If those are many
 * (a guest with page-table isolation), supervisor tables become a context's own.
 */
#ifndef ENGINE_DBT_MMU_H
#define ENGINE_DBT_MMU_H

#include "engine/dbt/ram.h"
#include "engine/interp/x86_64/cpu.h"

/* The table register holds the centre plus this: its low six bits are the count of the shift that makes an index
 * (rorx u,t,48; sarx u,u,table), so the centre itself is 64-byte aligned. */
#define DBT_TABLE_BIAS 28
#define DBT_CONTEXTS_MAX 16

/* The tables of a context: one for each enum tlb_index, and those of 32-bit code, whose entries all lie below 4 GiB:
 * its addresses are computed with 64 bits, and those that would have to wrap fault. Supervisor code has one for its accesses without
 * SMAP. */
#define DBT_TABLE_USER32   TLB_COUNT
#define DBT_TABLE_KERNEL32 (TLB_COUNT + 1)
#define DBT_TABLES         (TLB_COUNT + 2)

struct dbt_table;

/* What translated code keeps for an address space besides the tables; owned by the code side (opaque here). */
struct dbt_context {
	uint64_t cr3;        /* root, and PCID in bits 11:0 when in use */
	bool valid;
	uint64_t used;       /* for replacement */
	struct dbt_table *table[DBT_TABLES]; /* NULL until used; [TLB_SUPERVISOR] NULL while the shared one serves */
	void *code;          /* the code side's; see struct dbt_mmu_listener */
};

/* How the code side learns that mappings of code may have changed. Called on the vcpu's thread. */
struct dbt_mmu_listener {
	/* Another context is current (mmu->current). */
	void (*switched)(void *ctx);
	/* Mappings of `context` were dropped (NULL: of all contexts and the global ones); page: only that page, or ~0: all. */
	void (*dropped)(void *ctx, struct dbt_context *context, gva_t page);
	void *ctx;
};

struct dbt_mmu {
	struct cpu *cpu;
	struct dbt_ram *ram;
	uint8_t *nowhere;
	struct dbt_context contexts[DBT_CONTEXTS_MAX];
	unsigned context_count; /* 1..DBT_CONTEXTS_MAX; fewer for machines with many vcpus */
	struct dbt_context *current;
	struct dbt_table *global;  /* SUPERVISOR of all contexts */
	struct dbt_mmu_listener listener;
	/* statistics */
	uint64_t fills, filled_entries, commits, switches, flushes, page_flushes;
	/* private to mmu.c: */
	void *private_state;
};

/* cpu->vm has its vcpu count and memory, ram is that of cpu->vm->mem. Reserves 512 GiB of address space a table: up to four
 * a context and one more; where no more is to be had, contexts take each other's. -ENOMEM. */
int dbt_mmu_init(struct dbt_mmu *mmu, struct cpu *cpu, struct dbt_ram *ram, unsigned contexts) must_check;
void dbt_mmu_destroy(struct dbt_mmu *mmu);

/* The table register for accesses by table `index` (of DBT_TABLES) in the current context: centre + DBT_TABLE_BIAS. Makes the table
 * if it is not there yet (-ENOMEM shows as 0). Good until listener.switched() is called: another context's may be another
 * then, even if it was asked for before. */
uint64_t dbt_mmu_table(struct dbt_mmu *mmu, unsigned index);

enum dbt_fill {
	DBT_FILLED,   /* the entry is right for this access now */
	DBT_FILL_NO,  /* the guest gets a page fault, or it is a device, ROM or a page of translated code: interpret it */
};
/* An access of translated code at gva (canonical) faulted: translates it (setting A and D as the manual says), and on
 * success fills its entry and those of neighbours that are present and accessed already. Also from the signal handler
 * (no allocation but mmap/mprotect; no longjmp). *addend: the entry. */
enum dbt_fill dbt_mmu_fill(struct dbt_mmu *mmu, gva_t gva, bool write, unsigned index, uint64_t *addend);

/* Translation of a code address, without longjmp: gpa and whether the page is global; -EFAULT when it faults. */
int dbt_mmu_code_page(struct dbt_mmu *mmu, gva_t gva, bool user, gpa_t *gpa, bool *global) must_check;

/* Is there a valid entry for reading at gva with these rights right now? (tests, checks) */
bool dbt_mmu_peek(struct dbt_mmu *mmu, gva_t gva, unsigned index, uint64_t *addend);

/* What system instructions do (SDM 3A 4.10.4): what struct cpu_mmu_hooks is to call. Translated code does not call these, but
 * cpu_set_cr3(), cpu_flush_page() and so on (cpu.h), which see to the interpreter's TLB too. */
void dbt_mmu_write_cr3(struct dbt_mmu *mmu, uint64_t cr3, bool no_flush); /* cpu->s.cr3 is the new value already */
void dbt_mmu_flush(struct dbt_mmu *mmu, bool global_too);   /* CR0, CR4, EFER changes, MOV CR3 without PCID */
void dbt_mmu_flush_page(struct dbt_mmu *mmu, gva_t gva);    /* INVLPG: current PCID and global */
/* INVPCID, operands checked. Types 0 and 1 of a PCID that no context has are nothing. */
void dbt_mmu_invpcid(struct dbt_mmu *mmu, unsigned type, unsigned pcid, gva_t gva);
/* The dirty log was collected: no page may be written without its bit being set again. */
void dbt_mmu_flush_writes(struct dbt_mmu *mmu);

#endif
