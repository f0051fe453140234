/* Connecting; see nbd_client.h.
 *
 * Example: `r = nbd_client_connect(&client, "nbd://localhost/", why, sizeof(why));`
 */
#include "disk/nbd_client.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#define LIBRARY "libnbd.so.0"
#define SECTOR  512

/* What a server must take that says nothing about it. */
#define TRANSFER_MAX (32 << 20)

static int load(struct nbd_client *client, const char *uri, char *why, size_t why_size)
{
	/* It stays: threads and handlers of its libraries may be about. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	bool whole = library != NULL;

#define FIND(name) whole = whole && (client->lib.name = (__typeof__(client->lib.name))dlsym(library, "nbd_" #name));
	NBD_CLIENT_FUNCTIONS(FIND)
#undef FIND
	if (whole)
		return 0;
	snprintf(why, why_size, "%s needs the library %s: install the package libnbd0, version 1.14 or later", uri, LIBRARY);
	return -ENOENT;
}

/* nbd_get_error() says "function: what happened: the system's word", in several lines for some servers: the first, without ours. */
static int explain(const struct nbd_client *client, const char *uri, char *why, size_t why_size)
{
	const int err = client->lib.get_errno();
	const char *text = client->lib.get_error();
	const char *what = text ? strstr(text, ": ") : NULL;

	what = what ? what + 2 : text ? text : "out of memory";
	snprintf(why, why_size, "no NBD export is to be had at %s (%.*s): is the server running, and is that its name?", uri,
		 (int)strcspn(what, "\n"), what);
	return err ? -err : -EIO;
}

static int check_scheme(const char *uri, char *why, size_t why_size)
{
	if (!strncmp(uri, "nbd://", 6) || !strncmp(uri, "nbd+unix://", 11))
		return 0;
	snprintf(why, why_size, "%s is no NBD export that ruse can use: write nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH", uri);
	return -EINVAL;
}

/* What the server said of its export. */
static int take_export(struct nbd_client *client, const char *uri, char *why, size_t why_size)
{
	struct nbd_handle *handle = client->handle;
	const int64_t size = client->lib.get_size(handle);
	const int64_t smallest = client->lib.get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	const int64_t largest = client->lib.get_block_size(handle, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return explain(client, uri, why, why_size);
	if (smallest > SECTOR) {
		snprintf(why, why_size, "the server of %s takes no transfers below %lld bytes, and disks have sectors of %d: let it export "
			 "the disk with smaller blocks", uri, (long long)smallest, SECTOR);
		return -EINVAL;
	}
	client->size = (uint64_t)size;
	client->transfer_max = largest >= SECTOR && largest < TRANSFER_MAX ? (uint32_t)largest / SECTOR * SECTOR : TRANSFER_MAX;
	client->read_only = client->lib.is_read_only(handle) != 0;
	client->can_flush = client->lib.can_flush(handle) > 0;
	client->can_fua = client->lib.can_fua(handle) > 0;
	client->can_trim = client->lib.can_trim(handle) > 0;
	client->can_zero = client->lib.can_zero(handle) > 0;
	return 0;
}

/* Replies in one piece: those in several come with holes told apart, for which qemu-nbd asks its file system at each read, and it hangs
 * up where such a read fails. */
static int prepare(struct nbd_client *client)
{
	if (client->lib.set_uri_allow_transports(client->handle, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX) < 0 ||
	    client->lib.set_uri_allow_tls(client->handle, LIBNBD_TLS_DISABLE) < 0)
		return -1;
	return client->lib.set_request_structured_replies(client->handle, false);
}

int nbd_client_connect(struct nbd_client *client, const char *uri, char *why, size_t why_size)
{
	int r = check_scheme(uri, why, why_size);

	*client = (struct nbd_client){0};
	if (r == 0)
		r = load(client, uri, why, why_size);
	if (r < 0)
		return r;
	client->handle = client->lib.create();
	if (!client->handle || prepare(client) < 0 || client->lib.connect_uri(client->handle, uri) < 0)
		r = explain(client, uri, why, why_size);
	else
		r = take_export(client, uri, why, why_size);
	if (r < 0)
		nbd_client_close(client);
	return r;
}

void nbd_client_close(struct nbd_client *client)
{
	if (client->handle)
		client->lib.close(client->handle);
	client->handle = NULL;
}
