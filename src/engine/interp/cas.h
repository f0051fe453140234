/* Guests' atomic operations on the host's memory.
 *
 * Example: `uint64_t expected = old; if (!sem_cas_host(at, 8, &expected, &new)) old = expected;`
 */
#ifndef ENGINE_INTERP_CAS_H
#define ENGINE_INTERP_CAS_H

#include "base/types.h"

/* The host's locked compare-and-swap of 1, 2, 4, 8 or 16 bytes; 16 aligned. False: expected is what was there. */
bool sem_cas_host(void *at, unsigned size, void *expected, const void *desired);

#endif
