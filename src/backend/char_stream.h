/* Private to backend/char*: bytes between a device and descriptors, driven by the event loop. stdio, files,
 * sockets and pseudo-terminals are this with a little around it.
 *
 *      descriptor --read--> [stage] --filter--> room(), receive()
 *      write() ----------------------------------------> descriptor   (EAGAIN: EPOLLOUT, then writable())
 *
 * Example:
 *     char_stream_init(&pty->stream, host, "serial0", &pty_ops);
 *     r = char_stream_attach(&pty->stream, fd, fd);
 *
 * Input is read only when what was read before has been taken, so that a pipe blocks its writer and not us;
 * with a filter it is always read (the person must be able to quit a guest that doesn't listen), and what the
 * guest leaves lying beyond the stage is dropped.
 */
#ifndef BACKEND_CHAR_STREAM_H
#define BACKEND_CHAR_STREAM_H

#include "backend/char.h"
#include "host/linux/loop.h"

struct char_stream;

/* All optional. */
struct char_stream_ops {
	/* Input may shrink by what is not the guest's: edits buf in place, returns the new length. May grow by
	 * one byte: buf has room. */
	size_t (*filter)(struct char_stream *stream, uint8_t *buf, size_t len);
	/* The other side is gone. Without this, end_of_input() is passed on and output goes nowhere. */
	void (*hangup)(struct char_stream *stream);
	/* Frees what contains the stream; without it the stream itself was allocated by platform_alloc. */
	void (*destroy)(struct char_stream *stream);
	void (*resize)(struct char_stream *stream);
	/* Output that was taken, whether or not there is somebody to see it. */
	void (*said)(struct char_stream *stream, const uint8_t *buf, size_t len);
};

#define CHAR_STAGE_SIZE 4096

struct char_stream {
	struct char_backend backend; /* first: char_resize() tells by backend.ops that this is one */
	const struct char_stream_ops *ops;
	struct char_host *host;
	char id[16];
	struct watch in, out;   /* fd -1: not there. When both are one descriptor only `in` is watched. */
	struct work pump;       /* input of descriptors that epoll does not take */
	bool in_pumped;
	bool in_ended;          /* no more input will come */
	bool end_told;
	bool delivering;
	bool out_blocked;       /* the last write came short; writable() is owed */
	bool out_polls;         /* the descriptor is not O_NONBLOCK: ask before each small write */
	bool out_lost;          /* output fails, and that was said */
	size_t staged, taken;   /* stage[taken..staged) waits for the device */
	uint8_t stage[CHAR_STAGE_SIZE + 1];
};

void char_stream_init(struct char_stream *stream, struct char_host *host, const char *id,
		      const struct char_stream_ops *ops);
/* Starts on descriptors, either may be -1. Closes none. 0 or -errno. */
int char_stream_attach(struct char_stream *stream, int in, int out) must_check;
/* Stops; what is in the stage is forgotten. A device that waits for room is told that there is. */
void char_stream_detach(struct char_stream *stream);
/* Stops and frees; the owner's destroy hook closes the descriptors. */
void char_stream_destroy(struct char_backend *backend);

#endif
