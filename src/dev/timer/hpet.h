/* The high precision event timer (IA-PC HPET specification 1.0a): a counter of 100 MHz and three comparators.
 *
 * With legacy replacement, comparators 0 and 1 take the places of the PIT and the RTC: those pull lines that the HPET gives
 * out, and passes on or not.
 *
 * Example:
 *     r = hpet_create(vm, HPET_BASE, chip, true, &hpet);
 *     r = pit_create(vm, hpet_legacy_line(hpet, HPET_PIT));
 */
#ifndef DEV_TIMER_HPET_H
#define DEV_TIMER_HPET_H

#include "core/irq.h"
#include "core/vm.h"

#define HPET_BASE 0xfed00000u
#define HPET_SIZE 0x400u
#define HPET_ID   0x8086a201u /* the low half of GCAP_ID with legacy replacement: what ACPI's table repeats */
#define HPET_ID_NO_LEGACY 0x80862201u

enum hpet_legacy { HPET_PIT, HPET_RTC };

struct irqchip;
struct hpet;

/* legacy: it can replace PIT and RTC, which is so if they pull the lines below. */
int hpet_create(struct vm *vm, gpa_t base, struct irqchip *chip, bool legacy, struct hpet **hpet) must_check;
struct irq_line hpet_legacy_line(struct hpet *hpet, enum hpet_legacy which);

#endif
