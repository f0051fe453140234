/* The other half of a vhost-user network card, for tests: it speaks the protocol and moves frames, header in front, over the rings
 * that it is given. Anything that it does not understand ends the program.
 *
 * Example:
 *     struct vhost_peer peer = {.fd = fd, .features = PEER_FEATURES};
 *     while (peer_message(&peer))
 *             while ((n = peer_take(&peer, 1, buf, sizeof(buf))) > 0)
 *                     peer_give(&peer, 0, buf, n);
 */
#ifndef TESTS_BACKEND_VHOST_PEER_H
#define TESTS_BACKEND_VHOST_PEER_H

#include "base/types.h"

#define PEER_REGIONS  8
#define PEER_RINGS    2
#define PEER_FEATURES (1ull << 32 | 1ull << 30 | 1ull << 15) /* VERSION_1, PROTOCOL_FEATURES, MRG_RXBUF */

struct vhost_peer {
	int fd;
	uint64_t features;  /* offered */
	uint64_t protocol;  /* of the protocol, offered */
	uint64_t chosen;    /* by the front end */
	unsigned messages;  /* so far */
	unsigned last;      /* message's number */
	struct {
		uint64_t guest, size, user, offset;
		uint8_t *mapped; /* its beginning; offset is added */
		size_t mapped_size;
	} regions[PEER_REGIONS];
	unsigned region_count;
	struct peer_ring {
		unsigned size;
		uint64_t desc, used, avail; /* addresses of the front end */
		uint16_t next_avail, next_used;
		int kick, call; /* 0: none */
		bool enabled;
	} rings[PEER_RINGS];
};

/* Waits for one message and answers it. False: the connection has ended. */
bool peer_message(struct vhost_peer *peer);
/* The next chain's readable bytes; the chain is used then. 0: there is none. */
size_t peer_take(struct vhost_peer *peer, unsigned ring, void *buf, size_t size);
/* Writes a packet, header in front, into as many chains as it takes. False: there is no room. */
bool peer_give(struct vhost_peer *peer, unsigned ring, const void *buf, size_t len);
/* The front end's memory at an address of its own, for tests that misbehave. */
void *peer_at(struct vhost_peer *peer, uint64_t user_address);
void peer_call(struct vhost_peer *peer, unsigned ring);
/* Unmaps and closes all but fd. */
void peer_end(struct vhost_peer *peer);

#endif
