/* From a network's description to its backend; see nets.h.
 *
 * Example: `r = nets_open(config, loop, &inputs, why, sizeof(why));`
 */
#include "host/linux/nets.h"

#include "backend/net_stream.h"
#include "backend/net_tap.h"
#include "backend/net_user.h"
#include "backend/vhost_user.h"
#include "dev/virtio/virtio.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VHOST_QUEUES 2 /* one pair: receive, transmit */

typedef int (*opener)(const struct net_config *net, struct loop *loop, struct net_backend **out, char *why, size_t why_size);

static int open_user(const struct net_config *net, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	struct net_user_options options = {.forward_count = net->forward_count, .tftp = net->tftp, .bootfile = net->bootfile};

	for (unsigned i = 0; i < net->forward_count; i++) {
		options.forward[i].host = net->forward[i].host;
		options.forward[i].guest = net->forward[i].guest;
	}
	return net_user_open(&options, loop, out, why, why_size);
}

static int open_passt(const struct net_config *net, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	struct net_passt_options options = {.forward_count = net->forward_count};

	if (net->target)
		return net_stream_connect(net->target, loop, out, why, why_size);
	for (unsigned i = 0; i < net->forward_count; i++) {
		options.forward[i].host = net->forward[i].host;
		options.forward[i].guest = net->forward[i].guest;
	}
	return net_passt_start(&options, loop, out, why, why_size);
}

static int open_stream(const struct net_config *net, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	return net_stream_connect(net->target, loop, out, why, why_size);
}

static int open_tap(const struct net_config *net, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
{
	const unsigned pairs = net->queues < VIRTIO_NET_MAX_PAIRS ? net->queues : VIRTIO_NET_MAX_PAIRS;

	return net_tap_open(net->target, pairs, loop, out, why, why_size);
}

static const struct {
	const char *name;
	opener open;
} kinds[] = {
	{"user", open_user},
	{"passt", open_passt},
	{"stream", open_stream},
	{"tap", open_tap},
};

static opener find_opener(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return kinds[i].open;
	return NULL;
}

void nets_default_mac(unsigned index, uint8_t mac[6])
{
	const uint8_t first[6] = {0x52, 0x52, 0x75, 0x73, 0x65, 0x01};

	memcpy(mac, first, sizeof(first));
	mac[5] = (uint8_t)(mac[5] + index);
}

static void set_mac(const struct net_config *net, unsigned index, uint8_t mac[6])
{
	static const uint8_t none[6];

	if (memcmp(net->mac, none, sizeof(none)))
		memcpy(mac, net->mac, sizeof(net->mac));
	else
		nets_default_mac(index, mac);
}

int nets_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, char *why, size_t why_size)
{
	for (unsigned i = 0; i < config->net_count; i++) {
		struct net_config net = config->nets[i];
		opener open = find_opener(net.backend);
		int r;

		if (!net.queues)
			net.queues = config->cpus;

		if (!strcmp(net.backend, "vhost-user")) {
			r = vhost_user_connect(net.target, VHOST_QUEUES, loop, &inputs->vhost_nets[i].backend, why, why_size);
			if (r)
				return r;
			set_mac(&net, i, inputs->vhost_nets[i].mac);
			continue;
		}
		if (!open) {
			snprintf(why, why_size, "the network \"%s\" is not in this build", net.backend);
			return -EINVAL;
		}
		r = open(&net, loop, &inputs->nets[i], why, why_size);
		if (r)
			return r;
		set_mac(&net, i, inputs->nets[i]->mac);
	}
	return 0;
}

static bool any_is(const struct vm_config *config, const char *backend)
{
	for (unsigned i = 0; i < config->net_count; i++)
		if (!strcmp(config->nets[i].backend, backend))
			return true;
	return false;
}

bool nets_need_sockets(const struct vm_config *config)
{
	return any_is(config, "user");
}

bool nets_need_tap(const struct vm_config *config)
{
	return any_is(config, "tap");
}
