/* A minimal 8042 keyboard controller at ports 0x60 and 0x64: enough that a guest probes it without time-outs,
 * finds no keyboard or mouse answering, and can reset the machine by pulsing output line 0 (command 0xfe) or
 * writing the output port. Port 0x92 (fast A20 and reset) is here too. A20 is always on.
 *
 * Example: `r = i8042_create(vm);`
 */
#ifndef DEV_MISC_I8042_H
#define DEV_MISC_I8042_H

#include "core/vm.h"

int i8042_create(struct vm *vm) must_check;

#endif
