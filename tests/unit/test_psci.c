/* PSCI: what is there, processors that start and stop, on threads of their own, and the end of the machine. */
#include "pv/psci.h"
#include "arch/state.h"
#include "core/vm.h"
#include "fake_platform.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <cmocka.h>

#define CPUS 18 /* more than a cluster */

#define VERSION        0x84000000
#define CPU_SUSPEND    0xc4000001
#define CPU_OFF        0x84000002
#define CPU_ON_32      0x84000003
#define CPU_ON         0xc4000003
#define AFFINITY_INFO  0xc4000004
#define MIGRATE_TYPE   0x84000006
#define SYSTEM_OFF     0x84000008
#define SYSTEM_RESET   0x84000009
#define FEATURES       0x8400000a
#define SYSTEM_RESET2  0xc4000012
#define SMCCC_VERSION  0x80000000
#define SMCCC_FEATURES 0x80000001

#define NOT_SUPPORTED UINT64_MAX
#define INVALID       (UINT64_MAX - 1)
#define ALREADY_ON    (UINT64_MAX - 3)
#define ON_PENDING    (UINT64_MAX - 4)

/* An engine without an architecture: rip is where it begins, RAX the context; RSP != 0: switched off. */
static struct {
	union arch_state state;
	_Atomic uint32_t runs;
	_Atomic bool go;
} cpus[CPUS];

static int get_state(struct vcpu *vcpu, union arch_state *state)
{
	*state = cpus[vcpu->index].state;
	return 0;
}

static int set_state(struct vcpu *vcpu, const union arch_state *state)
{
	cpus[vcpu->index].state = *state;
	return 0;
}

static void kick(struct vcpu *vcpu)
{
}

/* Runs until told to go, then switches itself off. */
static int run(struct vcpu *vcpu, struct vm_exit *exit)
{
	atomic_fetch_add(&cpus[vcpu->index].runs, 1);
	while (!atomic_exchange(&cpus[vcpu->index].go, false)) {
		if (atomic_load(&vcpu->request) & VCPU_REQ_LOOP) {
			exit->kind = VM_EXIT_INTERRUPTED;
			return 0;
		}
		sched_yield();
	}
	*exit = (struct vm_exit){.kind = VM_EXIT_HYPERCALL, .hypercall = {.number = CPU_OFF}};
	return 0;
}

static const struct engine_ops engine = {.name = "test", .run = run, .get_state = get_state, .set_state = set_state, .kick = kick};

static void start(union arch_state *state, unsigned index, uint64_t entry, uint64_t context)
{
	*state = (union arch_state){0};
	state->x86.rip = entry;
	state->x86.gpr[X86_RAX] = context;
}

static void stop(union arch_state *state)
{
	state->x86.gpr[X86_RSP] = 1;
}

static const struct psci_hooks hooks = {.start = start, .stop = stop};

static enum vcpu_run_state run_state(const union arch_state *state)
{
	return state->x86.gpr[X86_RSP] ? VCPU_WAIT_SIPI : VCPU_RUNNABLE;
}

static void nothing(union arch_state *state, uint8_t vector)
{
	abort();
}

static const struct vcpu_arch_ops arch_ops = {.startup = nothing, .run_state = run_state};

static int setup(void **state)
{
	struct vm *vm;

	fake_reset();
	vm = vm_create(&(struct vm_params){.engine = &engine, .cpus = CPUS, .no_reboot = true});
	vm->arch_ops = &arch_ops;
	assert_int_equal(psci_create(vm, &hooks), 0);
	for (unsigned i = 0; i < CPUS; i++) {
		cpus[i].runs = 0;
		cpus[i].go = false;
		cpus[i].state.x86 = (struct x86_state){.gpr[X86_RSP] = i > 0};
		vcpu_power_on(vm->vcpus[i], &cpus[i].state);
	}
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(*state);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static uint64_t hvc(struct vm *vm, uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	struct vm_exit exit = {.kind = VM_EXIT_HYPERCALL, .hypercall = {.number = number, .args = {a, b, c}, .result = 12345}};

	assert_int_equal(vcpu_dispatch_exit(vm->vcpus[0], &exit), 0);
	assert_int_equal(exit.kind, VM_EXIT_HYPERCALL);
	return exit.hypercall.result;
}

static void what_is_there(void **state)
{
	struct vm *vm = *state;
	static const uint32_t there[] = {VERSION,    CPU_SUSPEND,  CPU_OFF,  CPU_ON_32,     CPU_ON,       AFFINITY_INFO, MIGRATE_TYPE,
					 SYSTEM_OFF, SYSTEM_RESET, FEATURES, SYSTEM_RESET2, SMCCC_VERSION};

	assert_int_equal(hvc(vm, VERSION, 0, 0, 0), 0x10001);
	assert_int_equal(hvc(vm, 0xffffffff00000000 | VERSION, 0, 0, 0), 0x10001); /* the number is a word */
	assert_int_equal(hvc(vm, SMCCC_VERSION, 0, 0, 0), 0x10001);
	assert_int_equal(hvc(vm, SMCCC_FEATURES, SMCCC_FEATURES, 0, 0), 0);
	assert_int_equal(hvc(vm, SMCCC_FEATURES, 0x80008000, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, MIGRATE_TYPE, 0, 0, 0), 2);
	for (unsigned i = 0; i < ARRAY_SIZE(there); i++)
		assert_int_equal(hvc(vm, FEATURES, there[i], 0, 0), 0);
	assert_int_equal(hvc(vm, FEATURES, 0xc4000002, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, FEATURES, 0x84000005, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, 0xc4000000, 0, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, 0x84000005, 0, 0, 0), NOT_SUPPORTED); /* MIGRATE */
	assert_int_equal(hvc(vm, 0, 0, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, UINT64_MAX, 0, 0, 0), NOT_SUPPORTED);
	assert_int_equal(hvc(vm, CPU_SUSPEND, 0, 0, 0), 0);
}

static void starts_one(void **state)
{
	struct vm *vm = *state;
	struct vcpu *vcpu = vm->vcpus[17];

	vcpu->power_on = false; /* its thread has taken the state in which it is off */
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0, 0, 0), 0);
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x101, 0, 0), 1);
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x101, 1, 0), INVALID);
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x102, 0, 0), INVALID);
	assert_int_equal(hvc(vm, CPU_ON, 0x101, 0x40080000, 77), 0);
	assert_true(vcpu->power_on);
	assert_int_equal(vcpu->power_on_state->x86.rip, 0x40080000);
	assert_int_equal(vcpu->power_on_state->x86.gpr[X86_RAX], 77);
	assert_true(vcpu->request & VCPU_REQ_SIPI);
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x101, 0, 0), 2);
	assert_int_equal(hvc(vm, CPU_ON, 0x101, 1, 2), ON_PENDING);
	assert_int_equal(vcpu->power_on_state->x86.rip, 0x40080000);
	vcpu->power_on = false;
	assert_int_equal(hvc(vm, CPU_ON, 0x101, 1, 2), ALREADY_ON);
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x101, 0, 0), 0);
	assert_int_equal(hvc(vm, CPU_ON, 0, 1, 2), ALREADY_ON);
	assert_int_equal(hvc(vm, CPU_ON, 0x10f, 1, 2), INVALID);
	assert_int_equal(hvc(vm, CPU_ON, 0x80000001, 1, 2), INVALID);
	assert_int_equal(hvc(vm, CPU_ON, 0x100000001, 1, 2), INVALID);
	/* 32 bits of everything */
	assert_int_equal(hvc(vm, CPU_ON_32, 0x500000001, 0x600000007, 0x700000008), 0);
	assert_int_equal(vm->vcpus[1]->power_on_state->x86.rip, 7);
	assert_int_equal(vm->vcpus[1]->power_on_state->x86.gpr[X86_RAX], 8);
	devices_reset(vm);
	vcpu->power_on = false;
	assert_int_equal(hvc(vm, AFFINITY_INFO, 0x101, 0, 0), 1);
}

static void *thread(void *vcpu)
{
	assert_int_equal(vcpu_loop(vcpu), 0);
	return NULL;
}

/* A processor is started and switches itself off, again and again; what parks it in between does no harm. */
static void off_and_on(void **state)
{
	struct vm *vm = *state;
	pthread_t id;

	pthread_create(&id, NULL, thread, vm->vcpus[1]);
	for (unsigned i = 1; i <= 200; i++) {
		assert_int_equal(hvc(vm, CPU_ON, 1, 0x1000 * i, i), 0);
		while (atomic_load(&cpus[1].runs) < i)
			sched_yield();
		assert_int_equal(cpus[1].state.x86.rip, 0x1000 * i);
		assert_int_equal(cpus[1].state.x86.gpr[X86_RAX], i);
		assert_int_equal(hvc(vm, AFFINITY_INFO, 1, 0, 0), 0);
		assert_int_equal(hvc(vm, CPU_ON, 1, 1, 1), ALREADY_ON);
		atomic_store(&cpus[1].go, true);
		while (hvc(vm, AFFINITY_INFO, 1, 0, 0) != 1)
			sched_yield();
		if (i % 2) {
			vcpu_request(vm->vcpus[1], VCPU_REQ_PAUSE | VCPU_REQ_IRQ);
			while (!atomic_load(&vm->vcpus[1]->parked))
				sched_yield();
			vcpu_take_request(vm->vcpus[1], VCPU_REQ_PAUSE);
			platform_wake(&vm->vcpus[1]->request, true);
		}
	}
	assert_int_equal(cpus[1].runs, 200);
	vcpu_request(vm->vcpus[1], VCPU_REQ_STOP);
	pthread_join(id, NULL);
}

static void ends(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(hvc(vm, SYSTEM_RESET2, 0x80000000, 0, 0), INVALID);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	hvc(vm, SYSTEM_RESET, 0, 0, 0);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
}

static void ends_otherwise(void **state)
{
	struct vm *vm = *state;

	hvc(vm, SYSTEM_OFF, 0, 0, 0);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(starts_one, setup, teardown),
		cmocka_unit_test_setup_teardown(off_and_on, setup, teardown),
		cmocka_unit_test_setup_teardown(ends, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_otherwise, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
