/* A user network (libslirp) in a process of its own, for a VM that was started without: its sandbox has no sockets, and gets none. The
 * VM talks to the process over a stream of frames (backend/net_stream.h); the process ends when that does.
 *
 * Example: `fd = net_process_start(&options, why, sizeof(why));`, then fd is sent to the VM.
 */
#ifndef HOST_LINUX_NET_PROCESS_H
#define HOST_LINUX_NET_PROCESS_H

#include "backend/net_user.h"

/* The VM's end of the stream, or -errno with one sentence in why. The caller has no other threads. */
int net_process_start(const struct net_user_options *options, char *why, size_t why_size) must_check;

#endif
