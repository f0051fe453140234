/* The `dbt` engine, for the registry in engine/engines.c. */
#ifndef ENGINE_DBT_DBT_ENGINE_H
#define ENGINE_DBT_DBT_ENGINE_H

#include "core/engine.h"

extern const struct engine_ops dbt_engine;

#endif
