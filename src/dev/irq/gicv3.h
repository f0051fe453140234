/* Arm's Generic Interrupt Controller, version 3 (IHI 0069): distributor, a redistributor for each processor, and the processors'
 * interfaces to it, which are system registers.
 *
 * Example:
 *     struct gicv3 *gic;
 *     r = gicv3_create(vm, &(struct gicv3_config){.distributor = 0x8000000, .redistributors = 0x80a0000, .spis = 256}, &gic);
 *     pl011_create(vm, 0x9000000, gicv3_spi(gic, 1), backend);
 *
 * One security state (GICD_CTLR.DS is set), affinity routing only, 32 priorities. Group 1 is what IRQs are made of, group 0 FIQs.
 * An engine asks vm->irq_ops->pending(vcpu) for the IRQ (an INTID, or -1): when it takes VCPU_REQ_IRQ, and after each access of the
 * processor to its own ICC_* registers, which are in the table of msr_handlers under their A64_SYSREG_KEY. gicv3_fiq() is the same for
 * the FIQ.
 */
#ifndef DEV_IRQ_GICV3_H
#define DEV_IRQ_GICV3_H

#include "base/types.h"
#include "core/irq.h"

#define GICV3_DISTRIBUTOR_SIZE   0x10000u
#define GICV3_REDISTRIBUTOR_SIZE 0x20000u /* for each processor */
#define GICV3_MAX_SPIS           960u

struct vm;
struct vcpu;
struct gicv3;

struct gicv3_config {
	gpa_t distributor, redistributors;
	bool lpis;     /* for an ITS, gicv3_its.h */
	bool awake;    /* after a reset, too: GICR_WAKER is as secure firmware leaves it (IHI 0069 4.2), which UEFI counts on */
	unsigned spis; /* shared interrupts: at most GICV3_MAX_SPIS, rounded up to whole registers of 32 */
};

/* vm->vcpus must be there; sets vm->irq_ops and each vcpu's intc. The controller is a device of the vm: freed by its
 * device_ops.destroy. -EINVAL, -ENOMEM, or what the buses say; what is left behind then, vm teardown frees. */
int gicv3_create(struct vm *vm, const struct gicv3_config *config, struct gicv3 **gic) must_check;

/* A shared interrupt's line; spi counts from 0 (INTID 32). Out of range: a line that is not connected. */
struct irq_line gicv3_spi(struct gicv3 *gic, unsigned spi);
/* A processor's private interrupt, INTID 16 to 31. */
struct irq_line gicv3_ppi(struct gicv3 *gic, unsigned cpu, unsigned intid);

/* The group 0 interrupt that signals an FIQ now, or -1. The vcpu's own thread. */
int gicv3_fiq(struct vcpu *vcpu);

#endif
