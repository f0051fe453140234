/* See fake_vsock.h. */
#include "fake_vsock.h"
#include "base/errno.h"
#include <stdlib.h>
#include <string.h>

static struct vsock_stream *take_stream(struct fake_vsock *host)
{
	for (unsigned i = 0; i < FAKE_VSOCK_STREAMS; i++) {
		struct vsock_stream *stream = &host->streams[i];

		if (!stream->used) {
			*stream = (struct vsock_stream){.host = host, .used = true, .room = SIZE_MAX};
			return stream;
		}
	}
	abort();
}

static struct vsock_stream *fake_connect(struct vsock_backend *backend, uint32_t port, void *owner)
{
	struct fake_vsock *host = container_of(backend, struct fake_vsock, backend);
	struct vsock_stream *stream;

	if (host->refuses)
		return NULL;
	stream = take_stream(host);
	stream->owner = owner;
	stream->port = port;
	return stream;
}

static void fake_accepted(struct vsock_stream *stream, uint32_t host_port)
{
	if (!stream->used || stream->accepted_as)
		abort();
	stream->accepted_as = host_port;
}

static int64_t fake_read(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count)
{
	int64_t taken = 0;

	if (!stream->used || !stream->answered)
		abort();
	if (stream->broken)
		return -EIO;
	if (stream->readable == 0)
		return stream->ended ? 0 : -EAGAIN;
	for (unsigned i = 0; i < count; i++) {
		for (size_t j = 0; j < bufs[i].len && stream->readable > 0; j++, taken++) {
			((uint8_t *)bufs[i].base)[j] = (uint8_t)stream->read++;
			stream->readable--;
		}
	}
	return taken;
}

static int64_t fake_write(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count)
{
	int64_t taken = 0;

	if (!stream->used || !stream->answered || stream->finished)
		abort();
	if (stream->broken)
		return -EIO;
	if (stream->room == 0)
		return -EAGAIN;
	for (unsigned i = 0; i < count; i++) {
		for (size_t j = 0; j < bufs[i].len && stream->room > 0; j++, taken++) {
			stream->sum = 31 * stream->sum + ((const uint8_t *)bufs[i].base)[j];
			stream->written++;
			stream->room--;
		}
	}
	return taken;
}

static void fake_watch(struct vsock_stream *stream, bool in, bool out)
{
	if (!stream->used)
		abort();
	stream->in_watched = in;
	stream->out_watched = out;
}

static void fake_finish(struct vsock_stream *stream)
{
	if (!stream->used || stream->finished)
		abort();
	stream->finished = true;
}

static void fake_close(struct vsock_stream *stream)
{
	if (!stream->used)
		abort();
	stream->used = false;
	stream->host->closed++;
}

static const struct vsock_backend_ops fake_ops = {
	.connect = fake_connect,
	.accepted = fake_accepted,
	.read = fake_read,
	.write = fake_write,
	.watch = fake_watch,
	.finish = fake_finish,
	.close = fake_close,
};

void fake_vsock_init(struct fake_vsock *host)
{
	memset(host, 0, sizeof(*host));
	host->backend.ops = &fake_ops;
}

unsigned fake_vsock_open(const struct fake_vsock *host)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_VSOCK_STREAMS; i++)
		count += host->streams[i].used;
	return count;
}

struct vsock_stream *fake_vsock_stream(struct fake_vsock *host, unsigned n)
{
	for (unsigned i = 0; i < FAKE_VSOCK_STREAMS; i++)
		if (host->streams[i].used && n-- == 0)
			return &host->streams[i];
	return NULL;
}

bool fake_vsock_answer(struct fake_vsock *host, int status)
{
	for (unsigned i = 0; i < FAKE_VSOCK_STREAMS; i++) {
		struct vsock_stream *stream = &host->streams[i];

		if (stream->used && !stream->answered) {
			stream->answered = status == 0;
			host->backend.connected(stream->owner, status);
			return true;
		}
	}
	return false;
}

struct vsock_stream *fake_vsock_call(struct fake_vsock *host, uint32_t port)
{
	struct vsock_stream *stream = take_stream(host);

	stream->answered = true;
	stream->owner = host->backend.incoming(host->backend.ctx, stream, port);
	if (stream->owner)
		return stream;
	stream->used = false;
	return NULL;
}

void fake_vsock_poke(struct vsock_stream *stream)
{
	bool in = stream->in_watched && (stream->readable > 0 || stream->ended || stream->broken);
	bool out = stream->out_watched && (stream->room > 0 || stream->broken);

	if (stream->used && stream->answered && (in || out))
		stream->host->backend.ready(stream->owner, in, out);
}
