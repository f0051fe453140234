/* ACPI tables (ACPI 6.4 chapter 5): RSDP, XSDT, FADT, MADT, DSDT, and where the machine has what they describe FACS, RSDT,
 * MCFG, HPET, SPCR. A machine without fixed hardware is a hardware-reduced one.
 *
 * Example:
 *     struct acpi_machine machine = {.cpus = 4, .ioapic = 0xfec00000, ..., .dsdt = describe, .ctx = vm};
 *     r = acpi_build(&machine, 0xe0000, buf, sizeof(buf), &len);   // the RSDP is at 0xe0000
 */
#ifndef LOADER_ACPI_H
#define LOADER_ACPI_H

#include "base/types.h"
#include "loader/aml.h"

/* Fixed hardware: I/O ports and the like, as the FADT has them (§5.2.9). */
struct acpi_fixed {
	uint16_t pm1_event, pm1_control, pm_timer, gpe0;
	uint8_t gpe0_len;
	uint16_t smi_command;
	uint8_t acpi_enable, acpi_disable; /* values for it */
	uint8_t sci;                       /* ISA interrupt */
};

/* Where pointers are, for whoever puts the tables somewhere later: offsets into the buffer. The checksums that change with
 * them are left 0 (the RSDP's two, at 8 and 32, among them). */
#define ACPI_MAX_POINTERS 40
#define ACPI_MAX_TABLES   12
struct acpi_links {
	struct {
		uint32_t at;
		uint8_t size;
	} pointers[ACPI_MAX_POINTERS];
	unsigned pointer_count;
	struct {
		uint32_t start, len; /* the checksum is 9 bytes behind start */
	} checksums[ACPI_MAX_TABLES];
	unsigned checksum_count;
};

struct acpi_machine {
	unsigned cpus;             /* local APIC ids 0..cpus-1; at most 254 */
	uint32_t lapic, ioapic;    /* addresses */
	uint16_t sleep_control, sleep_status, reset; /* ports */
	uint8_t reset_value;
	const struct acpi_fixed *fixed; /* NULL: hardware-reduced, and sleep_control and sleep_status count */
	gpa_t ecam;                /* PCI Express configuration space of all buses, 0: none */
	uint32_t hpet, hpet_id;    /* address and GCAP_ID's low half, 0: none */
	uint16_t level_irqs;       /* ISA interrupts that are level-triggered, active high: bit n */
	uint16_t serial_port;      /* 16550 for SPCR, 0: none */
	uint8_t serial_irq;
	/* Writes the definition block: scopes, devices, \_S5. */
	void (*dsdt)(void *ctx, struct aml *aml);
	void *ctx;
};

/* The RSDP's place in the buffer is 0; what is behind it begins here. */
#define ACPI_RSDP_SIZE     36u
#define ACPI_TABLES_OFFSET 64u

/* Builds all tables for address gpa into buf; the RSDP comes first, gpa must be 64-aligned and below 4 GiB.
 * 0 and the number of bytes in *len, or -ENOSPC. */
int acpi_build(const struct acpi_machine *machine, gpa_t gpa, uint8_t *buf, size_t size, size_t *len) must_check;
/* The same for tables whose place is not known yet: pointers hold offsets relative to ACPI_TABLES_OFFSET, and links says
 * where they are. */
int acpi_build_relative(const struct acpi_machine *machine, uint8_t *buf, size_t size, size_t *len,
			struct acpi_links *links) must_check;

#endif
