/* The x86 side of the vcpu loop's hooks (SDM 3A 8.4 and 10.1).
 *
 * Example, in a board: `vm->arch_ops = &x86_vcpu_ops;`
 */
#include "arch/x86_64/vcpu_hooks.h"
#include "arch/state.h"

static void init(union arch_state *state, bool boot_cpu)
{
	x86_state_init(&state->x86, boot_cpu);
}

static void startup(union arch_state *state, uint8_t vector)
{
	x86_state_sipi(&state->x86, vector);
}

static enum vcpu_run_state run_state(const union arch_state *state)
{
	switch (state->x86.activity) {
	case X86_ACTIVITY_HLT:
		return VCPU_HALTED;
	case X86_ACTIVITY_WAIT_SIPI:
		return VCPU_WAIT_SIPI;
	default:
		return VCPU_RUNNABLE;
	}
}

const struct vcpu_arch_ops x86_vcpu_ops = {
	.init = init,
	.startup = startup,
	.run_state = run_state,
};
