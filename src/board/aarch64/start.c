/* How the virt board starts and stops processors. See start.h. */
#include "board/aarch64/start.h"

#include "arch/state.h"

/* INIT and start-up IPIs are x86's: nobody sends them here. */
static void init(union arch_state *state, bool boot_cpu)
{
	a64_state_reset(&state->a64, 0);
}

static void startup(union arch_state *state, uint8_t vector)
{
}

static enum vcpu_run_state run_state(const union arch_state *state)
{
	switch (state->a64.activity) {
	case A64_WAITING:
		return VCPU_HALTED;
	case A64_OFF:
		return VCPU_WAIT_SIPI;
	default:
		return VCPU_RUNNABLE;
	}
}

static const struct vcpu_arch_ops ops = {.init = init, .startup = startup, .run_state = run_state};
const struct vcpu_arch_ops *const a64_board_arch_ops = &ops;

void a64_start_state(union arch_state *state, unsigned index, uint64_t entry, uint64_t context)
{
	a64_state_reset(&state->a64, index);
	state->a64.pc = entry;
	state->a64.x[0] = context;
}

void a64_stop_state(union arch_state *state)
{
	state->a64.activity = A64_OFF;
}
