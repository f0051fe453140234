/* host/linux/calibrate.c: what is measured is the engine's speed, not its start; the fastest is
 * chosen.
 *
 * Example: `meson test -C build calibrate`
 *
 * The engines here take a made-up time: so long to start a run, so long a round of the guest's
 * loop.
 */
#include "arch/state.h"
#include "core/vm.h"
#include "fake_platform.h"
#include "host/linux/calibrate.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define LOOP_LENGTH 4
#define BUDGET_NS   10000000

struct speed {
	uint64_t start_ns, round_ns;
};

static const struct speed slow = {.start_ns = 100000, .round_ns = 2000},
			  fast = {.start_ns = 100000, .round_ns = 5};
static union arch_state given;
static bool warm;     /* the vcpu has run before */
static unsigned live; /* virtual machines and processors that were not taken down */

static int probe(char *why, size_t why_size)
{
	return 0;
}

static int probe_nothing(char *why, size_t why_size)
{
	strcpy(why, "not on this host");
	return -ENODEV;
}

static int vm_init(struct vm *vm, char *why, size_t why_size)
{
	live++;
	return 0;
}

static void vm_end(struct vm *vm)
{
	live--;
}

static int vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	warm = false;
	live++;
	return 0;
}

static void vcpu_end(struct vcpu *vcpu)
{
	live--;
}

static int set_state(struct vcpu *vcpu, const union arch_state *state)
{
	given = *state;
	return 0;
}

static int take(const struct speed *speed, struct vm_exit *exit)
{
	fake_advance(speed->start_ns + speed->round_ns * given.x86.gpr[X86_RCX]);
	*exit = (struct vm_exit){.kind = VM_EXIT_IO};
	return 0;
}

/* Its first run takes long. */
static int run_after_warming_up(struct vcpu *vcpu, struct vm_exit *exit)
{
	if (!warm)
		fake_advance(BUDGET_NS);
	warm = true;
	return take(&fast, exit);
}

static int run_slow(struct vcpu *vcpu, struct vm_exit *exit)
{
	return take(&slow, exit);
}

static int run_fast(struct vcpu *vcpu, struct vm_exit *exit)
{
	return take(&fast, exit);
}

static int run_into_nothing(struct vcpu *vcpu, struct vm_exit *exit)
{
	*exit = (struct vm_exit){.kind = VM_EXIT_SHUTDOWN};
	return 0;
}

#define FAKE_ENGINE(engine_name, probe_hook, run_hook)                                             \
	{                                                                                          \
		.name = engine_name, .probe = probe_hook, .vm_init = vm_init,                      \
		.vm_destroy = vm_end, .vcpu_init = vcpu_init, .vcpu_destroy = vcpu_end,            \
		.run = run_hook, .set_state = set_state                                            \
	}

static const struct engine_ops slow_engine = FAKE_ENGINE("slow", probe, run_slow),
			       fast_engine = FAKE_ENGINE("fast", probe, run_fast),
			       late_engine = FAKE_ENGINE("late", probe, run_after_warming_up),
			       dead_engine = FAKE_ENGINE("dead", probe, run_into_nothing),
			       absent_engine = FAKE_ENGINE("absent", probe_nothing, run_fast);

const struct engine_ops *const engines[] = {&absent_engine, &dead_engine, &slow_engine,
					    &fast_engine, NULL};

static void measures(const struct engine_ops *engine, const struct speed *speed)
{
	const double expected = LOOP_LENGTH * 1e9 / (double)speed->round_ns;
	char why[256] = "";
	double rate = 0;

	assert_int_equal(engine_measure(engine, BUDGET_NS, &rate, why, sizeof(why)), 0);
	assert_true(rate > 0.9 * expected && rate <= expected);
	assert_int_equal(live, 0);
}

static void test_start_is_not_measured(void **state)
{
	measures(&fast_engine, &fast);
	measures(&slow_engine, &slow);
	measures(&late_engine, &fast);
}

/* An engine that maps guest memory again is given memory that can be. */
static int needs_shared_memory(struct vm *vm, char *why, size_t why_size)
{
	struct mem_slot *slot = &vm->mem.slots[0];
	void *again = mremap(slot->hva, 0, slot->size, MREMAP_MAYMOVE);

	if (again == MAP_FAILED)
		return -EINVAL;
	munmap(again, slot->size);
	live++;
	return 0;
}

static void test_shared_memory(void **state)
{
	struct engine_ops engine = fast_engine;

	engine.vm_init = needs_shared_memory;
	engine.shared_memory = true;
	measures(&engine, &fast);
}

/* Engines may be faster there, and it is where guests are. */
static void test_in_64_bit_mode(void **state)
{
	const struct x86_state *s = &given.x86;

	measures(&fast_engine, &fast);
	assert_true(s->cr0 & X86_CR0_PG);
	assert_true(s->efer & X86_EFER_LMA);
	assert_true(s->seg[X86_CS].ar & X86_AR_L);
	assert_false(s->seg[X86_CS].ar & X86_AR_DB);
}

static void test_budget_is_kept(void **state)
{
	char why[256] = "";
	uint64_t start = platform_clock_ns();
	double rate;

	assert_int_equal(engine_measure(&fast_engine, BUDGET_NS, &rate, why, sizeof(why)), 0);
	assert_true(platform_clock_ns() - start < 2 * BUDGET_NS);
}

static void test_failures_are_said(void **state)
{
	char why[256] = "";
	double rate;

	assert_int_equal(engine_measure(&dead_engine, BUDGET_NS, &rate, why, sizeof(why)), -EIO);
	assert_non_null(strstr(why, "dead"));
	assert_int_equal(engine_measure(&absent_engine, BUDGET_NS, &rate, why, sizeof(why)),
			 -ENODEV);
	assert_string_equal(why, "not on this host");
	assert_int_equal(live, 0);
}

static void test_fastest_is_chosen(void **state)
{
	char why[256] = "";

	assert_ptr_equal(engine_choose(GUEST_X86_64, why, sizeof(why)), &fast_engine);
	assert_int_equal(live, 0);
}

static int setup(void **state)
{
	fake_reset();
	live = 0;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_start_is_not_measured, setup),
	    cmocka_unit_test_setup(test_in_64_bit_mode, setup),
	    cmocka_unit_test_setup(test_budget_is_kept, setup),
	    cmocka_unit_test_setup(test_failures_are_said, setup),
	    cmocka_unit_test_setup(test_shared_memory, setup),
	    cmocka_unit_test_setup(test_fastest_is_chosen, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
