/* Split virtqueues (virtio 1.2 §2.7): descriptors, what is available and what is used lie in three areas.
 *
 *     descriptor  { le64 addr; le32 len; le16 flags; le16 next }          size entries
 *     available   { le16 flags; le16 idx; le16 ring[size]; le16 used_event }
 *     used        { le16 flags; le16 idx; { le32 id; le32 len } ring[size]; le16 avail_event }
 *
 * Example: see queue.h.
 */
#include "base/errno.h"
#include "base/string.h"
#include "dev/virtio/queue_ring.h"
#include <stdatomic.h>

#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

#define RING_FLAGS 0u
#define RING_IDX   2u
#define RING_START 4u

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct descriptor) == 16, "virtio 1.2 §2.7.5");

struct used_elem {
	uint32_t id;
	uint32_t len;
};
_Static_assert(sizeof(struct used_elem) == 8, "virtio 1.2 §2.7.8");

static size_t avail_size(const struct virtq *queue)
{
	return RING_START + 2u * queue->size + 2u;
}

static size_t used_size(const struct virtq *queue)
{
	return RING_START + sizeof(struct used_elem) * queue->size + 2u;
}

static size_t used_event_offset(const struct virtq *queue)
{
	return RING_START + 2u * queue->size;
}

static size_t avail_event_offset(const struct virtq *queue)
{
	return RING_START + sizeof(struct used_elem) * queue->size;
}

static void used_store(struct virtq *queue, size_t offset, uint16_t value)
{
	shared_store(queue->used, offset, value);
	mem_mark_written(queue_mem(queue), queue->used_gpa + offset, sizeof(value));
}

static int split_start(struct virtq *queue)
{
	struct mem *mem = queue_mem(queue);
	uint16_t size = queue->size;

	if (size & (size - 1))
		return -EINVAL;
	if ((queue->desc_gpa & 15) || (queue->avail_gpa & 1) || (queue->used_gpa & 3))
		return -EINVAL;
	queue->desc = mem_hva(mem, queue->desc_gpa, sizeof(struct descriptor) * size);
	queue->avail = mem_hva(mem, queue->avail_gpa, avail_size(queue));
	queue->used = mem_hva_writable(mem, queue->used_gpa, used_size(queue));
	if (!queue->desc || !queue->avail || !queue->used)
		return -EFAULT;
	queue->next_avail = queue->next_used = queue->signalled = 0;
	return 0;
}

/* ---- taking chains ---- */

/* The one look at a descriptor: what the driver writes there afterwards is never seen. */
static void copy_descriptor(const uint8_t *table, unsigned index, struct descriptor *copy)
{
	memcpy(copy, table + sizeof(*copy) * index, sizeof(*copy));
	atomic_signal_fence(memory_order_seq_cst);
}

/* Collects the chain that starts at chain->head. Each table can be walked for as many steps as it has
 * entries, and there is at most one change of table: so this ends. NULL, or what is wrong. */
static const char *collect(struct virtq *queue, struct virtq_chain *chain)
{
	const uint8_t *table = queue->desc;
	bool nested = false; /* not to be told from the address: a table may lie where the ring does */
	unsigned entries = queue->size, left = entries, at = chain->head;
	struct descriptor desc;
	const char *wrong;

	for (;;) {
		if (at >= entries)
			return "a descriptor index is out of range";
		if (left-- == 0)
			return "a chain of descriptors has a loop";
		copy_descriptor(table, at, &desc);
		if (desc.flags & DESC_F_INDIRECT) {
			if (nested)
				return "an indirect table is nested";
			nested = true;
			table = virtq_indirect_table(queue, desc.addr, desc.len, desc.flags);
			if (!table)
				return "an indirect table is malformed or not in RAM";
			entries = left = desc.len / (unsigned)sizeof(desc);
			at = 0;
			continue;
		}
		wrong = virtq_add_buffer(queue, chain, desc.addr, desc.len, (desc.flags & DESC_F_WRITE) != 0);
		if (wrong)
			return wrong;
		if (!(desc.flags & DESC_F_NEXT))
			return NULL;
		at = desc.next;
	}
}

static int split_take(struct virtq *queue, struct virtq_chain *chain, const char **wrong)
{
	/* Acquire: the ring entry and the descriptors are read after the index that announces them. */
	uint16_t waiting = (uint16_t)(shared_load(queue->avail, RING_IDX) - queue->next_avail);
	size_t slot = queue->next_avail & (queue->size - 1u);

	if (waiting == 0)
		return 0;
	if (waiting > queue->size) {
		*wrong = "the available index ran away";
		return -EIO;
	}
	chain->head = shared_load(queue->avail, RING_START + 2u * slot);
	*wrong = collect(queue, chain);
	if (*wrong)
		return -EIO;
	queue->next_avail++;
	return 1;
}

static void split_untake(struct virtq *queue, unsigned count)
{
	queue->next_avail = (uint16_t)(queue->next_avail - count);
}

/* ---- giving chains back ---- */

static void split_fill(struct virtq *queue, const struct virtq_chain *chain, unsigned ahead, uint32_t written)
{
	struct used_elem elem = {.id = chain->head, .len = written};
	size_t slot = (queue->next_used + ahead) & (queue->size - 1u);
	size_t offset = RING_START + sizeof(elem) * slot;

	memcpy(queue->used + offset, &elem, sizeof(elem));
	mem_mark_written(queue_mem(queue), queue->used_gpa + offset, sizeof(elem));
}

static void split_publish(struct virtq *queue, unsigned count)
{
	queue->next_used = (uint16_t)(queue->next_used + count);
	/* Release: the entries are there before the index that announces them. */
	used_store(queue, RING_IDX, queue->next_used);
}

/* ---- who wants to hear what ---- */

/* virtio 1.2 §2.7.10: did the index move past `event` on its way from `before` to `now`? */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool split_wants_signal(struct virtq *queue)
{
	uint16_t before = queue->signalled, now = queue->next_used;

	if (before == now)
		return false;
	queue->signalled = now;
	/* The driver writes used_event (or its flag) and then looks at the used index; we have written
	 * the index and now look at the event. One of us must see the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (queue->event_idx)
		return passed(shared_load(queue->avail, used_event_offset(queue)), now, before);
	return !(shared_load(queue->avail, RING_FLAGS) & AVAIL_F_NO_INTERRUPT);
}

static void split_disable_notify(struct virtq *queue)
{
	/* With event index the old avail_event lies behind and stays silent by itself. */
	if (!queue->event_idx)
		used_store(queue, RING_FLAGS, USED_F_NO_NOTIFY);
}

static bool split_enable_notify(struct virtq *queue, unsigned enough)
{
	uint16_t event = (uint16_t)(queue->next_avail + enough);

	if (queue->event_idx)
		used_store(queue, avail_event_offset(queue), event);
	else
		used_store(queue, RING_FLAGS, 0);
	/* The driver writes the index and then looks at the event: the other half of split_wants_signal(). */
	atomic_thread_fence(memory_order_seq_cst);
	return shared_load(queue->avail, RING_IDX) != event;
}

const struct virtq_ring_ops virtq_split_ops = {
	.name = "split",
	.start = split_start,
	.take = split_take,
	.untake = split_untake,
	.fill = split_fill,
	.publish = split_publish,
	.wants_signal = split_wants_signal,
	.disable_notify = split_disable_notify,
	.enable_notify = split_enable_notify,
};
