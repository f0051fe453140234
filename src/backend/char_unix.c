/* A listening Unix socket with one client at a time; see char.h.
 *
 * Example: `r = char_open(&host, "unix=/run/guest.sock", "serial0", &backend, why, sizeof(why));`
 * and, to talk to it, `socat - unix:/run/guest.sock`.
 *
 * Others who connect wait in the backlog until the client is gone. The socket's file stays behind (the sandbox
 * does not let us remove it); the next start replaces it if nobody listens there.
 */
#include "backend/char_kinds.h"
#include "backend/char_stream.h"
#include "base/fmt.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct char_unix {
	struct char_stream stream;
	struct watch listener;
	int client;
};

static struct char_unix *unix_of(struct char_stream *stream)
{
	return container_of(stream, struct char_unix, stream);
}

static void listen_again(struct char_unix *sock)
{
	int r = loop_watch(sock->stream.host->loop, &sock->listener, EPOLLIN);

	if (r < 0)
		log_error("char", "%s: cannot wait for clients: %s", sock->stream.id, strerror(-r));
}

static void on_client(void *ctx, uint32_t events)
{
	struct char_unix *sock = ctx;
	int fd = accept4(sock->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	if (fd < 0)
		return; /* it changed its mind */
	r = char_stream_attach(&sock->stream, fd, fd);
	if (r < 0) {
		close(fd);
		return;
	}
	sock->client = fd;
	loop_unwatch(sock->stream.host->loop, &sock->listener);
	/* The device may have left input unasked-for while there was nobody. */
	sock->stream.backend.ops->resume(&sock->stream.backend);
}

static void unix_hangup(struct char_stream *stream)
{
	struct char_unix *sock = unix_of(stream);
	int fd = sock->client;

	sock->client = -1;
	char_stream_detach(stream);
	close(fd);
	listen_again(sock);
}

static void unix_destroy(struct char_stream *stream)
{
	struct char_unix *sock = unix_of(stream);

	loop_unwatch(stream->host->loop, &sock->listener);
	if (sock->client >= 0)
		close(sock->client);
	if (sock->listener.fd >= 0)
		close(sock->listener.fd);
	platform_free(sock);
}

static const struct char_stream_ops unix_ops = {.hangup = unix_hangup, .destroy = unix_destroy};

int char_unix_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size)
{
	struct char_unix *sock = platform_alloc(sizeof(*sock));
	int fd, r;

	if (!sock)
		return -ENOMEM;
	char_stream_init(&sock->stream, host, id, &unix_ops);
	sock->client = -1;
	fd = socket_listen_unix(path);
	watch_init(&sock->listener, fd < 0 ? -1 : fd, on_client, sock);
	r = fd < 0 ? fd : loop_watch(host->loop, &sock->listener, EPOLLIN);
	if (r < 0) {
		fmt_print(why, why_size, "%s: cannot listen at '%s': %s", id, path, strerror(-r));
		char_stream_destroy(&sock->stream.backend);
		return r;
	}
	*out = &sock->stream.backend;
	return 0;
}
