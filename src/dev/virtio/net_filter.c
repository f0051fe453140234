/* Which received frames a driver wants; see net_device.h.
 *
 * Example: `net_filter_switch(&filter, NET_RX_PROMISC, false);`
 */
#include "base/string.h"
#include "dev/virtio/net_device.h"

/* virtio 1.2 §5.1.6.5.1 */
enum rx_command { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };

void net_filter_init(struct net_filter *filter)
{
	*filter = (struct net_filter){.promisc = true};
}

bool net_filter_switch(struct net_filter *filter, uint8_t command, bool on)
{
	bool *const switches[] = {
		[RX_PROMISC] = &filter->promisc, [RX_ALLMULTI] = &filter->allmulti, [RX_ALLUNI] = &filter->alluni,
		[RX_NOMULTI] = &filter->nomulti, [RX_NOUNI] = &filter->nouni, [RX_NOBCAST] = &filter->nobcast,
	};

	if (command >= ARRAY_SIZE(switches))
		return false;
	*switches[command] = on;
	return true;
}

static bool is_among(const struct net_addresses *addresses, const uint8_t *mac)
{
	for (unsigned i = 0; i < addresses->count; i++)
		if (!memcmp(addresses->macs[i], mac, 6))
			return true;
	return addresses->overflow;
}

bool net_filter_accepts(const struct net_filter *filter, const uint8_t mac[6], const uint8_t *frame, size_t len)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (filter->promisc || len < sizeof(broadcast))
		return true;
	if (!memcmp(frame, broadcast, sizeof(broadcast)))
		return !filter->nobcast;
	if (frame[0] & 1)
		return !filter->nomulti && (filter->allmulti || is_among(&filter->multicast, frame));
	return !filter->nouni && (filter->alluni || !memcmp(frame, mac, 6) || is_among(&filter->unicast, frame));
}
