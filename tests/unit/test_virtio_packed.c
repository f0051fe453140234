/* Packed virtqueues: what only they have, and in lock-step with split ones: the same chains and answers, in whatever order,
 * must look the same to the device and to the driver.
 *
 * The device does nothing by itself: the tests pop and push.
 */
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

#define AVAIL (1u << 7)
#define USED  (1u << 15)

struct side {
	struct driver driver;
	struct virtio_device dev;
	struct virtq *queue;
};

static void dev_notify(struct virtio_device *dev, struct virtq *queue)
{
}

static void dev_destroy(struct virtio_device *dev)
{
	virtio_device_fini(dev);
}

static const struct virtio_device_ops dev_ops = {
	.name = "test", .id = VIRTIO_ID_RNG, .notify = dev_notify, .destroy = dev_destroy};

static void start(struct side *side, bool packed, uint64_t features, uint16_t size)
{
	memset(&side->dev, 0, sizeof(side->dev));
	driver_machine(&side->driver);
	side->driver.packed = packed;
	assert_int_equal(
		virtio_device_init(&side->dev, &side->driver.vm, &dev_ops, 0, 0, 1, (const uint16_t[]){VIRTQ_MAX_SIZE}), 0);
	side->queue = &side->dev.queues[0];
	driver_plug(&side->driver, &side->dev, 0);
	driver_init_device(&side->driver, features, size);
	assert_true(side->queue->ready);
	assert_int_equal((side->driver.features & VIRTIO_F_RING_PACKED) != 0, packed);
	driver_take_interrupt(&side->driver);
}

static bool is_broken(struct side *side)
{
	return (driver_reg(&side->driver, 0x070) & NEEDS_RESET) != 0;
}

/* ---- lock-step ---- */

#define MAX_OUT 64u

struct step {
	struct virtq_chain chains[MAX_OUT]; /* popped, in this order */
};

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void both_interrupted_alike(struct side *sides)
{
	assert_int_equal(driver_take_interrupt(&sides[0].driver), driver_take_interrupt(&sides[1].driver));
}

static void add_to_both(struct side *sides, uint32_t *seed, unsigned *waiting)
{
	struct driver_buf bufs[4];
	unsigned count = 1 + next_random(seed) % 4, writable = next_random(seed) % (count + 1);

	for (unsigned i = 0; i < count; i++)
		bufs[i] = (struct driver_buf){0x100000 + next_random(seed) % 4096 * 16, 1 + next_random(seed) % 3000,
					      i >= count - writable};
	sides[0].driver.indirect = sides[1].driver.indirect =
		(sides[0].driver.features & INDIRECT) && next_random(seed) % 2;
	for (unsigned i = 0; i < 2; i++) {
		/* Tables are never needed again once popped: begin anew before RAM ends. */
		if (sides[i].driver.brk > 0xf0000)
			sides[i].driver.brk = 0x80000;
		(void)driver_add(&sides[i].driver, 0, count, bufs);
	}
	++*waiting;
}

static void same_chain(const struct virtq_chain *a, const struct virtq_chain *b)
{
	assert_int_equal(a->out_count, b->out_count);
	assert_int_equal(a->in_count, b->in_count);
	assert_int_equal(a->out_len, b->out_len);
	assert_int_equal(a->in_len, b->in_len);
	assert_memory_equal(a->gpas, b->gpas, (a->out_count + a->in_count) * sizeof(a->gpas[0]));
}

/* Pops the same number from both, and may unpop some of them. Returns how many are out in the end. */
static unsigned pop_from_both(struct side *sides, struct step *steps, unsigned out, unsigned *waiting, uint32_t *seed)
{
	unsigned wanted = next_random(seed) % 5, got = 0, back;

	for (; got < wanted && out < MAX_OUT; got++, out++) {
		int r = virtq_pop(sides[0].queue, &steps[0].chains[out]);

		assert_int_equal(virtq_pop(sides[1].queue, &steps[1].chains[out]), r);
		assert_int_equal(r, *waiting > 0);
		if (r == 0)
			break;
		same_chain(&steps[0].chains[out], &steps[1].chains[out]);
		--*waiting;
	}
	back = next_random(seed) % 3 ? 0 : got;
	/* As a network device does that finds too little room: what it has filled in is not to be seen. */
	for (unsigned i = 0; i < 2 && back > 0; i++) {
		for (unsigned j = 1; j < back; j++)
			virtq_fill(sides[i].queue, &steps[i].chains[out - back + j], j, 7);
		virtq_unpop(sides[i].queue, back);
	}
	*waiting += back;
	if (back == *waiting && back > 0)
		for (unsigned i = 0; i < 2; i++)
			assert_false(virtq_enable_notify_beyond(sides[i].queue, back));
	return out - back;
}

static unsigned push_to_both(struct side *sides, struct step *steps, unsigned out, uint32_t *seed)
{
	unsigned count = 1 + next_random(seed) % 3, which[3];

	if (count > out)
		return out;
	for (unsigned i = 0; i < count; i++)
		which[i] = next_random(seed) % (out - i);
	for (unsigned i = 0; i < 2; i++) {
		unsigned left = out;

		for (unsigned j = 0; j < count; j++) {
			struct virtq_chain *chain = &steps[i].chains[which[j]];

			virtq_fill(sides[i].queue, chain, j, (uint32_t)chain->in_len);
			*chain = steps[i].chains[--left];
		}
		virtq_publish(sides[i].queue, count);
	}
	return out - count;
}

static void take_used_of_both(struct side *sides)
{
	uint32_t lens[2];

	for (;;) {
		bool got = driver_used(&sides[0].driver, 0, NULL, &lens[0]);

		assert_int_equal(driver_used(&sides[1].driver, 0, NULL, &lens[1]), got);
		if (!got)
			return;
		assert_int_equal(lens[0], lens[1]);
	}
}

static void same_kicks(struct side *sides)
{
	bool more = virtq_enable_notify(sides[0].queue);

	assert_int_equal(virtq_enable_notify(sides[1].queue), more);
	if (!more)
		assert_int_equal(driver_must_kick(&sides[0].driver, 0, 1), driver_must_kick(&sides[1].driver, 0, 1));
}

static void walk_in_lock_step(uint64_t features, uint16_t size, uint32_t seed)
{
	struct side *sides = calloc(2, sizeof(*sides));
	struct step *steps = calloc(2, sizeof(*steps));
	unsigned waiting = 0, out = 0, total = 0;

	for (unsigned i = 0; i < 2; i++) {
		start(&sides[i], i == 1, features, size);
		driver_set_used_event(&sides[i].driver, 0, i == 1 ? 0x8000 : 0);
	}
	for (unsigned round = 0; round < 4000; round++) {
		switch (next_random(&seed) % 6) {
		case 0:
		case 1:
			/* Four descriptors a chain at most must find room, those not yet seen as used included. */
			if (4 * (waiting + out + driver_used_count(&sides[0].driver, 0) + 1) <= size) {
				add_to_both(sides, &seed, &waiting);
				total++;
			}
			break;
		case 2:
			out = pop_from_both(sides, steps, out, &waiting, &seed);
			break;
		case 3:
			out = push_to_both(sides, steps, out, &seed);
			break;
		case 4:
			for (unsigned i = 0; i < 2; i++)
				virtq_signal(sides[i].queue);
			both_interrupted_alike(sides);
			if (next_random(&seed) % 2)
				take_used_of_both(sides);
			break;
		case 5:
			virtq_disable_notify(sides[0].queue);
			virtq_disable_notify(sides[1].queue);
			same_kicks(sides);
			break;
		}
		assert_int_equal(driver_used_count(&sides[0].driver, 0), driver_used_count(&sides[1].driver, 0));
	}
	assert_true(total > 300);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(is_broken(&sides[i]));
		for (unsigned j = 0; j < out; j++)
			virtq_push(sides[i].queue, &steps[i].chains[j], 0);
		driver_stop(&sides[i].driver);
	}
	free(sides);
	free(steps);
}

static void in_lock_step_with_split_rings(void **state)
{
	for (uint32_t seed = 1; seed <= 4; seed++) {
		walk_in_lock_step(0, 16, seed);
		walk_in_lock_step(EVENT_IDX, 16, seed);
		walk_in_lock_step(EVENT_IDX | INDIRECT, 32, seed);
		walk_in_lock_step(INDIRECT, 256, seed);
	}
}

/* ---- by themselves ---- */

static void add_writable(struct side *side, unsigned count)
{
	struct driver_buf bufs[8];

	for (unsigned i = 0; i < count; i++)
		bufs[i] = (struct driver_buf){0x100000 + 64 * i, 64, true};
	(void)driver_add(&side->driver, 0, count, bufs);
}

static void sizes_need_not_be_powers_of_two(void **state)
{
	static const uint16_t sizes[] = {1, 3, 5, 7, 100, 255, 256};
	struct virtq_chain *chain = malloc(sizeof(*chain));
	struct side side;
	uint32_t len;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		start(&side, true, 0, sizes[i]);
		for (unsigned round = 0; round < 1000; round++) {
			unsigned count = 1 + round % (sizes[i] < 8 ? sizes[i] : 8u);

			add_writable(&side, count);
			assert_int_equal(virtq_pop(side.queue, chain), 1);
			assert_int_equal(chain->in_len, 64 * count);
			assert_int_equal(virtq_pop(side.queue, chain + 0), 0);
			virtq_push(side.queue, chain, round + 1);
			assert_true(driver_used(&side.driver, 0, NULL, &len));
			assert_int_equal(len, round + 1);
		}
		driver_stop(&side.driver);
	}
	free(chain);
}

/* What isn't published is not to be seen, and overwrites nothing: the descriptors are the driver's until then. */
static void filling_writes_nothing(void **state)
{
	struct virtq_chain chain, other;
	struct side side;
	uint8_t before[8 * 16];

	start(&side, true, 0, 8);
	add_writable(&side, 2);
	add_writable(&side, 2);
	memcpy(before, driver_packed_desc(&side.driver, 0, 0), sizeof(before));
	assert_int_equal(virtq_pop(side.queue, &chain), 1);
	assert_int_equal(virtq_pop(side.queue, &other), 1);
	virtq_fill(side.queue, &other, 1, 5);
	virtq_fill(side.queue, &chain, 0, 5);
	assert_memory_equal(driver_packed_desc(&side.driver, 0, 0), before, sizeof(before));
	virtq_publish(side.queue, 2);
	assert_int_equal(driver_packed_desc(&side.driver, 0, 0)->flags, AVAIL | USED | 2);
	assert_int_equal(driver_packed_desc(&side.driver, 0, 2)->flags, AVAIL | USED | 2);
	assert_int_equal(driver_used_count(&side.driver, 0), 2);
	driver_stop(&side.driver);
}

static bool push_one(struct side *side)
{
	struct virtq_chain *chain = malloc(sizeof(*chain));

	add_writable(side, 1);
	assert_int_equal(virtq_pop(side->queue, chain), 1);
	virtq_push(side->queue, chain, 1);
	free(chain);
	virtq_signal(side->queue);
	return driver_take_interrupt(&side->driver) != 0;
}

static void events_name_a_descriptor(void **state)
{
	struct side side;

	start(&side, true, EVENT_IDX, 4);
	for (unsigned lap = 0; lap < 4; lap++) {
		/* Interrupt me when the last one of this round is used. */
		driver_set_used_event(&side.driver, 0, (uint16_t)(3 | (lap % 2 == 0 ? 0x8000 : 0)));
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(push_one(&side), i == 3);
			side.driver.queues[0].slots[0] = 0;
			side.driver.queues[0].used_seen = (uint16_t)((i + 1) % 4);
		}
	}
	/* One of the round after this one is far away; one of the round before is long passed. */
	driver_set_used_event(&side.driver, 0, 2 | 0);
	assert_false(push_one(&side));
	side.driver.queues[0].slots[0] = 0;
	/* No such descriptor: never. */
	driver_set_used_event(&side.driver, 0, 0x8000 | 1000);
	assert_false(push_one(&side));
	side.driver.queues[0].slots[0] = 0;
	driver_want_interrupts(&side.driver, 0, true);
	assert_true(push_one(&side));
	side.driver.queues[0].slots[0] = 0;
	driver_want_interrupts(&side.driver, 0, false);
	assert_false(push_one(&side));
	driver_stop(&side.driver);
}

/* More used at once than the ring has descriptors since the last signal: whatever the driver waits for has passed. */
static void a_long_silence_ends_with_an_interrupt(void **state)
{
	struct virtq_chain chain;
	struct side side;

	start(&side, true, EVENT_IDX, 4);
	for (unsigned i = 0; i < 9; i++) {
		add_writable(&side, 1);
		assert_int_equal(virtq_pop(side.queue, &chain), 1);
		virtq_push(side.queue, &chain, 1);
		assert_true(driver_used(&side.driver, 0, NULL, NULL));
	}
	virtq_signal(side.queue);
	assert_int_equal(driver_take_interrupt(&side.driver), 1);
	virtq_signal(side.queue);
	assert_int_equal(driver_take_interrupt(&side.driver), 0);
	driver_stop(&side.driver);
}

/* ---- hostile rings ---- */

static void put(struct side *side, unsigned at, gpa_t addr, uint32_t len, unsigned flags)
{
	*driver_packed_desc(&side->driver, 0, at) =
		(struct driver_packed_desc){.addr = addr, .len = len, .id = (uint16_t)at, .flags = (uint16_t)flags};
}

static void expect_broken(struct side *side)
{
	struct virtq_chain *chain = malloc(sizeof(*chain));

	assert_int_equal(virtq_pop(side->queue, chain), -EIO);
	assert_true(is_broken(side));
	assert_int_equal(driver_take_interrupt(&side->driver) & 2, 2);
	assert_int_equal(virtq_pop(side->queue, chain), 0);
	/* The way out. */
	driver_init_device(&side->driver, side->driver.features, side->driver.queues[0].size);
	add_writable(side, 1);
	assert_int_equal(virtq_pop(side->queue, chain), 1);
	virtq_push(side->queue, chain, 1);
	assert_true(driver_used(&side->driver, 0, NULL, NULL));
	driver_init_device(&side->driver, side->driver.features, side->driver.queues[0].size);
	free(chain);
}

static void hostile_chains_need_a_reset(void **state)
{
	static const struct {
		gpa_t addr;
		uint32_t len;
		unsigned flags;
	} wrongs[] = {
		{DRIVER_RAM, 1, 2},                 /* just past RAM */
		{DRIVER_RAM - 1, 2, 2},             /* hangs over the end */
		{UINT64_MAX - 7, 16, 2},            /* wraps */
		{0xf0000000, 16, 2},                /* writes to ROM */
		{0x1000, UINT32_MAX, 2},            /* too long */
		{0x1000, 15, 4},                    /* indirect: not a whole table */
		{0x1000, 0, 4},                     /* an empty one */
		{0x1000, 16 * 257, 4},              /* too many entries */
		{0x1000, 16, 5},                    /* INDIRECT with NEXT */
		{DRIVER_RAM - 8, 16, 4},            /* table not in RAM */
	};
	struct driver_packed_desc *table;
	struct side side;

	start(&side, true, INDIRECT, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		put(&side, 0, wrongs[i].addr, wrongs[i].len, wrongs[i].flags | AVAIL);
		expect_broken(&side);
	}
	/* A readable buffer behind a writable one; a table in the middle of a chain. */
	put(&side, 1, 0x1000, 16, AVAIL);
	put(&side, 0, 0x1000, 16, 3 | AVAIL);
	expect_broken(&side);
	put(&side, 1, 0x1000, 16, 4 | AVAIL);
	put(&side, 0, 0x1000, 16, 1 | AVAIL);
	expect_broken(&side);
	/* A chain without an end. */
	for (unsigned i = 0; i < 8; i++)
		put(&side, i, 0x1000, 16, 1 | AVAIL);
	expect_broken(&side);
	/* In a table flags other than WRITE mean nothing: this one is fine, and read as far as it goes. */
	table = driver_ptr(&side.driver, 0x200000);
	table[0] = (struct driver_packed_desc){.addr = 0x1000, .len = 16, .flags = 4 | 1};
	table[1] = (struct driver_packed_desc){.addr = 0x1000, .len = 16, .flags = 2};
	put(&side, 0, 0x200000, 32, 4 | AVAIL);
	{
		struct virtq_chain chain;

		assert_int_equal(virtq_pop(side.queue, &chain), 1);
		assert_int_equal(chain.out_len, 16);
		assert_int_equal(chain.in_len, 16);
		virtq_push(side.queue, &chain, 0);
	}
	driver_stop(&side.driver);

	/* Not negotiated: the flag is an error. */
	start(&side, true, 0, 8);
	put(&side, 0, 0x1000, 16, 4 | AVAIL);
	expect_broken(&side);
	driver_stop(&side.driver);
}

static void what_is_out_is_not_available_again(void **state)
{
	struct virtq_chain chains[4];
	struct side side;

	start(&side, true, 0, 4);
	for (unsigned i = 0; i < 4; i++) {
		add_writable(&side, 1);
		assert_int_equal(virtq_pop(side.queue, &chains[i]), 1);
	}
	/* As if the driver had made the first one available again in the next round. */
	put(&side, 0, 0x1000, 16, 2 | USED);
	assert_int_equal(virtq_pop(side.queue, &chains[3]), -EIO);
	assert_true(is_broken(&side));
	for (unsigned i = 0; i < 4; i++)
		virtq_push(side.queue, &chains[i], 0);
	assert_int_equal(atomic_load(&side.queue->out), 0);
	driver_stop(&side.driver);

	/* A chain may not reach into what is out either. */
	start(&side, true, 0, 4);
	add_writable(&side, 3);
	assert_int_equal(virtq_pop(side.queue, &chains[0]), 1);
	put(&side, 3, 0x1000, 16, 3 | AVAIL);
	assert_int_equal(virtq_pop(side.queue, &chains[1]), -EIO);
	virtq_push(side.queue, &chains[0], 0);
	driver_stop(&side.driver);
}

static void bad_rings_are_refused(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t value;
	} wrongs[] = {
		{0x038, 0}, {0x038, 257}, {0x038, 0x10040}, {0x080, 0x1008}, {0x090, 0x1002}, {0x0a0, 0x1002},
		{0x080, DRIVER_RAM - 16}, {0x080, 0xf0000000}, {0x090, DRIVER_RAM}, {0x0a0, 0xf0000000}, {0x084, 1},
		{0x094, 0x80000000}, {0x0a4, 7},
	};
	struct side side;

	start(&side, true, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		driver_init_device(&side.driver, 0, 0);
		driver_set_reg(&side.driver, 0x030, 0);
		driver_set_reg(&side.driver, 0x044, 0);
		driver_set_reg(&side.driver, 0x038, 64);
		driver_set_reg(&side.driver, 0x080, 0x1000);
		driver_set_reg(&side.driver, 0x090, 0x2000);
		driver_set_reg(&side.driver, 0x0a0, 0x3000);
		driver_set_reg(&side.driver, wrongs[i].reg, wrongs[i].value);
		driver_set_reg(&side.driver, 0x044, 1);
		assert_int_equal(driver_reg(&side.driver, 0x044), 0);
		assert_true(is_broken(&side));
	}
	driver_stop(&side.driver);
}

static void a_ring_reset_begins_anew(void **state)
{
	struct virtq_chain chain;
	struct side side;

	start(&side, true, VIRTIO_F_RING_RESET, 4);
	for (unsigned i = 0; i < 6; i++) {
		add_writable(&side, 1);
		assert_int_equal(virtq_pop(side.queue, &chain), 1);
		virtq_push(side.queue, &chain, 1);
		assert_true(driver_used(&side.driver, 0, NULL, NULL));
	}
	driver_set_reg(&side.driver, 0x030, 0);
	driver_set_reg(&side.driver, 0x0c0, 1);
	assert_int_equal(driver_reg(&side.driver, 0x044), 0);
	assert_int_equal(virtq_pop(side.queue, &chain), 0);
	driver_init_device(&side.driver, VIRTIO_F_RING_RESET, 4);
	add_writable(&side, 1);
	assert_int_equal(virtq_pop(side.queue, &chain), 1);
	virtq_push(side.queue, &chain, 1);
	assert_true(driver_used(&side.driver, 0, NULL, NULL));
	driver_stop(&side.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_lock_step_with_split_rings),
		cmocka_unit_test(sizes_need_not_be_powers_of_two),
		cmocka_unit_test(filling_writes_nothing),
		cmocka_unit_test(events_name_a_descriptor),
		cmocka_unit_test(a_long_silence_ends_with_an_interrupt),
		cmocka_unit_test(hostile_chains_need_a_reset),
		cmocka_unit_test(what_is_out_is_not_available_again),
		cmocka_unit_test(bad_rings_are_refused),
		cmocka_unit_test(a_ring_reset_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
