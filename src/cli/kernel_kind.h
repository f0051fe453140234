/* What kind of machine a kernel is for, so that nobody has to say it.
 *
 * Example: `config->board = kernel_is_arm64(config->kernel) ? "virt" : "microvm";`
 */
#ifndef CLI_KERNEL_KIND_H
#define CLI_KERNEL_KIND_H

#include "base/types.h"

/* Is the file an AArch64 Linux kernel (loader/arm64.h)? No, if it can't be read: that is said when it is opened in earnest. */
bool kernel_is_arm64(const char *path);

#endif
