/* MSI-X (PCI Local Bus 3.0 §6.8.2): a function's table of messages, and the pending bits of masked ones.
 *
 * The table takes the first page of a base address register's space, the pending bits the second half of that page.
 *
 * Example:
 *     r = msix_create(function, 1, 3, &msix);       // three vectors, in BAR 1 (of MSIX_BAR_SIZE)
 *     value = msix_read(msix, offset);              // from the device's read, region 1
 *     msix_signal(msix, 2);                         // any thread
 */
#ifndef DEV_PCI_MSIX_H
#define DEV_PCI_MSIX_H

#include "dev/pci/pci.h"

#define MSIX_BAR_SIZE    0x1000u
#define MSIX_MAX_VECTORS 128u

/* Adds BAR `bar` and the capability. 1..MSIX_MAX_VECTORS vectors. -ENOMEM. */
int msix_create(struct pci_function *function, unsigned bar, unsigned vectors, struct msix **msix) must_check;
void msix_destroy(struct msix *msix);

/* Accesses of 4 bytes to its BAR, on a vcpu's thread. */
uint32_t msix_read(struct msix *msix, uint64_t offset);
void msix_write(struct msix *msix, uint64_t offset, uint32_t value);

unsigned msix_vectors(const struct msix *msix);
/* Is it switched on? Then INTx is not used. */
bool msix_enabled(struct msix *msix);
/* Sends the vector's message, or notes that it is pending. Nothing for a vector that is not there. Any thread. */
void msix_signal(struct msix *msix, unsigned vector);

/* For pci.c. */
void msix_config_written(struct msix *msix);
void msix_reset(struct msix *msix);

#endif
