/* Walks split virtqueues; the contract is in queue.h.
 *
 * Layout (virtio 1.2 §2.7, all little-endian):
 *     descriptor  { le64 addr; le32 len; le16 flags; le16 next }          size entries
 *     available   { le16 flags; le16 idx; le16 ring[size]; le16 used_event }
 *     used        { le16 flags; le16 idx; { le32 id; le32 len } ring[size]; le16 avail_event }
 *
 * Example: see queue.h.
 */
#include "dev/virtio/queue.h"
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"
#include <stdatomic.h>

#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u

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

static struct mem *queue_mem(const struct virtq *queue)
{
	return &queue->dev->vm->mem;
}

/* ---- shared words: each access is one load or store, never repeated by the compiler ---- */

static uint16_t shared_load(const uint8_t *ring, size_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(ring + offset), __ATOMIC_ACQUIRE);
}

static void shared_store(uint8_t *ring, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(ring + offset), value, __ATOMIC_RELEASE);
}

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

/* ---- life of a queue ---- */

int virtq_start(struct virtq *queue, bool event_idx, bool indirect)
{
	struct mem *mem = queue_mem(queue);
	uint16_t size = queue->size;

	if (atomic_load(&queue->out) != 0)
		return -EBUSY;
	if (size == 0 || size > queue->max_size || (size & (size - 1)))
		return -EINVAL;
	if ((queue->desc_gpa & 15) || (queue->avail_gpa & 1) || (queue->used_gpa & 3))
		return -EINVAL;
	queue->desc = mem_hva(mem, queue->desc_gpa, sizeof(struct descriptor) * size);
	queue->avail = mem_hva(mem, queue->avail_gpa, avail_size(queue));
	queue->used = mem_hva_writable(mem, queue->used_gpa, used_size(queue));
	if (!queue->desc || !queue->avail || !queue->used)
		return -EFAULT;
	queue->event_idx = event_idx;
	queue->indirect = indirect;
	queue->next_avail = queue->next_used = queue->signalled = 0;
	queue->ready = true;
	return 0;
}

void virtq_reset(struct virtq *queue)
{
	queue->ready = false;
	queue->size = queue->max_size;
	queue->desc_gpa = queue->avail_gpa = queue->used_gpa = 0;
	queue->desc = NULL;
	queue->avail = queue->used = NULL;
}

static void give_back(struct virtq *queue, unsigned count)
{
	uint32_t before = atomic_fetch_sub(&queue->out, count);

	BUG_ON(before < count);
	if (!queue->ready)
		platform_wake(&queue->out, true);
}

/* ---- taking chains ---- */

/* The one look at a descriptor: what the driver writes there afterwards is never seen. */
static void copy_descriptor(const uint8_t *table, unsigned index, struct descriptor *copy)
{
	memcpy(copy, table + sizeof(*copy) * index, sizeof(*copy));
	atomic_signal_fence(memory_order_seq_cst);
}

/* Adds a descriptor's buffer, in pieces where it spans slots of memory. NULL, or what is wrong. */
static const char *add_buffer(struct mem *mem, struct virtq_chain *chain, const struct descriptor *desc)
{
	bool write = (desc->flags & DESC_F_WRITE) != 0;
	gpa_t gpa = desc->addr, last;
	uint64_t left = desc->len, part;

	if (!write && chain->in_count > 0)
		return "a readable buffer follows a writable one";
	if (left == 0)
		return NULL;
	if (add_overflow(gpa, left - 1, &last))
		return "a buffer wraps around the address space";
	for (; left > 0; gpa += part, left -= part) {
		struct mem_slot *slot = mem_find(mem, gpa);
		unsigned at = chain->out_count + chain->in_count;

		if (!slot || (write && slot->read_only))
			return "a buffer is not in RAM";
		if (at == VIRTQ_MAX_SEGS)
			return "a chain has too many buffers";
		part = slot->size - (gpa - slot->gpa);
		if (part > left)
			part = left;
		chain->bufs[at] = (struct iobuf){.base = mem_hva(mem, gpa, part), .len = (size_t)part};
		chain->gpas[at] = gpa;
		if (write) {
			chain->in_count++;
			chain->in_len += part;
		} else {
			chain->out_count++;
			chain->out_len += part;
		}
	}
	return NULL;
}

/* Where an indirect descriptor leads. NULL in *table: it breaks the rules. */
static const uint8_t *indirect_table(const struct virtq *queue, const struct descriptor *desc)
{
	if (!queue->indirect || (desc->flags & DESC_F_NEXT) || desc->len == 0 ||
	    desc->len % sizeof(*desc) != 0 || desc->len / sizeof(*desc) > VIRTQ_MAX_SEGS)
		return NULL;
	return mem_hva(queue_mem(queue), desc->addr, desc->len);
}

/* Collects the chain that starts at chain->head. Each table can be walked for as many steps as it has
 * entries, and there is at most one change of table: so this ends. NULL, or what is wrong. */
static const char *collect(struct virtq *queue, struct virtq_chain *chain)
{
	const uint8_t *table = queue->desc;
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
			if (table != queue->desc)
				return "an indirect table is nested";
			table = indirect_table(queue, &desc);
			if (!table)
				return "an indirect table is malformed or not in RAM";
			entries = left = desc.len / (unsigned)sizeof(desc);
			at = 0;
			continue;
		}
		wrong = add_buffer(queue_mem(queue), chain, &desc);
		if (wrong)
			return wrong;
		if (!(desc.flags & DESC_F_NEXT))
			return NULL;
		at = desc.next;
	}
}

int virtq_pop(struct virtq *queue, struct virtq_chain *chain)
{
	const char *wrong = NULL;
	uint16_t waiting;

	if (!queue->ready || !virtio_device_live(queue->dev))
		return 0;
	/* Acquire: the ring entry and the descriptors are read after the index that announces them. */
	waiting = (uint16_t)(shared_load(queue->avail, RING_IDX) - queue->next_avail);
	if (waiting == 0)
		return 0;
	chain->out_count = chain->in_count = 0;
	chain->out_len = chain->in_len = 0;
	if (waiting > queue->size) {
		wrong = "the available index ran away";
	} else {
		size_t slot = queue->next_avail & (queue->size - 1u);

		chain->head = shared_load(queue->avail, RING_START + 2u * slot);
		wrong = collect(queue, chain);
	}
	if (wrong) {
		virtio_device_broken(queue->dev, wrong);
		return -EIO;
	}
	queue->next_avail++;
	atomic_fetch_add(&queue->out, 1);
	return 1;
}

void virtq_unpop(struct virtq *queue, unsigned count)
{
	if (queue->ready)
		queue->next_avail = (uint16_t)(queue->next_avail - count);
	give_back(queue, count);
}

void virtq_drop(struct virtq *queue)
{
	give_back(queue, 1);
}

/* ---- giving chains back ---- */

static void mark_in(struct virtq *queue, const struct virtq_chain *chain, uint64_t len)
{
	unsigned end = chain->out_count + chain->in_count;

	for (unsigned i = chain->out_count; i < end && len > 0; i++) {
		uint64_t part = chain->bufs[i].len < len ? chain->bufs[i].len : len;

		mem_mark_written(queue_mem(queue), chain->gpas[i], part);
		len -= part;
	}
}

void virtq_chain_mark(struct virtq *queue, const struct virtq_chain *chain)
{
	mark_in(queue, chain, chain->in_len);
}

void virtq_fill(struct virtq *queue, struct virtq_chain *chain, unsigned ahead, uint32_t written)
{
	struct used_elem elem = {.id = chain->head, .len = written};
	size_t slot, offset;

	/* Marked first: whoever sees the used index must also find the marks. */
	mark_in(queue, chain, written);
	if (!queue->ready)
		return;
	slot = (queue->next_used + ahead) & (queue->size - 1u);
	offset = RING_START + sizeof(elem) * slot;
	memcpy(queue->used + offset, &elem, sizeof(elem));
	mem_mark_written(queue_mem(queue), queue->used_gpa + offset, sizeof(elem));
}

void virtq_publish(struct virtq *queue, unsigned count)
{
	if (queue->ready) {
		queue->next_used = (uint16_t)(queue->next_used + count);
		/* Release: the entries are there before the index that announces them. */
		used_store(queue, RING_IDX, queue->next_used);
	}
	give_back(queue, count);
}

void virtq_push(struct virtq *queue, struct virtq_chain *chain, uint32_t written)
{
	virtq_fill(queue, chain, 0, written);
	virtq_publish(queue, 1);
}

/* ---- who wants to hear what ---- */

/* virtio 1.2 §2.7.10: did the index move past `event` on its way from `before` to `now`? */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

void virtq_signal(struct virtq *queue)
{
	uint16_t before = queue->signalled, now = queue->next_used;
	bool wanted;

	if (!queue->ready || before == now)
		return;
	queue->signalled = now;
	/* The driver writes used_event (or its flag) and then looks at the used index; we have written
	 * the index and now look at the event. One of us must see the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (queue->event_idx)
		wanted = passed(shared_load(queue->avail, used_event_offset(queue)), now, before);
	else
		wanted = !(shared_load(queue->avail, RING_FLAGS) & AVAIL_F_NO_INTERRUPT);
	if (wanted)
		virtio_interrupt(queue->dev, VIRTIO_INTERRUPT_QUEUE, queue);
}

void virtq_disable_notify(struct virtq *queue)
{
	/* With event index the old avail_event lies behind and stays silent by itself. */
	if (queue->ready && !queue->event_idx)
		used_store(queue, RING_FLAGS, USED_F_NO_NOTIFY);
}

bool virtq_enable_notify_beyond(struct virtq *queue, unsigned enough)
{
	uint16_t event = (uint16_t)(queue->next_avail + enough);

	if (!queue->ready || !virtio_device_live(queue->dev))
		return false;
	if (queue->event_idx)
		used_store(queue, avail_event_offset(queue), event);
	else
		used_store(queue, RING_FLAGS, 0);
	/* The driver writes the index and then looks at the event: the other half of virtq_signal(). */
	atomic_thread_fence(memory_order_seq_cst);
	return shared_load(queue->avail, RING_IDX) != event;
}

bool virtq_enable_notify(struct virtq *queue)
{
	return virtq_enable_notify_beyond(queue, 0);
}

/* ---- the bytes of a chain ---- */

/* Copies between buf and the buffers [first, first + count) at offset; returns the bytes copied. */
static size_t copy_bytes(const struct virtq_chain *chain, unsigned first, unsigned count, uint64_t offset,
			 uint8_t *buf, size_t len, bool into_chain)
{
	size_t done = 0;

	for (unsigned i = first; i < first + count && done < len; i++) {
		const struct iobuf *piece = &chain->bufs[i];
		uint8_t *guest;
		size_t part;

		if (offset >= piece->len) {
			offset -= piece->len;
			continue;
		}
		guest = (uint8_t *)piece->base + offset;
		part = piece->len - (size_t)offset;
		if (part > len - done)
			part = len - done;
		if (into_chain)
			memcpy(guest, buf + done, part);
		else
			memcpy(buf + done, guest, part);
		done += part;
		offset = 0;
	}
	if (!into_chain)
		atomic_signal_fence(memory_order_seq_cst); /* only the copy is looked at from here */
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len)
{
	return copy_bytes(chain, 0, chain->out_count, offset, buf, len, false);
}

size_t virtq_chain_write(struct virtq_chain *chain, uint64_t offset, const void *buf, size_t len)
{
	return copy_bytes(chain, chain->out_count, chain->in_count, offset, (uint8_t *)(uintptr_t)buf, len,
			  true);
}

void virtq_chain_skip_out(struct virtq_chain *chain, uint64_t n)
{
	unsigned gone = 0, total = chain->out_count + chain->in_count;

	chain->out_len -= n;
	while (gone < chain->out_count && n >= chain->bufs[gone].len)
		n -= chain->bufs[gone++].len;
	if (n > 0) {
		chain->bufs[gone].base = (uint8_t *)chain->bufs[gone].base + n;
		chain->bufs[gone].len -= (size_t)n;
		chain->gpas[gone] += n;
	}
	if (gone > 0) {
		memmove(chain->bufs, chain->bufs + gone, (total - gone) * sizeof(chain->bufs[0]));
		memmove(chain->gpas, chain->gpas + gone, (total - gone) * sizeof(chain->gpas[0]));
		chain->out_count -= gone;
	}
}

uint8_t *virtq_chain_take_last_in(struct virtq_chain *chain, gpa_t *gpa)
{
	struct iobuf *piece;
	unsigned last;

	if (chain->in_count == 0)
		return NULL;
	last = chain->out_count + chain->in_count - 1;
	piece = &chain->bufs[last];
	piece->len--;
	chain->in_len--;
	*gpa = chain->gpas[last] + piece->len;
	if (piece->len == 0)
		chain->in_count--;
	return (uint8_t *)piece->base + piece->len;
}
