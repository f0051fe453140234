/* The pieces of the network device, for net.c, net_filter.c and net_flow.c only.
 *
 * Example: `if (net_filter_accepts(&net->filter, net->config.mac, frame, len)) ...`
 */
#ifndef DEV_VIRTIO_NET_DEVICE_H
#define DEV_VIRTIO_NET_DEVICE_H

#include "base/types.h"

#define ETHERNET_HEADER 14u

/* ---- which frames the driver wants (virtio 1.2 §5.1.6.5.1, .2) ---- */

#define NET_FILTER_MAX 64 /* addresses of each kind; with more of them all are let through */

struct net_addresses {
	uint8_t macs[NET_FILTER_MAX][6];
	unsigned count;
	bool overflow;
};

struct net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	struct net_addresses unicast, multicast;
};

/* All frames: until a driver says otherwise. */
void net_filter_init(struct net_filter *filter);
bool net_filter_accepts(const struct net_filter *filter, const uint8_t mac[6], const uint8_t *frame, size_t len);
/* VIRTIO_NET_CTRL_RX: one of its commands, on or off. False: there is no such command. */
bool net_filter_switch(struct net_filter *filter, uint8_t command, bool on);

/* ---- which receive queue a frame goes to ---- */

#define NET_FLOW_BYTES 96u /* from the start of a frame, are enough for net_flow_hash() */

struct net_flows {
	uint8_t pair_of[256]; /* by the low bits of the hash: the pair that sends for it, and 1; 0: none does */
};

/* A number that is the same for all frames of a connection, both ways; 0: it belongs to none. */
uint32_t net_flow_hash(const uint8_t *frame, size_t len);
/* The guest has sent a frame of this flow by a pair of queues: what comes back goes there. */
void net_flow_sent(struct net_flows *flows, uint32_t hash, unsigned pair);
/* The pair, of so many, that a received frame goes to. */
unsigned net_flow_pair(const struct net_flows *flows, uint32_t hash, unsigned pairs);

#endif
