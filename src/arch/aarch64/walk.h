/* Stage 1 translation of the EL1&0 regime (DDI 0487 D8): tables of 4, 16 and 64 KiB granules, as TCR_EL1 says.
 *
 * Example:
 *     struct a64_walk walk;
 *     if (a64_walk(&vm->mem, state, address, A64_WALK_WRITE, &walk) < 0)
 *             syndrome = walk.fault;          // a translation fault of level 3: 0x07
 */
#ifndef ARCH_AARCH64_WALK_H
#define ARCH_AARCH64_WALK_H

#include "arch/aarch64/state.h"

struct mem;

/* What the access is: nothing is a read at EL1. */
enum a64_walk_access {
	A64_WALK_WRITE = 1,
	A64_WALK_FETCH = 2,
	A64_WALK_USER = 4, /* with EL0's rights */
	A64_WALK_PAN = 8,  /* at EL1: what EL0 may access is out of reach */
	A64_WALK_LOOK = 16, /* sets no access flag and no dirty state: for debuggers and address translation instructions */
};

/* Fault status codes (ISS of aborts, D19.2.37); those of tables have the level in the lower two bits. */
enum a64_fault {
	A64_FAULT_SIZE = 0x00,
	A64_FAULT_TRANSLATION = 0x04,
	A64_FAULT_ACCESS_FLAG = 0x08,
	A64_FAULT_PERMISSION = 0x0c,
	A64_FAULT_EXTERNAL = 0x10,
	A64_FAULT_EXTERNAL_WALK = 0x14,
	A64_FAULT_ALIGNMENT = 0x21,
	A64_FAULT_UNSUPPORTED_ATOMIC = 0x35,
};

struct a64_walk {
	uint64_t gpa;
	unsigned size_shift; /* of the page or block: log2 of bytes; 12 with the MMU off */
	uint8_t attributes;  /* the byte of MAIR_EL1 */
	uint8_t shareability;
	bool global;
	bool device;         /* of the device types: aligned accesses only */
	uint8_t fault;       /* of a walk that failed */
};

/* Translates address for an access of these rights (A64_WALK_*); 0, or -EFAULT with walk->fault. Reads tables in RAM only, and sets
 * access flag and dirty state in them where TCR_EL1.HA and HD ask for it. */
int a64_walk(struct mem *mem, const struct a64_state *state, uint64_t address, unsigned access, struct a64_walk *walk) must_check;

#endif
