/* The I/O APIC: 24 pins, level and edge, remote IRR, directed EOI (82093AA data sheet; version 0x20 adds the EOI
 * register). Polarity is stored and ignored: a line's level here is "asserted".
 *
 * Example: `r = ioapic_create(vm, 0xfec00000, &ioapic);`   `ioapic_set(ioapic, 4, 1);`
 */
#ifndef DEV_IRQ_IOAPIC_H
#define DEV_IRQ_IOAPIC_H

#include "base/types.h"

#define IOAPIC_PINS 24

struct vm;
struct ioapic;

int ioapic_create(struct vm *vm, gpa_t base, struct ioapic **ioapic) must_check;
/* Any thread. */
void ioapic_set(struct ioapic *ioapic, unsigned pin, int level);
/* A local APIC ended a level-triggered interrupt: void (*)(void *, uint8_t) for lapics_create. */
void ioapic_eoi(void *ioapic, uint8_t vector);

#endif
