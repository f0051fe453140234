/* `--share` and `--vsock`: what the guest's programs have of the host's files and programs; see options.h.
 *
 * Example: `--share /home/me/project,tag=project,ro --vsock cid=3,uds=/run/guest.vsock`
 */
#include "cli/options.h"

#include "host/linux/broker.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- --share ---- */

#define TAG_MAX 32u

static bool tag_taken(const struct vm_config *config, const char *tag)
{
	for (unsigned i = 0; i < config->share_count; i++)
		if (!strcmp(config->shares[i].tag, tag))
			return true;
	return false;
}

/* share, share2, share3, ... */
static const char *default_tag(struct run_options *options)
{
	char tag[16] = "share";

	for (unsigned i = 2; tag_taken(&options->config, tag); i++)
		snprintf(tag, sizeof(tag), "share%u", i);
	return strings_copy(&options->strings, tag, strlen(tag));
}

int add_share(struct run_options *options, struct share_config share, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;

	if (config->share_count == CONFIG_MAX_SHARES)
		return refuse(why, why_size, "more than %d shared directories; leave some --share out", CONFIG_MAX_SHARES);
	if (!share.directory || !*share.directory)
		return refuse(why, why_size, "a share names no directory; write --share DIR[,tag=T][,ro]");
	if (!share.tag)
		share.tag = default_tag(options);
	if (!*share.tag || strlen(share.tag) > TAG_MAX)
		return refuse(why, why_size, "the tag of a share has 1 to %u characters, not '%s'", TAG_MAX, share.tag);
	if (tag_taken(config, share.tag))
		return refuse(why, why_size, "two shares have the tag %s: give one of them another, tag=T", share.tag);
	config->shares[config->share_count++] = share;
	return 0;
}

int parse_share(struct run_options *options, const char *text, char *why, size_t why_size)
{
	size_t len = strcspn(text, ",");
	struct share_config share = {.directory = strings_copy(&options->strings, text, len)};

	for (const char *p = text + len; *p == ','; p += len) {
		len = strcspn(++p, ",");
		if (len == 2 && !memcmp(p, "ro", 2))
			share.read_only = true;
		else if (len > 4 && !memcmp(p, "tag=", 4))
			share.tag = strings_copy(&options->strings, p + 4, len - 4);
		else
			return refuse(why, why_size, "--share option '%.*s' is unknown; use tag=T or ro", (int)len, p);
	}
	return add_share(options, share, why, why_size);
}

/* ---- --vsock ---- */

int check_vsock(const struct vsock_config *vsock, char *why, size_t why_size)
{
	if (vsock->cid < 3 || vsock->cid == UINT32_MAX)
		return refuse(why, why_size, "vsock needs the guest's address: cid=3, or any other up to 4294967294");
	if (!vsock->path || !*vsock->path)
		return refuse(why, why_size, "vsock needs the path of its sockets: uds=PATH");
	if (strlen(vsock->path) > BROKER_PREFIX_MAX)
		return refuse(why, why_size, "the path of vsock's sockets is longer than %d bytes: choose a shorter one",
			      BROKER_PREFIX_MAX);
	return 0;
}

int parse_vsock(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vsock_config vsock = {0};
	unsigned long cid;
	size_t len;
	int r;

	for (const char *p = text; *p; p += len + (p[len] == ',')) {
		len = strcspn(p, ",");
		if (len > 4 && !memcmp(p, "cid=", 4) && parse_number(p + 4, len - 4, UINT32_MAX, &cid))
			vsock.cid = (uint32_t)cid;
		else if (len > 4 && !memcmp(p, "uds=", 4))
			vsock.path = strings_copy(&options->strings, p + 4, len - 4);
		else
			return refuse(why, why_size, "--vsock %.*s is not understood; write --vsock cid=N,uds=PATH", (int)len, p);
	}
	r = check_vsock(&vsock, why, why_size);
	if (!r)
		options->config.vsock = vsock;
	return r;
}
