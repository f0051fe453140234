/* Vsock's streams as Unix sockets; see vsock_unix.h.
 *
 * A stream is in one of two lists: `asking` while it has not said `CONNECT N` yet, or while the broker connects, and `working`, where the
 * device owns it. Those that have said nothing are at most MAX_SILENT: the oldest one goes when another comes.
 */
#include "backend/vsock_unix.h"
#include "base/fmt.h"
#include "base/log.h"
#include "base/types.h"
#include "host/linux/broker.h"
#include "host/linux/loop.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_SILENT 64u
#define BACKLOG    128
#define LINE_SIZE  32u /* "CONNECT 4294967295\n" has 19 */

struct vsock_unix;

struct vsock_stream {
	struct vsock_unix *backend;
	struct vsock_stream *next; /* in `silent` or `calling`, if in_list */
	struct watch watch;        /* fd -1: the broker has not answered yet */
	void *owner;               /* the device's; NULL while the line is read */
	uint32_t id;               /* of the request to the broker */
	bool in_list;
	bool from_host;            /* the other end is told when the guest has accepted */
	uint8_t line[LINE_SIZE];   /* what was read first: the line, then what came with it */
	unsigned line_len, line_at;
};

struct vsock_unix {
	struct vsock_backend backend;
	struct loop *loop;
	struct watch listener, broker;
	struct vsock_stream *silent;  /* from the host, without a line; the youngest first */
	struct vsock_stream *calling; /* wait for the broker */
	unsigned silent_count;
	uint32_t next_id;
};

_Static_assert(sizeof(struct iobuf) == sizeof(struct iovec) && offsetof(struct iobuf, base) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct iobuf, len) == offsetof(struct iovec, iov_len),
	       "an iobuf is an iovec");

static struct vsock_unix *unix_of(struct vsock_backend *backend)
{
	return container_of(backend, struct vsock_unix, backend);
}

/* ---- streams ---- */

static void unlist(struct vsock_stream **list, struct vsock_stream *stream)
{
	while (*list && *list != stream)
		list = &(*list)->next;
	if (*list)
		*list = stream->next;
	stream->in_list = false;
}

static void leave_lists(struct vsock_stream *stream)
{
	struct vsock_unix *sock = stream->backend;

	if (!stream->in_list)
		return;
	if (stream->owner) {
		unlist(&sock->calling, stream);
	} else {
		unlist(&sock->silent, stream);
		sock->silent_count--;
	}
}

static void close_stream(struct vsock_stream *stream)
{
	leave_lists(stream);
	if (stream->watch.fd >= 0) {
		loop_unwatch(stream->backend->loop, &stream->watch);
		close(stream->watch.fd);
	}
	free(stream);
}

static struct vsock_stream *new_stream(struct vsock_unix *sock, int fd, void (*ready)(void *ctx, uint32_t events), void *owner)
{
	struct vsock_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->backend = sock;
	stream->owner = owner;
	watch_init(&stream->watch, fd, ready, stream);
	return stream;
}

static void on_stream(void *ctx, uint32_t events)
{
	struct vsock_stream *stream = ctx;
	const bool end = events & (EPOLLHUP | EPOLLERR);

	/* The owner may close the stream. */
	stream->backend->backend.ready(stream->owner, end || (events & EPOLLIN), end || (events & EPOLLOUT));
}

static void stream_watch(struct vsock_stream *stream, bool in, bool out)
{
	/* What came with the line is there whatever epoll says: the device reads once the guest has accepted. */
	if (stream->watch.fd >= 0 &&
	    loop_watch(stream->backend->loop, &stream->watch, (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u)) < 0)
		log_warn("vsock", "a connection can't be waited for");
}

static int64_t take_line_rest(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count)
{
	int64_t taken = 0;

	for (unsigned i = 0; i < count && stream->line_at < stream->line_len; i++) {
		size_t part = stream->line_len - stream->line_at;

		if (part > bufs[i].len)
			part = bufs[i].len;
		memcpy(bufs[i].base, stream->line + stream->line_at, part);
		stream->line_at += (unsigned)part;
		taken += (int64_t)part;
	}
	return taken;
}

/* EINTR: as if nothing were there; epoll says so again if something is. */
static int64_t result_of(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

static int64_t stream_read(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count)
{
	if (stream->line_at < stream->line_len)
		return take_line_rest(stream, bufs, count);
	return result_of(readv(stream->watch.fd, (const struct iovec *)(const void *)bufs, (int)count));
}

static int64_t stream_write(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count)
{
	return result_of(writev(stream->watch.fd, (const struct iovec *)(const void *)bufs, (int)count));
}

static void stream_finish(struct vsock_stream *stream)
{
	(void)shutdown(stream->watch.fd, SHUT_WR);
}

/* ---- from the guest ---- */

static struct vsock_stream *guest_connects(struct vsock_backend *backend, uint32_t port, void *owner)
{
	struct vsock_unix *sock = unix_of(backend);
	struct broker_request request = {.id = ++sock->next_id, .port = port};
	struct vsock_stream *stream;

	if (sock->broker.fd < 0)
		return NULL;
	stream = new_stream(sock, -1, on_stream, owner);
	if (!stream)
		return NULL;
	if (write(sock->broker.fd, &request, sizeof(request)) != (ssize_t)sizeof(request)) {
		free(stream);
		return NULL;
	}
	stream->id = request.id;
	stream->next = sock->calling;
	stream->in_list = true;
	sock->calling = stream;
	return stream;
}

static void broker_answers(struct vsock_unix *sock, const struct broker_reply *reply, int fd)
{
	struct vsock_stream *stream = sock->calling;

	while (stream && stream->id != reply->id)
		stream = stream->next;
	if (!stream) {
		/* The guest has changed its mind. */
		if (fd >= 0)
			close(fd);
		return;
	}
	unlist(&sock->calling, stream);
	stream->watch.fd = fd;
	sock->backend.connected(stream->owner, reply->status);
}

static void on_broker(void *ctx, uint32_t events)
{
	struct vsock_unix *sock = ctx;
	struct broker_reply reply;
	int fd, r;

	while ((r = broker_receive(sock->broker.fd, &reply, &fd)) == 0)
		broker_answers(sock, &reply, fd);
	if (r == -EAGAIN)
		return;
	log_warn("vsock", "the process that connects for the guest is gone: the guest can't connect to the host any more");
	loop_unwatch(sock->loop, &sock->broker);
	close(sock->broker.fd);
	sock->broker.fd = -1;
	while (sock->calling)
		broker_answers(sock, &(struct broker_reply){.id = sock->calling->id, .status = -EPIPE}, -1);
}

/* ---- from the host ---- */

/* "CONNECT 1024\n". 1: it is whole, *port and where it ends; 0: not yet; -1: it is something else. */
static int parse_line(const uint8_t *line, unsigned len, uint32_t *port, unsigned *end)
{
	static const char word[] = "CONNECT ";
	const unsigned start = sizeof(word) - 1;
	uint64_t number = 0;

	for (unsigned i = 0; i < len; i++) {
		if (i < start) {
			if (line[i] != (uint8_t)word[i])
				return -1;
		} else if (line[i] == '\n' && i > start) {
			*port = (uint32_t)number;
			*end = i + 1;
			return 1;
		} else {
			if (line[i] < '0' || line[i] > '9')
				return -1;
			number = number * 10 + (uint64_t)(line[i] - '0');
			if (number > UINT32_MAX)
				return -1;
		}
	}
	return len < LINE_SIZE ? 0 : -1;
}

static void host_asks(struct vsock_stream *stream, uint32_t port)
{
	struct vsock_unix *sock = stream->backend;

	leave_lists(stream);
	loop_unwatch(sock->loop, &stream->watch);
	stream->watch.ready = on_stream;
	stream->from_host = true;
	stream->owner = sock->backend.incoming ? sock->backend.incoming(sock->backend.ctx, stream, port) : NULL;
	if (!stream->owner)
		close_stream(stream);
}

static void on_line(void *ctx, uint32_t events)
{
	struct vsock_stream *stream = ctx;
	ssize_t n = read(stream->watch.fd, stream->line + stream->line_len, LINE_SIZE - stream->line_len);
	uint32_t port;
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_stream(stream);
		return;
	}
	stream->line_len += (unsigned)n;
	r = parse_line(stream->line, stream->line_len, &port, &stream->line_at);
	if (r > 0)
		host_asks(stream, port);
	else if (r < 0)
		close_stream(stream);
}

static void close_oldest(struct vsock_unix *sock)
{
	struct vsock_stream *stream = sock->silent;

	while (stream->next)
		stream = stream->next;
	close_stream(stream);
}

static void on_client(void *ctx, uint32_t events)
{
	struct vsock_unix *sock = ctx;
	int fd = accept4(sock->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct vsock_stream *stream;

	if (fd < 0)
		return; /* it changed its mind */
	if (sock->silent_count >= MAX_SILENT)
		close_oldest(sock);
	stream = new_stream(sock, fd, on_line, NULL);
	if (!stream) {
		close(fd);
		return;
	}
	stream->next = sock->silent;
	stream->in_list = true;
	sock->silent = stream;
	sock->silent_count++;
	if (loop_watch(sock->loop, &stream->watch, EPOLLIN) < 0)
		close_stream(stream);
}

static void guest_accepted(struct vsock_stream *stream, uint32_t host_port)
{
	char text[24];
	size_t len = fmt_print(text, sizeof(text), "OK %u\n", host_port);
	ssize_t n = write(stream->watch.fd, text, len);

	(void)n; /* the first bytes into a socket's buffer; who has gone is seen by the next read or write */
}

/* ---- life ---- */

static void unix_destroy(struct vsock_backend *backend)
{
	struct vsock_unix *sock = unix_of(backend);

	while (sock->silent)
		close_stream(sock->silent);
	if (sock->listener.fd >= 0) {
		loop_unwatch(sock->loop, &sock->listener);
		close(sock->listener.fd);
	}
	if (sock->broker.fd >= 0) {
		loop_unwatch(sock->loop, &sock->broker);
		close(sock->broker.fd);
	}
	free(sock);
}

static const struct vsock_backend_ops unix_ops = {
	.connect = guest_connects,
	.accepted = guest_accepted,
	.read = stream_read,
	.write = stream_write,
	.watch = stream_watch,
	.finish = stream_finish,
	.close = close_stream,
	.destroy = unix_destroy,
};

int vsock_unix_open(const char *path, bool sandbox, struct loop *loop, struct vsock_backend **out, char *why, size_t why_size)
{
	struct vsock_unix *sock = calloc(1, sizeof(*sock));
	int fd, r;

	if (!sock) {
		snprintf(why, why_size, "no memory for vsock; free some on the host");
		return -ENOMEM;
	}
	sock->backend.ops = &unix_ops;
	sock->loop = loop;
	watch_init(&sock->listener, -1, on_client, sock);
	watch_init(&sock->broker, -1, on_broker, sock);
	fd = socket_listen_unix(path);
	if (fd < 0) {
		r = fd;
		snprintf(why, why_size, "vsock cannot listen at '%s': %s", path, strerror(-r));
		goto fail;
	}
	sock->listener.fd = fd;
	(void)listen(fd, BACKLOG); /* more than for a console */
	r = broker_start(path, sandbox, why, why_size);
	if (r < 0)
		goto fail;
	sock->broker.fd = r;
	r = loop_watch(loop, &sock->listener, EPOLLIN);
	if (r == 0)
		r = loop_watch(loop, &sock->broker, EPOLLIN);
	if (r < 0) {
		snprintf(why, why_size, "vsock's sockets can't be waited for: %s", strerror(-r));
		goto fail;
	}
	*out = &sock->backend;
	return 0;
fail:
	unix_destroy(&sock->backend);
	return r;
}
