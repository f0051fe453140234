/* Which of several receive queues a frame goes to: the one of the pair by which the guest last sent for the same connection, so
 * that the processor that works on it gets the interrupt too; else one by the hash (virtio 1.2 §5.1.6.5.6).
 *
 * Example:
 *     net_flow_sent(&flows, net_flow_hash(sent, len), 2);
 *     pair = net_flow_pair(&flows, net_flow_hash(answer, len), 4);    // 2
 */
#include "base/string.h"
#include "dev/virtio/net_device.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define ETHERTYPE_VLAN 0x8100u

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u

static uint32_t be16(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 8 | bytes[1];
}

static uint32_t be32(const uint8_t *bytes)
{
	return be16(bytes) << 16 | be16(bytes + 2);
}

static uint32_t mix(uint32_t hash, uint32_t value)
{
	hash = (hash ^ value) * 0x85ebca6bu;
	return hash ^ hash >> 15;
}

/* Both ends, in either order. */
static uint32_t mix_ends(uint32_t hash, uint32_t a, uint32_t b)
{
	return mix(mix(hash, a ^ b), a + b);
}

static uint32_t mix_ports(uint32_t hash, uint32_t protocol, const uint8_t *ports, size_t len)
{
	if ((protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP) && len >= 4)
		hash = mix_ends(hash, be16(ports), be16(ports + 2));
	hash = mix(hash, protocol);
	return hash ? hash : 1;
}

static uint32_t hash_ipv4(const uint8_t *packet, size_t len)
{
	size_t header = len < 20 ? 0 : (packet[0] & 15u) * 4;
	bool fragment;

	if (header < 20 || header > len)
		return 0;
	/* Only the first fragment has ports: all of them go without. */
	fragment = (be16(packet + 6) & 0x3fff) != 0;
	return mix_ports(mix_ends(4, be32(packet + 12), be32(packet + 16)), packet[9], packet + header,
			 fragment ? 0 : len - header);
}

static uint32_t hash_ipv6(const uint8_t *packet, size_t len)
{
	uint32_t hash = 6;

	if (len < 40)
		return 0;
	for (unsigned i = 0; i < 16; i += 4)
		hash = mix_ends(hash, be32(packet + 8 + i), be32(packet + 24 + i));
	return mix_ports(hash, packet[6], packet + 40, len - 40);
}

uint32_t net_flow_hash(const uint8_t *frame, size_t len)
{
	size_t at = ETHERNET_HEADER;
	uint32_t type;

	if (len < at)
		return 0;
	type = be16(frame + 12);
	if (type == ETHERTYPE_VLAN && len >= at + 4) {
		type = be16(frame + 16);
		at += 4;
	}
	if (type == ETHERTYPE_IPV4)
		return hash_ipv4(frame + at, len - at);
	return type == ETHERTYPE_IPV6 ? hash_ipv6(frame + at, len - at) : 0;
}

void net_flow_sent(struct net_flows *flows, uint32_t hash, unsigned pair)
{
	if (hash)
		flows->pair_of[hash % ARRAY_SIZE(flows->pair_of)] = (uint8_t)(pair + 1);
}

unsigned net_flow_pair(const struct net_flows *flows, uint32_t hash, unsigned pairs)
{
	unsigned known = hash ? flows->pair_of[hash % ARRAY_SIZE(flows->pair_of)] : 0;

	if (known > 0 && known <= pairs)
		return known - 1;
	return hash % pairs;
}
