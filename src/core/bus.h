/* The port and memory-mapped buses: which device answers at which address.
 *
 * Example:
 *     bus_attach(&vm->pio, 0x3f8, 8, &uart->dev, 0);
 *
 * Regions are attached while the machine is built; look-ups then take no lock (sorted array, binary
 * search). The bus guarantees a device accesses that lie inside its region and are naturally aligned
 * and of a size within [min_size, max_size]: larger or misaligned guest accesses are split, smaller
 * reads are widened, smaller writes are dropped. Where nothing answers, reads give all ones and writes
 * go nowhere.
 */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include "base/types.h"

#define BUS_MAX_REGIONS 64

struct device;

struct bus_region {
	uint64_t base;
	uint64_t size;
	struct device *dev;
	unsigned index;    /* which of the device's regions; given back to its read and write */
	uint8_t min_size;  /* 1 unless the device asks for more */
	uint8_t max_size;  /* 1, 2, 4 or 8 */
};

struct bus {
	struct bus_region regions[BUS_MAX_REGIONS]; /* sorted by base, disjoint */
	unsigned count;
};

/* bus_attach takes sizes 1 to 8. min_size and max_size are powers of two, size a multiple of min_size.
 * -EEXIST: overlaps another region (logged by name). -ENOSPC: too many. -EINVAL. */
int bus_attach(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index) must_check;
int bus_attach_sized(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index,
		     uint8_t min_size, uint8_t max_size) must_check;

/* size 1, 2, 4 or 8. Takes the device's lock around its read or write. */
uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size);
void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value);

/* A place where a write of any value (or of `value` if match) means only "look at your queue". */
struct doorbell {
	gpa_t gpa;
	uint8_t size;
	bool match;
	uint64_t value;
	void (*ring)(void *ctx); /* runs on the I/O thread */
	void *ctx;
};

#endif
