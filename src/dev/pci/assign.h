/* What firmware does to PCI before an operating system is there, for machines that start a kernel without firmware: places for
 * base address registers, accesses switched on, interrupt lines as the LPC bridge routes them to the PICs.
 *
 * Example:
 *     struct pci_windows windows = {.io = {0xc000, 0xffff}, .memory = {0xc0000000, 0xfebfffff}};
 *     pci_assign(root, &windows);     // in a machine reset, after the devices' own
 */
#ifndef DEV_PCI_ASSIGN_H
#define DEV_PCI_ASSIGN_H

#include "dev/pci/pci.h"

struct pci_window {
	uint64_t first, last; /* first: not 0 */
};

struct pci_windows {
	struct pci_window io, memory;
	uint8_t lines[PCI_PIRQS]; /* ISA interrupt by PIRQ: what PCI_INTERRUPT_LINE says */
};

/* Functions of the root bus, by their numbers; ports get a bus and a window of memory for what is plugged in. A register for which there is no room stays unset, and its function's accesses stay off. */
void pci_assign(struct pci_root *root, const struct pci_windows *windows);

#endif
