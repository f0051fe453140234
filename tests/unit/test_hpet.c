/* The HPET: its counter, comparators once and periodic, edges and levels, and taking the places of PIT and RTC.
 *
 * Example: `meson test -C build hpet`
 */
#include "dev/irq/irqchip.h"
#include "dev/timer/hpet.h"
#include "fake_machine.h"
#include "core/engine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define NS_PER_MS 1000000ull
#define TICKS_PER_MS 100000ull

#define GCAP_ID   0x000
#define GEN_CONF  0x010
#define GINTR_STA 0x020
#define MAIN_CNT  0x0f0
#define CONF(n)   (0x100 + 0x20 * (n))
#define CMP(n)    (0x108 + 0x20 * (n))

#define LEVEL     0x02u
#define ENABLED   0x04u
#define PERIODIC  0x08u
#define VAL_SET   0x40u
#define BITS32    0x100u
#define ROUTE(n)  ((n) << 9)

/* What arrives at the interrupt controllers: an engine that has its own. */
static struct lines {
	int level[IRQCHIP_GSI_COUNT];
	unsigned rises[IRQCHIP_GSI_COUNT];
} lines;

static void irq_set_line(struct vm *vm, unsigned gsi, int level)
{
	if (level && !lines.level[gsi])
		lines.rises[gsi]++;
	lines.level[gsi] = level;
}

static void msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
}

static void kick(struct vcpu *vcpu)
{
}

static const struct engine_ops engine = {.name = "lines", .kick = kick, .irq_set = irq_set_line, .msi_send = msi_send};

struct fixture {
	struct vm *vm;
	struct hpet *hpet;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct irqchip *chip;

	f->vm = machine_create(1);
	f->vm->engine = &engine;
	lines = (struct lines){0};
	assert_int_equal(irqchip_create(f->vm, &chip), 0);
	assert_int_equal(hpet_create(f->vm, HPET_BASE, chip, true, &f->hpet), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	machine_destroy(f->vm);
	free(f);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void put(struct fixture *f, unsigned offset, uint64_t value)
{
	machine_write(f->vm, 0, HPET_BASE + offset, 8, value);
}

static uint64_t get(struct fixture *f, unsigned offset)
{
	return machine_read(f->vm, 0, HPET_BASE + offset, 8);
}

static void counter_runs_when_enabled(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, GCAP_ID), 10000000ull << 32 | HPET_ID);
	assert_int_equal(get(f, MAIN_CNT), 0);
	fake_advance(NS_PER_MS);
	assert_int_equal(get(f, MAIN_CNT), 0);
	put(f, MAIN_CNT, 1ull << 40);
	put(f, GEN_CONF, 1);
	fake_advance(NS_PER_MS);
	assert_int_equal(get(f, MAIN_CNT), (1ull << 40) + TICKS_PER_MS);
	/* By halves. */
	assert_int_equal(machine_read(f->vm, 0, HPET_BASE + MAIN_CNT + 4, 4), 1u << 8);
	put(f, MAIN_CNT, 0); /* only while it stands */
	assert_true(get(f, MAIN_CNT) >> 40);
	put(f, GEN_CONF, 0);
	fake_advance(NS_PER_MS);
	assert_int_equal(get(f, MAIN_CNT), (1ull << 40) + TICKS_PER_MS);
	machine_write(f->vm, 0, HPET_BASE + MAIN_CNT, 4, 5);
	assert_int_equal(get(f, MAIN_CNT), (1ull << 40) + 5);
}

static void once(void **state)
{
	struct fixture *f = *state;

	put(f, CMP(0), 3 * TICKS_PER_MS);
	put(f, CONF(0), ENABLED | ROUTE(2u));
	put(f, GEN_CONF, 1);
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.rises[2], 0);
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.rises[2], 1);
	assert_int_equal(lines.level[2], 0); /* an edge */
	assert_int_equal(get(f, GINTR_STA), 0);
	fake_advance(100 * NS_PER_MS);
	assert_int_equal(lines.rises[2], 1);
	/* Of 32 bits it comes again when those have wrapped: 43 s. */
	put(f, CONF(0), ENABLED | BITS32 | ROUTE(2u));
	put(f, CMP(0), get(f, MAIN_CNT) + TICKS_PER_MS);
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.rises[2], 2);
	fake_advance(43000 * NS_PER_MS);
	assert_int_equal(lines.rises[2], 3);
}

static void periodic(void **state)
{
	struct fixture *f = *state;

	put(f, CONF(1), ENABLED | PERIODIC | VAL_SET | ROUTE(8u));
	put(f, CMP(1), TICKS_PER_MS);     /* the first one, */
	put(f, CMP(1), 2 * TICKS_PER_MS); /* and then this often */
	put(f, GEN_CONF, 1);
	for (unsigned i = 0; i < 100; i++)
		fake_advance(NS_PER_MS / 10 * 10);
	assert_in_range(lines.rises[8], 49, 51);
	/* A hostile period is held to a bearable one. */
	put(f, CONF(1), ENABLED | PERIODIC | VAL_SET | ROUTE(8u));
	put(f, CMP(1), get(f, MAIN_CNT) + 1);
	put(f, CMP(1), 1);
	lines.rises[8] = 0;
	fake_advance(10 * NS_PER_MS);
	assert_in_range(lines.rises[8], 1, 1000);
	/* A period of nothing ends. */
	put(f, CONF(1), ENABLED | PERIODIC | VAL_SET | ROUTE(8u));
	put(f, CMP(1), get(f, MAIN_CNT) + 1);
	put(f, CMP(1), 0);
	fake_advance(10 * NS_PER_MS);
}

static void levels(void **state)
{
	struct fixture *f = *state;

	put(f, CONF(2), ENABLED | LEVEL | ROUTE(20u));
	put(f, CMP(2), TICKS_PER_MS);
	put(f, GEN_CONF, 1);
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.level[20], 1);
	assert_int_equal(get(f, GINTR_STA), 4);
	put(f, GINTR_STA, 3); /* another's */
	assert_int_equal(lines.level[20], 1);
	put(f, GINTR_STA, 4);
	assert_int_equal(lines.level[20], 0);
	assert_int_equal(get(f, GINTR_STA), 0);
	/* A line that is up does not stay so when its timer is given another. */
	put(f, CMP(2), get(f, MAIN_CNT) + TICKS_PER_MS);
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.level[20], 1);
	put(f, CONF(2), ENABLED | LEVEL | ROUTE(21u));
	assert_int_equal(lines.level[20], 0);
}

static void replaces_pit_and_rtc(void **state)
{
	struct fixture *f = *state;
	struct irq_line pit = hpet_legacy_line(f->hpet, HPET_PIT), rtc = hpet_legacy_line(f->hpet, HPET_RTC);

	irq_set(&pit, 1);
	irq_set(&rtc, 1);
	assert_int_equal(lines.level[0], 1);
	assert_int_equal(lines.level[8], 1);
	put(f, CONF(0), ENABLED);
	put(f, CMP(0), TICKS_PER_MS);
	put(f, GEN_CONF, 3);
	assert_int_equal(lines.level[0], 0);
	assert_int_equal(lines.level[8], 0);
	irq_set(&rtc, 0);
	irq_set(&rtc, 1);
	assert_int_equal(lines.level[8], 0);
	lines.rises[0] = 0;
	fake_advance(2 * NS_PER_MS);
	assert_int_equal(lines.rises[0], 1); /* in the PIT's place */
	/* They have them back, as they are now. */
	irq_set(&pit, 0);
	put(f, GEN_CONF, 1);
	assert_int_equal(lines.level[0], 0);
	assert_int_equal(lines.level[8], 1);
}

static void any_access_is_harmless(void **state)
{
	struct fixture *f = *state;

	srand(1);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned size = rand() & 1 ? 4 : 8, offset = (unsigned)rand() % HPET_SIZE & ~(size - 1);
		uint64_t value = (uint64_t)rand() << 33 ^ (uint64_t)rand() << 11 ^ (uint64_t)rand();

		if (rand() & 1)
			machine_write(f->vm, 0, HPET_BASE + offset, size, rand() & 3 ? value : value & 0x1ff);
		else
			machine_read(f->vm, 0, HPET_BASE + offset, size);
		if (rand() % 16 == 0)
			fake_advance((uint64_t)rand() % NS_PER_MS);
	}
	devices_reset(f->vm);
	assert_int_equal(get(f, GEN_CONF), 0);
	for (unsigned i = 0; i < IRQCHIP_GSI_COUNT; i++)
		assert_int_equal(lines.level[i], 0);
}

int main(void)
{
#define HPET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		HPET(counter_runs_when_enabled), HPET(once), HPET(periodic), HPET(levels), HPET(replaces_pit_and_rtc),
		HPET(any_access_is_harmless),
	};

	return cmocka_run_group_tests_name("hpet", tests, NULL, NULL);
}
