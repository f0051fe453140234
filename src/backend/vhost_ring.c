/* The driver's side of a virtqueue; see vhost_ring.h.
 *
 * Example: see vhost_ring.h.
 */
#include "backend/vhost_ring.h"
#include "base/types.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define DESC_F_NEXT  1u
#define DESC_F_WRITE 2u

#define USED_F_NO_NOTIFY 1u

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
_Static_assert(VHOST_RING_DESC + sizeof(struct descriptor) * VHOST_RING_SIZE <= VHOST_RING_AVAIL, "parts");
_Static_assert(VHOST_RING_AVAIL + RING_START + 2 * VHOST_RING_SIZE + 2 <= VHOST_RING_USED, "parts");
_Static_assert(VHOST_RING_USED + RING_START + 8 * VHOST_RING_SIZE + 2 <= VHOST_RING_BYTES, "parts");

static uint16_t load16(const struct vhost_ring *ring, size_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(ring->shared + offset), __ATOMIC_ACQUIRE);
}

static void store16(struct vhost_ring *ring, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(ring->shared + offset), value, __ATOMIC_RELEASE);
}

static uint32_t load32(const struct vhost_ring *ring, size_t offset)
{
	return __atomic_load_n((const uint32_t *)(const void *)(ring->shared + offset), __ATOMIC_ACQUIRE);
}

void vhost_ring_init(struct vhost_ring *ring, void *shared)
{
	memset(shared, 0, VHOST_RING_BYTES);
	*ring = (struct vhost_ring){.shared = shared, .free_count = VHOST_RING_SIZE};
	for (unsigned i = 0; i < VHOST_RING_SIZE; i++)
		ring->state[i].next = (uint16_t)((i + 1) % VHOST_RING_SIZE);
}

bool vhost_ring_add(struct vhost_ring *ring, unsigned token, const struct vhost_piece *pieces, unsigned out, unsigned in)
{
	const uint16_t head = ring->free_head;
	const unsigned count = out + in;
	uint32_t in_length = 0;
	uint16_t at = head;

	if (count == 0 || count > ring->free_count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const struct descriptor desc = {
			.addr = pieces[i].address,
			.len = pieces[i].length,
			.flags = (uint16_t)((i + 1 < count ? DESC_F_NEXT : 0) | (i >= out ? DESC_F_WRITE : 0)),
			.next = ring->state[at].next,
		};

		memcpy(ring->shared + VHOST_RING_DESC + sizeof(desc) * at, &desc, sizeof(desc));
		if (i >= out)
			in_length = pieces[i].length > UINT32_MAX - in_length ? UINT32_MAX : in_length + pieces[i].length;
		at = ring->state[at].next;
	}
	ring->free_head = at;
	ring->free_count -= count;
	ring->state[head].count = (uint16_t)count;
	ring->state[head].in_length = in_length;
	ring->state[head].token = token;
	store16(ring, VHOST_RING_AVAIL + RING_START + 2u * (ring->next_avail % VHOST_RING_SIZE), head);
	ring->next_avail++;
	return true;
}

bool vhost_ring_publish(struct vhost_ring *ring)
{
	store16(ring, VHOST_RING_AVAIL + RING_IDX, ring->next_avail);
	/* The index is written before the flag is read; the other side does it the other way round (virtio 1.2 §2.7.13.3.1). */
	atomic_thread_fence(memory_order_seq_cst);
	return !(load16(ring, VHOST_RING_USED + RING_FLAGS) & USED_F_NO_NOTIFY);
}

/* Puts a chain's descriptors in front of the free ones. */
static void free_chain(struct vhost_ring *ring, uint16_t head)
{
	unsigned count = ring->state[head].count;
	uint16_t last = head;

	for (unsigned i = 1; i < count; i++)
		last = ring->state[last].next;
	ring->state[last].next = ring->free_head;
	ring->free_head = head;
	ring->free_count += count;
	ring->state[head].count = 0;
}

int vhost_ring_take(struct vhost_ring *ring, unsigned *token, uint32_t *written)
{
	uint16_t waiting = (uint16_t)(load16(ring, VHOST_RING_USED + RING_IDX) - ring->next_used);
	size_t entry = VHOST_RING_USED + RING_START + 8u * (ring->next_used % VHOST_RING_SIZE);
	uint32_t id, length;

	if (waiting == 0)
		return 0;
	if (waiting > VHOST_RING_SIZE)
		return -EIO;
	id = load32(ring, entry);
	length = load32(ring, entry + 4);
	if (id >= VHOST_RING_SIZE || ring->state[id].count == 0 || length > ring->state[id].in_length)
		return -EIO;
	ring->next_used++;
	*token = ring->state[id].token;
	*written = length;
	free_chain(ring, (uint16_t)id);
	return 1;
}
