/* See virtio_driver.h. */
#include "virtio_driver.h"
#include "fake_platform.h"
#include <stdlib.h>
#include <string.h>

#ifdef DRIVER_PACKED
const bool driver_packed = true;
#else
const bool driver_packed = false;
#endif

#define PACKED_AVAIL (1u << 7)
#define PACKED_USED  (1u << 15)

static void line_set(void *ctx, unsigned pin, int level)
{
	struct driver *driver = ctx;

	if (level && !driver->level)
		driver->pulses++;
	driver->level = level;
}

void driver_machine(struct driver *driver)
{
	int err;

	fake_reset();
	memset(driver, 0, sizeof(*driver));
	driver->ram = aligned_alloc(4096, DRIVER_RAM + 4096);
	memset(driver->ram, 0, DRIVER_RAM + 4096);
	driver->brk = 4096;
	driver->packed = driver_packed;
	err = mem_add_slot(&driver->vm.mem, 0, DRIVER_RAM, driver->ram, false);
	if (err == 0)
		err = mem_add_slot(&driver->vm.mem, 0xf0000000, 4096, driver->ram + DRIVER_RAM, true);
	if (err < 0)
		abort();
}

void driver_plug(struct driver *driver, struct virtio_device *vdev, unsigned mmio_flags)
{
	struct irq_line line = {.set = line_set, .ctx = driver, .pin = 5};

	if (virtio_mmio_create(&driver->vm, vdev, DRIVER_BASE, line, mmio_flags, "test0") < 0)
		abort();
}

uint32_t driver_reg(struct driver *driver, unsigned offset)
{
	return (uint32_t)bus_read(&driver->vm.mmio, DRIVER_BASE + offset, 4);
}

void driver_set_reg(struct driver *driver, unsigned offset, uint32_t value)
{
	bus_write(&driver->vm.mmio, DRIVER_BASE + offset, 4, value);
}

gpa_t driver_alloc(struct driver *driver, uint32_t len)
{
	gpa_t gpa = driver->brk;

	driver->brk += (len + 15u) & ~15u;
	if (driver->brk > DRIVER_RAM)
		abort();
	memset(driver->ram + gpa, 0, len);
	return gpa;
}

void *driver_ptr(struct driver *driver, gpa_t gpa)
{
	return driver->ram + gpa;
}

static void write_address(struct driver *driver, unsigned offset, gpa_t gpa)
{
	driver_set_reg(driver, offset, (uint32_t)gpa);
	driver_set_reg(driver, offset + 4, (uint32_t)(gpa >> 32));
}

static void init_queue(struct driver *driver, unsigned index, uint16_t size)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t max;

	driver_set_reg(driver, 0x030, index);
	max = (uint16_t)driver_reg(driver, 0x034);
	memset(queue, 0, sizeof(*queue));
	queue->avail_wrap = queue->used_wrap = true;
	queue->size = size && size < max ? size : max;
	queue->desc = driver_alloc(driver, 16u * queue->size);
	queue->avail = driver_alloc(driver, 6u + 2u * queue->size);
	queue->used = driver_alloc(driver, 6u + 8u * queue->size);
	driver_set_reg(driver, 0x038, queue->size);
	write_address(driver, 0x080, queue->desc);
	write_address(driver, 0x090, queue->avail);
	write_address(driver, 0x0a0, queue->used);
	driver_set_reg(driver, 0x044, 1);
}

void driver_init_device(struct driver *driver, uint64_t features, uint16_t size)
{
	uint64_t offered;

	driver_set_reg(driver, 0x070, 0);
	driver_set_reg(driver, 0x070, 1);
	driver_set_reg(driver, 0x070, 3);
	driver_set_reg(driver, 0x014, 0);
	offered = driver_reg(driver, 0x010);
	driver_set_reg(driver, 0x014, 1);
	offered |= (uint64_t)driver_reg(driver, 0x010) << 32;
	driver->features = offered & (features | VIRTIO_F_VERSION_1 | (driver->packed ? VIRTIO_F_RING_PACKED : 0));
	driver_set_reg(driver, 0x024, 0);
	driver_set_reg(driver, 0x020, (uint32_t)driver->features);
	driver_set_reg(driver, 0x024, 1);
	driver_set_reg(driver, 0x020, (uint32_t)(driver->features >> 32));
	driver_set_reg(driver, 0x070, 11);
	if (!(driver_reg(driver, 0x070) & 8))
		abort();
	for (unsigned i = 0; i < DRIVER_QUEUES; i++) {
		driver_set_reg(driver, 0x030, i);
		if (driver_reg(driver, 0x034) == 0)
			break;
		init_queue(driver, i, size);
	}
	driver_set_reg(driver, 0x070, 15);
	fake_run_work();
}

void driver_start(struct driver *driver, struct virtio_device *vdev, unsigned mmio_flags, uint64_t features)
{
	driver_plug(driver, vdev, mmio_flags);
	driver_init_device(driver, features, 0);
}

void driver_stop(struct driver *driver)
{
	while (driver->vm.device_count > 0) {
		struct device *dev = driver->vm.devices[--driver->vm.device_count];

		dev->ops->destroy(dev);
	}
	mem_destroy(&driver->vm.mem);
	free(driver->ram);
}

struct driver_desc *driver_desc(struct driver *driver, unsigned queue, unsigned index)
{
	return (struct driver_desc *)driver_ptr(driver, driver->queues[queue].desc) + index;
}

void driver_add_head(struct driver *driver, unsigned index, uint16_t head)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t *avail = driver_ptr(driver, queue->avail);

	avail[2 + queue->avail_idx % queue->size] = head;
	avail[1] = ++queue->avail_idx;
}

static uint16_t split_add(struct driver *driver, unsigned index, unsigned count, const struct driver_buf *bufs)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t head = queue->next_desc;
	gpa_t table = driver->indirect ? driver_alloc(driver, 16 * count) : 0;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = (uint16_t)((head + i) % queue->size);
		struct driver_desc *desc = driver->indirect
						   ? (struct driver_desc *)driver_ptr(driver, table) + i
						   : driver_desc(driver, index, at);

		desc->addr = bufs[i].gpa;
		desc->len = bufs[i].len;
		desc->flags = (uint16_t)((i + 1 < count ? 1 : 0) | (bufs[i].write ? 2 : 0));
		desc->next = driver->indirect ? (uint16_t)(i + 1) : (uint16_t)((at + 1) % queue->size);
	}
	if (driver->indirect)
		*driver_desc(driver, index, head) =
			(struct driver_desc){.addr = table, .len = 16 * count, .flags = 4};
	queue->next_desc = (uint16_t)((head + (driver->indirect ? 1 : count)) % queue->size);
	driver_add_head(driver, index, head);
	return head;
}

static bool split_must_kick(struct driver *driver, unsigned index, uint16_t added)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *used = driver_ptr(driver, queue->used);
	uint16_t event = used[2 + 4 * queue->size], now = queue->avail_idx;

	if (driver->features & VIRTIO_F_EVENT_IDX)
		return (uint16_t)(now - event - 1) < added;
	return !(used[0] & 1);
}

static bool split_used(struct driver *driver, unsigned index, uint32_t *head, uint32_t *len)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *used = driver_ptr(driver, queue->used);
	const uint32_t *ring = (const uint32_t *)(const void *)(used + 2);

	if (used[1] == queue->used_seen)
		return false;
	if (head)
		*head = ring[2 * (queue->used_seen % queue->size)];
	if (len)
		*len = ring[2 * (queue->used_seen % queue->size) + 1];
	queue->used_seen++;
	driver_set_used_event(driver, index, queue->used_seen);
	return true;
}


/* ---- packed rings ---- */

static bool is_packed(const struct driver *driver)
{
	return (driver->features & VIRTIO_F_RING_PACKED) != 0;
}

struct driver_packed_desc *driver_packed_desc(struct driver *driver, unsigned queue, unsigned index)
{
	return (struct driver_packed_desc *)driver_ptr(driver, driver->queues[queue].desc) + index;
}

static void forward(const struct driver_queue *queue, uint16_t *place, bool *wrap, unsigned count)
{
	*place = (uint16_t)(*place + count);
	if (*place < queue->size)
		return;
	*place = (uint16_t)(*place - queue->size);
	*wrap = !*wrap;
}

static uint16_t take_id(struct driver_queue *queue, unsigned slots)
{
	for (uint16_t id = 0; id < queue->size; id++)
		if (!queue->slots[id]) {
			queue->slots[id] = (uint8_t)slots;
			return id;
		}
	abort();
}

static uint16_t packed_add(struct driver *driver, unsigned index, unsigned count, const struct driver_buf *bufs)
{
	struct driver_queue *queue = &driver->queues[index];
	unsigned slots = driver->indirect ? 1 : count;
	gpa_t table = driver->indirect ? driver_alloc(driver, 16 * count) : 0;
	uint16_t id = take_id(queue, slots), first = queue->next_desc, first_flags = 0;

	for (unsigned i = 0; driver->indirect && i < count; i++)
		((struct driver_packed_desc *)driver_ptr(driver, table))[i] = (struct driver_packed_desc){
			.addr = bufs[i].gpa, .len = bufs[i].len, .id = 0xdead, .flags = bufs[i].write ? 2 : 0};
	for (unsigned i = 0; i < slots; i++) {
		struct driver_packed_desc *desc = driver_packed_desc(driver, index, queue->next_desc);
		uint16_t flags = (uint16_t)(queue->avail_wrap ? PACKED_AVAIL : PACKED_USED);

		desc->addr = driver->indirect ? table : bufs[i].gpa;
		desc->len = driver->indirect ? 16 * count : bufs[i].len;
		desc->id = i + 1 < slots ? 0xdead : id; /* that of the last one counts */
		flags |= (uint16_t)(driver->indirect ? 4 : (i + 1 < count ? 1 : 0) | (bufs[i].write ? 2 : 0));
		if (i == 0)
			first_flags = flags;
		else
			desc->flags = flags;
		forward(queue, &queue->next_desc, &queue->avail_wrap, 1);
	}
	driver_packed_desc(driver, index, first)->flags = first_flags;
	queue->avail_idx++;
	return id;
}

/* virtio 1.2 §2.8.22: as a driver that added `added` chains of one descriptor each. */
static bool packed_must_kick(struct driver *driver, unsigned index, uint16_t added)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *device = driver_ptr(driver, queue->used);
	int event = device[0] & 0x7fff, now = queue->next_desc;

	if (device[1] != 2)
		return device[1] == 0;
	if ((device[0] >> 15 != 0) != queue->avail_wrap)
		event -= queue->size;
	return (uint16_t)(now - event - 1) < added;
}

/* Is there a used entry at a place? */
static bool packed_is_used(struct driver *driver, unsigned index, uint16_t place, bool wrap)
{
	uint16_t flags = driver_packed_desc(driver, index, place)->flags;

	return ((flags & PACKED_AVAIL) != 0) == wrap && ((flags & PACKED_USED) != 0) == wrap;
}

static bool packed_used(struct driver *driver, unsigned index, uint32_t *head, uint32_t *len)
{
	struct driver_queue *queue = &driver->queues[index];
	const struct driver_packed_desc *desc = driver_packed_desc(driver, index, queue->used_seen);

	if (!packed_is_used(driver, index, queue->used_seen, queue->used_wrap))
		return false;
	if (desc->id >= queue->size || !queue->slots[desc->id] || ((desc->flags & 2) != 0) != (desc->len > 0))
		abort();
	if (head)
		*head = desc->id;
	if (len)
		*len = desc->len;
	forward(queue, &queue->used_seen, &queue->used_wrap, queue->slots[desc->id]);
	queue->slots[desc->id] = 0;
	driver_set_used_event(driver, index, (uint16_t)(queue->used_seen | (queue->used_wrap ? 0x8000 : 0)));
	return true;
}

static unsigned packed_used_count(struct driver *driver, unsigned index)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t place = queue->used_seen;
	bool wrap = queue->used_wrap;
	unsigned count = 0;

	for (; packed_is_used(driver, index, place, wrap); count++)
		forward(queue, &place, &wrap, queue->slots[driver_packed_desc(driver, index, place)->id]);
	return count;
}

/* ---- either ---- */

uint16_t driver_add(struct driver *driver, unsigned index, unsigned count, const struct driver_buf *bufs)
{
	return (is_packed(driver) ? packed_add : split_add)(driver, index, count, bufs);
}

void driver_kick(struct driver *driver, unsigned queue)
{
	driver_set_reg(driver, 0x050, queue);
	fake_run_work();
}

bool driver_must_kick(struct driver *driver, unsigned index, uint16_t added)
{
	return (is_packed(driver) ? packed_must_kick : split_must_kick)(driver, index, added);
}

bool driver_used(struct driver *driver, unsigned index, uint32_t *head, uint32_t *len)
{
	return (is_packed(driver) ? packed_used : split_used)(driver, index, head, len);
}

unsigned driver_used_count(struct driver *driver, unsigned index)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *used = driver_ptr(driver, queue->used);

	return is_packed(driver) ? packed_used_count(driver, index) : (uint16_t)(used[1] - queue->used_seen);
}

void driver_set_used_event(struct driver *driver, unsigned index, uint16_t event)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t *avail = driver_ptr(driver, queue->avail);

	if (!is_packed(driver)) {
		avail[2 + queue->size] = event;
	} else if (driver->features & VIRTIO_F_EVENT_IDX) {
		avail[0] = event;
		avail[1] = 2;
	}
}

void driver_want_interrupts(struct driver *driver, unsigned index, bool want)
{
	uint16_t *avail = driver_ptr(driver, driver->queues[index].avail);

	avail[is_packed(driver) ? 1 : 0] = want ? 0 : 1;
}

uint32_t driver_take_interrupt(struct driver *driver)
{
	uint32_t status = driver_reg(driver, 0x060);

	driver_set_reg(driver, 0x064, status);
	return status;
}
