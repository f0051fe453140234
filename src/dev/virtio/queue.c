/* Virtqueues of either layout: their life, the buffers of a chain, what is given back; the contract is in queue.h. The rings
 * themselves are walked by queue_split.c and queue_packed.c.
 *
 * Example: see queue.h.
 */
#include "dev/virtio/queue.h"
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "dev/virtio/queue_ring.h"
#include <stdatomic.h>

#define DESC_BYTES 16u /* in both layouts */

/* ---- life of a queue ---- */

int virtq_start(struct virtq *queue, uint64_t features)
{
	int err;

	if (atomic_load(&queue->out) != 0)
		return -EBUSY;
	if (queue->size == 0 || queue->size > queue->max_size)
		return -EINVAL;
	queue->ring = (features & VIRTIO_F_RING_PACKED) ? &virtq_packed_ops : &virtq_split_ops;
	queue->event_idx = (features & VIRTIO_F_EVENT_IDX) != 0;
	queue->indirect = (features & VIRTIO_F_INDIRECT_DESC) != 0;
	err = queue->ring->start(queue);
	queue->ready = err == 0;
	return err;
}

void virtq_reset(struct virtq *queue)
{
	queue->ready = false;
	queue->size = queue->max_size;
	queue->desc_gpa = queue->avail_gpa = queue->used_gpa = 0;
	queue->desc = queue->avail = queue->used = NULL;
}

static void give_back(struct virtq *queue, unsigned count)
{
	uint32_t before = atomic_fetch_sub(&queue->out, count);

	BUG_ON(before < count);
	if (!queue->ready)
		platform_wake(&queue->out, true);
}

/* ---- taking chains ---- */

const char *virtq_add_buffer(struct virtq *queue, struct virtq_chain *chain, gpa_t gpa, uint32_t len, bool write)
{
	struct mem *mem = queue_mem(queue);
	uint64_t left = len, part;
	gpa_t last;

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

const uint8_t *virtq_indirect_table(const struct virtq *queue, gpa_t gpa, uint32_t len, uint16_t flags)
{
	if (!queue->indirect || (flags & DESC_F_NEXT) || len == 0 || len % DESC_BYTES != 0 ||
	    len / DESC_BYTES > VIRTQ_MAX_SEGS)
		return NULL;
	return mem_hva(queue_mem(queue), gpa, len);
}

int virtq_pop(struct virtq *queue, struct virtq_chain *chain)
{
	const char *wrong = NULL;
	int got;

	if (!queue->ready || !virtio_device_live(queue->dev))
		return 0;
	chain->out_count = chain->in_count = 0;
	chain->out_len = chain->in_len = 0;
	got = queue->ring->take(queue, chain, &wrong);
	if (got < 0)
		virtio_device_broken(queue->dev, wrong);
	if (got > 0)
		atomic_fetch_add(&queue->out, 1);
	return got;
}

void virtq_unpop(struct virtq *queue, unsigned count)
{
	if (queue->ready)
		queue->ring->untake(queue, count);
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
	/* Marked first: whoever sees that it is used must also find the marks. */
	mark_in(queue, chain, written);
	if (queue->ready)
		queue->ring->fill(queue, chain, ahead, written);
}

void virtq_publish(struct virtq *queue, unsigned count)
{
	if (queue->ready)
		queue->ring->publish(queue, count);
	give_back(queue, count);
}

void virtq_push(struct virtq *queue, struct virtq_chain *chain, uint32_t written)
{
	virtq_fill(queue, chain, 0, written);
	virtq_publish(queue, 1);
}

/* ---- who wants to hear what ---- */

void virtq_signal(struct virtq *queue)
{
	if (queue->ready && queue->ring->wants_signal(queue))
		virtio_interrupt(queue->dev, VIRTIO_INTERRUPT_QUEUE, queue);
}

void virtq_disable_notify(struct virtq *queue)
{
	if (queue->ready)
		queue->ring->disable_notify(queue);
}

bool virtq_enable_notify_beyond(struct virtq *queue, unsigned enough)
{
	return queue->ready && virtio_device_live(queue->dev) && queue->ring->enable_notify(queue, enough);
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
