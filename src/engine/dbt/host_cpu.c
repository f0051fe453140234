#include "engine/dbt/host_cpu.h"
#include "core/vm.h"

bool dbt_host_has(enum x86_feature feature)
{
	switch (feature) {
	case X86_FEATURE_AVX: return __builtin_cpu_supports("avx");
	case X86_FEATURE_BMI2: return __builtin_cpu_supports("bmi2");
	default: return true;
	}
}

void dbt_cpuid_filter(struct vm *vm)
{
}
