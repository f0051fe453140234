/* vhost-user: the device's other half is a process behind a Unix socket (virtiofsd, DPDK, ...), with which guest memory is
 * shared. The protocol is described by QEMU, docs/interop/vhost-user.rst.
 *
 * Example:
 *     r = vhost_user_connect("/run/fs.socket", 2, loop, &backend, why, sizeof(why));
 *     r = vhost_user_share(backend, &memory, why, sizeof(why));   // once guest memory is there: GUEST_MEMORY_FILE
 *     r = virtio_fs_create(vm, backend, "tag", 1, &dev);
 *
 * The other process gets all of the guest's RAM, and with that the guest; of ours it gets a page of rings for each queue, which
 * are read with suspicion (vhost_ring.h). A reply that doesn't come within seconds is taken for its end.
 */
#ifndef BACKEND_VHOST_USER_H
#define BACKEND_VHOST_USER_H

#include "core/vhost.h"

struct guest_memory;
struct loop;

/* queues: 1..VHOST_MAX_QUEUES. 0, or -errno with one sentence in why. */
int vhost_user_connect(const char *path, unsigned queues, struct loop *loop, struct vhost_backend **out, char *why,
		       size_t why_size) must_check;
/* The same over a connected socket, which is closed on failure too. name is copied, for messages. */
int vhost_user_open(int fd, const char *name, unsigned queues, struct loop *loop, struct vhost_backend **out, char *why,
		    size_t why_size) must_check;
/* memory: its ranges with a descriptor are shared; they stay for as long as the backend. */
int vhost_user_share(struct vhost_backend *backend, const struct guest_memory *memory, char *why, size_t why_size) must_check;

#endif
