/* Requests a second of a disk, one at a time and many, and its throughput in order.
 *
 * Example: blk_tests("/dev/vda", 1, 300e6);     // past the page cache: prints "randread-1 51234.0 op/s", ...
 *
 * Linux's own asynchronous I/O, by its system calls (io_submit(2)): past the page cache `depth` requests are under way all the time.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include "suite.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USED_SIZE (32u << 20) /* the first part of the disk */
#define DEPTH_MAX 32
#define SMALL     4096u
#define LARGE     (1u << 20)

struct pattern {
	const char *name;
	unsigned opcode;
	unsigned block, depth;
	int random;
};

static const struct pattern patterns[] = {
	{"randread-1", IOCB_CMD_PREAD, SMALL, 1, 1},   {"randread-32", IOCB_CMD_PREAD, SMALL, 32, 1},
	{"randwrite-1", IOCB_CMD_PWRITE, SMALL, 1, 1}, {"randwrite-32", IOCB_CMD_PWRITE, SMALL, 32, 1},
	{"read", IOCB_CMD_PREAD, LARGE, 1, 0},	     {"write", IOCB_CMD_PWRITE, LARGE, 1, 0},
};

struct run {
	const struct pattern *pattern;
	int fd;
	uint8_t *buffers; /* a block each */
	struct iocb blocks[DEPTH_MAX];
	uint64_t started, state;
};

static struct iocb *next_request(struct run *run, struct iocb *request)
{
	const struct pattern *pattern = run->pattern;
	const uint64_t count = USED_SIZE / pattern->block;
	const uint64_t at = pattern->random ? next_random(&run->state) % count : run->started % count;
	const size_t slot = (size_t)(request - run->blocks);

	run->started++;
	*request = (struct iocb){.aio_lio_opcode = (uint16_t)pattern->opcode,
				 .aio_fildes = (uint32_t)run->fd,
				 .aio_buf = (uint64_t)(uintptr_t)(run->buffers + slot * pattern->block),
				 .aio_nbytes = pattern->block,
				 .aio_offset = (int64_t)(at * pattern->block)};
	return request;
}

static void submit(aio_context_t context, struct iocb **requests, long count)
{
	while (count > 0) {
		const long done = syscall(SYS_io_submit, context, count, requests);

		if (done <= 0)
			fail("io_submit");
		requests += done;
		count -= done;
	}
}

/* Each that is done begins anew. Returns how many were. */
static uint64_t go_round(struct run *run, aio_context_t context, int again)
{
	struct io_event events[DEPTH_MAX];
	struct iocb *requests[DEPTH_MAX];
	const long count = syscall(SYS_io_getevents, context, 1L, (long)run->pattern->depth, events, NULL);

	if (count <= 0)
		fail("io_getevents");
	for (long i = 0; i < count; i++) {
		if (events[i].res != (int64_t)run->pattern->block)
			fail(run->pattern->name);
		requests[i] = (struct iocb *)(uintptr_t)events[i].obj;
		if (again)
			next_request(run, requests[i]);
	}
	if (again)
		submit(context, requests, count);
	return (uint64_t)count;
}

static void run_pattern(const struct pattern *pattern, int fd, uint8_t *buffers, double ns)
{
	struct run run = {.pattern = pattern, .fd = fd, .buffers = buffers, .state = 1};
	struct iocb *first[DEPTH_MAX];
	aio_context_t context = 0;
	uint64_t done = 0;
	double start, taken;

	if (syscall(SYS_io_setup, DEPTH_MAX, &context))
		fail("io_setup");
	start = now_ns();
	for (unsigned i = 0; i < pattern->depth; i++)
		first[i] = next_request(&run, &run.blocks[i]);
	submit(context, first, pattern->depth);
	do {
		done += go_round(&run, context, 1);
		taken = now_ns() - start;
	} while (taken < ns);
	while (done < run.started)
		done += go_round(&run, context, 0);
	taken = now_ns() - start;
	syscall(SYS_io_destroy, context);
	if (pattern->random)
		printf("%s %.1f op/s\n", pattern->name, (double)done * 1e9 / taken);
	else
		printf("%s %.2f MB/s\n", pattern->name, (double)done * pattern->block * 1e3 / taken);
	fflush(stdout);
}

void blk_tests(const char *path, int direct, double ns)
{
	int fd = open(path, O_RDWR | (direct ? O_DIRECT : 0));
	void *buffers = NULL;

	if (fd < 0)
		fail(path);
	if (posix_memalign(&buffers, SMALL, LARGE))
		fail("memory");
	memset(buffers, 1, LARGE);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		run_pattern(&patterns[i], fd, buffers, ns);
	free(buffers);
	close(fd);
}
