/* Packet commands of a CD or DVD drive; see cdrom.h. Names and layouts are those of MMC-6 and SPC-4.
 *
 * Every address of a packet is checked against the medium before anything is done. What is not known is refused as the
 * standards say: ILLEGAL REQUEST, and what of the packet was wrong.
 *
 * Example: see cdrom.h.
 */
#include "dev/ata/cdrom.h"
#include "base/fmt.h"
#include "base/string.h"

#define CD_MAX_BLOCKS 360000u /* 80 minutes, 75 a second */
#define MSF_LEAD_IN   150u
#define TRACK_DATA    0x14u   /* ADR 1, a data track */
#define LEAD_OUT      0xaau

/* Sense key, additional sense code and qualifier */
#define SENSE(key, asc, ascq)   ((uint32_t)(key) << 16 | (asc) << 8 | (ascq))
#define TRAY_OPEN               SENSE(0x2, 0x3a, 0x02)
#define READ_ERROR              SENSE(0x3, 0x11, 0x00)
#define INVALID_OPCODE          SENSE(0x5, 0x20, 0x00)
#define LBA_OUT_OF_RANGE        SENSE(0x5, 0x21, 0x00)
#define INVALID_FIELD           SENSE(0x5, 0x24, 0x00)
#define SAVING_NOT_SUPPORTED    SENSE(0x5, 0x39, 0x00)
#define REMOVAL_PREVENTED       SENSE(0x5, 0x53, 0x02)
#define RESET_OCCURRED          SENSE(0x6, 0x29, 0x00)

enum ata_opcode {
	DEVICE_RESET = 0x08,
	EXECUTE_DEVICE_DIAGNOSTIC = 0x90,
	PACKET = 0xa0,
	IDENTIFY_PACKET_DEVICE = 0xa1,
	STANDBY_IMMEDIATE = 0xe0,
	IDLE_IMMEDIATE = 0xe1,
	STANDBY = 0xe2,
	IDLE = 0xe3,
	CHECK_POWER_MODE = 0xe5,
	SLEEP = 0xe6,
	FLUSH_CACHE = 0xe7,
	IDENTIFY_DEVICE = 0xec,
	SET_FEATURES = 0xef,
};

enum opcode {
	TEST_UNIT_READY = 0x00,
	REQUEST_SENSE = 0x03,
	INQUIRY = 0x12,
	START_STOP_UNIT = 0x1b,
	PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e,
	READ_CAPACITY = 0x25,
	READ_10 = 0x28,
	SEEK_10 = 0x2b,
	READ_TOC = 0x43,
	GET_CONFIGURATION = 0x46,
	GET_EVENT_STATUS_NOTIFICATION = 0x4a,
	READ_DISC_INFORMATION = 0x51,
	MODE_SENSE_10 = 0x5a,
	READ_12 = 0xa8,
	SET_CD_SPEED = 0xbb,
	MECHANISM_STATUS = 0xbd,
	READ_CD = 0xbe,
};

/* A medium's event, MMC-6 6.6.2 */
enum event { EVENT_NONE = 0, EVENT_NEW_MEDIA = 2, EVENT_REMOVAL = 3 };

/* Profiles, MMC-6 5.2 */
#define PROFILE_CD  0x0008u
#define PROFILE_DVD 0x0010u

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

static void put_text(uint8_t *at, size_t size, const char *text)
{
	for (size_t i = 0; i < size; i++)
		at[i] = *text ? (uint8_t)*text++ : ' ';
}

/* 32 bits are enough for every address of a packet. */
static uint32_t blocks_of(const struct cdrom *drive)
{
	const uint64_t blocks = drive->backend->size / CDROM_BLOCK;

	return blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
}

static unsigned profile(const struct cdrom *drive)
{
	if (drive->open)
		return 0;
	return blocks_of(drive) > CD_MAX_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

/* A block's address in four bytes, as a number or as minutes, seconds and frames. */
static void put_address(uint8_t *at, uint32_t block, bool msf)
{
	if (!msf) {
		put_be(at, 4, block);
		return;
	}
	block += MSF_LEAD_IN;
	at[0] = 0;
	at[1] = (uint8_t)(block / 75 / 60);
	at[2] = (uint8_t)(block / 75 % 60);
	at[3] = (uint8_t)(block % 75);
}

/* ---- ends of a command ---- */

static void good(struct cdrom_command *command)
{
	command->kind = ATA_DONE;
	command->sense_key = 0;
}

static void refuse(struct cdrom *drive, struct cdrom_command *command, uint32_t sense)
{
	command->kind = ATA_DONE;
	command->length = 0;
	command->sense_key = (uint8_t)(sense >> 16);
	drive->sense = sense;
}

void cdrom_failed(struct cdrom *drive, struct cdrom_command *command)
{
	refuse(drive, command, READ_ERROR);
}

static void reply(struct cdrom_command *command, size_t len, uint64_t allocation)
{
	good(command);
	command->length = len < allocation ? len : allocation;
	command->kind = command->length ? ATA_REPLY : ATA_DONE;
}

/* ---- what it is ---- */

static void inquiry(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	if (command->packet[1] & 1 || command->packet[2]) {
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	data[0] = 0x05; /* a CD or DVD drive */
	data[1] = 0x80; /* the medium can be removed */
	data[3] = 0x21; /* ATAPI, and its format of this data */
	data[4] = 36 - 5;
	put_text(data + 8, 8, "RUSE");
	put_text(data + 16, 16, "CD-ROM");
	put_text(data + 32, 4, "1");
	reply(command, 36, get_be(command->packet + 3, 2));
}

static void request_sense(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const uint32_t sense = drive->attention ? RESET_OCCURRED : drive->sense;

	drive->attention = false;
	drive->sense = 0;
	data[0] = 0x70; /* current, fixed format */
	data[2] = (uint8_t)(sense >> 16);
	data[7] = 18 - 8;
	data[12] = (uint8_t)(sense >> 8);
	data[13] = (uint8_t)sense;
	reply(command, 18, command->packet[4]);
}

/* ---- GET CONFIGURATION ---- */

static size_t profile_list(const struct cdrom *drive, uint8_t *data)
{
	put_be(data, 2, PROFILE_DVD);
	data[2] = profile(drive) == PROFILE_DVD;
	put_be(data + 4, 2, PROFILE_CD);
	data[6] = profile(drive) == PROFILE_CD;
	return 8;
}

static size_t core(const struct cdrom *drive, uint8_t *data)
{
	put_be(data, 4, 2); /* ATAPI */
	data[4] = 0x01;     /* device busy events */
	return 8;
}

static size_t removable(const struct cdrom *drive, uint8_t *data)
{
	data[0] = 0x29; /* a tray, that can be opened and locked */
	return 4;
}

static size_t random_readable(const struct cdrom *drive, uint8_t *data)
{
	put_be(data, 4, CDROM_BLOCK);
	put_be(data + 4, 2, 1);
	return 8;
}

static size_t nothing_more(const struct cdrom *drive, uint8_t *data)
{
	return 4;
}

static bool always(const struct cdrom *drive)
{
	return true;
}

static bool has_medium(const struct cdrom *drive)
{
	return !drive->open;
}

static bool has_cd(const struct cdrom *drive)
{
	return profile(drive) == PROFILE_CD;
}

static bool has_dvd(const struct cdrom *drive)
{
	return profile(drive) == PROFILE_DVD;
}

/* By number, as they are told. */
static const struct feature {
	uint16_t code;
	uint8_t version;
	bool persistent;
	bool (*current)(const struct cdrom *drive);
	size_t (*fill)(const struct cdrom *drive, uint8_t *data); /* returns the bytes behind the header of 4 */
} features[] = {
	{0x0000, 0, true, always, profile_list},
	{0x0001, 2, true, always, core},
	{0x0003, 1, true, always, removable},
	{0x0010, 0, false, has_medium, random_readable},
	{0x001e, 2, false, has_cd, nothing_more},
	{0x001f, 1, false, has_dvd, nothing_more},
};

static void get_configuration(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const unsigned which = command->packet[1] & 3; /* 0: all, 1: current ones, 2: one */
	const uint64_t first = get_be(command->packet + 2, 2);
	size_t len = 8;

	if (which == 3) {
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *feature = &features[i];
		const bool current = feature->current(drive);
		size_t more;

		if (feature->code < first || (which == 1 && !current) || (which == 2 && feature->code != first))
			continue;
		more = feature->fill(drive, data + len + 4);
		put_be(data + len, 2, feature->code);
		data[len + 2] = (uint8_t)(feature->version << 2 | feature->persistent << 1 | current);
		data[len + 3] = (uint8_t)more;
		len += 4 + more;
	}
	put_be(data, 4, len - 4);
	put_be(data + 6, 2, profile(drive));
	reply(command, len, get_be(command->packet + 7, 2));
}

static void get_event_status(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const bool media = command->packet[4] & 0x10;

	if (!(command->packet[1] & 1)) { /* only polled */
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	put_be(data, 2, media ? 6 : 2);
	data[2] = media ? 0x04 : 0x80; /* of the medium; or: none of these classes */
	data[3] = 0x10;
	data[4] = drive->event;
	data[5] = drive->open ? 0x01 : 0x02;
	if (media)
		drive->event = EVENT_NONE;
	reply(command, media ? 8 : 4, get_be(command->packet + 7, 2));
}

/* ---- MODE SENSE ---- */

static size_t error_recovery_page(const struct cdrom *drive, uint8_t *at, bool changeable)
{
	at[0] = 0x01;
	at[1] = 6;
	return 8;
}

static size_t capabilities_page(const struct cdrom *drive, uint8_t *at, bool changeable)
{
	at[0] = 0x2a;
	at[1] = 18;
	if (changeable)
		return 20;
	at[2] = 0x0b; /* reads CD-R, CD-RW, DVD-ROM */
	at[4] = 0x70; /* mode 2, sessions */
	at[6] = (uint8_t)(0x29 | drive->locked << 1);
	put_be(at + 8, 2, 8467); /* KB/s: 48 times */
	put_be(at + 12, 2, 512); /* KiB of buffer */
	put_be(at + 14, 2, 8467);
	return 20;
}

static void mode_sense(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const unsigned page = command->packet[2] & 0x3f, control = command->packet[2] >> 6;
	size_t len = 8;

	if (control == 3) {
		refuse(drive, command, SAVING_NOT_SUPPORTED);
		return;
	}
	if (page == 0x01 || page == 0x3f)
		len += error_recovery_page(drive, data + len, control == 1);
	if (page == 0x2a || page == 0x3f)
		len += capabilities_page(drive, data + len, control == 1);
	if (len == 8) {
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	put_be(data, 2, len - 2);
	data[2] = drive->open ? 0x71 : 0x01; /* the medium: a data CD */
	reply(command, len, get_be(command->packet + 7, 2));
}

/* ---- the medium ---- */

static void read_capacity(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	put_be(data, 4, blocks_of(drive) ? blocks_of(drive) - 1 : 0);
	put_be(data + 4, 4, CDROM_BLOCK);
	reply(command, 8, 8);
}

static void read_blocks(struct cdrom *drive, struct cdrom_command *command, uint32_t first, uint32_t count)
{
	const uint32_t blocks = blocks_of(drive);

	if (first > blocks || count > blocks - first) {
		refuse(drive, command, LBA_OUT_OF_RANGE);
		return;
	}
	good(command);
	if (!count)
		return;
	command->kind = ATA_READ;
	command->offset = (uint64_t)first * CDROM_BLOCK;
	command->length = (uint64_t)count * CDROM_BLOCK;
}

/* Only what READ gives as well: the user data of data blocks. */
static void read_cd(struct cdrom *drive, struct cdrom_command *command)
{
	const uint8_t *packet = command->packet;
	const unsigned type = packet[1] >> 2 & 7, wanted = packet[9] & 0xf8;

	if ((type != 0 && type != 2 && type != 4) || (wanted & ~0x10u) || (packet[10] & 7))
		refuse(drive, command, INVALID_FIELD);
	else
		read_blocks(drive, command, (uint32_t)get_be(packet + 2, 4), wanted ? (uint32_t)get_be(packet + 6, 3) : 0);
}

/* One track and the lead-out. */
static size_t toc(const struct cdrom *drive, const uint8_t *packet, uint8_t *data)
{
	const bool msf = packet[1] & 2;
	uint8_t *at = data + 4;

	data[2] = data[3] = 1;
	if (packet[6] <= 1) {
		at[1] = TRACK_DATA;
		at[2] = 1;
		put_address(at + 4, 0, msf);
		at += 8;
	}
	at[1] = TRACK_DATA;
	at[2] = LEAD_OUT;
	put_address(at + 4, blocks_of(drive), msf);
	return (size_t)(at + 8 - data);
}

/* One session. */
static size_t sessions(const uint8_t *packet, uint8_t *data)
{
	data[2] = data[3] = 1;
	data[5] = TRACK_DATA;
	data[6] = 1;
	put_address(data + 8, 0, packet[1] & 2);
	return 12;
}

/* As in the lead-in: first and last track, lead-out, the track. */
static size_t full_toc(const struct cdrom *drive, uint8_t *data)
{
	static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 0x01};

	data[2] = data[3] = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(points); i++) {
		uint8_t *at = data + 4 + 11 * i, address[4];

		at[0] = 1;
		at[1] = TRACK_DATA;
		at[3] = points[i];
		if (i < 2) {
			at[8] = 1;
			continue;
		}
		put_address(address, i == 2 ? blocks_of(drive) : 0, true);
		memcpy(at + 8, address + 1, 3);
	}
	return 4 + 11 * ARRAY_SIZE(points);
}

static void read_toc(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const uint8_t *packet = command->packet;
	/* An old place for the format is the control byte. */
	const unsigned format = packet[2] & 15 ? packet[2] & 15 : packet[9] >> 6;
	size_t len = 0;

	if (format == 0 && (packet[6] <= 1 || packet[6] == LEAD_OUT))
		len = toc(drive, packet, data);
	else if (format == 1)
		len = sessions(packet, data);
	else if (format == 2)
		len = full_toc(drive, data);
	if (!len) {
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	put_be(data, 2, len - 2);
	reply(command, len, get_be(packet + 7, 2));
}

static void read_disc_information(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	if (command->packet[1] & 7) {
		refuse(drive, command, INVALID_FIELD);
		return;
	}
	put_be(data, 2, 32);
	data[2] = 0x0e; /* nothing can be added */
	data[3] = data[4] = data[5] = data[6] = 1; /* one session, one track */
	data[7] = 0x20;
	put_be(data + 16, 4, 0x00ffffff);
	put_be(data + 20, 4, 0x00ffffff);
	reply(command, 34, get_be(command->packet + 7, 2));
}

/* ---- the tray ---- */

static void start_stop(struct cdrom *drive, struct cdrom_command *command)
{
	const unsigned what = command->packet[4];
	const bool start = what & 1, move = what & 2;

	if ((what >> 4) == 0 && move && drive->open == start) {
		if (!start && drive->locked) {
			refuse(drive, command, REMOVAL_PREVENTED);
			return;
		}
		drive->open = !start;
		drive->event = start ? EVENT_NEW_MEDIA : EVENT_REMOVAL;
	}
	good(command);
}

static void mechanism_status(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	data[1] = (uint8_t)(drive->open << 4);
	data[5] = 1; /* slots */
	reply(command, 8, get_be(command->packet + 8, 2));
}

/* ---- packets ---- */

static bool needs_medium(uint8_t opcode)
{
	switch ((enum opcode)opcode) {
	case TEST_UNIT_READY:
	case READ_CAPACITY:
	case READ_10:
	case SEEK_10:
	case READ_TOC:
	case READ_DISC_INFORMATION:
	case READ_12:
	case READ_CD:
		return true;
	default:
		return false;
	}
}

/* SPC-4 5.14, MMC-6 4.1.6: these are answered whatever is the matter. */
static bool always_answered(uint8_t opcode)
{
	return opcode == INQUIRY || opcode == REQUEST_SENSE || opcode == GET_CONFIGURATION || opcode == GET_EVENT_STATUS_NOTIFICATION;
}

static void execute(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const uint8_t *packet = command->packet;

	switch ((enum opcode)packet[0]) {
	case TEST_UNIT_READY:
	case SET_CD_SPEED:
		good(command);
		break;
	case REQUEST_SENSE:
		request_sense(drive, command, data);
		break;
	case INQUIRY:
		inquiry(drive, command, data);
		break;
	case START_STOP_UNIT:
		start_stop(drive, command);
		break;
	case PREVENT_ALLOW_MEDIUM_REMOVAL:
		drive->locked = packet[4] & 1;
		good(command);
		break;
	case READ_CAPACITY:
		read_capacity(drive, command, data);
		break;
	case READ_10:
		read_blocks(drive, command, (uint32_t)get_be(packet + 2, 4), (uint32_t)get_be(packet + 7, 2));
		break;
	case READ_12:
		read_blocks(drive, command, (uint32_t)get_be(packet + 2, 4), (uint32_t)get_be(packet + 6, 4));
		break;
	case READ_CD:
		read_cd(drive, command);
		break;
	case SEEK_10:
		read_blocks(drive, command, (uint32_t)get_be(packet + 2, 4), 0);
		break;
	case READ_TOC:
		read_toc(drive, command, data);
		break;
	case GET_CONFIGURATION:
		get_configuration(drive, command, data);
		break;
	case GET_EVENT_STATUS_NOTIFICATION:
		get_event_status(drive, command, data);
		break;
	case READ_DISC_INFORMATION:
		read_disc_information(drive, command, data);
		break;
	case MODE_SENSE_10:
		mode_sense(drive, command, data);
		break;
	case MECHANISM_STATUS:
		mechanism_status(drive, command, data);
		break;
	default:
		refuse(drive, command, INVALID_OPCODE);
		break;
	}
}

void cdrom_begin(struct cdrom *drive, struct cdrom_command *command, uint8_t *data)
{
	const uint8_t opcode = command->packet[0];

	command->offset = command->length = 0;
	memset(data, 0, CDROM_REPLY_SIZE);
	if (drive->attention && !always_answered(opcode)) {
		drive->attention = false;
		refuse(drive, command, RESET_OCCURRED);
		return;
	}
	if (opcode != REQUEST_SENSE)
		drive->sense = 0;
	if (drive->open && needs_medium(opcode))
		refuse(drive, command, TRAY_OPEN);
	else
		execute(drive, command, data);
}

/* ---- ATA commands ---- */

static void identify(const struct cdrom *drive, struct ata_command *command, uint8_t *data)
{
	memset(data, 0, ATA_REPLY_SIZE);
	ata_put_word(data, 0, 0x85c0); /* a CD drive, removable, packets of 12 bytes */
	ata_put_text(data, 10, 10, drive->serial);
	ata_put_text(data, 23, 4, "1");
	ata_put_text(data, 27, 20, "RUSE CD-ROM");
	ata_put_word(data, 49, 0x0f00); /* DMA, LBA */
	ata_put_modes(data, drive->transfer_mode);
	ata_put_word(data, 76, 0x000e);
	ata_put_word(data, 77, 0x0006);
	ata_put_word(data, 80, 0x01f0);
	ata_put_word(data, 82, 0x4218); /* NOP, DEVICE RESET, PACKET, power management */
	ata_put_word(data, 83, 0x4000);
	ata_put_word(data, 84, 0x4000);
	ata_put_word(data, 85, 0x4218);
	ata_put_word(data, 87, 0x4000);
	ata_put_word(data, 222, 0x103f);
	ata_put_checksum(data);
	ata_succeed(command);
	command->kind = ATA_REPLY;
	command->length = ATA_REPLY_SIZE;
	command->pio = true;
}

static void set_features(struct cdrom *drive, struct ata_command *command)
{
	if ((command->feature & 0xff) == 0x03 && ata_set_transfer_mode(&drive->transfer_mode, command->count & 0xff))
		ata_succeed(command);
	else
		ata_abort(command);
}

void cdrom_begin_ata(struct cdrom *drive, struct ata_command *command, uint8_t *data)
{
	command->pio = command->queued = command->flush_after = command->signature = false;
	command->offset = command->length = 0;
	ata_succeed(command);
	switch ((enum ata_opcode)command->command) {
	case PACKET:
		command->kind = ATA_PACKET;
		command->pio = !(command->feature & 1);
		break;
	case IDENTIFY_PACKET_DEVICE:
		identify(drive, command, data);
		break;
	case IDENTIFY_DEVICE: /* so it is told that it isn't a disk */
		ata_abort(command);
		command->signature = true;
		break;
	case DEVICE_RESET:
		cdrom_reset(drive);
		command->signature = true;
		command->status = 0;
		command->error = 0x01;
		break;
	case EXECUTE_DEVICE_DIAGNOSTIC:
		command->signature = true;
		command->status = 0;
		command->error = 0x01; /* passed */
		break;
	case CHECK_POWER_MODE:
		command->count = 0xff;
		break;
	case SET_FEATURES:
		set_features(drive, command);
		break;
	case STANDBY_IMMEDIATE:
	case IDLE_IMMEDIATE:
	case STANDBY:
	case IDLE:
	case SLEEP:
	case FLUSH_CACHE:
		break;
	default:
		ata_abort(command);
		break;
	}
}

void cdrom_reset(struct cdrom *drive)
{
	drive->attention = true;
	drive->locked = false;
	drive->event = EVENT_NONE;
	drive->sense = 0;
	drive->transfer_mode = 0x45;
}

void cdrom_power_on(struct cdrom *drive)
{
	drive->open = false;
	cdrom_reset(drive);
}

void cdrom_init(struct cdrom *drive, struct block_backend *backend, unsigned number)
{
	drive->backend = backend;
	if (backend->serial[0])
		memcpy(drive->serial, backend->serial, sizeof(drive->serial));
	else
		fmt_print(drive->serial, sizeof(drive->serial), "RUSE%04u", number);
	cdrom_power_on(drive);
}
