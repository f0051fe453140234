/* `--net`: what stands behind a network card; see options.h.
 *
 * Example: `--net passt=/run/passt.socket,mac=52:54:00:12:34:56`
 *
 * The first word says which backend, what follows are its options. What only makes sense together is checked in
 * check_net(), which --config uses too.
 */
#include "cli/options.h"
#include "dev/virtio/virtio.h"

#include "backend/net_tap.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define BOOTFILE_MAX 127 /* bytes that DHCP has room for */
#define BACKENDS "user, passt[=SOCKET], stream=unix:PATH, vhost-user=PATH or tap=INTERFACE"

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- pieces ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool parse_mac(const char *text, size_t len, uint8_t mac[6])
{
	if (len != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int parse_forward(struct net_config *net, const char *text, size_t len, char *why, size_t why_size)
{
	const char *host = text + 4;
	const char *colon = len > 4 && !memcmp(text, "tcp:", 4) ? memchr(host, ':', len - 4) : NULL;
	unsigned long host_port, guest_port;

	if (!colon || !parse_number(host, (size_t)(colon - host), 65535, &host_port) ||
	    !parse_number(colon + 1, (size_t)(text + len - colon - 1), 65535, &guest_port) || !host_port || !guest_port)
		return refuse(why, why_size, "hostfwd=%.*s is not understood; write hostfwd=tcp:HOSTPORT:GUESTPORT",
			      (int)len, text);
	if (net->forward_count == ARRAY_SIZE(net->forward))
		return refuse(why, why_size, "more than %zu forwarded ports on one --net; add another --net",
			      ARRAY_SIZE(net->forward));
	net->forward[net->forward_count].host = (uint16_t)host_port;
	net->forward[net->forward_count++].guest = (uint16_t)guest_port;
	return 0;
}

/* ---- what must hold ---- */

static bool is(const struct net_config *net, const char *backend)
{
	return !strcmp(net->backend, backend);
}

static bool has_mac(const struct net_config *net)
{
	static const uint8_t none[6];

	return memcmp(net->mac, none, sizeof(none)) != 0;
}

int check_net(const struct net_config *net, char *why, size_t why_size)
{
	const bool socket = is(net, "stream") || is(net, "vhost-user");

	if (!socket && !is(net, "user") && !is(net, "passt") && !is(net, "tap"))
		return refuse(why, why_size, "the network \"%s\" is unknown; use " BACKENDS, net->backend);
	if (is(net, "tap") && (!net->target || !*net->target || strlen(net->target) > NET_TAP_NAME_MAX || strchr(net->target, '/')))
		return refuse(why, why_size, "the network \"tap\" needs an interface's name, of up to %d bytes", NET_TAP_NAME_MAX);
	if (socket && (!net->target || !*net->target))
		return refuse(why, why_size, "the network \"%s\" needs the path of a socket", net->backend);
	if (is(net, "user") && net->target)
		return refuse(why, why_size, "the network \"user\" takes no name; use " BACKENDS);
	if (net->forward_count && !is(net, "user") && !(is(net, "passt") && !net->target))
		return refuse(why, why_size, "hostfwd is for --net user, and for passt where it is started from here");
	if (is(net, "vhost-user") && (net->queues || net->rate.bytes.per_second || net->rate.ops.per_second))
		return refuse(why, why_size, "queues and rate are not for --net vhost-user: the program at the socket has them");
	if ((net->tftp || net->bootfile) && !is(net, "user"))
		return refuse(why, why_size, "tftp and bootfile are for --net user");
	if (net->bootfile && strlen(net->bootfile) > BOOTFILE_MAX)
		return refuse(why, why_size, "bootfile has at most %d bytes: choose a shorter name", BOOTFILE_MAX);
	if (has_mac(net) && (net->mac[0] & 1))
		return refuse(why, why_size, "mac is a group's address, not one card's: its first byte must be even");
	return 0;
}

/* ---- --net ---- */

static int read_option(struct run_options *options, struct net_config *net, const char *text, size_t len, char *why, size_t why_size)
{
	const struct {
		const char *key;
		const char **text;
	} texts[] = {{"rom=", &net->rom}, {"tftp=", &net->tftp}, {"bootfile=", &net->bootfile}};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const size_t key = strlen(texts[i].key);

		if (len > key && !memcmp(text, texts[i].key, key)) {
			*texts[i].text = strings_copy(&options->strings, text + key, len - key);
			return 0;
		}
	}
	if (len > 8 && !memcmp(text, "hostfwd=", 8))
		return parse_forward(net, text + 8, len - 8, why, why_size);
	if (len > 4 && !memcmp(text, "mac=", 4)) {
		if (!parse_mac(text + 4, len - 4, net->mac) || !has_mac(net))
			return refuse(why, why_size, "%.*s is not understood; write mac=52:54:00:12:34:56", (int)len, text);
		return 0;
	}
	r = parse_queue_option(&net->queues, VIRTIO_NET_MAX_PAIRS, &net->rate, text, len, why, why_size);
	if (r)
		return r < 0 ? r : 0;
	return refuse(why, why_size,
		      "--net option '%.*s' is unknown; use hostfwd=tcp:HOSTPORT:GUESTPORT, mac=ADDRESS, rom=FILE|none, tftp=DIRECTORY, bootfile=NAME, queues=N or rate=R", (int)len,
		      text);
}

static int read_backend(struct run_options *options, struct net_config *net, const char *text, size_t len, char *why,
			size_t why_size)
{
	static const char *const names[] = {"user", "passt", "stream", "vhost-user", "tap"};
	const char *equals = memchr(text, '=', len), *target = equals ? equals + 1 : NULL;
	size_t name = equals ? (size_t)(equals - text) : len, target_len = equals ? len - name - 1 : 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == name && !memcmp(names[i], text, name))
			net->backend = names[i];
	if (!net->backend || (target && !target_len))
		return refuse(why, why_size, "--net %.*s is unknown; use " BACKENDS, (int)len, text);
	if (is(net, "stream")) {
		if (target_len <= 5 || memcmp(target, "unix:", 5))
			return refuse(why, why_size, "--net %.*s is not understood; write stream=unix:PATH", (int)len, text);
		target += 5;
		target_len -= 5;
	}
	if (target)
		net->target = strings_copy(&options->strings, target, target_len);
	return 0;
}

int parse_net(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;
	struct net_config net = {0};
	size_t len = strcspn(text, ",");
	int r = read_backend(options, &net, text, len, why, why_size);

	if (r)
		return r;
	if (config->net_count == CONFIG_MAX_NETS)
		return refuse(why, why_size, "more than %d networks; leave some --net out", CONFIG_MAX_NETS);
	for (const char *p = text + len; *p == ',' && !r; p += len) {
		len = strcspn(++p, ",");
		r = read_option(options, &net, p, len, why, why_size);
	}
	if (!r)
		r = check_net(&net, why, why_size);
	if (!r)
		config->nets[config->net_count++] = net;
	return r;
}
