/* The memory balloon (virtio 1.2 §5.5): memory that a guest lends back to the host while it runs.
 *
 * The guest puts pages into the balloon until it has the wanted size, and their host memory is given back (mem_discard()). It takes
 * pages out again when the size goes down, and by itself when it would otherwise have to kill programs (deflate on OOM). Apart from
 * that it reports memory that is free (free page reporting), which is given back too until the guest uses it.
 *
 * Example:
 *     err = virtio_balloon_create(vm, MIB(64), &vdev);
 *     virtio_balloon_resize(vdev, MIB(128));
 *     virtio_balloon_look(vdev, &state);
 */
#ifndef DEV_VIRTIO_BALLOON_H
#define DEV_VIRTIO_BALLOON_H

#include "base/types.h"

struct vm;
struct virtio_device;

/* virtio 1.2 §5.5.6.3: the tags of what a guest says of its memory; counts of bytes or of events. */
enum virtio_balloon_stat {
	BALLOON_S_SWAP_IN,
	BALLOON_S_SWAP_OUT,
	BALLOON_S_MAJFLT,
	BALLOON_S_MINFLT,
	BALLOON_S_MEMFREE,
	BALLOON_S_MEMTOT,
	BALLOON_S_AVAIL,
	BALLOON_S_CACHES,
	BALLOON_S_HTLB_PGALLOC,
	BALLOON_S_HTLB_PGFAIL,
	BALLOON_STATS
};

struct virtio_balloon_state {
	uint64_t target;   /* bytes that are wanted in the balloon */
	uint64_t size;     /* bytes that the guest says are in it */
	uint64_t reported; /* bytes of free memory that were given back, in all */
	bool known[BALLOON_STATS];
	uint64_t stats[BALLOON_STATS];
};

/* As virtio.h's virtio_*_create(). target: bytes, the first wish. */
int virtio_balloon_create(struct vm *vm, uint64_t target, struct virtio_device **out) must_check;
/* So many bytes, rounded down to pages, are to be in the balloon. Any thread. */
void virtio_balloon_resize(struct virtio_device *dev, uint64_t target);
/* What is known now. Asks the guest for newer figures, which come a little later. Any thread. */
void virtio_balloon_look(struct virtio_device *dev, struct virtio_balloon_state *state);
/* What a figure is called: "guest memory free". */
const char *virtio_balloon_stat_name(enum virtio_balloon_stat stat);

#endif
