/* How much of the host's memory a VM has, each page counted once however often it is mapped: a translator maps guest RAM several
 * times.
 *
 * Example:
 *     resident_open(&resident);                // before the sandbox closes
 *     resident_measure(&resident, &vm->mem);   // while all is mapped
 *     resident_close(&resident);
 */
#ifndef HOST_LINUX_RESIDENT_H
#define HOST_LINUX_RESIDENT_H

#include "base/types.h"
#include <stdio.h>

struct mem;

struct resident {
	FILE *maps; /* /proc/self/smaps, or NULL */
	bool known;
	uint64_t guest_kib, other_kib; /* in the guest's RAM and beside it */
};

void resident_open(struct resident *resident);
/* False, and known is false, when the host does not say. */
bool resident_measure(struct resident *resident, const struct mem *mem);
void resident_close(struct resident *resident);

#endif
