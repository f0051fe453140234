/* The page-table walk of all x86 paging modes (SDM 3A chapter 4): none, 32-bit, PAE, 4-level.
 *
 * Example:
 *     struct x86_walk walk;
 *     if (x86_walk(mem, state, cpuid_physical_bits, gva, X86_WALK_WRITE | X86_WALK_USER, &walk) < 0)
 *             raise #PF with walk.error_code and CR2 = gva;
 */
#ifndef ARCH_X86_64_PAGING_H
#define ARCH_X86_64_PAGING_H

#include "arch/x86_64/state.h"
#include "mem/mem.h"

/* Page-fault error code bits (SDM 3A 4.7). */
#define X86_PF_P    (1u << 0)
#define X86_PF_WR   (1u << 1)
#define X86_PF_US   (1u << 2)
#define X86_PF_RSVD (1u << 3)
#define X86_PF_ID   (1u << 4)
#define X86_PF_PK   (1u << 5)

enum x86_walk_access {
	X86_WALK_READ = 0,
	X86_WALK_WRITE = 1u << 0,
	X86_WALK_FETCH = 1u << 1,
	X86_WALK_USER = 1u << 2,     /* a user-mode access (CPL 3, not implicit) */
	X86_WALK_SMAP_AC = 1u << 3,  /* supervisor data access with EFLAGS.AC set: SMAP does not apply */
	X86_WALK_PROBE = 1u << 4,    /* look only: change no accessed or dirty bits (debuggers, traces) */
};

struct x86_walk {
	gpa_t gpa;           /* of the byte asked for */
	uint64_t page_size;  /* 4 KiB, 2/4 MiB, 1 GiB; 4 KiB when paging is off */
	bool user, writable, executable, global; /* combined rights of all levels */
	bool dirty;          /* the leaf's D bit is set (after this walk) */
	uint8_t pkey;
	uint32_t error_code; /* on failure */
	gpa_t entry;         /* of the leaf; ~0 when paging is off */
	uint8_t entry_size;
	bool table_user, table_writable; /* rights of the levels above the leaf */
};

/* Translates and checks rights; sets A bits, and D on a write, by atomic compare-and-swap. 0, or -EFAULT with
 * walk->error_code. */
int x86_walk(struct mem *mem, const struct x86_state *state, unsigned physical_bits, gva_t gva, unsigned access,
	     struct x86_walk *walk) must_check;

/* Bits that must be zero in a present 8-byte entry of a 4 KiB page (PAE and 4-level paging). */
uint64_t x86_leaf_reserved(const struct x86_state *state, unsigned physical_bits);

/* CR3 is about to be loaded with PAE paging: are the four PDPTEs valid? (SDM 3A 4.4.1; else #GP.) */
bool x86_pdptes_valid(struct mem *mem, const struct x86_state *state, uint64_t cr3, unsigned physical_bits);

#endif
