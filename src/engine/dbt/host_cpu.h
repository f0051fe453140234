/* What the host's processor can execute, for code that is copied to it. */
#ifndef ENGINE_DBT_HOST_CPU_H
#define ENGINE_DBT_HOST_CPU_H

#include "arch/x86_64/decode.h"

struct vm;

/* Features that the translator emulates itself count as there. Any thread. */
bool dbt_host_has(enum x86_feature feature);
/* Takes what the host lacks from the guest's CPUID table. */
void dbt_cpuid_filter(struct vm *vm);

#endif
