/* What all virtio devices share: status, features, queues, reset. See virtio.h.
 *
 * Example (a device's constructor):
 *     err = virtio_device_init(&rng->dev, vm, &rng_ops, 0, 0, 1, (const uint16_t[]){64});
 */
#include "dev/virtio/virtio.h"
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/trace.h"
#include "core/vm.h"
#include <stdatomic.h>

#define COMMON_FEATURES                                                                            \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_RING_PACKED |         \
	 VIRTIO_F_RING_RESET)

/* The bits that a driver may set; it clears them only all at once. */
#define DRIVER_STATUS                                                                              \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |              \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

#define WAIT_STEP_NS 20000000u /* how long a stopping VM may go unnoticed */

/* ---- life ---- */

static void queue_work(void *ctx)
{
	struct virtq *queue = ctx;

	queue->dev->ops->notify(queue->dev, queue);
}

int virtio_device_init(struct virtio_device *dev, struct vm *vm, const struct virtio_device_ops *ops,
		       uint64_t features, unsigned config_size, unsigned queue_count,
		       const uint16_t *queue_sizes)
{
	dev->queues = platform_alloc(queue_count * sizeof(*dev->queues));
	if (!dev->queues)
		return -ENOMEM;
	dev->ops = ops;
	dev->vm = vm;
	dev->label = ops->name;
	dev->features = features | COMMON_FEATURES;
	dev->config_size = config_size;
	dev->queue_count = queue_count;
	for (unsigned i = 0; i < queue_count; i++) {
		struct virtq *queue = &dev->queues[i];

		queue->dev = dev;
		queue->index = i;
		queue->max_size = queue_sizes[i];
		work_init(&queue->work, vm, queue_work, queue);
		virtq_reset(queue);
	}
	return 0;
}

void virtio_device_fini(struct virtio_device *dev)
{
	for (unsigned i = 0; dev->queues && i < dev->queue_count; i++)
		work_cancel(&dev->queues[i].work);
	platform_free(dev->queues);
	dev->queues = NULL;
}

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *ops, void *transport,
		   const char *label)
{
	lock_take(&dev->lock);
	dev->transport_ops = ops;
	dev->transport = transport;
	dev->label = label;
	lock_release(&dev->lock);
}

/* ---- state ---- */

bool virtio_device_live(const struct virtio_device *dev)
{
	return (dev->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) ==
	       VIRTIO_STATUS_DRIVER_OK;
}

void virtio_interrupt(struct virtio_device *dev, enum virtio_interrupt why, const struct virtq *queue)
{
	if (dev->transport_ops)
		dev->transport_ops->interrupt(dev->transport, why, queue);
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	if (dev->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	log_guest("virtio", "%s: %s; the device waits for a reset", dev->label, why);
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	/* virtio 1.2 §2.1.2: the driver is told only once it runs the device. */
	if (dev->status & VIRTIO_STATUS_DRIVER_OK)
		virtio_interrupt(dev, VIRTIO_INTERRUPT_CONFIG, NULL);
}

void virtio_config_changed(struct virtio_device *dev)
{
	dev->config_generation++;
	if (virtio_device_live(dev))
		virtio_interrupt(dev, VIRTIO_INTERRUPT_CONFIG, NULL);
}

/* Waits until nothing of the queue is out. Lock held, released meanwhile. False: the VM is stopping and
 * the I/O thread may not serve any more. */
static bool wait_idle(struct virtq *queue)
{
	struct virtio_device *dev = queue->dev;
	uint32_t out;

	while ((out = atomic_load(&queue->out)) != 0) {
		if (atomic_load(&dev->vm->stop_reason) != VM_STOP_NONE)
			return false;
		lock_release(&dev->lock);
		platform_wait(&queue->out, out, platform_clock_ns() + WAIT_STEP_NS);
		lock_take(&dev->lock);
	}
	return true;
}

/* First half of a reset: nothing new is taken, and the device lets go of what it keeps. */
static void quiesce(struct virtio_device *dev)
{
	dev->status = 0;
	for (unsigned i = 0; i < dev->queue_count; i++)
		dev->queues[i].ready = false;
	if (dev->ops->reset)
		dev->ops->reset(dev);
	dev->driver_features = 0;
}

static void reset_locked(struct virtio_device *dev)
{
	quiesce(dev);
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (wait_idle(&dev->queues[i]))
			virtq_reset(&dev->queues[i]);
}

static void drain(struct virtio_device *dev)
{
	bool busy = false;

	for (unsigned i = 0; i < dev->queue_count; i++)
		busy |= atomic_load(&dev->queues[i].out) != 0;
	if (busy && dev->ops->drain)
		dev->ops->drain(dev);
}

void virtio_machine_reset(struct virtio_device *dev)
{
	lock_take(&dev->lock);
	quiesce(dev);
	lock_release(&dev->lock);
	drain(dev);
	lock_take(&dev->lock);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		/* A backend that didn't drain must not hang the machine: the queue then stays unusable
		 * (virtq_start says -EBUSY) until the backend lets go. */
		if (atomic_load(&dev->queues[i].out) != 0)
			log_error("virtio", "%s: the backend still holds requests of queue %u", dev->label, i);
		virtq_reset(&dev->queues[i]);
	}
	if (dev->ops->machine_reset)
		dev->ops->machine_reset(dev);
	lock_release(&dev->lock);
}

void virtio_stats(struct virtio_device *dev, struct stats_sink *sink)
{
	if (dev->ops->stats)
		dev->ops->stats(dev, sink);
}

int virtio_set_link(struct virtio_device *dev, bool up)
{
	if (!dev->ops->set_link)
		return -EOPNOTSUPP;
	dev->ops->set_link(dev, up);
	return 0;
}

void virtio_destroy(struct virtio_device *dev)
{
	lock_take(&dev->lock);
	dev->transport_ops = NULL;
	quiesce(dev);
	lock_release(&dev->lock);
	drain(dev);
	dev->ops->destroy(dev);
}

/* ---- features and status ---- */

uint32_t virtio_features_word(struct virtio_device *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->features >> (32 * select)) : 0;
}

void virtio_driver_features_write(struct virtio_device *dev, uint32_t select, uint32_t value)
{
	lock_take(&dev->lock);
	/* virtio 1.2 §3.1.1: fixed once the device has said FEATURES_OK. */
	if (select < 2 && !(dev->status & VIRTIO_STATUS_FEATURES_OK)) {
		dev->driver_features &= ~(0xffffffffull << (32 * select));
		dev->driver_features |= (uint64_t)value << (32 * select);
	}
	lock_release(&dev->lock);
}

uint8_t virtio_status_read(struct virtio_device *dev)
{
	uint8_t status;

	lock_take(&dev->lock);
	status = dev->status;
	lock_release(&dev->lock);
	return status;
}

/* VERSION_1 is not optional: there is no legacy interface here (virtio 1.2 §6.1). */
static bool features_acceptable(const struct virtio_device *dev)
{
	return !(dev->driver_features & ~dev->features) && virtio_has(dev, VIRTIO_F_VERSION_1);
}

static void driver_ok(struct virtio_device *dev)
{
	if (dev->ops->activate)
		dev->ops->activate(dev);
	/* Kicks before DRIVER_OK found the device asleep. */
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queues[i].ready)
			work_post(&dev->queues[i].work);
}

static void add_status(struct virtio_device *dev, uint8_t wanted)
{
	uint8_t added = (uint8_t)(wanted & DRIVER_STATUS & ~dev->status);

	if ((added & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(dev)) {
		log_guest("virtio", "%s: the driver's features %llx are not a subset of %llx with VERSION_1",
			  dev->label, (unsigned long long)dev->driver_features,
			  (unsigned long long)dev->features);
		added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	}
	if ((added & VIRTIO_STATUS_DRIVER_OK) &&
	    !((dev->status | added) & VIRTIO_STATUS_FEATURES_OK)) {
		log_guest("virtio", "%s: DRIVER_OK without FEATURES_OK is ignored", dev->label);
		added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	}
	dev->status |= added;
	if (added & VIRTIO_STATUS_DRIVER_OK)
		driver_ok(dev);
}

void virtio_status_write(struct virtio_device *dev, uint8_t status)
{
	if (trace_on(dev->vm, TRACE_VIRTIO))
		trace_line(dev->vm, TRACE_VIRTIO, "%s: status %x, features %llx", dev->label, status,
			   (unsigned long long)dev->driver_features);
	lock_take(&dev->lock);
	if (status == 0)
		reset_locked(dev);
	else
		add_status(dev, status);
	lock_release(&dev->lock);
}

/* ---- configuration space ---- */

uint32_t virtio_config_read(struct virtio_device *dev, unsigned offset, unsigned size)
{
	uint8_t bytes[4] = {0};

	if (size <= sizeof(bytes) && offset < dev->config_size && size <= dev->config_size - offset) {
		lock_take(&dev->lock);
		dev->ops->config_read(dev, offset, bytes, size);
		lock_release(&dev->lock);
	}
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

void virtio_config_write(struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value)
{
	uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
			    (uint8_t)(value >> 24)};

	if (!dev->ops->config_write || size > sizeof(bytes) || offset >= dev->config_size ||
	    size > dev->config_size - offset)
		return;
	lock_take(&dev->lock);
	dev->ops->config_write(dev, offset, bytes, size);
	lock_release(&dev->lock);
}

uint32_t virtio_config_generation(struct virtio_device *dev)
{
	uint32_t generation;

	lock_take(&dev->lock);
	generation = dev->config_generation;
	lock_release(&dev->lock);
	return generation;
}

/* ---- queues ---- */

void virtio_queue_write(struct virtio_device *dev, uint32_t index, enum virtio_queue_field field,
			uint64_t value, uint64_t mask)
{
	struct virtq *queue;
	gpa_t *address = NULL;

	if (index >= dev->queue_count)
		return;
	queue = &dev->queues[index];
	lock_take(&dev->lock);
	if (!queue->ready) {
		switch (field) {
		case VIRTIO_QUEUE_SIZE:
			/* What doesn't fit 16 bits is no size: 0 is refused by virtq_start(). */
			queue->size = (value & mask) > UINT16_MAX ? 0 : (uint16_t)(value & mask);
			break;
		case VIRTIO_QUEUE_DESC:
			address = &queue->desc_gpa;
			break;
		case VIRTIO_QUEUE_AVAIL:
			address = &queue->avail_gpa;
			break;
		case VIRTIO_QUEUE_USED:
			address = &queue->used_gpa;
			break;
		}
		if (address)
			*address = (*address & ~mask) | (value & mask);
	}
	lock_release(&dev->lock);
}

uint64_t virtio_queue_read(struct virtio_device *dev, uint32_t index, enum virtio_queue_field field)
{
	const struct virtq *queue;
	uint64_t value = 0;

	if (index >= dev->queue_count)
		return 0;
	queue = &dev->queues[index];
	lock_take(&dev->lock);
	switch (field) {
	case VIRTIO_QUEUE_SIZE:
		value = queue->size;
		break;
	case VIRTIO_QUEUE_DESC:
		value = queue->desc_gpa;
		break;
	case VIRTIO_QUEUE_AVAIL:
		value = queue->avail_gpa;
		break;
	case VIRTIO_QUEUE_USED:
		value = queue->used_gpa;
		break;
	}
	lock_release(&dev->lock);
	return value;
}

uint16_t virtio_queue_max_size(struct virtio_device *dev, uint32_t index)
{
	return index < dev->queue_count ? dev->queues[index].max_size : 0;
}

bool virtio_queue_ready(struct virtio_device *dev, uint32_t index)
{
	bool ready;

	if (index >= dev->queue_count)
		return false;
	lock_take(&dev->lock);
	ready = dev->queues[index].ready;
	lock_release(&dev->lock);
	return ready;
}

void virtio_queue_enable(struct virtio_device *dev, uint32_t index)
{
	struct virtq *queue;
	int err;

	if (index >= dev->queue_count)
		return;
	queue = &dev->queues[index];
	lock_take(&dev->lock);
	/* Before FEATURES_OK it isn't settled what the rings look like. */
	if (!queue->ready && (dev->status & VIRTIO_STATUS_FEATURES_OK)) {
		err = virtq_start(queue, dev->driver_features);
		if (err < 0)
			virtio_device_broken(dev, err == -EFAULT
							  ? "a ring is not in RAM"
							  : "a ring has a wrong size or alignment");
		else if (virtio_device_live(dev))
			work_post(&queue->work);
	}
	lock_release(&dev->lock);
}

void virtio_queue_disable(struct virtio_device *dev, uint32_t index)
{
	struct virtq *queue;

	if (index >= dev->queue_count)
		return;
	queue = &dev->queues[index];
	lock_take(&dev->lock);
	queue->ready = false;
	if (dev->ops->queue_reset)
		dev->ops->queue_reset(dev, queue);
	if (wait_idle(queue))
		virtq_reset(queue);
	lock_release(&dev->lock);
}

void virtio_notify(struct virtio_device *dev, uint32_t index)
{
	if (index < dev->queue_count)
		work_post(&dev->queues[index].work);
}

void virtio_queue_doorbell(void *ctx)
{
	queue_work(ctx);
}
