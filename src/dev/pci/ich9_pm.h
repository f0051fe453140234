/* ICH9's power management (data sheet chapter 13.8; ACPI 6.4 §4.8 fixed hardware): PM1 events, the PM timer, a block of
 * general-purpose events, the SMI registers, and ports 0xb2 and 0xb3.
 *
 *     PMBASE + 0x00 PM1_STS, 0x02 PM1_EN, 0x04 PM1_CNT, 0x08 PM1_TMR
 *            + 0x20 GPE0_STS (8 bytes), 0x28 GPE0_EN (8 bytes)
 *            + 0x30 SMI_EN, 0x34 SMI_STS
 *
 * There is no system management mode: SMI_EN says that its owner has been there already, and writes to port 0xb2 do at
 * once what the FADT promises of them.
 *
 * Example: `r = ich9_pm_create(vm, irqchip_line(chip, 9), &pm);`   `ich9_pm_power_button(pm);`
 */
#ifndef DEV_PCI_ICH9_PM_H
#define DEV_PCI_ICH9_PM_H

#include "core/vm.h"

#define ICH9_PM_SIZE      0x80
#define ICH9_PM_EVT       0x00
#define ICH9_PM_CNT       0x04
#define ICH9_PM_TMR       0x08
#define ICH9_PM_GPE0      0x20
#define ICH9_PM_GPE0_SIZE 16
#define ICH9_SMI_PORT     0xb2
#define ICH9_ACPI_ENABLE  2 /* values for that port */
#define ICH9_ACPI_DISABLE 3
#define ICH9_SLP_TYP_S5   0

struct ich9_pm;

int ich9_pm_create(struct vm *vm, struct irq_line sci, struct ich9_pm **pm) must_check;
/* Where firmware wants the registers; off: nowhere. */
void ich9_pm_place(struct ich9_pm *pm, uint16_t base, bool on);
/* Somebody pressed the power button. Any thread. */
void ich9_pm_power_button(struct ich9_pm *pm);
/* The level of the RTC's interrupt, which is an event here, too: ACPI's way to an alarm. Any thread. */
void ich9_pm_rtc(struct ich9_pm *pm, bool level);

#endif
