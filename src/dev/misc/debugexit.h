/* isa-debug-exit: a write of v ends the VM with exit status (v << 1) | 1.
 *
 * Example: `r = debugexit_create(vm, 0xf4);`
 */
#ifndef DEV_MISC_DEBUGEXIT_H
#define DEV_MISC_DEBUGEXIT_H

#include "core/vm.h"

int debugexit_create(struct vm *vm, uint16_t port) must_check;

#endif
