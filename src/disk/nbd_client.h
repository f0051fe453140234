/* Connections to NBD servers, by libnbd, which is loaded when the first one is wanted: it brings a score of libraries that no other
 * disk needs.
 *
 * Example:
 *     struct nbd_client client;
 *     r = nbd_client_connect(&client, "nbd+unix:///export?socket=/run/nbd.sock", why, sizeof(why));
 *     r = client.lib.pread(client.handle, buffer, 4096, 0, 0);
 *     nbd_client_close(&client);
 *
 * The protocol: https://github.com/NetworkBlockDevice/nbd, doc/proto.md; of URIs doc/uri.md.
 */
#ifndef DISK_NBD_CLIENT_H
#define DISK_NBD_CLIENT_H

#include "base/types.h"
#include "disk/file.h"
#include <libnbd.h>
#include <string.h>

/* libnbd's functions that ruse calls, without their prefix. */
#define NBD_CLIENT_FUNCTIONS(X)                                                                                                        \
	X(create) X(close) X(get_error) X(get_errno) X(set_uri_allow_transports) X(set_uri_allow_tls)                                  \
	X(set_request_structured_replies) X(connect_uri) X(get_size) X(get_block_size) X(is_read_only) X(can_flush) X(can_fua)         \
	X(can_trim) X(can_zero) X(pread) X(poll) X(aio_get_fd) X(aio_get_direction) X(aio_notify_read) X(aio_notify_write)             \
	X(aio_is_ready) X(aio_is_dead) X(aio_is_closed) X(aio_pread) X(aio_pwrite) X(aio_flush) X(aio_trim) X(aio_zero)                \
	X(aio_disconnect)

#define NBD_CLIENT_FIELD(name) __typeof__(nbd_##name) *name;

struct nbd_client {
	struct {
		NBD_CLIENT_FUNCTIONS(NBD_CLIENT_FIELD)
	} lib;
	struct nbd_handle *handle; /* connected and ready; NULL: closed */
	uint64_t size;             /* bytes, of the export */
	uint32_t transfer_max;     /* bytes of one read or write */
	bool read_only, can_flush, can_fua, can_trim, can_zero;
};

/* Is it a URI of NBD's, and not a path? Also of those kinds that nbd_client_connect() refuses. */
static inline bool nbd_client_is_uri(const char *path)
{
	return !strncmp(path, "nbd", 3) && strstr(path, "://") && !memchr(path, '/', (size_t)(strstr(path, "://") - path));
}

/* Waits until the server has answered. nbd://HOST[:PORT]/EXPORT and nbd+unix:///EXPORT?socket=PATH. 0, or -errno with one sentence
 * in why. */
int nbd_client_connect(struct nbd_client *client, const char *uri, char *why, size_t why_size) must_check;
/* At once, without waiting for what is under way. */
void nbd_client_close(struct nbd_client *client);

/* An export as a file that is only read, with calls that block. 0, or -errno with one sentence in why. */
int nbd_file_open(const char *uri, struct disk_file **file, char *why, size_t why_size) must_check;

#endif
