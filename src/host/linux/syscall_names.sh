#!/bin/sh
# Writes the table of system call names of the compiler's target, for the sandbox's messages.
#
# usage: syscall_names.sh COMPILER... > sandbox_syscalls.c
set -eu
echo '/* Made by syscall_names.sh from <sys/syscall.h>. */'
echo '#include "host/linux/sandbox.h"'
echo '#include <sys/syscall.h>'
echo 'const char *const sandbox_syscall_names[] = {'
printf '#include <sys/syscall.h>\n' | "$@" -E -dM -x c - |
	sed -n 's/^#define SYS_\([a-z0-9_]*\) .*/\t[SYS_\1] = "\1",/p' | LC_ALL=C sort
echo '};'
echo 'const unsigned sandbox_syscall_count = sizeof(sandbox_syscall_names) / sizeof(sandbox_syscall_names[0]);'
