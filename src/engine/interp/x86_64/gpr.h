/* Implicit register operands and the stack, for semantic functions.
 *
 * Example: `gpr_write(cpu, X86_RAX, 4, value);`   clears the upper half of RAX, as every 32-bit
 * write does.
 */
#ifndef ENGINE_INTERP_X86_64_GPR_H
#define ENGINE_INTERP_X86_64_GPR_H

#include "engine/interp/x86_64/cpu.h"

/* The low `size` bytes of a register (never AH..BH), zero-extended. */
uint64_t gpr_read(const struct cpu *cpu, unsigned reg, unsigned size);
/* Sizes 1 and 2 keep the rest of the register, 4 clears the upper half. */
void gpr_write(struct cpu *cpu, unsigned reg, unsigned size, uint64_t value);
/* AH, the one high byte that instructions use implicitly. */
uint8_t gpr_read_ah(const struct cpu *cpu);
void gpr_write_ah(struct cpu *cpu, uint8_t value);

/* The address mask of an address size of 2, 4 or 8 bytes is size_mask() of flags.h. */

/* Offset in SS of rSP + delta, wrapped to the stack's size. */
uint64_t stack_offset(const struct cpu *cpu, int64_t delta);
/* Adds to rSP within the stack's size. */
void stack_adjust(struct cpu *cpu, int64_t delta);
/* The value at rSP + delta; rSP stays. May fault (#SS, #PF, #AC). */
uint64_t stack_read(struct cpu *cpu, int64_t delta, unsigned size);

#endif
