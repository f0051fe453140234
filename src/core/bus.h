/* The port and memory-mapped buses: which device answers at which address.
 *
 * Example:
 *     bus_attach(&vm->pio, 0x3f8, 8, &uart->dev, 0);
 *
 * Most regions are attached while the machine is built. Those whose place the guest chooses (PCI's base address
 * registers) are attached and detached while it runs: look-ups take no lock (sorted array, binary search), and look again
 * if the array changed under them. The bus guarantees a device accesses that lie inside its region and are naturally aligned
 * and of a size within [min_size, max_size]: larger or misaligned guest accesses are split, smaller
 * reads are widened, smaller writes are dropped. Where nothing answers, reads give all ones and writes
 * go nowhere.
 */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include "base/lock.h"
#include "base/types.h"

#define BUS_MAX_REGIONS 256

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
	_Atomic uint32_t count;
	_Atomic uint32_t changes; /* odd while regions change; then look-ups wait */
	struct lock lock;         /* of changing: a leaf */
};

/* bus_attach takes sizes 1 to 8. min_size and max_size are powers of two, size a multiple of min_size.
 * -EEXIST: overlaps another region (logged by name). -ENOSPC: too many. -EINVAL. */
int bus_attach(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index) must_check;
int bus_attach_sized(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index,
		     uint8_t min_size, uint8_t max_size) must_check;

/* For regions that the guest moves: the same without a message, since what overlaps is the guest's doing. Any thread. */
int bus_map(struct bus *bus, const struct bus_region *region) must_check;
/* Removes dev's region at base. Accesses that found it before may still be under way. Any thread. */
void bus_unmap(struct bus *bus, uint64_t base, const struct device *dev);

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
