/* Ethernet frames through a tap interface; see net_tap.h.
 *
 * Each read and each write is one frame, with Linux's struct virtio_net_hdr in front, which is core/backend.h's net_offload.
 * When the device has no room, one frame is kept and no more are read until resume(): they wait in the interface's queue, and are
 * lost when it is full, as in any other.
 *
 * Of an interface with several queues there is a descriptor for each. Linux remembers by which of them a connection's frames were
 * last sent and answers by the same, so the queues of the driver are told apart by nothing but their number. Where the driver uses
 * fewer than there are, the device folds them.
 */
#include "backend/net_tap.h"
#include "base/log.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAME_MIN 14u
#define FRAME_MAX 65550u
#define MAX_BUFS  256u
#define BUDGET    64u /* frames read before other work gets its turn */

_Static_assert(sizeof(struct net_offload) == 10, "struct virtio_net_hdr, linux/virtio_net.h");
_Static_assert(NET_OFFLOAD_CSUM == TUN_F_CSUM && NET_OFFLOAD_TSO4 == TUN_F_TSO4 && NET_OFFLOAD_TSO6 == TUN_F_TSO6 &&
		       NET_OFFLOAD_ECN == TUN_F_TSO_ECN,
	       "TUNSETOFFLOAD's bits");
_Static_assert(NET_TAP_NAME_MAX + 1 == IFNAMSIZ, "linux/if.h");

struct tap_queue {
	struct net_tap *tap;
	struct watch watch;
	size_t kept; /* bytes of the frame that the device had no room for; 0: none */
	struct {
		struct net_offload offload;
		uint8_t frame[FRAME_MAX];
	} __attribute__((packed)) in;
};

struct net_tap {
	struct net_backend backend;
	struct loop *loop;
	char name[IFNAMSIZ];
	bool down;
	unsigned count;
	struct tap_queue queues[];
};

static struct net_tap *tap_of(struct net_backend *backend)
{
	return container_of(backend, struct net_tap, backend);
}

static void go_down(struct net_tap *tap, const char *why)
{
	tap->down = true;
	for (unsigned i = 0; i < tap->count; i++)
		loop_unwatch(tap->loop, &tap->queues[i].watch);
	log_warn("net", "%s: %s; the guest's link is down until the VM is started anew", tap->name, why);
}

/* ---- to the guest ---- */

/* False: the device has no room. */
static bool deliver(struct tap_queue *queue, size_t len)
{
	struct net_tap *tap = queue->tap;
	const struct net_offload offload = queue->in.offload;

	return !tap->backend.receive_offload ||
	       tap->backend.receive_offload(tap->backend.receive_ctx, (unsigned)(queue - tap->queues), &offload, queue->in.frame, len);
}

/* One frame. False: there is none now. */
static bool receive_frame(struct tap_queue *queue)
{
	struct net_tap *tap = queue->tap;
	ssize_t n = read(queue->watch.fd, &queue->in, sizeof(queue->in));
	size_t len;

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		go_down(tap, errno == EBADFD || errno == EIO ? "the interface was removed" : strerror(errno));
	if (n < 0)
		return false;
	if ((size_t)n < sizeof(queue->in.offload) + FRAME_MIN)
		return true;
	len = (size_t)n - sizeof(queue->in.offload);
	if (deliver(queue, len))
		return true;
	queue->kept = len;
	if (loop_watch(tap->loop, &queue->watch, 0) < 0)
		go_down(tap, "it can't be waited for");
	return false;
}

static void on_ready(void *ctx, uint32_t events)
{
	for (unsigned i = 0; i < BUDGET; i++)
		if (!receive_frame(ctx))
			break;
}

static void tap_resume(struct net_backend *backend)
{
	struct net_tap *tap = tap_of(backend);

	for (unsigned i = 0; i < tap->count && !tap->down; i++) {
		struct tap_queue *queue = &tap->queues[i];

		if (!queue->kept || !deliver(queue, queue->kept))
			continue;
		queue->kept = 0;
		if (loop_watch(tap->loop, &queue->watch, EPOLLIN) < 0)
			go_down(tap, "it can't be waited for");
	}
}

static void tap_set_offloads(struct net_backend *backend, unsigned kinds)
{
	struct net_tap *tap = tap_of(backend);

	/* Linux does itself what the guest does not take. */
	if (!tap->down && ioctl(tap->queues[0].watch.fd, TUNSETOFFLOAD, (unsigned long)kinds) < 0)
		log_warn("net", "%s: offloads %x: %s", tap->name, kinds, strerror(errno));
}

/* ---- from the guest ---- */

static void tap_send_offload(struct net_backend *backend, unsigned pair, const struct net_offload *offload,
			     const struct iobuf *bufs, unsigned count)
{
	struct net_tap *tap = tap_of(backend);
	struct net_offload header = *offload;
	struct iovec parts[1 + MAX_BUFS];

	if (tap->down || count > MAX_BUFS)
		return;
	parts[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof(header)};
	for (unsigned i = 0; i < count; i++)
		parts[1 + i] = (struct iovec){.iov_base = bufs[i].base, .iov_len = bufs[i].len};
	/* What Linux has no room for, or finds wrong, is lost, as on any wire. */
	ssize_t n = writev(tap->queues[pair % tap->count].watch.fd, parts, (int)count + 1);
	(void)n;
}

static void tap_send(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	static const struct net_offload nothing;

	tap_send_offload(backend, 0, &nothing, bufs, count);
}

/* ---- life ---- */

static void tap_destroy(struct net_backend *backend)
{
	struct net_tap *tap = tap_of(backend);

	for (unsigned i = 0; i < tap->count; i++) {
		loop_unwatch(tap->loop, &tap->queues[i].watch);
		close(tap->queues[i].watch.fd);
	}
	free(tap);
}

static const struct net_backend_ops tap_ops = {
	.send = tap_send,
	.send_offload = tap_send_offload,
	.set_offloads = tap_set_offloads,
	.resume = tap_resume,
	.destroy = tap_destroy,
};

static int attach(int fd, const char *name, unsigned flags)
{
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};

	memcpy(request.ifr_name, name, strlen(name));
	return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

/* These are the interface's, not a queue's. */
static int set_up(int fd)
{
	int size = sizeof(struct net_offload), little = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0 || ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return -errno;
	return 0;
}

static int open_device(char *why, size_t why_size)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), r;

	if (fd >= 0)
		return fd;
	r = -errno;
	snprintf(why, why_size, "/dev/net/tun can't be opened: %s; load the module tun, or choose --net user", strerror(-r));
	return r;
}

static int refuse(const char *name, int r, char *why, size_t why_size)
{
	const char *remedy = "is it a tap that nobody else uses?";

	if (r == -EPERM)
		remedy = "it belongs to somebody else; make it with `user NAME`";
	snprintf(why, why_size, "the interface %s can't be used: %s; %s", name, strerror(-r), remedy);
	return r;
}

/* A queue's descriptor, or -errno. *several: in: it is a queue beyond the first; out: there may be further ones. */
static int open_queue(const char *name, bool *several, char *why, size_t why_size)
{
	const bool first = !*several;
	int fd = open_device(why, why_size), r;

	if (fd < 0)
		return fd;
	r = first ? attach(fd, name, 0) : -EINVAL;
	/* One of several queues says so. */
	if (r == -EINVAL) {
		*several = true;
		r = attach(fd, name, IFF_MULTI_QUEUE);
	}
	if (!r && first)
		r = set_up(fd);
	if (!r)
		return fd;
	close(fd);
	return refuse(name, r, why, why_size);
}

static int check_name(const char *interface, char *why, size_t why_size)
{
	if (strlen(interface) > NET_TAP_NAME_MAX || strchr(interface, '/')) {
		snprintf(why, why_size, "%s is no interface's name", interface);
		return -EINVAL;
	}
	/* One that isn't there would be made, and never get an address or a bridge. */
	if (!if_nametoindex(interface)) {
		snprintf(why, why_size, "there is no interface %s; make it: `ip tuntap add dev %s mode tap user NAME`", interface, interface);
		return -ENODEV;
	}
	return 0;
}

int net_tap_open_queues(const char *interface, unsigned pairs, int fds[NET_TAP_QUEUES_MAX], char *why, size_t why_size)
{
	const unsigned wanted = pairs < NET_TAP_QUEUES_MAX ? pairs : NET_TAP_QUEUES_MAX;
	bool several = false;
	unsigned count = 0;
	int r = check_name(interface, why, why_size);

	if (r)
		return r;
	do {
		fds[count] = open_queue(interface, &several, why, why_size);
		if (fds[count] < 0) {
			r = fds[count];
			while (count > 0)
				close(fds[--count]);
			return r;
		}
		count++;
	} while (several && count < wanted);
	return (int)count;
}

static int adopt_queues(struct net_tap *tap, const int *fds, unsigned count)
{
	int r = 0;

	/* All of them are ours, whatever happens. */
	for (unsigned i = 0; i < count; i++) {
		tap->queues[i].tap = tap;
		watch_init(&tap->queues[i].watch, fds[i], on_ready, &tap->queues[i]);
	}
	tap->count = count;
	for (unsigned i = 0; i < count && r == 0; i++)
		r = loop_watch(tap->loop, &tap->queues[i].watch, EPOLLIN);
	return r;
}

int net_tap_adopt(const char *name, const int *fds, unsigned count, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	struct net_tap *tap = calloc(1, sizeof(*tap) + count * sizeof(tap->queues[0]));
	int r;

	if (!tap) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		return refuse(name, -ENOMEM, why, why_size);
	}
	snprintf(tap->name, sizeof(tap->name), "%s", name);
	tap->backend.ops = &tap_ops;
	tap->backend.offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
	tap->loop = loop;
	r = adopt_queues(tap, fds, count);
	if (r) {
		tap_destroy(&tap->backend);
		return refuse(name, r, why, why_size);
	}
	tap->backend.pairs = tap->count;
	*out = &tap->backend;
	return 0;
}

int net_tap_open(const char *interface, unsigned pairs, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	int fds[NET_TAP_QUEUES_MAX], count = net_tap_open_queues(interface, pairs ? pairs : 1, fds, why, why_size);

	return count < 0 ? count : net_tap_adopt(interface, fds, (unsigned)count, loop, out, why, why_size);
}
