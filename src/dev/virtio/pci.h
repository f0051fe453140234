/* The virtio transport over PCI (virtio 1.2 §4.1), modern only: one device as one PCI function.
 *
 *     BAR 1  MSI-X (dev/pci/msix.h): vectors for all queues and the configuration, as many as there can be
 *     BAR 4  0x0000 common configuration   0x1000 interrupt status
 *            0x2000 device configuration   0x3000 notification, four bytes a queue
 *     ROM    what the device has for firmware (dev/pci/rom.h), if anything
 *
 * Example: `virtio_pci_create(root, NULL, PCI_DEVFN(2, 0), vdev, "disk0", &function);`
 */
#ifndef DEV_VIRTIO_PCI_H
#define DEV_VIRTIO_PCI_H

#include "dev/pci/pci.h"
#include "dev/virtio/virtio.h"

/* Puts a device on a bus (NULL: the root bus). On success the transport owns dev; on failure the caller still does.
 * function may be NULL; it is what pci_detach() takes. -ENOMEM, -EEXIST, -ENOSPC. */
int virtio_pci_create(struct pci_root *root, struct pci_bus *bus, uint8_t devfn, struct virtio_device *dev, const char *id,
		      struct pci_function **function) must_check;

#endif
