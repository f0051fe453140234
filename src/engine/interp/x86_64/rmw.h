/* Read-modify-write of operand 0, with or without LOCK: what ADD, NOT, BTS, XADD, ... have in
 * common.
 *
 * Example:
 *     static uint64_t update_not(struct rmw *rmw, uint64_t old) { return ~old; }
 *     ... struct rmw rmw = { .size = 4 }; rmw_operand(cpu, insn, &rmw, update_not);
 */
#ifndef ENGINE_INTERP_X86_64_RMW_H
#define ENGINE_INTERP_X86_64_RMW_H

#include "engine/interp/x86_64/sem.h"

struct rmw {
	unsigned size;	 /* bytes */
	uint64_t source; /* second operand, if the operation has one */
	unsigned carry;	 /* CF before */
	uint64_t old;	 /* out: what was there */
	uint32_t mask;	 /* out: the flags that the operation writes */
	uint32_t flags;	 /* out: to what */
};

/* The new value from the old one; fills mask and flags. Has no other effect: under LOCK it runs
 * once an attempt. */
typedef uint64_t rmw_fn(struct rmw *rmw, uint64_t old);

/* Applies update to operand 0 (GPR or memory), atomically if there is a LOCK prefix, then writes
 * the flags. */
void rmw_operand(struct cpu *cpu, const struct x86_insn *insn, struct rmw *rmw, rmw_fn *update);
/* The same on memory at seg:offset. */
void rmw_memory(struct cpu *cpu, unsigned seg, uint64_t offset, bool locked, struct rmw *rmw,
		rmw_fn *update);

#endif
