/* The guest's time-stamp counter and its relation to the platform clock, for every engine that does not have the
 * hardware's: TSC = time since VM start, scaled to cpuid->tsc_hz, plus the vcpu's offset.
 *
 * Example: `deadline_ns = vm_tsc_deadline_ns(vm, vcpu->tsc_offset, deadline);`
 *
 * The frequency is X86_TSC_HZ_DEFAULT unless the engine knows better: at 1 GHz a tick is a nanosecond, nothing is
 * rounded, and a guest moves between hosts without noticing.
 */
#ifndef CORE_TSC_H
#define CORE_TSC_H

#include "base/types.h"

#define X86_TSC_HZ_DEFAULT 1000000000u

struct vm;
struct vcpu;

/* The TSC of a vcpu with this offset, now. Any thread. */
uint64_t vm_tsc(const struct vm *vm, uint64_t tsc_offset);

/* The platform clock at which a vcpu with this offset reads `tsc` (0 if that is past, UINT64_MAX if it never comes). */
uint64_t vm_tsc_deadline_ns(const struct vm *vm, uint64_t tsc_offset, uint64_t tsc);

/* The engine's duty: whenever state.tsc_offset changes (set_state, WRMSR to TSC or TSC_ADJUST), on the vcpu's thread.
 * Sets vcpu->tsc_offset and has timers and clocks that follow the TSC re-read it. */
void vcpu_set_tsc_offset(struct vcpu *vcpu, uint64_t tsc_offset);

/* ticks = ns * hz / 10^9 and back, without overflow inside; saturates at UINT64_MAX. hz below 2^34. */
uint64_t tsc_from_ns(uint64_t ns, uint64_t hz);
uint64_t tsc_to_ns(uint64_t ticks, uint64_t hz);

#endif
