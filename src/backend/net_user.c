/* User networking by libslirp; see net_user.h.
 *
 * libslirp wants to be asked, before every sleep, which descriptors it waits for, and told afterwards what
 * was ready. Asking costs a walk over its sockets, so it is done only when something has happened to it
 * (`stirred`): a frame from the guest, a ready descriptor, a timer.
 *
 * Frames for the guest wait in a bounded ring when the device has no room; when that is full they are
 * lost, as in a NIC.
 */
#include "backend/net_user.h"
#include "backend/tftp.h"
#include "base/log.h"
#include "base/types.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define FRAME_MIN   14u
#define FRAME_MAX   65550u
#define QUEUE_MAX   8192u /* frames that wait for the device: each connection may have 128 KiB under way, and what is lost costs it half a second */
#define QUEUE_BYTES MIB(8)
#define NS_PER_MS   1000000ull
#define MAX_SOCKETS 1024u /* more are not polled until others close */

struct frame {
	size_t len;
	uint8_t bytes[];
};

/* One descriptor that libslirp has asked for. */
struct polled {
	struct watch watch;
	struct net_user *net;
	uint32_t wanted; /* in this round */
	uint32_t ready;
	bool used;
};

struct net_user {
	struct net_backend backend;
	struct loop *loop;
	Slirp *slirp;
	struct tftp *tftp; /* or NULL; libslirp's own would open files as they are asked for */
	struct loop_hook hook;
	struct timer timeout; /* the sleep that libslirp asked for is over */
	bool stirred;
	struct polled *polled[MAX_SOCKETS];
	unsigned polled_count;
	struct frame *queue[QUEUE_MAX];
	unsigned queue_head, queue_tail; /* free-running */
	uint64_t queue_bytes;
	uint8_t out[FRAME_MAX];
};

static struct net_user *net_of(struct net_backend *backend)
{
	return container_of(backend, struct net_user, backend);
}

/* ---- frames ---- */

static void enqueue(struct net_user *net, const void *bytes, size_t len)
{
	struct frame *frame;

	if (net->queue_head - net->queue_tail == QUEUE_MAX || len > QUEUE_BYTES - net->queue_bytes)
		return;
	frame = malloc(sizeof(*frame) + len);
	if (!frame)
		return;
	frame->len = len;
	net->queue_bytes += len;
	memcpy(frame->bytes, bytes, len);
	net->queue[net->queue_head++ % QUEUE_MAX] = frame;
}

/* Gives waiting frames to the device; those that find no room stay. */
static void flush_queue(struct net_user *net)
{
	while (net->queue_head != net->queue_tail) {
		struct frame *frame = net->queue[net->queue_tail % QUEUE_MAX];

		if (net->backend.receive &&
		    !net->backend.receive(net->backend.receive_ctx, frame->bytes, frame->len))
			return;
		net->queue_tail++;
		net->queue_bytes -= frame->len;
		free(frame);
	}
}

static ssize_t to_guest(const void *bytes, size_t len, void *opaque)
{
	struct net_user *net = opaque;

	if (!net->backend.receive)
		return (ssize_t)len;
	/* Behind those that wait already; while any does, the device is expected to call resume(). */
	if (net->queue_head != net->queue_tail ||
	    !net->backend.receive(net->backend.receive_ctx, bytes, len))
		enqueue(net, bytes, len);
	return (ssize_t)len;
}

static void from_guest(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	struct net_user *net = net_of(backend);
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		if (bufs[i].len > FRAME_MAX - len)
			return;
		memcpy(net->out + len, bufs[i].base, bufs[i].len);
		len += bufs[i].len;
	}
	if (len < FRAME_MIN)
		return;
	if (net->tftp && tftp_wants(net->out, len)) {
		uint8_t answer[TFTP_ANSWER_MAX];

		len = tftp_answer(net->tftp, net->out, len, answer);
		if (len)
			to_guest(answer, len, net);
		return;
	}
	slirp_input(net->slirp, net->out, (int)len);
	net->stirred = true;
}

static void net_resume(struct net_backend *backend)
{
	flush_queue(net_of(backend));
}

/* ---- libslirp's timers ---- */

struct slirp_timer {
	struct timer timer;
	struct net_user *net;
	SlirpTimerCb callback;
	void *callback_ctx;
};

static void timer_fired(void *ctx)
{
	struct slirp_timer *timer = ctx;

	timer->net->stirred = true;
	timer->callback(timer->callback_ctx);
}

static void *slirp_timer_new(SlirpTimerCb callback, void *callback_ctx, void *opaque)
{
	struct slirp_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return NULL;
	timer->net = opaque;
	timer->callback = callback;
	timer->callback_ctx = callback_ctx;
	timer_init(&timer->timer, NULL, timer_fired, timer);
	return timer;
}

static void slirp_timer_free(void *ctx, void *opaque)
{
	struct slirp_timer *timer = ctx;

	if (!timer)
		return;
	loop_timer_cancel(timer->net->loop, &timer->timer);
	free(timer);
}

static void slirp_timer_mod(void *ctx, int64_t expire_ms, void *opaque)
{
	struct slirp_timer *timer = ctx;

	if (timer)
		loop_timer_arm(timer->net->loop, &timer->timer,
			       expire_ms < 0 ? 0 : (uint64_t)expire_ms * NS_PER_MS);
}

static int64_t slirp_clock(void *opaque)
{
	return (int64_t)platform_clock_ns();
}

/* ---- descriptors ---- */

static uint32_t to_epoll(int events)
{
	return ((events & SLIRP_POLL_IN) ? EPOLLIN : 0u) | ((events & SLIRP_POLL_OUT) ? EPOLLOUT : 0u) |
	       ((events & SLIRP_POLL_PRI) ? EPOLLPRI : 0u);
}

static int from_epoll(uint32_t events)
{
	return ((events & EPOLLIN) ? SLIRP_POLL_IN : 0) | ((events & EPOLLOUT) ? SLIRP_POLL_OUT : 0) |
	       ((events & EPOLLPRI) ? SLIRP_POLL_PRI : 0) | ((events & EPOLLERR) ? SLIRP_POLL_ERR : 0) |
	       ((events & EPOLLHUP) ? SLIRP_POLL_HUP : 0);
}

static void socket_ready(void *ctx, uint32_t events)
{
	struct polled *polled = ctx;

	polled->ready |= events;
	polled->net->stirred = true;
}

static void forget(struct net_user *net, struct polled *polled)
{
	loop_unwatch(net->loop, &polled->watch);
	polled->used = false;
	polled->wanted = polled->ready = 0;
}

/* The entry for fd, or a free one. Returns its index, or -1. */
static int find_entry(struct net_user *net, int fd)
{
	int spare = -1;

	for (unsigned i = 0; i < net->polled_count; i++) {
		if (net->polled[i]->used && net->polled[i]->watch.fd == fd)
			return (int)i;
		if (!net->polled[i]->used && spare < 0)
			spare = (int)i;
	}
	if (spare < 0 && net->polled_count < MAX_SOCKETS) {
		net->polled[net->polled_count] = calloc(1, sizeof(struct polled));
		if (net->polled[net->polled_count])
			spare = (int)net->polled_count++;
	}
	if (spare >= 0) {
		struct polled *polled = net->polled[spare];

		polled->net = net;
		polled->used = true;
		watch_init(&polled->watch, fd, socket_ready, polled);
	}
	return spare;
}

static int add_poll(int fd, int events, void *opaque)
{
	struct net_user *net = opaque;
	int index = find_entry(net, fd);

	if (index >= 0)
		net->polled[index]->wanted |= to_epoll(events);
	return index;
}

static int get_events(int index, void *opaque)
{
	struct net_user *net = opaque;

	if (index < 0 || (unsigned)index >= net->polled_count)
		return 0;
	return from_epoll(net->polled[index]->ready);
}

/* libslirp opens and closes sockets inside its own calls: the entry must be gone before the number is
 * used again. */
static void unregister_fd(int fd, void *opaque)
{
	struct net_user *net = opaque;

	for (unsigned i = 0; i < net->polled_count; i++)
		if (net->polled[i]->used && net->polled[i]->watch.fd == fd)
			forget(net, net->polled[i]);
}

static void register_fd(int fd, void *opaque)
{
}

static void notify(void *opaque)
{
	struct net_user *net = opaque;

	net->stirred = true;
}

static void guest_error(const char *message, void *opaque)
{
	log_guest("net", "the guest's traffic: %s", message);
}

static void timeout_fired(void *ctx)
{
	struct net_user *net = ctx;

	net->stirred = true;
}

/* Asks what to wait for. */
static void fill_polls(struct net_user *net)
{
	uint32_t timeout_ms = UINT32_MAX;

	for (unsigned i = 0; i < net->polled_count; i++)
		net->polled[i]->wanted = net->polled[i]->ready = 0;
	slirp_pollfds_fill(net->slirp, &timeout_ms, add_poll, net);
	for (unsigned i = 0; i < net->polled_count; i++) {
		struct polled *polled = net->polled[i];

		if (!polled->used)
			continue;
		if (polled->wanted == 0)
			forget(net, polled);
		else if (polled->wanted != polled->watch.events &&
			 loop_watch(net->loop, &polled->watch, polled->wanted) < 0)
			forget(net, polled);
	}
	if (timeout_ms == UINT32_MAX)
		loop_timer_cancel(net->loop, &net->timeout);
	else
		loop_timer_arm(net->loop, &net->timeout, platform_clock_ns() + timeout_ms * NS_PER_MS);
}

/* Before a sleep. Serving may stir again (a connection made at once); one round is enough, the rest is
 * found ready after the sleep. */
static void before_sleep(void *ctx)
{
	struct net_user *net = ctx;

	if (!net->stirred)
		return;
	net->stirred = false;
	slirp_pollfds_poll(net->slirp, 0, get_events, net);
	fill_polls(net);
}

/* ---- life ---- */

static const SlirpCb callbacks = {
	.send_packet = to_guest,
	.guest_error = guest_error,
	.clock_get_ns = slirp_clock,
	.timer_new = slirp_timer_new,
	.timer_free = slirp_timer_free,
	.timer_mod = slirp_timer_mod,
	.register_poll_fd = register_fd,
	.unregister_poll_fd = unregister_fd,
	.notify = notify,
};

static void net_destroy(struct net_backend *backend)
{
	struct net_user *net = net_of(backend);

	backend->receive = NULL;
	loop_hook_remove(net->loop, &net->hook);
	loop_timer_cancel(net->loop, &net->timeout);
	slirp_cleanup(net->slirp);
	tftp_close(net->tftp);
	for (unsigned i = 0; i < net->polled_count; i++) {
		loop_unwatch(net->loop, &net->polled[i]->watch);
		free(net->polled[i]);
	}
	flush_queue(net); /* nobody receives: frees */
	free(net);
}

static const struct net_backend_ops net_ops = {
	.send = from_guest,
	.resume = net_resume,
	.destroy = net_destroy,
};

static struct in_addr address(const char *text)
{
	struct in_addr address = {0};

	inet_pton(AF_INET, text, &address);
	return address;
}

static int add_forwards(struct net_user *net, const struct net_user_options *options, char *why, size_t why_size)
{
	for (unsigned i = 0; i < options->forward_count; i++) {
		uint16_t port = options->forward[i].host;

		if (slirp_add_hostfwd(net->slirp, 0, address("127.0.0.1"), port, address("10.0.2.15"),
				      options->forward[i].guest) < 0) {
			int err = errno ? errno : EADDRINUSE;

			snprintf(why, why_size, "port %u of 127.0.0.1 can't be forwarded (%s): choose another", port,
				 strerror(err));
			return -err;
		}
	}
	return 0;
}

/* libslirp opens resolv.conf when the first packet for its name server's port comes, and the sandbox will not let it;
 * after that it only looks whether the file has changed. So it gets such a packet here: an empty datagram, which the
 * host's name server ignores as too short. */
static void learn_name_server(struct net_user *net)
{
	static const uint8_t frame[60] = {
		0x52, 0x55, 10, 0, 2, 3, 0x52, 0x52, 0x75, 0x73, 0x65, 0x01, 0x08, 0x00, /* Ethernet, IPv4 */
		0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x62, 0xc0, 10, 0, 2, 15, 10, 0, 2, 3, /* 28 bytes of UDP */
		0, 9, 0, 53, 0, 8, 0, 0, /* port 9 to port 53, no sum */
	};

	slirp_input(net->slirp, frame, sizeof(frame));
}

int net_user_open(const struct net_user_options *options, struct loop *loop, struct net_backend **out, char *why,
		  size_t why_size)
{
	static const uint8_t default_mac[6] = {0x52, 0x52, 0x75, 0x73, 0x65, 0x01};
	static const uint8_t no_mac[6];
	const SlirpConfig config = {
		.version = 1,
		.in_enabled = true,
		.vnetwork = address("10.0.2.0"),
		.vnetmask = address("255.255.255.0"),
		.vhost = address("10.0.2.2"),
		.vdhcp_start = address("10.0.2.15"),
		.vnameserver = address("10.0.2.3"),
		.bootfile = options->bootfile,
	};
	struct net_user *net = calloc(1, sizeof(*net));
	int err = -ENOMEM;

	if (!net || options->forward_count > ARRAY_SIZE(options->forward))
		goto no_memory;
	net->loop = loop;
	net->backend.ops = &net_ops;
	memcpy(net->backend.mac, memcmp(options->mac, no_mac, 6) ? options->mac : default_mac, 6);
	timer_init(&net->timeout, NULL, timeout_fired, net);
	if (options->tftp) {
		err = tftp_open(options->tftp, &net->tftp, why, why_size);
		if (err) {
			free(net);
			return err;
		}
	}
	net->slirp = slirp_new(&config, &callbacks, net);
	if (!net->slirp)
		goto no_memory;
	err = add_forwards(net, options, why, why_size);
	if (err < 0) {
		slirp_cleanup(net->slirp);
		tftp_close(net->tftp);
		free(net);
		return err;
	}
	learn_name_server(net);
	net->hook = (struct loop_hook){.prepare = before_sleep, .ctx = net};
	loop_hook_add(loop, &net->hook);
	net->stirred = true;
	*out = &net->backend;
	return 0;
no_memory:
	snprintf(why, why_size, "user networking could not be started: free some memory");
	if (net)
		tftp_close(net->tftp);
	free(net);
	return err;
}
