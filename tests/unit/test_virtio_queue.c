/* Queues, status machine and mmio registers, seen by a driver; the device is the entropy source. */
#include "base/errno.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EVENT_IDX VIRTIO_F_EVENT_IDX
#define INDIRECT  VIRTIO_F_INDIRECT_DESC

#define NEEDS_RESET 64u

static void start(struct driver *driver, uint64_t features)
{
	struct virtio_device *vdev;

	driver_machine(driver);
	assert_int_equal(virtio_rng_create(&driver->vm, &vdev), 0);
	driver_start(driver, vdev, 0, features);
	driver_take_interrupt(driver);
	driver->pulses = 0;
}

static bool is_broken(struct driver *driver)
{
	return (driver_reg(driver, 0x070) & NEEDS_RESET) != 0;
}

static void registers_identify_the_device(void **state)
{
	struct driver driver;

	start(&driver, 0);
	assert_int_equal(driver_reg(&driver, 0x000), 0x74726976);
	assert_int_equal(driver_reg(&driver, 0x004), 2);
	assert_int_equal(driver_reg(&driver, 0x008), VIRTIO_ID_RNG);
	assert_int_equal(driver_reg(&driver, 0x0b0), UINT32_MAX);
	assert_int_equal(driver_reg(&driver, 0x070), 15);
	driver_set_reg(&driver, 0x030, 0);
	assert_int_equal(driver_reg(&driver, 0x034), 64);
	assert_int_equal(driver_reg(&driver, 0x044), 1);
	driver_set_reg(&driver, 0x030, 1);
	assert_int_equal(driver_reg(&driver, 0x034), 0);
	assert_int_equal(driver_reg(&driver, 0x044), 0);
	/* Control registers take 32-bit accesses only. */
	assert_int_equal(bus_read(&driver.vm.mmio, DRIVER_BASE, 2), 0);
	driver_stop(&driver);
}

static void features_ok_needs_version_1(void **state)
{
	struct driver driver;

	start(&driver, 0);
	driver_set_reg(&driver, 0x070, 0);
	assert_int_equal(driver_reg(&driver, 0x070), 0);
	driver_set_reg(&driver, 0x070, 3);
	driver_set_reg(&driver, 0x070, 11);
	assert_int_equal(driver_reg(&driver, 0x070), 3);
	/* And without FEATURES_OK there is no DRIVER_OK and no queue. */
	driver_set_reg(&driver, 0x070, 7);
	assert_int_equal(driver_reg(&driver, 0x070), 3);
	driver_set_reg(&driver, 0x030, 0);
	driver_set_reg(&driver, 0x044, 1);
	assert_int_equal(driver_reg(&driver, 0x044), 0);
	/* A feature that wasn't offered is refused. */
	driver_set_reg(&driver, 0x024, 1);
	driver_set_reg(&driver, 0x020, 1u | 1u << 31);
	driver_set_reg(&driver, 0x070, 11);
	assert_int_equal(driver_reg(&driver, 0x070), 3);
	driver_set_reg(&driver, 0x020, 1);
	driver_set_reg(&driver, 0x070, 11);
	assert_int_equal(driver_reg(&driver, 0x070), 11);
	/* After it features are fixed; bits can't be taken back one by one. */
	driver_set_reg(&driver, 0x020, 0);
	driver_set_reg(&driver, 0x070, 1);
	assert_int_equal(driver_reg(&driver, 0x070), 11);
	driver_stop(&driver);
}

static void fills_a_chain(struct driver *driver)
{
	gpa_t first = driver_alloc(driver, 100), second = driver_alloc(driver, 28);
	const struct driver_buf bufs[] = {{first, 100, true}, {second, 28, true}};
	uint16_t head = driver_add(driver, 0, 2, bufs);
	uint32_t used_head, len;
	unsigned zeroes = 0;

	driver_kick(driver, 0);
	assert_true(driver_used(driver, 0, &used_head, &len));
	assert_int_equal(used_head, head);
	assert_int_equal(len, 128);
	assert_int_equal(driver_take_interrupt(driver), 1);
	for (unsigned i = 0; i < 28; i++)
		zeroes += ((uint8_t *)driver_ptr(driver, second))[i] == 0;
	assert_true(zeroes < 28);
	assert_false(is_broken(driver));
}

static void direct_and_indirect_chains(void **state)
{
	struct driver driver;

	for (unsigned i = 0; i < 4; i++) {
		start(&driver, (i & 1 ? EVENT_IDX : 0) | INDIRECT);
		driver.indirect = (i & 2) != 0;
		for (unsigned round = 0; round < 200; round++) /* wraps the ring */
			fills_a_chain(&driver);
		assert_int_equal(driver.pulses, 200);
		driver_stop(&driver);
	}
}

static void normal_descriptors_may_precede_an_indirect_one(void **state)
{
	struct driver driver;
	struct driver_desc *table;
	gpa_t data, at;
	uint32_t len;

	start(&driver, INDIRECT);
	data = driver_alloc(&driver, 64);
	at = driver_alloc(&driver, 16);
	table = driver_ptr(&driver, at);
	*table = (struct driver_desc){.addr = data + 16, .len = 16, .flags = 2};
	*driver_desc(&driver, 0, 0) = (struct driver_desc){.addr = data, .len = 16, .flags = 3, .next = 1};
	*driver_desc(&driver, 0, 1) = (struct driver_desc){.addr = at, .len = 16, .flags = 4};
	driver_add_head(&driver, 0, 0);
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, NULL, &len));
	assert_int_equal(len, 32);
	driver_stop(&driver);
}

static void requests_are_bounded(void **state)
{
	struct driver driver;
	uint32_t len;

	start(&driver, 0);
	driver_add(&driver, 0, 1, &(struct driver_buf){driver_alloc(&driver, 4096), 4096, true});
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, NULL, &len));
	assert_int_equal(len, 512);
	driver_stop(&driver);
}

static void event_index_suppresses_interrupts_and_kicks(void **state)
{
	struct driver driver;
	struct driver_buf buf;

	start(&driver, EVENT_IDX);
	buf = (struct driver_buf){driver_alloc(&driver, 8), 8, true};
	assert_true((driver_add(&driver, 0, 1, &buf), driver_must_kick(&driver, 0, 1)));
	/* The driver wants to hear of the third used entry only. */
	driver_set_used_event(&driver, 0, 2);
	driver_kick(&driver, 0);
	assert_int_equal(driver_take_interrupt(&driver), 0);
	driver_add(&driver, 0, 1, &buf);
	driver_kick(&driver, 0);
	assert_int_equal(driver_take_interrupt(&driver), 0);
	driver_add(&driver, 0, 1, &buf);
	driver_kick(&driver, 0);
	assert_int_equal(driver_take_interrupt(&driver), 1);
	assert_int_equal(driver.pulses, 1);
	/* A batch that jumps over the event still interrupts. */
	driver_set_used_event(&driver, 0, 4);
	for (unsigned i = 0; i < 4; i++)
		driver_add(&driver, 0, 1, &buf);
	driver_kick(&driver, 0);
	assert_int_equal(driver_take_interrupt(&driver), 1);
	assert_int_equal(driver.pulses, 2);
	driver_stop(&driver);
}

static void flags_suppress_interrupts(void **state)
{
	struct driver driver;
	struct driver_buf buf;
	uint16_t *avail;

	start(&driver, 0);
	buf = (struct driver_buf){driver_alloc(&driver, 8), 8, true};
	avail = driver_ptr(&driver, driver.queues[0].avail);
	avail[0] = 1;
	driver_add(&driver, 0, 1, &buf);
	assert_true(driver_must_kick(&driver, 0, 1));
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, NULL, NULL));
	assert_int_equal(driver_take_interrupt(&driver), 0);
	avail[0] = 0;
	driver_add(&driver, 0, 1, &buf);
	driver_kick(&driver, 0);
	assert_int_equal(driver_take_interrupt(&driver), 1);
	driver_stop(&driver);
}

static void edges_come_once_for_each_new_bit_and_levels_stay(void **state)
{
	struct driver driver;
	struct virtio_device *vdev;
	struct driver_buf buf;

	start(&driver, 0);
	buf = (struct driver_buf){driver_alloc(&driver, 8), 8, true};
	for (unsigned i = 0; i < 3; i++) {
		driver_add(&driver, 0, 1, &buf);
		driver_kick(&driver, 0);
	}
	assert_int_equal(driver.pulses, 1);
	assert_int_equal(driver.level, 0);
	driver_stop(&driver);

	driver_machine(&driver);
	assert_int_equal(virtio_rng_create(&driver.vm, &vdev), 0);
	driver_start(&driver, vdev, VIRTIO_MMIO_IRQ_LEVEL, 0);
	buf = (struct driver_buf){driver_alloc(&driver, 8), 8, true};
	driver_add(&driver, 0, 1, &buf);
	driver_kick(&driver, 0);
	assert_int_equal(driver.level, 1);
	assert_int_equal(driver_take_interrupt(&driver), 1);
	assert_int_equal(driver.level, 0);
	driver_stop(&driver);
}

static void writes_are_marked(void **state)
{
	struct driver driver;
	gpa_t data;
	uint64_t dirty[DRIVER_RAM / 4096 / 64];
	_Atomic uint32_t *word;
	uint32_t before;

	start(&driver, 0);
	assert_int_equal(mem_dirty_start(&driver.vm.mem), 0);
	driver.brk = (driver.brk + 8191) & ~4095ull;
	data = driver_alloc(&driver, 3 * 4096);
	word = mem_page_word(&driver.vm.mem, data);
	atomic_store(word, 1); /* code was translated from here */
	before = atomic_load(word);
	driver_add(&driver, 0, 2, (const struct driver_buf[]){{data + 4090, 16, true}, {data + 8192, 4, false}});
	/* Wrong order of buffers: nothing happens, nothing is marked but the rings. */
	driver_kick(&driver, 0);
	assert_true(is_broken(&driver));
	driver_init_device(&driver, 0, 0);
	mem_dirty_collect(&driver.vm.mem, 0, dirty);
	driver_add(&driver, 0, 1, &(struct driver_buf){data + 4090, 16, true});
	driver_kick(&driver, 0);
	mem_dirty_collect(&driver.vm.mem, 0, dirty);
	for (unsigned page = 0; page < 3; page++) {
		uint64_t index = data / 4096 + page;

		assert_int_equal(dirty[index / 64] >> (index % 64) & 1, page < 2);
	}
	assert_true(dirty[driver.queues[0].used / 4096 / 64] >> (driver.queues[0].used / 4096 % 64) & 1);
	assert_int_not_equal(atomic_load(word), before);
	driver_stop(&driver);
}

/* ---- hostile rings: each sets NEEDS_RESET with a configuration interrupt, and a reset mends it ---- */

static void expect_broken(struct driver *driver)
{
	driver_kick(driver, 0);
	assert_true(is_broken(driver));
	assert_int_equal(driver_take_interrupt(driver) & 2, 2);
	assert_false(driver_used(driver, 0, NULL, NULL));
	driver_kick(driver, 0);
	/* The way out. */
	driver_init_device(driver, driver->features, 0);
	assert_int_equal(driver_reg(driver, 0x070), 15);
	fills_a_chain(driver);
}

static void chain_of(struct driver *driver, unsigned count, const struct driver_desc *descs)
{
	memcpy(driver_desc(driver, 0, 0), descs, count * sizeof(*descs));
	driver_add_head(driver, 0, 0);
}

static void hostile_chains_need_a_reset(void **state)
{
	const struct driver_desc chains[][2] = {
		{{0x1000, 16, 3, 0}},                        /* links to itself */
		{{0x1000, 16, 3, 1}, {0x1000, 16, 3, 0}},    /* a loop of two */
		{{0x1000, 16, 3, 64}},                       /* next out of range */
		{{0x1000, 16, 3, 0xffff}},
		{{DRIVER_RAM, 1, 2, 0}},                     /* just past RAM */
		{{DRIVER_RAM - 1, 2, 2, 0}},                 /* hangs over the end */
		{{UINT64_MAX - 7, 16, 2, 0}},                /* wraps */
		{{0xf0000000, 16, 2, 0}},                    /* writes to ROM */
		{{0x1000, UINT32_MAX, 2, 0}},                /* too long */
		{{0x1000, 16, 3, 1}, {0x1000, 16, 0, 0}},    /* readable after writable */
		{{0x1000, 15, 4, 0}},                        /* indirect: not a whole table */
		{{0x1000, 0, 4, 0}},                         /* an empty one */
		{{0x1000, 16 * 257, 4, 0}},                  /* too many entries */
		{{0x1000, 16, 5, 1}, {0x1000, 16, 2, 0}},    /* INDIRECT with NEXT */
		{{DRIVER_RAM - 8, 16, 4, 0}},                /* table not in RAM */
	};
	struct driver driver;

	start(&driver, INDIRECT);
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		chain_of(&driver, 2, chains[i]);
		expect_broken(&driver);
	}
	driver_add_head(&driver, 0, 64); /* head out of range */
	expect_broken(&driver);
	((uint16_t *)driver_ptr(&driver, driver.queues[0].avail))[1] += 65; /* the index ran away */
	expect_broken(&driver);
	driver_stop(&driver);
}

static void hostile_indirect_tables_need_a_reset(void **state)
{
	struct driver driver;
	struct driver_desc *table;
	gpa_t at;

	start(&driver, INDIRECT);
	for (unsigned i = 0; i < 3; i++) {
		at = driver_alloc(&driver, 32);
		table = driver_ptr(&driver, at);
		table[0] = (struct driver_desc){0x1000, 16, 3, (uint16_t)(i == 0 ? 0 : i == 1 ? 2 : 1)};
		table[1] = (struct driver_desc){0x1000, 16, 4, 0}; /* nested */
		chain_of(&driver, 1, &(struct driver_desc){at, 32, 4, 0});
		expect_broken(&driver);
	}
	/* The table is the ring itself, and its first entry is the one that leads there. */
	chain_of(&driver, 1, &(struct driver_desc){driver.queues[0].desc, 32, 4, 0});
	expect_broken(&driver);
	driver_stop(&driver);

	/* Not negotiated: the flag is an error. */
	start(&driver, 0);
	at = driver_alloc(&driver, 16);
	*(struct driver_desc *)driver_ptr(&driver, at) = (struct driver_desc){0x1000, 16, 2, 0};
	chain_of(&driver, 1, &(struct driver_desc){at, 16, 4, 0});
	expect_broken(&driver);
	driver_stop(&driver);
}

static void bad_rings_are_refused(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t value;
	} wrongs[] = {
		{0x038, 0}, {0x038, 3}, {0x038, 128}, {0x038, 0x10040}, {0x080, 0x1008}, {0x090, 0x1001},
		{0x0a0, 0x1002}, {0x080, DRIVER_RAM - 16}, {0x090, DRIVER_RAM - 4}, {0x0a0, 0xf0000000},
		{0x084, 1}, {0x094, 0x80000000}, {0x0a4, 7},
	};
	struct driver driver;

	start(&driver, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		driver_init_device(&driver, 0, 0);
		driver_set_reg(&driver, 0x030, 0);
		driver_set_reg(&driver, 0x044, 0);
		driver_set_reg(&driver, 0x038, 64);
		driver_set_reg(&driver, 0x080, 0x1000);
		driver_set_reg(&driver, 0x090, 0x2000);
		driver_set_reg(&driver, 0x0a0, 0x3000);
		driver_set_reg(&driver, wrongs[i].reg, wrongs[i].value);
		driver_set_reg(&driver, 0x044, 1);
		assert_int_equal(driver_reg(&driver, 0x044), 0);
		assert_true(is_broken(&driver));
		assert_int_equal(driver_take_interrupt(&driver) & 2, 2);
	}
	driver_init_device(&driver, 0, 0);
	fills_a_chain(&driver);
	driver_stop(&driver);
}

static void addresses_are_fixed_while_ready(void **state)
{
	struct driver driver;

	start(&driver, 0);
	driver_set_reg(&driver, 0x030, 0);
	driver_set_reg(&driver, 0x0a0, 0x1000);
	driver_set_reg(&driver, 0x038, 2);
	fills_a_chain(&driver);
	driver_stop(&driver);
}

static void reset_forgets_everything(void **state)
{
	struct driver driver;
	gpa_t data;

	start(&driver, 0);
	data = driver_alloc(&driver, 8);
	driver_add(&driver, 0, 1, &(struct driver_buf){data, 8, true});
	driver_set_reg(&driver, 0x050, 0); /* kicked, not yet served */
	driver_set_reg(&driver, 0x070, 0);
	fake_run_work();
	assert_false(driver_used(&driver, 0, NULL, NULL));
	assert_int_equal(*(uint64_t *)driver_ptr(&driver, data), 0);
	assert_int_equal(driver_reg(&driver, 0x060), 0);
	devices_reset(&driver.vm);
	driver_init_device(&driver, EVENT_IDX, 0);
	fills_a_chain(&driver);
	driver_stop(&driver);
}

static void kicks_before_driver_ok_are_not_lost(void **state)
{
	struct driver driver;
	gpa_t data;

	start(&driver, 0);
	data = driver_alloc(&driver, 8);
	driver_init_device(&driver, 0, 0);
	driver_set_reg(&driver, 0x070, 0);
	driver_set_reg(&driver, 0x024, 1);
	driver_set_reg(&driver, 0x020, 1);
	driver_set_reg(&driver, 0x070, 11);
	driver_set_reg(&driver, 0x030, 0);
	driver_set_reg(&driver, 0x038, 64);
	driver_set_reg(&driver, 0x080, (uint32_t)driver.queues[0].desc);
	driver_set_reg(&driver, 0x090, (uint32_t)driver.queues[0].avail);
	driver_set_reg(&driver, 0x0a0, (uint32_t)driver.queues[0].used);
	driver_set_reg(&driver, 0x044, 1);
	driver_add(&driver, 0, 1, &(struct driver_buf){data, 8, true});
	driver_kick(&driver, 0);
	assert_false(driver_used(&driver, 0, NULL, NULL));
	driver_set_reg(&driver, 0x070, 15);
	fake_run_work();
	assert_true(driver_used(&driver, 0, NULL, NULL));
	driver_stop(&driver);
}

static int take_doorbell(struct vm *vm, struct doorbell *doorbell)
{
	*(struct doorbell **)vm->engine_vm = doorbell;
	return 0;
}

static void engines_get_doorbells(void **state)
{
	static const struct engine_ops engine = {.name = "fake", .doorbell_attach = take_doorbell};
	struct driver driver;
	struct virtio_device *vdev;
	struct doorbell *doorbell = NULL;

	driver_machine(&driver);
	driver.vm.engine = &engine;
	driver.vm.engine_vm = &doorbell;
	assert_int_equal(virtio_rng_create(&driver.vm, &vdev), 0);
	driver_start(&driver, vdev, 0, 0);
	assert_non_null(doorbell);
	assert_int_equal(doorbell->gpa, DRIVER_BASE + 0x50);
	assert_true(doorbell->match && doorbell->value == 0 && doorbell->size == 4);
	driver_add(&driver, 0, 1, &(struct driver_buf){driver_alloc(&driver, 8), 8, true});
	doorbell->ring(doorbell->ctx);
	assert_true(driver_used(&driver, 0, NULL, NULL));
	driver_stop(&driver);
}

static void failed_creation_leaves_nothing(void **state)
{
	struct driver driver;
	struct virtio_device *vdev;

	driver_machine(&driver);
	for (unsigned limit = 0; limit < 2; limit++) {
		unsigned live = fake_alloc_live();

		fake_alloc_limit(limit);
		assert_int_equal(virtio_rng_create(&driver.vm, &vdev), -ENOMEM);
		assert_int_equal(fake_alloc_live(), live);
	}
	fake_alloc_limit(UINT32_MAX);
	assert_int_equal(virtio_rng_create(&driver.vm, &vdev), 0);
	driver_plug(&driver, vdev, 0);
	assert_int_equal(virtio_rng_create(&driver.vm, &vdev), 0);
	assert_int_equal(virtio_mmio_create(&driver.vm, vdev, DRIVER_BASE, (struct irq_line){0}, 0, "again"),
			 -EEXIST);
	virtio_destroy(vdev);
	driver_stop(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_identify_the_device),
		cmocka_unit_test(features_ok_needs_version_1),
		cmocka_unit_test(direct_and_indirect_chains),
		cmocka_unit_test(normal_descriptors_may_precede_an_indirect_one),
		cmocka_unit_test(requests_are_bounded),
		cmocka_unit_test(event_index_suppresses_interrupts_and_kicks),
		cmocka_unit_test(flags_suppress_interrupts),
		cmocka_unit_test(edges_come_once_for_each_new_bit_and_levels_stay),
		cmocka_unit_test(writes_are_marked),
		cmocka_unit_test(hostile_chains_need_a_reset),
		cmocka_unit_test(hostile_indirect_tables_need_a_reset),
		cmocka_unit_test(bad_rings_are_refused),
		cmocka_unit_test(addresses_are_fixed_while_ready),
		cmocka_unit_test(reset_forgets_everything),
		cmocka_unit_test(kicks_before_driver_ok_are_not_lost),
		cmocka_unit_test(engines_get_doorbells),
		cmocka_unit_test(failed_creation_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
