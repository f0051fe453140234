/* Walks translation tables. See walk.h. */
#include "arch/aarch64/walk.h"

#include "arch/aarch64/sysregs.h"
#include "base/errno.h"
#include "mem/mem.h"
#include <stdatomic.h>

#define ADDRESS_BITS 48u /* of physical addresses: ID_AA64MMFR0_EL1.PARange */

/* TCR_EL1 (D19.2.139). */
#define TCR_EPD0 (1ull << 7)
#define TCR_EPD1 (1ull << 23)
#define TCR_TBI0 (1ull << 37)
#define TCR_TBI1 (1ull << 38)
#define TCR_HA   (1ull << 39)
#define TCR_HD   (1ull << 40)
#define TCR_HPD0 (1ull << 41)
#define TCR_HPD1 (1ull << 42)
#define TCR_E0PD0 (1ull << 55)
#define TCR_E0PD1 (1ull << 56)

/* Descriptors (D8.3). */
#define DESC_VALID (1ull << 0)
#define DESC_TABLE (1ull << 1) /* or a page, at level 3 */
#define DESC_USER  (1ull << 6)
#define DESC_RO    (1ull << 7)
#define DESC_AF    (1ull << 10)
#define DESC_NG    (1ull << 11)
#define DESC_DBM   (1ull << 51)
#define DESC_PXN   (1ull << 53)
#define DESC_UXN   (1ull << 54)
#define TABLE_PXN  (1ull << 59)
#define TABLE_UXN  (1ull << 60)
#define TABLE_USER (1ull << 61) /* APTable[0]: no access for EL0 */
#define TABLE_RO   (1ull << 62)

/* One half of the address space as TCR_EL1 describes it. */
struct half {
	uint64_t base;
	unsigned bits;    /* of addresses in it */
	unsigned granule; /* log2 */
	bool disabled, ignores_top, flat_rights;
	bool hidden; /* from EL0 */
};

static struct half half_of(const struct a64_state *s, bool upper)
{
	const uint64_t tcr = s->sys[A64_SYS_TCR_EL1];
	static const uint8_t lower_granules[4] = {12, 16, 14, 12}, upper_granules[4] = {12, 14, 12, 16};
	unsigned size = tcr >> (upper ? 16 : 0) & 63;

	/* Reserved sizes are taken as the nearest there is. */
	size = size < 16 ? 16 : size > 39 ? 39 : size;
	return (struct half){
		.base = s->sys[upper ? A64_SYS_TTBR1_EL1 : A64_SYS_TTBR0_EL1] & 0xfffffffffffeull,
		.bits = 64 - size,
		.granule = upper ? upper_granules[tcr >> 30 & 3] : lower_granules[tcr >> 14 & 3],
		.disabled = tcr & (upper ? TCR_EPD1 : TCR_EPD0),
		.ignores_top = tcr & (upper ? TCR_TBI1 : TCR_TBI0),
		.flat_rights = tcr & (upper ? TCR_HPD1 : TCR_HPD0),
		.hidden = tcr & (upper ? TCR_E0PD1 : TCR_E0PD0),
	};
}

static unsigned output_bits(const struct a64_state *s)
{
	static const uint8_t bits[8] = {32, 36, 40, 42, 44, 48, 48, 48};

	return bits[s->sys[A64_SYS_TCR_EL1] >> 32 & 7];
}

static int fault(struct a64_walk *walk, enum a64_fault kind, unsigned level)
{
	walk->fault = (uint8_t)(kind + level);
	return -EFAULT;
}

static void set_attributes(const struct a64_state *s, uint64_t desc, struct a64_walk *walk)
{
	walk->attributes = (uint8_t)(s->sys[A64_SYS_MAIR_EL1] >> 8 * (desc >> 2 & 7));
	walk->shareability = desc >> 8 & 3;
	walk->device = !(walk->attributes & 0xf0);
	walk->global = !(desc & DESC_NG);
}

/* With the MMU off data is Device-nGnRnE memory, and instructions are Normal (D8.2.10). */
static int flat(uint64_t address, unsigned access, struct a64_walk *walk)
{
	if (address >> ADDRESS_BITS)
		return fault(walk, A64_FAULT_SIZE, 0);
	*walk = (struct a64_walk){
		.gpa = address, .size_shift = PAGE_SHIFT, .global = true, .shareability = 2, .device = !(access & A64_WALK_FETCH)};
	return 0;
}

/* The last level's descriptor with what the tables above it took away. */
struct leaf {
	uint64_t desc;
	_Atomic uint64_t *at;
	uint64_t gpa; /* of the descriptor */
	unsigned level;
	bool table_ro, table_no_user, table_pxn, table_uxn;
};

static bool writable_by_hardware(const struct a64_state *s, uint64_t desc)
{
	const uint64_t tcr = s->sys[A64_SYS_TCR_EL1];

	return (tcr & TCR_HA) && (tcr & TCR_HD) && (desc & DESC_DBM);
}

/* D8.4.1: direct permissions, less those of the tables above. */
static bool permits(const struct a64_state *s, const struct leaf *leaf, unsigned access)
{
	const bool user = (leaf->desc & DESC_USER) && !leaf->table_no_user;
	const bool writable = (!(leaf->desc & DESC_RO) || writable_by_hardware(s, leaf->desc)) && !leaf->table_ro;
	const bool wxn = s->sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_WXN;

	if (access & A64_WALK_FETCH) {
		if (access & A64_WALK_USER)
			return !(leaf->desc & DESC_UXN) && !leaf->table_uxn && !(wxn && user && writable);
		return !(leaf->desc & DESC_PXN) && !leaf->table_pxn && !(user && writable) && !(wxn && writable);
	}
	if ((access & A64_WALK_USER) ? !user : (access & A64_WALK_PAN) && user)
		return false;
	return writable || !(access & A64_WALK_WRITE);
}

/* Hardware management of access flag and dirty state (D8.4.6). False: the descriptor is another by now. */
static bool update(struct mem *mem, const struct a64_state *s, const struct leaf *leaf, unsigned access)
{
	uint64_t desc = leaf->desc, updated = desc | DESC_AF;

	if (access & A64_WALK_LOOK)
		return true;
	if ((access & A64_WALK_WRITE) && writable_by_hardware(s, desc))
		updated &= ~DESC_RO;
	if (updated == desc)
		return true;
	if (!atomic_compare_exchange_strong(leaf->at, &desc, updated))
		return false;
	mem_mark_written(mem, leaf->gpa, sizeof(desc));
	return true;
}

/* Down the tables; 0 with leaf, or the fault. */
static int descend(struct mem *mem, const struct a64_state *s, const struct half *half, uint64_t address, struct leaf *leaf, struct a64_walk *walk)
{
	const unsigned stride = half->granule - 3, out_bits = output_bits(s);
	unsigned level = 3 - (half->bits - half->granule - 1) / stride;
	unsigned shift = half->granule + stride * (3 - level);
	const unsigned first_bits = half->bits - shift;
	uint64_t table = half->base & ~((8ull << first_bits) - 1);
	uint64_t index = address >> shift & ((1ull << first_bits) - 1);

	if (table >> out_bits)
		return fault(walk, A64_FAULT_SIZE, 0);
	for (;; level++) {
		uint64_t out;

		leaf->gpa = table + index * 8;
		leaf->at = mem_hva(mem, leaf->gpa, 8);
		if (!leaf->at)
			return fault(walk, A64_FAULT_EXTERNAL_WALK, level);
		leaf->desc = atomic_load_explicit(leaf->at, memory_order_relaxed);
		leaf->level = level;
		if (!(leaf->desc & DESC_VALID))
			return fault(walk, A64_FAULT_TRANSLATION, level);

		const bool table_or_page = leaf->desc & DESC_TABLE;
		const bool is_block = !table_or_page && (level == 2 || (level == 1 && half->granule == 12));

		if (level == 3 ? !table_or_page : !table_or_page && !is_block)
			return fault(walk, A64_FAULT_TRANSLATION, level);
		out = leaf->desc & 0xffffffffffffull & ~((1ull << (level == 3 || is_block ? shift : half->granule)) - 1);
		if (out >> out_bits)
			return fault(walk, A64_FAULT_SIZE, level);
		if (level == 3 || is_block) {
			walk->gpa = out | (address & ((1ull << shift) - 1));
			walk->size_shift = shift;
			return 0;
		}
		if (!half->flat_rights) {
			leaf->table_ro |= !!(leaf->desc & TABLE_RO);
			leaf->table_no_user |= !!(leaf->desc & TABLE_USER);
			leaf->table_pxn |= !!(leaf->desc & TABLE_PXN);
			leaf->table_uxn |= !!(leaf->desc & TABLE_UXN);
		}
		table = out;
		shift -= stride;
		index = address >> shift & ((1ull << stride) - 1);
	}
}

int a64_walk(struct mem *mem, const struct a64_state *s, uint64_t address, unsigned access, struct a64_walk *walk)
{
	const bool upper = address >> 55 & 1;
	const struct half half = half_of(s, upper);
	const unsigned top = half.ignores_top ? 56 : 64;
	uint64_t above = address << (64 - top) >> (64 - top) >> half.bits;
	struct leaf leaf;

	*walk = (struct a64_walk){0};
	if (!(s->sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_M))
		return flat(half.ignores_top ? address & ((1ull << 56) - 1) : address, access, walk);
	if (above != (upper ? (1ull << (top - half.bits)) - 1 : 0) || half.disabled || (half.hidden && (access & A64_WALK_USER)))
		return fault(walk, A64_FAULT_TRANSLATION, 0);
	/* Again as long as somebody else changes the descriptor at the same moment. */
	for (unsigned turns = 0; turns < 64; turns++) {
		int r;

		leaf = (struct leaf){0};
		r = descend(mem, s, &half, address, &leaf, walk);
		if (r)
			return r;
		if (!(leaf.desc & DESC_AF) && !(s->sys[A64_SYS_TCR_EL1] & TCR_HA))
			return fault(walk, A64_FAULT_ACCESS_FLAG, leaf.level);
		if (!permits(s, &leaf, access))
			return fault(walk, A64_FAULT_PERMISSION, leaf.level);
		if (update(mem, s, &leaf, access))
			break;
	}
	set_attributes(s, leaf.desc, walk);
	return 0;
}
