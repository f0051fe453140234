/* The generic timer: conditions, levels, the counter's arithmetic, deadlines that move. */
#include "arch/aarch64/names.h"
#include "dev/timer/arm_timer.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define P_TVAL A64_SYSREG_KEY(3u, 3, 14, 2, 0)
#define P_CTL  A64_SYSREG_KEY(3u, 3, 14, 2, 1)
#define P_CVAL A64_SYSREG_KEY(3u, 3, 14, 2, 2)
#define V_TVAL A64_SYSREG_KEY(3u, 3, 14, 3, 0)
#define V_CTL  A64_SYSREG_KEY(3u, 3, 14, 3, 1)
#define V_CVAL A64_SYSREG_KEY(3u, 3, 14, 3, 2)

struct context {
	struct vm *vm;
	struct arm_timer *timer;
	struct irq_probe physical[2], virtual[2];
};

static int setup(void **state)
{
	static struct context context;
	struct arm_timer_lines lines[2];

	context = (struct context){.vm = machine_create(2)};
	for (unsigned i = 0; i < 2; i++)
		lines[i] = (struct arm_timer_lines){irq_probe_line(&context.physical[i]), irq_probe_line(&context.virtual[i])};
	assert_int_equal(arm_timer_create(context.vm, lines, &context.timer), 0);
	*state = &context;
	return 0;
}

static int teardown(void **state)
{
	struct context *c = *state;

	machine_destroy(c->vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void msr(struct context *c, uint32_t key, uint64_t value)
{
	assert_true(machine_wrmsr(c->vm, 0, key, value));
}

static uint64_t mrs(struct context *c, uint32_t key)
{
	uint64_t value;

	assert_true(machine_rdmsr(c->vm, 0, key, &value));
	return value;
}

static void test_fires(void **state)
{
	struct context *c = *state;

	msr(c, V_CVAL, 1000);
	msr(c, V_CTL, 1);
	assert_int_equal(mrs(c, V_CTL), 1);
	fake_advance(15999);
	assert_int_equal(c->virtual[0].level, 0);
	fake_advance(1);
	assert_int_equal(arm_counter(c->vm), 1000);
	assert_int_equal(c->virtual[0].level, 1);
	assert_int_equal(mrs(c, V_CTL), 5);
	assert_int_equal(c->virtual[1].level, 0);
	assert_int_equal(c->physical[0].level, 0);
	msr(c, V_CTL, 3); /* masked, and yet the condition is met */
	assert_int_equal(c->virtual[0].level, 0);
	assert_int_equal(mrs(c, V_CTL), 7);
	msr(c, V_CTL, 1);
	assert_int_equal(c->virtual[0].level, 1);
	msr(c, V_CVAL, 2000);
	assert_int_equal(c->virtual[0].level, 0);
	fake_advance(16000);
	assert_int_equal(c->virtual[0].level, 1);
	msr(c, V_CTL, 0);
	assert_int_equal(c->virtual[0].level, 0);
	assert_int_equal(mrs(c, V_CTL), 0);
}

static void test_tval(void **state)
{
	struct context *c = *state;

	fake_advance(1600);
	msr(c, P_TVAL, 50);
	assert_int_equal(mrs(c, P_CVAL), 150);
	msr(c, P_CTL, 1);
	fake_advance(160);
	assert_int_equal(mrs(c, P_TVAL), 40);
	fake_advance(16 * 60);
	assert_int_equal(mrs(c, P_TVAL), (uint32_t)-20);
	assert_int_equal(c->physical[0].level, 1);
	msr(c, P_TVAL, (uint32_t)-1); /* signed: has been */
	assert_int_equal(mrs(c, P_CVAL), 169);
	assert_int_equal(c->physical[0].level, 1);
	msr(c, P_TVAL, 0x7fffffff);
	assert_int_equal(c->physical[0].level, 0);
}

/* Deadlines to and fro: it fires at the last one, once. */
static void test_moves(void **state)
{
	struct context *c = *state;

	msr(c, P_CTL, 1);
	assert_int_equal(c->physical[0].level, 1); /* CVAL 0 has been */
	c->physical[0].rises = 0;
	msr(c, P_CVAL, 1000);
	msr(c, P_CVAL, 3000);
	msr(c, P_CVAL, 2000);
	fake_advance(16 * 1999);
	assert_int_equal(c->physical[0].rises, 0);
	fake_advance(16);
	assert_int_equal(c->physical[0].rises, 1);
	msr(c, P_CVAL, 5000);
	msr(c, V_CVAL, 4000);
	msr(c, V_CTL, 1);
	fake_advance(16 * 2000);
	assert_int_equal(c->physical[0].level, 0);
	assert_int_equal(c->virtual[0].level, 1);
	fake_advance(16 * 1000);
	assert_int_equal(c->physical[0].level, 1);
}

/* Deadlines that never come don't come early. */
static void test_far(void **state)
{
	struct context *c = *state;

	msr(c, P_CVAL, UINT64_MAX);
	msr(c, P_CTL, 1);
	msr(c, V_CVAL, UINT64_MAX / 16 + 1);
	msr(c, V_CTL, 1);
	fake_advance(3600ull * 1000000000);
	assert_int_equal(c->physical[0].level, 0);
	assert_int_equal(c->virtual[0].level, 0);
}

static void test_offset(void **state)
{
	struct context *c = *state;

	fake_advance(16000);
	arm_timer_set_virtual_offset(c->timer, c->vm->vcpus[0], 1000);
	msr(c, V_TVAL, 10);
	assert_int_equal(mrs(c, V_CVAL), 10);
	msr(c, V_CTL, 1);
	fake_advance(16 * 9);
	assert_int_equal(c->virtual[0].level, 0);
	fake_advance(16);
	assert_int_equal(c->virtual[0].level, 1);
}

static void test_reset_and_others(void **state)
{
	struct context *c = *state;
	uint64_t value;

	msr(c, P_CTL, 1);
	msr(c, V_CVAL, 100);
	msr(c, V_CTL, 1);
	devices_reset(c->vm);
	assert_int_equal(c->physical[0].level, 0);
	assert_int_equal(mrs(c, P_CTL), 0);
	assert_int_equal(mrs(c, V_CVAL), 0);
	fake_advance(1600);
	assert_int_equal(c->virtual[0].rises, 0);
	assert_false(machine_rdmsr(c->vm, 0, P_CVAL + 1, &value));
	assert_false(machine_wrmsr(c->vm, 0, P_CVAL + 5, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fires, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tval, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_far, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_and_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
