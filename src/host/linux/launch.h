/* `ruse run` from a checked description to an exit status: opens what the description names, chooses the engine,
 * builds the machine, runs it, tidies up.
 *
 * Example: `return launch_run(&config, start_ns);`
 */
#ifndef HOST_LINUX_LAUNCH_H
#define HOST_LINUX_LAUNCH_H

#include "board/config.h"

/* Exit statuses of the process. A debug-exit device gives its own. */
enum launch_status {
	LAUNCH_OK = 0,
	LAUNCH_HOST_ERROR = 1,
	LAUNCH_USAGE_ERROR = 2,
	LAUNCH_GUEST_FAILED = 3,
};

/* Errors go to stderr, one sentence each. start_ns: platform clock when the process began, for --stats. */
int launch_run(const struct vm_config *config, uint64_t start_ns);

#endif
