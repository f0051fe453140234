/* LPIs and the interrupt translation service: tables, commands, messages, and what a hostile guest makes of them. */
#include "arch/aarch64/names.h"
#include "base/errno.h"
#include "dev/irq/gicv3.h"
#include "dev/irq/gicv3_its.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <cmocka.h>

#define CPUS 3
#define GICD 0x8000000u
#define ITS  0x8080000u
#define GICR 0x80a0000u
#define RD(cpu) (GICR + (cpu) * 0x20000u)

#define PMR     A64_SYSREG_KEY(3u, 0, 4, 6, 0)
#define RPR     A64_SYSREG_KEY(3u, 0, 12, 11, 3)
#define IAR1    A64_SYSREG_KEY(3u, 0, 12, 12, 0)
#define EOIR1   A64_SYSREG_KEY(3u, 0, 12, 12, 1)
#define IGRPEN1 A64_SYSREG_KEY(3u, 0, 12, 12, 7)

/* In RAM, of which there is a MiB */
#define PROP        0x10000u
#define PEND        0x20000u
#define DEVICES     0x40000u
#define COLLECTIONS 0x41000u
#define ITT         0x42000u
#define QUEUE       0x43000u

#define VALID (1ull << 63)

struct context {
	struct vm *vm;
	struct gicv3 *gic;
	struct gicv3_its *its;
	uint64_t at; /* in the queue */
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

static void wr(struct context *c, uint64_t gpa, unsigned size, uint64_t value)
{
	machine_write(c->vm, 0, gpa, size, value);
}

static uint64_t rd(struct context *c, uint64_t gpa, unsigned size)
{
	return machine_read(c->vm, 0, gpa, size);
}

static uint8_t *ram(struct context *c)
{
	return c->vm->mem.slots[0].hva;
}

static int pending(struct context *c, unsigned cpu)
{
	return c->vm->irq_ops->pending(c->vm->vcpus[cpu]);
}

static void command(struct context *c, uint64_t a, uint64_t b, uint64_t d, uint64_t e)
{
	const uint64_t words[] = {a, b, d, e};

	memcpy(ram(c) + QUEUE + c->at, words, sizeof(words));
	c->at = (c->at + 32) % 4096;
	wr(c, ITS + 0x88, 8, c->at);
	assert_int_equal(rd(c, ITS + 0x90, 8), c->at); /* all done */
}

static void mapd(struct context *c, uint64_t device, uint64_t bits)
{
	command(c, 8 | device << 32, bits - 1, VALID | ITT, 0);
}

static void mapc(struct context *c, uint64_t collection, uint64_t cpu)
{
	command(c, 9, 0, VALID | cpu << 16 | collection, 0);
}

static void mapti(struct context *c, uint64_t device, uint64_t event, uint64_t lpi, uint64_t collection)
{
	command(c, 0xa | device << 32, event | lpi << 32, collection, 0);
}

static int setup(void **state)
{
	static struct context context;
	struct context *c = &context;
	const struct gicv3_config config = {.distributor = GICD, .redistributors = GICR, .lpis = true, .spis = 32};

	*c = (struct context){.vm = machine_create(CPUS)};
	assert_int_equal(gicv3_create(c->vm, &config, &c->gic), 0);
	assert_int_equal(gicv3_its_create(c->vm, c->gic, ITS, &c->its), 0);
	memset(ram(c) + PROP, 0xa1, 0x100); /* 256 of them enabled */
	wr(c, GICD, 4, 2);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		wr(c, RD(cpu) + 0x14, 4, 0);
		wr(c, RD(cpu) + 0x70, 8, PROP | 15);
		wr(c, RD(cpu) + 0x78, 8, PEND | 1ull << 62);
		wr(c, RD(cpu), 4, 1);
		msr(c, cpu, PMR, 0xf0);
		msr(c, cpu, IGRPEN1, 1);
	}
	wr(c, ITS + 0x100, 8, VALID | DEVICES);
	wr(c, ITS + 0x108, 8, VALID | COLLECTIONS);
	wr(c, ITS + 0x80, 8, VALID | QUEUE);
	wr(c, ITS, 4, 1);
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

static void registers(void **state)
{
	struct context *c = *state;

	assert_int_equal(rd(c, ITS, 4), 1 | 1u << 31);
	assert_true(rd(c, ITS + 8, 8) == 0x1ef71);
	assert_int_equal(rd(c, ITS + 0xffe8, 4), 0x3b);
	assert_true(rd(c, ITS + 0x100, 8) == (VALID | 1ull << 56 | 7ull << 48 | DEVICES));
	assert_true(rd(c, ITS + 0x108, 8) == (VALID | 4ull << 56 | 7ull << 48 | COLLECTIONS));
	assert_int_equal(rd(c, ITS + 0x10c, 4), 1u << 31 | 4 << 24 | 7 << 16);
	assert_int_equal(rd(c, ITS + 0x110, 8), 0);
	assert_int_equal(rd(c, GICD + 4, 4) & (1 << 17 | 31 << 19), 1 << 17 | 15 << 19);
	assert_int_equal(rd(c, RD(1) + 8, 4) & 1, 1);
	assert_int_equal(rd(c, RD(1), 4), 1);
	assert_int_equal(rd(c, RD(1) + 0x70, 8), PROP | 15);
	assert_int_equal(rd(c, RD(1) + 0x78, 8), PEND);
	/* While they are in use they stay. */
	wr(c, RD(1) + 0x70, 8, 0);
	wr(c, RD(1), 4, 0);
	wr(c, ITS + 0x100, 8, 0);
	wr(c, ITS + 0x80, 8, 0);
	assert_int_equal(rd(c, RD(1) + 0x70, 8), PROP | 15);
	assert_int_equal(rd(c, RD(1), 4), 1);
	assert_true(rd(c, ITS + 0x80, 8) == (VALID | QUEUE));
	assert_true(rd(c, ITS + 0x100, 8) & VALID);
}

static void messages(void **state)
{
	struct context *c = *state;

	mapd(c, 0x18, 4);
	mapc(c, 0, 0);
	mapc(c, 1, 2);
	mapti(c, 0x18, 3, 8200, 1);
	mapti(c, 0x18, 4, 8201, 0);
	gicv3_its_message(c->its, 0x18, 3);
	gicv3_its_message(c->its, 0x18, 3);
	assert_int_equal(pending(c, 2), 8200);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(atomic_load(&c->vm->vcpus[2]->request) & VCPU_REQ_IRQ, VCPU_REQ_IRQ);
	gicv3_its_message(c->its, 0x18, 4);
	assert_int_equal(mrs(c, 0, IAR1), 8201);
	assert_int_equal(mrs(c, 0, RPR), 0xa0);
	gicv3_its_message(c->its, 0x18, 4); /* the next one meanwhile */
	assert_int_equal(mrs(c, 0, IAR1), 1023);
	msr(c, 0, EOIR1, 8201);
	assert_int_equal(mrs(c, 0, RPR), 0xff);
	assert_int_equal(mrs(c, 0, IAR1), 8201);
	msr(c, 0, EOIR1, 8201);
	assert_int_equal(mrs(c, 0, IAR1), 1023);
	/* Who isn't mapped is not heard. */
	gicv3_its_message(c->its, 0x18, 5);
	gicv3_its_message(c->its, 0x18, 16);
	gicv3_its_message(c->its, 0x19, 3);
	gicv3_its_message(c->its, 0xffffffff, 3);
	wr(c, ITS + 0x10040, 4, 4); /* nor a processor */
	assert_int_equal(pending(c, 0), -1);
}

static void configuration(void **state)
{
	struct context *c = *state;

	mapd(c, 1, 4);
	mapc(c, 0, 0);
	mapti(c, 1, 0, 8192, 0);
	mapti(c, 1, 1, 8193, 0);
	ram(c)[PROP] = 0xa0; /* disabled */
	gicv3_its_message(c->its, 1, 0);
	assert_int_equal(pending(c, 0), 8192); /* nobody has said so */
	command(c, 0xc | 1ull << 32, 0, 0, 0); /* INV */
	assert_int_equal(pending(c, 0), -1);
	ram(c)[PROP] = 0xa1;
	ram(c)[PROP + 1] = 0x41;
	command(c, 0xd, 0, 0, 0); /* INVALL */
	assert_int_equal(pending(c, 0), 8192);
	gicv3_its_message(c->its, 1, 1);
	assert_int_equal(pending(c, 0), 8193); /* more urgent */
	msr(c, 0, PMR, 0x80);
	assert_int_equal(mrs(c, 0, IAR1), 8193);
	assert_int_equal(pending(c, 0), -1);
}

static void commands(void **state)
{
	struct context *c = *state;

	mapd(c, 1, 4);
	for (unsigned i = 0; i < CPUS; i++)
		mapc(c, i, i);
	mapti(c, 1, 0, 8192, 0);
	command(c, 3 | 1ull << 32, 0, 0, 0); /* INT */
	assert_int_equal(pending(c, 0), 8192);
	command(c, 1 | 1ull << 32, 0, 1, 0); /* MOVI, what is pending with it */
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(pending(c, 1), 8192);
	command(c, 0xe, 0, 1 << 16, 2 << 16); /* MOVALL */
	assert_int_equal(pending(c, 1), -1);
	assert_int_equal(pending(c, 2), 8192);
	command(c, 0xe, 0, 2 << 16, 1 << 16);
	command(c, 4 | 1ull << 32, 0, 0, 0); /* CLEAR */
	assert_int_equal(pending(c, 1), -1);
	gicv3_its_message(c->its, 1, 0);
	command(c, 0xf | 1ull << 32, 0, 0, 0); /* DISCARD */
	assert_int_equal(pending(c, 1), -1);
	gicv3_its_message(c->its, 1, 0);
	assert_int_equal(pending(c, 1), -1);
	/* MAPI is of as many events as there are ids, 14 bits of which reach an LPI. */
	mapd(c, 2, 14);
	command(c, 0xb | 2ull << 32, 8300, 0, 0);
	gicv3_its_message(c->its, 2, 8300);
	assert_int_equal(pending(c, 0), 8300);
	command(c, 0xf | 2ull << 32, 8300, 0, 0);
	assert_int_equal(pending(c, 0), -1);
	command(c, 8 | 2ull << 32, 0, 0, 0); /* MAPD, not valid */
	gicv3_its_message(c->its, 1, 0);
	/* Impossible ones. */
	mapti(c, 1, 0, 8191, 0);
	mapti(c, 1, 0, 65536, 0);
	mapti(c, 1, 16, 8192, 0);
	mapti(c, 99999, 0, 8192, 0);
	mapc(c, 0, CPUS);
	mapc(c, 600, 0);
	command(c, 0xe, 0, 7 << 16, 0);
	command(c, 0xd, 0, 77, 0);
	command(c, 0xff, ~0ull, ~0ull, ~0ull);
	gicv3_its_message(c->its, 1, 0);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pending(c, i), -1);
}

/* Bits that the table has are pending; the queue may end anywhere. */
static void tables(void **state)
{
	struct context *c = *state;

	devices_reset(c->vm);
	assert_int_equal(rd(c, ITS, 4), 1u << 31);
	assert_int_equal(rd(c, RD(0), 4), 0);
	gicv3_its_message(c->its, 1, 0);
	ram(c)[PEND + 1024 + 1] = 4; /* 8192 + 10 */
	wr(c, GICD, 4, 2);
	wr(c, RD(0) + 0x14, 4, 0);
	wr(c, RD(0) + 0x70, 4, PROP | 15);
	wr(c, RD(0) + 0x78, 4, PEND);
	wr(c, RD(0), 4, 1);
	msr(c, 0, PMR, 0xf0);
	msr(c, 0, IGRPEN1, 1);
	assert_int_equal(pending(c, 0), 8202);
	/* Nowhere in memory. */
	wr(c, RD(1) + 0x70, 8, 0xfffffff000 | 15);
	wr(c, RD(1) + 0x78, 8, 0xfffff0000);
	wr(c, RD(1), 4, 1);
	wr(c, ITS + 0x100, 8, VALID | 0xffffff000000);
	wr(c, ITS + 0x108, 8, VALID | 0xffffff000000);
	wr(c, ITS + 0x80, 8, VALID | 0xffffff000000);
	wr(c, ITS, 4, 1);
	wr(c, ITS + 0x88, 8, 64);
	assert_int_equal(rd(c, ITS + 0x90, 8), 64);
	wr(c, ITS + 0x88, 8, 4096); /* behind the end */
	assert_int_equal(rd(c, ITS + 0x90, 8), 64);
}

static void random_commands(void **state)
{
	struct context *c = *state;
	uint64_t seed = 88172645463325252ull;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t words[4];

		for (unsigned n = 0; n < 4; n++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			words[n] = seed >> (seed & 31);
		}
		switch (seed >> 60) {
		case 0:
			wr(c, ITS + (words[0] & 0x1ff8), 8, words[1]);
			break;
		case 1:
			gicv3_its_message(c->its, words[0] & 0xff, words[1] & 0xff);
			break;
		case 2:
			memcpy(ram(c) + DEVICES + (words[0] & 0x2ff8), &words[1], 8);
			break;
		case 3:
			mrs(c, i % CPUS, IAR1);
			break;
		case 4:
			msr(c, i % CPUS, EOIR1, words[0] & 0xffff);
			break;
		default:
			words[0] = (words[0] & 0xf) | (words[0] & 0xff) << 32;
			if (words[0] % 16 == 8)
				words[2] = VALID | (words[2] & 0xfff00);
			words[1] = (words[1] & 0xf) | 8192ull << 32 | (words[1] & 0xff) << 32;
			memcpy(ram(c) + QUEUE + c->at, words, sizeof(words));
			c->at = (c->at + 32) % 4096;
			wr(c, ITS + 0x88, 8, c->at);
			break;
		}
	}
}

static void no_lpis(void **state)
{
	struct vm *vm = machine_create(1);
	struct gicv3_its *its;
	struct gicv3 *gic;

	assert_int_equal(gicv3_create(vm, &(struct gicv3_config){.distributor = GICD, .redistributors = GICR, .spis = 32}, &gic), 0);
	assert_int_equal(gicv3_its_create(vm, gic, ITS, &its), -EINVAL);
	machine_write(vm, 0, RD(0) + 0x70, 8, ~0ull);
	machine_write(vm, 0, RD(0), 4, 1);
	assert_int_equal(machine_read(vm, 0, RD(0), 4), 0);
	assert_int_equal(machine_read(vm, 0, RD(0) + 0x70, 8), 0);
	machine_destroy(vm);
	for (unsigned limit = 0; limit < 6; limit++) {
		vm = machine_create(2);
		fake_alloc_limit(limit);
		int r = gicv3_create(vm, &(struct gicv3_config){.distributor = GICD, .redistributors = GICR, .lpis = true, .spis = 32}, &gic);
		if (!r)
			r = gicv3_its_create(vm, gic, ITS, &its);
		assert_int_equal(r, limit < 5 ? -ENOMEM : 0);
		fake_alloc_limit(UINT32_MAX);
		machine_destroy(vm);
		assert_int_equal(fake_alloc_live(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(messages, setup, teardown),
		cmocka_unit_test_setup_teardown(configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(commands, setup, teardown),
		cmocka_unit_test_setup_teardown(tables, setup, teardown),
		cmocka_unit_test_setup_teardown(random_commands, setup, teardown),
		cmocka_unit_test(no_lpis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
