/* The debug port: firmware writes its messages there, a byte at a time; a read of 0xe9 says that it exists.
 *
 * Example: `r = debugcon_create(vm, DEBUGCON_PORT, inputs->firmware_log);`
 */
#ifndef DEV_MISC_DEBUGCON_H
#define DEV_MISC_DEBUGCON_H

#include "core/backend.h"
#include "core/vm.h"

#define DEBUGCON_PORT 0x402

/* The backend stays the caller's and outlives the device. */
int debugcon_create(struct vm *vm, uint16_t port, struct char_backend *backend) must_check;

#endif
