/* CPUID and MSR tables: what is announced agrees with what follows from it, and MSR accesses fault as the
 * manual says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/msr.h"

struct machine {
	struct x86_cpuid_table table;
	struct x86_state state;
};

static int setup(void **ctx)
{
	static struct machine machine;

	x86_cpuid_build(&machine.table, 4, 1000000000);
	x86_state_reset(&machine.state, true);
	*ctx = &machine;
	return 0;
}

static struct x86_cpuid_result cpuid(struct machine *m, uint32_t leaf, uint32_t subleaf)
{
	return x86_cpuid_read(&m->table, 2, &m->state, leaf, subleaf);
}

static void features_follow_bits(void **ctx)
{
	struct machine *m = *ctx;

	assert_true(m->table.features[X86_FEATURE_BASE]);
	for (unsigned i = 0; i < X86_FEATURE_COUNT; i++) {
		bool absent = i == X86_FEATURE_SSE4A || i == X86_FEATURE_XSAVES || i == X86_FEATURE_VAES ||
			      i == X86_FEATURE_VPCLMULQDQ || i == X86_FEATURE_GFNI || i == X86_FEATURE_CLWB ||
			      i == X86_FEATURE_MONITOR;

		assert_int_equal(m->table.features[i], !absent);
	}
	assert_int_equal(m->table.xcr0_valid, 0x207);
	assert_int_equal(m->table.physical_bits, 40);
	assert_int_equal(m->table.efer_valid, 0xd01);
	assert_true(m->table.cr4_valid & X86_CR4_UMIP);
	assert_false(m->table.cr4_valid & X86_CR4_VME);

	/* A filter that takes AVX and PKU away */
	x86_cpuid_find(&m->table, 1, 0)->ecx &= ~(1u << 28);
	x86_cpuid_find(&m->table, 7, 0)->ecx &= ~(1u << 3);
	x86_cpuid_find(&m->table, 0xd, 0)->eax &= 3;
	x86_cpuid_derive(&m->table);
	assert_false(m->table.features[X86_FEATURE_AVX]);
	assert_false(m->table.features[X86_FEATURE_PKU]);
	assert_false(m->table.cr4_valid & X86_CR4_PKE);
	assert_int_equal(m->table.xcr0_valid, 3);
	assert_int_equal(cpuid(m, 0xd, 0).ecx, 576);
	assert_false(m->table.features[X86_FEATURE_AVX2]); /* needs AVX */
	assert_false(cpuid(m, 7, 0).ebx & 1u << 5);
}

/* Every extension that needs XCR0 bits or CR4 bits has them. */
static void invariants(void **ctx)
{
	struct machine *m = *ctx;

	if (m->table.features[X86_FEATURE_AVX])
		assert_int_equal(m->table.xcr0_valid & 7, 7);
	if (m->table.features[X86_FEATURE_PKU]) {
		assert_true(m->table.xcr0_valid & 1u << 9);
		assert_true(m->table.cr4_valid & X86_CR4_PKE);
	}
	assert_true(!m->table.features[X86_FEATURE_AVX2] || m->table.features[X86_FEATURE_AVX]);
	assert_true(!m->table.features[X86_FEATURE_FMA] || m->table.features[X86_FEATURE_AVX]);
	assert_true(!m->table.features[X86_FEATURE_F16C] || m->table.features[X86_FEATURE_AVX]);
	assert_true(!m->table.features[X86_FEATURE_XSAVEC] || m->table.features[X86_FEATURE_XSAVE]);
	for (uint32_t i = 2; i < 63; i++)
		if (m->table.xcr0_valid >> i & 1)
			assert_int_not_equal(cpuid(m, 0xd, i).eax, 0);
}

static void dynamic_bits(void **ctx)
{
	struct machine *m = *ctx;

	assert_int_equal(cpuid(m, 1, 0).ebx >> 24, 2);
	assert_int_equal(cpuid(m, 0xb, 0).edx, 2);
	assert_int_equal(cpuid(m, 0xb, 1).ebx, 4);
	assert_int_equal(cpuid(m, 0xb, 1).eax, 2);
	assert_int_equal(cpuid(m, 0xb, 7).ecx, 7);
	assert_int_equal(cpuid(m, 0xb, 7).edx, 2);
	assert_int_equal(cpuid(m, 0xb, 7).eax, 0);

	assert_false(cpuid(m, 1, 0).ecx & 1u << 27);
	m->state.cr4 |= X86_CR4_OSXSAVE | X86_CR4_PKE;
	assert_true(cpuid(m, 1, 0).ecx & 1u << 27);
	assert_true(cpuid(m, 7, 0).ecx & 1u << 4);

	assert_true(cpuid(m, 1, 0).edx & 1u << 9);
	m->state.apic_base &= ~(1ull << 11);
	assert_false(cpuid(m, 1, 0).edx & 1u << 9);

	assert_false(cpuid(m, 0x80000001, 0).edx & 1u << 11);
	m->state.efer |= X86_EFER_LMA;
	assert_false(cpuid(m, 0x80000001, 0).edx & 1u << 11);
	m->state.seg[X86_CS].ar |= X86_AR_L;
	assert_true(cpuid(m, 0x80000001, 0).edx & 1u << 11);

	assert_int_equal(cpuid(m, 0xd, 0).ebx, 576);
	m->state.xcr0 = 7;
	assert_int_equal(cpuid(m, 0xd, 0).ebx, 832);
	m->state.xcr0 = 0x207;
	assert_int_equal(cpuid(m, 0xd, 0).ebx, 840);
	assert_int_equal(cpuid(m, 0xd, 0).ebx, cpuid(m, 0xd, 0).ecx);
	m->state.xcr0 = 0x203;
	assert_int_equal(cpuid(m, 0xd, 1).ebx, 576 + 8);
}

static void out_of_range(void **ctx)
{
	struct machine *m = *ctx;
	struct x86_cpuid_result last = cpuid(m, 0x16, 0);

	assert_int_equal(cpuid(m, 0, 0).eax, 0x16);
	assert_int_equal(last.eax, 1000);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint32_t beyond[] = {0x17, 0x3fffffff, 0x80000009, 0xffffffff};
		struct x86_cpuid_result result = cpuid(m, beyond[i], 0);

		assert_memory_equal(&result, &last, sizeof(last));
	}
	/* gaps are zero */
	assert_int_equal(cpuid(m, 0x14, 0).eax, 0);
	assert_int_equal(cpuid(m, 0x40000002, 0).eax, 0);
	assert_int_equal(cpuid(m, 4, 9).eax, 0);
	assert_int_equal(cpuid(m, 7, 1).ebx, 0);
}

static void frequencies(void **ctx)
{
	struct machine *m = *ctx;
	struct x86_cpuid_result r = cpuid(m, 0x15, 0);

	assert_int_equal((uint64_t)r.ecx * r.ebx / r.eax, 1000000000);
	assert_int_equal(cpuid(m, 0x40000010, 0).eax, 1000000);
	assert_int_equal(cpuid(m, 0x40000010, 0).ebx, 1000000);

	x86_cpuid_build(&m->table, 1, 2450000000);
	r = cpuid(m, 0x15, 0);
	assert_int_equal((uint64_t)r.ecx * r.ebx / r.eax, 2450000000);
	x86_cpuid_set_tsc_hz(&m->table, 3000000000);
	r = cpuid(m, 0x15, 0);
	assert_int_equal((uint64_t)r.ecx * r.ebx / r.eax, 3000000000);
	assert_int_equal(cpuid(m, 0x16, 0).eax, 3000);
	assert_int_equal(cpuid(m, 0x40000010, 0).eax, 3000000);
	/* A ratio that Linux's 32-bit product can't hold isn't told. */
	x86_cpuid_build(&m->table, 1, 2449998000);
	r = cpuid(m, 0x15, 0);
	assert_int_equal(r.ebx, 0);
	assert_int_equal(cpuid(m, 0x40000010, 0).eax, 2449998);
}

static void fits_every_vcpu_count(void **ctx)
{
	struct machine *m = *ctx;

	for (unsigned count = 1; count <= 64; count++) {
		x86_cpuid_build(&m->table, count, 1000000000);
		assert_true(m->table.count <= X86_CPUID_MAX);
		assert_int_equal(cpuid(m, 1, 0).ebx >> 16 & 0xff, count);
		assert_true(1u << cpuid(m, 0xb, 1).eax >= count);
		assert_int_equal(cpuid(m, 1, 0).edx >> 28 & 1, count > 1);
	}
}

#define write_msr(m, index, value) x86_msr_write(&(m)->state, &(m)->table, index, value)

static uint64_t read_msr(struct machine *m, uint32_t index)
{
	uint64_t value = 0;

	assert_int_equal(x86_msr_read(&m->state, &m->table, index, &value), X86_MSR_OK);
	return value;
}

static void msr_plain(void **ctx)
{
	struct machine *m = *ctx;
	uint64_t value;

	assert_int_equal(write_msr(m, X86_MSR_LSTAR, 0xffffffff81000000), X86_MSR_OK);
	assert_int_equal(m->state.lstar, 0xffffffff81000000);
	assert_int_equal(write_msr(m, X86_MSR_LSTAR, 0x0000800000000000), X86_MSR_GP);
	assert_int_equal(m->state.lstar, 0xffffffff81000000);
	assert_int_equal(write_msr(m, X86_MSR_GS_BASE, 0xffff888000000000), X86_MSR_OK);
	assert_int_equal(m->state.seg[X86_GS].base, 0xffff888000000000);
	assert_int_equal(write_msr(m, X86_MSR_TSC_AUX, 0x100000000), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_FMASK, 0x47700), X86_MSR_OK);
	assert_int_equal(read_msr(m, X86_MSR_FMASK), 0x47700);
	assert_int_equal(x86_msr_read(&m->state, &m->table, 0xdeadbeef, &value), X86_MSR_GP);
	assert_int_equal(write_msr(m, 0xdeadbeef, 0), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRRCAP, 0x508), X86_MSR_GP);
	assert_int_equal(read_msr(m, X86_MSR_MTRRCAP), 0x508);
	assert_int_equal(x86_msr_read(&m->state, &m->table, X86_MSR_TIME_STAMP_COUNTER, &value), X86_MSR_TSC);
	assert_int_equal(write_msr(m, X86_MSR_TIME_STAMP_COUNTER, 0), X86_MSR_TSC);
	assert_int_equal(write_msr(m, X86_MSR_APIC_BASE, 0), X86_MSR_DEVICE);
	assert_int_equal(write_msr(m, 0x830, 0), X86_MSR_DEVICE);
	assert_int_equal(write_msr(m, X86_MSR_KVM_SYSTEM_TIME, 1), X86_MSR_DEVICE);
	assert_string_equal(x86_msr_name(X86_MSR_EFER), "EFER");
	assert_null(x86_msr_name(0xdeadbeef));
	/* fast strings on: Linux keeps ERMS */
	assert_true(read_msr(m, X86_MSR_MISC_ENABLE) & 1);
}

static void msr_efer(void **ctx)
{
	struct machine *m = *ctx;

	assert_int_equal(write_msr(m, X86_MSR_EFER, X86_EFER_SCE | X86_EFER_LME | X86_EFER_NXE | X86_EFER_LMA),
			 X86_MSR_OK);
	assert_int_equal(m->state.efer, X86_EFER_SCE | X86_EFER_LME | X86_EFER_NXE);
	assert_int_equal(write_msr(m, X86_MSR_EFER, X86_EFER_FFXSR), X86_MSR_GP);
	m->state.cr0 |= X86_CR0_PG;
	m->state.efer |= X86_EFER_LMA;
	assert_int_equal(write_msr(m, X86_MSR_EFER, X86_EFER_NXE), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_EFER, X86_EFER_LME), X86_MSR_OK);
	assert_int_equal(m->state.efer, X86_EFER_LME | X86_EFER_LMA);
}

static void msr_memory_types(void **ctx)
{
	struct machine *m = *ctx;

	assert_int_equal(write_msr(m, X86_MSR_PAT, 0x0407050600070106), X86_MSR_OK);
	assert_int_equal(write_msr(m, X86_MSR_PAT, 0x0407050600070102), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_PAT, 0x0307050600070106), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_DEF_TYPE, 0xc06), X86_MSR_OK);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_DEF_TYPE, 0xc07), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_DEF_TYPE, 0x1c06), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_FIX4K_F8000, 0x0606060606060606), X86_MSR_OK);
	assert_int_equal(m->state.mtrr_fixed[10], 0x0606060606060606);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_FIX4K_F8000, 0x0606060206060606), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_PHYSBASE7, 0xc0000000), X86_MSR_OK);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_PHYSBASE7, 0xc0000100), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_PHYSMASK7, 0xffc0000800), X86_MSR_OK);
	assert_int_equal(m->state.mtrr_mask[7], 0xffc0000800);
	assert_int_equal(write_msr(m, X86_MSR_MTRR_PHYSMASK7, 0x10000000800), X86_MSR_GP);
}

static void msr_follows_cpuid(void **ctx)
{
	struct machine *m = *ctx;
	uint64_t value;

	assert_int_equal(write_msr(m, X86_MSR_SPEC_CTRL, 1), X86_MSR_OK);
	assert_int_equal(write_msr(m, X86_MSR_SPEC_CTRL, 4), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_PRED_CMD, 1), X86_MSR_OK);
	assert_int_equal(x86_msr_read(&m->state, &m->table, X86_MSR_PRED_CMD, &value), X86_MSR_GP);
	assert_true(read_msr(m, X86_MSR_ARCH_CAPABILITIES) & 1); /* RDCL_NO: no PTI */
	assert_int_equal(x86_msr_read(&m->state, &m->table, X86_MSR_XSS, &value), X86_MSR_GP);
	x86_cpuid_find(&m->table, 7, 0)->edx = 0;
	x86_cpuid_find(&m->table, 7, 0)->ebx = 0;
	x86_cpuid_derive(&m->table);
	assert_int_equal(write_msr(m, X86_MSR_SPEC_CTRL, 1), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_PRED_CMD, 1), X86_MSR_GP);
	assert_int_equal(x86_msr_read(&m->state, &m->table, X86_MSR_ARCH_CAPABILITIES, &value), X86_MSR_GP);
	assert_int_equal(write_msr(m, X86_MSR_TSC_ADJUST, 0), X86_MSR_GP);
}

static void msr_tsc_adjust_moves_the_tsc(void **ctx)
{
	struct machine *m = *ctx;

	m->state.tsc_offset = 1000;
	assert_int_equal(write_msr(m, X86_MSR_TSC_ADJUST, 50), X86_MSR_OK);
	assert_int_equal(write_msr(m, X86_MSR_TSC_ADJUST, 20), X86_MSR_OK);
	assert_int_equal(m->state.tsc_offset, 1020);
	assert_int_equal(read_msr(m, X86_MSR_TSC_ADJUST), 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(features_follow_bits, setup),
		cmocka_unit_test_setup(invariants, setup),
		cmocka_unit_test_setup(dynamic_bits, setup),
		cmocka_unit_test_setup(out_of_range, setup),
		cmocka_unit_test_setup(frequencies, setup),
		cmocka_unit_test_setup(fits_every_vcpu_count, setup),
		cmocka_unit_test_setup(msr_plain, setup),
		cmocka_unit_test_setup(msr_efer, setup),
		cmocka_unit_test_setup(msr_memory_types, setup),
		cmocka_unit_test_setup(msr_follows_cpuid, setup),
		cmocka_unit_test_setup(msr_tsc_adjust_moves_the_tsc, setup),
	};

	return cmocka_run_group_tests_name("cpuid_msr", tests, NULL, NULL);
}
