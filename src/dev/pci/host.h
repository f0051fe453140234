/* The host bridge of Q35 (Intel 3 Series MCH data sheet, 8086:29c0): configuration mechanism #1 at ports 0xcf8 and 0xcfc, the
 * enhanced one in memory where PCIEXBAR says, the reset control register at 0xcf9, PAM and the sizes of memory.
 *
 * Its subsystem id is 1af4:1100, by which firmware knows QEMU's interface.
 *
 * Example: `r = pci_host_create(vm, chip, &host);`   `pci_attach(pci_host_root(host), NULL, ...);`
 */
#ifndef DEV_PCI_HOST_H
#define DEV_PCI_HOST_H

#include "dev/pci/pci.h"

/* Programmable attribute map: what the segments of 0xc0000-0xfffff are. */
#define PAM_REGISTERS 7
#define PAM_READ      1u /* reads come from RAM, else from what lies behind it */
#define PAM_WRITE     2u

struct pci_host;

int pci_host_create(struct vm *vm, struct irqchip *chip, struct pci_host **host) must_check;
struct pci_root *pci_host_root(struct pci_host *host);
/* Where the guest has put configuration space in memory, 0: nowhere. Any thread. */
gpa_t pci_host_ecam(struct pci_host *host);
/* Puts it there, 256 buses of it, for a kernel that is started without firmware. In a machine reset. */
void pci_host_place_ecam(struct pci_host *host, gpa_t ecam);
/* Who wants to know when PAM registers change, after each write and reset: pam is registers 0x90 to 0x96. Called on a
 * vcpu's thread with the root's lock held, or in a machine reset. */
void pci_host_set_pam(struct pci_host *host, void (*changed)(void *ctx, const uint8_t *pam), void *ctx);

#endif
