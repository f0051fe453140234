/* A VM as what a gdb session debugs: struct gdb_target over core/debug.h.
 *
 * Example: `gdb = gdb_create(&gdb_vm_target, vm, send, ctx);`   // debug_create() was called
 */
#ifndef CONTROL_GDB_VM_H
#define CONTROL_GDB_VM_H

#include "control/gdb.h"

/* ctx: struct vm, with vm->debug. */
extern const struct gdb_target gdb_vm_target;

#endif
