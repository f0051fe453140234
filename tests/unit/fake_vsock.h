/* A host for the vsock device: streams in memory, that do what the test says.
 *
 * Example:
 *     fake_vsock_init(&host);
 *     virtio_vsock_create(&vm, 3, &host.backend, &vdev);
 *     ... the guest connects ...
 *     fake_vsock_answer(&host, 0);                     // the oldest request is accepted
 */
#ifndef TESTS_UNIT_FAKE_VSOCK_H
#define TESTS_UNIT_FAKE_VSOCK_H

#include "core/backend.h"

#define FAKE_VSOCK_STREAMS 600

struct vsock_stream {
	struct fake_vsock *host;
	bool used, answered, finished;
	bool in_watched, out_watched;
	void *owner;
	uint32_t port;        /* the guest's call; or */
	uint32_t accepted_as; /* what the guest's acceptance said */
	size_t readable;      /* bytes for the guest, each the low byte of its number */
	size_t read;
	bool ended, broken;
	size_t room;          /* bytes that write() takes */
	size_t written;
	uint32_t sum;         /* of what was written: 31 * sum + byte */
};

struct fake_vsock {
	struct vsock_backend backend;
	struct vsock_stream streams[FAKE_VSOCK_STREAMS];
	bool refuses;
	unsigned closed;
};

void fake_vsock_init(struct fake_vsock *host);
unsigned fake_vsock_open(const struct fake_vsock *host); /* streams that are open */
/* The n-th open stream, or NULL. */
struct vsock_stream *fake_vsock_stream(struct fake_vsock *host, unsigned n);
/* Answers the first call that waits. False: none does. */
bool fake_vsock_answer(struct fake_vsock *host, int status);
/* Somebody on the host calls. NULL: refused. */
struct vsock_stream *fake_vsock_call(struct fake_vsock *host, uint32_t port);
/* Tells the device what its stream is ready for, if it wants to know. */
void fake_vsock_poke(struct vsock_stream *stream);

#endif
