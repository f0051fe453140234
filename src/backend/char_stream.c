/* Bytes between a device and descriptors; see char_stream.h.
 *
 * Example: `char_stream_init(s, host, "serial0", &ops); r = char_stream_attach(s, 0, 1);`
 */
#include "backend/char_stream.h"
#include "base/fmt.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* What a descriptor that polls as writable takes without blocking: a pipe at least PIPE_BUF, a terminal
 * something like this. */
#define POLLED_CHUNK 256

static struct char_stream *stream_of(struct char_backend *backend)
{
	return container_of(backend, struct char_stream, backend);
}

static bool one_descriptor(const struct char_stream *stream)
{
	return stream->in.fd >= 0 && stream->in.fd == stream->out.fd;
}

static bool wants_input(const struct char_stream *stream)
{
	if (stream->in.fd < 0 || stream->in_ended)
		return false;
	return stream->ops->filter || stream->staged == stream->taken;
}

/* Brings the loop's interest in line with ours. */
static void update_watches(struct char_stream *stream)
{
	uint32_t in = wants_input(stream) ? EPOLLIN : 0;
	uint32_t out = stream->out_blocked ? EPOLLOUT : 0;
	int r = 0;

	if (stream->in.fd >= 0 && !stream->in_pumped)
		r = loop_watch(stream->host->loop, &stream->in, one_descriptor(stream) ? in | out : in);
	else if (stream->in_pumped && in)
		loop_post(stream->host->loop, &stream->pump);
	if (r == 0 && stream->out.fd >= 0 && !one_descriptor(stream))
		r = loop_watch(stream->host->loop, &stream->out, out);
	if (r < 0)
		log_guest("char", "%s: cannot wait for it: %s", stream->id, strerror(-r));
}

/* ---- input ---- */

static void tell_end(struct char_stream *stream)
{
	if (!stream->in_ended || stream->end_told || stream->staged != stream->taken || stream->ops->hangup)
		return;
	if (!stream->backend.end_of_input && !stream->backend.receive)
		return; /* no device yet */
	stream->end_told = true;
	if (stream->backend.end_of_input)
		stream->backend.end_of_input(stream->backend.ctx);
}

static void deliver(struct char_stream *stream)
{
	struct char_backend *backend = &stream->backend;

	/* receive() may call resume(), which comes here. */
	if (stream->delivering)
		return;
	stream->delivering = true;
	while (stream->taken < stream->staged && backend->receive && backend->room) {
		size_t len = stream->staged - stream->taken, room = backend->room(backend->ctx);
		const uint8_t *from = stream->stage + stream->taken;

		if (room == 0)
			break;
		if (len > room)
			len = room;
		stream->taken += len;
		backend->receive(backend->ctx, from, len);
	}
	if (stream->taken == stream->staged)
		stream->taken = stream->staged = 0;
	stream->delivering = false;
	tell_end(stream);
}

static void hangup(struct char_stream *stream)
{
	stream->in_ended = true;
	if (stream->ops->hangup)
		stream->ops->hangup(stream);
}

/* Reads into the stage behind what is still there. With a filter and a full stage: into nowhere, for the
 * filter's sake. */
static void read_input(struct char_stream *stream)
{
	uint8_t scratch[256 + 1];
	size_t space;
	uint8_t *to;
	ssize_t n;

	if (stream->taken > 0) {
		memmove(stream->stage, stream->stage + stream->taken, stream->staged - stream->taken);
		stream->staged -= stream->taken;
		stream->taken = 0;
	}
	space = stream->staged < CHAR_STAGE_SIZE ? CHAR_STAGE_SIZE - stream->staged : 0;
	to = space ? stream->stage + stream->staged : scratch;
	n = read(stream->in.fd, to, space ? space : sizeof(scratch) - 1);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hangup(stream);
		return;
	}
	if (stream->ops->filter)
		n = (ssize_t)stream->ops->filter(stream, to, (size_t)n);
	if (space)
		stream->staged += (size_t)n;
}

static void take_input(struct char_stream *stream)
{
	if (wants_input(stream))
		read_input(stream);
	deliver(stream);
	update_watches(stream);
}

static void pump_input(void *ctx)
{
	take_input(ctx);
}

static void stream_resume(struct char_backend *backend)
{
	struct char_stream *stream = stream_of(backend);

	deliver(stream);
	update_watches(stream);
}

/* ---- output ---- */

static void become_writable(struct char_stream *stream)
{
	if (!stream->out_blocked)
		return;
	stream->out_blocked = false;
	if (stream->backend.writable)
		stream->backend.writable(stream->backend.ctx);
}

/* One write that does not block. Bytes written, or -errno. */
static ssize_t write_some(struct char_stream *stream, const uint8_t *buf, size_t len)
{
	ssize_t n;

	if (stream->out_polls) {
		struct pollfd ready = {.fd = stream->out.fd, .events = POLLOUT};

		if (poll(&ready, 1, 0) == 0)
			return -EAGAIN;
		if (len > POLLED_CHUNK)
			len = POLLED_CHUNK;
	}
	n = write(stream->out.fd, buf, len);
	return n < 0 ? -errno : n;
}

/* Output that can't be written must not hold up the guest: it is lost, as on an unplugged cable. */
static void lose_output(struct char_stream *stream, int error)
{
	if (!stream->out_lost && !stream->ops->hangup && error != EPIPE)
		log_warn("char", "%s: output is lost: %s", stream->id, strerror(error));
	stream->out_lost = true;
}

static size_t write_all(struct char_backend *backend, const void *buf, size_t len)
{
	struct char_stream *stream = stream_of(backend);
	const uint8_t *from = buf;
	size_t done = 0;

	while (done < len && stream->out.fd >= 0 && !stream->out_lost) {
		ssize_t n = write_some(stream, from + done, len - done);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			stream->out_blocked = true;
			update_watches(stream);
			return done;
		}
		if (n < 0)
			lose_output(stream, (int)-n);
		else
			done += (size_t)n;
	}
	return len;
}

static size_t stream_write(struct char_backend *backend, const void *buf, size_t len)
{
	struct char_stream *stream = stream_of(backend);
	size_t done = write_all(backend, buf, len);

	if (stream->ops->said)
		stream->ops->said(stream, buf, done);
	return done;
}

/* ---- both ---- */

static void out_ready(void *ctx, uint32_t events)
{
	struct char_stream *stream = ctx;

	become_writable(stream);
	update_watches(stream);
}

static void in_ready(void *ctx, uint32_t events)
{
	struct char_stream *stream = ctx;

	if (one_descriptor(stream) && (events & (EPOLLOUT | EPOLLERR)))
		become_writable(stream);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take_input(stream);
	else
		update_watches(stream);
}

/* A pipe or terminal that we share with others may not be made O_NONBLOCK: that would hit them too. */
static bool blocks(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

int char_stream_attach(struct char_stream *stream, int in, int out)
{
	int r;

	watch_init(&stream->in, in, in_ready, stream);
	watch_init(&stream->out, out, out_ready, stream);
	stream->in_pumped = stream->in_ended = stream->end_told = false;
	stream->out_lost = false;
	stream->out_polls = out >= 0 && blocks(out);
	stream->staged = stream->taken = 0;
	if (in < 0)
		return 0;
	r = loop_watch(stream->host->loop, &stream->in, EPOLLIN);
	if (r != -EPERM)
		return r;
	/* A regular file is always ready, so epoll refuses it. */
	stream->in_pumped = true;
	loop_post(stream->host->loop, &stream->pump);
	return 0;
}

void char_stream_detach(struct char_stream *stream)
{
	loop_unwatch(stream->host->loop, &stream->in);
	loop_unwatch(stream->host->loop, &stream->out);
	stream->in.fd = stream->out.fd = -1;
	stream->staged = stream->taken = 0;
	become_writable(stream);
}

void char_stream_destroy(struct char_backend *backend)
{
	struct char_stream *stream = stream_of(backend);

	loop_unwatch(stream->host->loop, &stream->in);
	loop_unwatch(stream->host->loop, &stream->out);
	loop_unpost(stream->host->loop, &stream->pump);
	if (stream->ops->destroy)
		stream->ops->destroy(stream);
	else
		platform_free(stream);
}

static const struct char_backend_ops stream_ops = {
	.write = stream_write,
	.resume = stream_resume,
	.destroy = char_stream_destroy,
};

void char_stream_init(struct char_stream *stream, struct char_host *host, const char *id,
		      const struct char_stream_ops *ops)
{
	stream->backend.ops = &stream_ops;
	stream->ops = ops;
	stream->host = host;
	fmt_print(stream->id, sizeof(stream->id), "%s", id);
	watch_init(&stream->in, -1, in_ready, stream);
	watch_init(&stream->out, -1, out_ready, stream);
	work_init(&stream->pump, NULL, pump_input, stream);
}

bool char_blocked(const struct char_backend *backend)
{
	return backend && backend->ops == &stream_ops &&
	       container_of((struct char_backend *)(uintptr_t)backend, struct char_stream, backend)->out_blocked;
}

void char_resize(struct char_backend *backend)
{
	struct char_stream *stream;

	if (!backend || backend->ops != &stream_ops)
		return;
	stream = stream_of(backend);
	if (stream->ops->resize)
		stream->ops->resize(stream);
}
