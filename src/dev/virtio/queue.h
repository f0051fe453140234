/* Virtqueues, split (virtio 1.2 §2.7) and packed (§2.8): the only code that walks rings. A device can't tell which it has.
 *
 * Example (all of it under the device's lock):
 *     while (virtq_pop(queue, &chain) > 0) {
 *             uint32_t n = virtq_chain_write(&chain, 0, bytes, sizeof(bytes));
 *             virtq_push(queue, &chain, n);
 *     }
 *     virtq_signal(queue);
 *
 * What a driver puts into a ring is hostile: every descriptor is copied once and only the copy is
 * looked at, chains are bounded, every address goes through mem_hva(). A ring that breaks the rules
 * sets DEVICE_NEEDS_RESET; after that virtq_pop() yields nothing until the driver resets the device.
 *
 * Every popped chain is given back exactly once: virtq_push(), virtq_unpop() or virtq_drop(). A reset
 * returns to the driver only when nothing is out, so no buffer is touched behind a driver's back.
 */
#ifndef DEV_VIRTIO_QUEUE_H
#define DEV_VIRTIO_QUEUE_H

#include "base/types.h"
#include "core/backend.h"
#include "core/platform.h"

#define VIRTQ_MAX_SIZE 256 /* descriptors in a ring */
#define VIRTQ_MAX_SEGS 256 /* descriptors in a chain, the indirect table's included */

struct mem;
struct virtio_device;
struct virtq_ring_ops; /* queue_ring.h */

/* One popped chain: host views of the driver's buffers, the device-readable ones first. bufs and
 * gpas run in parallel; [0, out_count) is readable, [out_count, out_count + in_count) writable. */
struct virtq_chain {
	uint16_t head;  /* split: index of the first descriptor; packed: the buffer's id */
	uint16_t slots; /* packed: descriptors in the ring */
	unsigned out_count, in_count;
	uint64_t out_len, in_len; /* bytes */
	struct iobuf bufs[VIRTQ_MAX_SEGS];
	gpa_t gpas[VIRTQ_MAX_SEGS];
};

/* A used descriptor that is not published yet. */
struct virtq_filled {
	uint32_t len;
	uint16_t id, slots;
};

struct virtq {
	struct virtio_device *dev;
	unsigned index;
	uint16_t max_size; /* fixed at creation */

	/* Set by the driver through the transport, while not ready. */
	uint16_t size;
	gpa_t desc_gpa, avail_gpa, used_gpa; /* packed: the ring, the driver's event suppression, the device's */
	bool ready;

	/* While ready: the rings as the host sees them, and where we are in them. */
	const struct virtq_ring_ops *ring;
	uint8_t *desc, *avail, *used;
	uint16_t next_avail;    /* the next entry to pop: split: free-running; packed: a place in the ring */
	uint16_t next_used;     /* the next used entry to publish, likewise */
	uint16_t signalled;     /* split: next_used at the last virtq_signal() */
	bool event_idx, indirect;
	struct {
		bool avail_wrap, used_wrap;     /* wrap counters of next_avail and next_used */
		unsigned taken;                 /* descriptors of chains that are out; at most size */
		unsigned unsignalled;           /* descriptors used since the last virtq_signal(), at most size */
		uint32_t takes;                 /* chains ever popped; */
		uint16_t slots[VIRTQ_MAX_SIZE]; /* how many descriptors the last ones had */
		struct virtq_filled filled[VIRTQ_MAX_SIZE]; /* virtq_fill(), until virtq_publish() */
	} packed;

	_Atomic uint32_t out;   /* popped and not given back; reset sleeps on it */
	struct work work;       /* the device's notify() for this queue, on the I/O thread */
};

/* Checks and maps the rings, in the layout that the driver's features say. 0; -EINVAL: size or alignment; -EFAULT: not in
 * (writable) RAM; -EBUSY: chains of an earlier life are still out. */
int virtq_start(struct virtq *queue, uint64_t features) must_check;
/* Back to what a reset leaves; nothing may be out. */
void virtq_reset(struct virtq *queue);

/* Takes the next available chain. 1: there is one; 0: none (or queue not live); -EIO: the ring is
 * broken, the device has been told so. */
int virtq_pop(struct virtq *queue, struct virtq_chain *chain) must_check;
/* Gives a chain back as used; the device wrote the first `written` bytes of its writable part, which
 * are marked as written. Does not signal. On a queue that is not ready any more only gives back. */
void virtq_push(struct virtq *queue, struct virtq_chain *chain, uint32_t written);
/* Gives back the `count` most recently popped chains as if they had never been taken. */
void virtq_unpop(struct virtq *queue, unsigned count);
/* Gives back a chain without an answer: the device or the queue is being reset. */
void virtq_drop(struct virtq *queue);

/* For frames that fill several chains: virtq_fill() prepares the used entry `ahead` chains past what is published,
 * virtq_publish() makes `count` of them visible at once and gives them back. */
void virtq_fill(struct virtq *queue, struct virtq_chain *chain, unsigned ahead, uint32_t written);
void virtq_publish(struct virtq *queue, unsigned count);

/* Interrupts the driver if it wants to know about what was published since the last time. */
void virtq_signal(struct virtq *queue);

/* Tells the driver whether kicks are wanted. enable returns true if something became available
 * meanwhile: look again instead of waiting for a kick. */
void virtq_disable_notify(struct virtq *queue);
bool virtq_enable_notify(struct virtq *queue) must_check;
/* The same for a device that has just unpopped the `enough` chains that there were, and needs more than those. */
bool virtq_enable_notify_beyond(struct virtq *queue, unsigned enough) must_check;

/* Copies from the readable part at offset; returns the bytes copied (less at the end). */
size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len);
/* Copies into the writable part at offset; returns the bytes copied (less at the end). */
size_t virtq_chain_write(struct virtq_chain *chain, uint64_t offset, const void *buf, size_t len);
/* Removes n bytes from the front of the readable part (n <= out_len). */
void virtq_chain_skip_out(struct virtq_chain *chain, uint64_t n);
/* Removes the last byte of the writable part and says where it is; NULL if there is none. */
uint8_t *virtq_chain_take_last_in(struct virtq_chain *chain, gpa_t *gpa);
/* Marks all of the writable part as written: something may have been, how much isn't known. */
void virtq_chain_mark(struct virtq *queue, const struct virtq_chain *chain);

#endif
