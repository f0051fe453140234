/* Virtio devices and transports (virtio 1.2): two tables that never patch each other.
 *
 * Example (a board):
 *     err = virtio_blk_create(vm, backend, &vdev);
 *     err = virtio_mmio_create(vm, vdev, 0xd0000000, irq, 0, "disk0");   // mmio.h; owns vdev now
 *
 * A device (blk.c, net.c, ...) is a struct virtio_device_ops: it sees queues, configuration space and
 * features. A transport (mmio.c) turns guest accesses into the calls under "for transports" and
 * delivers interrupts through struct virtio_transport_ops.
 *
 * Threads: guest accesses come on vcpu threads, queue processing runs on the I/O thread. Everything in
 * struct virtio_device is under its lock. Order: transport's device lock, virtio_device.lock,
 * transport's interrupt lock, interrupt controllers. Backends are called with no lock held.
 */
#ifndef DEV_VIRTIO_VIRTIO_H
#define DEV_VIRTIO_VIRTIO_H

#include "base/lock.h"
#include "base/types.h"
#include "dev/virtio/limiter.h"
#include "dev/virtio/queue.h"

struct vm;
struct block_backend;
struct net_backend;
struct char_backend;
struct vsock_backend;
struct vhost_backend;
struct share_backend;
struct stats_sink;
struct input_sink;
struct image;
struct virtio_device;

/* virtio 1.2 §5 */
enum virtio_device_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_SCSI = 8,
	VIRTIO_ID_INPUT = 18,
	VIRTIO_ID_9P = 9,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_MEM = 24,
	VIRTIO_ID_FS = 26,
	VIRTIO_ID_PMEM = 27,
};

/* virtio 1.2 §2.1 */
enum virtio_status {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* virtio 1.2 §6 */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)
#define VIRTIO_F_RING_PACKED   (1ull << 34)
#define VIRTIO_F_RING_RESET    (1ull << 40)

/* Bits of the interrupt status, virtio 1.2 §4.2.2, §4.1.4.5 */
enum virtio_interrupt {
	VIRTIO_INTERRUPT_QUEUE = 1,
	VIRTIO_INTERRUPT_CONFIG = 2,
};

/* ---- for devices ---- */

struct virtio_device_ops {
	const char *name;
	enum virtio_device_id id;
	/* Bytes of configuration space; offset + len <= config_size. Lock held. */
	void (*config_read)(struct virtio_device *dev, unsigned offset, void *buf, unsigned len);
	/* Optional. Lock held. */
	void (*config_write)(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len);
	/* Optional: DRIVER_OK was set. vcpu thread, lock held. */
	void (*activate)(struct virtio_device *dev);
	/* The driver kicked queue. I/O thread, no lock held; may be spurious. */
	void (*notify)(struct virtio_device *dev, struct virtq *queue);
	/* Optional: back to power-on; gives back the chains the device keeps. Queues are no longer ready,
	 * chains in use by the I/O thread or a backend may still be out. Lock held. */
	void (*reset)(struct virtio_device *dev);
	/* Optional: one queue is being reset: gives back the chains of it that the device keeps. Lock held. */
	void (*queue_reset)(struct virtio_device *dev, struct virtq *queue);
	/* Optional: makes the backend finish what it has (machine reset, destruction). No lock held. */
	void (*drain)(struct virtio_device *dev);
	/* Optional: figures so far (core/stats.h). The I/O thread, or when it no longer runs; no lock held. */
	void (*stats)(struct virtio_device *dev, struct stats_sink *sink);
	/* Optional: what a reset of the machine does beyond that of the device; after it. Lock held. */
	void (*machine_reset)(struct virtio_device *dev);
	/* Optional: the cable of a network card is plugged in or not. I/O thread, no lock held. */
	void (*set_link)(struct virtio_device *dev, bool up);
	void (*destroy)(struct virtio_device *dev); /* frees dev's memory; not the backend */
};

struct virtio_transport_ops {
	const char *name;
	/* Interrupts the driver. Any thread, device lock held. queue is NULL for CONFIG. */
	void (*interrupt)(void *transport, enum virtio_interrupt why, const struct virtq *queue);
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	struct vm *vm;
	const char *label; /* for messages: the transport's id, or ops->name */
	struct lock lock;

	uint64_t features;        /* offered; fixed at creation */
	unsigned config_size;     /* bytes */
	struct virtq *queues;
	unsigned queue_count;

	uint64_t driver_features;
	uint8_t status;
	uint32_t config_generation;

	const struct image *rom; /* what firmware is to run of it, where the transport has a place for that; or NULL. Set before it is attached */
	const struct virtio_transport_ops *transport_ops; /* NULL until attached */
	void *transport;
};

/* Fills dev and allocates its queues, queue_sizes[i] being the largest size of queue i.
 * Adds VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED and RING_RESET to features. -ENOMEM. */
int virtio_device_init(struct virtio_device *dev, struct vm *vm, const struct virtio_device_ops *ops,
		       uint64_t features, unsigned config_size, unsigned queue_count,
		       const uint16_t *queue_sizes) must_check;
void virtio_device_fini(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, uint64_t feature)
{
	return (dev->driver_features & feature) != 0;
}

/* DRIVER_OK and not NEEDS_RESET. Lock held. */
bool virtio_device_live(const struct virtio_device *dev);
/* Asks the transport for an interrupt; queue is NULL for CONFIG. Lock held. */
void virtio_interrupt(struct virtio_device *dev, enum virtio_interrupt why, const struct virtq *queue);
/* The guest broke the rules: NEEDS_RESET and a configuration interrupt. Lock held. */
void virtio_device_broken(struct virtio_device *dev, const char *why);
/* Configuration space has changed: new generation and a configuration interrupt. Lock held. */
void virtio_config_changed(struct virtio_device *dev);

/* ---- for transports; all but virtio_notify and virtio_destroy with the lock not held ---- */

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *ops, void *transport,
		   const char *label);
uint32_t virtio_features_word(struct virtio_device *dev, uint32_t select);
void virtio_driver_features_write(struct virtio_device *dev, uint32_t select, uint32_t value);
uint8_t virtio_status_read(struct virtio_device *dev);
/* Runs the status state machine; 0 resets, and returns when nothing is out any more. */
void virtio_status_write(struct virtio_device *dev, uint8_t status);
/* Little-endian value of size 1, 2 or 4 in configuration space; outside of it 0 and ignored. */
uint32_t virtio_config_read(struct virtio_device *dev, unsigned offset, unsigned size);
void virtio_config_write(struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value);
uint32_t virtio_config_generation(struct virtio_device *dev);

enum virtio_queue_field { VIRTIO_QUEUE_SIZE, VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_AVAIL, VIRTIO_QUEUE_USED };
/* Replaces the bits of mask in a field of a queue that is not ready; else ignored. */
void virtio_queue_write(struct virtio_device *dev, uint32_t queue, enum virtio_queue_field field,
			uint64_t value, uint64_t mask);
uint64_t virtio_queue_read(struct virtio_device *dev, uint32_t queue, enum virtio_queue_field field); /* 0: no such queue */
uint16_t virtio_queue_max_size(struct virtio_device *dev, uint32_t queue); /* 0: no such queue */
bool virtio_queue_ready(struct virtio_device *dev, uint32_t queue);
/* Starts it, or stops it and returns when nothing is out any more (QueueReady, QueueReset). */
void virtio_queue_enable(struct virtio_device *dev, uint32_t queue);
void virtio_queue_disable(struct virtio_device *dev, uint32_t queue);

/* The driver kicked: posts the queue's work. Any thread. */
void virtio_notify(struct virtio_device *dev, uint32_t queue);
/* The same on the I/O thread, at once: what a doorbell rings (ctx: struct virtq *). */
void virtio_queue_doorbell(void *ctx);

/* Machine reset: like status 0, but makes the backend finish first, so it runs on the I/O thread.
 * Not from within a backend's or device's own callback. */
void virtio_machine_reset(struct virtio_device *dev);
/* Adds the device's figures. The I/O thread, or when it no longer runs. */
void virtio_stats(struct virtio_device *dev, struct stats_sink *sink);
/* device_ops.set_link, for transports. */
int virtio_set_link(struct virtio_device *dev, bool up) must_check;
/* Drains and frees. After the vcpus have stopped or no longer reach it, and before the backend is destroyed. */
void virtio_destroy(struct virtio_device *dev);

/* ---- devices; backends are borrowed and outlive the device. 0 or -errno. ---- */

#define VIRTIO_BLK_MAX_QUEUES 64
struct virtio_blk_options {
	unsigned queues; /* 0: 1 */
	struct rate_limit limit;
};
/* -EINVAL: too many queues. */
int virtio_blk_create_with(struct vm *vm, struct block_backend *backend, const struct virtio_blk_options *options,
			   struct virtio_device **out) must_check;
int virtio_blk_create(struct vm *vm, struct block_backend *backend, struct virtio_device **out) must_check;
/* One adapter with a disk at each of LUN 0..count-1 of target 0; count 1..16. */
int virtio_scsi_create(struct vm *vm, struct block_backend *const *backends, unsigned count, struct virtio_device **out) must_check;
/* The backend's size has changed: tells the driver. Any thread. */
void virtio_scsi_capacity_changed(struct virtio_device *dev, unsigned lun);

#define VIRTIO_NET_MAX_PAIRS 32
struct virtio_net_options {
	unsigned pairs; /* of queues; 0: 1 */
	struct rate_limit receive, send;
};
/* -EINVAL: too many queues. */
int virtio_net_create_with(struct vm *vm, struct net_backend *backend, const struct virtio_net_options *options,
			   struct virtio_device **out) must_check;
int virtio_net_create(struct vm *vm, struct net_backend *backend, struct virtio_device **out) must_check;
#define VIRTIO_9P_TAG_MAX 32
/* tag is what the guest mounts: 1 to VIRTIO_9P_TAG_MAX bytes, copied. */
int virtio_9p_create(struct vm *vm, const char *tag, struct share_backend *backend, struct virtio_device **out) must_check;
/* Tells the guest that the link is up or down. Any thread. */
void virtio_net_set_link(struct virtio_device *dev, bool up);
/* Asks the guest to announce itself to the network, after it has moved there. Any thread. */
void virtio_net_announce(struct virtio_device *dev);
/* cid: the guest's address, 3 to 2^32 - 2. */
int virtio_vsock_create(struct vm *vm, uint32_t cid, struct vsock_backend *backend, struct virtio_device **out) must_check;
/* A card, and a shared file system, whose other half is at a vhost backend of 2, or VIRTIO_FS_QUEUES, queues (vhost.c). */
#define VIRTIO_FS_TAG_MAX 36 /* bytes */
#define VIRTIO_FS_QUEUES  2  /* for what is urgent, and for the rest */
int virtio_vhost_net_create(struct vm *vm, struct vhost_backend *backend, const uint8_t mac[6], struct virtio_device **out) must_check;
int virtio_fs_create(struct vm *vm, struct vhost_backend *backend, const char *tag, struct virtio_device **out) must_check;
/* backend: the file that is mapped at [gpa, gpa+size); only flushes go there. */
int virtio_pmem_create(struct vm *vm, struct block_backend *backend, gpa_t gpa, uint64_t size, struct virtio_device **out) must_check;
int virtio_rng_create(struct vm *vm, struct virtio_device **out) must_check;
enum virtio_input_kind { VIRTIO_INPUT_KEYBOARD, VIRTIO_INPUT_TABLET };
/* sink: the device as those see it who have something to tell (dev/input/input.h); it lives as long as the device. */
int virtio_input_create(struct vm *vm, enum virtio_input_kind kind, struct virtio_device **out, struct input_sink **sink) must_check;

#define VIRTIO_CONSOLE_MAX_PORTS 16
struct virtio_console_port {
	const char *name;             /* copied; NULL or "": none. Port 0 is the console, hvc0 */
	struct char_backend *backend; /* NULL: the port is there, and closed on the host's side */
};
/* Ports are numbered by place. The end of a backend's input closes the port towards the guest (reads
 * give end-of-file once the data is taken), except on port 0. 1..VIRTIO_CONSOLE_MAX_PORTS ports. */
int virtio_console_create(struct vm *vm, const struct virtio_console_port *ports, unsigned count,
			  struct virtio_device **out) must_check;
/* Tells the guest the terminal's size (F_SIZE). I/O thread. */
void virtio_console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows);

#endif
