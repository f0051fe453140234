/* Where the VMs that run can be found: a directory of their sockets, $XDG_RUNTIME_DIR/ruse, or for root without that variable /run/ruse.
 *
 *     PID.sock      control: status, pause, figures, ... (control/control.h)
 *     PID.console   the console of a VM that was started with a detached one
 *
 * Files stay when their VM ends, since the sandbox does not let it remove them; whoever looks, and each VM that starts, removes those of
 * processes that are gone.
 *
 * Example:
 *     if (registry_path(path, sizeof(path), pid, "sock")) fd = socket_connect_unix(path);
 */
#ifndef HOST_LINUX_REGISTRY_H
#define HOST_LINUX_REGISTRY_H

#include "base/types.h"

#define REGISTRY_PATH_MAX 108 /* of a Unix socket */

/* False: there is no directory, or the path would be too long. */
bool registry_path(char *path, size_t size, long pid, const char *kind);
/* Makes the directory if need be, this user's alone, and removes what the dead have left. 0 or -errno with one sentence in why. */
int registry_open(char *why, size_t why_size) must_check;
/* The processes that have a control socket, in order; returns how many (at most max). */
unsigned registry_list(long *pids, unsigned max);

#endif
