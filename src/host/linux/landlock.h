/* A thread confined to the files beneath one directory, by the kernel (landlock(7)): what a filter of system calls can't do, since it sees
 * no paths.
 *
 * Example:
 *     ruleset = landlock_make(directory_fd, false);       // -EOPNOTSUPP: not with this kernel
 *     ... on the thread:
 *     r = landlock_enter(ruleset);
 */
#ifndef HOST_LINUX_LANDLOCK_H
#define HOST_LINUX_LANDLOCK_H

#include "base/types.h"

/* Rules by which files beneath the directory (a descriptor, O_PATH will do) can be read and, unless read_only, be written, made, renamed and
 * removed; all other files can't even be opened. No device nodes, no programs to be executed. The descriptor of the rules, or -errno. */
int landlock_make(int directory, bool read_only) must_check;
/* For the calling thread and what it starts, with no way back; also sets no_new_privs. 0 or -errno. */
int landlock_enter(int ruleset) must_check;

#endif
