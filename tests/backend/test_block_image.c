/* Images on real files, raw and qcow2, in all cache modes, through io_uring and through threads; what the host refuses is skipped by
 * name. */
#include "backend/block_image.h"
#include "base/types.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (4u << 20)

struct variant {
	enum block_engine engine;
	enum disk_format format;
	enum block_cache cache;
	bool backing; /* an empty raw image under it */
};

struct fixture {
	struct variant variant;
	char path[64], base[80];
	struct loop *loop;
	struct block_backend *backend;
	unsigned under_way;
	int status;
};

static const struct variant variants[] = {
	{BLOCK_ENGINE_URING, DISK_FORMAT_RAW, BLOCK_CACHE_WRITEBACK, false},
	{BLOCK_ENGINE_THREADS, DISK_FORMAT_RAW, BLOCK_CACHE_WRITETHROUGH, false},
	{BLOCK_ENGINE_URING, DISK_FORMAT_RAW, BLOCK_CACHE_NONE, false},
	{BLOCK_ENGINE_URING, DISK_FORMAT_QCOW2, BLOCK_CACHE_WRITEBACK, false},
	{BLOCK_ENGINE_THREADS, DISK_FORMAT_QCOW2, BLOCK_CACHE_NONE, false},
	{BLOCK_ENGINE_URING, DISK_FORMAT_QCOW2, BLOCK_CACHE_WRITETHROUGH, true},
	{BLOCK_ENGINE_THREADS, DISK_FORMAT_QCOW2, BLOCK_CACHE_UNSAFE, true},
	{BLOCK_ENGINE_URING, DISK_FORMAT_QCOW2, BLOCK_CACHE_NONE, true},
};

static void make_file(struct fixture *f, off_t size)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/ruse-block-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void make_qcow2(struct fixture *f)
{
	struct qcow2_create_options options = {.size = SIZE, .version = 3, .cluster_bits = 12 + rand() % 5, .refcount_order = 4};
	struct host_file_options file = {.path = f->path, .writable = true, .create = true};
	struct disk_file *image;
	char why[256];

	if (f->variant.backing) {
		char from[64];

		strcpy(from, f->path);
		snprintf(f->base, sizeof(f->base), "%s.base", f->path);
		make_file(f, SIZE - 4096 * 7);
		assert_int_equal(rename(f->path, f->base), 0);
		strcpy(f->path, from);
		options.backing = f->base;
		options.backing_format = "raw";
	}
	assert_int_equal(host_file_open(&file, &image, why, sizeof(why)), 0);
	assert_int_equal(qcow2_create(image, &options, why, sizeof(why)), 0);
	image->ops->close(image);
}

static int try_open(struct fixture *f, bool read_only, struct block_backend **out, char *why)
{
	const struct block_image_options options = {.path = f->path,
						    .serial = "disk",
						    .read_only = read_only,
						    .format = f->variant.format,
						    .cache = f->variant.cache,
						    .engine = f->variant.engine};

	why[0] = 0;
	return block_image_open(&options, f->loop, out, why, 256);
}

/* False: this host can't. */
static bool start(struct fixture *f, const struct variant *variant)
{
	char why[256];
	int err;

	memset(f, 0, sizeof(*f));
	f->variant = *variant;
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	make_file(f, SIZE);
	if (variant->format == DISK_FORMAT_QCOW2)
		make_qcow2(f);
	err = try_open(f, false, &f->backend, why);
	if (err < 0 && (variant->engine == BLOCK_ENGINE_URING || variant->cache == BLOCK_CACHE_NONE)) {
		print_message("skipped: io_uring or direct I/O: %s\n", why);
		unlink(f->path);
		unlink(f->base);
		loop_destroy(f->loop);
		return false;
	}
	assert_string_equal(why, "");
	assert_int_equal(err, 0);
	assert_int_equal(block_image_uses_uring(f->backend), variant->engine == BLOCK_ENGINE_URING);
	return true;
}

static void stop(struct fixture *f)
{
	f->backend->ops->destroy(f->backend);
	unlink(f->path);
	unlink(f->base);
	loop_destroy(f->loop);
}

static void request_done(struct block_request *request, int status)
{
	struct fixture *f = request->ctx;

	if (status < 0)
		f->status = status;
	if (--f->under_way == 0)
		loop_stop(f->loop);
}

static void submit(struct fixture *f, struct block_request *request)
{
	request->done = request_done;
	request->ctx = f;
	f->under_way++;
	f->backend->ops->submit(f->backend, request);
}

/* Runs the loop until all that was submitted is done; the worst status. */
static int wait_all(struct fixture *f)
{
	int status;

	while (f->under_way > 0)
		assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->under_way, 0);
	status = f->status;
	f->status = 0;
	return status;
}

static int simple(struct fixture *f, enum block_op op, uint64_t offset, void *buf, uint64_t len, bool unmap)
{
	const struct iobuf iobuf = {buf, (size_t)len};
	struct block_request request = {.op = op, .offset = offset, .length = len, .unmap = unmap,
					.bufs = &iobuf, .count = buf ? 1 : 0};

	submit(f, &request);
	return wait_all(f);
}

static void data_goes_there_and_back(void **state)
{
	struct fixture f;
	uint8_t *out = malloc(SIZE), *in = malloc(SIZE);

	for (unsigned i = 0; i < SIZE; i++)
		out[i] = (uint8_t)(i * 31 + i / 4096);
	for (unsigned e = 0; e < ARRAY_SIZE(variants); e++) {
		struct block_request *requests = calloc(300, sizeof(*requests));
		struct iobuf (*bufs)[3] = calloc(300, sizeof(*bufs));
		int fd;

		if (!start(&f, &variants[e]))
			goto next;
		assert_int_equal(f.backend->size, SIZE);
		assert_string_equal(f.backend->serial, "disk");
		/* More at once than the ring has entries, in three pieces each. */
		for (unsigned i = 0; i < 300; i++) {
			uint64_t at = i * 8192u;

			bufs[i][0] = (struct iobuf){out + at, 100};
			bufs[i][1] = (struct iobuf){out + at + 100, 4000};
			bufs[i][2] = (struct iobuf){out + at + 4100, 4092};
			requests[i] = (struct block_request){
				.op = BLOCK_WRITE, .offset = at, .length = 8192, .bufs = bufs[i], .count = 3};
			submit(&f, &requests[i]);
		}
		assert_int_equal(wait_all(&f), 0);
		assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
		assert_int_equal(simple(&f, BLOCK_READ, 0, in, 300 * 8192, false), 0);
		assert_memory_equal(in, out, 300 * 8192);
		if (f.variant.format != DISK_FORMAT_RAW) {
			stop(&f);
			goto next;
		}
		fd = open(f.path, O_RDONLY);
		memset(in, 0, SIZE);
		assert_int_equal(pread(fd, in, 300 * 8192, 0), 300 * 8192);
		assert_memory_equal(in, out, 300 * 8192);
		close(fd);
		/* Past the end of a file that somebody has cut. */
		if (f.variant.cache != BLOCK_CACHE_NONE) {
			assert_int_equal(truncate(f.path, SIZE / 2), 0);
			assert_int_equal(simple(&f, BLOCK_READ, SIZE / 2 - 512, in, 1024, false), -EIO);
		}
		stop(&f);
next:
		free(requests);
		free(bufs);
	}
	free(out);
	free(in);
}

static bool all_are(const uint8_t *bytes, size_t len, uint8_t value)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

static void zeroes_and_holes(void **state)
{
	struct fixture f;
	uint8_t *buf = malloc(SIZE);

	for (unsigned e = 0; e < ARRAY_SIZE(variants); e++) {
		struct stat before, after;

		if (!start(&f, &variants[e]))
			continue;
		memset(buf, 0xaa, SIZE);
		assert_int_equal(simple(&f, BLOCK_WRITE, 0, buf, SIZE, false), 0);
		assert_int_equal(simple(&f, BLOCK_WRITE_ZEROES, 512, NULL, 1024, false), 0);
		assert_int_equal(simple(&f, BLOCK_WRITE_ZEROES, 8192, NULL, 4096, true), 0);
		assert_int_equal(simple(&f, BLOCK_READ, 0, buf, 16384, false), 0);
		assert_true(all_are(buf, 512, 0xaa));
		assert_true(all_are(buf + 512, 1024, 0));
		assert_true(all_are(buf + 1536, 8192 - 1536, 0xaa));
		assert_true(all_are(buf + 8192, 4096, 0));
		assert_true(all_are(buf + 12288, 4096, 0xaa));
		assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
		stat(f.path, &before);
		assert_int_equal(simple(&f, BLOCK_DISCARD, 1 << 20, NULL, 2 << 20, false), 0);
		assert_int_equal(simple(&f, BLOCK_DISCARD, 0, NULL, 0, false), 0);
		stat(f.path, &after);
		if (f.variant.format == DISK_FORMAT_RAW)
			assert_int_equal(after.st_size, SIZE);
		if (before.st_blocks * 512 >= SIZE / 2 && after.st_blocks == before.st_blocks)
			print_message("skipped: holes: this file system makes none\n");
		assert_true(after.st_blocks <= before.st_blocks);
		stop(&f);
	}
	free(buf);
}

static void drain_finishes_without_the_loop(void **state)
{
	struct fixture f;
	static uint8_t buf[65536];

	for (unsigned e = 0; e < ARRAY_SIZE(variants); e++) {
		struct block_request requests[64];
		const struct iobuf iobuf = {buf, sizeof(buf)};

		if (!start(&f, &variants[e]))
			continue;
		for (unsigned i = 0; i < 64; i++) {
			requests[i] = (struct block_request){.op = i % 2 ? BLOCK_WRITE : BLOCK_READ,
							    .offset = i * sizeof(buf),
							    .length = sizeof(buf),
							    .bufs = &iobuf,
							    .count = 1};
			submit(&f, &requests[i]);
		}
		f.backend->ops->drain(f.backend);
		assert_int_equal(f.under_way, 0);
		assert_int_equal(f.status, 0);
		/* The loop finds nothing to do twice. */
		assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
		stop(&f);
	}
}

static void one_writer_or_many_readers(void **state)
{
	struct fixture f;
	struct block_backend *second = NULL, *third = NULL;
	char why[256];

	assert_true(start(&f, &variants[1]));
	assert_int_equal(try_open(&f, false, &second, why), -EAGAIN);
	assert_non_null(strstr(why, "in use by another machine"));
	assert_int_equal(try_open(&f, true, &second, why), -EAGAIN);
	f.backend->ops->destroy(f.backend);
	assert_int_equal(try_open(&f, true, &f.backend, why), 0);
	assert_true(f.backend->read_only);
	assert_int_equal(try_open(&f, true, &second, why), 0);
	assert_int_equal(try_open(&f, false, &third, why), -EAGAIN);
	second->ops->destroy(second);
	stop(&f);
}

static void expect_refusal(struct fixture *f, const char *words)
{
	struct block_backend *backend;
	char why[256];

	assert_true(try_open(f, false, &backend, why) < 0);
	assert_non_null(strstr(why, words));
	assert_non_null(strstr(why, f->path));
}

static void wrong_images_are_refused_in_a_sentence(void **state)
{
	struct fixture f = {.variant.format = DISK_FORMAT_AUTO};
	char why[256];

	f.loop = loop_create(why, sizeof(why));
	make_file(&f, 1000);
	expect_refusal(&f, "truncate -s %512");
	assert_int_equal(truncate(f.path, 0), 0);
	expect_refusal(&f, "is empty");
	unlink(f.path);
	expect_refusal(&f, "doesn't exist");
	snprintf(f.path, sizeof(f.path), "/dev/null");
	expect_refusal(&f, "neither a file nor a block device");
	loop_destroy(f.loop);
}

#define AT_ONCE 24

struct random_request {
	struct block_request request;
	struct iobuf bufs[2];
	uint64_t at, count;
	uint8_t *data;
	bool busy;
};

struct random_run {
	struct fixture *f;
	struct random_request requests[AT_ONCE];
	uint64_t model[SIZE / 512];
	uint8_t busy[SIZE / 512];
	uint64_t next;
	unsigned left;
};

static uint64_t sector_value(const uint8_t *sector)
{
	uint64_t value;

	memcpy(&value, sector + 504, 8);
	return value;
}

static void start_random(struct random_run *run, struct random_request *slot);

static void random_done(struct block_request *request, int status)
{
	struct random_run *run = request->ctx;
	struct random_request *slot = container_of(request, struct random_request, request);

	assert_int_equal(status, 0);
	for (uint64_t i = 0; i < slot->count; i++) {
		const uint64_t s = slot->at + i;
		const uint8_t *sector = slot->data + i * 512;

		run->busy[s] = 0;
		if (request->op == BLOCK_WRITE)
			run->model[s] = sector_value(sector);
		else if (request->op == BLOCK_WRITE_ZEROES)
			run->model[s] = 0;
		else if (request->op == BLOCK_DISCARD)
			run->model[s] = ~0ull; /* who knows */
		else if (request->op == BLOCK_READ && run->model[s] != ~0ull && sector_value(sector) != run->model[s])
			fail_msg("sector %llu holds %llu, not %llu", (unsigned long long)s, (unsigned long long)sector_value(sector),
				 (unsigned long long)run->model[s]);
	}
	free(slot->data);
	run->f->under_way--;
	slot->busy = false;
	if (run->left > 0) {
		run->left--;
		start_random(run, slot);
	} else if (run->f->under_way == 0) {
		loop_stop(run->f->loop);
	}
}

static void start_random(struct random_run *run, struct random_request *slot)
{
	static const enum block_op ops[] = {BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE, BLOCK_READ,         BLOCK_READ,
					    BLOCK_READ,  BLOCK_FLUSH, BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_DISCARD};
	const unsigned odd = rand() % 3 ? 0 : 8; /* memory that direct I/O can't take */
	size_t len;

	slot->busy = true;
	slot->count = slot->at = 0;
	slot->request = (struct block_request){.op = ops[(size_t)rand() % ARRAY_SIZE(ops)], .done = random_done, .ctx = run};
	if (slot->request.op != BLOCK_FLUSH) {
		slot->at = (uint64_t)rand() % (SIZE / 512);
		slot->count = 1 + (uint64_t)rand() % (rand() % 8 ? 32 : 600);
		for (uint64_t i = 0; i < slot->count; i++)
			if (slot->at + i >= SIZE / 512 || run->busy[slot->at + i])
				slot->count = i;
	}
	len = slot->count * 512;
	slot->data = aligned_alloc(512, len + 512);
	for (uint64_t i = 0; i < slot->count; i++) {
		run->busy[slot->at + i] = 1;
		if (slot->request.op == BLOCK_WRITE) {
			memset(slot->data + i * 512, 0, 504);
			memcpy(slot->data + i * 512 + 504, &run->next, 8);
			run->next++;
		}
	}
	slot->request.offset = slot->at * 512;
	slot->request.length = len;
	slot->request.unmap = rand() % 2;
	slot->bufs[0] = (struct iobuf){slot->data, len / 1024 * 512 + (odd && len ? odd : 0)};
	slot->bufs[1] = (struct iobuf){slot->data + slot->bufs[0].len, len - slot->bufs[0].len};
	slot->request.bufs = slot->bufs;
	slot->request.count = slot->count ? 2 : 0;
	run->f->under_way++;
	run->f->backend->ops->submit(run->f->backend, &slot->request);
}

/* Many requests at once, each on sectors of its own, so that each sector's content is known. */
static void many_at_once(void **state)
{
	struct fixture f;
	struct random_run *run = malloc(sizeof(*run));

	srand(7);
	for (unsigned e = 0; e < ARRAY_SIZE(variants); e++) {
		if (!start(&f, &variants[e]))
			continue;
		memset(run, 0, sizeof(*run));
		run->f = &f;
		run->next = 1;
		run->left = f.variant.cache == BLOCK_CACHE_WRITETHROUGH ? 200 : 1500;
		for (unsigned i = 0; i < AT_ONCE; i++)
			start_random(run, &run->requests[i]);
		while (f.under_way > 0)
			assert_int_equal(loop_run(f.loop), 0);
		stop(&f);
	}
	free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_goes_there_and_back),
		cmocka_unit_test(zeroes_and_holes),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(drain_finishes_without_the_loop),
		cmocka_unit_test(one_writer_or_many_readers),
		cmocka_unit_test(wrong_images_are_refused_in_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
