/* Character backends of the Linux host: what `--serial` and `--console` name.
 *
 *     stdio    our terminal, raw, with the Ctrl-A keys; or a pipe or file, as it is
 *     none     output is dropped, input never comes
 *     file=P   output to a file
 *     unix=P   a listening socket with one client at a time; output without a client is dropped
 *     pty      a new pseudo-terminal, whose name is printed
 *     detached a socket where `ruse console` finds it; who comes sees the last that was said
 *
 * Example:
 *     struct char_host host = {.loop = loop, .quit = on_quit, .quit_ctx = vm};
 *     r = char_open(&host, "stdio", "serial0", &backend, why, sizeof(why));
 *     ... the device sets receive, room, ctx and calls resume when it has room ...
 *     char_resize(backend);                       // SIGWINCH came
 *     backend->ops->destroy(backend);             // after the device is gone
 *
 * All descriptors are made here (but for the clients of unix=), so before the sandbox closes.
 */
#ifndef BACKEND_CHAR_H
#define BACKEND_CHAR_H

#include "core/backend.h"

struct loop;

/* What the backends of one process share. */
struct char_host {
	struct loop *loop;
	void (*quit)(void *ctx); /* Ctrl-A x, on the I/O thread */
	void *quit_ctx;
	bool stdio_taken;        /* ours: there is one stdio */
	const char *detached;    /* where the socket of `detached` goes, or NULL: it can't be had */
	bool detached_taken;     /* ours: there is one */
};

/* Makes the backend that spec names; id ("serial0") is for messages. host outlives it. 0, or -errno with one
 * sentence in why. */
int char_open(struct char_host *host, const char *spec, const char *id, struct char_backend **out, char *why,
	      size_t why_size) must_check;

/* A backend over descriptors that exist, e.g. our stdin and stdout for a command in the guest: no raw mode, no
 * Ctrl-A. in or out may be -1. The descriptors are not closed. */
int char_open_fds(struct char_host *host, int in, int out, const char *id, struct char_backend **backend,
		  char *why, size_t why_size) must_check;

/* Whether the last write came short and the device waits for writable(): it may have more to say. */
bool char_blocked(const struct char_backend *backend);

/* The window has another size: asks the terminal and tells the device. Any backend; I/O thread. */
void char_resize(struct char_backend *backend);

#endif
