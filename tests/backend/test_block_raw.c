/* Raw images on real files, through io_uring and through threads; what the host refuses is skipped by name. */
#include "backend/block_raw.h"
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

struct fixture {
	enum block_raw_engine engine;
	char path[64];
	struct loop *loop;
	struct block_backend *backend;
	unsigned under_way;
	int status;
};

static const enum block_raw_engine engines[] = {BLOCK_RAW_URING, BLOCK_RAW_THREADS};

static void make_file(struct fixture *f, off_t size)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/ruse-block-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static int try_open(struct fixture *f, bool read_only, struct block_backend **out, char *why)
{
	const struct block_raw_options options = {
		.path = f->path, .serial = "disk", .read_only = read_only, .engine = f->engine};

	why[0] = 0;
	return block_raw_open(&options, f->loop, out, why, 256);
}

/* False: this host has no io_uring. */
static bool start(struct fixture *f, enum block_raw_engine engine)
{
	char why[256];
	int err;

	memset(f, 0, sizeof(*f));
	f->engine = engine;
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	make_file(f, SIZE);
	err = try_open(f, false, &f->backend, why);
	if (err < 0 && engine == BLOCK_RAW_URING) {
		print_message("skipped: io_uring: %s\n", why);
		unlink(f->path);
		loop_destroy(f->loop);
		return false;
	}
	assert_int_equal(err, 0);
	assert_int_equal(block_raw_uses_uring(f->backend), engine == BLOCK_RAW_URING);
	return true;
}

static void stop(struct fixture *f)
{
	f->backend->ops->destroy(f->backend);
	unlink(f->path);
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
	for (unsigned e = 0; e < ARRAY_SIZE(engines); e++) {
		struct block_request *requests = calloc(300, sizeof(*requests));
		struct iobuf (*bufs)[3] = calloc(300, sizeof(*bufs));
		int fd;

		if (!start(&f, engines[e]))
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
		fd = open(f.path, O_RDONLY);
		memset(in, 0, SIZE);
		assert_int_equal(pread(fd, in, 300 * 8192, 0), 300 * 8192);
		assert_memory_equal(in, out, 300 * 8192);
		close(fd);
		/* Past the end of a file that somebody has cut. */
		assert_int_equal(truncate(f.path, SIZE / 2), 0);
		assert_int_equal(simple(&f, BLOCK_READ, SIZE / 2 - 512, in, 1024, false), -EIO);
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

	for (unsigned e = 0; e < ARRAY_SIZE(engines); e++) {
		struct stat before, after;

		if (!start(&f, engines[e]))
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

	for (unsigned e = 0; e < ARRAY_SIZE(engines); e++) {
		struct block_request requests[64];
		const struct iobuf iobuf = {buf, sizeof(buf)};

		if (!start(&f, engines[e]))
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

	assert_true(start(&f, BLOCK_RAW_THREADS));
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
	struct fixture f = {.engine = BLOCK_RAW_AUTO};
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_goes_there_and_back),
		cmocka_unit_test(zeroes_and_holes),
		cmocka_unit_test(drain_finishes_without_the_loop),
		cmocka_unit_test(one_writer_or_many_readers),
		cmocka_unit_test(wrong_images_are_refused_in_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
