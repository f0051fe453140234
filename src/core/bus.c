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

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

static bool is_access_size(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* Index of the first region whose end lies above address. */
static unsigned search(const struct bus *bus, uint64_t address)
{
	unsigned low = 0, high = bus->count;

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

static struct bus_region *find(struct bus *bus, uint64_t address)
{
	unsigned at = search(bus, address);

	return at < bus->count && bus->regions[at].base <= address ? &bus->regions[at] : NULL;
}

int bus_attach_sized(struct bus *bus, uint64_t base, uint64_t size, struct device *dev, unsigned index,
		     uint8_t min_size, uint8_t max_size)
{
	uint64_t last;
	unsigned at;

	if (size == 0 || add_overflow(base, size - 1, &last) || !is_access_size(min_size) ||
	    !is_access_size(max_size) || min_size > max_size || size % min_size)
		return -EINVAL;
	at = search(bus, base);
	if (at < bus->count && bus->regions[at].base <= last) {
		log_error("bus", "%s at 0x%llx overlaps %s at 0x%llx", dev->id, (unsigned long long)base,
			  bus->regions[at].dev->id, (unsigned long long)bus->regions[at].base);
		return -EEXIST;
	}
	if (bus->count == BUS_MAX_REGIONS)
		return -ENOSPC;
	for (unsigned i = bus->count; i > at; i--)
		bus->regions[i] = bus->regions[i - 1];
	bus->regions[at] = (struct bus_region){.base = base,
					       .size = size,
					       .dev = dev,
					       .index = index,
					       .min_size = min_size,
					       .max_size = max_size};
	bus->count++;
	return 0;
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
		const struct bus_region *region = find(bus, address + done);
		uint64_t part = 0xff;

		piece = 1;
		if (region) {
			uint64_t offset = address + done - region->base;

			piece = piece_size(region, offset, size - done);
			part = read_piece(region, offset, piece);
		}
		value |= part << (done * 8);
	}
	return value;
}

static void write_cut(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	unsigned piece;

	for (unsigned done = 0; done < size; done += piece) {
		const struct bus_region *region = find(bus, address + done);

		piece = 1;
		if (region) {
			uint64_t offset = address + done - region->base;

			piece = piece_size(region, offset, size - done);
			if (piece >= region->min_size)
				device_write(region, offset, piece, value >> (done * 8));
		}
	}
}

uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size)
{
	const struct bus_region *region = find(bus, address);

	if (region && fits(region, address - region->base, size))
		return device_read(region, address - region->base, size);
	return read_cut(bus, address, size);
}

void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	const struct bus_region *region = find(bus, address);

	if (region && fits(region, address - region->base, size))
		device_write(region, address - region->base, size, value);
	else
		write_cut(bus, address, size, value);
}
