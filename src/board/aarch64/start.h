/* The AArch64 board's side of processors' states.
 *
 * Example: `a64_start_state(&state, 0, plan.entry, plan.fdt);`
 */
#ifndef BOARD_AARCH64_START_H
#define BOARD_AARCH64_START_H

#include "core/vcpu.h"

/* What the vcpu loop must know of the architecture. */
extern const struct vcpu_arch_ops *const a64_board_arch_ops;

/* At EL1 with everything masked and the MMU off, as Linux (booting.rst) and PSCI have it: pc is entry, x0 is context. */
void a64_start_state(union arch_state *state, unsigned index, uint64_t entry, uint64_t context);
/* Marks the state as that of a processor that is switched off. */
void a64_stop_state(union arch_state *state);

#endif
