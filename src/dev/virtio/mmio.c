/* virtio-mmio, version 2: registers in, calls of virtio.h out. See mmio.h.
 *
 *     000 MagicValue        038 QueueNum          080/084 QueueDescLow/High
 *     004 Version           044 QueueReady        090/094 QueueDriverLow/High
 *     008 DeviceID          050 QueueNotify       0a0/0a4 QueueDeviceLow/High
 *     00c VendorID          060 InterruptStatus   0ac..0bc shared memory (none here)
 *     010/014 DeviceFeatures, ...Sel              0c0 QueueReset
 *     020/024 DriverFeatures, ...Sel              0fc ConfigGeneration
 *     030/034 QueueSel, QueueNumMax               100.. device configuration
 *     064 InterruptACK      070 Status
 *
 * Locks: the bus holds dev.lock around read and write; it guards the selectors. irq_lock guards the
 * interrupt status and nests inside the virtio device's lock.
 *
 * Example: see mmio.h.
 */
#include "dev/virtio/mmio.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "core/platform.h"
#include "core/vm.h"

enum mmio_register {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC       0x74726976u /* "virt" */
#define VENDOR_RUSE 0x45535552u /* "RUSE" */

struct virtio_mmio {
	struct device dev;
	struct virtio_device *vdev;
	struct irq_line irq;
	bool level;
	uint32_t device_features_sel, driver_features_sel, queue_sel;

	struct lock irq_lock;
	uint32_t interrupt_status;

	struct doorbell *doorbells; /* one a queue; NULL without an engine that takes them */
};

static struct virtio_mmio *mmio_of(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, dev);
}

/* ---- interrupts ---- */

static void mmio_interrupt(void *transport, enum virtio_interrupt why, const struct virtq *queue)
{
	struct virtio_mmio *mmio = transport;
	uint32_t before;

	lock_take(&mmio->irq_lock);
	before = mmio->interrupt_status;
	mmio->interrupt_status = before | why;
	if (mmio->level)
		irq_set(&mmio->irq, 1);
	else if (!(before & why))
		irq_pulse(&mmio->irq);
	lock_release(&mmio->irq_lock);
}

static void acknowledge(struct virtio_mmio *mmio, uint32_t bits)
{
	lock_take(&mmio->irq_lock);
	mmio->interrupt_status &= ~bits;
	if (mmio->level && mmio->interrupt_status == 0)
		irq_set(&mmio->irq, 0);
	lock_release(&mmio->irq_lock);
}

static uint32_t interrupt_status(struct virtio_mmio *mmio)
{
	uint32_t status;

	lock_take(&mmio->irq_lock);
	status = mmio->interrupt_status;
	lock_release(&mmio->irq_lock);
	return status;
}

static const struct virtio_transport_ops mmio_transport_ops = {
	.name = "mmio",
	.interrupt = mmio_interrupt,
};

/* ---- registers ---- */

static uint32_t register_read(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *vdev = mmio->vdev;

	switch (offset) {
	case MAGIC_VALUE:
		return MAGIC;
	case VERSION:
		return 2;
	case DEVICE_ID:
		return vdev->ops->id;
	case VENDOR_ID:
		return VENDOR_RUSE;
	case DEVICE_FEATURES:
		return virtio_features_word(vdev, mmio->device_features_sel);
	case QUEUE_NUM_MAX:
		return virtio_queue_max_size(vdev, mmio->queue_sel);
	case QUEUE_READY:
		return virtio_queue_ready(vdev, mmio->queue_sel);
	case INTERRUPT_STATUS:
		return interrupt_status(mmio);
	case STATUS:
		return virtio_status_read(vdev);
	case SHM_LEN_LOW:
	case SHM_LEN_HIGH:
	case SHM_BASE_LOW:
	case SHM_BASE_HIGH:
		return UINT32_MAX; /* virtio 1.2 §4.2.2: this region doesn't exist */
	case QUEUE_RESET:
		return 0; /* a reset has finished when its write returns */
	case CONFIG_GENERATION:
		return virtio_config_generation(vdev);
	default:
		return 0;
	}
}

static void write_half(struct virtio_mmio *mmio, enum virtio_queue_field field, uint32_t value, bool high)
{
	unsigned shift = high ? 32 : 0;

	virtio_queue_write(mmio->vdev, mmio->queue_sel, field, (uint64_t)value << shift,
			   0xffffffffull << shift);
}

static void write_status(struct virtio_mmio *mmio, uint32_t value)
{
	virtio_status_write(mmio->vdev, (uint8_t)value);
	if ((uint8_t)value == 0) {
		mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
		acknowledge(mmio, UINT32_MAX);
	}
}

static void register_write(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtio_device *vdev = mmio->vdev;

	switch (offset) {
	case DEVICE_FEATURES_SEL:
		mmio->device_features_sel = value;
		break;
	case DRIVER_FEATURES:
		virtio_driver_features_write(vdev, mmio->driver_features_sel, value);
		break;
	case DRIVER_FEATURES_SEL:
		mmio->driver_features_sel = value;
		break;
	case QUEUE_SEL:
		mmio->queue_sel = value;
		break;
	case QUEUE_NUM:
		virtio_queue_write(vdev, mmio->queue_sel, VIRTIO_QUEUE_SIZE, value, UINT32_MAX);
		break;
	case QUEUE_READY:
		if (value & 1)
			virtio_queue_enable(vdev, mmio->queue_sel);
		else
			virtio_queue_disable(vdev, mmio->queue_sel);
		break;
	case QUEUE_NOTIFY:
		virtio_notify(vdev, value);
		break;
	case INTERRUPT_ACK:
		acknowledge(mmio, value);
		break;
	case STATUS:
		write_status(mmio, value);
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		write_half(mmio, VIRTIO_QUEUE_DESC, value, offset == QUEUE_DESC_HIGH);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		write_half(mmio, VIRTIO_QUEUE_AVAIL, value, offset == QUEUE_DRIVER_HIGH);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		write_half(mmio, VIRTIO_QUEUE_USED, value, offset == QUEUE_DEVICE_HIGH);
		break;
	case QUEUE_RESET:
		if (value & 1)
			virtio_queue_disable(vdev, mmio->queue_sel);
		break;
	default:
		break;
	}
}

/* virtio 1.2 §4.2.2.2: control registers take aligned 32-bit accesses only. */
static uint64_t mmio_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct virtio_mmio *mmio = mmio_of(dev);

	if (offset >= CONFIG)
		return virtio_config_read(mmio->vdev, (unsigned)(offset - CONFIG), size);
	return size == 4 ? register_read(mmio, offset) : 0;
}

static void mmio_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *mmio = mmio_of(dev);

	if (offset >= CONFIG)
		virtio_config_write(mmio->vdev, (unsigned)(offset - CONFIG), size, (uint32_t)value);
	else if (size == 4)
		register_write(mmio, offset, (uint32_t)value);
}

static void mmio_reset(struct device *dev)
{
	struct virtio_mmio *mmio = mmio_of(dev);

	virtio_machine_reset(mmio->vdev);
	mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
	acknowledge(mmio, UINT32_MAX);
}

static void mmio_stats(struct device *dev, struct stats_sink *sink)
{
	virtio_stats(mmio_of(dev)->vdev, sink);
}

static int mmio_set_link(struct device *dev, bool up)
{
	return virtio_set_link(mmio_of(dev)->vdev, up);
}

static void mmio_destroy(struct device *dev)
{
	struct virtio_mmio *mmio = mmio_of(dev);

	virtio_destroy(mmio->vdev);
	platform_free(mmio->doorbells);
	platform_free(mmio);
}

static const struct device_ops mmio_device_ops = {
	.name = "virtio-mmio",
	.reset = mmio_reset,
	.read = mmio_read,
	.write = mmio_write,
	.stats = mmio_stats,
	.set_link = mmio_set_link,
	.destroy = mmio_destroy,
};

/* ---- creation ---- */

/* Lets the engine ring queues without a trip through the bus. Where it declines, QueueNotify works. */
static void attach_doorbells(struct virtio_mmio *mmio, gpa_t base)
{
	const struct engine_ops *engine = mmio->dev.vm->engine;
	struct virtio_device *vdev = mmio->vdev;

	if (!engine || !engine->doorbell_attach)
		return;
	mmio->doorbells = platform_alloc(vdev->queue_count * sizeof(*mmio->doorbells));
	if (!mmio->doorbells)
		return;
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct doorbell *doorbell = &mmio->doorbells[i];

		*doorbell = (struct doorbell){
			.gpa = base + QUEUE_NOTIFY,
			.size = 4,
			.match = true,
			.value = i,
			.ring = virtio_queue_doorbell,
			.ctx = &vdev->queues[i],
		};
		if (engine->doorbell_attach(mmio->dev.vm, doorbell) < 0)
			break;
	}
}

int virtio_mmio_create(struct vm *vm, struct virtio_device *vdev, gpa_t base, struct irq_line irq,
		       unsigned flags, const char *id)
{
	struct virtio_mmio *mmio = platform_alloc(sizeof(*mmio));
	int err;

	if (!mmio)
		return -ENOMEM;
	mmio->vdev = vdev;
	mmio->irq = irq;
	mmio->level = (flags & VIRTIO_MMIO_IRQ_LEVEL) != 0;
	/* The region first, registration last: neither can be undone, and now only one can fail. */
	fmt_print(mmio->dev.id, sizeof(mmio->dev.id), "%s", id);
	err = vm->device_count < VM_MAX_DEVICES ? 0 : -ENOSPC;
	if (err < 0)
		goto free;
	err = bus_attach_sized(&vm->mmio, base, VIRTIO_MMIO_SIZE, &mmio->dev, 0, 1, 4);
	if (err < 0)
		goto free;
	err = device_register(vm, &mmio->dev, &mmio_device_ops, id);
	if (err < 0)
		goto free;
	virtio_attach(vdev, &mmio_transport_ops, mmio, mmio->dev.id);
	attach_doorbells(mmio, base);
	return 0;
free:
	platform_free(mmio);
	return err;
}
