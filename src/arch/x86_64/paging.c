/* The page-table walk. Each mode is a row of data (levels, entry size, index bits); one loop walks them all.
 * See paging.h.
 */
#include "arch/x86_64/paging.h"
#include "base/errno.h"

#define PTE_P   (1ull << 0)
#define PTE_RW  (1ull << 1)
#define PTE_US  (1ull << 2)
#define PTE_A   (1ull << 5)
#define PTE_D   (1ull << 6)
#define PTE_PS  (1ull << 7)
#define PTE_G   (1ull << 8)
#define PTE_XD  (1ull << 63)

struct paging_mode {
	uint8_t levels;
	uint8_t entry_size;
	uint8_t index_bits;
	uint8_t top_index_bits;
};

static const struct paging_mode paging_32 = {2, 4, 10, 10};
static const struct paging_mode paging_pae = {3, 8, 9, 2};
static const struct paging_mode paging_4level = {4, 8, 9, 9};

static const struct paging_mode *mode_of(const struct x86_state *state)
{
	if (state->efer & X86_EFER_LMA)
		return &paging_4level;
	return state->cr4 & X86_CR4_PAE ? &paging_pae : &paging_32;
}

static uint64_t load_entry(const void *entry, unsigned size)
{
	if (size == 4)
		return __atomic_load_n((const uint32_t *)entry, __ATOMIC_RELAXED);
	return __atomic_load_n((const uint64_t *)entry, __ATOMIC_RELAXED);
}

/* Sets bits in an entry that is still `old`; false if somebody changed it meanwhile. */
static bool set_bits(struct mem *mem, gpa_t gpa, void *entry, unsigned size, uint64_t old, uint64_t bits)
{
	bool done;

	if (size == 4) {
		uint32_t expected = (uint32_t)old;
		done = __atomic_compare_exchange_n((uint32_t *)entry, &expected, (uint32_t)(old | bits), false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	} else {
		done = __atomic_compare_exchange_n((uint64_t *)entry, &old, old | bits, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_RELAXED);
	}
	if (done)
		mem_mark_written(mem, gpa, size);
	return done;
}

/* Bits that must be zero in an entry that is present. */
static uint64_t reserved_bits(const struct paging_mode *mode, const struct x86_state *state, unsigned physical_bits,
			      unsigned level, bool leaf)
{
	uint64_t above_physical = ~((1ull << physical_bits) - 1) & 0x000fffffffffffffull;
	uint64_t reserved;

	if (mode == &paging_32) {
		/* A 4 MiB page's bits 20:13 hold address bits 39:32 (PSE-36); bit 21 is reserved. */
		return level == 2 && leaf ? 1ull << 21 : 0;
	}
	reserved = above_physical;
	if (!(state->efer & X86_EFER_NXE))
		reserved |= PTE_XD;
	if (mode == &paging_pae) {
		reserved |= 0x7ff0000000000000ull; /* 62:52 */
		if (level == 3)
			return above_physical | 0xfff00000000001e6ull; /* PDPTE */
	}
	if (level == 4)
		reserved |= PTE_PS;
	if (leaf && level > 1)
		reserved |= ((1ull << (12 + 9 * (level - 1))) - 1) & 0x3fffffffe000ull;
	return reserved;
}

struct rights {
	bool user, writable, executable;
};

/* SDM 3A 4.6: may this access use a page with these rights? */
static bool access_allowed(const struct x86_state *state, struct rights rights, unsigned access, uint8_t pkey,
			   uint32_t *code)
{
	bool user = access & X86_WALK_USER;

	if (access & X86_WALK_FETCH) {
		if (user && !rights.user)
			return false;
		if (!user && rights.user && (state->cr4 & X86_CR4_SMEP))
			return false;
		return rights.executable;
	}
	if (user && !rights.user)
		return false;
	if (!user && rights.user && (state->cr4 & X86_CR4_SMAP) && !(access & X86_WALK_SMAP_AC))
		return false;
	if ((access & X86_WALK_WRITE) && !rights.writable && (user || (state->cr0 & X86_CR0_WP)))
		return false;
	if (rights.user && (state->cr4 & X86_CR4_PKE) && (state->efer & X86_EFER_LMA)) {
		bool access_disable = state->pkru >> (2 * pkey) & 1;
		bool write_disable = state->pkru >> (2 * pkey + 1) & 1;

		if (access_disable ||
		    (write_disable && (access & X86_WALK_WRITE) && (user || (state->cr0 & X86_CR0_WP)))) {
			*code |= X86_PF_PK;
			return false;
		}
	}
	return true;
}

static uint32_t base_error_code(const struct x86_state *state, unsigned access)
{
	uint32_t code = 0;

	if (access & X86_WALK_WRITE)
		code |= X86_PF_WR;
	if (access & X86_WALK_USER)
		code |= X86_PF_US;
	if ((access & X86_WALK_FETCH) &&
	    ((state->cr4 & X86_CR4_SMEP) || ((state->cr4 & X86_CR4_PAE) && (state->efer & X86_EFER_NXE))))
		code |= X86_PF_ID;
	return code;
}

static int fail(struct x86_walk *walk, const struct x86_state *state, unsigned access, uint32_t bits)
{
	walk->error_code = base_error_code(state, access) | bits;
	return -EFAULT;
}

/* One try; -EAGAIN when an entry changed under us. */
static int walk_once(struct mem *mem, const struct x86_state *state, unsigned physical_bits, gva_t gva,
		     unsigned access, struct x86_walk *walk)
{
	const struct paging_mode *mode = mode_of(state);
	uint64_t address_bits = ((1ull << physical_bits) - 1) & PAGE_MASK;
	gpa_t table = state->cr3 & (mode == &paging_pae ? 0xffffffe0ull : mode == &paging_32 ? 0xfffff000ull : address_bits);
	struct rights rights = {true, true, true};

	for (unsigned level = mode->levels;; level--) {
		unsigned shift = 12 + mode->index_bits * (level - 1);
		unsigned bits = level == mode->levels ? mode->top_index_bits : mode->index_bits;
		gpa_t entry_gpa = table + ((gva >> shift) & ((1u << bits) - 1)) * mode->entry_size;
		void *entry = mem_hva(mem, entry_gpa, mode->entry_size);
		uint64_t pte = entry ? load_entry(entry, mode->entry_size) : ~0ull;
		bool pdpte = mode == &paging_pae && level == 3;
		bool leaf = level == 1 || (!pdpte && level < 4 && (pte & PTE_PS) &&
					   (mode != &paging_32 || (state->cr4 & X86_CR4_PSE)));

		if (!(pte & PTE_P))
			return fail(walk, state, access, 0);
		if (!entry || (pte & reserved_bits(mode, state, physical_bits, level, leaf)))
			return fail(walk, state, access, X86_PF_P | X86_PF_RSVD);
		walk->table_user = rights.user;
		walk->table_writable = rights.writable;
		if (!pdpte) {
			rights.user &= !!(pte & PTE_US);
			rights.writable &= !!(pte & PTE_RW);
			if (mode != &paging_32)
				rights.executable &= !(pte & PTE_XD);
		}
		if (!leaf) {
			if (!pdpte && !(pte & PTE_A) && !(access & X86_WALK_PROBE) &&
			    !set_bits(mem, entry_gpa, entry, mode->entry_size, pte, PTE_A))
				return -EAGAIN;
			table = pte & (mode == &paging_32 ? 0xfffff000ull : address_bits);
			continue;
		}

		uint32_t code = X86_PF_P;
		uint64_t page_size = 1ull << shift;
		uint64_t want = PTE_A | (access & X86_WALK_WRITE ? PTE_D : 0);

		walk->pkey = (uint8_t)(pte >> 59 & 15);
		if (!access_allowed(state, rights, access, walk->pkey, &code))
			return fail(walk, state, access, code);
		if ((pte & want) != want && !(access & X86_WALK_PROBE) &&
		    !set_bits(mem, entry_gpa, entry, mode->entry_size, pte, want))
			return -EAGAIN;

		uint64_t frame = pte & address_bits & ~(page_size - 1);

		if (mode == &paging_32)
			frame = (pte & 0xffffffffull & ~(page_size - 1)) |
				(level == 2 ? (pte >> 13 & 0xff) << 32 & address_bits : 0);
		walk->entry = entry_gpa;
		walk->entry_size = mode->entry_size;
		walk->gpa = frame | (gva & (page_size - 1));
		walk->page_size = page_size;
		walk->user = rights.user;
		walk->writable = rights.writable;
		walk->executable = rights.executable;
		walk->global = (pte & PTE_G) && (state->cr4 & X86_CR4_PGE);
		walk->dirty = (pte | want) & PTE_D;
		return 0;
	}
}

int x86_walk(struct mem *mem, const struct x86_state *state, unsigned physical_bits, gva_t gva, unsigned access,
	     struct x86_walk *walk)
{
	int r;

	walk->error_code = 0;
	if (!(state->cr0 & X86_CR0_PG)) {
		*walk = (struct x86_walk){.gpa = gva & 0xffffffffull,
					  .page_size = PAGE_SIZE,
					  .user = true,
					  .writable = true,
					  .executable = true,
					  .dirty = true,
					  .entry = ~0ull};
		return 0;
	}
	/* Another processor that keeps changing the entry can delay us, not hold us: after some tries the walk
	 * is answered by what it saw last, as a not-present fault that the guest will take again. */
	for (unsigned tries = 0; tries < 64; tries++) {
		r = walk_once(mem, state, physical_bits, gva, access, walk);
		if (r != -EAGAIN)
			return r;
	}
	return fail(walk, state, access, 0);
}

uint64_t x86_leaf_reserved(const struct x86_state *state, unsigned physical_bits)
{
	return reserved_bits(mode_of(state), state, physical_bits, 1, true);
}

bool x86_pdptes_valid(struct mem *mem, const struct x86_state *state, uint64_t cr3, unsigned physical_bits)
{
	for (unsigned i = 0; i < 4; i++) {
		const uint64_t *entry = mem_hva(mem, (cr3 & 0xffffffe0ull) + 8 * i, 8);

		if (!entry)
			return false;
		if ((*entry & PTE_P) && (*entry & reserved_bits(&paging_pae, state, physical_bits, 3, false)))
			return false;
	}
	return true;
}
