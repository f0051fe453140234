/* ICH9's LPC bridge (Intel ICH9 data sheet chapter 13, 8086:2918) at 0:1f.0: routes PCI's interrupts to the IOAPIC and, as
 * its registers say, to the PICs; places power management (ich9_pm.h) and the root complex registers.
 *
 *     PIRQ A..H  ->  GSI 16..23, and ISA interrupt n where PIRQ[n]_ROUT says so
 *
 * Example: `r = lpc_create(host, chip, pm);`
 */
#ifndef DEV_PCI_LPC_H
#define DEV_PCI_LPC_H

#include "dev/pci/pci.h"

struct ich9_pm;

#define LPC_DEVFN PCI_DEVFN(31, 0)
#define LPC_PIRQ_GSI 16u

int lpc_create(struct pci_root *root, struct irqchip *chip, struct ich9_pm *pm) must_check;
/* For a kernel that is started without firmware: power management's registers at pm_base, PIRQs routed to ISA interrupts. In a machine
 * reset. */
void lpc_set_up(struct pci_root *root, uint16_t pm_base, const uint8_t lines[PCI_PIRQS]);

#endif
