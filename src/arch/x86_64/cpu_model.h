/* The processor that a guest is to see, chosen by text: a model, then features to add and to take away.
 *
 *     host            all that the engine and the host can do
 *     v1, v2, v3      the levels of the x86-64 psABI: of the instructions that programs ask CPUID for, those of the
 *                     level and no others. What is for kernels (SMEP, PCID, x2APIC, RDTSCP, ...) stays.
 *     v2,+aes         a feature more, with all that it needs
 *     host,-avx       a feature less, with all that needs it (AVX2, FMA, F16C)
 *
 * The names are those of Linux's /proc/cpuinfo (cpu_features.def); items count from left to right, the last wins.
 *
 * Example: `r = x86_cpu_model_apply(vm->cpuid, config->cpu, why, sizeof(why));`
 */
#ifndef ARCH_X86_64_CPU_MODEL_H
#define ARCH_X86_64_CPU_MODEL_H

#include "arch/x86_64/cpuid.h"

/* The models, best first, with the highest level of instructions that each has. */
struct x86_cpu_model {
	const char *name, *about;
	uint8_t level; /* enum x86_cpu_level */
};
extern const struct x86_cpu_model x86_cpu_models[4];

/* Is this a model that some engine could give? 0, or -EINVAL and one sentence. */
int x86_cpu_model_check(const char *text, char *why, size_t why_size) must_check;

/* Narrows the table, which the engine has filtered already, and derives what follows. NULL: host. -EOPNOTSUPP and one
 * sentence when the table lacks what the text asks for; the table is unchanged then. */
int x86_cpu_model_apply(struct x86_cpuid_table *table, const char *text, char *why, size_t why_size) must_check;

#endif
