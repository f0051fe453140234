/* Arm's PrimeCell general-purpose I/O (PL061, DDI 0190) in a page of memory: eight pins, of which pin PL061_POWER_KEY is the machine's
 * power key.
 *
 * Example: `r = pl061_create(vm, 0x9030000, gicv3_spi(gic, 7), &gpio);` and later `pl061_press_power_key(gpio);`
 */
#ifndef DEV_MISC_PL061_H
#define DEV_MISC_PL061_H

#include "base/types.h"
#include "core/irq.h"

#define PL061_SIZE      0x1000u
#define PL061_POWER_KEY 3u

struct pl061;

int pl061_create(struct vm *vm, gpa_t base, struct irq_line irq, struct pl061 **gpio) must_check;

/* Down, and up again a tenth of a second later. I/O thread. */
void pl061_press_power_key(struct pl061 *gpio);

#endif
