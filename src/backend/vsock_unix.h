/* The host's side of vsock as Unix sockets, in the way that Firecracker has made common:
 *
 * - The guest connects to port N of the host (CID 2): that is the socket PATH_N, where a program of the host listens.
 * - A program of the host connects to PATH and writes `CONNECT N\n`: that is port N of the guest. When the guest has accepted, the program
 *   reads `OK M\n`, M being its own port; when not, the connection is closed.
 *
 * Example:
 *     err = vsock_unix_open("/run/guest.vsock", true, loop, &backend, why, sizeof(why));
 *     ... socat - unix:/run/guest.vsock, and type: CONNECT 1024
 */
#ifndef BACKEND_VSOCK_UNIX_H
#define BACKEND_VSOCK_UNIX_H

#include "core/backend.h"

struct loop;

/* Listens at path and starts the broker (host/linux/broker.h), in its own sandbox if that is wanted. 0, or -errno with one sentence in
 * why. */
int vsock_unix_open(const char *path, bool sandbox, struct loop *loop, struct vsock_backend **out, char *why, size_t why_size) must_check;

#endif
