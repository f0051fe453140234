/* A listening Unix socket with one client at a time: `unix=` and `detached`; see char.h.
 *
 * Example: `r = char_open(&host, "unix=/run/guest.sock", "serial0", &backend, why, sizeof(why));`
 * and, to talk to it, `socat - unix:/run/guest.sock`.
 *
 * Others who connect wait in the backlog until the client is gone. The socket's file stays behind (the sandbox
 * does not let us remove it); the next start replaces it if nobody listens there. With `detached` who comes
 * first sees what was said last, and who comes second is told that somebody is there.
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

#define SAID_SIZE 16384 /* less than a socket takes at once */

struct char_unix {
	struct char_stream stream;
	struct watch listener;
	int client;
	size_t said_at, said_len; /* the end of what was said, around; its length */
	uint8_t *said;            /* SAID_SIZE bytes: `detached`; or NULL */
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

static void detached_said(struct char_stream *stream, const uint8_t *buf, size_t len)
{
	struct char_unix *sock = unix_of(stream);

	for (size_t i = 0; i < len; i++) {
		sock->said[sock->said_at] = buf[i];
		sock->said_at = (sock->said_at + 1) % SAID_SIZE;
	}
	sock->said_len = len > SAID_SIZE - sock->said_len ? SAID_SIZE : sock->said_len + len;
}

/* What does not fit is not that important. */
static void say(int fd, const void *buf, size_t len)
{
	ssize_t n = write(fd, buf, len);

	(void)n;
}

static void say_again(const struct char_unix *sock, int fd)
{
	size_t begin = (sock->said_at + SAID_SIZE - sock->said_len) % SAID_SIZE;
	size_t first = sock->said_len < SAID_SIZE - begin ? sock->said_len : SAID_SIZE - begin;

	say(fd, sock->said + begin, first);
	if (sock->said_len > first)
		say(fd, sock->said, sock->said_len - first);
}

static void on_client(void *ctx, uint32_t events)
{
	struct char_unix *sock = ctx;
	int fd = accept4(sock->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	if (fd < 0)
		return; /* it changed its mind */
	if (sock->client >= 0) {
		say(fd, "ruse: somebody else has this console\n", 37);
		close(fd);
		return;
	}
	if (sock->said)
		say_again(sock, fd);
	r = char_stream_attach(&sock->stream, fd, fd);
	if (r < 0) {
		close(fd);
		return;
	}
	sock->client = fd;
	if (!sock->said)
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
	if (sock->said)
		stream->host->detached_taken = false;
	platform_free(sock->said);
	platform_free(sock);
}

static const struct char_stream_ops unix_ops = {.hangup = unix_hangup, .destroy = unix_destroy};
static const struct char_stream_ops detached_ops = {
	.hangup = unix_hangup, .destroy = unix_destroy, .said = detached_said};

static int open_at(struct char_host *host, const char *path, const char *id, bool detached, struct char_backend **out,
		   char *why, size_t why_size)
{
	struct char_unix *sock = platform_alloc(sizeof(*sock));
	int fd, r;

	if (!sock)
		return -ENOMEM;
	sock->said = detached ? platform_alloc(SAID_SIZE) : NULL;
	if (detached && !sock->said) {
		platform_free(sock);
		return -ENOMEM;
	}
	char_stream_init(&sock->stream, host, id, detached ? &detached_ops : &unix_ops);
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

int char_unix_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size)
{
	return open_at(host, path, id, false, out, why, why_size);
}

int char_detached_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		       size_t why_size)
{
	int r;

	if (!host->detached || host->detached_taken) {
		fmt_print(why, why_size, "%s: %s", id,
			  host->detached ? "another device is detached already; choose one of none, file=PATH, unix=PATH, pty for it"
					 : "there is no directory for a detached console; set XDG_RUNTIME_DIR");
		return -ENOENT;
	}
	r = open_at(host, host->detached, id, true, out, why, why_size);
	host->detached_taken = r == 0;
	return r;
}
