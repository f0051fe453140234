/* The `interp` engines, for the registry in engine/engines.c. */
#ifndef ENGINE_INTERP_INTERP_H
#define ENGINE_INTERP_INTERP_H

#include "core/engine.h"

/* For x86-64 guests, and for AArch64 ones. */
extern const struct engine_ops interp_engine, interp_a64_engine;

#endif
