/* The virtio transport over PCI; see pci.h.
 *
 * Locks: accesses to BAR 4 come under the function's device lock; it guards the selectors. irq_lock guards the interrupt
 * status and nests inside the virtio device's lock. The vectors are read where interrupts are sent, and are atomic.
 *
 * Example: see pci.h.
 */
#include "dev/virtio/pci.h"
#include "base/errno.h"
#include "core/platform.h"
#include "dev/pci/msix.h"
#include "dev/pci/rom.h"
#include <stdatomic.h>

/* virtio 1.2 §4.1.4 */
enum cfg_type { COMMON_CFG = 1, NOTIFY_CFG = 2, ISR_CFG = 3, DEVICE_CFG = 4, PCI_CFG = 5 };

#define BAR_MSIX 1u
#define BAR_REGS 4u

#define AREA_SIZE   0x1000u
#define AREA_COMMON 0u
#define AREA_ISR    1u
#define AREA_DEVICE 2u
#define AREA_NOTIFY 3u
#define REGS_SIZE   (4 * AREA_SIZE)
#define NOTIFY_MULTIPLIER 4u

/* virtio 1.2 §4.1.4.3 */
enum common_register {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_MSIX_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_MSIX_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
};

#define NO_VECTOR 0xffffu

#define VENDOR_VIRTIO     0x1af4u
#define DEVICE_ID_BASE    0x1040u
#define SUBSYSTEM_ID      0x1100u
#define EXPRESS_ENDPOINT  0u
#define EXPRESS_INTEGRATED 9u

struct virtio_pci {
	struct pci_function pci;
	struct virtio_device *vdev;
	struct msix *msix;
	struct pci_rom *rom; /* or NULL */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	unsigned window; /* offset of the capability that is a window on the registers */

	_Atomic uint16_t config_vector;
	_Atomic uint16_t *vectors; /* one a queue */

	struct lock irq_lock;
	uint8_t isr;
};

static struct virtio_pci *virtio_pci_of(struct device *dev)
{
	return container_of(dev, struct virtio_pci, pci.dev);
}

/* ---- interrupts ---- */

static void pci_interrupt(void *transport, enum virtio_interrupt why, const struct virtq *queue)
{
	struct virtio_pci *vp = transport;

	if (msix_enabled(vp->msix)) {
		msix_signal(vp->msix, atomic_load(queue ? &vp->vectors[queue->index] : &vp->config_vector));
		return;
	}
	lock_take(&vp->irq_lock);
	vp->isr |= (uint8_t)why;
	pci_set_intx(&vp->pci, true);
	lock_release(&vp->irq_lock);
}

/* Reading it is the acknowledgement. */
static uint8_t take_isr(struct virtio_pci *vp)
{
	uint8_t isr;

	lock_take(&vp->irq_lock);
	isr = vp->isr;
	vp->isr = 0;
	pci_set_intx(&vp->pci, false);
	lock_release(&vp->irq_lock);
	return isr;
}

static const struct virtio_transport_ops transport_ops = {
	.name = "pci",
	.interrupt = pci_interrupt,
};

/* ---- common configuration ---- */

static _Atomic uint16_t *queue_vector(struct virtio_pci *vp)
{
	return vp->queue_select < vp->vdev->queue_count ? &vp->vectors[vp->queue_select] : NULL;
}

static uint32_t driver_features_word(struct virtio_pci *vp)
{
	uint64_t features;

	lock_take(&vp->vdev->lock);
	features = vp->vdev->driver_features;
	lock_release(&vp->vdev->lock);
	return vp->driver_feature_select < 2 ? (uint32_t)(features >> (32 * vp->driver_feature_select)) : 0;
}

static uint32_t queue_half(struct virtio_pci *vp, enum virtio_queue_field field, unsigned offset)
{
	return (uint32_t)(virtio_queue_read(vp->vdev, vp->queue_select, field) >> (8 * (offset & 4)));
}

/* The register that begins at offset. */
static uint32_t common_register(struct virtio_pci *vp, unsigned offset)
{
	struct virtio_device *vdev = vp->vdev;
	_Atomic uint16_t *vector = queue_vector(vp);

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		return vp->device_feature_select;
	case DEVICE_FEATURE:
		return virtio_features_word(vdev, vp->device_feature_select);
	case DRIVER_FEATURE_SELECT:
		return vp->driver_feature_select;
	case DRIVER_FEATURE:
		return driver_features_word(vp);
	case CONFIG_MSIX_VECTOR:
		return atomic_load(&vp->config_vector);
	case NUM_QUEUES:
		return vdev->queue_count;
	case DEVICE_STATUS:
		return virtio_status_read(vdev);
	case CONFIG_GENERATION:
		return virtio_config_generation(vdev) & 0xff;
	case QUEUE_SELECT:
		return vp->queue_select;
	case QUEUE_SIZE:
		return (uint32_t)virtio_queue_read(vdev, vp->queue_select, VIRTIO_QUEUE_SIZE);
	case QUEUE_MSIX_VECTOR:
		return vector ? atomic_load(vector) : NO_VECTOR;
	case QUEUE_ENABLE:
		return virtio_queue_ready(vdev, vp->queue_select);
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIFY_DATA:
		return vp->queue_select;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		return queue_half(vp, VIRTIO_QUEUE_DESC, offset);
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		return queue_half(vp, VIRTIO_QUEUE_AVAIL, offset);
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		return queue_half(vp, VIRTIO_QUEUE_USED, offset);
	default:
		return 0; /* QUEUE_RESET: it has finished when its write returns */
	}
}

static void write_status(struct virtio_pci *vp, uint8_t value)
{
	virtio_status_write(vp->vdev, value);
	if (value)
		return;
	vp->device_feature_select = vp->driver_feature_select = vp->queue_select = 0;
	atomic_store(&vp->config_vector, NO_VECTOR);
	for (unsigned i = 0; i < vp->vdev->queue_count; i++)
		atomic_store(&vp->vectors[i], NO_VECTOR);
	take_isr(vp);
}

static uint16_t checked_vector(const struct virtio_pci *vp, uint32_t value)
{
	return value < msix_vectors(vp->msix) ? (uint16_t)value : NO_VECTOR;
}

static void write_queue_half(struct virtio_pci *vp, enum virtio_queue_field field, unsigned offset, uint32_t value)
{
	unsigned shift = 8 * (offset & 4);

	virtio_queue_write(vp->vdev, vp->queue_select, field, (uint64_t)value << shift, 0xffffffffull << shift);
}

static void common_write(struct virtio_pci *vp, unsigned offset, uint32_t value)
{
	struct virtio_device *vdev = vp->vdev;
	_Atomic uint16_t *vector = queue_vector(vp);

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		vp->device_feature_select = value;
		break;
	case DRIVER_FEATURE_SELECT:
		vp->driver_feature_select = value;
		break;
	case DRIVER_FEATURE:
		virtio_driver_features_write(vdev, vp->driver_feature_select, value);
		break;
	case CONFIG_MSIX_VECTOR:
		atomic_store(&vp->config_vector, checked_vector(vp, value));
		break;
	case DEVICE_STATUS:
		write_status(vp, (uint8_t)value);
		break;
	case QUEUE_SELECT:
		vp->queue_select = (uint16_t)value;
		break;
	case QUEUE_SIZE:
		virtio_queue_write(vdev, vp->queue_select, VIRTIO_QUEUE_SIZE, value & 0xffff, UINT32_MAX);
		break;
	case QUEUE_MSIX_VECTOR:
		if (vector)
			atomic_store(vector, checked_vector(vp, value));
		break;
	case QUEUE_ENABLE:
		if (value == 1)
			virtio_queue_enable(vdev, vp->queue_select);
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		write_queue_half(vp, VIRTIO_QUEUE_DESC, offset, value);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		write_queue_half(vp, VIRTIO_QUEUE_AVAIL, offset, value);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		write_queue_half(vp, VIRTIO_QUEUE_USED, offset, value);
		break;
	case QUEUE_RESET:
		if (value == 1)
			virtio_queue_disable(vdev, vp->queue_select);
		break;
	default:
		break;
	}
}

/* ---- BAR 4 ---- */

/* virtio 1.2 §4.1.3.1: fields are accessed in their own size, those of 64 bits in halves. */
static uint32_t regs_read(struct virtio_pci *vp, unsigned offset, unsigned size)
{
	unsigned at = offset % AREA_SIZE;

	switch (offset / AREA_SIZE) {
	case AREA_COMMON:
		return common_register(vp, at);
	case AREA_ISR:
		return at == 0 ? take_isr(vp) : 0;
	case AREA_DEVICE:
		return virtio_config_read(vp->vdev, at, size);
	default:
		return 0;
	}
}

static void regs_write(struct virtio_pci *vp, unsigned offset, unsigned size, uint32_t value)
{
	unsigned at = offset % AREA_SIZE;

	switch (offset / AREA_SIZE) {
	case AREA_COMMON:
		common_write(vp, at, value);
		break;
	case AREA_DEVICE:
		virtio_config_write(vp->vdev, at, size, value);
		break;
	case AREA_NOTIFY:
		virtio_notify(vp->vdev, at / NOTIFY_MULTIPLIER);
		break;
	default:
		break;
	}
}

static uint64_t bar_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct virtio_pci *vp = virtio_pci_of(dev);

	if (region == PCI_BAR_ROM)
		return pci_rom_read(vp->rom, offset, size);
	return region == BAR_MSIX ? msix_read(vp->msix, offset) : regs_read(vp, (unsigned)offset, size);
}

static void bar_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_pci *vp = virtio_pci_of(dev);

	if (region == BAR_MSIX)
		msix_write(vp->msix, offset, (uint32_t)value);
	else if (region != PCI_BAR_ROM)
		regs_write(vp, (unsigned)offset, size, (uint32_t)value);
}

/* ---- the window: a capability through which BAR 4 is reached from configuration space (§4.1.4.9) ---- */

#define WINDOW_BAR    4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA   16

/* data: what was written there, or NULL. */
static bool window_target(const struct virtio_pci *vp, struct pci_root *root, unsigned *offset, unsigned *size, uint32_t *data)
{
	uint32_t start, length;
	uint8_t bar;

	lock_take(&root->lock);
	bar = vp->pci.config[vp->window + WINDOW_BAR];
	start = pci_get32(&vp->pci, vp->window + WINDOW_OFFSET);
	length = pci_get32(&vp->pci, vp->window + WINDOW_LENGTH);
	if (data)
		*data = pci_get32(&vp->pci, vp->window + WINDOW_DATA);
	lock_release(&root->lock);
	*offset = start;
	*size = length;
	return bar == BAR_REGS && (length == 1 || length == 2 || length == 4) &&
	       start % length == 0 && start < REGS_SIZE;
}

static bool touches_data(const struct virtio_pci *vp, unsigned offset, unsigned size)
{
	return offset < vp->window + WINDOW_DATA + 4 && offset + size > vp->window + WINDOW_DATA;
}

static void config_reading(struct pci_function *function, struct pci_root *root, unsigned offset, unsigned size)
{
	struct virtio_pci *vp = container_of(function, struct virtio_pci, pci);
	unsigned at, length;
	uint32_t value;

	if (!touches_data(vp, offset, size) || !window_target(vp, root, &at, &length, NULL))
		return;
	lock_take(&function->dev.lock);
	value = regs_read(vp, at, length);
	lock_release(&function->dev.lock);
	lock_take(&root->lock);
	pci_put32(function, vp->window + WINDOW_DATA, value);
	lock_release(&root->lock);
}

static void config_done(struct pci_function *function, struct pci_root *root, unsigned offset, unsigned size)
{
	struct virtio_pci *vp = container_of(function, struct virtio_pci, pci);
	unsigned at, length;
	uint32_t value;

	if (!touches_data(vp, offset, size) || !window_target(vp, root, &at, &length, &value))
		return;
	if (length < 4)
		value &= (1u << (8 * length)) - 1;
	lock_take(&function->dev.lock);
	regs_write(vp, at, length, value);
	lock_release(&function->dev.lock);
}

static const struct pci_function_ops function_ops = {
	.config_reading = config_reading,
	.config_done = config_done,
};

/* ---- life ---- */

static void forget(struct virtio_pci *vp)
{
	vp->device_feature_select = vp->driver_feature_select = vp->queue_select = 0;
	atomic_store(&vp->config_vector, NO_VECTOR);
	for (unsigned i = 0; i < vp->vdev->queue_count; i++)
		atomic_store(&vp->vectors[i], NO_VECTOR);
	lock_take(&vp->irq_lock);
	vp->isr = 0;
	lock_release(&vp->irq_lock);
}

static void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci *vp = virtio_pci_of(dev);

	virtio_machine_reset(vp->vdev);
	forget(vp);
	pci_function_reset(&vp->pci);
}

static void free_transport(struct virtio_pci *vp)
{
	if (vp->msix)
		msix_destroy(vp->msix);
	pci_rom_destroy(vp->rom);
	platform_free((void *)vp->vectors);
	platform_free(vp);
}

static void virtio_pci_stats(struct device *dev, struct stats_sink *sink)
{
	virtio_stats(virtio_pci_of(dev)->vdev, sink);
}

static int virtio_pci_set_link(struct device *dev, bool up)
{
	return virtio_set_link(virtio_pci_of(dev)->vdev, up);
}

static void virtio_pci_destroy(struct device *dev)
{
	struct virtio_pci *vp = virtio_pci_of(dev);

	virtio_destroy(vp->vdev);
	free_transport(vp);
}

static const struct device_ops device_ops = {
	.name = "virtio-pci",
	.reset = virtio_pci_reset,
	.read = bar_read,
	.write = bar_write,
	.stats = virtio_pci_stats,
	.set_link = virtio_pci_set_link,
	.destroy = virtio_pci_destroy,
};

/* Class codes by virtio device id; others are "unclassified". */
static uint32_t class_of(unsigned id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000;
	case VIRTIO_ID_BLOCK:
		return 0x010000;
	case VIRTIO_ID_CONSOLE:
		return 0x078000;
	default:
		return 0x00ff00;
	}
}

static unsigned add_cfg(struct virtio_pci *vp, enum cfg_type type, unsigned area, unsigned size)
{
	unsigned at = pci_add_capability(&vp->pci, PCI_CAP_VENDOR, size);

	vp->pci.config[at + 2] = (uint8_t)size;
	vp->pci.config[at + 3] = (uint8_t)type;
	if (type == PCI_CFG)
		return at;
	vp->pci.config[at + 4] = BAR_REGS;
	pci_put32(&vp->pci, at + 8, area * AREA_SIZE);
	pci_put32(&vp->pci, at + 12, AREA_SIZE);
	return at;
}

static void add_capabilities(struct virtio_pci *vp)
{
	struct pci_function *pci = &vp->pci;

	vp->window = add_cfg(vp, PCI_CFG, 0, 20);
	pci->writable[vp->window + WINDOW_BAR] = 0xff;
	pci_writable32(pci, vp->window + WINDOW_OFFSET, UINT32_MAX);
	pci_writable32(pci, vp->window + WINDOW_LENGTH, UINT32_MAX);
	pci_writable32(pci, vp->window + WINDOW_DATA, UINT32_MAX);
	pci_put32(pci, add_cfg(vp, NOTIFY_CFG, AREA_NOTIFY, 20) + 16, NOTIFY_MULTIPLIER);
	add_cfg(vp, DEVICE_CFG, AREA_DEVICE, 16);
	add_cfg(vp, ISR_CFG, AREA_ISR, 16);
	add_cfg(vp, COMMON_CFG, AREA_COMMON, 16);
}

static int build(struct virtio_pci *vp, bool behind_port)
{
	const unsigned queues = vp->vdev->queue_count;
	const struct pci_ids ids = {
		.vendor = VENDOR_VIRTIO,
		.device = (uint16_t)(DEVICE_ID_BASE + vp->vdev->ops->id),
		.subsystem_vendor = VENDOR_VIRTIO,
		.subsystem = SUBSYSTEM_ID,
		.class_code = class_of(vp->vdev->ops->id),
		.revision = 1,
	};
	int r;

	vp->vectors = platform_alloc(queues * sizeof(*vp->vectors));
	if (!vp->vectors)
		return -ENOMEM;
	pci_function_init(&vp->pci, &function_ops, &ids);
	pci_set_interrupt_pin(&vp->pci, 1);
	pci_add_express(&vp->pci, behind_port ? EXPRESS_ENDPOINT : EXPRESS_INTEGRATED);
	r = msix_create(&vp->pci, BAR_MSIX, queues + 1 < MSIX_MAX_VECTORS ? queues + 1 : MSIX_MAX_VECTORS, &vp->msix);
	if (r)
		return r;
	pci_add_bar(&vp->pci, BAR_REGS, PCI_BAR_MEM64, REGS_SIZE, 1, 4);
	pci_set_prefetchable(&vp->pci, BAR_REGS);
	if (vp->vdev->rom) {
		r = pci_rom_create(&vp->pci, vp->vdev->rom, &vp->rom);
		if (r)
			return r;
	}
	add_capabilities(vp);
	forget(vp);
	return 0;
}

int virtio_pci_create(struct pci_root *root, struct pci_bus *bus, uint8_t devfn, struct virtio_device *vdev, const char *id,
		      struct pci_function **function)
{
	struct virtio_pci *vp = platform_alloc(sizeof(*vp));
	int r;

	if (!vp)
		return -ENOMEM;
	vp->vdev = vdev;
	r = build(vp, bus != NULL);
	if (!r)
		r = pci_attach(root, bus, devfn, &vp->pci, &device_ops, id);
	if (r) {
		free_transport(vp);
		return r;
	}
	virtio_attach(vdev, &transport_ops, vp, vp->pci.dev.id);
	if (function)
		*function = &vp->pci;
	return 0;
}
