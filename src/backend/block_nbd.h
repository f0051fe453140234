/* A disk at an NBD server, which holds it as it is (raw): what lies behind is the server's affair.
 *
 * Example:
 *     struct block_nbd_options options = {.uri = "nbd+unix:///root?socket=/run/nbd.sock"};
 *     err = block_nbd_open(&options, loop, &backend, why, sizeof(why));
 *
 * Many requests are under way at a time, all on the I/O thread. The connection is made once: when it is lost, or the server does not
 * answer at the end, what was under way and all that comes later fails with -EIO.
 */
#ifndef BACKEND_BLOCK_NBD_H
#define BACKEND_BLOCK_NBD_H

#include "core/backend.h"

struct loop;

struct block_nbd_options {
	const char *uri;       /* disk/nbd_client.h */
	const char *serial;    /* or NULL; at most 20 bytes count */
	bool read_only;        /* it is so too if the server says so */
	bool writethrough;     /* a write that is done is on the medium */
	bool unsafe;           /* flushes are not passed on */
	unsigned patience_ms;  /* how long drain() waits for a sign of life; 0: five seconds */
};

/* Connects, so before the sandbox closes. 0, or -errno with one sentence in why. */
int block_nbd_open(const struct block_nbd_options *options, struct loop *loop, struct block_backend **out, char *why, size_t why_size)
	must_check;

#endif
