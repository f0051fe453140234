/* See virtio_driver.h. */
#include "virtio_driver.h"
#include "fake_platform.h"
#include <stdlib.h>
#include <string.h>

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
	driver->features = offered & (features | VIRTIO_F_VERSION_1);
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

uint16_t driver_add(struct driver *driver, unsigned index, unsigned count, const struct driver_buf *bufs)
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

void driver_kick(struct driver *driver, unsigned queue)
{
	driver_set_reg(driver, 0x050, queue);
	fake_run_work();
}

bool driver_must_kick(struct driver *driver, unsigned index, uint16_t added)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *used = driver_ptr(driver, queue->used);
	uint16_t event = used[2 + 4 * queue->size], now = queue->avail_idx;

	if (driver->features & VIRTIO_F_EVENT_IDX)
		return (uint16_t)(now - event - 1) < added;
	return !(used[0] & 1);
}

bool driver_used(struct driver *driver, unsigned index, uint32_t *head, uint32_t *len)
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

void driver_set_used_event(struct driver *driver, unsigned index, uint16_t event)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t *avail = driver_ptr(driver, queue->avail);

	avail[2 + queue->size] = event;
}

uint32_t driver_take_interrupt(struct driver *driver)
{
	uint32_t status = driver_reg(driver, 0x060);

	driver_set_reg(driver, 0x064, status);
	return status;
}
