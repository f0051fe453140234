/* The balloon: pages that come and go, free pages that are reported, statistics, drivers that break the rules. */
#include "dev/virtio/balloon.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_STATS          (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_POISON         (1ull << 4)
#define F_REPORTING      (1ull << 5)
#define F_ALL            (F_STATS | F_DEFLATE_ON_OOM | F_POISON | F_REPORTING)

#define CONFIG 0x100
#define FILL   0x5a

struct fixture {
	struct driver driver;
	struct virtio_device *vdev;
	gpa_t list;
};

static void start(struct fixture *f, uint64_t features)
{
	driver_machine(&f->driver);
	assert_int_equal(virtio_balloon_create(&f->driver.vm, MIB(1), &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, features);
	f->list = driver_alloc(&f->driver, 65536);
	memset(driver_ptr(&f->driver, MIB(2)), FILL, MIB(2));
}

static void stop(struct fixture *f)
{
	driver_stop(&f->driver);
	assert_int_equal(fake_alloc_live(), 0);
}

static void send_pages(struct fixture *f, unsigned queue, const uint32_t *pfns, unsigned count)
{
	uint32_t head, len;

	memcpy(driver_ptr(&f->driver, f->list), pfns, count * sizeof(*pfns));
	driver_add(&f->driver, queue, 1, &(struct driver_buf){f->list, (uint32_t)(count * sizeof(*pfns)), false});
	driver_kick(&f->driver, queue);
	assert_true(driver_used(&f->driver, queue, &head, &len));
	assert_int_equal(len, 0);
}

static uint8_t byte_at(struct fixture *f, gpa_t gpa)
{
	return *(uint8_t *)driver_ptr(&f->driver, gpa);
}

static void test_inflate(void **state)
{
	struct fixture f;

	start(&f, F_ALL);
	assert_int_equal(driver_reg(&f.driver, CONFIG), MIB(1) / PAGE_SIZE);
	/* Up, down, alone; ROM, nowhere and beyond everything are not taken, and cost nothing else. */
	send_pages(&f, 0, (const uint32_t[]){0x200, 0x201, 0x210, 0x20f, 0x20e, 0x220, 0xf0000, 0x400, UINT32_MAX, 0x230}, 10);
	assert_int_equal(fake_discarded(), 7 * PAGE_SIZE);
	for (unsigned page = 0x200; page < 0x240; page++) {
		bool given = page <= 0x201 || (page >= 0x20e && page <= 0x210) || page == 0x220 || page == 0x230;

		assert_int_equal(byte_at(&f, (gpa_t)page << 12), given ? 0 : FILL);
		assert_int_equal(byte_at(&f, ((gpa_t)page << 12) + 4095), given ? 0 : FILL);
	}
	assert_int_equal(fake_log_lines(), 3);
	/* What comes back costs nothing. */
	send_pages(&f, 1, (const uint32_t[]){0x200, 0x300}, 2);
	assert_int_equal(fake_discarded(), 7 * PAGE_SIZE);
	assert_int_equal(byte_at(&f, 0x300000), FILL);
	/* Requests that are empty or end inside of a number. */
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.list, 6, false});
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.list, 8, true});
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, NULL) && driver_used(&f.driver, 0, NULL, NULL));
	assert_int_equal(fake_discarded(), 8 * PAGE_SIZE);
	stop(&f);
}

static void test_long_lists(void **state)
{
	static uint32_t pfns[16384];
	struct fixture f;

	start(&f, F_ALL);
	/* Only so many of a request are taken; and many requests are taken in turns. */
	for (unsigned i = 0; i < ARRAY_SIZE(pfns); i++)
		pfns[i] = 0x200 + i % 2 * 2;
	send_pages(&f, 0, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(fake_discarded(), 4096 * PAGE_SIZE);
	for (unsigned i = 0; i < 60; i++)
		driver_add(&f.driver, 0, 1, &(struct driver_buf){f.list, 4, false});
	driver_kick(&f.driver, 0);
	for (unsigned i = 0; i < 60; i++)
		assert_true(driver_used(&f.driver, 0, NULL, NULL));
	stop(&f);
}

static void test_size(void **state)
{
	struct virtio_balloon_state look;
	struct fixture f;

	start(&f, F_ALL);
	driver_take_interrupt(&f.driver);
	virtio_balloon_resize(f.vdev, MIB(3) + 5);
	assert_int_equal(driver_take_interrupt(&f.driver), VIRTIO_INTERRUPT_CONFIG);
	assert_int_equal(driver_reg(&f.driver, CONFIG), MIB(3) / PAGE_SIZE);
	driver_set_reg(&f.driver, CONFIG + 4, 0x80);
	driver_set_reg(&f.driver, CONFIG, 7);     /* not the driver's */
	driver_set_reg(&f.driver, CONFIG + 16, 7); /* nobody's */
	assert_int_equal(driver_reg(&f.driver, CONFIG), MIB(3) / PAGE_SIZE);
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.target, MIB(3));
	assert_int_equal(look.size, 0x80 * PAGE_SIZE);
	virtio_balloon_resize(f.vdev, UINT64_MAX);
	assert_int_equal(driver_reg(&f.driver, CONFIG), UINT32_MAX);
	/* A reset empties it; what is wanted stays. */
	driver_set_reg(&f.driver, 0x070, 0);
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.size, 0);
	assert_int_equal(driver_reg(&f.driver, CONFIG), UINT32_MAX);
	stop(&f);
}

static void report(struct fixture *f, unsigned queue)
{
	const struct driver_buf bufs[] = {{MIB(2) + 100, 3 * PAGE_SIZE, true}, {MIB(3), PAGE_SIZE, true}, {MIB(3) + 3 * PAGE_SIZE, 100, true}};

	driver_add(&f->driver, queue, 3, bufs);
	driver_kick(&f->driver, queue);
	assert_true(driver_used(&f->driver, queue, NULL, NULL));
}

static void test_reporting(void **state)
{
	struct virtio_balloon_state look;
	struct fixture f;

	start(&f, F_ALL);
	report(&f, 3);
	/* Whole pages only. */
	assert_int_equal(byte_at(&f, MIB(2) + 4095), FILL);
	assert_int_equal(byte_at(&f, MIB(2) + 4096), 0);
	assert_int_equal(byte_at(&f, MIB(2) + 3 * PAGE_SIZE - 1), 0);
	assert_int_equal(byte_at(&f, MIB(2) + 3 * PAGE_SIZE), FILL);
	assert_int_equal(byte_at(&f, MIB(3)), 0);
	assert_int_equal(byte_at(&f, MIB(3) + 3 * PAGE_SIZE), FILL);
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.reported, 3 * PAGE_SIZE);
	/* The number that the specification gives the queue. */
	report(&f, 4);
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.reported, 6 * PAGE_SIZE);
	/* A guest that wants its poison there gets to keep it. */
	driver_set_reg(&f.driver, CONFIG + 12, 0xaaaaaaaa);
	report(&f, 3);
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.reported, 6 * PAGE_SIZE);
	stop(&f);
	/* Without statistics the queue is the third. */
	start(&f, F_REPORTING);
	report(&f, 2);
	assert_int_equal(byte_at(&f, MIB(3)), 0);
	stop(&f);
}

/* All of RAM at most, however often it is named. */
static void test_reporting_too_much(void **state)
{
	struct driver_buf bufs[8];
	struct fixture f;

	start(&f, F_ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct driver_buf){MIB(2), MIB(1), true};
	driver_add(&f.driver, 3, ARRAY_SIZE(bufs), bufs);
	driver_kick(&f.driver, 3);
	assert_int_equal(fake_discarded(), MIB(4));
	stop(&f);
}

struct stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static void send_stats(struct fixture *f, const struct stat *stats, unsigned count)
{
	gpa_t at = driver_alloc(&f->driver, 256);

	memcpy(driver_ptr(&f->driver, at), stats, count * sizeof(*stats));
	driver_add(&f->driver, 2, 1, &(struct driver_buf){at, (uint32_t)(count * sizeof(*stats)), false});
	driver_kick(&f->driver, 2);
}

static void test_stats(void **state)
{
	struct virtio_balloon_state look;
	struct fixture f;

	start(&f, F_ALL);
	send_stats(&f, (const struct stat[]){{4, 1000}, {5, 2000}, {0, UINT64_MAX}, {99, 7}, {4, 1001}}, 5);
	assert_false(driver_used(&f.driver, 2, NULL, NULL));
	/* Who looks asks for more. */
	virtio_balloon_look(f.vdev, &look);
	assert_true(driver_used(&f.driver, 2, NULL, NULL));
	assert_true(look.known[BALLOON_S_MEMFREE] && look.known[BALLOON_S_MEMTOT] && !look.known[BALLOON_S_SWAP_IN]);
	assert_int_equal(look.stats[BALLOON_S_MEMFREE], 1001);
	assert_string_equal(virtio_balloon_stat_name(BALLOON_S_MEMFREE), "guest memory free");
	virtio_balloon_look(f.vdev, &look);
	assert_false(driver_used(&f.driver, 2, NULL, NULL));
	send_stats(&f, (const struct stat[]){{6, 3000}}, 1);
	/* And so does time. */
	fake_advance(6000000000ull);
	assert_true(driver_used(&f.driver, 2, NULL, NULL));
	virtio_balloon_look(f.vdev, &look);
	assert_true(!look.known[BALLOON_S_MEMFREE] && look.stats[BALLOON_S_AVAIL] == 3000);
	/* Two buffers at once: the first comes back. */
	send_stats(&f, (const struct stat[]){{6, 1}}, 1);
	send_stats(&f, (const struct stat[]){{6, 2}}, 1);
	assert_true(driver_used(&f.driver, 2, NULL, NULL));
	assert_false(driver_used(&f.driver, 2, NULL, NULL));
	/* A reset does not wait for the one that we have. */
	driver_set_reg(&f.driver, 0x070, 0);
	assert_int_equal(driver_reg(&f.driver, 0x070), 0);
	virtio_balloon_look(f.vdev, &look);
	assert_false(look.known[BALLOON_S_AVAIL]);
	driver_init_device(&f.driver, F_ALL, 0);
	send_stats(&f, (const struct stat[]){{6, 5}}, 1);
	driver_set_reg(&f.driver, 0x030, 2);
	driver_set_reg(&f.driver, 0x0c0, 1); /* QueueReset */
	virtio_balloon_look(f.vdev, &look);
	assert_int_equal(look.stats[BALLOON_S_AVAIL], 5);
	stop(&f);
}

static void test_no_memory(void **state)
{
	struct driver driver;
	struct virtio_device *vdev;

	driver_machine(&driver);
	for (uint32_t limit = 0; limit < 2; limit++) {
		unsigned live = fake_alloc_live();

		fake_alloc_limit(limit);
		assert_int_equal(virtio_balloon_create(&driver.vm, 0, &vdev), -ENOMEM);
		assert_int_equal(fake_alloc_live(), live);
	}
	driver_stop(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflate),
		cmocka_unit_test(test_long_lists),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_reporting),
		cmocka_unit_test(test_reporting_too_much),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("virtio_balloon", tests, NULL, NULL);
}
