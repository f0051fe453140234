/* The socket device (virtio 1.2 §5.10): stream connections between the guest and the host, as packets on two queues towards the guest
 * and as byte streams of a struct vsock_backend towards the host.
 *
 * Example: `err = virtio_vsock_create(vm, 3, backend, &vdev);`
 *
 * Everything but the ring is the I/O thread's alone: connections are touched there and nowhere else. A reset, which comes on a vcpu
 * thread, leaves a note (reset_pending), and whatever runs next on the I/O thread first closes what belonged to the last driver.
 *
 * What a guest can make us keep is bounded: MAX_CONNECTIONS, each with BUFFER bytes that the host hasn't taken yet (that is the credit
 * which the guest has, §5.10.6.3; who sends more loses the connection), and MAX_RESETS answers to packets of no connection. When
 * there is no room for another of these, nothing more is taken from the guest until it gives receive buffers.
 *
 * To the guest, connections take turns, a packet each. A packet's data is read from the stream right into the guest's buffer.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE      256
#define MAX_CONNECTIONS 512u
#define BUFFER          (128u << 10) /* bytes of one connection that wait for the host; a power of two */
#define MAX_RESETS      256u
#define BUDGET          64u /* packets before other work gets its turn */
#define MAX_SEGS        16u /* buffers of a packet that are used */
#define BUCKETS         256u
#define CONNECT_NS      10000000000u /* how long one side waits for the other to accept */
#define SWEEP_NS        1000000000u
#define FIRST_PORT      (1u << 30) /* ours, when the host connects */

#define VSOCK_F_STREAM (1ull << 0)
#define CID_HOST       2u
#define TYPE_STREAM    1u

enum { RX, TX, EVENT };

enum vsock_op {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST,
};

/* The flags of OP_SHUTDOWN: what the sender won't do any more. */
#define NO_RECEIVE 1u
#define NO_SEND    2u
#define NO_BOTH    3u

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "virtio 1.2 §5.10.6");

enum connection_state {
	CALLING_HOST,  /* the guest has asked, the backend connects */
	CALLING_GUEST, /* we have asked, the guest has not answered */
	OPEN,
	LINGERING, /* the guest has closed and forgotten it; what it sent is still on its way to the host */
	REFUSED,   /* only its RST is owed */
};

struct connection {
	struct vsock *vsock;
	struct connection *same_bucket;
	struct connection *before, *after; /* among those that have something for the guest; */
	bool queued;                       /* it is one of them */
	enum connection_state state;
	uint32_t host_port, guest_port;
	struct vsock_stream *stream; /* NULL: closed */
	uint64_t deadline_ns;        /* of CALLING_* */

	/* Towards the guest. */
	uint8_t owed;      /* packets, 1 << op */
	bool readable;     /* the stream may have data */
	bool asked_credit; /* since it last told */
	bool host_ended;   /* the stream's end was read */
	uint32_t sent, peer_alloc, peer_forwarded;

	/* Towards the host. */
	uint8_t guest_stopped; /* flags of its OP_SHUTDOWNs */
	bool finished;         /* the stream was told */
	uint32_t received, forwarded, forwarded_told;
	uint8_t *buffer;       /* a ring of BUFFER bytes, or NULL */
	uint32_t buffer_len;   /* bytes that wait there; the last one has number `received` */
};

struct ports {
	uint32_t host, guest;
};

struct vsock {
	struct virtio_device dev;
	struct vsock_backend *backend;
	uint64_t cid;
	struct timer sweep;
	bool reset_pending; /* under the lock */

	/* The I/O thread's. */
	struct connection *buckets[BUCKETS];
	struct connection *first, *last; /* have something for the guest */
	struct connection *lingering;    /* in no bucket; linked by same_bucket */
	unsigned connection_count;
	uint32_t next_port;
	struct ports resets[MAX_RESETS];
	unsigned reset_first, reset_count;
	bool tx_waits; /* no room for another reset */
	struct virtq_chain rx_chain, tx_chain;
};

static struct vsock *vsock_of(struct virtio_device *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* ---- the table ---- */

static unsigned bucket_of(uint32_t host_port, uint32_t guest_port)
{
	return (host_port * 0x9e3779b1u ^ guest_port * 0x85ebca6bu) >> 24;
}
_Static_assert(BUCKETS == 1u << 8, "what bucket_of() leaves");

static struct connection *find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	struct connection *connection = vsock->buckets[bucket_of(host_port, guest_port)];

	while (connection && (connection->host_port != host_port || connection->guest_port != guest_port))
		connection = connection->same_bucket;
	return connection;
}

static void unlink_from(struct connection **link, struct connection *connection)
{
	while (*link && *link != connection)
		link = &(*link)->same_bucket;
	if (*link)
		*link = connection->same_bucket;
}

static void enqueue(struct connection *connection)
{
	struct vsock *vsock = connection->vsock;

	if (connection->queued)
		return;
	connection->queued = true;
	connection->before = vsock->last;
	connection->after = NULL;
	if (vsock->last)
		vsock->last->after = connection;
	else
		vsock->first = connection;
	vsock->last = connection;
}

static void dequeue(struct connection *connection)
{
	struct vsock *vsock = connection->vsock;

	if (!connection->queued)
		return;
	connection->queued = false;
	if (connection->before)
		connection->before->after = connection->after;
	else
		vsock->first = connection->after;
	if (connection->after)
		connection->after->before = connection->before;
	else
		vsock->last = connection->before;
}

static void owe(struct connection *connection, enum vsock_op op)
{
	connection->owed |= (uint8_t)(1u << op);
	enqueue(connection);
}

static void close_stream(struct connection *connection)
{
	if (connection->stream)
		connection->vsock->backend->ops->close(connection->stream);
	connection->stream = NULL;
}

static void forget(struct connection *connection)
{
	struct vsock *vsock = connection->vsock;

	close_stream(connection);
	dequeue(connection);
	unlink_from(connection->state == LINGERING ? &vsock->lingering
						   : &vsock->buckets[bucket_of(connection->host_port, connection->guest_port)],
		    connection);
	vsock->connection_count--;
	platform_free(connection->buffer);
	platform_free(connection);
}

/* The guest is told that it is over, and then it is forgotten. */
static void refuse(struct connection *connection)
{
	close_stream(connection);
	connection->state = REFUSED;
	connection->owed = 0;
	owe(connection, OP_RST);
}

static struct connection *make(struct vsock *vsock, uint32_t host_port, uint32_t guest_port, enum connection_state state)
{
	struct connection *connection, **bucket = &vsock->buckets[bucket_of(host_port, guest_port)];

	if (vsock->connection_count >= MAX_CONNECTIONS && vsock->lingering)
		forget(vsock->lingering);
	if (vsock->connection_count >= MAX_CONNECTIONS)
		return NULL;
	connection = platform_alloc(sizeof(*connection));
	if (!connection)
		return NULL;
	connection->vsock = vsock;
	connection->state = state;
	connection->host_port = host_port;
	connection->guest_port = guest_port;
	connection->deadline_ns = platform_clock_ns() + CONNECT_NS;
	connection->same_bucket = *bucket;
	*bucket = connection;
	if (vsock->connection_count++ == 0)
		timer_arm(&vsock->sweep, platform_clock_ns() + SWEEP_NS);
	return connection;
}

static void forget_all(struct vsock *vsock)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		while (vsock->buckets[i])
			forget(vsock->buckets[i]);
	while (vsock->lingering)
		forget(vsock->lingering);
	vsock->reset_count = 0;
	vsock->tx_waits = false;
}

/* First thing of whatever comes in on the I/O thread. */
static void take_reset(struct vsock *vsock)
{
	bool pending;

	lock_take(&vsock->dev.lock);
	pending = vsock->reset_pending;
	vsock->reset_pending = false;
	lock_release(&vsock->dev.lock);
	if (pending)
		forget_all(vsock);
}

/* ---- to the host ---- */

static void update_watch(struct connection *connection)
{
	bool open = connection->state == OPEN;

	if (!connection->stream || connection->state == CALLING_HOST)
		return;
	connection->vsock->backend->ops->watch(connection->stream,
					       open && !connection->readable && !connection->host_ended &&
						       !(connection->guest_stopped & NO_RECEIVE),
					       connection->buffer_len > 0);
}

static void went(struct connection *connection, uint32_t bytes)
{
	connection->forwarded += bytes;
	/* Half of its room is news enough. */
	if (connection->state == OPEN && connection->forwarded - connection->forwarded_told >= BUFFER / 2)
		owe(connection, OP_CREDIT_UPDATE);
}

/* Everything that was received has been passed on: what has to follow? May forget the connection. */
static void all_passed_on(struct connection *connection)
{
	platform_free(connection->buffer);
	connection->buffer = NULL;
	if (connection->state == LINGERING) {
		forget(connection);
	} else if (connection->guest_stopped == NO_BOTH) {
		/* The guest has closed its socket, and waits for us to agree. */
		refuse(connection);
	} else {
		if ((connection->guest_stopped & NO_SEND) && !connection->finished) {
			connection->finished = true;
			connection->vsock->backend->ops->finish(connection->stream);
		}
		update_watch(connection);
	}
}

/* The stream is broken: nobody wants what waits there. May forget the connection. */
static void break_off(struct connection *connection)
{
	if (connection->state == LINGERING)
		forget(connection);
	else
		refuse(connection);
}

/* May forget the connection. */
static void flush(struct connection *connection)
{
	while (connection->buffer_len > 0) {
		uint32_t begin = (connection->received - connection->buffer_len) & (BUFFER - 1);
		uint32_t part = BUFFER - begin < connection->buffer_len ? BUFFER - begin : connection->buffer_len;
		int64_t n = connection->vsock->backend->ops->write(
			connection->stream, &(struct iobuf){connection->buffer + begin, part}, 1);

		if (n == -EAGAIN || n == 0) {
			update_watch(connection);
			return;
		}
		if (n < 0) {
			break_off(connection);
			return;
		}
		connection->buffer_len -= (uint32_t)n;
		went(connection, (uint32_t)n);
	}
	all_passed_on(connection);
}

/* Puts what the stream has not taken into the ring. False: no memory. */
static bool keep(struct connection *connection, const struct iobuf *bufs, unsigned count, uint64_t skip)
{
	uint32_t at = connection->received; /* bytes received before this packet: where it begins */

	if (!connection->buffer)
		connection->buffer = platform_alloc(BUFFER);
	if (!connection->buffer)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *from = bufs[i].base;

		for (size_t done = 0; done < bufs[i].len;) {
			uint32_t begin = at & (BUFFER - 1);
			size_t part = BUFFER - begin;

			if (part > bufs[i].len - done)
				part = bufs[i].len - done;
			if (skip >= part) {
				skip -= part;
			} else {
				memcpy(connection->buffer + begin + skip, from + done + skip, part - (size_t)skip);
				connection->buffer_len += (uint32_t)(part - skip);
				skip = 0;
			}
			done += part;
			at += (uint32_t)part;
		}
	}
	return true;
}

/* Cuts the chain's buffers [first, first + count) down to the len bytes behind `skip`; *len becomes what there is. */
static unsigned cut_buffers(const struct virtq_chain *chain, unsigned first, unsigned count, uint64_t skip, uint64_t *len,
			    struct iobuf *out)
{
	uint64_t left = *len;
	unsigned n = 0;

	for (unsigned i = first; i < first + count && left > 0 && n < MAX_SEGS; i++) {
		const struct iobuf *piece = &chain->bufs[i];
		size_t part;

		if (skip >= piece->len) {
			skip -= piece->len;
			continue;
		}
		part = piece->len - (size_t)skip;
		if (part > left)
			part = (size_t)left;
		out[n++] = (struct iobuf){(uint8_t *)piece->base + skip, part};
		left -= part;
		skip = 0;
	}
	*len -= left;
	return n;
}

/* Data from the guest. May forget the connection. */
static void take_data(struct connection *connection, const struct virtq_chain *chain, uint32_t wanted)
{
	struct iobuf bufs[MAX_SEGS];
	uint64_t len = wanted;
	unsigned count = cut_buffers(chain, 0, chain->out_count, 0, &len, bufs);
	int64_t n = 0;

	if (len != wanted || (connection->guest_stopped & NO_SEND) ||
	    len > BUFFER - (connection->received - connection->forwarded)) {
		refuse(connection);
		return;
	}
	if (len == 0)
		return;
	if (connection->buffer_len == 0)
		n = connection->vsock->backend->ops->write(connection->stream, bufs, count);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0 || ((uint64_t)n < len && !keep(connection, bufs, count, (uint64_t)n))) {
		refuse(connection);
		return;
	}
	connection->received += (uint32_t)len;
	went(connection, (uint32_t)n);
	update_watch(connection);
}

/* ---- packets from the guest ---- */

static void owe_reset(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	unsigned at = (vsock->reset_first + vsock->reset_count) % MAX_RESETS;

	if (vsock->reset_count == MAX_RESETS)
		return; /* take_packets() sees to it that there is room */
	vsock->resets[at] = (struct ports){host_port, guest_port};
	vsock->reset_count++;
}

static void take_credit(struct connection *connection, const struct vsock_header *header)
{
	connection->peer_alloc = header->buf_alloc;
	connection->peer_forwarded = header->fwd_cnt;
	connection->asked_credit = false;
	if (connection->readable)
		enqueue(connection);
}

static void take_request(struct vsock *vsock, const struct vsock_header *header)
{
	struct connection *connection = make(vsock, header->dst_port, header->src_port, CALLING_HOST);

	if (!connection) {
		owe_reset(vsock, header->dst_port, header->src_port);
		return;
	}
	take_credit(connection, header);
	connection->stream = vsock->backend->ops->connect(vsock->backend, header->dst_port, connection);
	if (!connection->stream)
		refuse(connection);
}

static void take_response(struct connection *connection)
{
	if (connection->state != CALLING_GUEST) {
		refuse(connection);
		return;
	}
	connection->state = OPEN;
	connection->vsock->backend->ops->accepted(connection->stream, connection->host_port);
	/* Its bytes may be here already. */
	connection->readable = true;
	enqueue(connection);
	update_watch(connection);
}

static void take_rst(struct connection *connection)
{
	struct vsock *vsock = connection->vsock;

	if (connection->state != OPEN || connection->guest_stopped != NO_BOTH || connection->buffer_len == 0) {
		forget(connection);
		return;
	}
	/* It had closed properly and has waited long enough for us: its data still gets there. */
	dequeue(connection);
	unlink_from(&vsock->buckets[bucket_of(connection->host_port, connection->guest_port)], connection);
	connection->state = LINGERING;
	connection->same_bucket = vsock->lingering;
	vsock->lingering = connection;
	update_watch(connection);
}

static void take_shutdown(struct connection *connection, uint32_t flags)
{
	connection->guest_stopped |= (uint8_t)(flags & NO_BOTH);
	if (connection->guest_stopped & NO_RECEIVE)
		connection->readable = false;
	if (connection->buffer_len == 0)
		all_passed_on(connection);
	else
		update_watch(connection);
}

/* A packet of a connection that is there. */
static void take_known(struct connection *connection, const struct vsock_header *header, const struct virtq_chain *chain)
{
	if (connection->state == REFUSED) {
		if (header->op == OP_RST)
			forget(connection);
		return;
	}
	if (header->op == OP_RST) {
		take_rst(connection);
		return;
	}
	take_credit(connection, header);
	if (header->op == OP_RESPONSE) {
		take_response(connection);
		return;
	}
	if (connection->state != OPEN) {
		/* The guest may have changed its mind; anything else comes too early. */
		refuse(connection);
		return;
	}
	switch (header->op) {
	case OP_SHUTDOWN:
		take_shutdown(connection, header->flags);
		break;
	case OP_RW:
		take_data(connection, chain, header->len);
		break;
	case OP_CREDIT_UPDATE:
		break;
	case OP_CREDIT_REQUEST:
		owe(connection, OP_CREDIT_UPDATE);
		break;
	default:
		refuse(connection);
		break;
	}
}

static void take_packet(struct vsock *vsock, struct virtq_chain *chain)
{
	struct vsock_header header;
	struct connection *connection;

	if (virtq_chain_read(chain, 0, &header, sizeof(header)) != sizeof(header))
		return;
	virtq_chain_skip_out(chain, sizeof(header));
	/* Linux sends to other addresses when a program asks for them; nobody is there. From another address than its own: not at
	 * all (§5.10.6.4.1). */
	if (header.src_cid != vsock->cid)
		return;
	if (header.dst_cid != CID_HOST || header.type != TYPE_STREAM) {
		if (header.op != OP_RST && header.dst_cid == CID_HOST)
			owe_reset(vsock, header.dst_port, header.src_port);
		return;
	}
	connection = find(vsock, header.dst_port, header.src_port);
	if (connection && header.op == OP_REQUEST)
		refuse(connection);
	else if (connection)
		take_known(connection, &header, chain);
	else if (header.op == OP_REQUEST)
		take_request(vsock, &header);
	else if (header.op != OP_RST)
		owe_reset(vsock, header.dst_port, header.src_port);
}

static bool next_packet(struct vsock *vsock, struct virtq *queue, bool done)
{
	bool got;

	lock_take(&vsock->dev.lock);
	if (done)
		virtq_push(queue, &vsock->tx_chain, 0);
	virtq_disable_notify(queue);
	do
		got = virtq_pop(queue, &vsock->tx_chain) > 0;
	while (!got && virtq_enable_notify(queue));
	if (!got)
		virtq_signal(queue);
	lock_release(&vsock->dev.lock);
	return got;
}

static void take_packets(struct vsock *vsock)
{
	struct virtq *queue = &vsock->dev.queues[TX];
	unsigned taken = 0;

	vsock->tx_waits = vsock->reset_count == MAX_RESETS;
	while (!vsock->tx_waits && next_packet(vsock, queue, taken > 0)) {
		take_packet(vsock, &vsock->tx_chain);
		vsock->tx_waits = vsock->reset_count == MAX_RESETS;
		if (++taken < BUDGET && !vsock->tx_waits)
			continue;
		lock_take(&vsock->dev.lock);
		virtq_push(queue, &vsock->tx_chain, 0);
		virtq_signal(queue);
		lock_release(&vsock->dev.lock);
		if (!vsock->tx_waits)
			work_post(&queue->work);
		return;
	}
}

/* ---- packets to the guest ---- */

static uint32_t credit(const struct connection *connection)
{
	uint32_t out = connection->sent - connection->peer_forwarded;

	return out < connection->peer_alloc ? connection->peer_alloc - out : 0;
}

/* Reads from the stream into the chain, behind where the header goes. What became of it: an op, or 0 for nothing. */
static unsigned read_data(struct connection *connection, struct virtq_chain *chain, uint32_t *read)
{
	const struct vsock_backend_ops *ops = connection->vsock->backend->ops;
	struct iobuf bufs[MAX_SEGS];
	uint64_t room = credit(connection);
	unsigned count;
	int64_t n;

	if (room == 0) {
		if (connection->asked_credit)
			return 0;
		connection->asked_credit = true;
		return OP_CREDIT_REQUEST;
	}
	count = cut_buffers(chain, chain->out_count, chain->in_count, sizeof(struct vsock_header), &room, bufs);
	if (count == 0)
		return 0;
	n = ops->read(connection->stream, bufs, count);
	if (n < 0 && n != -EAGAIN) {
		refuse(connection);
		connection->owed = 0;
		return OP_RST;
	}
	if (n == 0) {
		connection->host_ended = true;
		connection->readable = false;
		update_watch(connection);
		return OP_SHUTDOWN;
	}
	if (n < (int64_t)room) {
		/* That was all for now. */
		connection->readable = false;
		update_watch(connection);
	}
	if (n < 0)
		return 0;
	*read = (uint32_t)n;
	connection->sent += (uint32_t)n;
	return OP_RW;
}

/* What the connection has for the guest, the most urgent first; 0: nothing. */
static unsigned choose_packet(struct connection *connection, struct virtq_chain *chain, uint32_t *read)
{
	static const uint8_t first[] = {OP_RST, OP_REQUEST, OP_RESPONSE};
	unsigned op;

	for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
		if (connection->owed & 1u << first[i]) {
			connection->owed &= (uint8_t)~(1u << first[i]);
			return first[i];
		}
	}
	if (connection->readable && connection->state == OPEN) {
		op = read_data(connection, chain, read);
		if (op)
			return op;
	}
	if (connection->owed & 1u << OP_CREDIT_UPDATE) {
		connection->owed &= (uint8_t)~(1u << OP_CREDIT_UPDATE);
		return OP_CREDIT_UPDATE;
	}
	return 0;
}

static void fill_header(struct vsock *vsock, struct virtq_chain *chain, struct vsock_header header)
{
	header.src_cid = CID_HOST;
	header.dst_cid = vsock->cid;
	header.type = TYPE_STREAM;
	virtq_chain_write(chain, 0, &header, sizeof(header));
}

/* One packet into the chain. How long it is; 0: nobody has anything. */
static uint32_t fill_packet(struct vsock *vsock, struct virtq_chain *chain)
{
	while (vsock->first) {
		struct connection *connection = vsock->first;
		uint32_t len = 0;
		unsigned op = choose_packet(connection, chain, &len);

		dequeue(connection);
		if (op == 0)
			continue;
		fill_header(vsock, chain,
			    (struct vsock_header){.src_port = connection->host_port,
						  .dst_port = connection->guest_port,
						  .len = len,
						  .op = (uint16_t)op,
						  .flags = op == OP_SHUTDOWN ? NO_SEND : 0,
						  .buf_alloc = BUFFER,
						  .fwd_cnt = connection->forwarded});
		connection->forwarded_told = connection->forwarded;
		if (op == OP_RST)
			forget(connection);
		else if (connection->owed || connection->readable)
			enqueue(connection);
		return (uint32_t)sizeof(struct vsock_header) + len;
	}
	return 0;
}

static uint32_t fill_reset(struct vsock *vsock, struct virtq_chain *chain)
{
	const struct ports *ports = &vsock->resets[vsock->reset_first];

	fill_header(vsock, chain, (struct vsock_header){.src_port = ports->host, .dst_port = ports->guest, .op = OP_RST});
	vsock->reset_first = (vsock->reset_first + 1) % MAX_RESETS;
	vsock->reset_count--;
	return sizeof(struct vsock_header);
}

static bool next_buffer(struct vsock *vsock, struct virtq *queue)
{
	bool got = false;

	lock_take(&vsock->dev.lock);
	virtq_disable_notify(queue);
	do
		got = virtq_pop(queue, &vsock->rx_chain) > 0;
	while (!got && virtq_enable_notify(queue));
	if (got && vsock->rx_chain.in_len < sizeof(struct vsock_header)) {
		virtq_drop(queue);
		virtio_device_broken(&vsock->dev, "a receive buffer has no room for the header");
		got = false;
	}
	lock_release(&vsock->dev.lock);
	return got;
}

/* Sends what there is, as long as the guest gives buffers. */
static void send_packets(struct vsock *vsock)
{
	struct virtq *queue = &vsock->dev.queues[RX];
	unsigned sent = 0;

	while ((vsock->reset_count > 0 || vsock->first) && sent < BUDGET && next_buffer(vsock, queue)) {
		uint32_t len = vsock->reset_count > 0 ? fill_reset(vsock, &vsock->rx_chain) : fill_packet(vsock, &vsock->rx_chain);

		lock_take(&vsock->dev.lock);
		if (len > 0)
			virtq_push(queue, &vsock->rx_chain, len);
		else
			virtq_unpop(queue, 1);
		lock_release(&vsock->dev.lock);
		sent++;
	}
	if (sent > 0) {
		lock_take(&vsock->dev.lock);
		virtq_signal(queue);
		lock_release(&vsock->dev.lock);
	}
	if (sent == BUDGET)
		work_post(&queue->work);
	if (vsock->tx_waits && vsock->reset_count < MAX_RESETS)
		work_post(&vsock->dev.queues[TX].work);
}

/* ---- from the backend ---- */

static bool ports_taken(struct vsock *vsock, uint32_t host_port)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct connection *c = vsock->buckets[i]; c; c = c->same_bucket)
			if (c->host_port == host_port)
				return true;
	return false;
}

static uint32_t choose_port(struct vsock *vsock)
{
	do {
		vsock->next_port = vsock->next_port >= UINT32_MAX - 1 ? FIRST_PORT : vsock->next_port + 1;
	} while (ports_taken(vsock, vsock->next_port));
	return vsock->next_port;
}

static void *on_incoming(void *ctx, struct vsock_stream *stream, uint32_t port)
{
	struct vsock *vsock = ctx;
	struct connection *connection;
	bool live;

	take_reset(vsock);
	lock_take(&vsock->dev.lock);
	live = virtio_device_live(&vsock->dev);
	lock_release(&vsock->dev.lock);
	if (!live)
		return NULL;
	connection = make(vsock, choose_port(vsock), port, CALLING_GUEST);
	if (!connection)
		return NULL;
	connection->stream = stream;
	owe(connection, OP_REQUEST);
	/* Not from here: the connection could be over before it is the stream's owner. */
	work_post(&vsock->dev.queues[RX].work);
	return connection;
}

static void on_connected(void *owner, int status)
{
	struct connection *connection = owner;
	struct vsock *vsock = connection->vsock;
	const uint32_t host_port = connection->host_port, guest_port = connection->guest_port;

	take_reset(vsock);
	connection = find(vsock, host_port, guest_port);
	if (!connection || connection->state != CALLING_HOST)
		return; /* it went with the reset */
	if (status < 0) {
		refuse(connection);
	} else {
		connection->state = OPEN;
		owe(connection, OP_RESPONSE);
		update_watch(connection);
	}
	send_packets(vsock);
}

static void on_ready(void *owner, bool in, bool out)
{
	struct connection *connection = owner;
	struct vsock *vsock = connection->vsock;
	const uint32_t host_port = connection->host_port, guest_port = connection->guest_port;

	if (connection->state == LINGERING) {
		flush(connection);
		return;
	}
	take_reset(vsock);
	connection = find(vsock, host_port, guest_port);
	if (!connection || connection->state != OPEN)
		return;
	if (in && !connection->host_ended && !(connection->guest_stopped & NO_RECEIVE)) {
		connection->readable = true;
		enqueue(connection);
	}
	if (out && connection->buffer_len > 0)
		flush(connection);
	send_packets(vsock);
	connection = find(vsock, host_port, guest_port);
	if (connection)
		update_watch(connection);
}

/* Who was not answered in time gives up. */
static void on_sweep(void *ctx)
{
	struct vsock *vsock = ctx;
	uint64_t now = platform_clock_ns();

	take_reset(vsock);
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct connection *c = vsock->buckets[i]; c; c = c->same_bucket)
			if ((c->state == CALLING_HOST || c->state == CALLING_GUEST) && now >= c->deadline_ns)
				refuse(c);
	send_packets(vsock);
	if (vsock->connection_count > 0)
		timer_arm(&vsock->sweep, now + SWEEP_NS);
}

/* ---- the rest of a device ---- */

static void vsock_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct vsock *vsock = vsock_of(dev);

	take_reset(vsock);
	if (queue->index == TX)
		take_packets(vsock);
	if (queue->index != EVENT)
		send_packets(vsock);
}

static void vsock_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&vsock_of(dev)->cid + offset, len);
}

static void vsock_reset(struct virtio_device *dev)
{
	vsock_of(dev)->reset_pending = true;
	work_post(&dev->queues[EVENT].work);
}

static void vsock_destroy(struct virtio_device *dev)
{
	struct vsock *vsock = vsock_of(dev);

	forget_all(vsock);
	timer_cancel(&vsock->sweep);
	vsock->backend->incoming = NULL;
	virtio_device_fini(dev);
	platform_free(vsock);
}

static const struct virtio_device_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.config_read = vsock_config_read,
	.notify = vsock_notify,
	.reset = vsock_reset,
	.destroy = vsock_destroy,
};

int virtio_vsock_create(struct vm *vm, uint32_t cid, struct vsock_backend *backend, struct virtio_device **out)
{
	struct vsock *vsock = platform_alloc(sizeof(*vsock));
	int err;

	if (!vsock)
		return -ENOMEM;
	err = virtio_device_init(&vsock->dev, vm, &vsock_ops, VSOCK_F_STREAM, sizeof(vsock->cid), 3,
				 (const uint16_t[]){QUEUE_SIZE, QUEUE_SIZE, 16});
	if (err < 0) {
		platform_free(vsock);
		return err;
	}
	vsock->backend = backend;
	vsock->cid = cid;
	vsock->next_port = FIRST_PORT;
	timer_init(&vsock->sweep, vm, on_sweep, vsock);
	backend->ctx = vsock;
	backend->incoming = on_incoming;
	backend->connected = on_connected;
	backend->ready = on_ready;
	*out = &vsock->dev;
	return 0;
}
