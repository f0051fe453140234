/* SMBIOS 2.8 (DSP0134): what dmidecode shows of a machine.
 *
 * Example:
 *     struct smbios smbios;
 *     r = smbios_build(&smbios, &(struct smbios_machine){.cpus = 4, .memory = GIB(3), .low = GIB(2), .name = "web"});
 *     smbios_link(&smbios, 0xf0000 + 32);    // the tables will be there; firmware does this itself
 */
#ifndef BOARD_X86_64_SMBIOS_H
#define BOARD_X86_64_SMBIOS_H

#include "base/types.h"

#define SMBIOS_ANCHOR_SIZE 31
#define SMBIOS_TABLES_SIZE 8192

struct smbios {
	uint8_t anchor[SMBIOS_ANCHOR_SIZE]; /* the entry point; its address and checksums are not set yet */
	uint8_t tables[SMBIOS_TABLES_SIZE];
	uint32_t len; /* of the tables, bytes */
};

struct smbios_machine {
	unsigned cpus;
	uint64_t memory, low; /* bytes, of which `low` begin at 0, the rest at 4 GiB */
	const char *name;     /* or NULL */
	bool no_firmware;     /* a kernel is started directly: no firmware adds a structure about itself */
};

/* 0 or -ENOSPC. */
int smbios_build(struct smbios *smbios, const struct smbios_machine *machine) must_check;
/* Completes the anchor for tables at gpa, below 4 GiB. */
void smbios_link(struct smbios *smbios, gpa_t gpa);

#endif
