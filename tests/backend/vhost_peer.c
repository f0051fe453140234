/* A vhost-user network back end; see vhost_peer.h. */
#include "vhost_peer.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "vhost_peer.c:%d: %s\n", __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct message {
	uint32_t request, flags, size;
	uint64_t payload[34];
} __attribute__((packed));

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* ---- memory ---- */

static void *find(struct vhost_peer *peer, uint64_t address, size_t len, bool user)
{
	for (unsigned i = 0; i < peer->region_count; i++) {
		uint64_t start = user ? peer->regions[i].user : peer->regions[i].guest;

		if (address >= start && address - start < peer->regions[i].size && len <= peer->regions[i].size - (address - start))
			return peer->regions[i].mapped + peer->regions[i].offset + (address - start);
	}
	MUST(!"an address is in no region");
	return NULL;
}

void *peer_at(struct vhost_peer *peer, uint64_t user_address)
{
	return find(peer, user_address, 1, true);
}

static void forget_memory(struct vhost_peer *peer)
{
	for (unsigned i = 0; i < peer->region_count; i++)
		munmap(peer->regions[i].mapped, peer->regions[i].mapped_size);
	peer->region_count = 0;
}

static void set_memory(struct vhost_peer *peer, const struct message *message, const int *fds, unsigned fd_count)
{
	unsigned count = (uint32_t)message->payload[0];

	MUST(count > 0 && count <= PEER_REGIONS && count == fd_count && message->size == 8 + 32 * count);
	forget_memory(peer);
	for (unsigned i = 0; i < count; i++) {
		uint64_t at[4];
		size_t size;
		void *mapped;

		/* A message's payload is not aligned. */
		memcpy(at, message->payload + 1 + 4 * i, sizeof(at));
		size = at[1] + at[3];
		mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
		MUST(mapped != MAP_FAILED);
		close(fds[i]);
		peer->regions[i].guest = at[0];
		peer->regions[i].size = at[1];
		peer->regions[i].user = at[2];
		peer->regions[i].offset = at[3];
		peer->regions[i].mapped = mapped;
		peer->regions[i].mapped_size = size;
	}
	peer->region_count = count;
}

/* ---- messages ---- */

static void close_fd(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = 0;
}

static void stop_ring(struct peer_ring *ring)
{
	close_fd(&ring->kick);
	close_fd(&ring->call);
	ring->enabled = false;
}

static void answer(struct vhost_peer *peer, struct message *message, uint32_t size)
{
	message->flags = 1 | 4;
	message->size = size;
	MUST(send(peer->fd, message, 12 + size, MSG_NOSIGNAL) == (ssize_t)(12 + size) || errno == EPIPE);
}

static struct peer_ring *ring_of(struct vhost_peer *peer, const struct message *message)
{
	unsigned index = (uint32_t)message->payload[0];

	MUST(index < PEER_RINGS);
	return &peer->rings[index];
}

/* True: it has been answered. */
static bool serve(struct vhost_peer *peer, struct message *message, const int *fds, unsigned fd_count)
{
	const uint32_t high = (uint32_t)(message->payload[0] >> 32);
	struct peer_ring *ring;

	switch (message->request) {
	case 1:
		message->payload[0] = peer->features;
		answer(peer, message, 8);
		return true;
	case 2:
		peer->chosen = message->payload[0];
		return false;
	case 3: /* SET_OWNER */
		return false;
	case 5:
		set_memory(peer, message, fds, fd_count);
		return false;
	case 8:
		ring_of(peer, message)->size = high;
		return false;
	case 9:
		ring = ring_of(peer, message);
		MUST(message->size == 40);
		ring->desc = message->payload[1];
		ring->used = message->payload[2];
		ring->avail = message->payload[3];
		return false;
	case 10:
		ring = ring_of(peer, message);
		ring->next_avail = ring->next_used = (uint16_t)high;
		return false;
	case 11:
		ring = ring_of(peer, message);
		stop_ring(ring);
		message->payload[0] = (uint32_t)message->payload[0] | (uint64_t)ring->next_avail << 32;
		answer(peer, message, 8);
		return true;
	case 12:
		ring = ring_of(peer, message);
		MUST(fd_count == 1);
		close_fd(&ring->kick);
		ring->kick = fds[0];
		return false;
	case 13:
		ring = ring_of(peer, message);
		MUST(fd_count == 1);
		close_fd(&ring->call);
		ring->call = fds[0];
		return false;
	case 15:
		message->payload[0] = peer->protocol;
		answer(peer, message, 8);
		return true;
	case 16:
		MUST(!(message->payload[0] & ~peer->protocol));
		return false;
	case 17:
		message->payload[0] = 1; /* pair */
		answer(peer, message, 8);
		return true;
	case 18:
		ring_of(peer, message)->enabled = high == 1;
		return false;
	default:
		MUST(!"an unknown message");
		return false;
	}
}

bool peer_message(struct vhost_peer *peer)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * PEER_REGIONS)];
	} control;
	struct message message = {0};
	struct iovec part = {.iov_base = &message, .iov_len = 12};
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	int fds[PEER_REGIONS];
	unsigned fd_count = 0;
	ssize_t n = recvmsg(peer->fd, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	bool wants_reply;

	if (n <= 0)
		return false;
	MUST(n == 12 && (message.flags & 3) == 1 && message.size <= sizeof(message.payload));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), fd_count * sizeof(int));
	}
	MUST(!message.size || recv(peer->fd, message.payload, message.size, MSG_WAITALL) == (ssize_t)message.size);
	peer->messages++;
	peer->last = message.request;
	wants_reply = message.flags & 8;
	if (!serve(peer, &message, fds, fd_count) && wants_reply) {
		message.payload[0] = 0;
		answer(peer, &message, 8);
	}
	return true;
}

/* ---- rings ---- */

static bool ready(const struct peer_ring *ring)
{
	return ring->kick > 0 && ring->call > 0 && (ring->enabled || !ring->size);
}

static const struct descriptor *next_chain(struct vhost_peer *peer, struct peer_ring *ring, unsigned ahead, uint16_t *head)
{
	const uint16_t *avail = find(peer, ring->avail, 4 + 2 * ring->size, true);
	uint16_t at = (uint16_t)(ring->next_avail + ahead);

	if (__atomic_load_n(&avail[1], __ATOMIC_ACQUIRE) == at)
		return NULL;
	*head = avail[2 + at % ring->size];
	MUST(*head < ring->size);
	return find(peer, ring->desc, 16 * ring->size, true);
}

static void put_used(struct vhost_peer *peer, struct peer_ring *ring, unsigned ahead, uint16_t head, uint32_t written)
{
	uint32_t *used = find(peer, ring->used, 4 + 8 * ring->size, true);
	unsigned at = (uint16_t)(ring->next_used + ahead) % ring->size;

	used[1 + 2 * at] = head;
	used[2 + 2 * at] = written;
}

static void publish(struct vhost_peer *peer, struct peer_ring *ring, unsigned count)
{
	uint16_t *used = find(peer, ring->used, 4, true);

	ring->next_avail = (uint16_t)(ring->next_avail + count);
	ring->next_used = (uint16_t)(ring->next_used + count);
	__atomic_store_n(&used[1], ring->next_used, __ATOMIC_RELEASE);
	peer_call(peer, (unsigned)(ring - peer->rings));
}

void peer_call(struct vhost_peer *peer, unsigned ring)
{
	const uint64_t one = 1;

	MUST(write(peer->rings[ring].call, &one, sizeof(one)) == sizeof(one));
}

size_t peer_take(struct vhost_peer *peer, unsigned index, void *buf, size_t size)
{
	struct peer_ring *ring = &peer->rings[index];
	const struct descriptor *table;
	size_t done = 0;
	uint16_t head, at;

	if (!ready(ring) || !(table = next_chain(peer, ring, 0, &head)))
		return 0;
	for (at = head;; at = table[at].next) {
		if (!(table[at].flags & 2)) {
			MUST(table[at].len <= size - done);
			memcpy((uint8_t *)buf + done, find(peer, table[at].addr, table[at].len, false), table[at].len);
			done += table[at].len;
		}
		if (!(table[at].flags & 1))
			break;
	}
	put_used(peer, ring, 0, head, 0);
	publish(peer, ring, 1);
	return done;
}

bool peer_give(struct vhost_peer *peer, unsigned index, const void *buf, size_t len)
{
	struct peer_ring *ring = &peer->rings[index];
	const struct descriptor *table;
	unsigned chains = 0;
	uint8_t *first = NULL;

	if (!ready(ring))
		return false;
	for (size_t done = 0; done < len; chains++) {
		const size_t before = done;
		uint16_t head, at;

		table = next_chain(peer, ring, chains, &head);
		if (!table)
			return false;
		for (at = head; done < len; at = table[at].next) {
			size_t part = table[at].len < len - done ? table[at].len : len - done;
			uint8_t *to = find(peer, table[at].addr, table[at].len, false);

			MUST(table[at].flags & 2);
			first = first ? first : to;
			memcpy(to, (const uint8_t *)buf + done, part);
			done += part;
			if (!(table[at].flags & 1))
				break;
		}
		put_used(peer, ring, chains, head, (uint32_t)(done - before));
	}
	/* num_buffers, in the header, which the first piece has whole. */
	first[10] = (uint8_t)chains;
	first[11] = (uint8_t)(chains >> 8);
	publish(peer, ring, chains);
	return true;
}

void peer_end(struct vhost_peer *peer)
{
	forget_memory(peer);
	for (unsigned i = 0; i < PEER_RINGS; i++)
		stop_ring(&peer->rings[i]);
}
