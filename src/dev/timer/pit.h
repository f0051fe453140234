/* The 8254 interval timer at ports 0x40..0x43 and its system control port 0x61: channel 0 pulls an interrupt line,
 * channel 2 has its gate at port 0x61 bit 0 and its output at bit 5 (there is no speaker).
 *
 * Example: `r = pit_create(vm, irqchip_line(chip, 0));`
 */
#ifndef DEV_TIMER_PIT_H
#define DEV_TIMER_PIT_H

#include "core/irq.h"

#define PIT_HZ 1193182u

int pit_create(struct vm *vm, struct irq_line irq) must_check;

#endif
