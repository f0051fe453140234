/* What the two layouts of a virtqueue share, for queue.c, queue_split.c and queue_packed.c only: devices see queue.h.
 *
 * Example: `queue->ring->publish(queue, 1);`
 *
 * All under the device's lock, on a queue that is ready.
 */
#ifndef DEV_VIRTIO_QUEUE_RING_H
#define DEV_VIRTIO_QUEUE_RING_H

#include "base/types.h"
#include "core/vm.h"
#include "dev/virtio/queue.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

/* Of a descriptor, in both layouts. */
#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u

struct virtq_ring_ops {
	const char *name;
	/* Checks size and alignment, maps the ring and begins at its start. 0, -EINVAL, -EFAULT. */
	int (*start)(struct virtq *queue);
	/* Takes the next chain. 1; 0: there is none; -EIO: the ring breaks the rules, *wrong says how. */
	int (*take)(struct virtq *queue, struct virtq_chain *chain, const char **wrong);
	void (*untake)(struct virtq *queue, unsigned count);
	/* virtq_fill() and virtq_publish(), without what they do for every layout. */
	void (*fill)(struct virtq *queue, const struct virtq_chain *chain, unsigned ahead, uint32_t written);
	void (*publish)(struct virtq *queue, unsigned count);
	/* Was something published since the last time, and does the driver want an interrupt for it? */
	bool (*wants_signal)(struct virtq *queue);
	void (*disable_notify)(struct virtq *queue);
	bool (*enable_notify)(struct virtq *queue, unsigned enough);
};

extern const struct virtq_ring_ops virtq_split_ops, virtq_packed_ops;

static inline struct mem *queue_mem(const struct virtq *queue)
{
	return &queue->dev->vm->mem;
}

/* Words shared with the driver: each access is one load or store, never repeated by the compiler. */
static inline uint16_t shared_load(const uint8_t *ring, size_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(ring + offset), __ATOMIC_ACQUIRE);
}

static inline void shared_store(uint8_t *ring, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(ring + offset), value, __ATOMIC_RELEASE);
}

/* Adds a descriptor's buffer to the chain, in pieces where it spans slots of memory. NULL, or what is wrong. */
const char *virtq_add_buffer(struct virtq *queue, struct virtq_chain *chain, gpa_t gpa, uint32_t len, bool write) must_check;
/* The table that an indirect descriptor leads to, of len / 16 entries. NULL: it breaks the rules. */
const uint8_t *virtq_indirect_table(const struct virtq *queue, gpa_t gpa, uint32_t len, uint16_t flags);

#endif
