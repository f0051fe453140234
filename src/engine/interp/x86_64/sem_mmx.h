/* MMX forms of instructions that also have XMM forms.
 *
 * PADDB, PSHUFB and their like are one op for both register files, and one lane function computes both: an MMX
 * register is the low half of a `union vec`. The shapes of vec.h hand MMX forms over with their function:
 *
 *     if (vec_is_mmx(insn)) {
 *             sem_mmx_binary(cpu, insn, fn);
 *             return;
 *     }
 *
 * Where a lane function depends on the width (packs, unpacks, PSHUFB, PALIGNR) the operands are arranged so
 * that the low half of its result is what the 64-bit form gives.
 *
 * Ops that only exist with MMX operands (EMMS, PSHUFW, MASKMOVQ, CVTPI2PS, ...) are in sem_mmx[].
 */
#ifndef ENGINE_INTERP_X86_64_SEM_MMX_H
#define ENGINE_INTERP_X86_64_SEM_MMX_H

#include "engine/interp/x86_64/vec.h"

/* All of them pass the gates (#UD, #NM, #MF) first, and make the transition to MMX state (TOP 0, all tags valid,
 * SDM 1 9.5) after the last thing that can fault. */
void sem_mmx_unary(struct cpu *cpu, const struct x86_insn *insn, vec_unary_fn *fn);
void sem_mmx_binary(struct cpu *cpu, const struct x86_insn *insn, vec_binary_fn *fn);
void sem_mmx_binary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_binary_imm_fn *fn);
void sem_mmx_shift(struct cpu *cpu, const struct x86_insn *insn, vec_shift_fn *fn);

/* The moves: MOVD, MOVQ, PINSRW, PEXTRW, PMOVMSKB with an MMX register operand. */
sem_fn sem_mmx_dispatch;

#endif
