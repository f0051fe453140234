/* Devices whose other half is elsewhere (core/vhost.h): a network card, a shared file system. Here are status, features,
 * configuration space and the guest's rings; a chain that the guest makes available goes to the backend, and back when it is
 * through with it.
 *
 * Example: `err = virtio_fs_create(vm, backend, "home", &vdev);`
 *
 * The backend is the I/O thread's alone. A reset, which comes on a vcpu thread, marks the queues as stale and posts their
 * work: that stops them at the backend, which gives the chains back, and for this the reset waits (virtio.c).
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vhost.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

/* Of the features, those whose meaning is the device's own (virtio 1.2 §2.2): the rest is between the driver and us. */
#define DEVICE_FEATURES (0xffffffull | ~0ull << 50)

/* virtio 1.2 §5.1.3: what concerns the header and the frames, which the backend reads and writes. */
#define NET_F_CSUM       (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MAC        (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN  (1ull << 9)
#define NET_F_GUEST_UFO  (1ull << 10)
#define NET_F_HOST_TSO4  (1ull << 11)
#define NET_F_HOST_TSO6  (1ull << 12)
#define NET_F_HOST_ECN   (1ull << 13)
#define NET_F_HOST_UFO   (1ull << 14)
#define NET_F_MRG_RXBUF  (1ull << 15)
#define NET_F_STATUS     (1ull << 16)
#define NET_F_PASSED                                                                               \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN |   \
	 NET_F_GUEST_UFO | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_HOST_UFO |   \
	 NET_F_MRG_RXBUF)

#define NET_S_LINK_UP 1u

struct net_config {
	uint8_t mac[6];
	uint16_t status;
};
_Static_assert(sizeof(struct net_config) == 8, "virtio 1.2 §5.1.4");

struct fs_config {
	char tag[VIRTIO_FS_TAG_MAX];
	uint32_t num_request_queues;
};
_Static_assert(sizeof(struct fs_config) == 40, "virtio 1.2 §5.11.4");

struct vhost_queue {
	struct virtq_chain *chains; /* by token */
	uint16_t free[VIRTQ_MAX_SIZE];
	unsigned free_count;
	bool taken[VIRTQ_MAX_SIZE]; /* by token: the backend has it */
	bool running;               /* at the backend */
	bool stale;                 /* what runs belongs to an earlier life of the queue; under the lock */
	bool full;                  /* chains may wait for room */
	unsigned filled;            /* used entries that are not published yet */
};

struct vhost_device {
	struct virtio_device dev;
	struct vhost_backend *backend;
	bool started; /* with the features of this driver */
	struct vhost_queue queues[VHOST_MAX_QUEUES];
	union {
		struct net_config net;
		struct fs_config fs;
		uint8_t bytes[sizeof(struct fs_config)];
	} config;
};

static struct vhost_device *vhost_of(struct virtio_device *dev)
{
	return container_of(dev, struct vhost_device, dev);
}

/* ---- chains ---- */

static void release_token(struct vhost_queue *vq, unsigned token)
{
	vq->taken[token] = false;
	vq->free[vq->free_count++] = (uint16_t)token;
}

/* Of several chains that one frame fills, the driver must see all or none: they are published by finished(). */
static void vhost_done(void *ctx, unsigned index, unsigned token, uint32_t written)
{
	struct vhost_device *vhost = ctx;
	struct vhost_queue *vq = &vhost->queues[index];

	BUG_ON(token >= VIRTQ_MAX_SIZE || !vq->taken[token]);
	lock_take(&vhost->dev.lock);
	virtq_fill(&vhost->dev.queues[index], &vq->chains[token], vq->filled++, written);
	lock_release(&vhost->dev.lock);
	release_token(vq, token);
}

/* What the backend has not given back is nobody's any more; it may have written into it. */
static void drop_chains(struct vhost_device *vhost, unsigned index)
{
	struct vhost_queue *vq = &vhost->queues[index];

	lock_take(&vhost->dev.lock);
	for (unsigned token = 0; token < VIRTQ_MAX_SIZE; token++) {
		if (!vq->taken[token])
			continue;
		virtq_chain_mark(&vhost->dev.queues[index], &vq->chains[token]);
		virtq_drop(&vhost->dev.queues[index]);
		release_token(vq, token);
	}
	lock_release(&vhost->dev.lock);
}

/* One chain to the backend. False: there is none, or no room for it now. */
static bool pass_chain(struct vhost_device *vhost, struct virtq *queue)
{
	struct vhost_queue *vq = &vhost->queues[queue->index];
	struct virtq_chain *chain;
	unsigned token;
	bool got = false;
	int r;

	vq->full = vq->free_count == 0;
	if (vq->full)
		return false;
	token = vq->free[vq->free_count - 1];
	chain = &vq->chains[token];
	lock_take(&vhost->dev.lock);
	/* What was stopped for the backend meanwhile is not to be gone on with. */
	if (!vq->stale) {
		virtq_disable_notify(queue);
		do
			got = virtq_pop(queue, chain) > 0;
		while (!got && virtq_enable_notify(queue));
	}
	lock_release(&vhost->dev.lock);
	if (!got)
		return false;
	r = vhost->backend->ops->submit(vhost->backend, queue->index, token,
					&(struct vhost_chain){chain->gpas, chain->bufs, chain->out_count, chain->in_count});
	if (r > 0) {
		vq->taken[token] = true;
		vq->free_count--;
		return true;
	}
	lock_take(&vhost->dev.lock);
	if (r == 0) {
		vq->full = true;
		virtq_unpop(queue, 1);
	} else {
		virtio_device_broken(&vhost->dev, "a buffer is not in memory that can be shared");
		virtq_drop(queue);
	}
	lock_release(&vhost->dev.lock);
	return false;
}

static void pass_chains(struct vhost_device *vhost, struct virtq *queue)
{
	bool any = false;

	/* At most as many as there are tokens: they come back only by callbacks. */
	while (pass_chain(vhost, queue))
		any = true;
	if (any)
		vhost->backend->ops->kick(vhost->backend, queue->index);
}

static void vhost_finished(void *ctx, unsigned index)
{
	struct vhost_device *vhost = ctx;
	struct vhost_queue *vq = &vhost->queues[index];
	struct virtq *queue = &vhost->dev.queues[index];

	lock_take(&vhost->dev.lock);
	virtq_publish(queue, vq->filled);
	vq->filled = 0;
	virtq_signal(queue);
	lock_release(&vhost->dev.lock);
	if (vq->full && vq->running)
		pass_chains(vhost, queue);
}

/* ---- queues start and stop ---- */

static void stop_queue(struct vhost_device *vhost, unsigned index)
{
	struct vhost_queue *vq = &vhost->queues[index];

	if (!vq->running)
		return;
	vq->running = false;
	vhost->backend->ops->stop_queue(vhost->backend, index);
	drop_chains(vhost, index);
}

/* Is there a driver whose queue this is? Notes that what starts now is its. */
static bool take_up(struct vhost_device *vhost, unsigned index)
{
	bool yes;

	lock_take(&vhost->dev.lock);
	yes = vhost->dev.queues[index].ready && virtio_device_live(&vhost->dev);
	vhost->queues[index].stale = false;
	lock_release(&vhost->dev.lock);
	return yes;
}

static bool is_over(struct vhost_device *vhost, unsigned index)
{
	bool yes;

	lock_take(&vhost->dev.lock);
	yes = vhost->queues[index].stale || !vhost->dev.queues[index].ready || !virtio_device_live(&vhost->dev);
	lock_release(&vhost->dev.lock);
	return yes;
}

/* Stops what an earlier driver has left. */
static void settle(struct vhost_device *vhost)
{
	bool any = false;

	for (unsigned i = 0; i < vhost->dev.queue_count; i++) {
		if (vhost->queues[i].running && is_over(vhost, i))
			stop_queue(vhost, i);
		any |= vhost->queues[i].running;
	}
	/* The next may choose other features. */
	if (!any)
		vhost->started = false;
}

static int start_queue(struct vhost_device *vhost, unsigned index)
{
	int r = 0;

	if (!vhost->started)
		r = vhost->backend->ops->start(vhost->backend, vhost->dev.driver_features & DEVICE_FEATURES);
	vhost->started = r == 0;
	if (!r)
		r = vhost->backend->ops->start_queue(vhost->backend, index);
	vhost->queues[index].running = r == 0;
	return r;
}

static void vhost_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct vhost_device *vhost = vhost_of(dev);
	struct vhost_queue *vq = &vhost->queues[queue->index];

	settle(vhost);
	if (!vq->running) {
		if (!take_up(vhost, queue->index))
			return;
		if (start_queue(vhost, queue->index)) {
			lock_take(&dev->lock);
			virtio_device_broken(dev, "nothing stands behind it any more");
			lock_release(&dev->lock);
			return;
		}
	}
	pass_chains(vhost, queue);
}

/* The backend is gone: so is the device, and for a card the cable too. */
static void vhost_failed(void *ctx)
{
	struct vhost_device *vhost = ctx;

	for (unsigned i = 0; i < vhost->dev.queue_count; i++) {
		vhost->queues[i].running = false;
		drop_chains(vhost, i);
	}
	lock_take(&vhost->dev.lock);
	if (vhost->dev.ops->id == VIRTIO_ID_NET) {
		vhost->config.net.status = 0;
		virtio_config_changed(&vhost->dev);
	}
	if (virtio_device_live(&vhost->dev))
		virtio_device_broken(&vhost->dev, "what stood behind it is gone");
	lock_release(&vhost->dev.lock);
}

/* ---- the rest of a device ---- */

static void vhost_queue_reset(struct virtio_device *dev, struct virtq *queue)
{
	vhost_of(dev)->queues[queue->index].stale = true;
	work_post(&queue->work);
}

static void vhost_reset(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		vhost_queue_reset(dev, &dev->queues[i]);
}

static void vhost_drain(struct virtio_device *dev)
{
	settle(vhost_of(dev));
}

static void vhost_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, vhost_of(dev)->config.bytes + offset, len);
}

static void free_device(struct vhost_device *vhost)
{
	for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++)
		platform_free(vhost->queues[i].chains);
	virtio_device_fini(&vhost->dev);
	platform_free(vhost);
}

static void vhost_destroy(struct virtio_device *dev)
{
	struct vhost_device *vhost = vhost_of(dev);

	for (unsigned i = 0; i < dev->queue_count; i++)
		stop_queue(vhost, i);
	vhost->backend->done = NULL;
	vhost->backend->finished = NULL;
	vhost->backend->failed = NULL;
	vhost->backend->ctx = NULL;
	free_device(vhost);
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_read = vhost_config_read,
	.notify = vhost_notify,
	.reset = vhost_reset,
	.queue_reset = vhost_queue_reset,
	.drain = vhost_drain,
	.destroy = vhost_destroy,
};

static const struct virtio_device_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.config_read = vhost_config_read,
	.notify = vhost_notify,
	.reset = vhost_reset,
	.queue_reset = vhost_queue_reset,
	.drain = vhost_drain,
	.destroy = vhost_destroy,
};

static bool queue_init(struct vhost_queue *vq)
{
	vq->chains = platform_alloc(VIRTQ_MAX_SIZE * sizeof(*vq->chains));
	for (unsigned token = VIRTQ_MAX_SIZE; token > 0; token--)
		vq->free[vq->free_count++] = (uint16_t)(token - 1);
	return vq->chains != NULL;
}

static struct vhost_device *create(struct vm *vm, const struct virtio_device_ops *ops, struct vhost_backend *backend,
				   uint64_t features, unsigned config_size, unsigned queues)
{
	static const uint16_t sizes[VHOST_MAX_QUEUES] = {[0 ... VHOST_MAX_QUEUES - 1] = VIRTQ_MAX_SIZE};
	struct vhost_device *vhost = platform_alloc(sizeof(*vhost));
	bool ok = true;

	if (!vhost)
		return NULL;
	for (unsigned i = 0; i < queues; i++)
		ok &= queue_init(&vhost->queues[i]);
	if (!ok || virtio_device_init(&vhost->dev, vm, ops, features, config_size, queues, sizes) < 0) {
		free_device(vhost);
		return NULL;
	}
	vhost->backend = backend;
	backend->done = vhost_done;
	backend->finished = vhost_finished;
	backend->failed = vhost_failed;
	backend->ctx = vhost;
	return vhost;
}

int virtio_vhost_net_create(struct vm *vm, struct vhost_backend *backend, const uint8_t mac[6], struct virtio_device **out)
{
	struct vhost_device *vhost = create(vm, &net_ops, backend, (backend->features & NET_F_PASSED) | NET_F_MAC | NET_F_STATUS,
					    sizeof(struct net_config), 2);

	if (!vhost)
		return -ENOMEM;
	memcpy(vhost->config.net.mac, mac, sizeof(vhost->config.net.mac));
	vhost->config.net.status = NET_S_LINK_UP;
	*out = &vhost->dev;
	return 0;
}

int virtio_fs_create(struct vm *vm, struct vhost_backend *backend, const char *tag, struct virtio_device **out)
{
	struct vhost_device *vhost = create(vm, &fs_ops, backend, 0, sizeof(struct fs_config), VIRTIO_FS_QUEUES);

	if (!vhost)
		return -ENOMEM;
	/* Padded with NUL, and without one if it is as long as can be. */
	for (unsigned i = 0; i < VIRTIO_FS_TAG_MAX && tag[i]; i++)
		vhost->config.fs.tag[i] = tag[i];
	vhost->config.fs.num_request_queues = VIRTIO_FS_QUEUES - 1;
	*out = &vhost->dev;
	return 0;
}
