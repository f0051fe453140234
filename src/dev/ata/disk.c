/* ATA commands for disks; see ata.h. Names and layouts are those of ACS-3.
 *
 * Every address is checked against the medium before anything is done. What is not known is aborted.
 *
 * Example: see ata.h.
 */
#include "base/fmt.h"
#include "base/string.h"
#include "dev/ata/ata.h"

#define HEADS            16u
#define SECTORS_PER_TRACK 63u
#define MAX_CYLINDERS    16383u
#define MULTIPLE_MAX     16u
#define TRIM_SECTORS_MAX 8u /* of ranges, 64 each */
#define LBA28_MAX        0x0fffffffu
#define DEVICE_LBA       0x40u
#define DEVICE_FUA       0x80u /* of a queued write */
#define QUEUE_DEPTH      ATA_TAGS
#define LOG_DIRECTORY    0x00u
#define LOG_NCQ_ERROR    0x10u

enum opcode {
	NOP = 0x00,
	DATA_SET_MANAGEMENT = 0x06,
	RECALIBRATE = 0x10,
	READ_SECTORS = 0x20,
	READ_SECTORS_NO_RETRY = 0x21,
	READ_SECTORS_EXT = 0x24,
	READ_DMA_EXT = 0x25,
	READ_MULTIPLE_EXT = 0x29,
	READ_LOG_EXT = 0x2f,
	WRITE_SECTORS = 0x30,
	WRITE_SECTORS_NO_RETRY = 0x31,
	WRITE_SECTORS_EXT = 0x34,
	WRITE_DMA_EXT = 0x35,
	WRITE_MULTIPLE_EXT = 0x39,
	WRITE_DMA_FUA_EXT = 0x3d,
	READ_VERIFY = 0x40,
	READ_VERIFY_NO_RETRY = 0x41,
	READ_VERIFY_EXT = 0x42,
	READ_FPDMA_QUEUED = 0x60,
	WRITE_FPDMA_QUEUED = 0x61,
	EXECUTE_DEVICE_DIAGNOSTIC = 0x90,
	INITIALIZE_DEVICE_PARAMETERS = 0x91,
	READ_MULTIPLE = 0xc4,
	WRITE_MULTIPLE = 0xc5,
	SET_MULTIPLE_MODE = 0xc6,
	READ_DMA = 0xc8,
	READ_DMA_NO_RETRY = 0xc9,
	WRITE_DMA = 0xca,
	WRITE_DMA_NO_RETRY = 0xcb,
	STANDBY_IMMEDIATE = 0xe0,
	IDLE_IMMEDIATE = 0xe1,
	STANDBY = 0xe2,
	IDLE = 0xe3,
	CHECK_POWER_MODE = 0xe5,
	SLEEP = 0xe6,
	FLUSH_CACHE = 0xe7,
	FLUSH_CACHE_EXT = 0xea,
	IDENTIFY_DEVICE = 0xec,
	SET_FEATURES = 0xef,
};

/* How a command that moves sectors does it. */
#define READS  1u
#define WRITES 2u
#define EXT    4u /* 48-bit address */
#define PIO    8u
#define FUA    16u
#define MULTI  32u /* needs SET MULTIPLE MODE */
#define QUEUED 64u

static const struct {
	uint8_t opcode, how;
} transfers[] = {
	{READ_SECTORS, READS | PIO},
	{READ_SECTORS_NO_RETRY, READS | PIO},
	{READ_SECTORS_EXT, READS | PIO | EXT},
	{READ_DMA_EXT, READS | EXT},
	{READ_MULTIPLE_EXT, READS | PIO | EXT | MULTI},
	{WRITE_SECTORS, WRITES | PIO},
	{WRITE_SECTORS_NO_RETRY, WRITES | PIO},
	{WRITE_SECTORS_EXT, WRITES | PIO | EXT},
	{WRITE_DMA_EXT, WRITES | EXT},
	{WRITE_MULTIPLE_EXT, WRITES | PIO | EXT | MULTI},
	{WRITE_DMA_FUA_EXT, WRITES | EXT | FUA},
	{READ_VERIFY, 0},
	{READ_VERIFY_NO_RETRY, 0},
	{READ_VERIFY_EXT, EXT},
	{READ_FPDMA_QUEUED, READS | EXT | QUEUED},
	{WRITE_FPDMA_QUEUED, WRITES | EXT | QUEUED},
	{READ_MULTIPLE, READS | PIO | MULTI},
	{WRITE_MULTIPLE, WRITES | PIO | MULTI},
	{READ_DMA, READS},
	{READ_DMA_NO_RETRY, READS},
	{WRITE_DMA, WRITES},
	{WRITE_DMA_NO_RETRY, WRITES},
};

static uint64_t sectors_of(const struct ata_disk *disk)
{
	return disk->backend->size / ATA_SECTOR;
}

/* ---- ends of a command ---- */

void ata_succeed(struct ata_command *command)
{
	command->kind = ATA_DONE;
	command->status = ATA_DRDY | ATA_DSC;
	command->error = 0;
}

static void fail(struct ata_command *command, uint8_t error)
{
	command->kind = ATA_DONE;
	command->status = ATA_DRDY | ATA_DSC | ATA_ERR;
	command->error = error;
}

void ata_abort(struct ata_command *command)
{
	fail(command, ATA_ABRT);
}

static void reply(struct ata_command *command)
{
	ata_succeed(command);
	command->kind = ATA_REPLY;
	command->length = ATA_REPLY_SIZE;
	command->pio = true;
}

/* All commands of the queue end with the one that failed; the log says which that was. */
static void fail_queued(struct ata_disk *disk, const struct ata_command *command)
{
	if (!command->queued || disk->queue_failed)
		return;
	disk->queue_failed = true;
	disk->failed_tag = command->tag;
	disk->failed_error = command->error;
	disk->failed_lba = command->lba;
}

void ata_disk_refuse(struct ata_disk *disk, struct ata_command *command)
{
	ata_abort(command);
	fail_queued(disk, command);
}

void ata_disk_failed(struct ata_disk *disk, struct ata_command *command)
{
	fail(command, command->kind == ATA_READ ? ATA_UNC : ATA_ABRT);
	fail_queued(disk, command);
}

/* ---- IDENTIFY DEVICE ---- */

void ata_put_word(uint8_t *data, unsigned word, uint16_t value)
{
	data[2 * word] = (uint8_t)value;
	data[2 * word + 1] = (uint8_t)(value >> 8);
}

/* The first character of two is in the upper byte. */
void ata_put_text(uint8_t *data, unsigned word, unsigned words, const char *text)
{
	for (unsigned i = 0; i < 2 * words; i++)
		data[(2 * word + i) ^ 1] = *text ? (uint8_t)*text++ : ' ';
}

void ata_put_modes(uint8_t *data, uint8_t mode)
{
	const uint16_t chosen = (uint16_t)(0x100u << (mode & 7));

	ata_put_word(data, 53, 7);
	ata_put_word(data, 63, 0x0007 | ((mode & 0xf8) == 0x20 ? chosen : 0));
	ata_put_word(data, 64, 0x0003);
	for (unsigned i = 65; i <= 68; i++)
		ata_put_word(data, i, 120);
	ata_put_word(data, 88, 0x007f | ((mode & 0xf8) == 0x40 ? chosen : 0));
}

void ata_put_checksum(uint8_t *data)
{
	uint8_t sum = 0xa5;

	for (unsigned i = 0; i < ATA_REPLY_SIZE - 2; i++)
		sum = (uint8_t)(sum + data[i]);
	ata_put_word(data, 255, (uint16_t)(0xa5 | (uint8_t)-sum << 8));
}

static uint32_t cylinders_of(const struct ata_disk *disk)
{
	const uint64_t cylinders = sectors_of(disk) / (HEADS * SECTORS_PER_TRACK);

	return cylinders < MAX_CYLINDERS ? (uint32_t)cylinders : MAX_CYLINDERS;
}

static void put_geometry(const struct ata_disk *disk, uint8_t *data)
{
	const uint64_t sectors = sectors_of(disk);
	const uint32_t small = sectors < LBA28_MAX ? (uint32_t)sectors : LBA28_MAX;
	const uint32_t cylinders = cylinders_of(disk), reachable = cylinders * HEADS * SECTORS_PER_TRACK;

	ata_put_word(data, 1, (uint16_t)cylinders);
	ata_put_word(data, 3, HEADS);
	ata_put_word(data, 6, SECTORS_PER_TRACK);
	ata_put_word(data, 54, (uint16_t)cylinders);
	ata_put_word(data, 55, HEADS);
	ata_put_word(data, 56, SECTORS_PER_TRACK);
	ata_put_word(data, 57, (uint16_t)reachable);
	ata_put_word(data, 58, (uint16_t)(reachable >> 16));
	ata_put_word(data, 60, (uint16_t)small);
	ata_put_word(data, 61, (uint16_t)(small >> 16));
	for (unsigned i = 0; i < 4; i++)
		ata_put_word(data, 100 + i, (uint16_t)(sectors >> (16 * i)));
	ata_put_word(data, 106, 0x6003); /* 2^3 logical sectors in a physical one */
	ata_put_word(data, 209, 0x4000);
}

static void identify(const struct ata_disk *disk, uint8_t *data)
{
	memset(data, 0, ATA_REPLY_SIZE);
	ata_put_word(data, 0, 0x0040);
	ata_put_text(data, 10, 10, disk->serial);
	ata_put_text(data, 23, 4, "1");
	ata_put_text(data, 27, 20, "RUSE DISK");
	ata_put_word(data, 47, 0x8000 | MULTIPLE_MAX);
	ata_put_word(data, 48, 0x4000);
	ata_put_word(data, 49, 0x2f00); /* DMA, LBA */
	ata_put_word(data, 50, 0x4000);
	ata_put_modes(data, disk->transfer_mode);
	put_geometry(disk, data);
	ata_put_word(data, 59, disk->multiple ? 0x0100 | disk->multiple : 0);
	ata_put_word(data, 75, QUEUE_DEPTH - 1);
	ata_put_word(data, 76, 0x010e); /* NCQ, generations 1 to 3 */
	ata_put_word(data, 77, 0x0006); /* at generation 3 */
	ata_put_word(data, 80, 0x01f0);
	ata_put_word(data, 82, 0x4068); /* NOP, look-ahead, write cache, power management */
	ata_put_word(data, 83, 0x7400); /* FLUSH CACHE (EXT), 48 bits */
	ata_put_word(data, 84, 0x4060); /* FUA, logs */
	ata_put_word(data, 85, (uint16_t)(0x4048 | (disk->cache ? 0x0020 : 0)));
	ata_put_word(data, 86, 0x3400);
	ata_put_word(data, 87, 0x4060);
	if (disk->backend->can_discard) {
		ata_put_word(data, 105, TRIM_SECTORS_MAX);
		ata_put_word(data, 169, 1);
	}
	ata_put_word(data, 217, 1); /* nothing rotates */
	ata_put_word(data, 222, 0x103f);
	ata_put_checksum(data);
}

/* ---- sectors ---- */

/* Where the host wants to, and how many. False: nowhere. */
static bool address(const struct ata_disk *disk, struct ata_command *command, unsigned how, uint64_t *first, uint64_t *count)
{
	const uint16_t number = how & QUEUED ? command->feature : command->count;

	*first = command->lba;
	*count = number ? number : 0x10000;
	if (how & EXT)
		return (command->device & DEVICE_LBA) != 0;
	*first = (command->lba & 0xffffff) | (uint64_t)(command->device & 15u) << 24;
	*count = (number & 0xff) ? number & 0xff : 0x100;
	if (command->device & DEVICE_LBA)
		return true;
	/* Cylinder, head and sector, which counts from 1. */
	const uint64_t sector = command->lba & 0xff, cylinder = command->lba >> 8 & 0xffff, head = command->device & 15u;

	*first = (cylinder * HEADS + head) * SECTORS_PER_TRACK + sector - 1;
	return sector >= 1 && sector <= SECTORS_PER_TRACK && cylinder < cylinders_of(disk);
}

static void transfer(struct ata_disk *disk, struct ata_command *command, unsigned how)
{
	uint64_t first, count;

	command->queued = (how & QUEUED) != 0;
	command->tag = (uint8_t)(command->count >> 3 & 31);
	if (!address(disk, command, how, &first, &count) || first >= sectors_of(disk) || count > sectors_of(disk) - first) {
		fail(command, ATA_IDNF);
	} else if (((how & WRITES) && disk->backend->read_only) || ((how & MULTI) && !disk->multiple)) {
		ata_abort(command);
	} else if (!(how & (READS | WRITES))) {
		ata_succeed(command); /* verified */
		return;
	} else {
		ata_succeed(command);
		command->kind = how & READS ? ATA_READ : ATA_WRITE;
		command->pio = (how & PIO) != 0;
		command->offset = first * ATA_SECTOR;
		command->length = count * ATA_SECTOR;
		command->flush_after = (how & WRITES) &&
				       (!disk->cache || (how & FUA) || ((how & QUEUED) && (command->device & DEVICE_FUA)));
		return;
	}
	fail_queued(disk, command);
}

static void trim(const struct ata_disk *disk, struct ata_command *command)
{
	if (!disk->backend->can_discard || disk->backend->read_only || command->feature != 1 || !command->count ||
	    command->count > TRIM_SECTORS_MAX) {
		ata_abort(command);
		return;
	}
	ata_succeed(command);
	command->kind = ATA_TRIM;
	command->length = (uint64_t)command->count * ATA_SECTOR;
}

bool ata_trim_range(const struct ata_disk *disk, const uint8_t entry[8], uint64_t *offset, uint64_t *length)
{
	const uint64_t sectors = sectors_of(disk);
	uint64_t first = 0, count = (uint64_t)(entry[6] | entry[7] << 8);

	for (unsigned i = 0; i < 6; i++)
		first |= (uint64_t)entry[i] << (8 * i);
	*offset = first * ATA_SECTOR;
	*length = count * ATA_SECTOR;
	return !count || (first < sectors && count <= sectors - first);
}

/* ---- the rest ---- */

/* GPL: how many pages each log has; and what stopped the queue. */
static void read_log(struct ata_disk *disk, struct ata_command *command, uint8_t *data)
{
	const unsigned log = (unsigned)(command->lba & 0xff), page = (unsigned)(command->lba >> 8 & 0xff);

	if (page || command->count != 1 || (log != LOG_DIRECTORY && log != LOG_NCQ_ERROR)) {
		ata_abort(command);
		return;
	}
	memset(data, 0, ATA_REPLY_SIZE);
	if (log == LOG_DIRECTORY) {
		ata_put_word(data, 0, 1);
		ata_put_word(data, LOG_NCQ_ERROR, 1);
	} else {
		uint8_t sum = 0;

		data[0] = disk->queue_failed ? disk->failed_tag : 0x80; /* NQ: it was none of the queue */
		data[2] = ATA_DRDY | ATA_ERR;
		data[3] = disk->failed_error;
		for (unsigned i = 0; i < 3; i++) {
			data[4 + i] = (uint8_t)(disk->failed_lba >> (8 * i));
			data[8 + i] = (uint8_t)(disk->failed_lba >> (24 + 8 * i));
		}
		data[7] = DEVICE_LBA;
		for (unsigned i = 0; i < ATA_REPLY_SIZE - 1; i++)
			sum = (uint8_t)(sum + data[i]);
		data[ATA_REPLY_SIZE - 1] = (uint8_t)-sum;
		disk->queue_failed = false;
	}
	reply(command);
}

bool ata_set_transfer_mode(uint8_t *mode, uint16_t count)
{
	const unsigned kind = count & 0xf8, number = count & 7;

	switch (kind) {
	case 0x00: /* PIO, as it likes */
		return number <= 1;
	case 0x08: /* PIO with flow control */
		return number <= 4;
	case 0x20: /* multiword DMA */
		if (number > 2)
			return false;
		break;
	case 0x40: /* Ultra DMA */
		if (number > 6)
			return false;
		break;
	default:
		return false;
	}
	*mode = (uint8_t)count;
	return true;
}

static void set_features(struct ata_disk *disk, struct ata_command *command)
{
	ata_succeed(command);
	switch (command->feature & 0xff) {
	case 0x02:
		disk->cache = true;
		break;
	case 0x82:
		/* What is in it must not be lost by that. */
		disk->cache = false;
		command->kind = ATA_FLUSH;
		break;
	case 0x03:
		if (!ata_set_transfer_mode(&disk->transfer_mode, command->count & 0xff))
			ata_abort(command);
		break;
	case 0x55: /* look-ahead */
	case 0xaa:
	case 0x66: /* what a reset leaves */
	case 0xcc:
		break;
	default:
		ata_abort(command);
		break;
	}
}

static void set_multiple(struct ata_disk *disk, struct ata_command *command)
{
	const unsigned count = command->count & 0xff;

	if (count > MULTIPLE_MAX || (count & (count - 1))) {
		ata_abort(command);
		return;
	}
	disk->multiple = (uint8_t)count;
	ata_succeed(command);
}

static void diagnose(struct ata_command *command)
{
	ata_succeed(command);
	command->error = 0x01; /* passed */
	command->signature = true;
}

static void execute(struct ata_disk *disk, struct ata_command *command, uint8_t *data)
{
	switch ((enum opcode)command->command) {
	case IDENTIFY_DEVICE:
		identify(disk, data);
		reply(command);
		break;
	case READ_LOG_EXT:
		read_log(disk, command, data);
		break;
	case DATA_SET_MANAGEMENT:
		trim(disk, command);
		break;
	case STANDBY_IMMEDIATE:
	case STANDBY:
	case SLEEP:
	case FLUSH_CACHE:
	case FLUSH_CACHE_EXT:
		ata_succeed(command);
		command->kind = ATA_FLUSH;
		break;
	case RECALIBRATE:
	case INITIALIZE_DEVICE_PARAMETERS:
	case IDLE_IMMEDIATE:
	case IDLE:
		ata_succeed(command);
		break;
	case CHECK_POWER_MODE:
		ata_succeed(command);
		command->count = 0xff; /* active */
		break;
	case SET_FEATURES:
		set_features(disk, command);
		break;
	case SET_MULTIPLE_MODE:
		set_multiple(disk, command);
		break;
	case EXECUTE_DEVICE_DIAGNOSTIC:
		diagnose(command);
		break;
	default:
		ata_abort(command);
		break;
	}
}

void ata_disk_begin(struct ata_disk *disk, struct ata_command *command, uint8_t *data)
{
	command->pio = command->queued = command->flush_after = command->signature = false;
	command->offset = command->length = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(transfers); i++) {
		if (transfers[i].opcode != command->command)
			continue;
		transfer(disk, command, transfers[i].how);
		return;
	}
	execute(disk, command, data);
}

void ata_disk_reset(struct ata_disk *disk)
{
	disk->multiple = MULTIPLE_MAX;
	disk->cache = true;
	disk->transfer_mode = 0x46;
	disk->queue_failed = false;
}

void ata_disk_init(struct ata_disk *disk, struct block_backend *backend, unsigned number)
{
	disk->backend = backend;
	if (backend->serial[0])
		memcpy(disk->serial, backend->serial, sizeof(disk->serial));
	else
		fmt_print(disk->serial, sizeof(disk->serial), "RUSE%04u", number);
	ata_disk_reset(disk);
}
