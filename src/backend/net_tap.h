/* A network behind a tap interface of the host: its bridges, routes and filters apply to the guest's frames.
 *
 * Example:
 *     err = net_tap_open("tap0", 2, loop, &backend, why, sizeof(why));
 *
 * The interface is there already (`ip tuntap add dev tap0 mode tap user NAME`). If it is one of several queues (`multi_queue`) so
 * many are used as the card has pairs, each by a descriptor of its own; else one.
 * Checksums are left to the host's and the guest's kernels, and TCP's segments come and go 64 KiB at a time where the driver takes them.
 */
#ifndef BACKEND_NET_TAP_H
#define BACKEND_NET_TAP_H

#include "core/backend.h"

struct loop;

#define NET_TAP_NAME_MAX 15 /* bytes of an interface's name */

#define NET_TAP_QUEUES_MAX 32

/* Opens an interface's queues, as many as there are up to `pairs`: for net_tap_adopt(), maybe in another process. How many, or -errno
 * with one sentence in why. */
int net_tap_open_queues(const char *interface, unsigned pairs, int fds[NET_TAP_QUEUES_MAX], char *why, size_t why_size) must_check;
/* Takes over these queues; closed on failure, too. */
int net_tap_adopt(const char *name, const int *fds, unsigned count, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
	must_check;

/* Both at once. 0, or -errno with one sentence in why. */
int net_tap_open(const char *interface, unsigned pairs, struct loop *loop, struct net_backend **out, char *why, size_t why_size)
	must_check;

#endif
