/* Arm's PrimeCell real-time clock (PL031, DDI 0224) in a page of memory: seconds since 1970 from the platform's wall clock, and an alarm.
 *
 * Example: `r = pl031_create(vm, 0x9010000, gicv3_spi(gic, 2));`
 */
#ifndef DEV_TIMER_PL031_H
#define DEV_TIMER_PL031_H

#include "base/types.h"
#include "core/irq.h"

#define PL031_SIZE 0x1000u

int pl031_create(struct vm *vm, gpa_t base, struct irq_line irq) must_check;

#endif
