/* pc-testdev, what public bare-metal test kernels expect of a test machine:
 *   ports 0xe0..0xe3  a 32-bit latch: any size and offset
 *   ports 0xe4..0xe7  write of a guest-physical address: mappings of that page are dropped (a flush)
 *   ports 0xe8..0xeb  the latch again, in bytes
 *   ports 0x2000..    + n (n < 24): level of interrupt line n
 *   0xff000000        64 KiB of memory-mapped storage
 *
 * Example: `r = testdev_create(vm, chip);`
 */
#ifndef DEV_MISC_TESTDEV_H
#define DEV_MISC_TESTDEV_H

#include "core/vm.h"

struct irqchip;

int testdev_create(struct vm *vm, struct irqchip *chip) must_check;

#endif
