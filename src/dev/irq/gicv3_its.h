/* The GICv3's interrupt translation service (IHI 0069 5.2): a device's message becomes an LPI at the processor that the guest's tables
 * say. Tables and command queue are in guest memory, none is kept here.
 *
 * Example:
 *     r = gicv3_its_create(vm, gic, 0x8080000, &its);     // a gic with config.lpis
 *     gicv3_its_message(its, requester, data);            // a PCI function's MSI to GITS_TRANSLATER
 */
#ifndef DEV_IRQ_GICV3_ITS_H
#define DEV_IRQ_GICV3_ITS_H

#include "base/types.h"

#define GICV3_ITS_SIZE       0x20000u
#define GICV3_ITS_TRANSLATER 0x10040u /* where messages are written to */

struct vm;
struct gicv3;
struct gicv3_its;

/* A device of the vm. -EINVAL: the gic has no LPIs; -ENOMEM, or what the bus says. */
int gicv3_its_create(struct vm *vm, struct gicv3 *gic, gpa_t base, struct gicv3_its **its) must_check;

/* A message of a device (16 bits: of PCI its requester id) with an event id for data. Any thread, no lock later in the order held. */
void gicv3_its_message(struct gicv3_its *its, uint32_t device, uint32_t event);

#endif
