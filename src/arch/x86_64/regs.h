/* Which general registers an instruction reads and writes, those included that no operand names.
 *
 * Example:
 *     struct x86_regs_used used = x86_insn_regs(&insn);   // push rbx: reads RBX and RSP, writes RSP
 *     if (used.written & 1u << X86_RSP) ...
 *
 * Bit n of a mask is register n; AH is RAX. What is there, and what is not:
 *   - base and index of a memory operand are read, also where nothing is accessed (LEA, NOP);
 *   - a register is read if any part of its old value matters for the instruction's effect. A write to AL or AX
 *     leaves the rest of RAX as it was and does not count as reading it: for whether the old value is dead
 *     look at the operand's size as well;
 *   - an operand that is written under a condition only, and kept otherwise, is in both masks (CMOVcc, LAR, BSF; a
 *     TZCNT that the engine makes a BSF: see decode.h); registers written under a condition without being an
 *     operand are taken as written (CMPXCHG's RAX);
 *   - RCX counts for string instructions with REP or REPNE. What a fault, an interrupt or a task switch does to
 *     RSP is not the instruction's, but INT, INT1, INT3 and INTO do it every time: RSP is in both masks.
 */
#ifndef ARCH_X86_64_REGS_H
#define ARCH_X86_64_REGS_H

#include "arch/x86_64/decode.h"

struct x86_regs_used {
	uint16_t read, written;
};

struct x86_regs_used x86_insn_regs(const struct x86_insn *insn);

#endif
