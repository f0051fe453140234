/* ACPI power management of a hardware-reduced machine (ACPI 6.4 §4.8.3.7, §5.6.9), in eight I/O ports:
 *   +0  sleep control (8 bits): SLP_EN (bit 5) with SLP_TYPx (bits 4:2) = ACPI_PM_S5 powers the machine off
 *   +1  sleep status (8 bits): WAK_STS reads 0
 *   +2  reset register (8 bits): ACPI_PM_RESET_VALUE resets the machine
 *   +4  event register (32 bits) of the generic event device: reading gives the pending events and clears them
 * The FADT's SLEEP_CONTROL_REG, SLEEP_STATUS_REG and RESET_REG point here; \_S5 is Package {ACPI_PM_S5, ...};
 * the GED's _EVT reads +4 and notifies the power button for ACPI_PM_EVENT_POWER_BUTTON.
 *
 * Example: `r = acpi_pm_create(vm, ACPI_PM_PORT, irqchip_line(chip, ACPI_PM_GSI), &pm);`
 */
#ifndef DEV_MISC_ACPI_PM_H
#define DEV_MISC_ACPI_PM_H

#include "core/vm.h"

#define ACPI_PM_PORT        0x600
#define ACPI_PM_PORT_COUNT  8
#define ACPI_PM_SLEEP_CONTROL 0
#define ACPI_PM_SLEEP_STATUS  1
#define ACPI_PM_RESET         2
#define ACPI_PM_EVENT         4
#define ACPI_PM_GSI         9 /* level-triggered, active high */
#define ACPI_PM_S5          5
#define ACPI_PM_RESET_VALUE 1

#define ACPI_PM_EVENT_POWER_BUTTON (1u << 0)

struct acpi_pm;

int acpi_pm_create(struct vm *vm, uint16_t port, struct irq_line irq, struct acpi_pm **pm) must_check;
/* Somebody pressed the power button. Any thread. */
void acpi_pm_power_button(struct acpi_pm *pm);

#endif
