/* The block device against a backend in memory that completes when told. */
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define F_RO           (1u << 5)
#define F_FLUSH        (1u << 9)
#define F_MQ           (1u << 12)
#define F_DISCARD      (1u << 13)
#define F_WRITE_ZEROES (1u << 14)

#define DISK_SIZE 65536u

struct disk {
	struct block_backend backend;
	uint8_t bytes[DISK_SIZE];
	bool defer; /* requests wait for finish_all() */
	int status; /* what they end with */
	struct block_request *waiting[2048];
	unsigned count;
	char log[4096]; /* a letter for each request carried out */
};

static void carry_out(struct disk *disk, struct block_request *request)
{
	uint64_t at = request->offset;

	disk->log[strlen(disk->log)] = "rwfdz"[request->op];
	if (disk->status == 0 && (request->op == BLOCK_READ || request->op == BLOCK_WRITE))
		for (unsigned i = 0; i < request->count; i++) {
			const struct iobuf *buf = &request->bufs[i];

			if (request->op == BLOCK_READ)
				memcpy(buf->base, disk->bytes + at, buf->len);
			else
				memcpy(disk->bytes + at, buf->base, buf->len);
			at += buf->len;
		}
	if (request->op == BLOCK_WRITE_ZEROES)
		memset(disk->bytes + at, 0, request->length);
	request->done(request, disk->status);
}

static void disk_submit(struct block_backend *backend, struct block_request *request)
{
	struct disk *disk = container_of(backend, struct disk, backend);

	if (disk->defer)
		disk->waiting[disk->count++] = request;
	else
		carry_out(disk, request);
}

/* Last first: order is the backend's own affair. */
static void finish_all(struct disk *disk)
{
	while (disk->count > 0)
		carry_out(disk, disk->waiting[--disk->count]);
}

static void disk_drain(struct block_backend *backend)
{
	finish_all(container_of(backend, struct disk, backend));
}

static const struct block_backend_ops disk_ops = {.submit = disk_submit, .drain = disk_drain};

struct fixture {
	struct driver driver;
	struct disk disk;
	struct virtio_device *vdev;
	gpa_t header, data, status;
};

static void start(struct fixture *f, uint64_t features, bool read_only)
{
	memset(&f->disk, 0, sizeof(f->disk));
	f->disk.backend = (struct block_backend){
		.ops = &disk_ops, .size = DISK_SIZE, .read_only = read_only, .can_discard = !read_only};
	strcpy(f->disk.backend.serial, "a-serial-number-of20");
	for (unsigned i = 0; i < DISK_SIZE; i++)
		f->disk.bytes[i] = (uint8_t)(i * 7 + i / 512);
	driver_machine(&f->driver);
	assert_int_equal(virtio_blk_create(&f->driver.vm, &f->disk.backend, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, features);
	f->header = driver_alloc(&f->driver, 16);
	f->data = driver_alloc(&f->driver, 8192);
	f->status = driver_alloc(&f->driver, 1);
}

/* With options; the queues get 64 entries. */
static void start_with(struct fixture *f, uint64_t features, const struct virtio_blk_options *options)
{
	memset(&f->disk, 0, sizeof(f->disk));
	f->disk.backend = (struct block_backend){.ops = &disk_ops, .size = DISK_SIZE};
	driver_machine(&f->driver);
	assert_int_equal(virtio_blk_create_with(&f->driver.vm, &f->disk.backend, options, &f->vdev), 0);
	driver_plug(&f->driver, f->vdev, 0);
	driver_init_device(&f->driver, features, 64);
	f->header = driver_alloc(&f->driver, 16);
	f->data = driver_alloc(&f->driver, 8192);
	f->status = driver_alloc(&f->driver, 1);
}

static void put_header(struct fixture *f, uint32_t type, uint64_t sector)
{
	uint32_t *header = driver_ptr(&f->driver, f->header);

	header[0] = type;
	header[1] = 0;
	memcpy(header + 2, &sector, 8);
	*(uint8_t *)driver_ptr(&f->driver, f->status) = 0xee;
}

/* One request with `len` bytes of data; returns the status byte. */
static int request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len, bool in, uint32_t *used_len)
{
	const struct driver_buf bufs[] = {{f->header, 16, false}, {f->data, len, in}, {f->status, 1, true}};
	const struct driver_buf bare[] = {bufs[0], bufs[2]};

	put_header(f, type, sector);
	if (len)
		driver_add(&f->driver, 0, 3, bufs);
	else
		driver_add(&f->driver, 0, 2, bare);
	driver_kick(&f->driver, 0);
	assert_true(driver_used(&f->driver, 0, NULL, used_len));
	return *(uint8_t *)driver_ptr(&f->driver, f->status);
}

static void configuration_describes_the_disk(void **state)
{
	struct fixture f;

	start(&f, 0, false);
	assert_int_equal(driver_reg(&f.driver, 0x100), DISK_SIZE / 512);
	assert_int_equal(driver_reg(&f.driver, 0x104), 0);
	assert_int_equal(driver_reg(&f.driver, 0x10c), 254);
	assert_int_equal(driver_reg(&f.driver, 0x114), 512);
	assert_int_equal(driver_reg(&f.driver, 0x128), 1);             /* max_discard_seg */
	assert_int_equal(bus_read(&f.driver.vm.mmio, DRIVER_BASE + 0x138, 1), 1);
	assert_int_equal(driver_reg(&f.driver, 0x13c), 0);             /* past the end */
	driver_stop(&f.driver);
}

static void reads_and_writes(void **state)
{
	struct fixture f;
	uint32_t len;

	for (unsigned i = 0; i < 4; i++) {
		start(&f, F_FLUSH | VIRTIO_F_INDIRECT_DESC | (i & 1 ? VIRTIO_F_EVENT_IDX : 0), false);
		f.driver.indirect = (i & 2) != 0;
		assert_int_equal(request(&f, 0, 3, 1024, true, &len), 0);
		assert_int_equal(len, 1025);
		assert_memory_equal(driver_ptr(&f.driver, f.data), f.disk.bytes + 3 * 512, 1024);
		memset(driver_ptr(&f.driver, f.data), 0x5a, 8192);
		assert_int_equal(request(&f, 1, 8, 8192, false, &len), 0);
		assert_int_equal(len, 1);
		assert_memory_equal(driver_ptr(&f.driver, f.data), f.disk.bytes + 8 * 512, 8192);
		assert_int_equal(request(&f, 4, 0, 0, false, &len), 0);
		assert_string_equal(f.disk.log, "rwf");
		driver_stop(&f.driver);
	}
}

static void odd_layouts_work(void **state)
{
	struct fixture f;
	struct driver_buf bufs[8];

	start(&f, F_FLUSH, false);
	/* The header in three pieces, the last with data in one buffer is also allowed (§2.7.4.1). */
	put_header(&f, 1, 2);
	memcpy(driver_ptr(&f.driver, f.data), driver_ptr(&f.driver, f.header), 16);
	memset(driver_ptr(&f.driver, f.data + 16), 0x77, 512);
	bufs[0] = (struct driver_buf){f.data, 3, false};
	bufs[1] = (struct driver_buf){f.data + 3, 9, false};
	bufs[2] = (struct driver_buf){f.data + 12, 104, false};
	bufs[3] = (struct driver_buf){f.data + 116, 412, false};
	bufs[4] = (struct driver_buf){f.status, 1, true};
	driver_add(&f.driver, 0, 5, bufs);
	driver_kick(&f.driver, 0);
	assert_int_equal(*(uint8_t *)driver_ptr(&f.driver, f.status), 0);
	assert_int_equal(f.disk.bytes[1023], (uint8_t)(1023 * 7 + 1));
	for (unsigned i = 1024; i < 1536; i++)
		assert_int_equal(f.disk.bytes[i], 0x77);
	/* Data and status in one buffer. */
	put_header(&f, 0, 5);
	bufs[0] = (struct driver_buf){f.header, 16, false};
	bufs[1] = (struct driver_buf){f.data, 513, true};
	driver_add(&f.driver, 0, 2, bufs);
	driver_kick(&f.driver, 0);
	assert_memory_equal(driver_ptr(&f.driver, f.data), f.disk.bytes + 5 * 512, 512);
	assert_int_equal(*(uint8_t *)driver_ptr(&f.driver, f.data + 512), 0);
	driver_stop(&f.driver);
}

static void without_flush_writes_go_through(void **state)
{
	struct fixture f;

	start(&f, 0, false);
	assert_int_equal(request(&f, 1, 0, 512, false, NULL), 0);
	assert_string_equal(f.disk.log, "wf");
	assert_int_equal(request(&f, 0, 0, 512, true, NULL), 0);
	assert_string_equal(f.disk.log, "wfr");
	driver_stop(&f.driver);
}

static void errors_are_reported(void **state)
{
	struct fixture f;
	uint32_t len;

	start(&f, F_FLUSH, false);
	assert_int_equal(request(&f, 0, DISK_SIZE / 512, 512, true, &len), 1);      /* past the end */
	assert_int_equal(len, 0);
	assert_int_equal(request(&f, 0, DISK_SIZE / 512 - 1, 1024, true, NULL), 1); /* over the end */
	assert_int_equal(request(&f, 1, UINT64_MAX, 512, false, NULL), 1);
	assert_int_equal(request(&f, 1, UINT64_MAX / 512, 512, false, NULL), 1);
	assert_int_equal(request(&f, 0, 0, 100, true, NULL), 1);                    /* no whole sector */
	assert_int_equal(request(&f, 0, 0, 0, true, NULL), 1);
	assert_int_equal(request(&f, 99, 0, 0, true, &len), 2);
	assert_int_equal(len, 1);
	assert_string_equal(f.disk.log, "");
	f.disk.status = -EIO;
	assert_int_equal(request(&f, 0, 0, 512, true, &len), 1);
	assert_int_equal(len, 0);
	assert_int_equal(request(&f, 1, 0, 512, false, NULL), 1);
	assert_int_equal(request(&f, 4, 0, 0, false, NULL), 1);
	driver_stop(&f.driver);

	start(&f, F_FLUSH | F_RO, true);
	assert_true(f.driver.features & F_RO);
	assert_int_equal(request(&f, 1, 0, 512, false, NULL), 1);
	assert_int_equal(request(&f, 11, 0, 16, false, NULL), 2);
	assert_int_equal(request(&f, 0, 0, 512, true, NULL), 0);
	assert_string_equal(f.disk.log, "r");
	driver_stop(&f.driver);
}

static void put_range(struct fixture *f, uint64_t sector, uint32_t count, uint32_t flags)
{
	uint8_t *data = driver_ptr(&f->driver, f->data);

	memcpy(data, &sector, 8);
	memcpy(data + 8, &count, 4);
	memcpy(data + 12, &flags, 4);
}

static void discards_and_zeroes(void **state)
{
	struct fixture f;

	start(&f, F_FLUSH | F_DISCARD | F_WRITE_ZEROES, false);
	put_range(&f, 8, 8, 0);
	assert_int_equal(request(&f, 11, 0, 16, false, NULL), 0);
	assert_int_equal(request(&f, 13, 0, 16, false, NULL), 0);
	assert_int_equal(f.disk.bytes[8 * 512], 0);
	put_range(&f, 8, 8, 1);
	assert_int_equal(request(&f, 13, 0, 16, false, NULL), 0);
	assert_int_equal(request(&f, 11, 0, 16, false, NULL), 2); /* unmap is no flag of discard */
	put_range(&f, 8, 8, 2);
	assert_int_equal(request(&f, 13, 0, 16, false, NULL), 2);
	put_range(&f, DISK_SIZE / 512 - 1, 2, 0);
	assert_int_equal(request(&f, 13, 0, 16, false, NULL), 1);
	put_range(&f, UINT64_MAX, UINT32_MAX, 0);
	assert_int_equal(request(&f, 11, 0, 16, false, NULL), 1);
	put_range(&f, 0, 1, 0);
	assert_int_equal(request(&f, 11, 0, 15, false, NULL), 1);
	assert_int_equal(request(&f, 11, 0, 32, false, NULL), 1); /* one segment a request */
	assert_string_equal(f.disk.log, "dzz");
	driver_stop(&f.driver);
}

static void tells_its_serial(void **state)
{
	struct fixture f;
	uint32_t len;

	start(&f, 0, false);
	assert_int_equal(request(&f, 8, 0, 20, true, &len), 0);
	assert_int_equal(len, 21);
	assert_memory_equal(driver_ptr(&f.driver, f.data), "a-serial-number-of20", 20);
	assert_int_equal(request(&f, 8, 0, 4, true, NULL), 0);
	driver_stop(&f.driver);
}

static void malformed_requests_need_a_reset(void **state)
{
	struct fixture f;
	const unsigned layouts[][2] = {{15, 1}, {16, 0}, {0, 1}};

	start(&f, 0, false);
	for (unsigned i = 0; i < 3; i++) {
		struct driver_buf bufs[2];
		unsigned count = 0;

		if (layouts[i][0])
			bufs[count++] = (struct driver_buf){f.header, layouts[i][0], false};
		if (layouts[i][1])
			bufs[count++] = (struct driver_buf){f.status, 1, true};
		driver_add(&f.driver, 0, count, bufs);
		driver_kick(&f.driver, 0);
		assert_true(driver_reg(&f.driver, 0x070) & 64);
		driver_init_device(&f.driver, 0, 0);
		assert_int_equal(request(&f, 0, 0, 512, true, NULL), 0);
	}
	driver_stop(&f.driver);
}

static void many_are_under_way_and_finish_out_of_order(void **state)
{
	struct fixture f;
	gpa_t statuses, data;
	unsigned used = 0;

	start(&f, F_FLUSH | VIRTIO_F_INDIRECT_DESC, false);
	f.driver.indirect = true;
	f.disk.defer = true;
	statuses = driver_alloc(&f.driver, 256);
	data = driver_alloc(&f.driver, 256 * 512);
	put_header(&f, 0, 1);
	memset(driver_ptr(&f.driver, statuses), 0xee, 256);
	for (unsigned i = 0; i < 256; i++) {
		const struct driver_buf bufs[] = {
			{f.header, 16, false}, {data + 512 * i, 512, true}, {statuses + i, 1, true}};

		driver_add(&f.driver, 0, 3, bufs);
	}
	driver_kick(&f.driver, 0);
	assert_int_equal(f.disk.count, 256);
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	finish_all(&f.disk);
	while (driver_used(&f.driver, 0, NULL, NULL))
		used++;
	assert_int_equal(used, 256);
	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(((uint8_t *)driver_ptr(&f.driver, statuses))[i], 0);
		assert_memory_equal(driver_ptr(&f.driver, data + 512 * i), f.disk.bytes + 512, 512);
	}
	driver_stop(&f.driver);
}

/* A guest that offers one chain over and over has more under way than its ring has entries: the rest waits. */
static void the_table_of_requests_bounds_what_is_under_way(void **state)
{
	struct fixture f;

	if (driver_packed)
		skip(); /* can't be done there: test_virtio_packed.c */
	start(&f, F_FLUSH, false);
	f.disk.defer = true;
	put_header(&f, 0, 1);
	driver_add(&f.driver, 0, 3,
		   (const struct driver_buf[]){
			   {f.header, 16, false}, {f.data, 512, true}, {f.status, 1, true}});
	for (unsigned i = 1; i < 400; i++) {
		driver_add_head(&f.driver, 0, 0);
		if (i % 100 == 0)
			driver_kick(&f.driver, 0);
	}
	driver_kick(&f.driver, 0);
	assert_int_equal(f.disk.count, 256);
	finish_all(&f.disk);
	fake_run_work();
	assert_int_equal(f.disk.count, 400 - 256);
	finish_all(&f.disk);
	assert_int_equal(((uint16_t *)driver_ptr(&f.driver, f.driver.queues[0].used))[1], 400);
	driver_stop(&f.driver);
}

/* Reads a sector by one of the queues. */
static void add_read(struct fixture *f, unsigned queue)
{
	put_header(f, 0, 1);
	driver_add(&f->driver, queue, 3,
		   (const struct driver_buf[]){{f->header, 16, false}, {f->data, 512, true}, {f->status, 1, true}});
}

static void each_queue_gets_its_own_answers(void **state)
{
	struct fixture f;

	start_with(&f, F_FLUSH | F_MQ, &(struct virtio_blk_options){.queues = 3});
	assert_int_equal(driver_reg(&f.driver, 0x120) >> 16, 3); /* num_queues */
	assert_true(f.driver.features & F_MQ);
	f.disk.defer = true;
	for (unsigned queue = 0; queue < 3; queue++)
		for (unsigned i = 0; i <= queue; i++) {
			add_read(&f, queue);
			driver_kick(&f.driver, queue);
		}
	assert_int_equal(f.disk.count, 6);
	finish_all(&f.disk);
	for (unsigned queue = 0; queue < 3; queue++)
		assert_int_equal(driver_used_count(&f.driver, queue), queue + 1);
	driver_stop(&f.driver);
	/* One queue: nothing is said of more. */
	start_with(&f, F_FLUSH | F_MQ, &(struct virtio_blk_options){0});
	assert_false(f.driver.features & F_MQ);
	assert_int_equal(driver_reg(&f.driver, 0x120) >> 16, 1);
	driver_stop(&f.driver);
	driver_machine(&f.driver);
	assert_int_equal(virtio_blk_create_with(&f.driver.vm, &f.disk.backend,
						&(struct virtio_blk_options){.queues = VIRTIO_BLK_MAX_QUEUES + 1}, &f.vdev),
			 -EINVAL);
	driver_stop(&f.driver);
}

/* More under way than the table holds: what waits in any queue goes on when others are done. */
static void queues_share_the_table(void **state)
{
	struct fixture f;
	unsigned answered = 0;

	start_with(&f, F_FLUSH | F_MQ, &(struct virtio_blk_options){.queues = 60});
	f.disk.defer = true;
	for (unsigned queue = 0; queue < 60; queue++) {
		for (unsigned i = 0; i < 21; i++)
			add_read(&f, queue);
		driver_kick(&f.driver, queue);
	}
	assert_int_equal(f.disk.count, 4 * 256);
	finish_all(&f.disk);
	fake_run_work();
	finish_all(&f.disk);
	for (unsigned queue = 0; queue < 60; queue++)
		answered += driver_used_count(&f.driver, queue);
	assert_int_equal(answered, 60 * 21);
	driver_stop(&f.driver);
}

/* What is too much waits in the queue, no kick is wanted meanwhile, and then each queue gets its part. */
static void the_rate_is_limited(void **state)
{
	struct virtio_blk_options options = {.queues = 2, .limit.ops = {.per_second = 10, .burst = 4}};
	struct fixture f;
	unsigned first;

	start_with(&f, F_FLUSH | F_MQ | VIRTIO_F_EVENT_IDX, &options);
	for (unsigned i = 0; i < 20; i++) {
		add_read(&f, i % 2);
		driver_kick(&f.driver, i % 2);
	}
	first = driver_used_count(&f.driver, 0) + driver_used_count(&f.driver, 1);
	assert_in_range(first, 4, 5);
	fake_run_work();
	assert_int_equal(driver_used_count(&f.driver, 0) + driver_used_count(&f.driver, 1), first);
	for (unsigned i = 1; i <= 15; i++) {
		fake_advance(101000000);
		fake_run_work();
		assert_in_range(driver_used_count(&f.driver, 0) + driver_used_count(&f.driver, 1), first + i - 1, first + i + 1);
	}
	for (unsigned i = 0; i < 5; i++) {
		fake_advance(101000000);
		fake_run_work();
	}
	assert_int_equal(driver_used_count(&f.driver, 0), 10);
	assert_int_equal(driver_used_count(&f.driver, 1), 10);
	/* Taken together with bytes; a reset in the middle of a pause leaves nothing behind. */
	driver_stop(&f.driver);
	options = (struct virtio_blk_options){.limit.bytes = {.per_second = 512, .burst = 512}};
	start_with(&f, F_FLUSH, &options);
	for (unsigned i = 0; i < 5; i++)
		add_read(&f, 0);
	driver_kick(&f.driver, 0);
	assert_in_range(driver_used_count(&f.driver, 0), 1, 2);
	driver_init_device(&f.driver, F_FLUSH, 64);
	fake_advance(5000000000);
	fake_run_work();
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	add_read(&f, 0);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 1);
	driver_stop(&f.driver);
}

static void a_machine_reset_waits_for_the_backend(void **state)
{
	struct fixture f;

	start(&f, F_FLUSH, false);
	f.disk.defer = true;
	put_header(&f, 0, 1);
	driver_add(&f.driver, 0, 3,
		   (const struct driver_buf[]){
			   {f.header, 16, false}, {f.data, 512, true}, {f.status, 1, true}});
	driver_kick(&f.driver, 0);
	assert_int_equal(f.disk.count, 1);
	devices_reset(&f.driver.vm);
	assert_int_equal(f.disk.count, 0);
	/* Finished, but nothing was said: the rings are the next system's. */
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	assert_int_equal(*(uint8_t *)driver_ptr(&f.driver, f.status), 0xee);
	f.disk.defer = false;
	driver_init_device(&f.driver, F_FLUSH, 0);
	assert_int_equal(request(&f, 0, 0, 512, true, NULL), 0);
	driver_stop(&f.driver);
}

struct resetter {
	struct fixture *f;
	uint32_t offset;
	_Atomic bool done;
};

static void *reset_on_a_vcpu(void *ctx)
{
	struct resetter *resetter = ctx;

	driver_set_reg(&resetter->f->driver, resetter->offset, resetter->offset == 0x0c0);
	atomic_store(&resetter->done, true);
	return NULL;
}

/* The driver's write of 0 to Status (or 1 to QueueReset) returns when no buffer is touched any more. */
static void a_driver_reset_waits_for_requests(void **state)
{
	struct fixture f;
	pthread_t thread;

	start(&f, F_FLUSH | VIRTIO_F_RING_RESET, false);
	for (unsigned i = 0; i < 2; i++) {
		struct resetter resetter = {.f = &f, .offset = i ? 0x0c0 : 0x070};

		f.disk.defer = true;
		put_header(&f, 0, 1);
		driver_add(&f.driver, 0, 3,
			   (const struct driver_buf[]){
				   {f.header, 16, false}, {f.data, 512, true}, {f.status, 1, true}});
		driver_kick(&f.driver, 0);
		driver_set_reg(&f.driver, 0x030, 0);
		assert_int_equal(pthread_create(&thread, NULL, reset_on_a_vcpu, &resetter), 0);
		nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
		assert_false(atomic_load(&resetter.done));
		finish_all(&f.disk);
		pthread_join(thread, NULL);
		assert_true(atomic_load(&resetter.done));
		assert_false(driver_used(&f.driver, 0, NULL, NULL));
		f.disk.defer = false;
		driver_init_device(&f.driver, F_FLUSH | VIRTIO_F_RING_RESET, 0);
		assert_int_equal(request(&f, 0, 0, 512, true, NULL), 0);
	}
	driver_stop(&f.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration_describes_the_disk),
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(odd_layouts_work),
		cmocka_unit_test(without_flush_writes_go_through),
		cmocka_unit_test(errors_are_reported),
		cmocka_unit_test(discards_and_zeroes),
		cmocka_unit_test(tells_its_serial),
		cmocka_unit_test(malformed_requests_need_a_reset),
		cmocka_unit_test(many_are_under_way_and_finish_out_of_order),
		cmocka_unit_test(the_table_of_requests_bounds_what_is_under_way),
		cmocka_unit_test(each_queue_gets_its_own_answers),
		cmocka_unit_test(queues_share_the_table),
		cmocka_unit_test(the_rate_is_limited),
		cmocka_unit_test(a_machine_reset_waits_for_the_backend),
		cmocka_unit_test(a_driver_reset_waits_for_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
