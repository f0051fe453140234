/* SCSI commands for disks; see disk.h. Names and layouts are those of SPC-4 and SBC-4.
 *
 * Every length and address of a command is checked against the medium and the buffers before anything is done. What is not
 * known is refused as the standards say: ILLEGAL REQUEST, and what of the command was wrong.
 *
 * Example: see disk.h.
 */
#include "dev/scsi/disk.h"
#include "base/checked.h"
#include "base/fmt.h"
#include "base/string.h"

#define SAME_BLOCKS_MAX  (1u << 16)         /* WRITE SAME, in one command */
#define UNMAP_BLOCKS_MAX (1u << 22)         /* UNMAP, all its ranges */
#define REPLY_MAX        256u               /* bytes of a reply that we compose */
#define PHYSICAL_EXPONENT 3                 /* 4 KiB */

/* Sense key, additional sense code and qualifier, SPC-4 4.5.6 */
#define SENSE(key, asc, ascq)   ((uint32_t)(key) << 16 | (asc) << 8 | (ascq))
#define NO_SENSE                SENSE(0x0, 0x00, 0x00)
#define READ_ERROR              SENSE(0x3, 0x11, 0x00)
#define WRITE_ERROR             SENSE(0x3, 0x0c, 0x00)
#define PARAMETER_LENGTH_ERROR  SENSE(0x5, 0x1a, 0x00)
#define INVALID_OPCODE          SENSE(0x5, 0x20, 0x00)
#define LBA_OUT_OF_RANGE        SENSE(0x5, 0x21, 0x00)
#define INVALID_FIELD_IN_CDB    SENSE(0x5, 0x24, 0x00)
#define NO_LOGICAL_UNIT         SENSE(0x5, 0x25, 0x00)
#define INVALID_FIELD_IN_LIST   SENSE(0x5, 0x26, 0x00)
#define SAVING_NOT_SUPPORTED    SENSE(0x5, 0x39, 0x00)
#define RESET_OCCURRED          SENSE(0x6, 0x29, 0x00)
#define WRITE_PROTECTED         SENSE(0x7, 0x27, 0x00)

enum opcode {
	TEST_UNIT_READY = 0x00,
	REQUEST_SENSE = 0x03,
	READ_6 = 0x08,
	WRITE_6 = 0x0a,
	INQUIRY = 0x12,
	MODE_SENSE_6 = 0x1a,
	START_STOP_UNIT = 0x1b,
	READ_CAPACITY_10 = 0x25,
	READ_10 = 0x28,
	WRITE_10 = 0x2a,
	VERIFY_10 = 0x2f,
	SYNCHRONIZE_CACHE_10 = 0x35,
	WRITE_SAME_10 = 0x41,
	UNMAP = 0x42,
	MODE_SENSE_10 = 0x5a,
	READ_16 = 0x88,
	WRITE_16 = 0x8a,
	VERIFY_16 = 0x8f,
	SYNCHRONIZE_CACHE_16 = 0x91,
	WRITE_SAME_16 = 0x93,
	SERVICE_ACTION_IN_16 = 0x9e,
	REPORT_LUNS = 0xa0,
	READ_12 = 0xa8,
	WRITE_12 = 0xaa,
};

#define READ_CAPACITY_16 0x10 /* service action */

#define CDB_FUA    0x08 /* byte 1 of READ and WRITE */
#define CDB_BYTCHK 0x06 /* byte 1 of VERIFY */
#define SAME_UNMAP  0x08
#define SAME_ANCHOR 0x10
#define SAME_NDOB   0x01

/* ---- numbers ---- */

static uint64_t get_be(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static void put_be(uint8_t *at, unsigned bytes, uint64_t value)
{
	for (unsigned i = bytes; i-- > 0; value >>= 8)
		at[i] = (uint8_t)value;
}

static uint64_t blocks_of(const struct scsi_disk *disk)
{
	return disk->backend->size / SCSI_BLOCK_SIZE;
}

/* ---- ends of a command ---- */

static void write_sense(uint8_t *sense, uint32_t what)
{
	memset(sense, 0, SCSI_SENSE_SIZE);
	sense[0] = 0x70; /* current, fixed format */
	sense[2] = (uint8_t)(what >> 16);
	sense[7] = SCSI_SENSE_SIZE - 8;
	sense[12] = (uint8_t)(what >> 8);
	sense[13] = (uint8_t)what;
}

/* All of these return what scsi_disk_begin() does. */
static bool refuse(struct scsi_task *task, uint32_t what)
{
	task->status = SCSI_CHECK_CONDITION;
	task->transferred = 0;
	write_sense(task->sense, what);
	return false;
}

static bool good(struct scsi_task *task)
{
	task->status = SCSI_GOOD;
	return false;
}

/* Up to `allocation` bytes of an answer, as far as there are buffers. */
static bool reply(struct scsi_task *task, const uint8_t *bytes, size_t len, uint64_t allocation)
{
	if (len > allocation)
		len = (size_t)allocation;
	if (len > task->in_len)
		len = (size_t)task->in_len;
	for (unsigned i = 0; i < task->count && task->transferred < len; i++) {
		size_t part = len - (size_t)task->transferred;

		if (part > task->bufs[i].len)
			part = task->bufs[i].len;
		memcpy(task->bufs[i].base, bytes + task->transferred, part);
		task->transferred += part;
	}
	return good(task);
}

/* Copies the first bytes that the initiator sent. False: there are not so many. */
static bool take(const struct scsi_task *task, void *to, size_t len)
{
	size_t done = 0;

	if (task->out_len < len)
		return false;
	for (unsigned i = 0; i < task->count && done < len; i++) {
		size_t part = len - done < task->bufs[i].len ? len - done : task->bufs[i].len;

		memcpy((uint8_t *)to + done, task->bufs[i].base, part);
		done += part;
	}
	return true;
}

/* ---- what it is ---- */

/* Copies text without its NUL, filled up with spaces. */
static void put_text(uint8_t *at, size_t size, const char *text)
{
	for (size_t i = 0; i < size; i++)
		at[i] = *text ? (uint8_t)*text++ : ' ';
}

static size_t text_len(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

static size_t standard_inquiry(const struct scsi_task *task, uint8_t *data)
{
	data[0] = task->disk ? 0x00 : 0x7f; /* a disk; or: no device here */
	data[2] = 0x06;                     /* SPC-4 */
	data[3] = 0x12;                     /* hierarchical addressing, format of this data */
	data[4] = 36 - 5;
	data[7] = 0x02;                     /* command queuing */
	put_text(data + 8, 8, "RUSE");
	put_text(data + 16, 16, "DISK");
	put_text(data + 32, 4, "1");
	return 36;
}

static size_t vpd_serial(const struct scsi_disk *disk, uint8_t *data)
{
	const size_t len = text_len(disk->backend->serial);

	memcpy(data + 4, disk->backend->serial, len);
	return len;
}

/* Without a serial number the unit's place is all that tells it from others. */
static size_t vpd_identification(const struct scsi_disk *disk, uint8_t *data)
{
	char name[24];
	size_t len;

	if (disk->backend->serial[0])
		fmt_print(name, sizeof(name), "%s", disk->backend->serial);
	else
		fmt_print(name, sizeof(name), "lun%u", disk->lun);
	len = text_len(name);
	data[4] = 0x02; /* ASCII */
	data[5] = 0x01; /* of the logical unit, T10 vendor identification */
	data[7] = (uint8_t)(8 + len);
	put_text(data + 8, 8, "RUSE");
	memcpy(data + 16, name, len);
	return 12 + len;
}

static size_t vpd_block_limits(const struct scsi_disk *disk, uint8_t *data)
{
	data[4] = 0x01; /* WSNZ: WRITE SAME of 0 blocks is refused */
	put_be(data + 6, 2, 1u << PHYSICAL_EXPONENT);
	if (disk->backend->can_discard) {
		put_be(data + 20, 4, UNMAP_BLOCKS_MAX);
		put_be(data + 24, 4, SCSI_RANGES_MAX);
		put_be(data + 28, 4, 1u << PHYSICAL_EXPONENT);
	}
	put_be(data + 36, 8, SAME_BLOCKS_MAX);
	return 0x3c;
}

static size_t vpd_characteristics(const struct scsi_disk *disk, uint8_t *data)
{
	put_be(data + 4, 2, 1); /* nothing rotates */
	return 0x3c;
}

static size_t vpd_provisioning(const struct scsi_disk *disk, uint8_t *data)
{
	if (disk->backend->can_discard) {
		data[5] = 0xe0; /* UNMAP, WRITE SAME (16) and (10) with UNMAP */
		data[6] = 0x02; /* thin */
	}
	return 4;
}

static size_t vpd_supported(const struct scsi_disk *disk, uint8_t *data);

static bool has_serial(const struct scsi_disk *disk)
{
	return disk->backend->serial[0] != 0;
}

static bool always(const struct scsi_disk *disk)
{
	return true;
}

static const struct vpd_page {
	uint8_t code;
	bool (*there)(const struct scsi_disk *disk);
	size_t (*fill)(const struct scsi_disk *disk, uint8_t *data); /* returns the bytes behind the header of 4 */
} vpd_pages[] = {
	{0x00, always, vpd_supported},
	{0x80, has_serial, vpd_serial},
	{0x83, always, vpd_identification},
	{0xb0, always, vpd_block_limits},
	{0xb1, always, vpd_characteristics},
	{0xb2, always, vpd_provisioning},
};

static size_t vpd_supported(const struct scsi_disk *disk, uint8_t *data)
{
	size_t count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(vpd_pages); i++)
		if (vpd_pages[i].there(disk))
			data[4 + count++] = vpd_pages[i].code;
	return count;
}

static bool inquiry(struct scsi_task *task)
{
	const uint64_t allocation = get_be(task->cdb + 3, 2);
	const uint8_t code = task->cdb[2];
	uint8_t data[REPLY_MAX] = {0};

	if (!(task->cdb[1] & 1))
		return code ? refuse(task, INVALID_FIELD_IN_CDB) : reply(task, data, standard_inquiry(task, data), allocation);
	if (!task->disk)
		return refuse(task, INVALID_FIELD_IN_CDB);
	for (unsigned i = 0; i < ARRAY_SIZE(vpd_pages); i++) {
		size_t len;

		if (vpd_pages[i].code != code || !vpd_pages[i].there(task->disk))
			continue;
		len = vpd_pages[i].fill(task->disk, data);
		data[1] = code;
		put_be(data + 2, 2, len);
		return reply(task, data, len + 4, allocation);
	}
	return refuse(task, INVALID_FIELD_IN_CDB);
}

static bool report_luns(struct scsi_task *task)
{
	const uint64_t allocation = get_be(task->cdb + 6, 4);
	const uint32_t luns = task->disk ? task->disk->luns : task->luns;
	uint8_t data[8 + 8 * SCSI_LUNS_MAX] = {0};
	unsigned count = 0;

	if (task->cdb[2] > 2 || allocation < 16)
		return refuse(task, INVALID_FIELD_IN_CDB);
	/* 1: well-known units only, of which there are none. */
	for (unsigned lun = 0; lun < SCSI_LUNS_MAX && task->cdb[2] != 1; lun++)
		if (luns >> lun & 1)
			data[8 + 8 * count++ + 1] = (uint8_t)lun;
	put_be(data, 4, 8 * count);
	return reply(task, data, 8 + 8 * count, allocation);
}

static bool request_sense(struct scsi_task *task)
{
	uint8_t data[SCSI_SENSE_SIZE];

	if (task->cdb[1] & 1) /* descriptor format */
		return refuse(task, INVALID_FIELD_IN_CDB);
	write_sense(data, !task->disk ? NO_LOGICAL_UNIT : task->disk->unit_attention ? RESET_OCCURRED : NO_SENSE);
	if (task->disk)
		task->disk->unit_attention = false;
	return reply(task, data, sizeof(data), task->cdb[4]);
}

static bool read_capacity_10(struct scsi_task *task)
{
	const uint64_t last = blocks_of(task->disk) - 1;
	uint8_t data[8] = {0};

	put_be(data, 4, last > UINT32_MAX ? UINT32_MAX : last);
	put_be(data + 4, 4, SCSI_BLOCK_SIZE);
	return reply(task, data, sizeof(data), sizeof(data));
}

static bool read_capacity_16(struct scsi_task *task)
{
	uint8_t data[32] = {0};

	if ((task->cdb[1] & 0x1f) != READ_CAPACITY_16)
		return refuse(task, INVALID_FIELD_IN_CDB);
	put_be(data, 8, blocks_of(task->disk) - 1);
	put_be(data + 8, 4, SCSI_BLOCK_SIZE);
	data[13] = PHYSICAL_EXPONENT;
	if (task->disk->backend->can_discard)
		data[14] = 0x80; /* thin provisioning */
	return reply(task, data, sizeof(data), get_be(task->cdb + 10, 4));
}

/* ---- MODE SENSE: caching and control ---- */

static size_t caching_page(uint8_t *at, bool changeable)
{
	at[0] = 0x08;
	at[1] = 18;
	if (!changeable)
		at[2] = 0x04; /* WCE */
	return 20;
}

static size_t control_page(uint8_t *at, bool changeable)
{
	at[0] = 0x0a;
	at[1] = 10;
	if (!changeable)
		at[3] = 0x10; /* commands may be reordered */
	return 12;
}

static size_t mode_pages(uint8_t *at, unsigned page, bool changeable)
{
	size_t len = 0;

	if (page == 0x08 || page == 0x3f)
		len += caching_page(at, changeable);
	if (page == 0x0a || page == 0x3f)
		len += control_page(at + len, changeable);
	return len;
}

static bool mode_sense(struct scsi_task *task, bool ten)
{
	const unsigned page = task->cdb[2] & 0x3f, control = task->cdb[2] >> 6;
	const uint8_t device = (uint8_t)(0x10 | (task->disk->backend->read_only ? 0x80 : 0)); /* DPOFUA, WP */
	const size_t header = ten ? 8 : 4;
	uint8_t data[REPLY_MAX] = {0};
	size_t len;

	if (control == 3)
		return refuse(task, SAVING_NOT_SUPPORTED);
	if (task->cdb[3] && task->cdb[3] != 0xff)
		return refuse(task, INVALID_FIELD_IN_CDB);
	len = mode_pages(data + header, page, control == 1);
	if (!len)
		return refuse(task, INVALID_FIELD_IN_CDB);
	len += header;
	/* No block descriptor: READ CAPACITY says it all. */
	if (ten) {
		put_be(data, 2, len - 2);
		data[3] = device;
	} else {
		data[0] = (uint8_t)(len - 1);
		data[2] = device;
	}
	return reply(task, data, len, ten ? get_be(task->cdb + 7, 2) : task->cdb[4]);
}

/* ---- the medium ---- */

/* Blocks to bytes. False: they are not all there. */
static bool on_medium(const struct scsi_disk *disk, uint64_t lba, uint64_t blocks, struct scsi_range *range)
{
	uint64_t end;

	if (add_overflow(lba, blocks, &end) || end > blocks_of(disk))
		return false;
	*range = (struct scsi_range){lba * SCSI_BLOCK_SIZE, blocks * SCSI_BLOCK_SIZE};
	return true;
}

/* Where a READ, WRITE, VERIFY or WRITE SAME of this size of CDB has its address and length. */
static void address(const struct scsi_task *task, uint64_t *lba, uint64_t *blocks)
{
	const uint8_t *cdb = task->cdb;

	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes */
		*lba = get_be(cdb + 1, 3) & 0x1fffff;
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 4: /* 16 */
		*lba = get_be(cdb + 2, 8);
		*blocks = get_be(cdb + 10, 4);
		break;
	case 5: /* 12 */
		*lba = get_be(cdb + 2, 4);
		*blocks = get_be(cdb + 6, 4);
		break;
	default: /* 10 */
		*lba = get_be(cdb + 2, 4);
		*blocks = get_be(cdb + 7, 2);
		break;
	}
}

static void prepare(struct scsi_task *task, enum block_op op, const struct scsi_range *range, unsigned count)
{
	task->io.op = op;
	task->io.offset = range->offset;
	task->io.length = range->length;
	task->io.bufs = task->bufs;
	task->io.count = count;
	task->io.unmap = false;
}

/* Ends the buffers where the data ends. Returns how many are left. */
static unsigned cut(struct scsi_task *task, uint64_t len)
{
	unsigned i = 0;

	for (; len > 0; i++) {
		if (task->bufs[i].len > len)
			task->bufs[i].len = (size_t)len;
		len -= task->bufs[i].len;
	}
	return i;
}

static bool transfer(struct scsi_task *task, bool write)
{
	const bool six = task->cdb[0] >> 5 == 0;
	struct scsi_range range;
	uint64_t lba, blocks;

	/* Protection information is not had: RDPROTECT, WRPROTECT. */
	if (!six && task->cdb[1] & 0xe0)
		return refuse(task, INVALID_FIELD_IN_CDB);
	address(task, &lba, &blocks);
	if (write && task->disk->backend->read_only)
		return refuse(task, WRITE_PROTECTED);
	if (!on_medium(task->disk, lba, blocks, &range))
		return refuse(task, LBA_OUT_OF_RANGE);
	if (range.length > (write ? task->out_len : task->in_len)) {
		task->overrun = true;
		return false;
	}
	if (!blocks)
		return good(task);
	task->flush_after = write && !six && task->cdb[1] & CDB_FUA;
	prepare(task, write ? BLOCK_WRITE : BLOCK_READ, &range, cut(task, range.length));
	return true;
}

/* BYTCHK would compare with data. */
static bool verify(struct scsi_task *task)
{
	struct scsi_range range;
	uint64_t lba, blocks;

	address(task, &lba, &blocks);
	if (task->cdb[1] & (0xe0 | CDB_BYTCHK))
		return refuse(task, INVALID_FIELD_IN_CDB);
	return on_medium(task->disk, lba, blocks, &range) ? good(task) : refuse(task, LBA_OUT_OF_RANGE);
}

static bool synchronize_cache(struct scsi_task *task)
{
	prepare(task, BLOCK_FLUSH, &(struct scsi_range){0}, 0);
	return true;
}

/* ---- WRITE SAME ---- */

/* The next part of it, by the pattern again and again. */
static bool write_pattern(struct scsi_task *task)
{
	uint64_t blocks = task->same_left / SCSI_BLOCK_SIZE;
	unsigned count = blocks < SCSI_SEGS_MAX ? (unsigned)blocks : SCSI_SEGS_MAX;
	struct scsi_range range = {task->same_offset, (uint64_t)count * SCSI_BLOCK_SIZE};

	for (unsigned i = 0; i < count; i++)
		task->bufs[i] = (struct iobuf){task->pattern, SCSI_BLOCK_SIZE};
	prepare(task, BLOCK_WRITE, &range, count);
	task->same_offset += range.length;
	task->same_left -= range.length;
	return true;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool write_same(struct scsi_task *task)
{
	const bool ndob = task->cdb[0] == WRITE_SAME_16 && task->cdb[1] & SAME_NDOB;
	const bool unmap = task->cdb[1] & SAME_UNMAP;
	struct scsi_range range;
	uint64_t lba, blocks;

	address(task, &lba, &blocks);
	if (task->disk->backend->read_only)
		return refuse(task, WRITE_PROTECTED);
	if (task->cdb[1] & (0xe0 | SAME_ANCHOR) || (unmap && !task->disk->backend->can_discard) || !blocks || blocks > SAME_BLOCKS_MAX)
		return refuse(task, INVALID_FIELD_IN_CDB);
	if (!on_medium(task->disk, lba, blocks, &range))
		return refuse(task, LBA_OUT_OF_RANGE);
	memset(task->pattern, 0, sizeof(task->pattern));
	if (!ndob && !take(task, task->pattern, sizeof(task->pattern))) {
		task->overrun = true;
		return false;
	}
	task->transferred = ndob ? 0 : SCSI_BLOCK_SIZE;
	if (all_zero(task->pattern, sizeof(task->pattern))) {
		prepare(task, BLOCK_WRITE_ZEROES, &range, 0);
		task->io.unmap = unmap;
		return true;
	}
	task->same_offset = range.offset;
	task->same_left = range.length;
	return write_pattern(task);
}

/* ---- UNMAP ---- */

static bool next_range(struct scsi_task *task)
{
	while (task->range_next < task->range_count) {
		const struct scsi_range *range = &task->ranges[task->range_next++];

		if (!range->length)
			continue;
		prepare(task, BLOCK_DISCARD, range, 0);
		return true;
	}
	return good(task);
}

static bool unmap(struct scsi_task *task)
{
	const uint64_t length = get_be(task->cdb + 7, 2);
	uint8_t list[8 + 16 * SCSI_RANGES_MAX];
	uint64_t count, total = 0;

	if (!task->disk->backend->can_discard)
		return refuse(task, INVALID_OPCODE);
	if (task->disk->backend->read_only)
		return refuse(task, WRITE_PROTECTED);
	if (task->cdb[1] & 1) /* ANCHOR */
		return refuse(task, INVALID_FIELD_IN_CDB);
	if (!length)
		return good(task);
	if (length < 8)
		return refuse(task, PARAMETER_LENGTH_ERROR);
	if (length > task->out_len) {
		task->overrun = true;
		return false;
	}
	if (!take(task, list, length < sizeof(list) ? (size_t)length : sizeof(list)))
		return refuse(task, PARAMETER_LENGTH_ERROR);
	count = get_be(list + 2, 2) / 16;
	if (count > (length - 8) / 16)
		count = (length - 8) / 16;
	if (count > SCSI_RANGES_MAX)
		return refuse(task, INVALID_FIELD_IN_LIST);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *descriptor = list + 8 + 16 * i;
		const uint64_t blocks = get_be(descriptor + 8, 4);

		if (!on_medium(task->disk, get_be(descriptor, 8), blocks, &task->ranges[i]))
			return refuse(task, LBA_OUT_OF_RANGE);
		total += blocks;
	}
	if (total > UNMAP_BLOCKS_MAX)
		return refuse(task, INVALID_FIELD_IN_LIST);
	task->range_count = (unsigned)count;
	task->transferred = length;
	return next_range(task);
}

/* ---- commands ---- */

static bool execute(struct scsi_task *task)
{
	switch ((enum opcode)task->cdb[0]) {
	case TEST_UNIT_READY:
	case START_STOP_UNIT:
		return good(task);
	case READ_6:
	case READ_10:
	case READ_12:
	case READ_16:
		return transfer(task, false);
	case WRITE_6:
	case WRITE_10:
	case WRITE_12:
	case WRITE_16:
		return transfer(task, true);
	case MODE_SENSE_6:
	case MODE_SENSE_10:
		return mode_sense(task, task->cdb[0] == MODE_SENSE_10);
	case READ_CAPACITY_10:
		return read_capacity_10(task);
	case SERVICE_ACTION_IN_16:
		return read_capacity_16(task);
	case VERIFY_10:
	case VERIFY_16:
		return verify(task);
	case SYNCHRONIZE_CACHE_10:
	case SYNCHRONIZE_CACHE_16:
		return synchronize_cache(task);
	case WRITE_SAME_10:
	case WRITE_SAME_16:
		return write_same(task);
	case UNMAP:
		return unmap(task);
	case REQUEST_SENSE:
	case INQUIRY:
	case REPORT_LUNS:
		break; /* below */
	}
	/* Persistent reservations among others. */
	return refuse(task, INVALID_OPCODE);
}

bool scsi_disk_begin(struct scsi_task *task)
{
	task->transferred = 0;
	task->overrun = false;
	task->flush_after = false;
	task->range_count = task->range_next = 0;
	task->same_left = 0;
	/* SPC-4 5.14: these are answered whatever is the matter. */
	switch (task->cdb[0]) {
	case INQUIRY:
		return inquiry(task);
	case REPORT_LUNS:
		return report_luns(task);
	case REQUEST_SENSE:
		return request_sense(task);
	default:
		break;
	}
	if (!task->disk)
		return refuse(task, NO_LOGICAL_UNIT);
	if (task->disk->unit_attention) {
		task->disk->unit_attention = false;
		return refuse(task, RESET_OCCURRED);
	}
	return execute(task);
}

bool scsi_disk_continue(struct scsi_task *task, int status)
{
	if (status < 0)
		return refuse(task, task->io.op == BLOCK_READ ? READ_ERROR : WRITE_ERROR);
	if (task->flush_after) {
		task->flush_after = false;
		task->transferred = task->io.length;
		return synchronize_cache(task);
	}
	if (task->same_left)
		return write_pattern(task);
	if (task->range_next < task->range_count)
		return next_range(task);
	if (task->cdb[0] != WRITE_SAME_10 && task->cdb[0] != WRITE_SAME_16 && (task->io.op == BLOCK_READ || task->io.op == BLOCK_WRITE))
		task->transferred = task->io.length;
	return good(task);
}
