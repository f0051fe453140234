/* Listening sockets.
 *
 * Example: `fd = socket_listen("tcp=127.0.0.1:1234", why, sizeof(why));`
 */
#ifndef HOST_LINUX_SOCKET_H
#define HOST_LINUX_SOCKET_H

#include "base/types.h"

/* A Unix socket at path. One that nobody listens at any more is replaced; nothing else is touched. A non-blocking descriptor that
 * accept4() can be called on, or -errno. */
int socket_listen_unix(const char *path) must_check;
/* Is it `unix=PATH` or `tcp=[HOST:]PORT`? */
bool socket_address_valid(const char *text);
/* A descriptor as above, for one of these; HOST is 127.0.0.1 if it is not given, an IPv6 address in brackets. Or -errno with one sentence in
 * why. */
int socket_listen(const char *text, char *why, size_t why_size) must_check;
/* Connects to a Unix socket: a blocking descriptor or -errno. */
int socket_connect_unix(const char *path) must_check;

#endif
