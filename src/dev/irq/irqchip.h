/* The machine's interrupt wiring: global system interrupts (GSI) and message-signalled interrupts, whoever
 * serves them: the devices of this directory, or an engine that brings its own controllers.
 *
 * Example:
 *     struct irqchip *chip;
 *     r = irqchip_create(vm, &chip);
 *     uart_create(vm, 0x3f8, irqchip_line(chip, 4), backend, &uart);
 *     irqchip_msi(chip, 0xfee00000, 0x41);
 *
 *            GSI 0 (PIT)   GSI 1, 3..15      GSI 16..23
 *              |    |         |    |             |
 *            PIC 0  |       PIC n  |             |
 *                 IOAPIC 2      IOAPIC n     IOAPIC n          PIC INTR -> LINT0 of cpu 0, IOAPIC pin 0
 *
 * (The MADT carries the matching override: ISA interrupt 0 is GSI 2. GSI 2 itself is IOAPIC pin 2 alone, since
 * PIC input 2 is the cascade.) An engine with controllers of its own must route the same way: the board gives it
 * GSI 2 where a device here says 0, see irqchip_line.
 */
#ifndef DEV_IRQ_IRQCHIP_H
#define DEV_IRQ_IRQCHIP_H

#include "base/types.h"
#include "core/irq.h"

#define IRQCHIP_GSI_COUNT 24
#define IOAPIC_DEFAULT_BASE 0xfec00000u
#define LAPIC_DEFAULT_BASE  0xfee00000u

struct vm;
struct vcpu;
struct device;
struct irqchip;

/* With an engine that has irq_set and msi_send: only the routing. Otherwise also a local APIC for each of
 * vm->vcpus (vcpu->intc, vm->irq_ops), the IOAPIC at IOAPIC_DEFAULT_BASE, and the two 8259s. vm->vcpus and
 * vm->cpuid must be there. On failure nothing is left behind that vm teardown does not free. The chip itself is a device
 * of the vm: freed by its device_ops.destroy. */
int irqchip_create(struct vm *vm, struct irqchip **chip) must_check;

/* The line of a GSI; gsi 0 is the PIT's (PIC 0 and IOAPIC 2). gsi >= 24: a line that is not connected. */
struct irq_line irqchip_line(struct irqchip *chip, unsigned gsi);

/* A message-signalled interrupt: address and data as SDM 3A 11.11. Any thread. */
void irqchip_msi(struct irqchip *chip, uint64_t address, uint32_t data);

#endif
