/* libFuzzer target for qcow2 images: a hostile one, used by a machine, checked and repaired.
 *
 * Example:
 *     fuzz_qcow2 -max_len=512 -runs=200000
 *
 * The first byte chooses: a sound image of some shape, with data, zero, compressed and shared clusters in it, into which the input then
 * writes bytes at places of its choice; or (0) the input is the image as it is. Then come operations: reads, writes, zeroes,
 * discards, flushes, other sizes, checks and repairs.
 *
 * Invariants: nothing is read or written outside of our memory; everything ends, with or without an error; the file grows by what was
 * written and a few tables, however the entries lie; what a repair has mended opens again.
 */
#include "disk/qcow2.h"
#include "disk/qcow2_format.h"
#include "../disk/memory_file.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define MOST_BYTES 20000u /* of one operation */
#define MOST_OPS   24
#define MOST_ROOM  (2u << 20) /* of the file */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (; bytes > 0 && input->left > 0; bytes--, input->left--)
		value = value << 8 | *input->at++;
	return value;
}

/* Some of everything. */
static struct disk_file *make_image(unsigned shape)
{
	const struct qcow2_create_options options = {.size = 300000 / 512 * 512,
						     .version = shape & 1 ? 3 : 2,
						     .cluster_bits = shape & 2 ? 9 : shape & 4 ? 10 : 12,
						     .refcount_order = !(shape & 1) || shape & 8 ? 4 : (shape >> 4 & 7) % 7,
						     .compression = shape & 1 && shape & 64 ? QCOW2_ZSTD : QCOW2_ZLIB};
	struct disk_file *file = memory_file_create();
	static uint8_t data[16384];
	const struct iovec iov = {data, sizeof(data)};
	const struct span span = {&iov, 1, 0};
	struct qcow2 *q;
	char why[256];

	memset(data, 0x55, sizeof(data));
	CHECK(qcow2_create(file, &options, why, sizeof(why)) == 0);
	CHECK(qcow2_open(file, &(struct qcow2_options){.cache_bytes = 1}, &q, why, sizeof(why)) == 0);
	CHECK(qcow2_write(q, 0, span, sizeof(data)) == 0);
	CHECK(qcow2_write(q, 200000 / 512 * 512, span, 4096) == 0);
	CHECK(qcow2_write_compressed(q, 32768, data, 1u << options.cluster_bits) == 0);
	CHECK(qcow2_write_compressed(q, 65536, data, 1u << options.cluster_bits) == 0);
	CHECK(qcow2_zero(q, 4096, 8192, true) == 0);
	CHECK(qcow2_close(q) == 0);
	return file;
}

static struct disk_file *take_image(struct input *input)
{
	const unsigned shape = (unsigned)take(input, 1);
	unsigned patches;
	struct disk_file *file;

	if (shape == 0) {
		const size_t len = input->left < 64 ? input->left : input->left - 64;
		uint8_t *bytes = calloc(1, len + 65536);

		CHECK(bytes);
		memcpy(bytes, input->at, len);
		file = memory_file_from(bytes, len + 65536);
		free(bytes);
		input->at += len;
		input->left -= len;
		return file;
	}
	file = make_image(shape);
	for (patches = (unsigned)take(input, 1) % 12; patches > 0; patches--) {
		const unsigned kind = (unsigned)take(input, 1);
		uint64_t offset = take(input, 2), value;
		uint8_t bytes[8];

		/* The header; an entry of a table; anywhere. */
		offset = kind & 1 ? offset % 112 : kind & 2 ? offset * 8 : offset * 3;
		value = kind & 4 ? (take(input, 1) << 9) | (take(input, 1) & 1) | (uint64_t)(kind >> 6) << 62 : take(input, kind & 8 ? 8 : 1);
		write_be64(bytes, value);
		if (kind & 12)
			CHECK(file_write(file, offset, bytes, 8) == 0);
		else
			CHECK(file_write(file, offset, bytes + 7, 1) == 0);
	}
	return file;
}

static int read_backing(void *ctx, uint64_t offset, struct span span, uint64_t len)
{
	span_zero(span, len);
	return 0;
}

static void use(struct qcow2 *q, struct input *input)
{
	static uint8_t data[MOST_BYTES];
	const struct iovec iov = {data, sizeof(data)};
	const struct span span = {&iov, 1, 0};
	const unsigned op = (unsigned)take(input, 1);
	const uint64_t offset = take(input, 1 + op / 64) * 512, len = (take(input, 1) + 1) * 512 % MOST_BYTES;
	struct qcow2_extent extent;
	char why[256];
	int r = 0;

	switch (op % 10) {
	case 0:
	case 1:
		r = qcow2_read(q, offset, span, len);
		break;
	case 2:
	case 3:
		r = qcow2_write(q, offset, span, len);
		break;
	case 4:
		r = qcow2_zero(q, offset, len * (op >> 4), op & 8);
		break;
	case 5:
		r = qcow2_discard(q, offset, len * (op >> 4));
		break;
	case 6:
		r = qcow2_flush(q);
		break;
	case 7:
		r = qcow2_resize(q, offset, op & 16, why, sizeof(why));
		break;
	case 8:
		r = qcow2_write_compressed(q, offset, data, len < 512 ? len : 512);
		break;
	case 9:
		r = qcow2_map(q, offset, len, op & 16, &extent);
		break;
	}
	CHECK(r <= 0);
}

static void check(struct disk_file *file, enum qcow2_repair repair)
{
	const struct qcow2_options options = {.check = true};
	struct qcow2_check_result result = {0};
	struct qcow2 *q;
	char why[256];
	int r;

	if (qcow2_open(file, &options, &q, why, sizeof(why)) < 0)
		return;
	r = qcow2_check(q, repair, &result);
	qcow2_close(q);
	if (r < 0 || repair != QCOW2_REPAIR_ALL || result.corruptions == 0)
		return;
	/* Mended is mended, but for what belongs to snapshots. */
	if (qcow2_open(file, &options, &q, why, sizeof(why)) < 0)
		return;
	qcow2_close(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	struct disk_file *file = take_image(&input);
	const unsigned how = (unsigned)take(&input, 1);
	const struct qcow2_options options = {
		.read_backing = how & 1 ? read_backing : NULL, .cache_bytes = how & 2 ? 1 : 0, .discard = how & 4};
	struct qcow2_info info;
	struct qcow2 *q;
	char why[256] = "";
	int r;

	memory_file_limit(file, MOST_ROOM);
	if (how & 8)
		check(file, how & 16 ? QCOW2_REPAIR_ALL : QCOW2_REPAIR_LEAKS);
	file->writable = how & 32;
	r = qcow2_open(file, &options, &q, why, sizeof(why));
	CHECK(r <= 0);
	if (r < 0) {
		CHECK(why[0]);
	} else {
		qcow2_describe(q, &info);
		for (unsigned i = 0; i < MOST_OPS && input.left > 0; i++)
			use(q, &input);
		(void)qcow2_close(q);
	}
	file->writable = true;
	check(file, QCOW2_REPAIR_NONE);
	file->ops->close(file);
	return 0;
}
