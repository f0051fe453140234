/* Memory that is plugged and unplugged: requests, what they may ask for, resets; and persistent memory's flushes. */
#include "core/backend.h"
#include "dev/virtio/memory.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONFIG 0x100
#define REGION GIB(8)
#define SIZE   MIB(32) /* 16 blocks */
#define BLOCK  VIRTIO_MEMORY_BLOCK

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };
enum { PLUGGED, UNPLUGGED, MIXED };

struct fixture {
	struct driver driver;
	struct virtio_device *vdev;
	uint8_t *region;
	gpa_t request, response;
};

static void start(struct fixture *f)
{
	driver_machine(&f->driver);
	f->region = aligned_alloc(4096, SIZE);
	assert_non_null(f->region);
	assert_int_equal(mem_add_slot(&f->driver.vm.mem, REGION, SIZE, f->region, false), 0);
	assert_int_equal(virtio_memory_create(&f->driver.vm, REGION, SIZE, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, 2);
	f->request = driver_alloc(&f->driver, 24);
	f->response = driver_alloc(&f->driver, 16);
}

static void stop(struct fixture *f)
{
	driver_stop(&f->driver);
	free(f->region);
	assert_int_equal(fake_alloc_live(), 0);
}

static uint64_t config(struct fixture *f, unsigned offset)
{
	return driver_reg(&f->driver, CONFIG + offset) | (uint64_t)driver_reg(&f->driver, CONFIG + offset + 4) << 32;
}

static unsigned ask(struct fixture *f, uint16_t type, gpa_t gpa, uint16_t blocks)
{
	const struct {
		uint16_t type, padding[3];
		uint64_t addr;
		uint16_t blocks, padding2[3];
	} request = {.type = type, .addr = gpa, .blocks = blocks};
	uint32_t len;

	memcpy(driver_ptr(&f->driver, f->request), &request, sizeof(request));
	memset(driver_ptr(&f->driver, f->response), 0xee, 16);
	driver_add(&f->driver, 0, 2, (struct driver_buf[]){{f->request, 24, false}, {f->response, 16, true}});
	driver_kick(&f->driver, 0);
	assert_true(driver_used(&f->driver, 0, NULL, &len));
	assert_int_equal(len, 10);
	return *(uint16_t *)driver_ptr(&f->driver, f->response);
}

static unsigned state_of(struct fixture *f, gpa_t gpa, uint16_t blocks)
{
	assert_int_equal(ask(f, STATE, gpa, blocks), ACK);
	return *((uint16_t *)driver_ptr(&f->driver, f->response) + 4);
}

static void test_plug(void **state)
{
	struct virtio_memory_state look;
	struct fixture f;

	start(&f);
	assert_int_equal(config(&f, 0), BLOCK);
	assert_int_equal(config(&f, 16), REGION);
	assert_int_equal(config(&f, 24), SIZE);
	assert_int_equal(config(&f, 32), SIZE);
	assert_int_equal(config(&f, 48), 0);
	/* No more than is wanted. */
	assert_int_equal(ask(&f, PLUG, REGION, 1), NACK);
	driver_take_interrupt(&f.driver);
	assert_int_equal(virtio_memory_resize(f.vdev, 4 * BLOCK), 0);
	assert_int_equal(driver_take_interrupt(&f.driver), VIRTIO_INTERRUPT_CONFIG);
	assert_int_equal(config(&f, 48), 4 * BLOCK);
	memset(f.region, 0x77, SIZE);
	assert_int_equal(ask(&f, PLUG, REGION + 2 * BLOCK, 3), ACK);
	assert_int_equal(config(&f, 40), 3 * BLOCK);
	/* It comes as zeros, and nothing around it changes. */
	assert_int_equal(f.region[2 * BLOCK - 1], 0x77);
	assert_int_equal(f.region[2 * BLOCK] | f.region[5 * BLOCK - 1], 0);
	assert_int_equal(f.region[5 * BLOCK], 0x77);
	assert_int_equal(ask(&f, PLUG, REGION + 8 * BLOCK, 2), NACK);
	assert_int_equal(ask(&f, PLUG, REGION + 8 * BLOCK, 1), ACK);
	assert_int_equal(ask(&f, PLUG, REGION + 8 * BLOCK, 1), ERROR);
	assert_int_equal(state_of(&f, REGION + 2 * BLOCK, 3), PLUGGED);
	assert_int_equal(state_of(&f, REGION + 5 * BLOCK, 3), UNPLUGGED);
	assert_int_equal(state_of(&f, REGION, 16), MIXED);
	/* Away again: what was there is gone. */
	memset(f.region, 0x55, SIZE);
	assert_int_equal(ask(&f, UNPLUG, REGION + 3 * BLOCK, 2), ACK);
	assert_int_equal(f.region[3 * BLOCK - 1], 0x55);
	assert_int_equal(f.region[3 * BLOCK] | f.region[5 * BLOCK - 1], 0);
	assert_int_equal(ask(&f, UNPLUG, REGION + 2 * BLOCK, 2), ERROR);
	assert_int_equal(config(&f, 40), 2 * BLOCK);
	assert_int_equal(ask(&f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(config(&f, 40), 0);
	assert_int_equal(f.region[2 * BLOCK] | f.region[8 * BLOCK], 0);
	virtio_memory_look(f.vdev, &look);
	assert_true(look.requested == 4 * BLOCK && look.plugged == 0 && look.size == SIZE);
	stop(&f);
}

static void test_refused(void **state)
{
	struct fixture f;

	start(&f);
	assert_int_equal(virtio_memory_resize(f.vdev, SIZE), 0);
	assert_int_equal(virtio_memory_resize(f.vdev, SIZE + BLOCK), -EINVAL);
	assert_int_equal(virtio_memory_resize(f.vdev, PAGE_SIZE), -EINVAL);
	for (uint16_t type = PLUG; type <= STATE; type++) {
		if (type == UNPLUG_ALL)
			continue;
		assert_int_equal(ask(&f, type, REGION + PAGE_SIZE, 1), ERROR);
		assert_int_equal(ask(&f, type, REGION, 0), ERROR);
		assert_int_equal(ask(&f, type, REGION, 17), ERROR);
		assert_int_equal(ask(&f, type, REGION + 15 * BLOCK, 2), ERROR);
		assert_int_equal(ask(&f, type, REGION + SIZE, 1), ERROR);
		assert_int_equal(ask(&f, type, REGION - BLOCK, 1), ERROR);
		assert_int_equal(ask(&f, type, 0, 1), ERROR);
		assert_int_equal(ask(&f, type, UINT64_MAX & ~(BLOCK - 1), 2), ERROR);
	}
	assert_int_equal(ask(&f, 4, REGION, 1), ERROR);
	/* Too short, and without room for an answer. */
	driver_add(&f.driver, 0, 2, (struct driver_buf[]){{f.request, 23, false}, {f.response, 10, true}});
	driver_add(&f.driver, 0, 1, (struct driver_buf[]){{f.request, 24, false}});
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, NULL) && driver_used(&f.driver, 0, NULL, NULL));
	assert_int_equal(*(uint16_t *)driver_ptr(&f.driver, f.response), ERROR);
	assert_int_equal(ask(&f, PLUG, REGION, 16), ACK);
	stop(&f);
}

/* A new driver finds what the old one plugged; a new machine finds nothing. */
static void test_resets(void **state)
{
	struct fixture f;

	start(&f);
	assert_int_equal(virtio_memory_resize(f.vdev, 2 * BLOCK), 0);
	assert_int_equal(ask(&f, PLUG, REGION, 2), ACK);
	f.region[5] = 9;
	driver_init_device(&f.driver, 2, 0);
	assert_int_equal(state_of(&f, REGION, 2), PLUGGED);
	assert_int_equal(f.region[5], 9);
	devices_reset(&f.driver.vm);
	assert_int_equal(config(&f, 40), 0);
	assert_int_equal(config(&f, 48), 2 * BLOCK);
	assert_int_equal(f.region[5], 0);
	driver_init_device(&f.driver, 2, 0);
	assert_int_equal(state_of(&f, REGION, 2), UNPLUGGED);
	stop(&f);
}

static void test_create(void **state)
{
	struct driver driver;
	struct virtio_device *vdev;

	driver_machine(&driver);
	assert_int_equal(virtio_memory_create(&driver.vm, 0, 0, &vdev), -EINVAL);
	assert_int_equal(virtio_memory_create(&driver.vm, PAGE_SIZE, BLOCK, &vdev), -EINVAL);
	assert_int_equal(virtio_memory_create(&driver.vm, 0, BLOCK + PAGE_SIZE, &vdev), -EINVAL);
	assert_int_equal(virtio_memory_create(&driver.vm, 0, 2 * DRIVER_RAM, &vdev), -EINVAL);
	for (uint32_t limit = 0; limit < 3; limit++) {
		unsigned live = fake_alloc_live();

		fake_alloc_limit(limit);
		assert_int_equal(virtio_memory_create(&driver.vm, 0, BLOCK, &vdev), -ENOMEM);
		assert_int_equal(fake_alloc_live(), live);
	}
	driver_stop(&driver);
}

/* ---- persistent memory ---- */

struct file {
	struct block_backend backend;
	struct block_request *waiting[64];
	unsigned count, flushes;
	int status;
};

static void submit(struct block_backend *backend, struct block_request *request)
{
	struct file *file = container_of(backend, struct file, backend);

	assert_int_equal(request->op, BLOCK_FLUSH);
	assert_true(file->count < ARRAY_SIZE(file->waiting));
	file->waiting[file->count++] = request;
}

static void finish(struct file *file)
{
	file->flushes++;
	file->count--;
	file->waiting[file->count]->done(file->waiting[file->count], file->status);
}

static void drain(struct block_backend *backend)
{
	struct file *file = container_of(backend, struct file, backend);

	while (file->count)
		finish(file);
}

static const struct block_backend_ops file_ops = {.submit = submit, .drain = drain};

/* A request of `len` bytes that says `type`; where its answer will be. */
static gpa_t flush(struct driver *driver, uint32_t type, uint32_t len)
{
	gpa_t at = driver_alloc(driver, 16);

	memcpy(driver_ptr(driver, at), &type, 4);
	*(uint32_t *)driver_ptr(driver, at + 8) = 0xeeeeeeee;
	driver_add(driver, 0, 2, (struct driver_buf[]){{at, len, false}, {at + 8, 4, true}});
	driver_kick(driver, 0);
	return at + 8;
}

static uint32_t answer(struct driver *driver, gpa_t at)
{
	return *(uint32_t *)driver_ptr(driver, at);
}

static void test_pmem(void **state)
{
	struct file file = {.backend = {.ops = &file_ops}};
	struct driver driver;
	struct virtio_device *vdev;
	gpa_t first, second;
	uint32_t len;

	driver_machine(&driver);
	assert_int_equal(virtio_pmem_create(&driver.vm, &file.backend, REGION, SIZE, &vdev), 0);
	driver_start(&driver, vdev, 0, VIRTIO_F_INDIRECT_DESC);
	assert_int_equal(driver_reg(&driver, CONFIG + 4), REGION >> 32);
	assert_int_equal(driver_reg(&driver, CONFIG + 8), SIZE);
	first = flush(&driver, 0, 4);
	assert_false(driver_used(&driver, 0, NULL, NULL));
	second = flush(&driver, 0, 4);
	assert_int_equal(file.count, 2);
	drain(&file.backend);
	assert_true(driver_used(&driver, 0, NULL, &len) && len == 4);
	assert_true(driver_used(&driver, 0, NULL, &len) && len == 4);
	assert_int_equal(answer(&driver, first), 0);
	assert_int_equal(answer(&driver, second), 0);
	file.status = -EIO;
	first = flush(&driver, 0, 4);
	drain(&file.backend);
	assert_int_equal(answer(&driver, first), 1);
	/* What is no flush does none. */
	assert_int_equal(answer(&driver, flush(&driver, 1, 4)), 1);
	assert_int_equal(answer(&driver, flush(&driver, 0, 3)), 1);
	assert_int_equal(file.flushes, 3);
	while (driver_used(&driver, 0, NULL, NULL))
		;
	/* As many as the ring takes, with indirect tables; a driver that gives heads twice gets no more than there are requests. */
	driver.indirect = true;
	for (unsigned i = 0; i < 40; i++)
		flush(&driver, 0, 4);
	assert_int_equal(file.count, 32);
	finish(&file);
	fake_run_work();
	drain(&file.backend);
	fake_run_work();
	drain(&file.backend);
	/* A machine that is reset lets them end. */
	driver_init_device(&driver, 0, 0);
	driver.indirect = false;
	flush(&driver, 0, 4);
	assert_int_equal(file.count, 1);
	devices_reset(&driver.vm);
	assert_int_equal(file.count, 0);
	driver_stop(&driver);
	assert_int_equal(fake_alloc_live(), 0);
}

static void test_pmem_no_memory(void **state)
{
	struct file file = {.backend = {.ops = &file_ops}};
	struct driver driver;
	struct virtio_device *vdev;

	driver_machine(&driver);
	for (uint32_t limit = 0; limit < 3; limit++) {
		unsigned live = fake_alloc_live();

		fake_alloc_limit(limit);
		assert_int_equal(virtio_pmem_create(&driver.vm, &file.backend, REGION, SIZE, &vdev), -ENOMEM);
		assert_int_equal(fake_alloc_live(), live);
	}
	driver_stop(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plug),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_pmem),
		cmocka_unit_test(test_pmem_no_memory),
	};

	return cmocka_run_group_tests_name("virtio_memory", tests, NULL, NULL);
}
