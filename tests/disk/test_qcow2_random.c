/* Random use of qcow2 images of every shape, against a model; and power that goes at any point.
 *
 * Example: test_qcow2_random [FIRST-SEED COUNT]
 *
 * Each sector holds a number that says which write it comes from. The model knows for each what it held at the last flush and what it
 * may hold now. After a loss of power (any of the sectors written since the last sync are there, or not) the image must be without
 * corruption and each sector must hold what it held at the last flush or something that was written later.
 */
#include "disk/qcow2.h"
#include "memory_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECTOR  512u
#define LATER   6 /* values that a sector may have got since the last flush */
#define MAX_OPS 400

struct sector {
	uint64_t flushed, now;
	uint64_t later[LATER];
	unsigned count; /* > LATER: too many to know */
};

struct run {
	uint64_t seed, sectors, backing_sectors, next;
	struct disk_file *file, *backing;
	struct qcow2 *q;
	struct sector *model;
	struct qcow2_create_options shape;
	uint8_t *buf;
};

static uint64_t below(struct run *run, uint64_t n)
{
	return (random_next(&run->seed) >> 16) % n;
}

static void fail_run(const struct run *run, const char *what, uint64_t at)
{
	fail_msg("%s at sector %llu (cluster_bits %u, version %u, refcount_order %u, %s backing)", what, (unsigned long long)at,
		 run->shape.cluster_bits, run->shape.version, run->shape.refcount_order, run->backing ? "with" : "no");
}

static int read_backing(void *ctx, uint64_t offset, struct span span, uint64_t len)
{
	return file_readv(ctx, offset, span, len);
}

static void fill(uint8_t *to, uint64_t value)
{
	for (unsigned i = 0; i < SECTOR; i += 8)
		memcpy(to + i, &value, 8);
}

/* What a sector says; ~0: it is torn. */
static uint64_t value_of(const uint8_t *sector)
{
	uint64_t value, other;

	memcpy(&value, sector, 8);
	for (unsigned i = 8; i < SECTOR; i += 8) {
		memcpy(&other, sector + i, 8);
		if (other != value)
			return ~0ull;
	}
	return value;
}

static int open_on(struct run *run, struct disk_file *file, bool check, struct qcow2 **q)
{
	const struct qcow2_options options = {.read_backing = run->backing ? read_backing : NULL,
					      .backing_ctx = run->backing,
					      .cache_bytes = 1,
					      .discard = run->sectors & 1,
					      .check = check};
	char why[256];
	int r = qcow2_open(file, &options, q, why, sizeof(why));

	if (r < 0)
		print_message("%s\n", why);
	return r;
}

static void start(struct run *run, uint64_t seed)
{
	char why[256];

	*run = (struct run){.seed = seed * 0x9e3779b97f4a7c15u + 1, .next = 1};
	run->shape = (struct qcow2_create_options){.version = below(run, 4) ? 3 : 2,
						   .cluster_bits = 9 + (unsigned)below(run, 8),
						   .refcount_order = 4};
	if (run->shape.version == 3)
		run->shape.refcount_order = (unsigned)below(run, 7);
	run->sectors = 1 + below(run, 6000 << (run->shape.cluster_bits > 12));
	run->shape.size = run->sectors * SECTOR;
	if (run->shape.version == 3 && below(run, 2))
		run->shape.compression = QCOW2_ZSTD;
	run->model = calloc(run->sectors, sizeof(*run->model));
	run->buf = malloc(run->sectors * SECTOR);
	if (below(run, 2)) {
		run->backing = memory_file_create();
		run->backing_sectors = below(run, run->sectors) + 1;
		for (uint64_t i = 0; i < run->backing_sectors; i++) {
			run->model[i].now = run->model[i].flushed = below(run, 4) ? run->next++ : 0;
			fill(run->buf, run->model[i].now);
			assert_int_equal(file_write(run->backing, i * SECTOR, run->buf, SECTOR), 0);
		}
		run->shape.backing = "base";
		run->shape.backing_format = "raw";
	}
	run->file = memory_file_create();
	assert_int_equal(qcow2_create(run->file, &run->shape, why, sizeof(why)), 0);
	assert_int_equal(open_on(run, run->file, false, &run->q), 0);
}

static void stop(struct run *run)
{
	if (run->q)
		assert_int_equal(qcow2_close(run->q), 0);
	run->file->ops->close(run->file);
	if (run->backing)
		run->backing->ops->close(run->backing);
	free(run->model);
	free(run->buf);
}

static void say(void *ctx, const char *text)
{
	print_message("%s\n", text);
}

static void expect_sound(struct run *run, struct disk_file *file, bool no_leaks)
{
	struct qcow2_check_result result = {.say = say};
	struct qcow2 *q;

	assert_int_equal(open_on(run, file, true, &q), 0);
	if (no_leaks == false)
		result.say = NULL;
	assert_int_equal(qcow2_check(q, QCOW2_REPAIR_NONE, &result), 0);
	if (result.corruptions) {
		result = (struct qcow2_check_result){.say = say};
		assert_int_equal(qcow2_check(q, QCOW2_REPAIR_NONE, &result), 0);
		fail_run(run, "corruption", 0);
	}
	if (no_leaks && result.leaks)
		fail_run(run, "a leak", 0);
	qcow2_close(q);
}

static void set_sector(struct run *run, uint64_t at, uint64_t value)
{
	struct sector *sector = &run->model[at];

	if (sector->count < LATER)
		sector->later[sector->count] = value;
	sector->count++;
	sector->now = value;
}

static void pick(struct run *run, uint64_t *at, uint64_t *count)
{
	uint64_t most = below(run, 4) ? 40 : run->sectors;

	*at = below(run, run->sectors);
	*count = 1 + below(run, most);
	if (*count > run->sectors - *at)
		*count = run->sectors - *at;
}

static void do_write(struct run *run)
{
	uint64_t at, count;
	struct iovec iov[3];
	size_t len;

	pick(run, &at, &count);
	for (uint64_t i = 0; i < count; i++) {
		set_sector(run, at + i, run->next);
		fill(run->buf + i * SECTOR, run->next++);
	}
	len = count * SECTOR;
	iov[0] = (struct iovec){run->buf, len / 3};
	iov[1] = (struct iovec){run->buf + len / 3, len / 2 - len / 3};
	iov[2] = (struct iovec){run->buf + len / 2, len - len / 2};
	if (qcow2_write(run->q, at * SECTOR, (struct span){iov, 3, 0}, len) != 0)
		fail_run(run, "a write fails", at);
}

static void do_compressed(struct run *run)
{
	const uint64_t per = run->shape.cluster_bits - 9, cluster = below(run, ((run->sectors - 1) >> per) + 1);
	uint64_t count = 1ull << per, at = cluster << per;

	if (count > run->sectors - at)
		count = run->sectors - at;
	for (uint64_t i = 0; i < count; i++) {
		set_sector(run, at + i, run->next);
		fill(run->buf + i * SECTOR, run->next++);
	}
	if (qcow2_write_compressed(run->q, at * SECTOR, run->buf, count * SECTOR) != 0)
		fail_run(run, "a compressed write fails", at);
}

static void do_zero(struct run *run)
{
	uint64_t at, count;

	pick(run, &at, &count);
	for (uint64_t i = 0; i < count; i++)
		set_sector(run, at + i, 0);
	if (qcow2_zero(run->q, at * SECTOR, count * SECTOR, below(run, 2)) != 0)
		fail_run(run, "zeroing fails", at);
}

static void read_all(struct run *run, struct qcow2 *q)
{
	const struct iovec iov = {run->buf, run->sectors * SECTOR};

	if (qcow2_read(q, 0, (struct span){&iov, 1, 0}, run->sectors * SECTOR) != 0)
		fail_run(run, "a read fails", 0);
}

/* Reads as zeroes afterwards or as before; whichever, it stays so. */
static void do_discard(struct run *run)
{
	uint64_t at, count;

	pick(run, &at, &count);
	if (qcow2_discard(run->q, at * SECTOR, count * SECTOR) != 0)
		fail_run(run, "a discard fails", at);
	read_all(run, run->q);
	for (uint64_t i = at; i < at + count; i++) {
		uint64_t value = value_of(run->buf + i * SECTOR);

		/* Under an image without zero flags lies what lies there. */
		if (value != 0 && value != run->model[i].now)
			fail_run(run, "a discard reveals something", i);
		if (value != run->model[i].now)
			set_sector(run, i, value);
	}
}

static void compare(struct run *run)
{
	read_all(run, run->q);
	for (uint64_t i = 0; i < run->sectors; i++)
		if (value_of(run->buf + i * SECTOR) != run->model[i].now)
			fail_run(run, "wrong data", i);
}

static void do_flush(struct run *run)
{
	if (qcow2_flush(run->q) != 0)
		fail_run(run, "a flush fails", 0);
	for (uint64_t i = 0; i < run->sectors; i++) {
		run->model[i].flushed = run->model[i].now;
		run->model[i].count = 0;
	}
}

static bool may_hold(const struct sector *sector, uint64_t value)
{
	if (value == sector->flushed || sector->count > LATER)
		return true;
	for (unsigned i = 0; i < sector->count; i++)
		if (sector->later[i] == value)
			return true;
	/* A sector is written in one go on the medium, but not sector by sector at once: never torn. */
	return false;
}

static void crash(struct run *run, bool power)
{
	struct disk_file *after = power ? memory_file_crash(run->file, &run->seed) : memory_file_copy(run->file);
	struct qcow2 *q;

	expect_sound(run, after, false);
	assert_int_equal(open_on(run, after, false, &q), 0);
	read_all(run, q);
	for (uint64_t i = 0; i < run->sectors; i++)
		if (!may_hold(&run->model[i], value_of(run->buf + i * SECTOR))) {
			print_message("it holds %lld, held %lld at the flush, and was written %u times since: %lld ...\n",
				      (long long)value_of(run->buf + i * SECTOR), (long long)run->model[i].flushed,
				      run->model[i].count, (long long)run->model[i].later[0]);
			fail_run(run, power ? "the power took what was flushed" : "the end took what was flushed", i);
		}
	assert_int_equal(qcow2_close(q), 0);
	expect_sound(run, after, false);
	after->ops->close(after);
}

static void reopen(struct run *run)
{
	assert_int_equal(qcow2_close(run->q), 0);
	for (uint64_t i = 0; i < run->sectors; i++) {
		run->model[i].flushed = run->model[i].now;
		run->model[i].count = 0;
	}
	expect_sound(run, run->file, true);
	assert_int_equal(open_on(run, run->file, false, &run->q), 0);
}

static void play(uint64_t seed, bool crashes)
{
	struct run run;
	unsigned ops;

	start(&run, seed);
	ops = 20 + (unsigned)below(&run, MAX_OPS);
	for (unsigned i = 0; i < ops; i++) {
		switch (below(&run, 12)) {
		case 0:
			do_flush(&run);
			break;
		case 1:
			do_discard(&run);
			break;
		case 2:
			do_zero(&run);
			break;
		case 3:
			if (run.shape.version == 3)
				do_compressed(&run);
			break;
		case 4:
			compare(&run);
			break;
		case 5:
			if (below(&run, 8) == 0)
				reopen(&run);
			break;
		default:
			do_write(&run);
		}
		if (crashes && below(&run, 6) == 0)
			crash(&run, below(&run, 4) != 0);
	}
	compare(&run);
	reopen(&run);
	compare(&run);
	stop(&run);
}

static uint64_t first_seed = 1, seed_count = 60;

static void data_stays_what_it_was(void **state)
{
	for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
		play(seed, false);
	}
}

static void power_may_go(void **state)
{
	for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
		play(seed + 1000000, true);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_stays_what_it_was),
		cmocka_unit_test(power_may_go),
	};

	if (argc > 2) {
		first_seed = strtoull(argv[1], NULL, 0);
		seed_count = strtoull(argv[2], NULL, 0);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
