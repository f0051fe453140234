/* Memory that a running guest is given and gives back (virtio 1.2 §5.15, virtio-mem), in blocks of 2 MiB of one region.
 *
 * The region is RAM of the board from the start, and takes no memory of the host until a block of it is plugged and used. The driver
 * plugs and unplugs blocks until as many bytes are plugged as the host asks for. What is unplugged goes back to the host.
 *
 * Example:
 *     err = virtio_memory_create(vm, GIB(4), GIB(2), &vdev);   // at 4 GiB, up to 2 GiB
 *     err = virtio_memory_resize(vdev, MIB(512));
 */
#ifndef DEV_VIRTIO_MEMORY_H
#define DEV_VIRTIO_MEMORY_H

#include "base/types.h"

#define VIRTIO_MEMORY_BLOCK MIB(2)

struct vm;
struct virtio_device;

struct virtio_memory_state {
	uint64_t requested, plugged, size; /* bytes; size: of the region */
};

/* As virtio.h's virtio_*_create(). gpa and size are multiples of a block, size is not 0, and all of it is RAM. -EINVAL. */
int virtio_memory_create(struct vm *vm, gpa_t gpa, uint64_t size, struct virtio_device **out) must_check;
/* So many bytes are to be plugged. -EINVAL: not whole blocks, or more than the region has. Any thread. */
int virtio_memory_resize(struct virtio_device *dev, uint64_t requested) must_check;
void virtio_memory_look(struct virtio_device *dev, struct virtio_memory_state *state);

#endif
