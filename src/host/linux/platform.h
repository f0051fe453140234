/* The Linux process as a platform (core/platform.h), and the few knobs of it.
 *
 * Example: `platform_set_log_level(LOG_INFO);`
 *
 * The log level and the limiter of guest-caused messages belong to the process and its stderr, not to a VM:
 * they are the only state here.
 */
#ifndef HOST_LINUX_PLATFORM_H
#define HOST_LINUX_PLATFORM_H

#include "core/platform.h"

/* Messages up to this level are written; LOG_WARN at the start. Any thread. */
void platform_set_log_level(enum log_level level);

#endif
