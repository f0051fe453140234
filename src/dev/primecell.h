/* How Arm's PrimeCell peripherals say what they are: eight registers of a byte each at the end of their page.
 *
 * Example: `if (offset >= PRIMECELL_ID) return primecell_id(0x00341011, offset);`
 */
#ifndef DEV_PRIMECELL_H
#define DEV_PRIMECELL_H

#include "base/types.h"

#define PRIMECELL_ID 0xfe0u

/* peripheral: PeriphID3 to 0, the most significant byte first; offset: in the page, from PRIMECELL_ID on. */
static inline uint32_t primecell_id(uint32_t peripheral, uint64_t offset)
{
	const uint32_t cell = 0xb105f00d;
	const unsigned index = (unsigned)(offset - PRIMECELL_ID) / 4;

	return (index < 4 ? peripheral : cell) >> 8 * (index & 3) & 0xff;
}

#endif
