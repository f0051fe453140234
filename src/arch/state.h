/* The architectural state of a vcpu as it crosses the engine seam. */
#ifndef ARCH_STATE_H
#define ARCH_STATE_H

#include "arch/aarch64/state.h"
#include "arch/x86_64/state.h"

union arch_state {
	struct x86_state x86;
	struct a64_state a64;
};

#endif
