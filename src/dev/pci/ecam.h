/* A PCI Express host bridge that is nothing but its configuration space in memory (PCIe 3.0 §7.2.2), as device trees' pci-host-ecam-generic
 * describes it: for machines without ports.
 *
 * Example:
 *     struct pci_ecam_params params = {.base = 0x3f000000, .buses = 16, .message = send, .message_ctx = its};
 *     r = pci_ecam_create(vm, &params, &root);
 */
#ifndef DEV_PCI_ECAM_H
#define DEV_PCI_ECAM_H

#include "core/irq.h"
#include "dev/pci/pci.h"

#define PCI_ECAM_BUS_SIZE 0x100000u

struct pci_ecam_params {
	gpa_t base;                       /* a multiple of the size: buses * PCI_ECAM_BUS_SIZE */
	unsigned buses;                   /* 1 to 256 */
	struct irq_line lines[PCI_PIRQS]; /* what pci_pirq() numbers */
	void (*message)(void *ctx, uint16_t requester, uint64_t address, uint32_t data); /* struct pci_root has it */
	void *message_ctx;
};

/* The root bus has the bridge at 0:0.0 and is a device of the vm. -ENOMEM, or what the bus says. */
int pci_ecam_create(struct vm *vm, const struct pci_ecam_params *params, struct pci_root **root) must_check;

#endif
