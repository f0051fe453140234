/* Packed virtqueues (virtio 1.2 §2.8): one ring of descriptors, in which both sides write.
 *
 *     descriptor         { le64 addr; le32 len; le16 id; le16 flags }     size entries
 *     event suppression  { le16 off_wrap; le16 flags }                    one of the driver, one of the device
 *
 * The driver writes the descriptors of a chain one behind the other, the buffer's id in the last; the device writes one
 * used descriptor for a chain, over the oldest that it has taken, and skips as many as the chain had. Whose a descriptor is
 * tell its flags AVAIL and USED, the meaning of which changes with each round: each side counts wraps by one bit.
 *
 * A used descriptor overwrites an available one, so nothing may be written before it is sure to be published: fill()
 * notes, publish() writes. How many descriptors a chain had is remembered, to go back over those that are not wanted.
 *
 * Example: see queue.h.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "dev/virtio/queue_ring.h"
#include <stdatomic.h>

#define DESC_F_AVAIL (1u << 7)
#define DESC_F_USED  (1u << 15)

#define EVENT_ENABLE  0u
#define EVENT_DISABLE 1u
#define EVENT_DESC    2u
#define EVENT_WRAP    (1u << 15)
#define EVENT_BYTES   4u
#define EVENT_FLAGS   2u /* offset */

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};
_Static_assert(sizeof(struct descriptor) == 16 && offsetof(struct descriptor, flags) == 14, "virtio 1.2 §2.8.13");

/* A place in the ring, and in which round. */
struct place {
	unsigned at;
	bool wrap;
};

static struct place forward(const struct virtq *queue, struct place place, unsigned count)
{
	place.at += count;
	if (place.at >= queue->size) {
		place.at -= queue->size;
		place.wrap = !place.wrap;
	}
	return place;
}

static struct place next_avail(const struct virtq *queue)
{
	return (struct place){queue->next_avail, queue->packed.avail_wrap};
}

static struct place next_used(const struct virtq *queue)
{
	return (struct place){queue->next_used, queue->packed.used_wrap};
}

static void set_next_avail(struct virtq *queue, struct place place)
{
	queue->next_avail = (uint16_t)place.at;
	queue->packed.avail_wrap = place.wrap;
}

static size_t flags_offset(unsigned at)
{
	return sizeof(struct descriptor) * at + offsetof(struct descriptor, flags);
}

static int packed_start(struct virtq *queue)
{
	struct mem *mem = queue_mem(queue);

	if ((queue->desc_gpa & 15) || (queue->avail_gpa & 3) || (queue->used_gpa & 3))
		return -EINVAL;
	queue->desc = mem_hva_writable(mem, queue->desc_gpa, sizeof(struct descriptor) * queue->size);
	queue->avail = mem_hva(mem, queue->avail_gpa, EVENT_BYTES);
	queue->used = mem_hva_writable(mem, queue->used_gpa, EVENT_BYTES);
	if (!queue->desc || !queue->avail || !queue->used)
		return -EFAULT;
	queue->next_avail = queue->next_used = 0;
	queue->packed.avail_wrap = queue->packed.used_wrap = true;
	queue->packed.taken = queue->packed.takes = queue->packed.unsignalled = 0;
	return 0;
}

/* ---- taking chains ---- */

/* Acquire: what the driver wrote before these flags is seen after them. */
static bool is_available(const struct virtq *queue, struct place place)
{
	uint16_t flags = shared_load(queue->desc, flags_offset(place.at));

	return ((flags & DESC_F_AVAIL) != 0) == place.wrap && ((flags & DESC_F_USED) != 0) != place.wrap;
}

/* The one look at a descriptor: what the driver writes there afterwards is never seen. */
static void copy_descriptor(const uint8_t *table, unsigned index, struct descriptor *copy)
{
	memcpy(copy, table + sizeof(*copy) * index, sizeof(*copy));
	atomic_signal_fence(memory_order_seq_cst);
}

/* All entries of a table are one chain, in their order; of their flags only WRITE means something (§2.8.7). */
static const char *collect_table(struct virtq *queue, struct virtq_chain *chain, const struct descriptor *indirect)
{
	const uint8_t *table = virtq_indirect_table(queue, indirect->addr, indirect->len, indirect->flags);
	struct descriptor desc;
	const char *wrong = NULL;

	if (!table)
		return "an indirect table is malformed or not in RAM";
	for (unsigned i = 0; i < indirect->len / sizeof(desc) && !wrong; i++) {
		copy_descriptor(table, i, &desc);
		wrong = virtq_add_buffer(queue, chain, desc.addr, desc.len, (desc.flags & DESC_F_WRITE) != 0);
	}
	return wrong;
}

/* Collects the chain that begins at next_avail; no more of the ring than what is not taken already. NULL, or what is
 * wrong. */
static const char *collect(struct virtq *queue, struct virtq_chain *chain)
{
	const unsigned free = queue->size - queue->packed.taken;
	struct place place = next_avail(queue);
	struct descriptor desc;
	const char *wrong;

	for (unsigned count = 1; count <= free; count++, place = forward(queue, place, 1)) {
		copy_descriptor(queue->desc, place.at, &desc);
		if ((desc.flags & DESC_F_INDIRECT) && count > 1)
			return "an indirect table is not alone in its chain";
		wrong = (desc.flags & DESC_F_INDIRECT)
				? collect_table(queue, chain, &desc)
				: virtq_add_buffer(queue, chain, desc.addr, desc.len, (desc.flags & DESC_F_WRITE) != 0);
		if (wrong)
			return wrong;
		if (!(desc.flags & DESC_F_NEXT)) {
			chain->head = desc.id;
			chain->slots = (uint16_t)count;
			return NULL;
		}
	}
	return "a chain is longer than what is free of the ring";
}

static uint16_t *slots_of_take(struct virtq *queue, uint32_t take)
{
	return &queue->packed.slots[take % VIRTQ_MAX_SIZE];
}

static int packed_take(struct virtq *queue, struct virtq_chain *chain, const char **wrong)
{
	if (!is_available(queue, next_avail(queue)))
		return 0;
	*wrong = collect(queue, chain);
	if (*wrong)
		return -EIO;
	*slots_of_take(queue, queue->packed.takes++) = chain->slots;
	queue->packed.taken += chain->slots;
	set_next_avail(queue, forward(queue, next_avail(queue), chain->slots));
	return 1;
}

static void packed_untake(struct virtq *queue, unsigned count)
{
	while (count-- > 0) {
		uint16_t slots = *slots_of_take(queue, --queue->packed.takes);
		struct place place = next_avail(queue);

		BUG_ON(slots > queue->packed.taken);
		queue->packed.taken -= slots;
		if (place.at < slots) {
			place.at += queue->size;
			place.wrap = !place.wrap;
		}
		place.at -= slots;
		set_next_avail(queue, place);
	}
}

/* ---- giving chains back ---- */

static void packed_fill(struct virtq *queue, const struct virtq_chain *chain, unsigned ahead, uint32_t written)
{
	BUG_ON(ahead >= VIRTQ_MAX_SIZE);
	queue->packed.filled[ahead] = (struct virtq_filled){.len = written, .id = chain->head, .slots = chain->slots};
}

/* The flags of a used descriptor: AVAIL and USED are the same (§2.8.1). */
static uint16_t used_flags(struct place place, uint32_t written)
{
	return (uint16_t)((place.wrap ? DESC_F_AVAIL | DESC_F_USED : 0) | (written > 0 ? DESC_F_WRITE : 0));
}

static void store_flags(struct virtq *queue, struct place place, uint32_t written)
{
	shared_store(queue->desc, flags_offset(place.at), used_flags(place, written));
	mem_mark_written(queue_mem(queue), queue->desc_gpa + flags_offset(place.at), sizeof(uint16_t));
}

static void store_used(struct virtq *queue, struct place place, const struct virtq_filled *filled)
{
	uint8_t *desc = queue->desc + sizeof(struct descriptor) * place.at;

	memcpy(desc + offsetof(struct descriptor, len), &filled->len, sizeof(filled->len));
	memcpy(desc + offsetof(struct descriptor, id), &filled->id, sizeof(filled->id));
	mem_mark_written(queue_mem(queue),
			 queue->desc_gpa + sizeof(struct descriptor) * place.at + offsetof(struct descriptor, len),
			 sizeof(filled->len) + sizeof(filled->id));
}

static void packed_publish(struct virtq *queue, unsigned count)
{
	const struct virtq_filled *filled = queue->packed.filled;
	const struct place first = next_used(queue);
	struct place place = first;

	for (unsigned i = 0; i < count; i++) {
		store_used(queue, place, &filled[i]);
		if (i > 0)
			store_flags(queue, place, filled[i].len);
		place = forward(queue, place, filled[i].slots);
		BUG_ON(filled[i].slots > queue->packed.taken);
		queue->packed.taken -= filled[i].slots;
		queue->packed.unsignalled += filled[i].slots;
	}
	/* Release, and last: the driver looks no further while this one isn't used. */
	store_flags(queue, first, filled[0].len);
	queue->next_used = (uint16_t)place.at;
	queue->packed.used_wrap = place.wrap;
	if (queue->packed.unsignalled > queue->size)
		queue->packed.unsignalled = queue->size;
}

/* ---- who wants to hear what ---- */

/* Did next_used move past the descriptor that the driver named, in the last `steps`? It names one of the round that we are
 * in, or one of the round before that has not been used then: others are still to come. */
static bool passed(const struct virtq *queue, uint16_t off_wrap, unsigned steps)
{
	bool this_round = ((off_wrap & EVENT_WRAP) != 0) == queue->packed.used_wrap;
	int behind = (int)queue->next_used - (int)(off_wrap & ~EVENT_WRAP) + (this_round ? 0 : (int)queue->size);

	return steps == queue->size || (behind > 0 && behind <= (int)steps);
}

static bool packed_wants_signal(struct virtq *queue)
{
	unsigned steps = queue->packed.unsignalled;
	uint32_t event;

	if (steps == 0)
		return false;
	queue->packed.unsignalled = 0;
	/* The driver writes its event suppression and then looks at the descriptor; we have written the descriptor and
	 * now look at the event suppression. One of us must see the other. */
	atomic_thread_fence(memory_order_seq_cst);
	event = __atomic_load_n((const uint32_t *)(const void *)queue->avail, __ATOMIC_ACQUIRE);
	switch (event >> 16 & 3) {
	case EVENT_DISABLE:
		return false;
	case EVENT_DESC:
		return !queue->event_idx || passed(queue, (uint16_t)event, steps);
	default:
		return true;
	}
}

static void event_store(struct virtq *queue, size_t offset, uint16_t value)
{
	shared_store(queue->used, offset, value);
	mem_mark_written(queue_mem(queue), queue->used_gpa + offset, sizeof(value));
}

static void packed_disable_notify(struct virtq *queue)
{
	event_store(queue, EVENT_FLAGS, EVENT_DISABLE);
}

/* The `enough` chains were taken and untaken just before, so their lengths are known still. */
static bool packed_enable_notify(struct virtq *queue, unsigned enough)
{
	struct place place = next_avail(queue);

	for (unsigned i = 0; i < enough; i++)
		place = forward(queue, place, *slots_of_take(queue, queue->packed.takes + i));
	if (queue->event_idx) {
		event_store(queue, 0, (uint16_t)(place.at | (place.wrap ? EVENT_WRAP : 0)));
		event_store(queue, EVENT_FLAGS, EVENT_DESC);
	} else {
		event_store(queue, EVENT_FLAGS, EVENT_ENABLE);
	}
	/* The driver writes the descriptor and then looks at the event: the other half of packed_wants_signal(). */
	atomic_thread_fence(memory_order_seq_cst);
	return is_available(queue, place);
}

const struct virtq_ring_ops virtq_packed_ops = {
	.name = "packed",
	.start = packed_start,
	.take = packed_take,
	.untake = packed_untake,
	.fill = packed_fill,
	.publish = packed_publish,
	.wants_signal = packed_wants_signal,
	.disable_notify = packed_disable_notify,
	.enable_notify = packed_enable_notify,
};
