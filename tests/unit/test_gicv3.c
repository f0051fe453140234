/* The GICv3: registers, priorities and preemption, levels and edges, SGIs, routing, what a processor is told. */
#include "arch/aarch64/names.h"
#include "base/errno.h"
#include "dev/irq/gicv3.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#define CPUS 18 /* more than a cluster */
#define GICD 0x8000000u
#define GICR 0x80a0000u

#define RD(cpu)  (GICR + (cpu) * 0x20000u)
#define SGI(cpu) (RD(cpu) + 0x10000u)

#define PMR     A64_SYSREG_KEY(3u, 0, 4, 6, 0)
#define IAR0    A64_SYSREG_KEY(3u, 0, 12, 8, 0)
#define EOIR0   A64_SYSREG_KEY(3u, 0, 12, 8, 1)
#define HPPIR0  A64_SYSREG_KEY(3u, 0, 12, 8, 2)
#define BPR0    A64_SYSREG_KEY(3u, 0, 12, 8, 3)
#define AP0R1   A64_SYSREG_KEY(3u, 0, 12, 8, 5)
#define AP1R0   A64_SYSREG_KEY(3u, 0, 12, 9, 0)
#define DIR     A64_SYSREG_KEY(3u, 0, 12, 11, 1)
#define RPR     A64_SYSREG_KEY(3u, 0, 12, 11, 3)
#define SGI1R   A64_SYSREG_KEY(3u, 0, 12, 11, 5)
#define SGI0R   A64_SYSREG_KEY(3u, 0, 12, 11, 7)
#define IAR1    A64_SYSREG_KEY(3u, 0, 12, 12, 0)
#define EOIR1   A64_SYSREG_KEY(3u, 0, 12, 12, 1)
#define HPPIR1  A64_SYSREG_KEY(3u, 0, 12, 12, 2)
#define BPR1    A64_SYSREG_KEY(3u, 0, 12, 12, 3)
#define CTLR    A64_SYSREG_KEY(3u, 0, 12, 12, 4)
#define SRE     A64_SYSREG_KEY(3u, 0, 12, 12, 5)
#define IGRPEN0 A64_SYSREG_KEY(3u, 0, 12, 12, 6)
#define IGRPEN1 A64_SYSREG_KEY(3u, 0, 12, 12, 7)

struct context {
	struct vm *vm;
	struct gicv3 *gic;
};

static void msr(struct context *c, unsigned cpu, uint32_t key, uint64_t value)
{
	assert_true(machine_wrmsr(c->vm, cpu, key, value));
}

static uint64_t mrs(struct context *c, unsigned cpu, uint32_t key)
{
	uint64_t value;

	assert_true(machine_rdmsr(c->vm, cpu, key, &value));
	return value;
}

static void wr(struct context *c, uint64_t gpa, uint32_t value)
{
	machine_write(c->vm, 0, gpa, 4, value);
}

static uint32_t rd(struct context *c, uint64_t gpa)
{
	return (uint32_t)machine_read(c->vm, 0, gpa, 4);
}

/* As a system initialises it: all of group 1 with priority 0xa0. */
static int setup(void **state)
{
	static struct context context;
	struct context *c = &context;
	const struct gicv3_config config = {.distributor = GICD, .redistributors = GICR, .spis = 256};

	c->vm = machine_create(CPUS);
	assert_int_equal(gicv3_create(c->vm, &config, &c->gic), 0);
	wr(c, GICD, 0x12);
	for (unsigned i = 1; i < 9; i++)
		wr(c, GICD + 0x80 + 4 * i, ~0u);
	for (unsigned i = 8; i < 72; i++)
		wr(c, GICD + 0x400 + 4 * i, 0xa0a0a0a0);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		wr(c, RD(cpu) + 0x14, 0);
		wr(c, SGI(cpu) + 0x80, ~0u);
		for (unsigned i = 0; i < 8; i++)
			wr(c, SGI(cpu) + 0x400 + 4 * i, 0xa0a0a0a0);
		wr(c, SGI(cpu) + 0x100, 0xffff);
		msr(c, cpu, PMR, 0xf0);
		msr(c, cpu, IGRPEN1, 1);
		atomic_store(&c->vm->vcpus[cpu]->request, 0);
	}
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct context *c = *state;

	machine_destroy(c->vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static int pending(struct context *c, unsigned cpu)
{
	return c->vm->irq_ops->pending(c->vm->vcpus[cpu]);
}

static void spi(struct context *c, unsigned number, int level)
{
	const struct irq_line line = gicv3_spi(c->gic, number);

	irq_set(&line, level);
}

static bool told(struct context *c, unsigned cpu)
{
	return atomic_exchange(&c->vm->vcpus[cpu]->request, 0) == VCPU_REQ_IRQ;
}

static void enable(struct context *c, unsigned intid)
{
	wr(c, GICD + 0x100 + intid / 32 * 4, 1u << intid % 32);
}

static void set_priority(struct context *c, unsigned intid, uint8_t priority)
{
	machine_write(c->vm, 0, GICD + 0x400 + intid, 1, priority);
}

static void test_identity(void **state)
{
	struct context *c = *state;

	assert_int_equal(rd(c, GICD + 0xffe8) >> 4 & 15, 3); /* PIDR2: GICv3 */
	assert_int_equal(rd(c, RD(17) + 0xffe8) >> 4 & 15, 3);
	assert_int_equal(rd(c, GICD) & 0x52, 0x52); /* DS, ARE, group 1 */
	assert_int_equal(rd(c, GICD + 4) & 31, 8);  /* 288 interrupts */
	assert_int_equal(machine_read(c->vm, 0, RD(0) + 8, 8), 0);
	assert_int_equal(machine_read(c->vm, 0, RD(16) + 8, 8), 0x100ull << 32 | 16 << 8);
	assert_int_equal(rd(c, RD(17) + 8), 17 << 8 | 1 << 4); /* the last */
	assert_int_equal(rd(c, RD(17) + 12), 0x101);
	assert_int_equal(mrs(c, 0, SRE), 7);
	assert_int_equal(mrs(c, 0, CTLR), 4 << 8);
	assert_int_equal(mrs(c, 0, BPR0), 2);
	assert_int_equal(mrs(c, 0, BPR1), 3);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	assert_int_equal(rd(c, SGI(0) + 0xc00), 0xaaaaaaaa);
}

/* What isn't there is refused, or reads as zero. */
static void test_not_there(void **state)
{
	struct context *c = *state;
	uint64_t value;

	assert_false(machine_rdmsr(c->vm, 0, AP0R1, &value));
	assert_false(machine_wrmsr(c->vm, 0, AP0R1, 1));
	assert_false(machine_rdmsr(c->vm, 0, SGI1R, &value));
	assert_false(machine_wrmsr(c->vm, 0, IAR1, 1));
	wr(c, GICD + 0x100, ~0u); /* SGIs and PPIs are the redistributors' */
	assert_int_equal(rd(c, GICD + 0x100), 0);
	wr(c, GICD + 0x124, ~0u); /* beyond the last SPI */
	assert_int_equal(rd(c, GICD + 0x124), 0);
	wr(c, GICD + 0x6000 + 8 * 300, 5);
	assert_int_equal(rd(c, GICD + 0x6000 + 8 * 300), 0);
	wr(c, SGI(0) + 0x104, ~0u);
	assert_int_equal(rd(c, SGI(0) + 0x104), 0);
	machine_write(c->vm, 0, GICD + 0x104, 1, 0xff);
	machine_write(c->vm, 0, GICD + 0x104, 2, 0xff);
	assert_int_equal(rd(c, GICD + 0x104), 0);
	assert_int_equal(gicv3_spi(c->gic, 256).set == NULL, 1);
	assert_int_equal(gicv3_ppi(c->gic, 0, 15).set == NULL, 1);
	assert_int_equal(gicv3_ppi(c->gic, CPUS, 30).set == NULL, 1);
	/* Interrupts that don't exist, or are not active, end without harm. */
	msr(c, 0, EOIR1, 1023);
	msr(c, 0, EOIR1, 0xffffff);
	msr(c, 0, EOIR1, 40);
	msr(c, 0, DIR, 0xffffff);
	assert_int_equal(mrs(c, 0, IAR1), 1023);
}

static void test_level(void **state)
{
	struct context *c = *state;

	spi(c, 1, 1);
	assert_int_equal(pending(c, 0), -1); /* not enabled */
	assert_int_equal(rd(c, GICD + 0x204), 2);
	enable(c, 33);
	assert_int_equal(pending(c, 0), 33);
	assert_true(told(c, 0));
	assert_int_equal(mrs(c, 0, HPPIR1), 33);
	assert_int_equal(mrs(c, 0, IAR1), 33);
	assert_int_equal(mrs(c, 0, RPR), 0xa0);
	assert_int_equal(mrs(c, 0, AP1R0), 1u << 20);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(rd(c, GICD + 0x304), 2);
	assert_int_equal(mrs(c, 0, IAR1), 1023);
	msr(c, 0, EOIR1, 33);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	assert_int_equal(pending(c, 0), 33); /* the line is still up */
	(void)told(c, 0);
	spi(c, 1, 0);
	assert_int_equal(pending(c, 0), -1);
	assert_true(told(c, 0));
	assert_int_equal(rd(c, GICD + 0x204), 0);
}

static void test_edge(void **state)
{
	struct context *c = *state;

	wr(c, GICD + 0xc08, 2 << 2); /* INTID 33 */
	assert_int_equal(rd(c, GICD + 0xc08), 2 << 2);
	enable(c, 33);
	spi(c, 1, 1);
	spi(c, 1, 0);
	assert_int_equal(mrs(c, 0, IAR1), 33);
	spi(c, 1, 1); /* another one meanwhile */
	assert_int_equal(pending(c, 0), -1);
	msr(c, 0, EOIR1, 33);
	assert_int_equal(mrs(c, 0, IAR1), 33);
	msr(c, 0, EOIR1, 33);
	assert_int_equal(pending(c, 0), -1); /* though the line is up */
}

static void test_priorities(void **state)
{
	struct context *c = *state;

	enable(c, 40);
	enable(c, 41);
	enable(c, 42);
	set_priority(c, 41, 0x87);
	set_priority(c, 42, 0x40);
	assert_int_equal(rd(c, GICD + 0x428), 0xa04080a0);
	spi(c, 8, 1);
	assert_int_equal(mrs(c, 0, IAR1), 40);
	spi(c, 9, 1);
	assert_int_equal(mrs(c, 0, IAR1), 41); /* 0x80 preempts 0xa0 */
	msr(c, 0, BPR1, 7);                    /* only bit 7 decides now: 0x40 preempts 0x80, nothing else does */
	spi(c, 10, 1);
	assert_int_equal(pending(c, 0), 42);
	msr(c, 0, PMR, 0x40);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(mrs(c, 0, HPPIR1), 42); /* masked, and yet the first */
	msr(c, 0, PMR, 0xff);
	assert_int_equal(mrs(c, 0, PMR), 0xf8);
	msr(c, 0, BPR1, 3);
	assert_int_equal(mrs(c, 0, IAR1), 42);
	assert_int_equal(mrs(c, 0, RPR), 0x40);
	msr(c, 0, EOIR1, 42);
	assert_int_equal(mrs(c, 0, RPR), 0x80);
	spi(c, 10, 0);
	msr(c, 0, EOIR1, 41);
	msr(c, 0, EOIR1, 40);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	/* Among equals the lowest number. */
	set_priority(c, 41, 0xa0);
	assert_int_equal(pending(c, 0), 40);
	/* Group priority 0x80 for both: no preemption. */
	set_priority(c, 40, 0x98);
	set_priority(c, 41, 0x80);
	msr(c, 0, BPR1, 5);
	spi(c, 9, 0);
	assert_int_equal(mrs(c, 0, IAR1), 40);
	spi(c, 9, 1);
	assert_int_equal(pending(c, 0), -1);
	spi(c, 9, 0);
	msr(c, 0, EOIR1, 40);
	msr(c, 0, CTLR, 1); /* BPR0 decides */
	assert_int_equal(mrs(c, 0, BPR1), 3);
	assert_int_equal(mrs(c, 0, IAR1), 40);
	assert_int_equal(mrs(c, 0, RPR), 0x98);
	spi(c, 9, 1);
	assert_int_equal(pending(c, 0), 41);
}

static void test_split_eoi(void **state)
{
	struct context *c = *state;

	enable(c, 33);
	msr(c, 0, CTLR, 2);
	spi(c, 1, 1);
	assert_int_equal(mrs(c, 0, IAR1), 33);
	msr(c, 0, EOIR1, 33);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	assert_int_equal(pending(c, 0), -1); /* still active */
	msr(c, 3, CTLR, 2);
	msr(c, 3, DIR, 33); /* any processor may */
	assert_int_equal(pending(c, 0), 33);
	assert_true(told(c, 0));
}

static void test_routing(void **state)
{
	struct context *c = *state;

	enable(c, 33);
	spi(c, 1, 1);
	assert_int_equal(pending(c, 0), 33);
	machine_write(c->vm, 0, GICD + 0x6000 + 8 * 33, 8, 0x101);
	assert_int_equal(machine_read(c->vm, 0, GICD + 0x6000 + 8 * 33, 8), 0x101);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(pending(c, 17), 33);
	assert_true(told(c, 17));
	assert_int_equal(mrs(c, 0, IAR1), 1023);
	wr(c, GICD + 0x6000 + 8 * 33, 0x10f); /* nobody */
	assert_int_equal(pending(c, 17), -1);
	wr(c, GICD + 0x6000 + 8 * 33, 0x1);
	assert_int_equal(pending(c, 1), 33);
	wr(c, RD(1) + 0x14, 2);
	assert_int_equal(rd(c, RD(1) + 0x14), 6);
	assert_int_equal(pending(c, 1), -1); /* asleep */
	wr(c, RD(1) + 0x14, 0);
	msr(c, 1, IGRPEN1, 0);
	assert_int_equal(pending(c, 1), -1);
	msr(c, 1, IGRPEN1, 1);
	wr(c, GICD, 0);
	assert_int_equal(pending(c, 1), -1);
	wr(c, GICD, 2);
	assert_int_equal(pending(c, 1), 33);
}

static void test_sgi(void **state)
{
	struct context *c = *state;

	msr(c, 0, SGI1R, 5ull << 24 | 0x000a); /* cpus 1, 3 */
	assert_int_equal(pending(c, 1), 5);
	assert_int_equal(pending(c, 3), 5);
	assert_int_equal(pending(c, 2), -1);
	assert_true(told(c, 1));
	assert_false(told(c, 2));
	msr(c, 0, SGI1R, 6ull << 24 | 1 << 16 | 0x8002); /* cluster 1: cpu 17, and one that isn't there */
	assert_int_equal(pending(c, 17), 6);
	msr(c, 17, SGI1R, 7ull << 24 | 1ull << 40); /* all others */
	assert_int_equal(pending(c, 16), 7);
	assert_int_equal(mrs(c, 17, IAR1), 6);
	assert_int_equal(mrs(c, 17, IAR1), 1023);
	/* A range, or an affinity, that nobody has. */
	msr(c, 17, SGI1R, 8ull << 24 | 1ull << 44 | 1);
	msr(c, 17, SGI1R, 8ull << 24 | 1ull << 32 | 1);
	msr(c, 17, SGI1R, 8ull << 24 | 1ull << 48 | 1);
	msr(c, 17, SGI1R, 8ull << 24 | 0xffull << 16 | 0xffff);
	assert_int_equal(rd(c, SGI(0) + 0x200), 1 << 7);
	/* One to itself; the engine asks without being told. */
	assert_int_equal(mrs(c, 4, IAR1), 7);
	msr(c, 4, EOIR1, 7);
	(void)told(c, 4);
	msr(c, 4, SGI1R, 9ull << 24 | 1 << 4);
	assert_int_equal(pending(c, 4), 9);
	assert_false(told(c, 4));
	/* Of group 0 none, since all are configured for group 1. */
	msr(c, 4, SGI0R, 10ull << 24 | 1);
	assert_int_equal(rd(c, SGI(0) + 0x200), 1 << 7);
}

static void test_ppi(void **state)
{
	struct context *c = *state;
	const struct irq_line line = gicv3_ppi(c->gic, 2, 27);

	wr(c, SGI(2) + 0x100, 1u << 27);
	irq_set(&line, 1);
	assert_int_equal(pending(c, 2), 27);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(c->vm->irq_ops->ack(c->vm->vcpus[2]), 27);
	assert_int_equal(c->vm->irq_ops->ack(c->vm->vcpus[2]), -1);
	irq_set(&line, 0);
	msr(c, 2, EOIR1, 27);
	assert_int_equal(pending(c, 2), -1);
	wr(c, SGI(2) + 0x180, 1u << 27);
	assert_int_equal(rd(c, SGI(2) + 0x100), 0xffff);
	wr(c, SGI(2) + 0x200, 1u << 27); /* pending by software */
	assert_int_equal(rd(c, SGI(2) + 0x280), 1u << 27);
	wr(c, SGI(2) + 0x280, 1u << 27);
	assert_int_equal(rd(c, SGI(2) + 0x280), 0);
}

static void test_group0(void **state)
{
	struct context *c = *state;

	wr(c, GICD + 0x84, ~2u);
	wr(c, GICD, 3);
	enable(c, 33);
	spi(c, 1, 1);
	assert_int_equal(gicv3_fiq(c->vm->vcpus[0]), -1);
	msr(c, 0, IGRPEN0, 1);
	assert_int_equal(gicv3_fiq(c->vm->vcpus[0]), 33);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(mrs(c, 0, IAR1), 1023);
	assert_int_equal(mrs(c, 0, HPPIR1), 1023);
	assert_int_equal(mrs(c, 0, HPPIR0), 33);
	assert_int_equal(mrs(c, 0, IAR0), 33);
	msr(c, 0, EOIR1, 33); /* not what runs */
	assert_int_equal(mrs(c, 0, RPR), 0xa0);
	msr(c, 0, EOIR0, 33);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
}

static void test_reset(void **state)
{
	struct context *c = *state;

	enable(c, 33);
	spi(c, 1, 1);
	assert_int_equal(mrs(c, 0, IAR1), 33);
	devices_reset(c->vm);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	assert_int_equal(mrs(c, 0, PMR), 0);
	assert_int_equal(rd(c, GICD), 0x50);
	assert_int_equal(rd(c, GICD + 0x304), 0);
	assert_int_equal(rd(c, GICD + 0x204), 2); /* the device still pulls its line */
	assert_int_equal(rd(c, RD(0) + 0x14), 6);
}

static void test_bad_config(void **state)
{
	struct vm *vm = machine_create(1);
	struct gicv3 *gic;

	assert_int_equal(gicv3_create(vm, &(struct gicv3_config){.distributor = GICD, .redistributors = GICR}, &gic), -EINVAL);
	assert_int_equal(gicv3_create(vm, &(struct gicv3_config){GICD, GICR, GICV3_MAX_SPIS + 1}, &gic), -EINVAL);
	machine_destroy(vm);
}

/* Whatever is written anywhere: it goes on, and nothing is read that isn't there. */
static void test_random(void **state)
{
	struct context *c = *state;
	uint64_t seed = 88172645463325252ull;

	for (unsigned i = 0; i < 200000; i++) {
		unsigned cpu, size;
		uint64_t gpa;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		cpu = seed >> 60 & 7;
		size = 1u << (seed >> 58 & 3);
		gpa = (seed >> 57 & 1 ? GICD + (seed & 0xffff) : GICR + (seed & 0xfffff)) & ~(uint64_t)(size - 1);
		switch (seed >> 54 & 7) {
		case 0:
			(void)machine_read(c->vm, cpu, gpa, size);
			break;
		case 1:
			(void)machine_wrmsr(c->vm, cpu, IAR0 + (seed & 0x3f), seed >> 8);
			break;
		case 2:
			(void)machine_rdmsr(c->vm, cpu, IAR0 + (seed & 0x3f), &gpa);
			break;
		case 3:
			spi(c, seed & 0x1ff, seed >> 9 & 1);
			break;
		default:
			machine_write(c->vm, cpu, gpa, size, seed >> 3);
			break;
		}
		assert_true(pending(c, cpu) < 288);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split_eoi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sgi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ppi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group0, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
