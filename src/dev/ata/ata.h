/* ATA disks (ACS-3) in front of a block backend: what a host bus adapter gives its commands to.
 *
 * Logical sectors have 512 bytes, physical ones 4 KiB. The write cache is on until the driver switches it off; FLUSH CACHE and
 * the FUA commands flush the backend.
 *
 * Example (the adapter, with a command's registers in `command`):
 *     ata_disk_begin(disk, &command, reply);
 *     switch (command.kind) { case ATA_READ: ... command.offset, command.length ...; case ATA_DONE: ... command.status ... }
 */
#ifndef DEV_ATA_ATA_H
#define DEV_ATA_ATA_H

#include "base/types.h"
#include "core/backend.h"

#define ATA_SECTOR     512u
#define ATA_REPLY_SIZE 512u
#define ATA_TAGS       32u

#define ATA_BSY  0x80u /* status */
#define ATA_DRDY 0x40u
#define ATA_DF   0x20u
#define ATA_DSC  0x10u
#define ATA_DRQ  0x08u
#define ATA_ERR  0x01u

#define ATA_UNC  0x40u /* error */
#define ATA_IDNF 0x10u
#define ATA_ABRT 0x04u

#define ATA_SIGNATURE   0x00000101u /* PxSIG: LBA high, mid, low, count */
#define ATAPI_SIGNATURE 0xeb140101u

/* What is left to do of a command. */
enum ata_kind {
	ATA_DONE,  /* nothing: status and error say how it ended */
	ATA_REPLY, /* `length` bytes of the reply go to the host */
	ATA_READ,  /* of the backend, offset and length */
	ATA_WRITE,
	ATA_FLUSH,
	ATA_TRIM,  /* the host sends `length` bytes of ranges: ata_trim_range() */
	ATA_PACKET, /* a packet command follows: cdrom.h */
};

struct ata_command {
	/* From the host, and what of it goes back. */
	uint8_t command, device;
	uint16_t feature, count;
	uint64_t lba; /* 48 bits */

	enum ata_kind kind;
	bool pio;         /* data by the PIO protocol */
	bool queued;      /* NCQ */
	uint8_t tag;      /* of a queued one */
	bool flush_after; /* a write that is to be stable when it ends */
	bool signature;   /* the registers hold the device's signature */
	uint64_t offset, length;
	uint8_t status, error;
};

struct ata_disk {
	struct block_backend *backend;
	char serial[21];
	uint8_t multiple;     /* sectors of READ MULTIPLE */
	bool cache;           /* write cache */
	uint8_t transfer_mode; /* as SET FEATURES has it */
	/* The command that stopped the queue, for READ LOG EXT. */
	bool queue_failed;
	uint8_t failed_tag, failed_error;
	uint64_t failed_lba;
};

void ata_disk_init(struct ata_disk *disk, struct block_backend *backend, unsigned number);
/* To its power-on state. */
void ata_disk_reset(struct ata_disk *disk);
/* Looks at a command; reply has ATA_REPLY_SIZE bytes. */
void ata_disk_begin(struct ata_disk *disk, struct ata_command *command, uint8_t *reply);
/* It can't be done as the host has described it. */
void ata_disk_refuse(struct ata_disk *disk, struct ata_command *command);
/* What the backend was given has ended with an error: what becomes of the command. */
void ata_disk_failed(struct ata_disk *disk, struct ata_command *command);
/* One of the entries of 8 bytes that a TRIM brings. False: it is not on the disk. An empty one has length 0. */
bool ata_trim_range(const struct ata_disk *disk, const uint8_t entry[8], uint64_t *offset, uint64_t *length);

/* ---- what a CD drive has, too ---- */

void ata_abort(struct ata_command *command);
void ata_succeed(struct ata_command *command);
/* SET FEATURES: a transfer mode that there is is stored. False: no such thing. */
bool ata_set_transfer_mode(uint8_t *mode, uint16_t count);
/* Words of IDENTIFY data; text is filled up with spaces. */
void ata_put_word(uint8_t *data, unsigned word, uint16_t value);
void ata_put_text(uint8_t *data, unsigned word, unsigned words, const char *text);
/* Words 53 to 68 and 88: how fast it is, and what was chosen. */
void ata_put_modes(uint8_t *data, uint8_t transfer_mode);
/* The last word: that all of them are right. */
void ata_put_checksum(uint8_t *data);

#endif
