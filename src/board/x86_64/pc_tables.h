/* What the pc tells of itself: ACPI tables (pc_acpi.c), SMBIOS (smbios.h), and all of it to firmware (pc_firmware.c).
 *
 * Example (a kernel without firmware):
 *     struct pc_tables tables = {.cpus = 4, .ecam = PC_ECAM, .hpet_id = HPET_ID, .high_first = GIB(32), .high_last = GIB(64) - 1};
 *     r = pc_build_acpi(&tables, buf, PC_SMBIOS - PC_ACPI, &len);
 */
#ifndef BOARD_X86_64_PC_TABLES_H
#define BOARD_X86_64_PC_TABLES_H

#include "base/types.h"

struct vm;
struct pci_host;
struct pc_firmware;
struct acpi_links;

struct pc_tables {
	unsigned cpus;
	gpa_t ecam;                  /* where configuration space is; below PC_PCI_HOLE_END - PC_ECAM_SIZE */
	gpa_t high_first, high_last; /* PCI's memory above 4 GiB */
	uint32_t hpet_id;
	gpa_t regions_end;           /* of RAM and what else is memory behind it: firmware puts nothing below */
};

/* As acpi_build(), at PC_ACPI, and acpi_build_relative(). */
int pc_build_acpi(const struct pc_tables *tables, uint8_t *buf, size_t size, size_t *len) must_check;
int pc_build_acpi_relative(const struct pc_tables *tables, uint8_t *buf, size_t size, size_t *len, struct acpi_links *links) must_check;

/* fw_cfg with what firmware asks for: memory, tables and how to place them. Tables that tell of addresses which firmware chooses are made
 * anew when it reads them. *firmware is to be freed with platform_free() when no guest runs any more, also after a failure (or NULL). */
int pc_create_firmware(struct vm *vm, struct pci_host *host, const struct pc_tables *tables, struct pc_firmware **firmware) must_check;

#endif
