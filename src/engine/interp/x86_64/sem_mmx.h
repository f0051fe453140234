/* MMX forms of instructions that also have XMM forms.
 *
 * PADDB, PSHUFB and their like are one op for both register files. sem_sse_int[] registers the op; its
 * function hands the MMX form over:
 *
 *     if (insn->operand[0].kind == X86_OPND_MMX || insn->operand[1].kind == X86_OPND_MMX) {
 *             sem_mmx_dispatch(cpu, insn);
 *             return;
 *     }
 *
 * Ops that only exist with MMX operands (EMMS, PSHUFW, MASKMOVQ, CVTPI2PS, ...) are in sem_mmx[].
 */
#ifndef ENGINE_INTERP_X86_64_SEM_MMX_H
#define ENGINE_INTERP_X86_64_SEM_MMX_H

#include "engine/interp/x86_64/sem.h"

/* Executes any instruction that has an MMX register operand, gates (#UD, #NM, #MF) included. */
sem_fn sem_mmx_dispatch;

#endif
