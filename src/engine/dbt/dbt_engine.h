/* The `dbt` engine, for the registry in engine/engines.c. */
#ifndef ENGINE_DBT_DBT_ENGINE_H
#define ENGINE_DBT_DBT_ENGINE_H

#include "core/engine.h"

/* For x86-64 guests, and for AArch64 ones. */
extern const struct engine_ops dbt_engine, dbt_a64_engine;

#endif
