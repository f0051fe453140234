/* The local APIC: xAPIC page, x2APIC MSRs, timer with TSC deadline (SDM 3A chapter 11). One for each vcpu.
 *
 * Registers belong to the vcpu's own thread. What others may touch (IRR, TMR, and the ids and masks that
 * destinations are matched with) is atomic, so that any thread delivers without a lock; only the timer has a lock,
 * a leaf, shared with the I/O thread that fires it.
 *
 * An engine without interrupt controllers uses it through struct vcpu_irq_ops (core/irq.h).
 *
 * Example: `r = lapics_create(vm, ioapic_eoi, ioapic, pic);`   `lapic_msi(vm, 0xfee00000, 0x4041);`
 */
#ifndef DEV_IRQ_LAPIC_H
#define DEV_IRQ_LAPIC_H

#include "base/types.h"
#include "core/irq.h"

struct vm;
struct vcpu;
struct lapic;
struct pic;

/* Delivery modes of ICR, LVT, MSI data and IOAPIC entries (bits 10:8) */
enum lapic_delivery {
	LAPIC_FIXED = 0,
	LAPIC_LOWEST = 1,
	LAPIC_SMI = 2,
	LAPIC_NMI = 4,
	LAPIC_INIT = 5,
	LAPIC_SIPI = 6,
	LAPIC_EXTINT = 7,
};

/* A message on the "APIC bus". */
struct lapic_message {
	uint32_t destination;
	bool wide;    /* 32-bit destination (x2APIC ICR); else 8 bits, 0xff is all */
	bool logical;
	bool level;   /* trigger mode */
	uint8_t mode; /* enum lapic_delivery */
	uint8_t vector;
};

/* Makes vcpu->intc for each of vm->vcpus and sets vm->irq_ops. eoi(ctx, vector) is called on the vcpu's thread
 * when it ends a level-triggered interrupt; pic may be NULL. */
int lapics_create(struct vm *vm, void (*eoi)(void *ctx, uint8_t vector), void *eoi_ctx, struct pic *pic) must_check;
void lapics_destroy(struct vm *vm);
/* Power-on state of all; every vcpu is out of its engine. */
void lapics_reset(struct vm *vm);

/* Any thread. True if somebody accepted it. */
bool lapic_deliver(struct vm *vm, const struct lapic_message *message);
/* An MSI write: address and data as SDM 3A 11.11. Any thread. */
void lapic_msi(struct vm *vm, uint64_t address, uint32_t data);
/* The INTR output of the 8259 pair, wired to LINT0 of cpu 0, changed. Any thread. */
void lapic_pic_output(struct vm *vm, bool level);

#endif
