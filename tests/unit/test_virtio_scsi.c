/* The SCSI adapter and its disks: what they say they are, reads and writes of every size, what is refused, task management. */
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DISK_SIZE 262144u /* 512 blocks */
#define BLOCKS    512u
#define F_HOTPLUG (1u << 1)
#define F_CHANGE  (1u << 2)

enum { OK = 0, OVERRUN = 1, BAD_TARGET = 3, FAILURE = 9, SUCCEEDED = 10, REJECTED = 11, INCORRECT_LUN = 12 };

struct disk {
	struct block_backend backend;
	uint8_t bytes[DISK_SIZE];
	bool defer;
	int status;
	struct block_request *waiting[256];
	unsigned count;
	char log[512]; /* a letter for each request carried out */
};

static void carry_out(struct disk *disk, struct block_request *request)
{
	uint64_t at = request->offset;

	if (strlen(disk->log) < sizeof(disk->log) - 1)
		disk->log[strlen(disk->log)] = request->op == BLOCK_WRITE_ZEROES && request->unmap ? 'u' : "rwfdz"[request->op];
	if (disk->status == 0 && (request->op == BLOCK_READ || request->op == BLOCK_WRITE))
		for (unsigned i = 0; i < request->count; i++) {
			const struct iobuf *buf = &request->bufs[i];

			assert_true(at + buf->len <= request->offset + request->length);
			if (request->op == BLOCK_READ)
				memcpy(buf->base, disk->bytes + at, buf->len);
			else
				memcpy(disk->bytes + at, buf->base, buf->len);
			at += buf->len;
		}
	if (request->op == BLOCK_WRITE_ZEROES || request->op == BLOCK_DISCARD)
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

static void finish_one(struct disk *disk)
{
	carry_out(disk, disk->waiting[--disk->count]);
}

static void disk_drain(struct block_backend *backend)
{
	struct disk *disk = container_of(backend, struct disk, backend);

	while (disk->count > 0)
		finish_one(disk);
}

static const struct block_backend_ops disk_ops = {.submit = disk_submit, .drain = disk_drain};

struct fixture {
	struct driver driver;
	struct disk disks[2];
	struct virtio_device *vdev;
	gpa_t request, response, data;
	uint64_t next_id;
	uint8_t lun; /* for commands */
	uint8_t target;
};

/* What a command ended with. */
struct result {
	uint8_t response, status, key, asc, ascq;
	uint32_t resid, sense_len, used;
};

static void start(struct fixture *f, bool read_only, bool thin)
{
	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < 2; i++) {
		f->disks[i].backend =
			(struct block_backend){.ops = &disk_ops, .size = DISK_SIZE, .read_only = read_only, .can_discard = thin};
		for (unsigned j = 0; j < DISK_SIZE; j++)
			f->disks[i].bytes[j] = (uint8_t)(j * 7 + j / 512 + i);
	}
	strcpy(f->disks[0].backend.serial, "a-serial-number-of20");
	driver_machine(&f->driver);
	struct block_backend *backends[] = {&f->disks[0].backend, &f->disks[1].backend};
	assert_int_equal(virtio_scsi_create(&f->driver.vm, backends, 2, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, F_HOTPLUG | F_CHANGE | VIRTIO_F_INDIRECT_DESC);
	f->request = driver_alloc(&f->driver, 64);
	f->response = driver_alloc(&f->driver, 128);
	f->data = driver_alloc(&f->driver, 300000);
}

static void stop(struct fixture *f)
{
	driver_stop(&f->driver);
	assert_int_equal(fake_alloc_live(), 0);
}

static uint8_t *data_of(struct fixture *f)
{
	return driver_ptr(&f->driver, f->data);
}

/* Makes a command available. len bytes of data, in or out. */
static void send_it(struct fixture *f, const uint8_t *cdb, size_t cdb_len, uint32_t len, bool in)
{
	uint8_t *header = driver_ptr(&f->driver, f->request);
	struct driver_buf bufs[4];
	unsigned n = 0;

	memset(header, 0, 51);
	header[0] = 1;
	header[1] = f->target;
	header[2] = 0x40;
	header[3] = f->lun;
	f->next_id++;
	memcpy(header + 8, &f->next_id, 8);
	memcpy(header + 19, cdb, cdb_len);
	memset(driver_ptr(&f->driver, f->response), 0xee, 108);
	bufs[n++] = (struct driver_buf){f->request, 51, false};
	if (len && !in)
		bufs[n++] = (struct driver_buf){f->data, len, false};
	bufs[n++] = (struct driver_buf){f->response, 108, true};
	if (len && in)
		bufs[n++] = (struct driver_buf){f->data, len, true};
	driver_add(&f->driver, 2, n, bufs);
	driver_kick(&f->driver, 2);
}

static struct result take_result(struct fixture *f)
{
	const uint8_t *response = driver_ptr(&f->driver, f->response), *sense = response + 12;
	struct result result = {.status = response[10], .response = response[11]};

	assert_true(driver_used(&f->driver, 2, NULL, &result.used));
	memcpy(&result.sense_len, response, 4);
	memcpy(&result.resid, response + 4, 4);
	if (result.sense_len) {
		assert_int_equal(result.sense_len, 18);
		assert_int_equal(sense[0], 0x70);
		result.key = sense[2];
		result.asc = sense[12];
		result.ascq = sense[13];
	}
	return result;
}

static struct result execute(struct fixture *f, const uint8_t *cdb, size_t cdb_len, uint32_t len, bool in)
{
	send_it(f, cdb, cdb_len, len, in);
	return take_result(f);
}

#define CDB(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void check_good(struct result result, uint32_t resid)
{
	assert_int_equal(result.response, OK);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.sense_len, 0);
	assert_int_equal(result.resid, resid);
}

static void check_refused(struct result result, uint8_t key, uint8_t asc)
{
	assert_int_equal(result.response, OK);
	assert_int_equal(result.status, 2);
	assert_int_equal(result.key, key);
	assert_int_equal(result.asc, asc);
}

static uint64_t be(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *at++;
	return value;
}

/* ---- what it is ---- */

static void test_inquiry(void **state)
{
	struct fixture f;
	const uint8_t *data;
	struct result result;

	start(&f, false, true);
	data = data_of(&f);
	result = execute(&f, CDB(0x12, 0, 0, 0, 96), 96, true);
	check_good(result, 60);
	assert_int_equal(result.used, 108 + 36);
	assert_int_equal(data[0], 0);
	assert_int_equal(data[4], 31);
	assert_memory_equal(data + 8, "RUSE    DISK            1   ", 28);
	/* Less is asked for, or there is less room. */
	check_good(execute(&f, CDB(0x12, 0, 0, 0, 5), 96, true), 91);
	check_good(execute(&f, CDB(0x12, 0, 0, 0, 96), 5, true), 0);
	check_good(execute(&f, CDB(0x12, 0, 0, 0, 96), 0, true), 0);
	check_good(execute(&f, CDB(0x12, 1, 0, 0, 96), 96, true), 96 - 10);
	assert_memory_equal(data, "\x00\x00\x00\x06\x00\x80\x83\xb0\xb1\xb2", 10);
	check_good(execute(&f, CDB(0x12, 1, 0x80, 0, 96), 96, true), 96 - 24);
	assert_memory_equal(data, "\x00\x80\x00\x14" "a-serial-number-of20", 24);
	check_good(execute(&f, CDB(0x12, 1, 0x83, 0, 96), 96, true), 96 - 36);
	assert_memory_equal(data, "\x00\x83\x00\x20\x02\x01\x00\x1cRUSE    a-serial-number-of20", 36);
	check_good(execute(&f, CDB(0x12, 1, 0xb0, 0, 96), 96, true), 32);
	assert_int_equal(be(data + 2, 2), 0x3c);
	assert_int_equal(be(data + 24, 4), 16);
	check_good(execute(&f, CDB(0x12, 1, 0xb2, 0, 96), 96, true), 88);
	assert_int_equal(data[5], 0xe0);
	assert_int_equal(data[6], 2);
	check_refused(execute(&f, CDB(0x12, 1, 0x99, 0, 96), 96, true), 5, 0x24);
	check_refused(execute(&f, CDB(0x12, 0, 0x80, 0, 96), 96, true), 5, 0x24);
	/* A disk without serial number, which is not thin. */
	f.disks[1].backend.can_discard = false;
	f.lun = 1;
	check_good(execute(&f, CDB(0x12, 1, 0, 0, 96), 96, true), 96 - 9);
	check_refused(execute(&f, CDB(0x12, 1, 0x80, 0, 96), 96, true), 5, 0x24);
	check_good(execute(&f, CDB(0x12, 1, 0x83, 0, 96), 96, true), 96 - 20);
	assert_memory_equal(data + 8, "RUSE    lun1", 12);
	check_good(execute(&f, CDB(0x12, 1, 0xb2, 0, 96), 96, true), 88);
	assert_int_equal(data[5] | data[6], 0);
	stop(&f);
}

static void test_luns(void **state)
{
	struct fixture f;
	const uint8_t *data;

	start(&f, false, true);
	data = data_of(&f);
	check_good(execute(&f, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0), 64, true), 64 - 24);
	assert_int_equal(be(data, 4), 16);
	assert_int_equal(data[8 + 1], 0);
	assert_int_equal(data[16 + 1], 1);
	check_good(execute(&f, CDB(0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64), 64, true), 64 - 8);
	check_refused(execute(&f, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15), 64, true), 5, 0x24);
	/* A unit that isn't there says so, and which there are. */
	f.lun = 2;
	check_good(execute(&f, CDB(0x12, 0, 0, 0, 96), 96, true), 60);
	assert_int_equal(data[0], 0x7f);
	check_good(execute(&f, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64), 64, true), 64 - 24);
	check_good(execute(&f, CDB(0x03, 0, 0, 0, 18), 18, true), 0);
	assert_int_equal(data[12], 0x25);
	check_refused(execute(&f, CDB(0x00), 0, true), 5, 0x25);
	check_refused(execute(&f, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, true), 5, 0x25);
	f.lun = 0;
	f.target = 1;
	assert_int_equal(execute(&f, CDB(0x12, 0, 0, 0, 96), 96, true).response, BAD_TARGET);
	stop(&f);
}

static void test_capacity_and_modes(void **state)
{
	struct fixture f;
	const uint8_t *data;

	start(&f, false, true);
	data = data_of(&f);
	check_good(execute(&f, CDB(0x25), 8, true), 0);
	assert_int_equal(be(data, 4), BLOCKS - 1);
	assert_int_equal(be(data + 4, 4), 512);
	check_good(execute(&f, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 32, true), 0);
	assert_int_equal(be(data, 8), BLOCKS - 1);
	assert_int_equal(data[14], 0x80);
	check_refused(execute(&f, CDB(0x9e, 0x11), 32, true), 5, 0x24);
	f.disks[0].backend.size = 3ull << 41;
	check_good(execute(&f, CDB(0x25), 8, true), 0);
	assert_int_equal(be(data, 4), UINT32_MAX);
	f.disks[0].backend.size = DISK_SIZE;
	check_good(execute(&f, CDB(0x1a, 0, 0x3f, 0, 255), 255, true), 255 - 36);
	assert_int_equal(data[0], 35);
	assert_int_equal(data[2], 0x10);
	assert_int_equal(data[4], 0x08);
	assert_int_equal(data[6], 0x04);
	assert_int_equal(data[24], 0x0a);
	check_good(execute(&f, CDB(0x1a, 0, 0x48, 0, 255), 255, true), 255 - 24);
	assert_int_equal(data[6], 0);
	check_good(execute(&f, CDB(0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0), 255, true), 255 - 28);
	assert_int_equal(be(data, 2), 26);
	check_refused(execute(&f, CDB(0x1a, 0, 0xc8, 0, 255), 255, true), 5, 0x39);
	check_refused(execute(&f, CDB(0x1a, 0, 0x01, 0, 255), 255, true), 5, 0x24);
	check_refused(execute(&f, CDB(0x1a, 0, 0x08, 7, 255), 255, true), 5, 0x24);
	check_good(execute(&f, CDB(0x00), 0, true), 0);
	check_good(execute(&f, CDB(0x03, 0, 0, 0, 18), 18, true), 0);
	assert_int_equal(data[2], 0);
	check_refused(execute(&f, CDB(0x03, 1, 0, 0, 18), 18, true), 5, 0x24);
	/* Persistent reservations, and what nobody knows. */
	check_refused(execute(&f, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 8), 8, true), 5, 0x20);
	check_refused(execute(&f, CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, 24), 24, false), 5, 0x20);
	check_refused(execute(&f, CDB(0xff), 0, true), 5, 0x20);
	stop(&f);
}

/* ---- the medium ---- */

/* A read or write of `blocks` at lba by the opcode of this size. */
static struct result move(struct fixture *f, unsigned size, bool write, uint64_t lba, uint32_t blocks, uint8_t flags, uint32_t len)
{
	static const struct {
		uint8_t size, read, write, lba_at, lba_len, len_at, len_len;
	} kinds[] = {{6, 0x08, 0x0a, 1, 3, 4, 1}, {10, 0x28, 0x2a, 2, 4, 7, 2}, {12, 0xa8, 0xaa, 2, 4, 6, 4}, {16, 0x88, 0x8a, 2, 8, 10, 4}};
	uint8_t cdb[16] = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].size != size)
			continue;
		cdb[0] = write ? kinds[i].write : kinds[i].read;
		for (unsigned b = 0; b < kinds[i].lba_len; b++)
			cdb[kinds[i].lba_at + kinds[i].lba_len - 1 - b] = (uint8_t)(lba >> 8 * b);
		for (unsigned b = 0; b < kinds[i].len_len; b++)
			cdb[kinds[i].len_at + kinds[i].len_len - 1 - b] = (uint8_t)(blocks >> 8 * b);
		if (size > 6)
			cdb[1] = flags;
	}
	return execute(f, cdb, sizeof(cdb), len, !write);
}

static void test_transfers(void **state)
{
	static const unsigned sizes[] = {6, 10, 12, 16};
	static uint8_t before[DISK_SIZE];
	struct fixture f;

	start(&f, false, true);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(data_of(&f), 0, 2048);
		struct result result = move(&f, sizes[i], false, 5, 3, 0, 2048);

		check_good(result, 512);
		assert_int_equal(result.used, 108 + 1536);
		assert_memory_equal(data_of(&f), f.disks[0].bytes + 5 * 512, 1536);
		assert_int_equal(data_of(&f)[1536], 0);
		memset(data_of(&f), 0x40 + (int)i, 2048);
		memcpy(before, f.disks[0].bytes, DISK_SIZE);
		check_good(move(&f, sizes[i], true, 7, 3, 0, 2048), 512);
		memset(before + 7 * 512, 0x40 + (int)i, 1536);
		assert_memory_equal(before, f.disks[0].bytes, DISK_SIZE);
		/* The last block, and one behind it. */
		check_good(move(&f, sizes[i], false, BLOCKS - 1, 1, 0, 512), 0);
		check_refused(move(&f, sizes[i], false, BLOCKS - 1, 2, 0, 1024), 5, 0x21);
		check_refused(move(&f, sizes[i], true, BLOCKS, 1, 0, 512), 5, 0x21);
		/* Data that isn't there. */
		assert_int_equal(move(&f, sizes[i], false, 0, 2, 0, 1023).response, OVERRUN);
		assert_int_equal(move(&f, sizes[i], true, 0, 2, 0, 1023).response, OVERRUN);
		assert_memory_equal(before, f.disks[0].bytes, DISK_SIZE);
	}
	check_refused(move(&f, 16, false, UINT64_MAX, 2, 0, 1024), 5, 0x21);
	check_refused(move(&f, 10, false, 0, 1, 0x20, 512), 5, 0x24);
	/* No length: 256 blocks, or none. */
	check_good(move(&f, 6, false, 0, 0, 0, 131072), 0);
	assert_memory_equal(data_of(&f), f.disks[0].bytes, 131072);
	check_good(move(&f, 10, false, 0, 0, 0, 512), 512);
	check_refused(move(&f, 10, false, BLOCKS + 1, 0, 0, 512), 5, 0x21);
	/* Caches. */
	memset(f.disks[0].log, 0, sizeof(f.disks[0].log));
	check_good(move(&f, 10, true, 0, 1, 0x08, 512), 0);
	check_good(execute(&f, CDB(0x35), 0, true), 0);
	check_good(execute(&f, CDB(0x91), 0, true), 0);
	assert_string_equal(f.disks[0].log, "wfff");
	check_good(execute(&f, CDB(0x2f, 0, 0, 0, 1, 0xff, 0, 0, 1), 0, true), 0);
	check_refused(execute(&f, CDB(0x2f, 0, 0, 0, 1, 0xff, 0, 0, 2), 0, true), 5, 0x21);
	check_refused(execute(&f, CDB(0x2f, 2, 0, 0, 0, 0, 0, 0, 1), 512, false), 5, 0x24);
	/* The other disk is another. */
	f.lun = 1;
	check_good(move(&f, 10, false, 0, 1, 0, 512), 0);
	assert_memory_equal(data_of(&f), f.disks[1].bytes, 512);
	/* A host that fails. */
	f.disks[1].status = -EIO;
	struct result result = move(&f, 10, false, 0, 1, 0, 512);
	check_refused(result, 3, 0x11);
	assert_int_equal(result.resid, 512);
	assert_int_equal(result.used, 108);
	check_refused(move(&f, 10, true, 0, 1, 0, 512), 3, 0x0c);
	check_refused(execute(&f, CDB(0x35), 0, true), 3, 0x0c);
	stop(&f);
}

static void test_write_same(void **state)
{
	static uint8_t before[DISK_SIZE];
	struct fixture f;

	start(&f, false, true);
	memcpy(before, f.disks[0].bytes, DISK_SIZE);
	memset(data_of(&f), 0x11, 512);
	/* More than fits one request to the backend. */
	check_good(execute(&f, CDB(0x41, 0, 0, 0, 0, 10, 0, 1, 44), 512, false), 0);
	memset(before + 10 * 512, 0x11, 300 * 512);
	assert_memory_equal(before, f.disks[0].bytes, DISK_SIZE);
	assert_string_equal(f.disks[0].log, "ww");
	memset(data_of(&f), 0, 512);
	check_good(execute(&f, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 3), 512, false), 0);
	check_good(execute(&f, CDB(0x93, 8, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 3), 512, false), 0);
	check_good(execute(&f, CDB(0x93, 9, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 3), 0, false), 0);
	memset(before + 20 * 512, 0, 3 * 512);
	memset(before + 30 * 512, 0, 3 * 512);
	memset(before + 40 * 512, 0, 3 * 512);
	assert_memory_equal(before, f.disks[0].bytes, DISK_SIZE);
	assert_string_equal(f.disks[0].log, "wwzuu");
	assert_int_equal(execute(&f, CDB(0x41, 0, 0, 0, 0, 10, 0, 0, 1), 511, false).response, OVERRUN);
	check_refused(execute(&f, CDB(0x41, 0, 0, 0, 0, 10, 0, 0, 0), 512, false), 5, 0x24);
	check_refused(execute(&f, CDB(0x41, 0x10, 0, 0, 0, 10, 0, 0, 1), 512, false), 5, 0x24);
	check_refused(execute(&f, CDB(0x41, 0, 0, 0, 1, 0xff, 0, 0, 2), 512, false), 5, 0x21);
	check_refused(execute(&f, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1), 512, false), 5, 0x24);
	f.disks[0].status = -EIO;
	memset(data_of(&f), 1, 512);
	check_refused(execute(&f, CDB(0x41, 0, 0, 0, 0, 10, 0, 1, 44), 512, false), 3, 0x0c);
	assert_string_equal(f.disks[0].log, "wwzuuw");
	stop(&f);
}

static void put_ranges(struct fixture *f, unsigned count, uint32_t blocks)
{
	uint8_t *list = data_of(f);

	memset(list, 0, 8 + 16 * count);
	list[1] = (uint8_t)(6 + 16 * count);
	list[2] = (uint8_t)(16 * count >> 8);
	list[3] = (uint8_t)(16 * count);
	for (unsigned i = 0; i < count; i++) {
		list[8 + 16 * i + 7] = (uint8_t)(i * 10);
		for (unsigned b = 0; b < 4; b++)
			list[8 + 16 * i + 8 + b] = (uint8_t)(blocks >> (24 - 8 * b));
	}
}

static void test_unmap(void **state)
{
	struct fixture f;

	start(&f, false, true);
	put_ranges(&f, 3, 2);
	data_of(&f)[8 + 16 + 11] = 0; /* the second range is empty */
	check_good(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 56), 56, false), 0);
	assert_string_equal(f.disks[0].log, "dd");
	assert_int_equal(f.disks[0].bytes[1023] | f.disks[0].bytes[20 * 512 + 5], 0);
	assert_int_equal(f.disks[0].bytes[1024], (uint8_t)(1024 * 7 + 2));
	check_good(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0), 0, false), 0);
	/* A list that says more than there is. */
	check_good(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 56, false), 32);
	assert_string_equal(f.disks[0].log, "ddd");
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 7), 7, false), 5, 0x1a);
	assert_int_equal(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 56), 55, false).response, OVERRUN);
	put_ranges(&f, 17, 1);
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 1, 24), 280, false), 5, 0x26);
	put_ranges(&f, 1, BLOCKS + 1);
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 24, false), 5, 0x21);
	f.disks[0].backend.size = 16ull << 30;
	put_ranges(&f, 2, 1 << 22);
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), 40, false), 5, 0x26);
	assert_string_equal(f.disks[0].log, "ddd");
	f.disks[0].backend.can_discard = false;
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 24, false), 5, 0x20);
	check_refused(execute(&f, CDB(0x41, 8, 0, 0, 0, 10, 0, 0, 1), 512, false), 5, 0x24);
	stop(&f);
}

static void test_read_only(void **state)
{
	struct fixture f;

	start(&f, true, true);
	check_good(execute(&f, CDB(0x1a, 0, 0x3f, 0, 255), 255, true), 255 - 36);
	assert_int_equal(data_of(&f)[2], 0x90);
	check_refused(move(&f, 10, true, 0, 1, 0, 512), 7, 0x27);
	check_refused(execute(&f, CDB(0x41, 0, 0, 0, 0, 10, 0, 0, 1), 512, false), 7, 0x27);
	check_refused(execute(&f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 24, false), 7, 0x27);
	check_good(move(&f, 10, false, 0, 1, 0, 512), 0);
	assert_string_equal(f.disks[0].log, "r");
	stop(&f);
}

/* ---- task management and events ---- */

/* The answer of a task management function; -1: none yet. */
static int manage(struct fixture *f, uint32_t subtype, uint8_t target, uint8_t lun, uint64_t id)
{
	const gpa_t at = driver_alloc(&f->driver, 32);
	struct {
		uint32_t type, subtype;
		uint8_t lun[8];
		uint64_t id;
	} tmf = {0, subtype, {1, target, 0x40, lun}, id};

	memcpy(driver_ptr(&f->driver, at), &tmf, sizeof(tmf));
	driver_add(&f->driver, 0, 2, (struct driver_buf[]){{at, 24, false}, {at + 24, 1, true}});
	driver_kick(&f->driver, 0);
	return driver_used(&f->driver, 0, NULL, NULL) ? *(uint8_t *)driver_ptr(&f->driver, at + 24) : -1;
}

static void test_task_management(void **state)
{
	struct fixture f;
	uint64_t first;

	start(&f, false, true);
	assert_int_equal(manage(&f, 6, 0, 0, 1), 0);
	assert_int_equal(manage(&f, 0, 0, 0, 1), 0);
	assert_int_equal(manage(&f, 2, 0, 0, 1), REJECTED);
	assert_int_equal(manage(&f, 99, 0, 0, 1), REJECTED);
	assert_int_equal(manage(&f, 0, 1, 0, 1), BAD_TARGET);
	assert_int_equal(manage(&f, 0, 0, 9, 1), INCORRECT_LUN);
	f.disks[0].defer = true;
	send_it(&f, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, true);
	first = f.next_id;
	send_it(&f, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 512, true);
	assert_int_equal(f.disks[0].count, 2);
	assert_int_equal(manage(&f, 6, 0, 0, first), SUCCEEDED);
	assert_int_equal(manage(&f, 6, 0, 0, 77), 0);
	assert_int_equal(manage(&f, 7, 0, 0, 0), SUCCEEDED);
	assert_int_equal(manage(&f, 7, 0, 1, 0), 0);
	assert_int_equal(manage(&f, 1, 0, 1, 0), 0);
	/* The abort of the first waits for it, and not for the second; another function waits behind it. */
	assert_int_equal(manage(&f, 0, 0, 0, first), -1);
	assert_int_equal(manage(&f, 5, 0, 0, 0), -1);
	finish_one(&f.disks[0]);
	fake_run_work();
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	finish_one(&f.disks[0]);
	fake_run_work();
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	take_result(&f);
	take_result(&f);
	/* After a reset the next command is told, once, and only of this unit. */
	f.disks[0].defer = false;
	check_refused(execute(&f, CDB(0x00), 0, true), 6, 0x29);
	check_good(execute(&f, CDB(0x00), 0, true), 0);
	f.lun = 1;
	check_good(execute(&f, CDB(0x00), 0, true), 0);
	assert_int_equal(manage(&f, 4, 0, 0, 0), 0);
	check_good(execute(&f, CDB(0x03, 0, 0, 0, 18), 18, true), 0);
	assert_int_equal(data_of(&f)[12], 0x29);
	check_good(execute(&f, CDB(0x00), 0, true), 0);
	stop(&f);
}

static void test_control_requests(void **state)
{
	struct fixture f;
	gpa_t at;
	uint32_t len;

	start(&f, false, true);
	at = driver_alloc(&f.driver, 64);
	/* Asynchronous notifications: none. */
	*(uint32_t *)driver_ptr(&f.driver, at) = 2;
	driver_add(&f.driver, 0, 2, (struct driver_buf[]){{at, 16, false}, {at + 32, 5, true}});
	/* Of a kind that there is not; too short; without room for an answer. */
	*(uint32_t *)driver_ptr(&f.driver, at + 16) = 9;
	driver_add(&f.driver, 0, 2, (struct driver_buf[]){{at + 16, 16, false}, {at + 40, 1, true}});
	driver_add(&f.driver, 0, 2, (struct driver_buf[]){{at, 3, false}, {at + 41, 1, true}});
	driver_add(&f.driver, 0, 1, (struct driver_buf[]){{at + 16, 16, false}});
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, &len) && len == 5);
	assert_true(driver_used(&f.driver, 0, NULL, &len) && len == 1);
	assert_int_equal(*(uint8_t *)driver_ptr(&f.driver, at + 40), FAILURE);
	assert_true(driver_used(&f.driver, 0, NULL, &len) && len == 1);
	assert_true(driver_used(&f.driver, 0, NULL, &len) && len == 0);
	/* A reset while a function waits. */
	f.disks[0].defer = true;
	send_it(&f, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, true);
	assert_int_equal(manage(&f, 5, 0, 0, 0), -1);
	disk_drain(&f.disks[0].backend);
	fake_run_work();
	f.disks[0].defer = false;
	driver_set_reg(&f.driver, 0x070, 0);
	assert_int_equal(driver_reg(&f.driver, 0x070), 0);
	stop(&f);
}

static void test_events(void **state)
{
	struct fixture f;
	gpa_t at;
	uint32_t *event, len;

	start(&f, false, true);
	at = driver_alloc(&f.driver, 64);
	event = driver_ptr(&f.driver, at);
	/* Missed, for want of a buffer; then there is one. */
	virtio_scsi_capacity_changed(f.vdev, 1);
	driver_add(&f.driver, 1, 1, &(struct driver_buf){at, 16, true});
	driver_kick(&f.driver, 1);
	assert_true(driver_used(&f.driver, 1, NULL, &len) && len == 16);
	assert_int_equal(event[0], 0x80000000u);
	driver_add(&f.driver, 1, 1, &(struct driver_buf){at, 16, true});
	driver_kick(&f.driver, 1);
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	virtio_scsi_capacity_changed(f.vdev, 5);
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	virtio_scsi_capacity_changed(f.vdev, 1);
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_int_equal(event[0], 3);
	assert_memory_equal(event + 1, "\x01\x00\x40\x01", 4);
	assert_int_equal(event[3], 0x092a);
	stop(&f);
}

/* ---- drivers that break the rules ---- */

static void test_broken(void **state)
{
	struct fixture f;

	start(&f, false, true);
	driver_add(&f.driver, 2, 2, (struct driver_buf[]){{f.request, 50, false}, {f.response, 108, true}});
	driver_kick(&f.driver, 2);
	assert_true(driver_reg(&f.driver, 0x070) & VIRTIO_STATUS_NEEDS_RESET);
	driver_init_device(&f.driver, 0, 0);
	driver_add(&f.driver, 2, 2, (struct driver_buf[]){{f.request, 51, false}, {f.response, 107, true}});
	driver_kick(&f.driver, 2);
	assert_true(driver_reg(&f.driver, 0x070) & VIRTIO_STATUS_NEEDS_RESET);
	stop(&f);
	/* Both directions at once. */
	start(&f, false, true);
	memset(driver_ptr(&f.driver, f.request), 0, 51);
	*(uint8_t *)driver_ptr(&f.driver, f.request) = 1;
	driver_add(&f.driver, 2, 4,
		   (struct driver_buf[]){{f.request, 51, false}, {f.data, 512, false}, {f.response, 108, true}, {f.data, 512, true}});
	driver_kick(&f.driver, 2);
	assert_int_equal(take_result(&f).response, FAILURE);
	/* Other sizes of sense and command, as far as they make sense. */
	driver_set_reg(&f.driver, 0x100 + 20, 4);
	driver_set_reg(&f.driver, 0x100 + 24, 16);
	driver_set_reg(&f.driver, 0x100 + 20, 1u << 30);
	driver_set_reg(&f.driver, 0x100 + 24, 1u << 30);
	driver_set_reg(&f.driver, 0x100, 7);
	assert_int_equal(driver_reg(&f.driver, 0x100 + 20), 4);
	assert_int_equal(driver_reg(&f.driver, 0x100 + 24), 16);
	assert_int_equal(driver_reg(&f.driver, 0x100), 1);
	*((uint8_t *)driver_ptr(&f.driver, f.request) + 19) = 0xff;
	driver_add(&f.driver, 2, 2, (struct driver_buf[]){{f.request, 35, false}, {f.response, 16, true}});
	driver_kick(&f.driver, 2);
	assert_true(driver_used(&f.driver, 2, NULL, NULL));
	assert_int_equal(*(uint32_t *)driver_ptr(&f.driver, f.response), 4);
	stop(&f);
}

/* More requests than the table holds. */
static void test_many(void **state)
{
	struct fixture f;

	start(&f, false, true);
	f.driver.indirect = true;
	f.disks[0].defer = true;
	for (unsigned i = 0; i < 120; i++)
		send_it(&f, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, true);
	assert_int_equal(f.disks[0].count, 120);
	for (unsigned i = 0; i < 120; i++) {
		finish_one(&f.disks[0]);
		fake_run_work();
		assert_true(driver_used(&f.driver, 2, NULL, NULL));
	}
	stop(&f);
}

static void test_create(void **state)
{
	struct fixture f;
	struct block_backend *backends[17] = {0};
	struct virtio_device *vdev;

	driver_machine(&f.driver);
	assert_int_equal(virtio_scsi_create(&f.driver.vm, backends, 0, &vdev), -EINVAL);
	assert_int_equal(virtio_scsi_create(&f.driver.vm, backends, 17, &vdev), -EINVAL);
	for (uint32_t limit = 0; limit < 3; limit++) {
		unsigned live = fake_alloc_live();

		fake_alloc_limit(limit);
		assert_int_equal(virtio_scsi_create(&f.driver.vm, backends, 1, &vdev), -ENOMEM);
		assert_int_equal(fake_alloc_live(), live);
	}
	driver_stop(&f.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inquiry),
		cmocka_unit_test(test_luns),
		cmocka_unit_test(test_capacity_and_modes),
		cmocka_unit_test(test_transfers),
		cmocka_unit_test(test_write_same),
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_task_management),
		cmocka_unit_test(test_control_requests),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_create),
	};

	return cmocka_run_group_tests_name("virtio_scsi", tests, NULL, NULL);
}
