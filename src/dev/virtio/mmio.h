/* The virtio-mmio transport, version 2 (virtio 1.2 §4.2): one device in one window of registers.
 *
 * Example: `virtio_mmio_create(vm, vdev, 0xd0000000, line, 0, "disk0");`
 */
#ifndef DEV_VIRTIO_MMIO_H
#define DEV_VIRTIO_MMIO_H

#include "base/types.h"
#include "core/irq.h"
#include "dev/virtio/virtio.h"

#define VIRTIO_MMIO_SIZE 0x200u

/* Default: an edge for each interrupt-status bit that becomes set. With LEVEL the line is high while
 * any bit is. The board describes the line to the guest accordingly. */
#define VIRTIO_MMIO_IRQ_LEVEL 1u

/* Registers a device at [base, base + VIRTIO_MMIO_SIZE) of vm->mmio; attaches a doorbell for each
 * queue if vm->engine takes them (so after its vm_init). On success the transport owns dev; on
 * failure the caller still does. base is a multiple of 4. -ENOMEM, or what device_register() and
 * bus_attach() say. */
int virtio_mmio_create(struct vm *vm, struct virtio_device *dev, gpa_t base, struct irq_line irq,
		       unsigned flags, const char *id) must_check;

#endif
