/* Arm's PrimeCell UART (PL011, DDI 0183) in a page of memory.
 *
 * Example: `r = pl011_create(vm, 0x9000000, gicv3_spi(gic, 1), inputs->serial, "serial0");`
 */
#ifndef DEV_SERIAL_PL011_H
#define DEV_SERIAL_PL011_H

#include "core/backend.h"
#include "core/irq.h"

#define PL011_SIZE 0x1000u

/* backend may be NULL: output is dropped. The backend stays the caller's and outlives the device. */
int pl011_create(struct vm *vm, gpa_t base, struct irq_line irq, struct char_backend *backend, const char *id) must_check;

#endif
