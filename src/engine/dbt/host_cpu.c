/* The host's CPUID against the table of features; see host_cpu.h. */
#include "engine/dbt/host_cpu.h"

#include "arch/x86_64/cpuid.h"
#include "core/vm.h"
#include <cpuid.h>

#define XCR0_SSE_AVX 6u

static bool host_bit(uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit)
{
	uint32_t regs[4];

	return __get_cpuid_count(leaf, subleaf, &regs[0], &regs[1], &regs[2], &regs[3]) && (regs[reg] >> bit & 1);
}

static bool host_saves_avx(void)
{
	uint32_t low, high;

	if (!host_bit(1, 0, 2, 27 /* OSXSAVE */))
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & XCR0_SSE_AVX) == XCR0_SSE_AVX;
}

static bool host_offers(enum x86_cpu_feature_id id)
{
	const struct x86_cpu_feature *feature = &x86_cpu_features[id];

	if (id == X86_CPU_none)
		return true;
	if (!host_bit(feature->leaf, feature->subleaf, feature->reg, feature->bit))
		return false;
	if (id == X86_CPU_avx && !host_saves_avx())
		return false;
	return host_offers(feature->needs[0]) && host_offers(feature->needs[1]);
}

bool dbt_host_has(enum x86_feature feature)
{
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++)
		if (x86_cpu_features[i].feature == feature && feature != X86_FEATURE_BASE)
			return host_offers(i);
	return feature == X86_FEATURE_BASE;
}

bool dbt_emulates(enum x86_feature feature)
{
	switch (feature) {
	case X86_FEATURE_BASE:
	case X86_FEATURE_XSAVE:
	case X86_FEATURE_XSAVEOPT:
	case X86_FEATURE_XSAVEC:
	case X86_FEATURE_XSAVES:
	case X86_FEATURE_FSGSBASE:
	case X86_FEATURE_INVPCID:
	case X86_FEATURE_RDTSCP:
	case X86_FEATURE_RDPID:
	case X86_FEATURE_SERIALIZE:
	case X86_FEATURE_SMAP:
	case X86_FEATURE_PKU:
	case X86_FEATURE_RDRAND:
	case X86_FEATURE_RDSEED:
	case X86_FEATURE_MONITOR:
	case X86_FEATURE_CLFLUSHOPT:
	case X86_FEATURE_CLWB:
	case X86_FEATURE_PREFETCHW:
		return true;
	default:
		return false;
	}
}

void dbt_cpuid_filter_for(struct x86_cpuid_table *table, bool (*has)(enum x86_feature feature))
{
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		enum x86_feature feature = x86_cpu_features[i].feature;

		if (!dbt_emulates(feature) && !has(feature))
			x86_cpuid_remove(table, i);
	}
	x86_cpuid_derive(table);
}

void dbt_cpuid_filter(struct vm *vm)
{
	dbt_cpuid_filter_for(vm->cpuid, dbt_host_has);
}
