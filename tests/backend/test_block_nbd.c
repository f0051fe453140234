/* Disks at an NBD server, which is qemu-nbd: transfers of all shapes, what the server refuses, and servers that end or fall silent. */
#include "backend/block_nbd.h"
#include "base/types.h"
#include "core/platform.h"
#include "disk/nbd_client.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE     (48u << 20) /* more than one transfer takes */
#define REQUESTS 200u        /* more than the server is told of at once */
#define ROOM     256u

struct fixture {
	char dir[64], image[96], socket[96], uri[160];
	pid_t server;
	struct loop *loop;
	struct block_backend *backend;
	unsigned under_way;
	int status;
};

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + at / 4096);
}

/* NULL ends the options. The server ends with the test, however that ends. */
static void start_server(struct fixture *f, const char *const *options, const char *image)
{
	char *argv[24] = {"qemu-nbd", "--persistent", "--shared=2", "--export-name=disk", "--socket", f->socket};
	unsigned argc = 6;

	while (*options)
		argv[argc++] = (char *)(uintptr_t)*options++;
	argv[argc++] = (char *)(uintptr_t)image;
	f->server = fork();
	assert_true(f->server >= 0);
	if (f->server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], argv);
		_exit(127);
	}
	for (unsigned i = 0; access(f->socket, F_OK) < 0; i++) {
		assert_int_equal(waitpid(f->server, NULL, WNOHANG), 0);
		assert_true(i < 3000);
		usleep(10000);
	}
}

static int try_open(struct fixture *f, const struct block_nbd_options *options, char why[ROOM])
{
	why[0] = 0;
	return block_nbd_open(options, f->loop, &f->backend, why, ROOM);
}

static void make(struct fixture *f)
{
	uint8_t *bytes = malloc(SIZE);
	char why[ROOM];
	int fd;

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/ruse-nbd-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->image, sizeof(f->image), "%s/disk", f->dir);
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->dir);
	snprintf(f->uri, sizeof(f->uri), "nbd+unix:///disk?socket=%s", f->socket);
	for (uint64_t i = 0; i < SIZE; i++)
		bytes[i] = pattern(i);
	fd = open(f->image, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, bytes, SIZE), SIZE);
	close(fd);
	free(bytes);
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
}

static void start(struct fixture *f, const char *const *server_options, const struct block_nbd_options *options)
{
	struct block_nbd_options with_uri = *options;
	char why[ROOM];
	int r;

	make(f);
	start_server(f, server_options, f->image);
	with_uri.uri = f->uri;
	r = try_open(f, &with_uri, why);
	assert_string_equal(why, "");
	assert_int_equal(r, 0);
}

static void stop(struct fixture *f)
{
	if (f->backend)
		f->backend->ops->destroy(f->backend);
	if (f->server) {
		kill(f->server, SIGKILL);
		waitpid(f->server, NULL, 0);
	}
	unlink(f->image);
	unlink(f->socket);
	rmdir(f->dir);
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
	status = f->status;
	f->status = 0;
	return status;
}

static int simple(struct fixture *f, enum block_op op, uint64_t offset, void *buf, uint64_t len, bool unmap)
{
	const struct iobuf iobuf = {buf, (size_t)len};
	struct block_request request = {
		.op = op, .offset = offset, .length = len, .unmap = unmap, .bufs = &iobuf, .count = buf ? 1 : 0};

	submit(f, &request);
	return wait_all(f);
}

static const char *const plain[] = {"--format=raw", "--discard=unmap", NULL};

static void data_goes_there_and_back(void **state)
{
	static const struct block_nbd_options variants[] = {{.serial = "disk"}, {.serial = "disk", .writethrough = true}};
	struct block_request *requests = calloc(REQUESTS, sizeof(*requests));
	struct iobuf (*bufs)[3] = calloc(REQUESTS, sizeof(*bufs));
	uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
	struct fixture f;
	int fd;

	for (unsigned v = 0; v < ARRAY_SIZE(variants); v++) {
		start(&f, plain, &variants[v]);
		assert_int_equal(f.backend->size, SIZE);
		assert_string_equal(f.backend->serial, "disk");
		assert_false(f.backend->read_only);
		assert_true(f.backend->can_discard);
		/* One buffer, longer than a transfer. */
		assert_int_equal(simple(&f, BLOCK_READ, 0, in, SIZE, false), 0);
		for (uint64_t i = 0; i < SIZE; i++)
			if (in[i] != pattern(i))
				fail_msg("byte %llu", (unsigned long long)i);
		/* Many at once, in pieces of no particular size: short ones are gathered, long ones are not. */
		for (unsigned i = 0; i < SIZE; i++)
			out[i] = (uint8_t)(i * 7 + i / 999);
		for (unsigned i = 0; i < REQUESTS; i++) {
			uint64_t at = i * KIB(128);
			size_t first = i % 2 ? 100 : 40000, second = i % 3 ? 4000 : 70001;

			bufs[i][0] = (struct iobuf){out + at, first};
			bufs[i][1] = (struct iobuf){out + at + first, second};
			bufs[i][2] = (struct iobuf){out + at + first + second, KIB(128) - first - second};
			requests[i] =
				(struct block_request){.op = BLOCK_WRITE, .offset = at, .length = KIB(128), .bufs = bufs[i], .count = 3};
			submit(&f, &requests[i]);
		}
		assert_int_equal(wait_all(&f), 0);
		assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
		for (unsigned i = 0; i < REQUESTS; i++) {
			for (unsigned n = 0; n < 3; n++)
				bufs[i][n].base = in + ((uint8_t *)bufs[i][n].base - out);
			requests[i].op = BLOCK_READ;
			submit(&f, &requests[i]);
		}
		assert_int_equal(wait_all(&f), 0);
		assert_memory_equal(in, out, REQUESTS * KIB(128));
		memset(in, 0, SIZE);
		fd = open(f.image, O_RDONLY);
		assert_int_equal(pread(fd, in, REQUESTS * KIB(128), 0), REQUESTS * KIB(128));
		assert_memory_equal(in, out, REQUESTS * KIB(128));
		close(fd);
		stop(&f);
	}
	free(requests);
	free(bufs);
	free(out);
	free(in);
}

static void ranges_become_zeroes(void **state)
{
	static uint8_t in[MIB(4)], zeroes[MIB(1)];
	struct fixture f;
	struct stat before, after;

	start(&f, plain, &(struct block_nbd_options){0});
	assert_int_equal(stat(f.image, &before), 0);
	assert_int_equal(simple(&f, BLOCK_DISCARD, 0, NULL, MIB(1), false), 0);
	assert_int_equal(simple(&f, BLOCK_WRITE_ZEROES, MIB(1), NULL, MIB(1), true), 0);
	assert_int_equal(simple(&f, BLOCK_WRITE_ZEROES, MIB(2) + 512, NULL, 512, false), 0);
	assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
	assert_int_equal(simple(&f, BLOCK_READ, 0, in, sizeof(in), false), 0);
	assert_memory_equal(in, zeroes, MIB(1));
	assert_memory_equal(in + MIB(1), zeroes, MIB(1));
	assert_int_equal(in[MIB(2) + 511], pattern(MIB(2) + 511));
	assert_memory_equal(in + MIB(2) + 512, zeroes, 512);
	assert_int_equal(in[MIB(2) + 1024], pattern(MIB(2) + 1024));
	assert_int_equal(stat(f.image, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	/* What is no place on the disk, and nothing. */
	assert_int_equal(simple(&f, BLOCK_READ, SIZE, in, 512, false), -EINVAL);
	assert_int_equal(simple(&f, BLOCK_WRITE, SIZE - 512, in, 1024, false), -EINVAL);
	assert_int_equal(simple(&f, BLOCK_WRITE, 0, NULL, 0, false), 0);
	stop(&f);
}

static void a_server_may_forbid_writing(void **state)
{
	static const char *const options[] = {"--format=raw", "--read-only", NULL};
	static uint8_t block[4096];
	struct fixture f;

	start(&f, options, &(struct block_nbd_options){0});
	assert_true(f.backend->read_only);
	assert_false(f.backend->can_discard);
	assert_int_equal(simple(&f, BLOCK_READ, 4096, block, sizeof(block), false), 0);
	assert_int_equal(block[1], pattern(4097));
	assert_int_equal(simple(&f, BLOCK_WRITE, 0, block, sizeof(block), false), -EINVAL);
	assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), 0);
	stop(&f);
}

/* An error is the request's alone. */
static void errors_of_the_server_arrive(void **state)
{
	static uint8_t block[4096];
	const char *const options[] = {"--image-opts", NULL};
	char image[400], why[ROOM];
	struct fixture f;

	make(&f);
	snprintf(image, sizeof(image),
		 "driver=blkdebug,image.driver=file,image.filename=%s,inject-error.0.event=none,inject-error.0.iotype=write,"
		 "inject-error.0.errno=28,inject-error.1.event=none,inject-error.1.iotype=read,inject-error.1.sector=64,inject-error.1.errno=5",
		 f.image);
	start_server(&f, options, image);
	assert_int_equal(try_open(&f, &(struct block_nbd_options){.uri = f.uri}, why), 0);
	assert_int_equal(simple(&f, BLOCK_WRITE, 0, block, sizeof(block), false), -ENOSPC);
	assert_int_equal(simple(&f, BLOCK_READ, 0, block, sizeof(block), false), 0);
	assert_int_equal(simple(&f, BLOCK_READ, 64 * 512, block, sizeof(block), false), -EIO);
	assert_int_equal(simple(&f, BLOCK_READ, 128 * 512, block, sizeof(block), false), 0);
	assert_int_equal(block[5], pattern(128 * 512 + 5));
	stop(&f);
}

/* What is under way when the server ends, and what comes then. */
static void a_lost_connection_is_an_error(void **state)
{
	struct block_request *requests = calloc(REQUESTS, sizeof(*requests));
	struct iobuf *bufs = calloc(REQUESTS, sizeof(*bufs));
	uint8_t *bytes = calloc(REQUESTS, 4096);
	struct fixture f;

	start(&f, plain, &(struct block_nbd_options){0});
	kill(f.server, SIGSTOP);
	for (unsigned i = 0; i < REQUESTS; i++) {
		bufs[i] = (struct iobuf){bytes + i * 4096, 4096};
		requests[i] = (struct block_request){
			.op = i % 2 ? BLOCK_READ : BLOCK_WRITE, .offset = i * 4096, .length = 4096, .bufs = &bufs[i], .count = 1};
		submit(&f, &requests[i]);
	}
	assert_int_equal(f.under_way, REQUESTS);
	kill(f.server, SIGKILL);
	assert_int_equal(wait_all(&f), -EIO);
	assert_int_equal(simple(&f, BLOCK_READ, 0, bytes, 4096, false), -EIO);
	assert_int_equal(simple(&f, BLOCK_FLUSH, 0, NULL, 0, false), -EIO);
	stop(&f);
	free(requests);
	free(bufs);
	free(bytes);
}

static void a_silent_server_is_not_waited_for_long(void **state)
{
	static uint8_t bytes[MIB(8)];
	const struct iobuf buf = {bytes, sizeof(bytes)};
	struct block_request requests[4];
	struct fixture f;
	uint64_t start_ns;

	start(&f, plain, &(struct block_nbd_options){.patience_ms = 300});
	/* More than the socket takes, so that libnbd has some left. */
	kill(f.server, SIGSTOP);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i] = (struct block_request){
			.op = BLOCK_WRITE, .offset = i * sizeof(bytes), .length = sizeof(bytes), .bufs = &buf, .count = 1};
		submit(&f, &requests[i]);
	}
	start_ns = platform_clock_ns();
	f.backend->ops->drain(f.backend);
	assert_int_equal(f.under_way, 0);
	assert_int_equal(f.status, -EIO);
	assert_true(platform_clock_ns() - start_ns >= 300000000ull);
	assert_int_equal(simple(&f, BLOCK_READ, 0, bytes, 512, false), -EIO);
	stop(&f);
}

static void refusals_say_why(void **state)
{
	char why[ROOM], wrong[200];
	struct fixture f;

	make(&f);
	assert_int_equal(try_open(&f, &(struct block_nbd_options){.uri = f.uri}, why), -ENOENT);
	assert_non_null(strstr(why, f.uri));
	start_server(&f, plain, f.image);
	snprintf(wrong, sizeof(wrong), "nbd+unix:///other?socket=%s", f.socket);
	assert_true(try_open(&f, &(struct block_nbd_options){.uri = wrong}, why) < 0);
	assert_non_null(strstr(why, "no export named 'other'"));
	assert_null(strchr(why, '\n'));
	assert_int_equal(try_open(&f, &(struct block_nbd_options){.uri = "nbds://localhost/disk"}, why), -EINVAL);
	assert_non_null(strstr(why, "nbd://HOST:PORT/EXPORT"));
	assert_true(nbd_client_is_uri("nbds://localhost/disk"));
	assert_false(nbd_client_is_uri("nbd/x://y"));
	assert_false(nbd_client_is_uri("nbd.img"));
	stop(&f);
	/* Half a sector. */
	make(&f);
	assert_int_equal(truncate(f.image, 1000), 0);
	start_server(&f, plain, f.image);
	if (try_open(&f, &(struct block_nbd_options){.uri = f.uri}, why) == 0)
		assert_int_equal(f.backend->size, 1024); /* as some versions round it */
	else
		assert_non_null(strstr(why, "1000 bytes"));
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_goes_there_and_back),
		cmocka_unit_test(ranges_become_zeroes),
		cmocka_unit_test(a_server_may_forbid_writing),
		cmocka_unit_test(errors_of_the_server_arrive),
		cmocka_unit_test(a_lost_connection_is_an_error),
		cmocka_unit_test(a_silent_server_is_not_waited_for_long),
		cmocka_unit_test(refusals_say_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
