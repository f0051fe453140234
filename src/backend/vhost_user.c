/* The front end of vhost-user; see vhost_user.h.
 *
 * The guest's rings are not given away. Each queue has a ring of our own (vhost_ring.h), in memory that is shared beside the
 * guest's RAM: the other process reads and writes the guest's buffers itself, while what it has used comes by us to the guest.
 * So it is known which pages were written, and marked, before the guest can know of it: an engine that keeps translations of
 * guest code, and a log of dirty pages, count on that (mem.h). And it works with every engine, since kicks and interrupts need
 * no hardware's help.
 *
 * Requests are written, and replies waited for, on the I/O thread: there are few, when a driver starts or stops.
 */
#include "backend/vhost_user.h"
#include "backend/vhost_ring.h"
#include "base/log.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include "host/linux/memory.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define REPLY_MS 5000

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
};

#define FLAG_VERSION    1u
#define FLAG_MASK       3u
#define FLAG_REPLY      4u
#define FLAG_NEED_REPLY 8u

#define F_PROTOCOL_FEATURES (1ull << 30)
#define F_VERSION_1         (1ull << 32)

#define PROTOCOL_MQ        (1ull << 0)
#define PROTOCOL_REPLY_ACK (1ull << 3)

#define MAX_REGIONS 8 /* without CONFIGURE_MEM_SLOTS */

struct region {
	uint64_t guest_address, size, user_address, offset; /* the last: in the file */
};

struct header {
	uint32_t request, flags, size;
};

struct message {
	struct header header;
	union {
		uint64_t number;
		struct {
			uint32_t index, number;
		} vring;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} address;
		struct {
			uint32_t count, padding;
			struct region regions[MAX_REGIONS];
		} memory;
	};
};
_Static_assert(offsetof(struct message, number) == 16, "the payload is aligned, and sent apart from the header");

struct queue {
	struct vhost_user *vhost;
	unsigned index;
	bool running;
	int kick;
	struct watch call;
	struct vhost_ring ring;
};

struct vhost_user {
	struct vhost_backend backend;
	struct loop *loop;
	struct watch watch; /* the connection */
	char *name;
	bool dead;
	uint64_t offered, protocol;
	struct region regions[MAX_REGIONS];
	unsigned region_count;
	int ring_file;
	uint8_t *rings; /* VHOST_RING_BYTES for each queue */
	unsigned queue_count;
	struct queue queues[];
};

static struct vhost_user *vhost_of(struct vhost_backend *backend)
{
	return container_of(backend, struct vhost_user, backend);
}

/* ---- the end ---- */

static void die(struct vhost_user *vhost, const char *why)
{
	if (vhost->dead)
		return;
	vhost->dead = true;
	loop_unwatch(vhost->loop, &vhost->watch);
	for (unsigned i = 0; i < vhost->queue_count; i++)
		loop_unwatch(vhost->loop, &vhost->queues[i].call);
	if (!vhost->backend.failed)
		return; /* while connecting; the caller says it */
	log_error("vhost-user", "%s: %s; its device is dead until the VM is started anew", vhost->name, why);
	vhost->backend.failed(vhost->backend.ctx);
}

/* ---- messages ---- */

static int wait_for(struct vhost_user *vhost, short events)
{
	struct pollfd poll_fd = {.fd = vhost->watch.fd, .events = events};
	int r;

	do
		r = poll(&poll_fd, 1, REPLY_MS);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r < 0 ? -errno : -ETIMEDOUT;
}

/* Header and payload, with descriptors. It is small: it fits a socket's buffer as a whole, once there is room. */
static int send_message(struct vhost_user *vhost, struct message *message, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * MAX_REGIONS)];
	} control = {0};
	struct iovec parts[2] = {{.iov_base = &message->header, .iov_len = sizeof(message->header)},
				 {.iov_base = &message->number, .iov_len = message->header.size}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = message->header.size ? 2 : 1};
	ssize_t n;

	if (fd_count) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
	}
	for (;;) {
		n = sendmsg(vhost->watch.fd, &header, MSG_NOSIGNAL);
		if (n == (ssize_t)(sizeof(message->header) + message->header.size))
			return 0;
		if (n >= 0)
			return -EIO;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int r = wait_for(vhost, POLLOUT);
		if (r)
			return r;
	}
}

static int read_exactly(struct vhost_user *vhost, void *buf, size_t size)
{
	uint8_t *at = buf;

	while (size > 0) {
		ssize_t n = read(vhost->watch.fd, at, size);

		if (n > 0) {
			at += n;
			size -= (size_t)n;
			continue;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int r = wait_for(vhost, POLLIN);
		if (r)
			return r;
	}
	return 0;
}

/* The answer to `request`, of exactly `size` bytes. */
static int read_reply(struct vhost_user *vhost, enum request request, struct message *reply, uint32_t size)
{
	int r = read_exactly(vhost, &reply->header, sizeof(reply->header));

	if (r)
		return r;
	if (reply->header.request != request || (reply->header.flags & FLAG_MASK) != FLAG_VERSION ||
	    !(reply->header.flags & FLAG_REPLY) || reply->header.size != size)
		return -EPROTO;
	return read_exactly(vhost, &reply->number, size);
}

static int send_request(struct vhost_user *vhost, enum request request, struct message *message, uint32_t size, const int *fds,
			unsigned fd_count)
{
	const bool acknowledged = vhost->protocol & PROTOCOL_REPLY_ACK;
	struct message reply;
	int r;

	message->header = (struct header){request, FLAG_VERSION | (acknowledged ? FLAG_NEED_REPLY : 0), size};
	r = send_message(vhost, message, fds, fd_count);
	if (r || !acknowledged)
		return r;
	r = read_reply(vhost, request, &reply, sizeof(reply.number));
	return r ? r : reply.number ? -EREMOTEIO : 0;
}

static int set_number(struct vhost_user *vhost, enum request request, uint64_t number)
{
	struct message message = {.number = number};

	return send_request(vhost, request, &message, sizeof(message.number), NULL, 0);
}

static int set_vring(struct vhost_user *vhost, enum request request, unsigned index, unsigned number)
{
	struct message message = {.vring = {index, number}};

	return send_request(vhost, request, &message, sizeof(message.vring), NULL, 0);
}

static int set_vring_fd(struct vhost_user *vhost, enum request request, unsigned index, int fd)
{
	struct message message = {.number = index};

	return send_request(vhost, request, &message, sizeof(message.number), &fd, 1);
}

/* These are answered anyway. */
static int get_number(struct vhost_user *vhost, enum request request, uint64_t *number)
{
	struct message message = {.header = {request, FLAG_VERSION, 0}};
	int r = send_message(vhost, &message, NULL, 0);

	if (!r)
		r = read_reply(vhost, request, &message, sizeof(message.number));
	*number = r ? 0 : message.number;
	return r;
}

static int get_vring_base(struct vhost_user *vhost, unsigned index)
{
	struct message message = {.header = {GET_VRING_BASE, FLAG_VERSION, sizeof(message.vring)}, .vring = {index, 0}};
	int r = send_message(vhost, &message, NULL, 0);

	return r ? r : read_reply(vhost, GET_VRING_BASE, &message, sizeof(message.vring));
}

/* ---- queues ---- */

static void take_used(struct queue *queue)
{
	struct vhost_user *vhost = queue->vhost;
	unsigned token, taken;
	uint32_t written;
	int r = 0;

	/* At most what can be under way: the other side can't keep us here. */
	for (taken = 0; taken < VHOST_RING_SIZE; taken++) {
		r = vhost_ring_take(&queue->ring, &token, &written);
		if (r <= 0)
			break;
		vhost->backend.done(vhost->backend.ctx, queue->index, token, written);
	}
	if (taken)
		vhost->backend.finished(vhost->backend.ctx, queue->index);
	if (r < 0)
		die(vhost, "it has returned what it was not given");
}

static void on_call(void *ctx, uint32_t events)
{
	struct queue *queue = ctx;
	uint64_t count;
	ssize_t n = read(queue->call.fd, &count, sizeof(count));

	(void)n; /* -EAGAIN: the call was for what has been taken already */
	if (queue->running)
		take_used(queue);
}

static int start_queue_messages(struct queue *queue)
{
	struct vhost_user *vhost = queue->vhost;
	const uint64_t ring = (uintptr_t)queue->ring.shared;
	struct message address = {.address = {.index = queue->index,
					      .desc = ring + VHOST_RING_DESC,
					      .used = ring + VHOST_RING_USED,
					      .avail = ring + VHOST_RING_AVAIL}};
	int r = set_vring(vhost, SET_VRING_NUM, queue->index, VHOST_RING_SIZE);

	if (!r)
		r = set_vring(vhost, SET_VRING_BASE, queue->index, 0);
	if (!r)
		r = send_request(vhost, SET_VRING_ADDR, &address, sizeof(address.address), NULL, 0);
	if (!r)
		r = set_vring_fd(vhost, SET_VRING_CALL, queue->index, queue->call.fd);
	if (!r)
		r = set_vring_fd(vhost, SET_VRING_KICK, queue->index, queue->kick);
	/* Without protocol features a ring is enabled by its kick. */
	if (!r && (vhost->offered & F_PROTOCOL_FEATURES))
		r = set_vring(vhost, SET_VRING_ENABLE, queue->index, 1);
	return r;
}

static int vhost_start_queue(struct vhost_backend *backend, unsigned index)
{
	struct vhost_user *vhost = vhost_of(backend);
	struct queue *queue = &vhost->queues[index];
	int r;

	if (vhost->dead)
		return -EIO;
	vhost_ring_init(&queue->ring, vhost->rings + (size_t)index * VHOST_RING_BYTES);
	queue->running = true;
	r = start_queue_messages(queue);
	if (r)
		die(vhost, strerror(-r));
	return r;
}

static void vhost_stop_queue(struct vhost_backend *backend, unsigned index)
{
	struct vhost_user *vhost = vhost_of(backend);
	struct queue *queue = &vhost->queues[index];
	int r;

	if (vhost->dead || !queue->running)
		return;
	r = get_vring_base(vhost, index);
	if (!r)
		take_used(queue);
	queue->running = false;
	if (r)
		die(vhost, strerror(-r));
}

static int vhost_start(struct vhost_backend *backend, uint64_t features)
{
	struct vhost_user *vhost = vhost_of(backend);
	int r;

	if (vhost->dead)
		return -EIO;
	r = set_number(vhost, SET_FEATURES, (features & vhost->offered) | (vhost->offered & F_PROTOCOL_FEATURES) | F_VERSION_1);
	if (r)
		die(vhost, strerror(-r));
	return r;
}

static bool is_shared(const struct vhost_user *vhost, gpa_t gpa, size_t len)
{
	/* Without the last: the rings, which aren't the guest's. */
	for (unsigned i = 0; i + 1 < vhost->region_count; i++) {
		const struct region *region = &vhost->regions[i];

		if (gpa >= region->guest_address && gpa - region->guest_address < region->size &&
		    len <= region->size - (gpa - region->guest_address))
			return true;
	}
	return false;
}

static int vhost_submit(struct vhost_backend *backend, unsigned index, unsigned token, const struct vhost_chain *chain)
{
	struct vhost_user *vhost = vhost_of(backend);
	struct vhost_piece pieces[VHOST_RING_SIZE];
	unsigned count = chain->out + chain->in;

	if (vhost->dead)
		return 0;
	if (count == 0 || count > VHOST_RING_SIZE)
		return -EFAULT;
	for (unsigned i = 0; i < count; i++) {
		if (chain->bufs[i].len > UINT32_MAX || !is_shared(vhost, chain->gpas[i], chain->bufs[i].len))
			return -EFAULT;
		pieces[i] = (struct vhost_piece){.address = chain->gpas[i], .length = (uint32_t)chain->bufs[i].len};
	}
	return vhost_ring_add(&vhost->queues[index].ring, token, pieces, chain->out, chain->in);
}

static void vhost_kick(struct vhost_backend *backend, unsigned index)
{
	struct vhost_user *vhost = vhost_of(backend);
	const uint64_t one = 1;

	if (vhost->dead || !vhost_ring_publish(&vhost->queues[index].ring))
		return;
	ssize_t n = write(vhost->queues[index].kick, &one, sizeof(one));
	(void)n; /* -EAGAIN: 2^64 kicks wait already */
}

/* ---- life ---- */

/* Replies are read where they are expected: what comes here is none. */
static void on_connection(void *ctx, uint32_t events)
{
	struct vhost_user *vhost = ctx;
	char byte;
	ssize_t n = read(vhost->watch.fd, &byte, 1);

	if (n > 0)
		die(vhost, "it has sent what nobody asked for");
	else if (n == 0)
		die(vhost, "the connection was closed");
	else if (errno != EAGAIN && errno != EINTR)
		die(vhost, strerror(errno));
}

static void vhost_destroy(struct vhost_backend *backend)
{
	struct vhost_user *vhost = vhost_of(backend);

	loop_unwatch(vhost->loop, &vhost->watch);
	close(vhost->watch.fd);
	for (unsigned i = 0; i < vhost->queue_count; i++) {
		loop_unwatch(vhost->loop, &vhost->queues[i].call);
		if (vhost->queues[i].call.fd >= 0)
			close(vhost->queues[i].call.fd);
		if (vhost->queues[i].kick >= 0)
			close(vhost->queues[i].kick);
	}
	if (vhost->rings)
		munmap(vhost->rings, (size_t)vhost->queue_count * VHOST_RING_BYTES);
	if (vhost->ring_file >= 0)
		close(vhost->ring_file);
	free(vhost->name);
	free(vhost);
}

static const struct vhost_backend_ops vhost_ops = {
	.start = vhost_start,
	.start_queue = vhost_start_queue,
	.submit = vhost_submit,
	.kick = vhost_kick,
	.stop_queue = vhost_stop_queue,
	.destroy = vhost_destroy,
};

static int make_rings(struct vhost_user *vhost)
{
	const size_t size = (size_t)vhost->queue_count * VHOST_RING_BYTES;
	void *rings;

	vhost->ring_file = memory_file(size);
	if (vhost->ring_file < 0)
		return vhost->ring_file;
	rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vhost->ring_file, 0);
	if (rings == MAP_FAILED)
		return -errno;
	vhost->rings = rings;
	for (unsigned i = 0; i < vhost->queue_count; i++) {
		struct queue *queue = &vhost->queues[i];

		queue->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		queue->call.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->kick < 0 || queue->call.fd < 0)
			return -errno;
		int r = loop_watch(vhost->loop, &queue->call, EPOLLIN);
		if (r)
			return r;
	}
	return 0;
}

/* What both sides can do. */
static int negotiate(struct vhost_user *vhost)
{
	struct message owner = {0};
	uint64_t protocol, queues = vhost->queue_count;
	int r = get_number(vhost, GET_FEATURES, &vhost->offered);

	if (r)
		return r;
	if (!(vhost->offered & F_VERSION_1))
		return -EOPNOTSUPP;
	if (vhost->offered & F_PROTOCOL_FEATURES) {
		r = get_number(vhost, GET_PROTOCOL_FEATURES, &protocol);
		protocol &= PROTOCOL_MQ | PROTOCOL_REPLY_ACK;
		if (!r)
			r = set_number(vhost, SET_PROTOCOL_FEATURES, protocol);
		if (!r)
			vhost->protocol = protocol;
	}
	if (!r && (vhost->protocol & PROTOCOL_MQ))
		r = get_number(vhost, GET_QUEUE_NUM, &queues);
	/* Some count pairs. */
	if (!r && queues * 2 < vhost->queue_count)
		r = -EOPNOTSUPP;
	return r ? r : send_request(vhost, SET_OWNER, &owner, 0, NULL, 0);
}

int vhost_user_open(int fd, const char *name, unsigned queues, struct loop *loop, struct vhost_backend **out, char *why,
		    size_t why_size)
{
	struct vhost_user *vhost = calloc(1, sizeof(*vhost) + queues * sizeof(vhost->queues[0]));
	int r = -ENOMEM;

	if (!vhost) {
		close(fd);
		snprintf(why, why_size, "no memory for the device at %s", name);
		return r;
	}
	vhost->backend.ops = &vhost_ops;
	vhost->loop = loop;
	vhost->ring_file = -1;
	vhost->queue_count = queues;
	watch_init(&vhost->watch, fd, on_connection, vhost);
	for (unsigned i = 0; i < queues; i++) {
		vhost->queues[i].vhost = vhost;
		vhost->queues[i].index = i;
		vhost->queues[i].kick = -1;
		watch_init(&vhost->queues[i].call, -1, on_call, &vhost->queues[i]);
	}
	vhost->name = strdup(name);
	if (vhost->name)
		r = fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (!r)
		r = make_rings(vhost);
	if (!r)
		r = negotiate(vhost);
	vhost->backend.features = vhost->offered;
	if (!r) {
		*out = &vhost->backend;
		return 0;
	}
	if (r == -EOPNOTSUPP)
		snprintf(why, why_size, "what listens at %s is no device for virtio 1.0 with %u queues; start another", name, queues);
	else
		snprintf(why, why_size, "what listens at %s doesn't speak vhost-user (%s); start a back end there", name, strerror(-r));
	vhost_destroy(&vhost->backend);
	return r;
}

int vhost_user_connect(const char *path, unsigned queues, struct loop *loop, struct vhost_backend **out, char *why,
		       size_t why_size)
{
	int fd = socket_connect_unix(path);

	if (fd < 0) {
		snprintf(why, why_size, "no vhost-user back end answers at %s (%s): start it first", path, strerror(-fd));
		return fd;
	}
	return vhost_user_open(fd, path, queues, loop, out, why, why_size);
}

static int set_mem_table(struct vhost_user *vhost, const int *fds)
{
	struct message message = {.memory = {.count = vhost->region_count}};
	const size_t size = offsetof(struct message, memory.regions) - offsetof(struct message, memory) +
			    vhost->region_count * sizeof(struct region);

	memcpy(message.memory.regions, vhost->regions, vhost->region_count * sizeof(struct region));
	return send_request(vhost, SET_MEM_TABLE, &message, (uint32_t)size, fds, vhost->region_count);
}

int vhost_user_share(struct vhost_backend *backend, const struct guest_memory *memory, char *why, size_t why_size)
{
	struct vhost_user *vhost = vhost_of(backend);
	int fds[MAX_REGIONS], r = 0;
	uint64_t end = 0;

	vhost->region_count = 0;
	for (unsigned i = 0; i < memory->count && !r; i++) {
		if (memory->ranges[i].fd < 0)
			continue;
		if (vhost->region_count + 1 == MAX_REGIONS) {
			snprintf(why, why_size, "guest memory has more parts than %s can map; give the guest less devices", vhost->name);
			return -ENOSPC;
		}
		fds[vhost->region_count] = memory->ranges[i].fd;
		vhost->regions[vhost->region_count++] = (struct region){
			.guest_address = memory->ranges[i].gpa,
			.size = memory->ranges[i].ram_size,
			.user_address = (uintptr_t)memory->ranges[i].ram,
		};
		end = memory->ranges[i].gpa + memory->ranges[i].ram_size;
	}
	/* The rings: somewhere behind what the guest has. */
	fds[vhost->region_count] = vhost->ring_file;
	vhost->regions[vhost->region_count++] = (struct region){
		.guest_address = (end + GIB(1)) & ~(GIB(1) - 1),
		.size = (uint64_t)vhost->queue_count * VHOST_RING_BYTES,
		.user_address = (uintptr_t)vhost->rings,
	};
	r = set_mem_table(vhost, fds);
	if (!r)
		r = loop_watch(vhost->loop, &vhost->watch, EPOLLIN);
	if (r)
		snprintf(why, why_size, "guest memory can't be shared with %s: %s", vhost->name, strerror(-r));
	return r;
}
