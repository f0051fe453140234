/* Interrupt lines: what a device pulls, whatever sits at the other end.
 *
 * Example: `irq_set(&uart->irq, 1);`   `irq_pulse(&virtio->irq);` (edge)
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "base/types.h"

struct vcpu;
struct vm;
struct vm_exit; /* core/exit.h */

struct irq_line {
	void (*set)(void *ctx, unsigned pin, int level); /* any thread; NULL: not connected */
	void *ctx;
	unsigned pin;
};

void irq_set(const struct irq_line *line, int level);
void irq_pulse(const struct irq_line *line);

/* How an engine without interrupt controllers of its own asks for interrupts: filled by the board
 * from dev/irq/lapic.c. All are called on the vcpu's own thread. */
struct vcpu_irq_ops {
	/* The vector that ack() would deliver now given TPR/PPR, or -1. Cheap. */
	int (*pending)(struct vcpu *vcpu);
	/* Optional: the same for a second signal, Arm's FIQ. */
	int (*fiq)(struct vcpu *vcpu);
	/* Acknowledges: moves it to in-service (or takes it from the 8259) and returns it; -1 if none. */
	int (*ack)(struct vcpu *vcpu);
	uint64_t (*get_tpr)(struct vcpu *vcpu); /* CR8, 0..15 */
	void (*set_tpr)(struct vcpu *vcpu, uint64_t cr8);
	/* Optional: the vcpu takes an INIT; its local APIC returns to the state after INIT (SDM 3A
	 * 11.4.7.3). */
	void (*init)(struct vcpu *vcpu);
	/* Optional: a VM_EXIT_MMIO that nobody else has seen yet. The local APIC's page is another one for each
	 * vcpu, so no bus can serve it. True: it was that page, and is done. */
	bool (*mmio)(struct vcpu *vcpu, struct vm_exit *exit);
};

#endif
