/* A process that removes a file when ours has ended, however it ended: the sandbox lets us name no file by then.
 *
 * Example:
 *     r = remover_start(&remover, "/run/vm.vnc");   // before there are threads, disks or a sandbox
 *     ...
 *     remover_end(&remover);                        // the file is gone
 */
#ifndef HOST_LINUX_REMOVER_H
#define HOST_LINUX_REMOVER_H

#include "base/types.h"

struct remover {
	int held, gone; /* it ends when the first is closed, and then the second ends; 0: there is none */
};

/* path: of a file that exists; another one that has taken its place by then stays. It holds no descriptor of ours. 0 or -errno. */
int remover_start(struct remover *remover, const char *path) must_check;
/* Waits for it. */
void remover_end(struct remover *remover);

#endif
