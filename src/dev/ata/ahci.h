/* An AHCI controller (Serial ATA AHCI 1.3.1) as ICH9 has it at 0:1f.2: six ports with disks or CD drives, native command queuing,
 * INTx or one MSI.
 *
 * Example:
 *     const struct ahci_drive drives[] = {{.backend = disk}, {.backend = image, .cdrom = true}};
 *     r = ahci_create(root, drives, 2);
 */
#ifndef DEV_ATA_AHCI_H
#define DEV_ATA_AHCI_H

#include "core/backend.h"
#include "dev/pci/pci.h"

#define AHCI_DEVFN PCI_DEVFN(31, 2)
#define AHCI_PORTS 6u
#define AHCI_BAR   5u

struct ahci_drive {
	struct block_backend *backend; /* stays the caller's, and is there until the device is gone */
	bool cdrom;
};

/* Drive n is at port n. -ENOSPC: more than AHCI_PORTS; -ENOMEM, -EEXIST. */
int ahci_create(struct pci_root *root, const struct ahci_drive *drives, unsigned count) must_check;
/* The same elsewhere than a PC has it, AHCI_DEVFN. */
int ahci_create_at(struct pci_root *root, uint8_t devfn, const struct ahci_drive *drives, unsigned count) must_check;

#endif
