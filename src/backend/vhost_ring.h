/* The driver's side of a split virtqueue (virtio 1.2 §2.7), in memory shared with a process that may be hostile.
 *
 * Example:
 *     vhost_ring_init(&ring, memory);                     // VHOST_RING_BYTES of it, zeroed
 *     if (vhost_ring_add(&ring, token, pieces, out, in))
 *             kick = vhost_ring_publish(&ring);
 *     while ((r = vhost_ring_take(&ring, &token, &written)) > 0)
 *             ...
 *
 * What the other side can write is only read: each word once, and checked. Which descriptors belong together is known from
 * memory of our own.
 */
#ifndef BACKEND_VHOST_RING_H
#define BACKEND_VHOST_RING_H

#include "base/types.h"

#define VHOST_RING_SIZE  1024u /* descriptors */
#define VHOST_RING_DESC  0u    /* where its parts are */
#define VHOST_RING_AVAIL 0x4000u
#define VHOST_RING_USED  0x5000u
#define VHOST_RING_BYTES 0x8000u

struct vhost_piece {
	uint64_t address;
	uint32_t length;
};

struct vhost_ring {
	uint8_t *shared;
	uint16_t next_avail, next_used; /* free-running */
	uint16_t free_head;             /* of the list of free descriptors */
	unsigned free_count;
	struct {
		uint16_t next;          /* in its chain, or in the free list */
		uint16_t count;         /* of a chain's first: how many it has; else 0 */
		uint32_t in_length;     /* of a chain's first: bytes that may be written */
		unsigned token;
	} state[VHOST_RING_SIZE];
};

void vhost_ring_init(struct vhost_ring *ring, void *shared);
/* out + in pieces, at least one. False: not so many descriptors are free. Nothing is seen before vhost_ring_publish(). */
bool vhost_ring_add(struct vhost_ring *ring, unsigned token, const struct vhost_piece *pieces, unsigned out, unsigned in) must_check;
/* Does the other side want to be kicked? */
bool vhost_ring_publish(struct vhost_ring *ring);
/* 1: a chain has been used, and up to *written of its bytes written; 0: none; -EIO: the other side breaks the rules. */
int vhost_ring_take(struct vhost_ring *ring, unsigned *token, uint32_t *written) must_check;

#endif
