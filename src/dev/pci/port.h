/* PCI Express root ports with hot plug (PCI Express Base 3.0 §6.7, §7.8): an attention button, a power controller, its light, presence
 * detection. One function can be plugged in behind each while the guest runs.
 *
 * Example:
 *     r = pcie_port_create(root, PCI_DEVFN(28, 0), 1, "port0", &port);
 *     r = virtio_pci_create(root, pcie_port_bus(port), 0, vdev, "disk1", &function);
 *     pcie_port_plug(port, function);
 *     pcie_port_unplug(port, false, on_gone, ctx);         // asks the guest to let go
 */
#ifndef DEV_PCI_PORT_H
#define DEV_PCI_PORT_H

#include "dev/pci/pci.h"

struct pcie_port;

/* slot: the number on its cover. -ENOSPC, -ENOMEM, -EEXIST. */
int pcie_port_create(struct pci_root *root, uint8_t devfn, unsigned slot, const char *id, struct pcie_port **port) must_check;
/* Where to attach what is to be plugged in, at device 0. */
struct pci_bus *pcie_port_bus(struct pcie_port *port);

/* ---- I/O thread ---- */

bool pcie_port_is_free(const struct pcie_port *port);
bool pcie_port_is_leaving(const struct pcie_port *port);
/* A function that was attached to its bus is there from now on. */
void pcie_port_plug(struct pcie_port *port, struct pci_function *function);
/* Takes it out: at once (`now`), or when the guest has switched the slot's power off after the attention button was pressed. Then the
 * function's device is destroyed, and gone() called. */
void pcie_port_unplug(struct pcie_port *port, bool now, void (*gone)(void *ctx), void *ctx);

#endif
