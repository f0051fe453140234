/* What the translator offers on hosts that have less than it could use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arch/x86_64/cpu_model.h"
#include "core/vm.h"
#include "engine/dbt/host_cpu.h"

static struct x86_cpuid_table table;

static bool has_all(enum x86_feature feature)
{
	return true;
}

/* Nothing but what every x86-64 processor has */
static bool has_nothing(enum x86_feature feature)
{
	return feature == X86_FEATURE_BASE;
}

static bool has_no_avx(enum x86_feature feature)
{
	return feature != X86_FEATURE_AVX;
}

static void offer(bool (*has)(enum x86_feature feature))
{
	x86_cpuid_build(&table, 1, 1000000000);
	dbt_cpuid_filter_for(&table, has);
}

static void full_host(void **ctx)
{
	struct x86_cpuid_table full;

	x86_cpuid_build(&full, 1, 1000000000);
	offer(has_all);
	assert_memory_equal(&table, &full, sizeof(full));
}

static void oldest_host(void **ctx)
{
	struct x86_cpuid_table full;

	x86_cpuid_build(&full, 1, 1000000000);
	offer(has_nothing);
	for (unsigned i = 0; i < X86_FEATURE_COUNT; i++) {
		/* PKU needs XSAVE, which is emulated: it stays. */
		assert_int_equal(table.features[i], full.features[i] && dbt_emulates(i));
	}
	assert_true(table.features[X86_FEATURE_XSAVE] && table.features[X86_FEATURE_FSGSBASE] &&
		    table.features[X86_FEATURE_RDRAND] && table.features[X86_FEATURE_PKU]);
	assert_int_equal(table.xcr0_valid, 0x203);
	assert_int_equal(table.cr4_valid, full.cr4_valid);
	/* what belongs to no instruction stays too */
	assert_true(x86_cpuid_offers(&table, X86_CPU_smep) && x86_cpuid_offers(&table, X86_CPU_pcid) &&
		    x86_cpuid_offers(&table, X86_CPU_nx));
}

static void host_without_avx(void **ctx)
{
	char why[256];

	offer(has_no_avx);
	assert_false(table.features[X86_FEATURE_AVX] || table.features[X86_FEATURE_AVX2] ||
		     table.features[X86_FEATURE_FMA] || table.features[X86_FEATURE_F16C]);
	assert_true(table.features[X86_FEATURE_AES] && table.features[X86_FEATURE_BMI1]);
	assert_int_equal(table.xcr0_valid, 0x203);
	assert_int_not_equal(x86_cpu_model_apply(&table, "v3", why, sizeof(why)), 0);
	assert_int_equal(x86_cpu_model_apply(&table, "v2,+aes", why, sizeof(why)), 0);
}

/* Against the compiler's run-time support */
static void this_host(void **ctx)
{
	struct vm vm = {.cpuid = &table};

	assert_true(dbt_host_has(X86_FEATURE_BASE));
#define SAME(feature, name) assert_int_equal(dbt_host_has(X86_FEATURE_##feature), !!__builtin_cpu_supports(name))
	SAME(SSE3, "sse3");
	SAME(SSSE3, "ssse3");
	SAME(SSE4_1, "sse4.1");
	SAME(SSE4_2, "sse4.2");
	SAME(SSE4A, "sse4a");
	SAME(POPCNT, "popcnt");
	SAME(AES, "aes");
	SAME(PCLMULQDQ, "pclmul");
	SAME(AVX, "avx");
	SAME(AVX2, "avx2");
	SAME(FMA, "fma");
	SAME(BMI1, "bmi");
	SAME(BMI2, "bmi2");
	SAME(GFNI, "gfni");
	SAME(VPCLMULQDQ, "vpclmulqdq");

	x86_cpuid_build(&table, 1, 1000000000);
	dbt_cpuid_filter(&vm);
	for (unsigned i = 0; i < X86_FEATURE_COUNT; i++)
		assert_true(!table.features[i] || dbt_emulates(i) || dbt_host_has(i));
	assert_int_equal(table.features[X86_FEATURE_AVX2], dbt_host_has(X86_FEATURE_AVX2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_host),
		cmocka_unit_test(oldest_host),
		cmocka_unit_test(host_without_avx),
		cmocka_unit_test(this_host),
	};

	return cmocka_run_group_tests_name("dbt_host_cpu", tests, NULL, NULL);
}
