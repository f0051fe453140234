/* Ethernet frames over a stream socket; see net_stream.h.
 *
 * Both directions are gathered: a read takes what is there, up to IN_SIZE, and frames for the peer are put together until the
 * loop is about to sleep, or BATCH bytes have come together. A large frame goes from the guest's memory straight to the socket.
 *
 * When the device has no room, nothing more is read until resume(): the peer then waits in its own write. When the peer
 * doesn't read, frames are lost once OUT_SIZE bytes wait, as in a NIC.
 */
#include "backend/net_stream.h"
#include "base/log.h"
#include "base/types.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include "host/linux/socket.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER    4u
#define FRAME_MIN 14u
#define FRAME_MAX 65550u
#define IN_SIZE   (2 * (HEADER + FRAME_MAX))
#define OUT_SIZE  MIB(1)
#define BATCH     KIB(64)
#define LARGE     KIB(8) /* not worth to be copied */
#define MAX_BUFS  256u

struct net_stream {
	struct net_backend backend;
	struct loop *loop;
	struct loop_hook hook;
	struct watch watch;
	char *name;
	bool down;
	bool full; /* the device has no room */
	bool blocked; /* the peer doesn't read: wait for EPOLLOUT */
	size_t in_begin, in_end;   /* what was read and not delivered yet */
	size_t out_begin, out_end; /* what is not written yet */
	uint8_t in[IN_SIZE];
	uint8_t out[OUT_SIZE];
};

static struct net_stream *stream_of(struct net_backend *backend)
{
	return container_of(backend, struct net_stream, backend);
}

/* ---- the connection ---- */

static void go_down(struct net_stream *stream, const char *why)
{
	if (stream->down)
		return;
	stream->down = true;
	stream->in_begin = stream->in_end = stream->out_begin = stream->out_end = 0;
	loop_unwatch(stream->loop, &stream->watch);
	log_warn("net", "%s: %s; the guest's link is down until the VM is started anew", stream->name, why);
}

static void update_watch(struct net_stream *stream)
{
	uint32_t events = (stream->full ? 0u : EPOLLIN) | (stream->blocked ? EPOLLOUT : 0u);

	if (!stream->down && loop_watch(stream->loop, &stream->watch, events) < 0)
		go_down(stream, "it can't be waited for");
}

/* ---- to the guest ---- */

static uint32_t frame_length(const uint8_t *header)
{
	uint32_t length;

	memcpy(&length, header, sizeof(length));
	return ntohl(length);
}

/* Gives the device what is complete. False: it has no room, or the connection is gone. */
static bool deliver(struct net_stream *stream)
{
	while (stream->in_end - stream->in_begin >= HEADER) {
		const uint8_t *at = stream->in + stream->in_begin;
		uint32_t length = frame_length(at);

		if (length < FRAME_MIN || length > FRAME_MAX) {
			go_down(stream, "what came is no frame");
			return false;
		}
		if (stream->in_end - stream->in_begin < HEADER + length)
			break;
		if (stream->backend.receive &&
		    !stream->backend.receive(stream->backend.receive_ctx, at + HEADER, length)) {
			stream->full = true;
			return false;
		}
		stream->in_begin += HEADER + length;
	}
	/* What is left is less than one frame: at the front there is room for the rest of it. */
	memmove(stream->in, stream->in + stream->in_begin, stream->in_end - stream->in_begin);
	stream->in_end -= stream->in_begin;
	stream->in_begin = 0;
	return true;
}

static void receive_frames(struct net_stream *stream)
{
	ssize_t n = read(stream->watch.fd, stream->in + stream->in_end, IN_SIZE - stream->in_end);

	if (n > 0) {
		stream->in_end += (size_t)n;
		deliver(stream);
	} else if (n == 0) {
		go_down(stream, "the connection was closed");
	} else if (errno != EAGAIN && errno != EINTR) {
		go_down(stream, strerror(errno));
	}
}

static void stream_resume(struct net_backend *backend)
{
	struct net_stream *stream = stream_of(backend);

	if (stream->down)
		return;
	stream->full = false;
	deliver(stream);
	update_watch(stream);
}

/* ---- from the guest ---- */

static void flush(struct net_stream *stream)
{
	while (!stream->down && stream->out_begin < stream->out_end) {
		ssize_t n = write(stream->watch.fd, stream->out + stream->out_begin, stream->out_end - stream->out_begin);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			go_down(stream, strerror(errno));
			return;
		}
		stream->blocked = n < 0;
		if (n < 0)
			break;
		stream->out_begin += (size_t)n;
	}
	if (stream->out_begin == stream->out_end) {
		stream->out_begin = stream->out_end = 0;
		stream->blocked = false;
	}
	update_watch(stream);
}

static bool make_room(struct net_stream *stream, size_t len)
{
	if (OUT_SIZE - stream->out_end >= len)
		return true;
	memmove(stream->out, stream->out + stream->out_begin, stream->out_end - stream->out_begin);
	stream->out_end -= stream->out_begin;
	stream->out_begin = 0;
	return OUT_SIZE - stream->out_end >= len;
}

/* Behind what waits already, from byte `skip` of header and buffers on. */
static void keep(struct net_stream *stream, const struct iovec *parts, unsigned count, size_t skip)
{
	for (unsigned i = 0; i < count; i++) {
		size_t gone = skip < parts[i].iov_len ? skip : parts[i].iov_len;

		memcpy(stream->out + stream->out_end, (const uint8_t *)parts[i].iov_base + gone, parts[i].iov_len - gone);
		stream->out_end += parts[i].iov_len - gone;
		skip -= gone;
	}
}

static void send_frame(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	struct net_stream *stream = stream_of(backend);
	struct iovec parts[1 + MAX_BUFS];
	size_t len = 0, sent = 0;
	uint32_t header;

	if (stream->down || count > MAX_BUFS)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (bufs[i].len > FRAME_MAX - len)
			return;
		parts[1 + i] = (struct iovec){.iov_base = bufs[i].base, .iov_len = bufs[i].len};
		len += bufs[i].len;
	}
	if (len < FRAME_MIN || !make_room(stream, HEADER + len))
		return;
	header = htonl((uint32_t)len);
	parts[0] = (struct iovec){.iov_base = &header, .iov_len = HEADER};
	if (len >= LARGE && !stream->blocked) {
		ssize_t n;

		flush(stream);
		n = stream->blocked || stream->down ? 0 : writev(stream->watch.fd, parts, (int)count + 1);
		/* An error is seen by the next flush(). */
		sent = n > 0 ? (size_t)n : 0;
		if (sent == HEADER + len || stream->down)
			return;
	}
	keep(stream, parts, 1 + count, sent);
	if (stream->out_end - stream->out_begin >= BATCH && !stream->blocked)
		flush(stream);
}

static void before_sleep(void *ctx)
{
	struct net_stream *stream = ctx;

	if (stream->out_begin < stream->out_end && !stream->blocked)
		flush(stream);
}

static void on_ready(void *ctx, uint32_t events)
{
	struct net_stream *stream = ctx;

	if (events & EPOLLOUT)
		flush(stream);
	if (!stream->down && !stream->full && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		receive_frames(stream);
	else if (!stream->down && (events & (EPOLLHUP | EPOLLERR)))
		go_down(stream, "the connection was closed");
	update_watch(stream);
}

/* ---- life ---- */

static void stream_destroy(struct net_backend *backend)
{
	struct net_stream *stream = stream_of(backend);

	loop_hook_remove(stream->loop, &stream->hook);
	loop_unwatch(stream->loop, &stream->watch);
	close(stream->watch.fd);
	free(stream->name);
	free(stream);
}

static const struct net_backend_ops stream_ops = {
	.send = send_frame,
	.resume = stream_resume,
	.destroy = stream_destroy,
};

int net_stream_open(int fd, const char *name, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	struct net_stream *stream = calloc(1, sizeof(*stream));
	int r = -ENOMEM;

	if (!stream)
		goto fail;
	stream->name = strdup(name);
	if (!stream->name)
		goto fail;
	stream->backend.ops = &stream_ops;
	stream->loop = loop;
	watch_init(&stream->watch, fd, on_ready, stream);
	/* A read() and writev() that don't wait need no further rule of the sandbox, as recv() would. */
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_watch(loop, &stream->watch, EPOLLIN);
	if (r < 0)
		goto fail;
	stream->hook = (struct loop_hook){.prepare = before_sleep, .ctx = stream};
	loop_hook_add(loop, &stream->hook);
	*out = &stream->backend;
	return 0;
fail:
	snprintf(why, why_size, "the network behind %s can't be used: %s", name, strerror(-r));
	if (stream)
		free(stream->name);
	free(stream);
	close(fd);
	return r;
}

int net_stream_connect(const char *path, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	int fd = socket_connect_unix(path);

	if (fd < 0) {
		snprintf(why, why_size, "no network answers at %s (%s): start its other end first, for example `passt -s %s`", path,
			 strerror(-fd), path);
		return fd;
	}
	return net_stream_open(fd, path, loop, out, why, why_size);
}

/* ---- passt ---- */

#define PASST_FD 3

/* passt --foreground --quiet --fd 3 [--tcp-ports 127.0.0.1/HOST:GUEST]... */
static int spawn_passt(const struct net_passt_options *options, int fd)
{
	char name[] = "passt", foreground[] = "--foreground", quiet[] = "--quiet", fd_option[] = "--fd", ports[] = "--tcp-ports";
	char number[8], forwards[ARRAY_SIZE(options->forward)][32];
	char *argv[6 + 2 * ARRAY_SIZE(options->forward)] = {name, foreground, quiet, fd_option, number};
	posix_spawn_file_actions_t actions;
	unsigned count = 5;
	pid_t pid;
	int r;

	snprintf(number, sizeof(number), "%d", PASST_FD);
	for (unsigned i = 0; i < options->forward_count && i < ARRAY_SIZE(forwards); i++) {
		snprintf(forwards[i], sizeof(forwards[i]), "127.0.0.1/%u:%u", options->forward[i].host, options->forward[i].guest);
		argv[count++] = ports;
		argv[count++] = forwards[i];
	}
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, fd, PASST_FD);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, PASST_FD + 1);
	if (!r)
		r = posix_spawnp(&pid, "passt", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int net_passt_start(const struct net_passt_options *options, struct loop *loop, struct net_backend **out, char *why,
		    size_t why_size)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, why_size, "no socket for passt: %s", strerror(errno));
		return -errno;
	}
	r = spawn_passt(options, pair[1]);
	close(pair[1]);
	if (r < 0) {
		snprintf(why, why_size, "passt can't be started: %s; install the package passt, or use --net user", strerror(-r));
		close(pair[0]);
		return r;
	}
	return net_stream_open(pair[0], "passt", loop, out, why, why_size);
}
