/* The network device (virtio 1.2 §5.1): Ethernet frames between two queues and a struct net_backend.
 *
 * Example: `err = virtio_net_create(vm, backend, &vdev);`
 *
 * No offloads: a frame is at most NET_FRAME_MAX bytes, checksums are complete. Queue 0 receives, queue
 * 1 transmits; every frame has the 12-byte header in front. Received frames are copied under the lock;
 * when the guest has no room, receive() says so and the backend keeps the frame until resume().
 * Frames for sending go to the backend straight from the guest's buffers, with no lock held.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE    256
#define NET_FRAME_MAX 65550u /* 64 KiB and an Ethernet header with VLAN: beyond it is no frame */
#define MAX_BUFFERS   64     /* chains that one received frame may fill */
#define BUDGET        256    /* frames sent before other work gets its turn */

#define NET_F_MAC       (1ull << 5)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS    (1ull << 16)

#define NET_S_LINK_UP 1u

struct net_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.2 §5.1.6");

struct net_config {
	uint8_t mac[6];
	uint16_t status;
};
_Static_assert(sizeof(struct net_config) == 8, "virtio 1.2 §5.1.4");

struct net {
	struct virtio_device dev;
	struct net_backend *backend;
	struct net_config config;
	bool backend_waits;             /* receive() has returned false; under the lock */
	struct virtq_chain first, next; /* receiving; under the lock */
	uint32_t first_len;
	struct virtq_chain tx;          /* sending; the I/O thread's */
};

static struct net *net_of(struct virtio_device *dev)
{
	return container_of(dev, struct net, dev);
}

/* ---- receiving ---- */

enum rx_result { RX_DONE, RX_NO_ROOM, RX_DROP };

/* Writes the frame into chains, the first of which has room for the header in front. *taken is how many
 * were popped, whatever the result. Nothing is visible to the guest yet. Lock held. */
static enum rx_result scatter(struct net *net, struct virtq *queue, const uint8_t *frame, size_t len,
			      unsigned *taken)
{
	unsigned limit = virtio_has(&net->dev, NET_F_MRG_RXBUF) ? MAX_BUFFERS : 1;

	for (size_t done = 0; done < len; (*taken)++) {
		struct virtq_chain *chain = *taken == 0 ? &net->first : &net->next;
		size_t part, skip = *taken == 0 ? sizeof(struct net_header) : 0;

		if (*taken == limit)
			return RX_DROP;
		if (virtq_pop(queue, chain) <= 0)
			return RX_NO_ROOM;
		part = virtq_chain_write(chain, skip, frame + done, len - done);
		done += part;
		if (*taken > 0)
			virtq_fill(queue, chain, *taken, (uint32_t)part);
		else
			net->first_len = (uint32_t)(skip + part);
	}
	return RX_DONE;
}

/* Places one frame, all of it or nothing. Lock held. */
static enum rx_result place_frame(struct net *net, struct virtq *queue, const uint8_t *frame, size_t len,
				  unsigned *taken)
{
	struct net_header header = {0};
	enum rx_result result;

	*taken = 0;
	result = scatter(net, queue, frame, len, taken);
	header.num_buffers = (uint16_t)*taken;
	if (result == RX_DONE &&
	    virtq_chain_write(&net->first, 0, &header, sizeof(header)) != sizeof(header)) {
		virtio_device_broken(&net->dev, "a receive buffer has no room for the header");
		result = RX_DROP;
	}
	if (result == RX_DONE) {
		virtq_fill(queue, &net->first, 0, net->first_len);
		virtq_publish(queue, *taken);
		virtq_signal(queue);
	} else if (*taken > 0) {
		virtq_unpop(queue, *taken);
	}
	return result;
}

static enum rx_result receive_locked(struct net *net, const uint8_t *frame, size_t len)
{
	struct virtq *queue = &net->dev.queues[0];
	enum rx_result result;
	unsigned taken;

	/* With no driver there is nobody on the wire: the frame is lost, as on any wire. */
	if (!queue->ready || !virtio_device_live(&net->dev) || len == 0 || len > NET_FRAME_MAX)
		return RX_DROP;
	virtq_disable_notify(queue);
	/* Each further round has found more chains than the last; MAX_BUFFERS of them are enough. */
	for (unsigned round = 0; round <= MAX_BUFFERS; round++) {
		result = place_frame(net, queue, frame, len, &taken);
		if (result != RX_NO_ROOM || !virtq_enable_notify_beyond(queue, taken))
			return result;
	}
	return RX_DROP;
}

static bool net_receive(void *ctx, const void *frame, size_t len)
{
	struct net *net = ctx;
	enum rx_result result;

	lock_take(&net->dev.lock);
	result = receive_locked(net, frame, len);
	net->backend_waits = result == RX_NO_ROOM;
	lock_release(&net->dev.lock);
	return result != RX_NO_ROOM;
}

/* The guest has given buffers. */
static void resume_backend(struct net *net)
{
	bool waits;

	lock_take(&net->dev.lock);
	waits = net->backend_waits;
	net->backend_waits = false;
	lock_release(&net->dev.lock);
	if (waits)
		net->backend->ops->resume(net->backend);
}

/* ---- sending ---- */

/* Gives back the chain that was sent, if one was, and takes the next. */
static bool next_frame(struct net *net, struct virtq *queue, bool sent)
{
	bool got;

	lock_take(&net->dev.lock);
	if (sent)
		virtq_push(queue, &net->tx, 0);
	virtq_disable_notify(queue);
	do
		got = virtq_pop(queue, &net->tx) > 0;
	while (!got && virtq_enable_notify(queue));
	if (!got)
		virtq_signal(queue);
	lock_release(&net->dev.lock);
	return got;
}

static void send_frame(struct net *net)
{
	struct virtq_chain *chain = &net->tx;

	/* No offload was offered, so there is nothing to read in the header. */
	if (chain->out_len <= sizeof(struct net_header) ||
	    chain->out_len > NET_FRAME_MAX + sizeof(struct net_header))
		return;
	virtq_chain_skip_out(chain, sizeof(struct net_header));
	net->backend->ops->send(net->backend, chain->bufs, chain->out_count);
}

static void send_frames(struct net *net, struct virtq *queue)
{
	unsigned sent = 0;

	while (next_frame(net, queue, sent > 0)) {
		send_frame(net);
		if (++sent < BUDGET)
			continue;
		lock_take(&net->dev.lock);
		virtq_push(queue, &net->tx, 0);
		virtq_signal(queue);
		lock_release(&net->dev.lock);
		work_post(&queue->work);
		return;
	}
}

/* ---- the rest of a device ---- */

static void net_notify(struct virtio_device *dev, struct virtq *queue)
{
	if (queue->index == 0)
		resume_backend(net_of(dev));
	else
		send_frames(net_of(dev), queue);
}

static void net_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&net_of(dev)->config + offset, len);
}

static void net_destroy(struct virtio_device *dev)
{
	struct net *net = net_of(dev);

	net->backend->receive = NULL;
	net->backend->receive_ctx = NULL;
	virtio_device_fini(dev);
	platform_free(net);
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_read = net_config_read,
	.notify = net_notify,
	.destroy = net_destroy,
};

int virtio_net_create(struct vm *vm, struct net_backend *backend, struct virtio_device **out)
{
	struct net *net = platform_alloc(sizeof(*net));
	int err;

	if (!net)
		return -ENOMEM;
	err = virtio_device_init(&net->dev, vm, &net_ops, NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS,
				 sizeof(net->config), 2, (const uint16_t[]){QUEUE_SIZE, QUEUE_SIZE});
	if (err < 0) {
		platform_free(net);
		return err;
	}
	net->backend = backend;
	memcpy(net->config.mac, backend->mac, sizeof(net->config.mac));
	net->config.status = NET_S_LINK_UP;
	backend->receive = net_receive;
	backend->receive_ctx = net;
	*out = &net->dev;
	return 0;
}
