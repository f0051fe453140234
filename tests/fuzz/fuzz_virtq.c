/* libFuzzer target for the rings themselves, packed ones above all: a hostile driver and a device that pops, pushes out of
 * order, fills, publishes and unpops as it likes. Whatever the ring says, buffers are inside of RAM, no more of the ring is out
 * than it has, what was taken is given back once, and the ROM stays as it was.
 *
 * Example:
 *     fuzz_virtq -max_len=256 -runs=1000000
 *
 * The input's first bytes choose the layout, the features and the size; then come operations, a byte each with operands.
 */
#include "../unit/fake_platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define RAM_SIZE 0x4000u
#define ROM_BASE 0x4000u /* right behind */
#define ROM_SIZE 0x1000u
#define MAX_SIZE 32u
#define MAX_OUT  48u

#define RING   0x0000u
#define DRIVER 0x0800u /* what the driver writes beside, and what the device does */
#define DEVICE 0x1000u

enum op { DESC, RAM_WRITE, POP, PUSH, FILL_MANY, UNPOP, SIGNAL, NOTIFY, BEYOND, RESTART, OFFER, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct machine {
	struct vm vm;
	struct virtio_device dev;
	struct virtq *queue;
	uint8_t *ram, *rom;
	uint64_t features;
	uint16_t size;
	struct virtq_chain *out[MAX_OUT]; /* in order of popping */
	unsigned count;
	unsigned fresh; /* the last ones, popped with nothing pushed since */
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

static void dev_notify(struct virtio_device *dev, struct virtq *queue)
{
}

static void dev_destroy(struct virtio_device *dev)
{
	virtio_device_fini(dev);
}

static const struct virtio_device_ops dev_ops = {
	.name = "fuzz", .id = VIRTIO_ID_RNG, .notify = dev_notify, .destroy = dev_destroy};

/* ---- the device ---- */

static void check_chain(struct machine *machine, struct virtq_chain *chain)
{
	uint64_t out = 0, in = 0;
	uint8_t bytes[64];

	CHECK(chain->out_count + chain->in_count <= VIRTQ_MAX_SEGS);
	for (unsigned i = 0; i < chain->out_count + chain->in_count; i++) {
		const uint8_t *base = chain->bufs[i].base;
		size_t len = chain->bufs[i].len;
		bool in_ram = base >= machine->ram && base + len <= machine->ram + RAM_SIZE;
		bool in_rom = base >= machine->rom && base + len <= machine->rom + ROM_SIZE;

		CHECK(in_ram || (in_rom && i < chain->out_count));
		if (i < chain->out_count)
			out += len;
		else
			in += len;
	}
	CHECK(out == chain->out_len && in == chain->in_len);
	(void)virtq_chain_read(chain, 0, bytes, sizeof(bytes));
	(void)virtq_chain_write(chain, chain->in_len > 64 ? chain->in_len - 64 : 0, bytes, sizeof(bytes));
}

static void check_counts(struct machine *machine)
{
	unsigned slots = 0;

	CHECK(atomic_load(&machine->queue->out) == machine->count);
	if (!machine->queue->ready || !(machine->features & VIRTIO_F_RING_PACKED))
		return;
	for (unsigned i = 0; i < machine->count; i++)
		slots += machine->out[i]->slots;
	CHECK(machine->queue->packed.taken == slots && slots <= machine->queue->size);
	CHECK(machine->queue->next_avail < machine->queue->size && machine->queue->next_used < machine->queue->size);
}

static void pop(struct machine *machine)
{
	struct virtq_chain *chain;

	if (machine->count == MAX_OUT)
		return;
	chain = malloc(sizeof(*chain));
	CHECK(chain);
	if (virtq_pop(machine->queue, chain) <= 0) {
		free(chain);
		return;
	}
	check_chain(machine, chain);
	machine->out[machine->count++] = chain;
	machine->fresh++;
}

static void forget(struct machine *machine, unsigned index)
{
	free(machine->out[index]);
	machine->count--;
	memmove(&machine->out[index], &machine->out[index + 1], (machine->count - index) * sizeof(machine->out[0]));
}

static void push(struct machine *machine, unsigned index, uint32_t written)
{
	if (index >= machine->count)
		return;
	machine->fresh = 0;
	virtq_push(machine->queue, machine->out[index], written);
	forget(machine, index);
}

static void fill_many(struct machine *machine, unsigned count)
{
	count %= 5;
	if (count == 0 || count > machine->count)
		return;
	machine->fresh = 0;
	for (unsigned i = count; i-- > 0;)
		virtq_fill(machine->queue, machine->out[i], i, 3);
	virtq_publish(machine->queue, count);
	while (count-- > 0)
		forget(machine, 0);
}

static void unpop(struct machine *machine, unsigned count, bool beyond)
{
	if (count > machine->fresh)
		count = machine->fresh;
	for (unsigned i = 0; i < count; i++)
		virtq_fill(machine->queue, machine->out[machine->count - count + i], i, 1);
	virtq_unpop(machine->queue, count);
	machine->fresh -= count;
	for (unsigned i = 0; i < count; i++)
		forget(machine, machine->count - 1);
	if (beyond)
		(void)virtq_enable_notify_beyond(machine->queue, count);
}

/* ---- the driver ---- */

static void restart(struct machine *machine)
{
	struct virtio_device *dev = &machine->dev;

	while (machine->count > 0)
		push(machine, machine->count - 1, 0);
	virtio_status_write(dev, 0);
	virtio_status_write(dev, 3);
	virtio_driver_features_write(dev, 0, (uint32_t)machine->features);
	virtio_driver_features_write(dev, 1, (uint32_t)(machine->features >> 32));
	virtio_status_write(dev, 11);
	virtio_queue_write(dev, 0, VIRTIO_QUEUE_SIZE, machine->size, UINT32_MAX);
	virtio_queue_write(dev, 0, VIRTIO_QUEUE_DESC, RING, UINT64_MAX);
	virtio_queue_write(dev, 0, VIRTIO_QUEUE_AVAIL, DRIVER, UINT64_MAX);
	virtio_queue_write(dev, 0, VIRTIO_QUEUE_USED, DEVICE, UINT64_MAX);
	virtio_queue_enable(dev, 0);
	virtio_status_write(dev, 15);
	fake_run_work();
}

/* A descriptor of either layout: what the split one calls flags and next are id and flags in the packed one. */
static void put_desc(struct machine *machine, struct input *in)
{
	uint8_t *desc = machine->ram + RING + take(in, 1) % MAX_SIZE * 16;
	uint64_t address = take(in, 2);
	uint32_t len = take(in, 2), what = take(in, 1);
	uint16_t words[2] = {(uint16_t)take(in, 1), (uint16_t)(what & 7)};

	if (machine->features & VIRTIO_F_RING_PACKED) {
		words[1] |= (uint16_t)((what & 8 ? 1u << 7 : 0) | (what & 16 ? 1u << 15 : 0));
	} else {
		words[1] = (uint16_t)(words[0] % (MAX_SIZE + 1));
		words[0] = (uint16_t)(what & 7);
	}
	if (what & 32)
		address = address % 0x1800 + RAM_SIZE - 0x800; /* around the seam and beyond the end */
	memcpy(desc, &address, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, words, 4);
}

/* The next descriptor becomes available, whatever it says. */
static void offer(struct machine *machine)
{
	uint16_t value;

	if (!machine->queue->ready)
		return;
	if (machine->features & VIRTIO_F_RING_PACKED) {
		uint8_t *flags = machine->ram + RING + machine->queue->next_avail * 16 + 14;

		memcpy(&value, flags, 2);
		value = (uint16_t)((value & ~((1u << 7) | (1u << 15))) |
				   (machine->queue->packed.avail_wrap ? 1u << 7 : 1u << 15));
		memcpy(flags, &value, 2);
	} else {
		memcpy(&value, machine->ram + DRIVER + 2, 2);
		value++;
		memcpy(machine->ram + DRIVER + 2, &value, 2);
	}
}

static void ram_write(struct machine *machine, struct input *in)
{
	uint32_t at = take(in, 2) % RAM_SIZE, len = take(in, 1) % 32;

	for (uint32_t i = 0; i < len && at + i < RAM_SIZE; i++)
		machine->ram[at + i] = (uint8_t)take(in, 1);
}

static void step(struct machine *machine, struct input *in)
{
	switch ((enum op)(take(in, 1) % OP_COUNT)) {
	case DESC:
		put_desc(machine, in);
		break;
	case RAM_WRITE:
		ram_write(machine, in);
		break;
	case POP:
		pop(machine);
		break;
	case PUSH:
		push(machine, take(in, 1), take(in, 4));
		break;
	case FILL_MANY:
		fill_many(machine, take(in, 1));
		break;
	case UNPOP:
		unpop(machine, take(in, 1), false);
		break;
	case SIGNAL:
		virtq_signal(machine->queue);
		break;
	case NOTIFY:
		virtq_disable_notify(machine->queue);
		(void)virtq_enable_notify(machine->queue);
		break;
	case BEYOND:
		unpop(machine, take(in, 1), true);
		break;
	case RESTART:
		restart(machine);
		break;
	case OFFER:
		offer(machine);
		break;
	case OP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct input in = {bytes, len};
	uint32_t options = take(&in, 1);

	CHECK(machine);
	fake_reset();
	machine->ram = calloc(1, RAM_SIZE);
	machine->rom = malloc(ROM_SIZE);
	CHECK(machine->ram && machine->rom);
	memset(machine->rom, 0x5a, ROM_SIZE);
	CHECK(mem_add_slot(&machine->vm.mem, 0, RAM_SIZE, machine->ram, false) == 0);
	CHECK(mem_add_slot(&machine->vm.mem, ROM_BASE, ROM_SIZE, machine->rom, true) == 0);
	CHECK(virtio_device_init(&machine->dev, &machine->vm, &dev_ops, 0, 0, 1, (const uint16_t[]){MAX_SIZE}) == 0);
	machine->queue = &machine->dev.queues[0];
	/* One in eight is split. */
	machine->features = VIRTIO_F_VERSION_1 | ((options & 7) ? VIRTIO_F_RING_PACKED : 0) |
			    ((options & 8) ? VIRTIO_F_EVENT_IDX : 0) | ((options & 16) ? VIRTIO_F_INDIRECT_DESC : 0);
	machine->size = (uint16_t)((options & 7) ? 1 + take(&in, 1) % MAX_SIZE : 16);
	restart(machine);
	while (in.len > 0) {
		step(machine, &in);
		check_counts(machine);
	}
	while (machine->count > 0)
		push(machine, 0, 0);
	virtio_destroy(&machine->dev);
	mem_destroy(&machine->vm.mem);
	for (unsigned i = 0; i < ROM_SIZE; i++)
		CHECK(machine->rom[i] == 0x5a);
	CHECK(fake_alloc_live() == 0);
	free(machine->ram);
	free(machine->rom);
	free(machine);
	return 0;
}
