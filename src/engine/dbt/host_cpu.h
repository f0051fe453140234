/* What the host's processor can do, for the instructions that the translator copies: what the host lacks, the guest
 * can't be offered.
 *
 * Example: `if (!dbt_host_has(X86_FEATURE_AVX)) ...`
 */
#ifndef ENGINE_DBT_HOST_CPU_H
#define ENGINE_DBT_HOST_CPU_H

#include "arch/x86_64/decode.h"

struct vm;
struct x86_cpuid_table;

/* Can this process execute these instructions? CPUID has the bits and, for AVX and what is encoded with VEX vectors,
 * the kernel saves the registers (XCR0). Executes CPUID, which is slow under a hypervisor: not for hot paths. */
bool dbt_host_has(enum x86_feature feature);

/* Features whose instructions the translator never copies: they need nothing of the host. */
bool dbt_emulates(enum x86_feature feature);

/* Takes from vm->cpuid what the translator would copy and the host lacks: engine_ops.cpuid_filter. */
void dbt_cpuid_filter(struct vm *vm);
/* The same for a host that is told by `has`, for tests. */
void dbt_cpuid_filter_for(struct x86_cpuid_table *table, bool (*has)(enum x86_feature feature));

#endif
