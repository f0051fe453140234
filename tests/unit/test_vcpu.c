/* core/: exit dispatch, requests, halting, INIT and start-up, pause, stop and machine reset, with a
 * scripted engine on real threads.
 *
 * Example: `meson test -C build unit-vcpu`
 */
#include "arch/state.h"
#include "arch/x86_64/vcpu_hooks.h"
#include "base/errno.h"
#include "core/trace.h"
#include "core/vm.h"
#include "fake_platform.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define MAX_CPUS 4

/* What the scripted engine keeps of a vcpu. */
struct script {
	int (*run)(struct vcpu *vcpu, struct vm_exit *exit);
	union arch_state state;
	_Atomic uint32_t runs, kicks, irqs, sets, resets;
	_Atomic uint32_t other; /* the test's own */
	_Atomic bool kicked;
};

static struct script scripts[MAX_CPUS];

static struct script *script_of(struct vcpu *vcpu)
{
	return &scripts[vcpu->index];
}

static int script_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	atomic_fetch_add(&script_of(vcpu)->runs, 1);
	return script_of(vcpu)->run(vcpu, exit);
}

static int script_get(struct vcpu *vcpu, union arch_state *state)
{
	*state = script_of(vcpu)->state;
	return 0;
}

static int script_set(struct vcpu *vcpu, const union arch_state *state)
{
	script_of(vcpu)->state = *state;
	atomic_fetch_add(&script_of(vcpu)->sets, 1);
	return 0;
}

static int script_vcpu_reset(struct vcpu *vcpu)
{
	atomic_fetch_add(&script_of(vcpu)->resets, 1);
	return 0;
}

static void script_kick(struct vcpu *vcpu)
{
	atomic_fetch_add(&script_of(vcpu)->kicks, 1);
	atomic_store(&script_of(vcpu)->kicked, true);
}

static const struct engine_ops script_engine = {
	.name = "script",
	.run = script_run,
	.get_state = script_get,
	.set_state = script_set,
	.vcpu_reset = script_vcpu_reset,
	.kick = script_kick,
};

/* ---- what vcpus can be made to do ---- */

static int run_halts(struct vcpu *vcpu, struct vm_exit *exit)
{
	uint32_t taken = vcpu_take_request(vcpu, VCPU_REQ_IRQ | VCPU_REQ_NMI | VCPU_REQ_TIMER);

	if (taken & VCPU_REQ_IRQ)
		atomic_fetch_add(&script_of(vcpu)->irqs, 1);
	exit->kind = VM_EXIT_HALT;
	return 0;
}

/* A guest that computes, in an engine that can only be interrupted by a kick, as KVM is. */
static int run_spins(struct vcpu *vcpu, struct vm_exit *exit)
{
	while (!atomic_exchange(&script_of(vcpu)->kicked, false)) {
		if (atomic_load(&vcpu->request))
			break;
		sched_yield();
	}
	if (vcpu_take_request(vcpu, VCPU_REQ_IRQ))
		atomic_fetch_add(&script_of(vcpu)->irqs, 1);
	exit->kind = VM_EXIT_INTERRUPTED;
	return 0;
}

static int run_powers_off(struct vcpu *vcpu, struct vm_exit *exit)
{
	vm_stop(vcpu->vm, VM_STOP_POWEROFF, 7);
	vm_stop(vcpu->vm, VM_STOP_PANIC, 8);
	exit->kind = VM_EXIT_INTERRUPTED;
	return 0;
}

static int run_fails(struct vcpu *vcpu, struct vm_exit *exit)
{
	return -EIO;
}

static struct vm *make_vm(unsigned cpus, int (*run)(struct vcpu *vcpu, struct vm_exit *exit))
{
	struct vm *vm;

	fake_reset();
	memset(scripts, 0, sizeof(scripts));
	for (unsigned i = 0; i < cpus; i++)
		scripts[i].run = run;
	vm = vm_create(&(struct vm_params){.engine = &script_engine, .cpus = cpus});
	assert_non_null(vm);
	vm->arch_ops = &x86_vcpu_ops;
	return vm;
}

static void *vcpu_thread(void *arg)
{
	return (void *)(intptr_t)vcpu_loop(arg);
}

static void start(struct vm *vm, pthread_t *threads)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, vcpu_thread, vm->vcpus[i]), 0);
}

static void join(struct vm *vm, pthread_t *threads)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		pthread_join(threads[i], NULL);
}

/* Waits for a condition that another thread brings about, and serves as the I/O thread meanwhile. */
#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		time_t limit = time(NULL) + 20;                                                    \
		while (!(condition)) {                                                             \
			fake_run_work();                                                           \
			sched_yield();                                                             \
			assert_true(time(NULL) < limit);                                           \
		}                                                                                  \
	} while (0)

/* ---- dispatch ---- */

static uint64_t echo_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	return 0x1122334455667788;
}

static const struct device_ops echo_ops = {.name = "echo", .read = echo_read};

static bool msr_read(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value)
{
	*value = index * 2;
	return index != 0x805;
}

static bool msr_write(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value)
{
	*(uint64_t *)ctx = value;
	return true;
}

static void answer_hypercall(struct vcpu *vcpu, struct vm_exit *exit)
{
	exit->hypercall.result = exit->hypercall.number + exit->hypercall.args[0];
}

static void test_dispatch(void **state)
{
	struct vm *vm = make_vm(1, run_halts);
	struct vcpu *vcpu = vm->vcpus[0];
	uint64_t written = 0;
	struct msr_handler msrs = {
		.first = 0x800, .last = 0x8ff, .read = msr_read, .write = msr_write, .ctx = &written};
	struct device echo;
	struct vm_exit exit;

	assert_int_equal(device_register(vm, &echo, &echo_ops, "echo"), 0);
	assert_int_equal(bus_attach(&vm->pio, 0x60, 4, &echo, 0), 0);
	assert_int_equal(bus_attach(&vm->mmio, 0xd0000000, 8, &echo, 0), 0);
	assert_int_equal(msr_handler_register(vm, &msrs), 0);
	assert_int_equal(msr_handler_register(vm, &msrs), -EEXIST);
	msrs.first = 0x10;
	assert_int_equal(msr_handler_register(vm, &msrs), -EEXIST);
	msrs.last = 0x10;
	assert_int_equal(msr_handler_register(vm, &msrs), 0);
	msrs.last = 0xf;
	assert_int_equal(msr_handler_register(vm, &msrs), -EINVAL);

	exit = (struct vm_exit){.kind = VM_EXIT_IO, .io = {.port = 0x60, .size = 2}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(exit.io.value, 0x7788);
	exit = (struct vm_exit){.kind = VM_EXIT_IO, .io = {.port = 0xffff, .size = 4}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(exit.io.value, UINT32_MAX);
	exit = (struct vm_exit){.kind = VM_EXIT_MMIO, .mmio = {.gpa = 0xd0000000, .size = 8}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(exit.mmio.value, 0x1122334455667788);

	exit = (struct vm_exit){.kind = VM_EXIT_MSR, .msr = {.index = 0x810}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(exit.msr.value, 0x1020);
	assert_false(exit.msr.fault);
	exit.msr.index = 0x805;
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_true(exit.msr.fault);
	exit.msr.index = 0x900;
	exit.msr.fault = false;
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_true(exit.msr.fault);
	exit = (struct vm_exit){.kind = VM_EXIT_MSR, .msr = {.index = 0x10, .write = true, .value = 99}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(written, 99);

	exit = (struct vm_exit){.kind = VM_EXIT_HYPERCALL, .hypercall = {.number = 4, .args = {38}}};
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_true(exit.hypercall.result == (uint64_t)-1000);
	vm->hypercall = answer_hypercall;
	assert_int_equal(vcpu_dispatch_exit(vcpu, &exit), 0);
	assert_int_equal(exit.hypercall.result, 42);

	exit = (struct vm_exit){.kind = VM_EXIT_SHUTDOWN};
	assert_true(vcpu_dispatch_exit(vcpu, &exit) < 0);
	assert_int_equal(vm->stop_reason, VM_STOP_TRIPLE_FAULT);
	assert_int_equal(fake_vm_stops(), 1);
	exit = (struct vm_exit){.kind = VM_EXIT_FAIL, .reason = "the moon is down"};
	assert_true(vcpu_dispatch_exit(vcpu, &exit) < 0);
	assert_non_null(strstr(fake_log_text(), "the moon is down"));
	assert_int_equal(vm->stop_reason, VM_STOP_TRIPLE_FAULT);
	assert_int_equal(vcpu->stats.exits[VM_EXIT_MSR], 4);
	for (unsigned i = 0; i < VM_EXIT_KIND_COUNT; i++)
		assert_string_not_equal(vm_exit_name(i), "unknown");
	assert_string_equal(vm_exit_name(VM_EXIT_KIND_COUNT), "unknown");
	vm_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
}

static void test_trace(void **state)
{
	struct vm *vm = make_vm(1, run_halts);
	struct vm_exit exit = {.kind = VM_EXIT_IO, .io = {.port = 0x80, .size = 1, .write = true, .value = 5}};

	assert_int_equal(trace_topic_find("io", 2), TRACE_IO);
	assert_int_equal(trace_topic_find("exits,io", 5), TRACE_EXITS);
	assert_int_equal(trace_topic_find("exit", 4), 0);
	assert_int_equal(trace_topic_find("ioo", 3), 0);
	assert_int_equal(trace_topic_find("", 0), 0);
	assert_int_equal(vcpu_dispatch_exit(vm->vcpus[0], &exit), 0);
	assert_int_equal(fake_log_lines(), 0);
	atomic_store(&vm->trace, TRACE_IO);
	assert_int_equal(vcpu_dispatch_exit(vm->vcpus[0], &exit), 0);
	assert_non_null(strstr(fake_log_text(), "io: cpu0 out8 port 0x80 <- 0x5"));
	vm_destroy(vm);
}

/* ---- stop ---- */

static void test_first_stop_wins(void **state)
{
	struct vm *vm = make_vm(1, run_powers_off);

	assert_int_equal(vcpu_loop(vm->vcpus[0]), 0);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
	assert_int_equal(vm->stop_code, 7);
	assert_int_equal(fake_vm_stops(), 1);
	assert_int_equal(scripts[0].runs, 1);
	assert_int_equal(vm->vcpus[0]->stats.first_instruction_ns, platform_clock_ns());
	vm_destroy(vm);
}

static void test_engine_failure_stops(void **state)
{
	struct vm *vm = make_vm(1, run_fails);

	assert_int_equal(vcpu_loop(vm->vcpus[0]), -EIO);
	assert_int_equal(vm->stop_reason, VM_STOP_HOST_ERROR);
	assert_non_null(strstr(fake_log_text(), "cpu0: the script engine failed"));
	vm_destroy(vm);
}

/* ---- halt ---- */

static void test_halted_vcpu_sleeps_and_wakes(void **state)
{
	struct vm *vm = make_vm(1, run_halts);
	pthread_t thread;
	uint32_t runs;

	start(vm, &thread);
	AWAIT(atomic_load(&vm->vcpus[0]->sleeping));
	runs = scripts[0].runs;
	usleep(20000);
	assert_int_equal(scripts[0].runs, runs);
	for (uint32_t i = 1; i <= 2000; i++) {
		vcpu_request(vm->vcpus[0], VCPU_REQ_IRQ);
		AWAIT(atomic_load(&scripts[0].irqs) == i);
	}
	/* A bit that is worth nothing wakes it once. */
	AWAIT(atomic_load(&vm->vcpus[0]->sleeping));
	runs = scripts[0].runs;
	vcpu_request(vm->vcpus[0], VCPU_REQ_TIMER);
	AWAIT(scripts[0].runs == runs + 1);
	usleep(20000);
	assert_int_equal(scripts[0].runs, runs + 1);
	vm_stop(vm, VM_STOP_QUIT, 0);
	join(vm, &thread);
	vm_destroy(vm);
}

static void test_requests_are_never_lost(void **state)
{
	struct vm *vm = make_vm(2, run_spins);
	pthread_t threads[2];

	start(vm, threads);
	for (uint32_t i = 1; i <= 5000; i++) {
		vcpu_request(vm->vcpus[i & 1], VCPU_REQ_IRQ);
		AWAIT(atomic_load(&scripts[i & 1].irqs) == (i + 1) / 2);
	}
	vm_stop(vm, VM_STOP_QUIT, 0);
	join(vm, threads);
	vm_destroy(vm);
}

/* ---- INIT, SIPI ---- */

static void test_startup(void **state)
{
	struct vm *vm = make_vm(2, run_halts);
	union arch_state power_on = {0};
	pthread_t threads[2];

	x86_state_reset(&power_on.x86, true);
	vcpu_power_on(vm->vcpus[0], &power_on);
	x86_state_reset(&power_on.x86, false);
	vcpu_power_on(vm->vcpus[1], &power_on);
	start(vm, threads);
	AWAIT(atomic_load(&scripts[0].runs) == 1 && atomic_load(&vm->vcpus[1]->sleeping));
	assert_int_equal(scripts[1].resets, 1);
	/* Interrupts do not wake a processor that waits for its start-up. */
	vcpu_request(vm->vcpus[1], VCPU_REQ_IRQ | VCPU_REQ_NMI);
	usleep(20000);
	assert_int_equal(scripts[1].runs, 0);
	vm->vcpus[1]->sipi_vector = 0x9f;
	vcpu_request(vm->vcpus[1], VCPU_REQ_INIT);
	vcpu_request(vm->vcpus[1], VCPU_REQ_SIPI);
	AWAIT(atomic_load(&scripts[1].runs) == 1);
	assert_int_equal(scripts[1].state.x86.seg[X86_CS].base, 0x9f000);
	assert_int_equal(scripts[1].state.x86.rip, 0);
	/* The second start-up of the usual pair is ignored. */
	AWAIT(atomic_load(&scripts[1].irqs) == 1 && atomic_load(&vm->vcpus[1]->sleeping));
	vm->vcpus[1]->sipi_vector = 0x11;
	vcpu_request(vm->vcpus[1], VCPU_REQ_SIPI);
	AWAIT(!(atomic_load(&vm->vcpus[1]->request) & VCPU_REQ_SIPI));
	assert_int_equal(scripts[1].state.x86.seg[X86_CS].base, 0x9f000);
	/* INIT of the boot processor starts it at the reset vector; of another one halts it. */
	vcpu_request(vm->vcpus[1], VCPU_REQ_INIT);
	AWAIT(atomic_load(&scripts[1].sets) == 4);
	AWAIT(atomic_load(&vm->vcpus[1]->sleeping));
	vcpu_request(vm->vcpus[0], VCPU_REQ_INIT);
	AWAIT(atomic_load(&scripts[0].runs) == 2);
	assert_int_equal(scripts[0].state.x86.rip, 0xfff0);
	vm_stop(vm, VM_STOP_QUIT, 0);
	join(vm, threads);
	assert_int_equal(vm->vcpus[1]->run_state, VCPU_WAIT_SIPI);
	vm_destroy(vm);
}

/* ---- pause ---- */

static void test_pause(void **state)
{
	struct vm *vm = make_vm(4, run_spins);
	pthread_t threads[4];
	uint32_t runs;

	scripts[1].run = scripts[2].run = run_halts;
	start(vm, threads);
	for (unsigned i = 0; i < 200; i++) {
		vm_pause(vm);
		runs = scripts[0].runs + scripts[1].runs + scripts[2].runs + scripts[3].runs;
		for (unsigned cpu = 0; cpu < 4; cpu++)
			assert_false(atomic_load(&vm->vcpus[cpu]->in_engine));
		vcpu_request(vm->vcpus[1], VCPU_REQ_IRQ);
		sched_yield();
		assert_int_equal(scripts[0].runs + scripts[1].runs + scripts[2].runs + scripts[3].runs, runs);
		vm_resume(vm);
		AWAIT(atomic_load(&scripts[1].irqs) == i + 1);
		AWAIT(!atomic_load(&vm->vcpus[0]->parked) && !atomic_load(&vm->vcpus[1]->parked) &&
		      !atomic_load(&vm->vcpus[2]->parked) && !atomic_load(&vm->vcpus[3]->parked));
	}
	/* Stopping a paused machine works, and pausing a stopped one returns. */
	vm_pause(vm);
	vm_stop(vm, VM_STOP_QUIT, 0);
	join(vm, threads);
	vm_pause(vm);
	vm_destroy(vm);
}

/* ---- machine reset ---- */

#define RESETS 300

/* Every processor asks for resets all the time, from inside an exit, as a guest that has gone mad. */
static int run_asks_reset(struct vcpu *vcpu, struct vm_exit *exit)
{
	vm_stop(vcpu->vm, VM_STOP_RESET, 0);
	exit->kind = VM_EXIT_INTERRUPTED;
	return 0;
}

struct reset_test {
	struct vm *vm;
	unsigned resets;
	int result;
};

static int machine_reset(void *arg)
{
	struct reset_test *test = arg;
	union arch_state power_on = {0};

	for (unsigned i = 0; i < test->vm->vcpu_count; i++) {
		struct vcpu *vcpu = test->vm->vcpus[i];

		assert_false(atomic_load(&vcpu->in_engine));
		assert_true(atomic_load(&vcpu->parked));
		x86_state_reset(&power_on.x86, i == 0);
		power_on.x86.gpr[X86_RBX] = test->resets;
		power_on.x86.activity = X86_ACTIVE;
		vcpu_power_on(vcpu, &power_on);
	}
	if (++test->resets == RESETS)
		vm_stop(test->vm, VM_STOP_POWEROFF, 0);
	return test->result;
}

static void test_reset_storm(void **state)
{
	struct vm *vm = make_vm(4, run_asks_reset);
	struct reset_test test = {.vm = vm};
	pthread_t threads[4];

	vm_set_reset(vm, machine_reset, &test);
	start(vm, threads);
	AWAIT(atomic_load(&vm->stop_reason) != VM_STOP_NONE);
	join(vm, threads);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
	assert_int_equal(test.resets, RESETS);
	/* A state may be replaced by the next reset before its vcpu had a chance to take it, and the last
	 * came with the stop; but nobody ran on with an old one. */
	for (unsigned i = 0; i < 4; i++) {
		assert_in_range(scripts[i].sets, 0, RESETS - 1);
		assert_int_equal(vm->vcpus[i]->power_on_state->x86.gpr[X86_RBX], RESETS - 1);
	}
	vm_destroy(vm);
}

static void test_reset_of_halted_and_paused(void **state)
{
	struct vm *vm = make_vm(3, run_halts);
	struct reset_test test = {.vm = vm};
	pthread_t threads[3];

	vm_set_reset(vm, machine_reset, &test);
	start(vm, threads);
	vm_stop(vm, VM_STOP_RESET, 0);
	AWAIT(test.resets == 1 && scripts[0].sets + scripts[1].sets + scripts[2].sets == 3);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	/* A reset of a paused machine happens; it runs on after the pause. */
	vm_pause(vm);
	vm_stop(vm, VM_STOP_RESET, 0);
	AWAIT(test.resets == 2);
	usleep(10000);
	assert_int_equal(scripts[0].sets + scripts[1].sets + scripts[2].sets, 3);
	vm_resume(vm);
	AWAIT(scripts[0].sets + scripts[1].sets + scripts[2].sets == 6);
	/* A reset that fails stops the machine. */
	test.result = -EIO;
	vm_stop(vm, VM_STOP_RESET, 0);
	AWAIT(atomic_load(&vm->stop_reason) == VM_STOP_HOST_ERROR);
	join(vm, threads);
	vm_destroy(vm);
}

static void test_no_reboot(void **state)
{
	struct vm *vm = make_vm(1, run_asks_reset);

	vm->no_reboot = true;
	assert_int_equal(vcpu_loop(vm->vcpus[0]), 0);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
	vm_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
}

static void test_create_without_memory(void **state)
{
	for (uint32_t limit = 0; limit < 5; limit++) {
		fake_alloc_limit(limit);
		assert_null(vm_create(&(struct vm_params){.engine = &script_engine, .cpus = 2}));
		assert_int_equal(fake_alloc_live(), 0);
	}
	fake_reset();
	assert_null(vm_create(&(struct vm_params){.engine = &script_engine, .cpus = 0}));
	assert_null(vm_create(&(struct vm_params){.engine = &script_engine, .cpus = VM_MAX_VCPUS + 1}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_first_stop_wins),
		cmocka_unit_test(test_engine_failure_stops),
		cmocka_unit_test(test_halted_vcpu_sleeps_and_wakes),
		cmocka_unit_test(test_requests_are_never_lost),
		cmocka_unit_test(test_startup),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_reset_storm),
		cmocka_unit_test(test_reset_of_halted_and_paused),
		cmocka_unit_test(test_no_reboot),
		cmocka_unit_test(test_create_without_memory),
	};

	return cmocka_run_group_tests_name("vcpu", tests, NULL, NULL);
}
