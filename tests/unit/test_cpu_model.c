/* Processor models: which features a text leaves, that CPUID, #UD and reserved bits agree about it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86_64/cpu_model.h"
#include "arch/x86_64/msr.h"
#include "base/errno.h"

static struct x86_cpuid_table table;
static char why[512];

/* The full offer, narrowed. */
static void choose(const char *text)
{
	x86_cpuid_build(&table, 2, 1000000000);
	why[0] = 0;
	if (x86_cpu_model_apply(&table, text, why, sizeof(why)))
		fail_msg("%s", why);
	assert_string_equal(why, "");
}

static bool has(enum x86_cpu_feature_id id)
{
	return x86_cpuid_offers(&table, id);
}

/* What follows from the bits of CPUID does so, whatever was chosen. */
static void check_consistency(void)
{
	uint64_t cr4 = X86_CR4_PCE;

	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		const struct x86_cpu_feature *feature = &x86_cpu_features[i];

		if (feature->feature != X86_FEATURE_BASE)
			assert_int_equal(table.features[feature->feature], has(i));
		if (has(i))
			cr4 |= feature->cr4;
		if (feature->level == X86_CPU_LEVEL_ALWAYS)
			assert_true(has(i));
		if (feature->level == X86_CPU_LEVEL_ABSENT)
			assert_false(has(i));
		assert_true(!has(i) || (has(feature->needs[0]) && has(feature->needs[1])));
	}
	assert_true(table.features[X86_FEATURE_BASE]);
	assert_int_equal(table.cr4_valid, cr4);
	assert_int_equal(table.xcr0_valid, has(X86_CPU_xsave) ? 3 | (has(X86_CPU_avx) ? 4 : 0) | (has(X86_CPU_pku) ? 0x200 : 0)
							      : 0);
}

static void levels(void **ctx)
{
	struct x86_cpuid_table full;

	x86_cpuid_build(&full, 2, 1000000000);
	choose(NULL);
	assert_memory_equal(&table, &full, sizeof(full));
	choose("host");
	assert_memory_equal(&table, &full, sizeof(full));
	check_consistency();
	assert_true(has(X86_CPU_aes) && has(X86_CPU_sha_ni) && has(X86_CPU_avx2));

	choose("v3");
	check_consistency();
	assert_true(has(X86_CPU_avx) && has(X86_CPU_avx2) && has(X86_CPU_bmi1) && has(X86_CPU_bmi2) && has(X86_CPU_f16c) &&
		    has(X86_CPU_fma) && has(X86_CPU_abm) && has(X86_CPU_movbe) && has(X86_CPU_xsave) &&
		    has(X86_CPU_sse4_2) && has(X86_CPU_xsaveopt) && has(X86_CPU_pku));
	assert_false(has(X86_CPU_aes) || has(X86_CPU_pclmulqdq) || has(X86_CPU_sha_ni) || has(X86_CPU_adx) ||
		     has(X86_CPU_rdrand) || has(X86_CPU_rdseed));

	choose("v2");
	check_consistency();
	assert_true(has(X86_CPU_cx16) && has(X86_CPU_lahf_lm) && has(X86_CPU_popcnt) && has(X86_CPU_pni) &&
		    has(X86_CPU_sse4_1) && has(X86_CPU_sse4_2) && has(X86_CPU_ssse3));
	assert_false(has(X86_CPU_avx) || has(X86_CPU_xsave) || has(X86_CPU_pku) || has(X86_CPU_bmi1) ||
		     has(X86_CPU_abm) || has(X86_CPU_movbe));
	assert_true(has(X86_CPU_smep) && has(X86_CPU_pcid) && has(X86_CPU_x2apic) && has(X86_CPU_rdtscp) &&
		    has(X86_CPU_hypervisor) && has(X86_CPU_nx));

	choose("v1");
	check_consistency();
	assert_false(has(X86_CPU_cx16) || has(X86_CPU_lahf_lm) || has(X86_CPU_popcnt) || has(X86_CPU_pni));
	assert_true(has(X86_CPU_sse2) && has(X86_CPU_smap));
	assert_true(table.features[X86_FEATURE_RDTSCP]);
}

static void dependencies(void **ctx)
{
	choose("host,-avx");
	check_consistency();
	assert_false(has(X86_CPU_avx) || has(X86_CPU_avx2) || has(X86_CPU_fma) || has(X86_CPU_f16c));
	assert_true(has(X86_CPU_xsave) && has(X86_CPU_aes) && has(X86_CPU_pku));

	choose("host,-xsave");
	check_consistency();
	assert_false(has(X86_CPU_avx2) || has(X86_CPU_pku) || has(X86_CPU_xsavec) || has(X86_CPU_xsaveopt));

	choose("host,-pni");
	check_consistency();
	assert_false(has(X86_CPU_ssse3) || has(X86_CPU_sse4_2) || has(X86_CPU_avx2));

	choose("host,-pcid");
	check_consistency();
	assert_false(has(X86_CPU_invpcid));

	/* What is added brings what it needs, and no more. */
	choose("v1,+avx2");
	check_consistency();
	assert_true(has(X86_CPU_avx2) && has(X86_CPU_avx) && has(X86_CPU_xsave) && has(X86_CPU_sse4_2) && has(X86_CPU_pni));
	assert_false(has(X86_CPU_fma) || has(X86_CPU_popcnt) || has(X86_CPU_xsaveopt) || has(X86_CPU_pku));

	/* From left to right */
	choose("v2,+avx2,-avx");
	check_consistency();
	assert_false(has(X86_CPU_avx2));
	choose("v3,-avx,+avx2");
	check_consistency();
	assert_true(has(X86_CPU_avx2) && has(X86_CPU_avx));
	assert_false(has(X86_CPU_fma));
	choose("v2,+aes,-aes,-vaes,-smap,-smap");
	assert_false(has(X86_CPU_aes) || has(X86_CPU_smap));
}

/* Every single one, alone, in both directions. */
static void each_feature(void **ctx)
{
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		unsigned level = x86_cpu_features[i].level;
		char text[64] = "host,-";

		strcat(text, x86_cpu_features[i].name);
		if (level != X86_CPU_LEVEL_ALWAYS) {
			choose(text);
			check_consistency();
			assert_false(has(i));
		}
		memcpy(text, "v1,+", 4);
		memmove(text + 4, text + 6, strlen(text + 6) + 1);
		if (level != X86_CPU_LEVEL_ABSENT) {
			choose(text);
			check_consistency();
			assert_true(has(i));
		}
	}
}

static void reserved_bits(void **ctx)
{
	struct x86_state state;
	uint64_t value;

	choose("host,-smep,-pcid,-fsgsbase,-umip,-smap,-pku,-pge,-nx");
	assert_int_equal(table.cr4_valid & (X86_CR4_SMEP | X86_CR4_PCIDE | X86_CR4_FSGSBASE | X86_CR4_UMIP | X86_CR4_SMAP |
					    X86_CR4_PKE | X86_CR4_PGE),
			 0);
	assert_true(table.cr4_valid & X86_CR4_OSXSAVE);
	x86_state_reset(&state, true);
	assert_int_equal(x86_msr_write(&state, &table, X86_MSR_EFER, X86_EFER_NXE), X86_MSR_GP);

	choose("v2,-mtrr,-tsc_adjust,-ibrs,-arch_capabilities,-tsc_deadline_timer,-rdtscp,-rdpid");
	assert_false(table.cr4_valid & X86_CR4_OSXSAVE);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_MTRRCAP, &value), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_TSC_ADJUST, &value), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_SPEC_CTRL, &value), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_ARCH_CAPABILITIES, &value), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_TSC_DEADLINE, &value), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&state, &table, X86_MSR_TSC_AUX, &value), X86_MSR_GP);
}

static void xsave_leaf(void **ctx)
{
	struct x86_state state;
	struct x86_cpuid_result r;

	x86_state_reset(&state, true);
	choose("host,-pku");
	r = x86_cpuid_read(&table, 0, &state, 0xd, 0);
	assert_int_equal(r.eax, 7);
	assert_int_equal(r.ebx, 576);
	assert_int_equal(r.ecx, 832);
	assert_int_equal(x86_cpuid_read(&table, 0, &state, 0xd, 9).eax, 0);

	choose("host,-avx");
	r = x86_cpuid_read(&table, 0, &state, 0xd, 0);
	assert_int_equal(r.eax, 0x203);
	assert_int_equal(r.ecx, 840); /* PKRU stays where it is */
	assert_int_equal(x86_cpuid_read(&table, 0, &state, 0xd, 2).eax, 0);

	choose("v2");
	for (uint32_t i = 0; i < 10; i++) {
		r = x86_cpuid_read(&table, 0, &state, 0xd, i);
		assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	}
}

static void check(const char *text, const char *expected)
{
	why[0] = 0;
	assert_int_equal(x86_cpu_model_check(text, why, sizeof(why)), expected ? -EINVAL : 0);
	if (!strstr(why, expected ? expected : ""))
		fail_msg("%s: %s", text, why);
}

static void refusals(void **ctx)
{
	check("v2,+aes,-pcid", NULL);
	check("v4", "there is no model 'v4'; use v1, v2, v3 or host");
	check("", "no model ''");
	check(",", "no model ''");
	check("+aes", "write --cpu host,+aes");
	check("v2,,+aes", "'' is neither");
	check("v2,+avx3", "no feature 'avx3'; is it avx or avx2?");
	check("v2,+bmi", "is it bmi1 or bmi2?");
	check("v2,+sse3", "is it pni?");
	check("v2,-pclmul", "is it pclmulqdq?");
	check("v2,+quantum", "no feature 'quantum'; `--cpu help`");
	check("host,+gfni", "no engine can give the guest gfni");
	check("v1,-sse2", "sse2 can't be taken away");
}

/* An engine, or a host, with less. */
static void engine_lacks(void **ctx)
{
	struct x86_cpuid_table before;

	x86_cpuid_build(&table, 1, 1000000000);
	x86_cpuid_remove(&table, X86_CPU_avx);
	x86_cpuid_remove(&table, X86_CPU_smep);
	x86_cpuid_remove(&table, X86_CPU_sha_ni);
	x86_cpuid_derive(&table);
	assert_false(has(X86_CPU_avx2)); /* goes with AVX */
	before = table;
	assert_int_equal(x86_cpu_model_apply(&table, "v3", why, sizeof(why)), -EOPNOTSUPP);
	assert_non_null(strstr(why, "can't give the guest avx, fma, f16c, avx2 on this host"));
	assert_int_equal(x86_cpu_model_apply(&table, "v2,+sha_ni", why, sizeof(why)), -EOPNOTSUPP);
	assert_int_equal(x86_cpu_model_apply(&table, "v2,+smep", why, sizeof(why)), -EOPNOTSUPP);
	assert_int_equal(x86_cpu_model_apply(&table, "v2,+avx2", why, sizeof(why)), -EOPNOTSUPP);
	assert_memory_equal(&table, &before, sizeof(before));
	/* What a model would have but nobody asked for by name may be missing. */
	assert_int_equal(x86_cpu_model_apply(&table, "host", why, sizeof(why)), 0);
	assert_int_equal(x86_cpu_model_apply(&table, "v3,-avx,-fma", why, sizeof(why)), 0);
	check_consistency();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels),     cmocka_unit_test(dependencies), cmocka_unit_test(each_feature),
		cmocka_unit_test(reserved_bits), cmocka_unit_test(xsave_leaf),	 cmocka_unit_test(refusals),
		cmocka_unit_test(engine_lacks),
	};

	return cmocka_run_group_tests_name("cpu_model", tests, NULL, NULL);
}
