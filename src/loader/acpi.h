/* ACPI tables of a hardware-reduced machine (ACPI 6.4 chapter 5): RSDP, XSDT, FADT, MADT, SPCR, DSDT.
 *
 * Example:
 *     struct acpi_machine machine = {.cpus = 4, .ioapic = 0xfec00000, ..., .dsdt = describe, .ctx = vm};
 *     r = acpi_build(&machine, 0xe0000, buf, sizeof(buf), &len);   // the RSDP is at 0xe0000
 */
#ifndef LOADER_ACPI_H
#define LOADER_ACPI_H

#include "base/types.h"
#include "loader/aml.h"

struct acpi_machine {
	unsigned cpus;             /* local APIC ids 0..cpus-1; at most 254 */
	uint32_t lapic, ioapic;    /* addresses */
	uint16_t sleep_control, sleep_status, reset; /* ports */
	uint8_t reset_value;
	uint16_t level_irqs;       /* ISA interrupts that are level-triggered, active high: bit n */
	uint16_t serial_port;      /* 16550 for SPCR, 0: none */
	uint8_t serial_irq;
	/* Writes the definition block: scopes, devices, \_S5. */
	void (*dsdt)(void *ctx, struct aml *aml);
	void *ctx;
};

/* Builds all tables for address gpa into buf; the RSDP comes first, gpa must be 16-aligned and below 4 GiB.
 * 0 and the number of bytes in *len, or -ENOSPC. */
int acpi_build(const struct acpi_machine *machine, gpa_t gpa, uint8_t *buf, size_t size, size_t *len) must_check;

#endif
