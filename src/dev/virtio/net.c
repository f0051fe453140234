/* The network device (virtio 1.2 §5.1): Ethernet frames between queues and a struct net_backend.
 *
 * Example:
 *     err = virtio_net_create(vm, backend, &vdev);
 *     err = virtio_net_create_with(vm, backend, &(struct virtio_net_options){.pairs = 4}, &vdev);
 *
 * Queue 2n receives, queue 2n + 1 transmits, and one more is for control; every frame has the 12-byte header in front.
 * Received frames are copied under the lock; when the guest has no room, or has had as much as its rate allows, receive() says
 * so and the backend keeps the frame until resume(). Frames for sending go to the backend straight from the guest's buffers,
 * with no lock held.
 *
 * Checksums and segmentation are offered as far as the backend can do them, and with what the header then says it is the
 * backend that does. There is no other way: where it can't, nothing is offered, and frames are complete.
 *
 * With several pairs of queues a received frame goes to the one that sends for the same connection: as the backend says, where it
 * has queues of its own, else by net_flow.c.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/stats.h"
#include "core/vm.h"
#include "dev/virtio/net_device.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE    256
#define CONTROL_SIZE  64
#define NET_FRAME_MAX 65550u /* 64 KiB and an Ethernet header with VLAN: beyond it is no frame */
#define MAX_BUFFERS   64     /* chains that one received frame may fill */
#define BUDGET        256    /* frames sent before other work gets its turn */

#define NET_F_CSUM                (1ull << 0)
#define NET_F_GUEST_CSUM          (1ull << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define NET_F_MAC                 (1ull << 5)
#define NET_F_GUEST_TSO4          (1ull << 7)
#define NET_F_GUEST_TSO6          (1ull << 8)
#define NET_F_GUEST_ECN           (1ull << 9)
#define NET_F_HOST_TSO4           (1ull << 11)
#define NET_F_HOST_TSO6           (1ull << 12)
#define NET_F_HOST_ECN            (1ull << 13)
#define NET_F_MRG_RXBUF           (1ull << 15)
#define NET_F_STATUS              (1ull << 16)
#define NET_F_CTRL_VQ             (1ull << 17)
#define NET_F_CTRL_RX             (1ull << 18)
#define NET_F_CTRL_RX_EXTRA       (1ull << 20)
#define NET_F_GUEST_ANNOUNCE      (1ull << 21)
#define NET_F_MQ                  (1ull << 22)
#define NET_F_CTRL_MAC_ADDR       (1ull << 23)

#define NET_S_LINK_UP  1u
#define NET_S_ANNOUNCE 2u

#define NET_HDR_F_NEEDS_CSUM 1u
#define NET_HDR_F_DATA_VALID 2u
#define NET_HDR_GSO_TCPV4    1u
#define NET_HDR_GSO_TCPV6    4u
#define NET_HDR_GSO_ECN      0x80u

struct net_header {
	struct net_offload offload;
	uint16_t num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.2 §5.1.6");

struct net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
};
_Static_assert(sizeof(struct net_config) == 10, "virtio 1.2 §5.1.4");

struct net {
	struct virtio_device dev;
	struct net_backend *backend;
	struct net_config config;
	unsigned max_pairs;
	unsigned pairs;                 /* in use; under the lock */
	unsigned guest_offloads;        /* enum net_offload_kind that the driver takes now; under the lock */
	struct net_filter filter;       /* under the lock */
	struct net_flows flows;         /* under the lock */
	bool backend_told;              /* of guest_offloads; under the lock */
	bool backend_waits;             /* receive() has returned false; under the lock */
	struct virtq_chain first, next; /* receiving; under the lock */
	uint32_t first_len;
	struct virtq_chain tx;          /* sending and control; the I/O thread's, and so are */
	unsigned send_kinds;            /* what may be asked for tx, */
	unsigned send_pairs;            /* how many pairs there are while it is sent, */
	bool send_link;                 /* and whether it goes anywhere */
	struct limiter receive_limit, send_limit;
	unsigned turn;                  /* the pair that sends first after a pause */
	struct {
		uint64_t received, received_bytes, received_lost, sent, sent_bytes, sent_lost;
	} done; /* figures; the I/O thread's */
};

static struct net *net_of(struct virtio_device *dev)
{
	return container_of(dev, struct net, dev);
}

/* virtio 1.2 §5.1.2: where the driver knows of no pairs, there is one. */
static unsigned control_index(const struct net *net)
{
	return virtio_has(&net->dev, NET_F_MQ) ? 2 * net->max_pairs : 2;
}

/* ---- offloads ---- */

/* What the driver's features say it takes: each kind that a bit stands for. */
static unsigned kinds_of(uint64_t features)
{
	return ((features & NET_F_GUEST_CSUM) ? NET_OFFLOAD_CSUM : 0) |
	       ((features & NET_F_GUEST_TSO4) ? NET_OFFLOAD_TSO4 : 0) |
	       ((features & NET_F_GUEST_TSO6) ? NET_OFFLOAD_TSO6 : 0) |
	       ((features & NET_F_GUEST_ECN) ? NET_OFFLOAD_ECN : 0);
}

static uint64_t offered_for(unsigned kinds)
{
	uint64_t features = 0;

	if (!(kinds & NET_OFFLOAD_CSUM))
		return 0;
	features |= NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_CTRL_GUEST_OFFLOADS;
	if (kinds & NET_OFFLOAD_TSO4)
		features |= NET_F_HOST_TSO4 | NET_F_GUEST_TSO4;
	if (kinds & NET_OFFLOAD_TSO6)
		features |= NET_F_HOST_TSO6 | NET_F_GUEST_TSO6;
	if (kinds & NET_OFFLOAD_ECN)
		features |= NET_F_HOST_ECN | NET_F_GUEST_ECN;
	return features;
}

static unsigned kinds_to_send(const struct net *net)
{
	return (virtio_has(&net->dev, NET_F_CSUM) ? NET_OFFLOAD_CSUM : 0) |
	       (virtio_has(&net->dev, NET_F_HOST_TSO4) ? NET_OFFLOAD_TSO4 : 0) |
	       (virtio_has(&net->dev, NET_F_HOST_TSO6) ? NET_OFFLOAD_TSO6 : 0) |
	       (virtio_has(&net->dev, NET_F_HOST_ECN) ? NET_OFFLOAD_ECN : 0);
}

/* Does a frame of len bytes ask for nothing but these kinds, and for what makes sense? */
static bool offload_valid(const struct net_offload *offload, unsigned kinds, size_t len)
{
	unsigned gso = offload->gso_type & ~NET_HDR_GSO_ECN;

	if (offload->flags & NET_HDR_F_NEEDS_CSUM) {
		if (!(kinds & NET_OFFLOAD_CSUM) || (uint32_t)offload->csum_start + offload->csum_offset + 2 > len)
			return false;
	} else if (offload->gso_type) {
		return false; /* §5.1.6.2: segments need their checksums */
	}
	if ((offload->gso_type & NET_HDR_GSO_ECN) && !(kinds & NET_OFFLOAD_ECN))
		return false;
	if (gso && (offload->gso_size == 0 || offload->hdr_len > len))
		return false;
	return offload->gso_type == 0 || (gso == NET_HDR_GSO_TCPV4 && (kinds & NET_OFFLOAD_TSO4)) ||
	       (gso == NET_HDR_GSO_TCPV6 && (kinds & NET_OFFLOAD_TSO6));
}

/* Any thread; the backend is told on the I/O thread. What comes in until then is checked against what holds now. Lock held. */
static void set_guest_offloads(struct net *net, unsigned kinds)
{
	net->guest_offloads = kinds;
	net->backend_told = false;
	work_post(&net->dev.queues[0].work);
}

static void tell_backend(struct net *net)
{
	unsigned kinds;
	bool told;

	lock_take(&net->dev.lock);
	kinds = net->guest_offloads;
	told = net->backend_told;
	net->backend_told = true;
	lock_release(&net->dev.lock);
	if (!told && net->backend->ops->set_offloads)
		net->backend->ops->set_offloads(net->backend, kinds);
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
static enum rx_result place_frame(struct net *net, struct virtq *queue, const struct net_offload *offload,
				  const uint8_t *frame, size_t len, unsigned *taken)
{
	struct net_header header = {.offload = *offload};
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

static struct virtq *receive_queue(struct net *net, unsigned pair, const uint8_t *frame, size_t len)
{
	struct virtq *queue;

	if (net->pairs > 1 && net->backend->pairs <= 1)
		pair = net_flow_pair(&net->flows, net_flow_hash(frame, len), net->pairs);
	queue = &net->dev.queues[2 * (pair % net->pairs)];
	return queue->ready ? queue : &net->dev.queues[0];
}

static enum rx_result receive_locked(struct net *net, unsigned pair, const struct net_offload *offload, const uint8_t *frame,
				     size_t len)
{
	struct virtq *queue;
	enum rx_result result;
	unsigned taken;

	/* With no driver, or no link, there is nobody on the wire: the frame is lost, as on any wire. */
	if (!virtio_device_live(&net->dev) || len == 0 || len > NET_FRAME_MAX || !(net->config.status & NET_S_LINK_UP))
		return RX_DROP;
	queue = receive_queue(net, pair, frame, len);
	if (!queue->ready || !offload_valid(offload, net->guest_offloads, len) ||
	    !net_filter_accepts(&net->filter, net->config.mac, frame, len))
		return RX_DROP;
	if (!limiter_open(&net->receive_limit))
		return RX_NO_ROOM;
	virtq_disable_notify(queue);
	/* Each further round has found more chains than the last; MAX_BUFFERS of them are enough. */
	for (unsigned round = 0; round <= MAX_BUFFERS; round++) {
		result = place_frame(net, queue, offload, frame, len, &taken);
		if (result != RX_NO_ROOM || !virtq_enable_notify_beyond(queue, taken))
			return result;
	}
	return RX_DROP;
}

static bool receive_offload(void *ctx, unsigned pair, const struct net_offload *offload, const void *frame, size_t len)
{
	struct net *net = ctx;
	struct net_offload allowed = *offload;
	enum rx_result result;

	lock_take(&net->dev.lock);
	if (!(net->guest_offloads & NET_OFFLOAD_CSUM))
		allowed.flags &= (uint8_t)~NET_HDR_F_DATA_VALID;
	result = receive_locked(net, pair, &allowed, frame, len);
	if (result == RX_NO_ROOM) {
		net->backend_waits = true;
	} else if (result == RX_DONE) {
		limiter_charge(&net->receive_limit, len);
		net->done.received++;
		net->done.received_bytes += len;
	} else {
		net->done.received_lost++;
	}
	lock_release(&net->dev.lock);
	return result != RX_NO_ROOM;
}

static bool net_receive(void *ctx, const void *frame, size_t len)
{
	static const struct net_offload nothing;

	return receive_offload(ctx, 0, &nothing, frame, len);
}

/* The guest has given buffers, or its rate allows more. */
static void resume_backend(void *ctx)
{
	struct net *net = ctx;
	bool waits;

	lock_take(&net->dev.lock);
	waits = net->backend_waits;
	net->backend_waits = false;
	lock_release(&net->dev.lock);
	if (waits)
		net->backend->ops->resume(net->backend);
}

/* ---- sending ---- */

/* Gives back the chain that was sent, if one was, and takes the next, if the rate allows it; else send_again() follows. */
static bool next_frame(struct net *net, struct virtq *queue, bool sent)
{
	bool got = false;

	lock_take(&net->dev.lock);
	if (sent)
		virtq_push(queue, &net->tx, 0);
	virtq_disable_notify(queue);
	net->send_kinds = kinds_to_send(net);
	net->send_pairs = net->pairs;
	net->send_link = (net->config.status & NET_S_LINK_UP) != 0;
	if (limiter_open(&net->send_limit)) {
		do
			got = virtq_pop(queue, &net->tx) > 0;
		while (!got && virtq_enable_notify(queue));
	}
	if (!got)
		virtq_signal(queue);
	lock_release(&net->dev.lock);
	return got;
}

/* The pair goes around: it may be the only one for which there is enough. */
static void send_again(void *ctx)
{
	struct net *net = ctx;

	for (unsigned i = 0; i < net->max_pairs; i++)
		work_post(&net->dev.queues[2 * ((net->turn + i) % net->max_pairs) + 1].work);
	net->turn = (net->turn + 1) % net->max_pairs;
}

/* What comes back for this flow goes to the same pair. */
static void remember_flow(struct net *net, unsigned pair)
{
	uint8_t start[NET_FLOW_BYTES];
	size_t len = virtq_chain_read(&net->tx, 0, start, sizeof(start));
	uint32_t hash = net_flow_hash(start, len);

	lock_take(&net->dev.lock);
	net_flow_sent(&net->flows, hash, pair);
	lock_release(&net->dev.lock);
}

/* False: it was no frame, or there is no link. */
static bool send_frame(struct net *net, unsigned pair)
{
	struct virtq_chain *chain = &net->tx;
	struct net_header header;

	if (!net->send_link || chain->out_len <= sizeof(header) || chain->out_len > NET_FRAME_MAX + sizeof(header))
		return false;
	virtq_chain_read(chain, 0, &header, sizeof(header));
	virtq_chain_skip_out(chain, sizeof(header));
	limiter_charge(&net->send_limit, chain->out_len);
	if (net->send_pairs > 1 && net->backend->pairs <= 1)
		remember_flow(net, pair);
	/* Where nothing was offered, there is nothing to read in the header. */
	header.offload.flags &= NET_HDR_F_NEEDS_CSUM;
	if (!net->send_kinds)
		header.offload = (struct net_offload){0};
	else if (!offload_valid(&header.offload, net->send_kinds, chain->out_len))
		return false;
	if (net->backend->ops->send_offload)
		net->backend->ops->send_offload(net->backend, pair, &header.offload, chain->bufs, chain->out_count);
	else
		net->backend->ops->send(net->backend, chain->bufs, chain->out_count);
	net->done.sent_bytes += chain->out_len;
	return true;
}

static void send_frames(struct net *net, struct virtq *queue)
{
	unsigned sent = 0;

	while (next_frame(net, queue, sent > 0)) {
		if (send_frame(net, queue->index / 2))
			net->done.sent++;
		else
			net->done.sent_lost++;
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

/* ---- the control queue (virtio 1.2 §5.1.6.5) ---- */

enum control_class { CTRL_RX = 0, CTRL_MAC = 1, CTRL_ANNOUNCE = 3, CTRL_MQ = 4, CTRL_GUEST_OFFLOADS = 5 };
enum control_mac { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };

struct control_header {
	uint8_t class, command;
};

/* One list of MAC_TABLE_SET, at *offset, which moves behind it. What is beyond the table is let through. */
static bool read_addresses(const struct virtq_chain *chain, uint64_t *offset, struct net_addresses *addresses)
{
	uint32_t count;
	size_t bytes;

	if (virtq_chain_read(chain, *offset, &count, sizeof(count)) != sizeof(count))
		return false;
	*offset += sizeof(count);
	if (count > (chain->out_len - *offset) / 6)
		return false;
	addresses->overflow = count > NET_FILTER_MAX;
	addresses->count = addresses->overflow ? NET_FILTER_MAX : count;
	bytes = addresses->count * sizeof(addresses->macs[0]);
	*offset += (uint64_t)count * 6;
	return virtq_chain_read(chain, *offset - (uint64_t)count * 6, addresses->macs, bytes) == bytes;
}

static bool set_table(struct net *net, const struct virtq_chain *chain)
{
	uint64_t offset = sizeof(struct control_header);
	struct net_addresses unicast, multicast;

	if (!read_addresses(chain, &offset, &unicast) || !read_addresses(chain, &offset, &multicast))
		return false;
	net->filter.unicast = unicast;
	net->filter.multicast = multicast;
	return true;
}

static bool take_value(const struct virtq_chain *chain, void *value, size_t len)
{
	return virtq_chain_read(chain, sizeof(struct control_header), value, len) == len;
}

static bool set_pairs(struct net *net, const struct virtq_chain *chain)
{
	uint16_t pairs;

	if (!take_value(chain, &pairs, sizeof(pairs)) || pairs == 0 || pairs > net->max_pairs)
		return false;
	net->pairs = pairs;
	return true;
}

static bool set_offloads(struct net *net, const struct virtq_chain *chain)
{
	const uint64_t all = NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN;
	uint64_t features;

	if (!take_value(chain, &features, sizeof(features)) || (features & ~(net->dev.driver_features & all)))
		return false;
	set_guest_offloads(net, kinds_of(features));
	return true;
}

static bool set_mac(struct net *net, const struct virtq_chain *chain)
{
	uint8_t mac[6];

	if (!take_value(chain, mac, sizeof(mac)))
		return false;
	memcpy(net->config.mac, mac, sizeof(mac));
	return true;
}

/* Carries out one command; false: it is not understood, or not offered. Lock held. */
static bool carry_out(struct net *net, const struct virtq_chain *chain)
{
	struct control_header header;
	uint8_t on;

	if (virtq_chain_read(chain, 0, &header, sizeof(header)) != sizeof(header))
		return false;
	switch (header.class) {
	case CTRL_RX:
		return virtio_has(&net->dev, NET_F_CTRL_RX) && take_value(chain, &on, sizeof(on)) &&
		       net_filter_switch(&net->filter, header.command, on != 0);
	case CTRL_MAC:
		if (header.command == MAC_TABLE_SET)
			return virtio_has(&net->dev, NET_F_CTRL_RX) && set_table(net, chain);
		return header.command == MAC_ADDR_SET && virtio_has(&net->dev, NET_F_CTRL_MAC_ADDR) && set_mac(net, chain);
	case CTRL_ANNOUNCE:
		net->config.status &= (uint16_t)~NET_S_ANNOUNCE;
		return header.command == 0 && virtio_has(&net->dev, NET_F_GUEST_ANNOUNCE);
	case CTRL_MQ:
		return header.command == 0 && virtio_has(&net->dev, NET_F_MQ) && set_pairs(net, chain);
	case CTRL_GUEST_OFFLOADS:
		return header.command == 0 && virtio_has(&net->dev, NET_F_CTRL_GUEST_OFFLOADS) && set_offloads(net, chain);
	default:
		return false;
	}
}

static void control(struct net *net, struct virtq *queue)
{
	unsigned budget = CONTROL_SIZE;

	lock_take(&net->dev.lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, &net->tx) > 0) {
			uint8_t ack = carry_out(net, &net->tx) ? 0 : 1;

			virtq_push(queue, &net->tx, (uint32_t)virtq_chain_write(&net->tx, 0, &ack, sizeof(ack)));
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	virtq_signal(queue);
	lock_release(&net->dev.lock);
	if (budget == 0)
		work_post(&queue->work);
}

/* ---- the rest of a device ---- */

static void net_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct net *net = net_of(dev);
	unsigned control_at;

	lock_take(&dev->lock);
	control_at = control_index(net);
	lock_release(&dev->lock);
	if (queue->index == 0)
		tell_backend(net);
	if (queue->index == control_at)
		control(net, queue);
	else if (queue->index % 2 == 0)
		resume_backend(net);
	else
		send_frames(net, queue);
}

static void net_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&net_of(dev)->config + offset, len);
}

static void net_activate(struct virtio_device *dev)
{
	set_guest_offloads(net_of(dev), kinds_of(dev->driver_features));
}

static void net_reset(struct virtio_device *dev)
{
	struct net *net = net_of(dev);

	net->pairs = 1;
	net_filter_init(&net->filter);
	memset(&net->flows, 0, sizeof(net->flows));
	memcpy(net->config.mac, net->backend->mac, sizeof(net->config.mac));
	net->config.status &= (uint16_t)~NET_S_ANNOUNCE;
	net->guest_offloads = 0; /* the backend hears from the next driver */
}

static void net_stats(struct virtio_device *dev, struct stats_sink *sink)
{
	struct net *net = net_of(dev);

	lock_take(&dev->lock);
	stats_add(sink, NULL, "network frames received", net->done.received);
	stats_add(sink, NULL, "network bytes received", net->done.received_bytes);
	stats_add(sink, NULL, "network frames not received", net->done.received_lost);
	stats_add(sink, NULL, "network frames sent", net->done.sent);
	stats_add(sink, NULL, "network bytes sent", net->done.sent_bytes);
	stats_add(sink, NULL, "network frames not sent", net->done.sent_lost);
	limiter_stats(&net->receive_limit, sink, "network receive pauses by rate limit", "network receive time in pauses (ms)");
	limiter_stats(&net->send_limit, sink, "network send pauses by rate limit", "network send time in pauses (ms)");
	lock_release(&dev->lock);
}

static void net_destroy(struct virtio_device *dev)
{
	struct net *net = net_of(dev);

	limiter_stop(&net->receive_limit);
	limiter_stop(&net->send_limit);
	net->backend->receive = NULL;
	net->backend->receive_offload = NULL;
	net->backend->receive_ctx = NULL;
	virtio_device_fini(dev);
	platform_free(net);
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_read = net_config_read,
	.activate = net_activate,
	.notify = net_notify,
	.reset = net_reset,
	.stats = net_stats,
	.set_link = virtio_net_set_link,
	.destroy = net_destroy,
};

void virtio_net_set_link(struct virtio_device *dev, bool up)
{
	struct net *net = net_of(dev);

	lock_take(&dev->lock);
	if (((net->config.status & NET_S_LINK_UP) != 0) != up) {
		net->config.status ^= NET_S_LINK_UP;
		virtio_config_changed(dev);
	}
	lock_release(&dev->lock);
}

void virtio_net_announce(struct virtio_device *dev)
{
	struct net *net = net_of(dev);

	lock_take(&dev->lock);
	if (virtio_has(dev, NET_F_GUEST_ANNOUNCE)) {
		net->config.status |= NET_S_ANNOUNCE;
		virtio_config_changed(dev);
	}
	lock_release(&dev->lock);
}

static int init_device(struct net *net, struct vm *vm)
{
	const uint64_t features = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX |
				  NET_F_CTRL_RX_EXTRA | NET_F_GUEST_ANNOUNCE | NET_F_CTRL_MAC_ADDR |
				  (net->max_pairs > 1 ? NET_F_MQ : 0);
	const unsigned count = 2 * net->max_pairs + 1;
	uint16_t sizes[2 * VIRTIO_NET_MAX_PAIRS + 1];

	for (unsigned i = 0; i < count - 1; i++)
		sizes[i] = QUEUE_SIZE;
	sizes[count - 1] = CONTROL_SIZE;
	return virtio_device_init(&net->dev, vm, &net_ops, features | offered_for(net->backend->offloads), sizeof(net->config),
				  count, sizes);
}

int virtio_net_create_with(struct vm *vm, struct net_backend *backend, const struct virtio_net_options *options,
			   struct virtio_device **out)
{
	struct net *net;
	int err;

	if (options->pairs > VIRTIO_NET_MAX_PAIRS)
		return -EINVAL;
	net = platform_alloc(sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->backend = backend;
	net->max_pairs = options->pairs ? options->pairs : 1;
	net->pairs = 1;
	err = init_device(net, vm);
	if (err < 0) {
		platform_free(net);
		return err;
	}
	memcpy(net->config.mac, backend->mac, sizeof(net->config.mac));
	net->config.status = NET_S_LINK_UP;
	net->config.max_virtqueue_pairs = (uint16_t)net->max_pairs;
	net_filter_init(&net->filter);
	limiter_init(&net->receive_limit, vm, &options->receive, resume_backend, net);
	limiter_init(&net->send_limit, vm, &options->send, send_again, net);
	backend->receive = net_receive;
	backend->receive_offload = receive_offload;
	backend->receive_ctx = net;
	*out = &net->dev;
	return 0;
}

int virtio_net_create(struct vm *vm, struct net_backend *backend, struct virtio_device **out)
{
	return virtio_net_create_with(vm, backend, &(struct virtio_net_options){.pairs = 1}, out);
}
