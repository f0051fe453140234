/* A process beside the VM that connects to Unix sockets on its behalf, since nobody inside of the sandbox may: seccomp can't see to which
 * socket a connect() goes, and among those of a user are some that give away the whole account. The broker connects to PREFIX_<number>
 * and nothing else, so a VM that is taken over reaches what its guest could reach anyhow.
 *
 * Example:
 *     fd = broker_start("/run/guest.vsock", true, why, sizeof(why));
 *     write(fd, &(struct broker_request){.id = 1, .port = 1024}, sizeof(struct broker_request));
 *     n = broker_receive(fd, &reply, &connection);       // when fd is readable
 *
 * It ends when the descriptor is closed, that is with the VM, however that ends.
 */
#ifndef HOST_LINUX_BROKER_H
#define HOST_LINUX_BROKER_H

#include "base/types.h"

/* The longest prefix: a socket's path has 107 bytes, the number up to ten, and _. */
#define BROKER_PREFIX_MAX 96

struct broker_request {
	uint32_t id, port;
};

struct broker_reply {
	uint32_t id;
	int32_t status; /* 0 or -errno */
};

/* The descriptor to talk to it, non-blocking; or -errno with one sentence in why. Before there are vcpu threads. */
int broker_start(const char *prefix, bool sandbox, char *why, size_t why_size) must_check;

/* Takes one reply and, if its status is 0, the non-blocking descriptor of the connection, else -1. 0; -EAGAIN: there is none;
 * -EPIPE: the broker is gone. */
int broker_receive(int fd, struct broker_reply *reply, int *connection) must_check;

#endif
