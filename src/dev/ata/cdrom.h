/* A CD or DVD drive (MMC-6, SPC-4) in front of a read-only block backend: what a host bus adapter gives its packets to.
 *
 * Blocks have 2048 bytes; of an image whose size is no multiple of that the end is not reached. There is one session with one
 * data track. An image bigger than a CD is a DVD. The tray opens and closes as the guest says; what is in it stays in it.
 *
 * Example (the adapter, with command.packet set):
 *     cdrom_begin(drive, &command, reply);
 *     switch (command.kind) { case ATA_READ: ... command.offset, command.length ...; case ATA_DONE: ... command.sense_key ... }
 */
#ifndef DEV_ATA_CDROM_H
#define DEV_ATA_CDROM_H

#include "dev/ata/ata.h"

#define CDROM_BLOCK       2048u
#define CDROM_PACKET_SIZE 12u
#define CDROM_REPLY_SIZE  512u

struct cdrom {
	struct block_backend *backend;
	char serial[21];
	uint8_t transfer_mode;
	bool attention; /* the next command is told that there was a reset */
	bool open;      /* the tray is */
	bool locked;    /* the guest doesn't want the tray to open */
	uint8_t event;  /* of the medium, that GET EVENT STATUS NOTIFICATION has to tell of */
	uint32_t sense; /* of the last command: key, additional code, qualifier */
};

struct cdrom_command {
	uint8_t packet[CDROM_PACKET_SIZE];

	enum ata_kind kind;      /* ATA_DONE, ATA_REPLY or ATA_READ */
	uint64_t offset, length; /* bytes, of the reply or the backend */
	uint8_t sense_key;       /* 0: all is well */
};

void cdrom_init(struct cdrom *drive, struct block_backend *backend, unsigned number);
/* The tray stays as it is. */
void cdrom_reset(struct cdrom *drive);
void cdrom_power_on(struct cdrom *drive);
/* ATA commands other than PACKET; command->kind is ATA_PACKET if it is that. reply has ATA_REPLY_SIZE bytes. */
void cdrom_begin_ata(struct cdrom *drive, struct ata_command *command, uint8_t *reply);
/* Looks at a packet; reply has CDROM_REPLY_SIZE bytes. */
void cdrom_begin(struct cdrom *drive, struct cdrom_command *command, uint8_t *reply);
/* What the backend was given has ended with an error. */
void cdrom_failed(struct cdrom *drive, struct cdrom_command *command);

#endif
