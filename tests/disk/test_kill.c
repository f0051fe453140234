/* A machine's disk backend is killed (SIGKILL) at random points while it writes: what a flush has acknowledged must be there, and
 * the image must be sound.
 *
 * Example: test_kill [KILLS [SEED]]
 *
 * The child writes, zeroes and flushes through the very backend that devices use, many requests at once. What it is about to
 * write, and what was acknowledged, it notes in memory that it shares with us.
 */
#include "backend/block_image.h"
#include "host/linux/loop.h"
#include "memory_file.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK      4096u
#define BLOCKS     3000u
#define HISTORY    64u
#define AT_ONCE    16
#define PER_IMAGE  50  /* kills */
#define MOST_US    20000
#define QEMU_EVERY 20

/* What a block was given, one after the other: values[i % HISTORY]. */
struct block {
	uint64_t values[HISTORY];
	volatile uint64_t submitted; /* values that it may have */
	volatile uint64_t durable;   /* one of these or a later one it must have: index + 1 */
	uint64_t done;               /* the child's: completed */
	bool busy;
};

struct shared {
	struct block blocks[BLOCKS];
	volatile uint64_t acknowledged; /* flushes */
};

struct writer {
	struct shared *shared;
	struct block_backend *backend;
	uint64_t seed, next;
	struct slot {
		struct writer *writer;
		struct block_request request;
		struct iobuf buf;
		unsigned block, count;
		uint64_t done[BLOCKS]; /* flush: what had completed when it began */
		uint8_t *data;
	} slots[AT_ONCE];
};

static void die(const char *what)
{
	fprintf(stderr, "test_kill: %s\n", what);
	exit(1);
}

/* ---- the child ---- */

static void fill(uint8_t *to, uint64_t value)
{
	for (unsigned i = 0; i < BLOCK; i += 8)
		memcpy(to + i, &value, 8);
}

static void start(struct slot *slot);

static void done(struct block_request *request, int status)
{
	struct slot *slot = container_of(request, struct slot, request);
	struct shared *shared = slot->writer->shared;

	if (status < 0)
		die("a request fails");
	if (request->op == BLOCK_FLUSH) {
		for (unsigned i = 0; i < BLOCKS; i++)
			if (slot->done[i] > shared->blocks[i].durable)
				shared->blocks[i].durable = slot->done[i];
		shared->acknowledged++;
	} else {
		for (unsigned i = 0; i < slot->count; i++) {
			struct block *block = &shared->blocks[slot->block + i];

			block->done = block->submitted;
			block->busy = false;
		}
	}
	start(slot);
}

static bool may_take(const struct block *block)
{
	return !block->busy && block->submitted - block->durable < HISTORY - 2;
}

static void take_blocks(struct slot *slot, bool zero)
{
	struct writer *writer = slot->writer;
	const unsigned most = 1 + (unsigned)(random_next(&writer->seed) >> 40) % (random_next(&writer->seed) & 7 ? 3 : 60);

	do
		slot->block = (unsigned)(random_next(&writer->seed) >> 30) % BLOCKS;
	while (!may_take(&writer->shared->blocks[slot->block]));
	for (slot->count = 0; slot->count < most && slot->block + slot->count < BLOCKS; slot->count++) {
		struct block *block = &writer->shared->blocks[slot->block + slot->count];
		const uint64_t value = zero ? 0 : writer->next++;

		if (!may_take(block))
			break;
		block->busy = true;
		block->values[block->submitted % HISTORY] = value;
		block->submitted++;
		fill(slot->data + slot->count * BLOCK, value);
	}
}

static void start(struct slot *slot)
{
	struct writer *writer = slot->writer;
	const unsigned what = (unsigned)(random_next(&writer->seed) >> 35) % 16;

	slot->request = (struct block_request){.op = what == 0 ? BLOCK_FLUSH : what == 1 ? BLOCK_WRITE_ZEROES : BLOCK_WRITE, .done = done};
	if (what == 0) {
		for (unsigned i = 0; i < BLOCKS; i++)
			slot->done[i] = writer->shared->blocks[i].done;
	} else {
		take_blocks(slot, what == 1);
		slot->request.offset = (uint64_t)slot->block * BLOCK;
		slot->request.length = (uint64_t)slot->count * BLOCK;
		slot->request.unmap = true;
	}
	slot->buf = (struct iobuf){slot->data, slot->request.length};
	slot->request.bufs = &slot->buf;
	slot->request.count = slot->request.op == BLOCK_WRITE;
	writer->backend->ops->submit(writer->backend, &slot->request);
}

static void write_until_killed(const struct block_image_options *options, struct shared *shared, uint64_t seed)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	char why[512];
	struct loop *loop = loop_create(why, sizeof(why));

	if (!writer || !loop || block_image_open(options, loop, &writer->backend, why, sizeof(why)) < 0)
		die(why);
	writer->shared = shared;
	writer->seed = seed;
	writer->next = seed | 1;
	for (unsigned i = 0; i < AT_ONCE; i++) {
		writer->slots[i].writer = writer;
		writer->slots[i].data = aligned_alloc(BLOCK, 61 * BLOCK);
		start(&writer->slots[i]);
	}
	(void)!loop_run(loop);
}

/* ---- the parent ---- */

static bool may_hold(const struct block *block, uint64_t value)
{
	for (uint64_t i = block->durable ? block->durable - 1 : 0; i < block->submitted; i++)
		if (block->values[i % HISTORY] == value)
			return true;
	return !block->durable && value == 0; /* as it was made */
}

static struct disk_image *open_image(const char *path, bool check)
{
	const struct disk_image_options options = {.path = path, .format = DISK_FORMAT_QCOW2, .check = check, .no_backing = check};
	struct disk_image *image;
	char why[512];

	if (disk_image_open(&options, &image, why, sizeof(why)) < 0)
		die(why);
	return image;
}

static void say(void *ctx, const char *text)
{
	fprintf(stderr, "%s\n", text);
}

/* Sector by sector, since a write may be cut in the middle. What it holds now it may hold from here on, and nothing older. */
static void verify_block(struct block *block, unsigned number, const uint8_t *data)
{
	struct block now = {.durable = 1};

	for (unsigned k = 0; k < BLOCK; k += 512) {
		uint64_t value;

		memcpy(&value, data + k, 8);
		if (!may_hold(block, value)) {
			fprintf(stderr, "block %u holds %llx; %llu times written, %llu of them for good\n", number, (unsigned long long)value,
				(unsigned long long)block->submitted, (unsigned long long)block->durable);
			die("what was acknowledged is lost");
		}
		if (now.submitted == 0 || now.values[now.submitted - 1] != value)
			now.values[now.submitted++] = value;
	}
	*block = now;
}

static void verify(const char *path, struct shared *shared, bool with_qemu)
{
	struct qcow2_check_result result = {0};
	static uint8_t data[BLOCKS * BLOCK];
	const struct iovec iov = {data, sizeof(data)};
	struct disk_image *image = open_image(path, true);
	char command[512];

	if (qcow2_check(image->qcow2, QCOW2_REPAIR_NONE, &result) < 0)
		die("the image can't be checked");
	if (result.corruptions) {
		result = (struct qcow2_check_result){.say = say};
		(void)!qcow2_check(image->qcow2, QCOW2_REPAIR_NONE, &result);
		die("the image is damaged");
	}
	disk_image_close(image);
	image = open_image(path, false);
	if (disk_image_read(image, 0, (struct span){&iov, 1, 0}, sizeof(data)) < 0)
		die("the image can't be read");
	disk_image_close(image);
	for (unsigned i = 0; i < BLOCKS; i++)
		verify_block(&shared->blocks[i], i, data + i * BLOCK);
	snprintf(command, sizeof(command), "qemu-img check -q '%s' >/dev/null 2>&1", path);
	/* 3: leaks */
	if (with_qemu) {
		const int status = system(command);

		if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3)
			die("qemu-img check finds damage");
	}
}

static void make_image(const char *path, struct shared *shared, uint64_t *seed)
{
	static const unsigned cluster_bits[] = {16, 12, 16, 9, 14};
	const struct qcow2_create_options options = {.size = (uint64_t)BLOCKS * BLOCK,
						     .version = 3,
						     .cluster_bits = cluster_bits[random_next(seed) % ARRAY_SIZE(cluster_bits)],
						     .refcount_order = 4};
	const struct host_file_options file = {.path = path, .writable = true, .create = true};
	struct disk_file *out;
	char why[512];

	if (host_file_open(&file, &out, why, sizeof(why)) < 0 || qcow2_create(out, &options, why, sizeof(why)) < 0)
		die(why);
	out->ops->close(out);
	memset(shared, 0, sizeof(*shared));
}

int main(int argc, char **argv)
{
	const unsigned kills = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL), flushes = 0;
	const bool with_qemu = system("qemu-img --version >/dev/null 2>&1") == 0;
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char path[128];
	int fd;

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	seed = seed * 2654435761u + 1;
	snprintf(path, sizeof(path), "%s/ruse-kill-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	fd = mkstemp(path);
	if (fd < 0 || shared == MAP_FAILED)
		die("no memory or no file");
	close(fd);
	for (unsigned i = 0; i < kills; i++) {
		const struct block_image_options options = {.path = path,
							    .format = DISK_FORMAT_QCOW2,
							    .cache = random_next(&seed) % 4 ? BLOCK_CACHE_WRITEBACK : BLOCK_CACHE_UNSAFE,
							    .engine = random_next(&seed) % 4 ? BLOCK_ENGINE_AUTO : BLOCK_ENGINE_THREADS};
		pid_t child;

		if (i % PER_IMAGE == 0)
			make_image(path, shared, &seed);
		child = fork();
		if (child == 0) {
			write_until_killed(&options, shared, random_next(&seed) & ~(uint64_t)0xffffff);
			_exit(1);
		}
		usleep((useconds_t)(random_next(&seed) % MOST_US));
		kill(child, SIGKILL);
		waitpid(child, &fd, 0);
		if (!WIFSIGNALED(fd))
			die("the writer ended by itself");
		flushes += shared->acknowledged;
		shared->acknowledged = 0;
		verify(path, shared, with_qemu && i % QEMU_EVERY == 0);
	}
	unlink(path);
	printf("killed %u times, after %llu acknowledged flushes\n", kills, (unsigned long long)flushes);
	return flushes > kills / 4 ? 0 : 1; /* fewer: it tests nothing */
}
