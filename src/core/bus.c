/* The buses: sorted regions, binary search, and the cutting of accesses into what a device accepts.
 *
 * Example: `value = bus_read(&vm->mmio, 0xfec00010, 4);`
 *
 * Most accesses are one aligned piece inside one region and take the first branch of bus_read/bus_write.
 * The rest is cut: each piece is the largest power of two that is left, lies inside one region, is
 * naturally aligned in it and is within its max_size.
 */
#include "core/bus.h"
#include "base/checked.h"
#include "base/errno.h"
#include "base/log.h"
#include "core/device.h"
#include <stdatomic.h>

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

static bool is_access_size(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* Index of the first region whose end lies above address. While regions change it may be any up to the count. */
static unsigned search(const struct bus *bus, uint64_t address)
{
	unsigned low = 0, high = atomic_load_explicit(&bus->count, memory_order_relaxed);

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct bus_region *region = &bus->regions[middle];

		if (region->base + (region->size - 1) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A copy of address's region. False: nothing answers there. */
static bool find(struct bus *bus, uint64_t address, struct bus_region *region)
{
	uint32_t changes;
	unsigned at;

	/* A change is a few moves within the array: whoever comes meanwhile spins. */
	do {
		while ((changes = atomic_load_explicit(&bus->changes, memory_order_acquire)) & 1)
			;
		at = search(bus, address);
		*region = at < BUS_MAX_REGIONS ? bus->regions[at] : (struct bus_region){0};
		if (at >= atomic_load_explicit(&bus->count, memory_order_relaxed))
			region->size = 0;
		atomic_thread_fence(memory_order_acquire);
	} while (atomic_load_explicit(&bus->changes, memory_order_relaxed) != changes);
	return address - region->base < region->size;
}

/* Lock held. */
static void change_begin(struct bus *bus)
{
	atomic_fetch_add(&bus->changes, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static void change_end(struct bus *bus)
{
	atomic_fetch_add_explicit(&bus->changes, 1, memory_order_release);
}

/* Lock held. False: in_the_way is. */
static bool insert(struct bus *bus, const struct bus_region *region, uint64_t last, struct bus_region *in_the_way)
{
	unsigned at = search(bus, region->base), count = atomic_load(&bus->count);

	if (at < count && bus->regions[at].base <= last) {
		*in_the_way = bus->regions[at];
		return false;
	}
	change_begin(bus);
	for (unsigned i = count; i > at; i--)
		bus->regions[i] = bus->regions[i - 1];
	bus->regions[at] = *region;
	atomic_store(&bus->count, count + 1);
	change_end(bus);
	return true;
}

static int map(struct bus *bus, const struct bus_region *region, struct bus_region *in_the_way)
{
	uint64_t last;
	int r = 0;

	if (region->size == 0 || add_overflow(region->base, region->size - 1, &last) || !is_access_size(region->min_size) ||
	    !is_access_size(region->max_size) || region->min_size > region->max_size || region->size % region->min_size)
		return -EINVAL;
	lock_take(&bus->lock);
	if (atomic_load(&bus->count) == BUS_MAX_REGIONS)
		r = -ENOSPC;
	else if (!insert(bus, region, last, in_the_way))
		r = -EEXIST;
	lock_release(&bus->lock);
	return r;
}

int bus_map(struct bus *bus, const struct bus_region *region)
{
	struct bus_region in_the_way;

	return map(bus, region, &in_the_way);
}

void bus_unmap(struct bus *bus, uint64_t base, const struct device *dev)
{
	unsigned at, count;

	lock_take(&bus->lock);
	at = search(bus, base);
	count = atomic_load(&bus->count);
	if (at < count && bus->regions[at].base == base && bus->regions[at].dev == dev) {
		change_begin(bus);
		for (; at + 1 < count; at++)
			bus->regions[at] = bus->regions[at + 1];
		atomic_store(&bus->count, count - 1);
		change_end(bus);
	}
	lock_release(&bus->lock);
}

int bus_attach_sized(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index,
		     uint8_t min_size, uint8_t max_size)
{
	const struct bus_region region = {
		.base = base, .size = size, .dev = dev, .index = index, .min_size = min_size, .max_size = max_size};
	struct bus_region in_the_way;
	int r = map(bus, &region, &in_the_way);

	if (r == -EEXIST)
		log_error("bus", "%s at 0x%llx overlaps %s at 0x%llx", dev->id, (unsigned long long)base,
			  in_the_way.dev->id, (unsigned long long)in_the_way.base);
	return r;
}

int bus_attach(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index)
{
	return bus_attach_sized(bus, base, size, dev, index, 1, 8);
}

static uint64_t device_read(const struct bus_region *region, uint64_t offset, unsigned size)
{
	struct device *dev = region->dev;
	uint64_t value;

	if (!dev->ops->read)
		return size_mask(size);
	lock_take(&dev->lock);
	value = dev->ops->read(dev, region->index, offset, size);
	lock_release(&dev->lock);
	return value & size_mask(size);
}

static void device_write(const struct bus_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct device *dev = region->dev;

	if (!dev->ops->write)
		return;
	lock_take(&dev->lock);
	dev->ops->write(dev, region->index, offset, size, value & size_mask(size));
	lock_release(&dev->lock);
}

/* Does the device take this access as it is? */
static bool fits(const struct bus_region *region, uint64_t offset, unsigned size)
{
	return size <= region->size - offset && (offset & (size - 1)) == 0 && size >= region->min_size &&
	       size <= region->max_size;
}

/* The size of the first piece of an access of `size` bytes at offset. */
static unsigned piece_size(const struct bus_region *region, uint64_t offset, unsigned size)
{
	unsigned piece = region->max_size;

	while (piece > size || piece > region->size - offset || (offset & (piece - 1)))
		piece /= 2;
	return piece;
}

/* A piece smaller than the device's registers: read the whole register, take the part. */
static uint64_t read_piece(const struct bus_region *region, uint64_t offset, unsigned piece)
{
	unsigned inside;

	if (piece >= region->min_size)
		return device_read(region, offset, piece);
	inside = (unsigned)(offset & (region->min_size - 1u));
	return device_read(region, offset - inside, region->min_size) >> (inside * 8) & size_mask(piece);
}

static uint64_t read_cut(struct bus *bus, uint64_t address, unsigned size)
{
	uint64_t value = 0;
	unsigned piece;

	for (unsigned done = 0; done < size; done += piece) {
		struct bus_region region;
		uint64_t part = 0xff;

		piece = 1;
		if (find(bus, address + done, &region)) {
			uint64_t offset = address + done - region.base;

			piece = piece_size(&region, offset, size - done);
			part = read_piece(&region, offset, piece);
		}
		value |= part << (done * 8);
	}
	return value;
}

static void write_cut(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	unsigned piece;

	for (unsigned done = 0; done < size; done += piece) {
		struct bus_region region;

		piece = 1;
		if (find(bus, address + done, &region)) {
			uint64_t offset = address + done - region.base;

			piece = piece_size(&region, offset, size - done);
			if (piece >= region.min_size)
				device_write(&region, offset, piece, value >> (done * 8));
		}
	}
}

uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size)
{
	struct bus_region region;

	if (find(bus, address, &region) && fits(&region, address - region.base, size))
		return device_read(&region, address - region.base, size);
	return read_cut(bus, address, size);
}

void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	struct bus_region region;

	if (find(bus, address, &region) && fits(&region, address - region.base, size))
		device_write(&region, address - region.base, size, value);
	else
		write_cut(bus, address, size, value);
}
