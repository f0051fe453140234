/* The `interp` engine, for the registry in engine/engines.c. */
#ifndef ENGINE_INTERP_INTERP_H
#define ENGINE_INTERP_INTERP_H

#include "core/engine.h"

extern const struct engine_ops interp_engine;

#endif
