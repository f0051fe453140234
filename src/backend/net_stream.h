/* A network behind a Unix stream socket: passt, or whatever else speaks its protocol (QEMU's `-netdev stream`): before each
 * Ethernet frame its length, four bytes, big-endian.
 *
 * Example:
 *     err = net_stream_connect("/tmp/passt_1.socket", loop, &backend, why, sizeof(why));
 *
 * When the peer goes away or breaks the protocol the link goes down, and stays so: what could bring it up again would be a
 * new connection, which the sandbox doesn't allow.
 */
#ifndef BACKEND_NET_STREAM_H
#define BACKEND_NET_STREAM_H

#include "core/backend.h"

struct loop;

/* To a socket that somebody listens at. */
int net_stream_connect(const char *path, struct loop *loop, struct net_backend **out, char *why, size_t why_size) must_check;

struct net_passt_options {
	struct {
		uint16_t host, guest; /* TCP; the host side listens on 127.0.0.1 */
	} forward[16];
	unsigned forward_count;
};

/* Starts passt, which ends with us. */
int net_passt_start(const struct net_passt_options *options, struct loop *loop, struct net_backend **out, char *why,
		    size_t why_size) must_check;

/* Takes over fd, a connected stream socket; name is copied, for messages. Closed on failure too. */
int net_stream_open(int fd, const char *name, struct loop *loop, struct net_backend **out, char *why, size_t why_size) must_check;

#endif
