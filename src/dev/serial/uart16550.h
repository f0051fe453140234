/* A 16550A serial port of eight ports of I/O space.
 *
 * Example: `r = uart_create(vm, 0x3f8, irqchip_line(chip, 4), inputs->serial, "serial0");`
 *
 * Output goes through a ring to the I/O thread, so a slow terminal never holds a vcpu up for long: a full ring
 * leaves the transmitter busy (THRE clear), as a slow line would.
 */
#ifndef DEV_SERIAL_UART16550_H
#define DEV_SERIAL_UART16550_H

#include "core/backend.h"
#include "core/irq.h"

/* backend may be NULL: output is dropped. The backend stays the caller's and outlives the device. */
int uart_create(struct vm *vm, uint16_t port, struct irq_line irq, struct char_backend *backend, const char *id) must_check;

#endif
