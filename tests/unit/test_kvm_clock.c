/* kvmclock and the TSC: a guest that computes time as the ABI says gets the platform's clock. */
#include "pv/kvm_clock.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/msr.h"
#include "core/tsc.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad[2];
};

static struct time_info info_at(struct vm *vm, gpa_t gpa)
{
	struct time_info info;

	assert_int_equal(mem_read(&vm->mem, gpa, &info, sizeof(info)), 0);
	return info;
}

/* As Linux's __pvclock_read_cycles. */
static uint64_t guest_clock(const struct time_info *info, uint64_t tsc)
{
	uint64_t delta = tsc - info->tsc_timestamp;

	delta = info->shift >= 0 ? delta << info->shift : delta >> -info->shift;
	return (uint64_t)((unsigned __int128)delta * info->mul >> 32) + info->system_time;
}

static void follows_the_platform(void **state)
{
	static const uint64_t rates[] = {1000000000, 2449998000, 3999999999, 600000000, 1999999999};

	for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct vm *vm = machine_create(2);
		struct time_info info;
		uint64_t elapsed = 12345678901234, seen;

		vm->cpuid->tsc_hz = rates[i];
		assert_int_equal(kvm_clock_create(vm), 0);
		fake_advance(elapsed);
		vcpu_set_tsc_offset(vm->vcpus[1], 0 - 1000ull);
		assert_true(machine_wrmsr(vm, 1, X86_MSR_KVM_SYSTEM_TIME, 0x2001));
		info = info_at(vm, 0x2000);
		assert_int_equal(info.version & 1, 0);
		assert_int_not_equal(info.version, 0);
		assert_int_equal(info.flags & 1, 1);
		seen = guest_clock(&info, vm_tsc(vm, 0 - 1000ull));
		/* 2^-31 of error is allowed by the 32-bit multiplier */
		assert_true(seen <= elapsed + elapsed / 1000000000 + 2);
		assert_true(seen + elapsed / 1000000000 + 2 >= elapsed);
		if (rates[i] == 1000000000)
			assert_int_equal(seen, elapsed);
		machine_destroy(vm);
	}
	assert_int_equal(fake_alloc_live(), 0);
}

static void changes_with_the_tsc(void **state)
{
	struct vm *vm = machine_create(1);
	struct time_info before, after;

	assert_int_equal(kvm_clock_create(vm), 0);
	fake_advance(5000);
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_SYSTEM_TIME_OLD, 0x3001));
	before = info_at(vm, 0x3000);
	vcpu_set_tsc_offset(vm->vcpus[0], 777777);
	after = info_at(vm, 0x3000);
	assert_true(after.version > before.version);
	assert_int_equal(after.version & 1, 0);
	assert_int_equal(guest_clock(&after, vm_tsc(vm, 777777)), 5000);
	/* switched off: nothing is written any more */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_SYSTEM_TIME, 0x3000));
	vcpu_set_tsc_offset(vm->vcpus[0], 1);
	assert_int_equal(info_at(vm, 0x3000).version, after.version);
	machine_destroy(vm);
}

static void wall_clock(void **state)
{
	struct vm *vm = machine_create(1);
	uint64_t wall = platform_wall_ns(), value;
	uint32_t words[3];

	assert_int_equal(kvm_clock_create(vm), 0);
	fake_advance(123456789);
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_WALL_CLOCK, 0x4000));
	assert_int_equal(mem_read(&vm->mem, 0x4000, words, sizeof(words)), 0);
	assert_int_equal(words[0], 2);
	assert_int_equal(words[1] * 1000000000ull + words[2], wall);
	assert_true(machine_rdmsr(vm, 0, X86_MSR_KVM_WALL_CLOCK, &value));
	assert_int_equal(value, 0x4000);
	machine_destroy(vm);
}

/* Addresses outside of memory harm nobody; MSRs not offered are #GP; a reset forgets the page. */
static void hostile_and_reset(void **state)
{
	struct vm *vm = machine_create(1);
	uint64_t value;

	assert_int_equal(kvm_clock_create(vm), 0);
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_SYSTEM_TIME, 0xfffffffffffffffd));
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_WALL_CLOCK, 0xfffffffffffffffc));
	assert_true(machine_wrmsr(vm, 0, X86_MSR_KVM_SYSTEM_TIME, MACHINE_RAM_SIZE - 8 + 1));
	assert_false(machine_wrmsr(vm, 0, X86_MSR_KVM_STEAL_TIME, 1));
	devices_reset(vm);
	assert_true(machine_rdmsr(vm, 0, X86_MSR_KVM_SYSTEM_TIME, &value));
	assert_int_equal(value, 0);
	machine_destroy(vm);
}

static void conversions(void **state)
{
	struct vm *vm = machine_create(1);

	assert_int_equal(tsc_from_ns(1000000000, 2450000000), 2450000000);
	assert_int_equal(tsc_to_ns(2450000000, 2450000000), 1000000000);
	assert_int_equal(tsc_to_ns(UINT64_MAX, 1000), UINT64_MAX);
	assert_int_equal(tsc_from_ns(UINT64_MAX, 1000000000), UINT64_MAX);
	/* A deadline never comes early. */
	vm->cpuid->tsc_hz = 2449998000;
	for (uint64_t tsc = 1; tsc < 100000; tsc += 997) {
		uint64_t deadline = vm_tsc_deadline_ns(vm, 0, tsc);

		assert_true(tsc_from_ns(deadline - vm->clock_base_ns, vm->cpuid->tsc_hz) >= tsc);
	}
	assert_int_equal(vm_tsc_deadline_ns(vm, 5000, 4000), 0);
	assert_int_equal(vm_tsc_deadline_ns(vm, 0, UINT64_MAX), (UINT64_MAX / 2449998000) * 1000000000 +
		(UINT64_MAX % 2449998000) * 1000000000 / 2449998000 + platform_clock_ns() + 1);
	machine_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_platform),
		cmocka_unit_test(changes_with_the_tsc),
		cmocka_unit_test(wall_clock),
		cmocka_unit_test(hostile_and_reset),
		cmocka_unit_test(conversions),
	};

	return cmocka_run_group_tests_name("kvm_clock", tests, NULL, NULL);
}
