/* What the definition blocks (DSDT) of the x86-64 boards have in common.
 *
 * Example: `acpi_describe_serial(aml, "COM1", 1, 0x3f8, 4);`
 */
#ifndef BOARD_X86_64_ACPI_PARTS_H
#define BOARD_X86_64_ACPI_PARTS_H

#include "loader/aml.h"

/* Devices, in the open scope. */
void acpi_describe_cpus(struct aml *aml, unsigned cpus);
void acpi_describe_serial(struct aml *aml, const char *name, unsigned uid, uint16_t port, unsigned irq);
void acpi_describe_rtc(struct aml *aml);
void acpi_describe_pvpanic(struct aml *aml);
/* \_S5, with the value that switches off; outside of all scopes. */
void acpi_describe_s5(struct aml *aml, unsigned sleep_type);

#endif
