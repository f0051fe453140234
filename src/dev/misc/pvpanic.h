/* pvpanic at one I/O port: the guest says that it panicked (bit 0) or that its crash kernel took over (bit 1).
 * ACPI: device "QEMU0001" with the port in its _CRS.
 *
 * Example: `r = pvpanic_create(vm, PVPANIC_PORT);`
 */
#ifndef DEV_MISC_PVPANIC_H
#define DEV_MISC_PVPANIC_H

#include "core/vm.h"

#define PVPANIC_PORT 0x505

int pvpanic_create(struct vm *vm, uint16_t port) must_check;

#endif
