/* libFuzzer target for the virtio devices: a hostile driver writes registers, rings and descriptors at will, on all
 * devices, with backends in memory. Whatever it does, nothing is touched outside of its RAM, its ROM stays as it
 * was, every turn of the I/O thread ends, and all memory comes back.
 *
 * Example:
 *     fuzz_virtio -seed_inputs=seeds/virtio_blk,seeds/virtio_net -max_len=512 -runs=200000
 *
 * The input is a list of operations, a byte each with its operands behind it (enum op). SETUP does in one byte what
 * a driver does to bring a device up, so that the fuzzer starts where it gets interesting.
 */
#include "../unit/fake_platform.h"
#include "core/backend.h"
#include "core/vm.h"
#include "dev/input/input.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/memory.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define RAM_SIZE  0x10000u
#define ROM_BASE  0x10000u /* right behind the RAM: what crosses the seam is seen */
#define ROM_SIZE  0x1000u
#define REGION    0x80000000u /* of memory that is plugged */
#define REGION_BLOCKS 2u
#define MMIO_BASE 0xd0000000u
#define MMIO_STEP 0x1000u
#define DISK_SIZE 0x8000u
#define PORTS     3u

enum op { REG_WRITE, REG_READ, RAM_WRITE, SETUP, DESC, AVAIL, KICK, RUN, BACKEND, CONFIG, RESET, PACKED, OP_COUNT };
enum device_index { BLK, NET, CONSOLE, RNG, BALLOON, SCSI, PMEM, MEMORY, KEYBOARD, TABLET, DEVICE_COUNT };

/* Where SETUP puts queue q of device d, with 16 entries: 1 KiB each, wrapping in the upper half of RAM. */
#define QUEUE_SIZE    16u
#define QUEUE_AREA(q) (0x8000u + (q) % 32u * 0x400u)
#define QUEUE_AVAIL   0x100u
#define QUEUE_USED    0x200u

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct machine {
	struct vm vm;
	uint8_t *ram, *rom, *region;
	struct virtio_device *devices[DEVICE_COUNT];
	int irq_level;

	struct block_backend disk;
	uint8_t disk_bytes[DISK_SIZE];
	bool disk_defers;
	struct block_request *waiting[2048];
	unsigned waiting_count;

	struct input_sink *keyboard, *tablet;
	struct net_backend net;
	uint8_t frame[2048];
};

/* ---- the input ---- */

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

/* ---- backends ---- */

static struct machine *machine_of_disk(struct block_backend *backend)
{
	return container_of(backend, struct machine, disk);
}

static void carry_out(struct machine *machine, struct block_request *request)
{
	uint64_t at = request->offset, total = 0;

	CHECK(request->offset % 512 == 0 && request->length % 512 == 0);
	if (request->op != BLOCK_FLUSH)
		CHECK(request->offset <= DISK_SIZE && request->length <= DISK_SIZE - request->offset);
	if (request->op == BLOCK_WRITE_ZEROES)
		memset(machine->disk_bytes + at, 0, request->length);
	for (unsigned i = 0; i < request->count; i++) {
		const struct iobuf *buf = &request->bufs[i];

		total += buf->len;
		CHECK(total <= request->length);
		if (request->op == BLOCK_READ)
			memcpy(buf->base, machine->disk_bytes + at, buf->len);
		else
			memcpy(machine->disk_bytes + at, buf->base, buf->len);
		at += buf->len;
	}
	request->done(request, 0);
}

static void disk_submit(struct block_backend *backend, struct block_request *request)
{
	struct machine *machine = machine_of_disk(backend);

	if (!machine->disk_defers) {
		carry_out(machine, request);
		return;
	}
	CHECK(machine->waiting_count < ARRAY_SIZE(machine->waiting));
	machine->waiting[machine->waiting_count++] = request;
}

static void disk_drain(struct block_backend *backend)
{
	struct machine *machine = machine_of_disk(backend);

	while (machine->waiting_count > 0)
		carry_out(machine, machine->waiting[--machine->waiting_count]);
}

static const struct block_backend_ops disk_ops = {.submit = disk_submit, .drain = disk_drain};

/* What is sent comes back, once. */
static void net_send(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	struct machine *machine = container_of(backend, struct machine, net);
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t part = sizeof(machine->frame) - len;

		if (part > bufs[i].len)
			part = bufs[i].len;
		memcpy(machine->frame + len, bufs[i].base, part);
		len += part;
	}
	(void)backend->receive(backend->receive_ctx, machine->frame, len);
}

static void net_resume(struct net_backend *backend)
{
	(void)backend->receive(backend->receive_ctx, "resumed frame", 13);
}

static void net_send_offload(struct net_backend *backend, unsigned pair, const struct net_offload *offload, const struct iobuf *bufs,
			     unsigned count)
{
	struct machine *machine = container_of(backend, struct machine, net);
	size_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += bufs[i].len;
	CHECK(!(offload->flags & ~1u) && (!offload->flags || (size_t)offload->csum_start + offload->csum_offset + 2 <= len));
	CHECK(!offload->gso_type || (offload->gso_size && offload->flags));
	net_send(backend, bufs, count);
	(void)backend->receive_offload(backend->receive_ctx, pair, offload, machine->frame, len < 2048 ? len : 2048);
}

static void net_set_offloads(struct net_backend *backend, unsigned kinds)
{
	CHECK(!(kinds & ~backend->offloads));
}

static const struct net_backend_ops net_ops = {
	.send = net_send, .send_offload = net_send_offload, .set_offloads = net_set_offloads, .resume = net_resume};

struct stream {
	struct char_backend backend;
	size_t room;
};

static struct stream *stream_of(struct char_backend *backend)
{
	return container_of(backend, struct stream, backend);
}

/* Echoes into its own input what fits there. */
static size_t stream_write(struct char_backend *backend, const void *buf, size_t len)
{
	struct stream *stream = stream_of(backend);
	size_t echo = backend->room(backend->ctx);

	if (len > stream->room)
		len = stream->room;
	stream->room -= len;
	if (echo > len)
		echo = len;
	if (echo > 0)
		backend->receive(backend->ctx, buf, echo);
	return len;
}

static void stream_resume(struct char_backend *backend)
{
	if (backend->room(backend->ctx) > 0)
		backend->receive(backend->ctx, "!", 1);
}

static void stream_open(struct char_backend *backend, bool open)
{
}

static const struct char_backend_ops stream_ops = {
	.write = stream_write, .resume = stream_resume, .guest_open = stream_open};

/* ---- the machine ---- */

static void irq_line_set(void *ctx, unsigned pin, int level)
{
	struct machine *machine = ctx;

	machine->irq_level = level;
}

static void build(struct machine *machine, struct stream *streams, bool read_only, bool level, bool several, bool limited)
{
	const struct rate_limit limit = {.bytes = {1000, 1000}, .ops = {100, 4}}, none = {0};
	const struct virtio_blk_options blk_options = {.queues = several ? 3 : 1, .limit = limited ? limit : none};
	const struct virtio_net_options net_options = {
		.pairs = several ? 3 : 1, .receive = limited ? limit : none, .send = limited ? limit : none};
	struct virtio_console_port ports[PORTS] = {{NULL, NULL}, {"agent.control", NULL}, {"agent.stdin", NULL}};

	fake_reset();
	/* Apart, so that the sanitizer guards the ends of both. */
	machine->ram = calloc(1, RAM_SIZE);
	machine->rom = malloc(ROM_SIZE);
	CHECK(machine->ram && machine->rom);
	memset(machine->rom, 0x5a, ROM_SIZE);
	CHECK(mem_add_slot(&machine->vm.mem, 0, RAM_SIZE, machine->ram, false) == 0);
	CHECK(mem_add_slot(&machine->vm.mem, ROM_BASE, ROM_SIZE, machine->rom, true) == 0);
	machine->region = aligned_alloc(PAGE_SIZE, REGION_BLOCKS * VIRTIO_MEMORY_BLOCK);
	CHECK(machine->region);
	CHECK(mem_add_slot(&machine->vm.mem, REGION, REGION_BLOCKS * VIRTIO_MEMORY_BLOCK, machine->region, false) == 0);
	machine->disk = (struct block_backend){
		.ops = &disk_ops, .size = DISK_SIZE, .read_only = read_only, .can_discard = true, .serial = "fuzz"};
	machine->net.ops = &net_ops;
	machine->net.offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_ECN;
	for (unsigned i = 0; i < PORTS; i++) {
		streams[i] = (struct stream){.backend = {.ops = &stream_ops}, .room = 100};
		ports[i].backend = &streams[i].backend;
	}
	CHECK(virtio_blk_create_with(&machine->vm, &machine->disk, &blk_options, &machine->devices[BLK]) == 0);
	CHECK(virtio_net_create_with(&machine->vm, &machine->net, &net_options, &machine->devices[NET]) == 0);
	CHECK(virtio_console_create(&machine->vm, ports, PORTS, &machine->devices[CONSOLE]) == 0);
	CHECK(virtio_rng_create(&machine->vm, &machine->devices[RNG]) == 0);
	CHECK(virtio_scsi_create(&machine->vm, (struct block_backend *[]){&machine->disk, &machine->disk}, 2, &machine->devices[SCSI]) == 0);
	CHECK(virtio_pmem_create(&machine->vm, &machine->disk, 0x100000000, DISK_SIZE, &machine->devices[PMEM]) == 0);
	CHECK(virtio_memory_create(&machine->vm, REGION, REGION_BLOCKS * VIRTIO_MEMORY_BLOCK, &machine->devices[MEMORY]) == 0);
	CHECK(virtio_input_create(&machine->vm, VIRTIO_INPUT_KEYBOARD, &machine->devices[KEYBOARD], &machine->keyboard) == 0);
	CHECK(virtio_input_create(&machine->vm, VIRTIO_INPUT_TABLET, &machine->devices[TABLET], &machine->tablet) == 0);
	CHECK(virtio_balloon_create(&machine->vm, 0x5000, &machine->devices[BALLOON]) == 0);
	for (unsigned i = 0; i < DEVICE_COUNT; i++)
		CHECK(virtio_mmio_create(&machine->vm, machine->devices[i], MMIO_BASE + i * MMIO_STEP,
					 (struct irq_line){irq_line_set, machine, i},
					 level ? VIRTIO_MMIO_IRQ_LEVEL : 0, machine->devices[i]->ops->name) == 0);
}

static void take_apart(struct machine *machine)
{
	while (machine->vm.device_count > 0) {
		struct device *dev = machine->vm.devices[--machine->vm.device_count];

		dev->ops->destroy(dev);
	}
	mem_destroy(&machine->vm.mem);
	for (unsigned i = 0; i < ROM_SIZE; i++)
		CHECK(machine->rom[i] == 0x5a);
	CHECK(fake_alloc_live() == 0);
	free(machine->ram);
	free(machine->rom);
	free(machine->region);
}

/* ---- the driver ---- */

static void write_reg(struct machine *machine, unsigned device, unsigned offset, uint32_t value)
{
	/* A reset waits for the disk, which in this one thread would never be done. */
	if ((device == BLK || device == SCSI || device == PMEM) && (offset == 0x070 || offset == 0x044 || offset == 0x0c0))
		disk_drain(&machine->disk);
	bus_write(&machine->vm.mmio, MMIO_BASE + device * MMIO_STEP + offset, 4, value);
}

static void set_up(struct machine *machine, unsigned device, uint32_t features, bool packed)
{
	const uint64_t offered = machine->devices[device]->features & ~(packed ? 0 : VIRTIO_F_RING_PACKED);

	write_reg(machine, device, 0x070, 0);
	write_reg(machine, device, 0x070, 3);
	write_reg(machine, device, 0x024, 0);
	write_reg(machine, device, 0x020, features & (uint32_t)offered);
	write_reg(machine, device, 0x024, 1);
	write_reg(machine, device, 0x020, (uint32_t)(offered >> 32));
	write_reg(machine, device, 0x070, 11);
	for (unsigned i = 0; i < machine->devices[device]->queue_count; i++) {
		unsigned area = QUEUE_AREA(8 * device + i);

		memset(machine->ram + area, 0, 0x400);
		write_reg(machine, device, 0x030, i);
		write_reg(machine, device, 0x038, QUEUE_SIZE);
		write_reg(machine, device, 0x080, area);
		write_reg(machine, device, 0x090, area + QUEUE_AVAIL);
		write_reg(machine, device, 0x0a0, area + QUEUE_USED);
		write_reg(machine, device, 0x044, 1);
	}
	write_reg(machine, device, 0x070, 15);
}

/* Descriptor `index` of a packed queue, in the round of the ring that a bit says. */
static void put_packed(struct machine *machine, struct input *in)
{
	uint8_t *desc = machine->ram + QUEUE_AREA(take(in, 1)) + take(in, 1) % QUEUE_SIZE * 16;
	uint64_t address = take(in, 2);
	uint32_t len = take(in, 2);
	uint16_t id = (uint16_t)take(in, 1), flags = (uint16_t)take(in, 1);

	if (flags & 0x80)
		address += ROM_BASE - 0x8000;
	flags = (uint16_t)((flags & 7) | (flags & 0x40 ? 1u << 15 : 1u << 7));
	memcpy(desc, &address, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, &id, 2);
	memcpy(desc + 14, &flags, 2);
}

/* Descriptor `index` of the queue: an address and length in the small, flags and next as they come. */
static void put_desc(struct machine *machine, struct input *in)
{
	uint8_t *desc = machine->ram + QUEUE_AREA(take(in, 1)) + take(in, 1) % QUEUE_SIZE * 16;
	uint64_t address = take(in, 2);
	uint32_t len = take(in, 2);
	uint16_t flags = (uint16_t)take(in, 1), next = (uint16_t)(take(in, 1) % (QUEUE_SIZE + 1));

	if (flags & 0x80)
		address += ROM_BASE - 0x8000; /* around the seam and beyond the end */
	memcpy(desc, &address, 8);
	memcpy(desc + 8, &len, 4);
	flags &= 0x7f;
	memcpy(desc + 12, &flags, 2);
	memcpy(desc + 14, &next, 2);
}

static void put_avail(struct machine *machine, struct input *in)
{
	uint8_t *avail = machine->ram + QUEUE_AREA(take(in, 1)) + QUEUE_AVAIL;
	uint8_t head = (uint8_t)take(in, 1);
	uint16_t index;

	memcpy(&index, avail + 2, 2);
	avail[4 + 2 * (index % QUEUE_SIZE)] = head;
	index = (uint16_t)(index + 1 + (head == 0xff ? 100 : 0));
	memcpy(avail + 2, &index, 2);
}

static void stir_input(struct machine *machine, uint32_t amount)
{
	const struct input_event event = {(uint16_t)(amount % 4), (uint16_t)(amount / 4), (int32_t)amount};
	const struct input_event report[] = {{INPUT_ABS, INPUT_ABS_X, 7}, {INPUT_ABS, INPUT_ABS_Y, 8}, {INPUT_SYN, 0, 0}};

	for (unsigned i = 0; i < 200; i++)
		(void)machine->keyboard->ops->send(machine->keyboard, &event, 1);
	(void)machine->tablet->ops->send(machine->tablet, report, ARRAY_SIZE(report));
}

/* What `ruse ctl` does, and the clock. */
static void stir_balloon(struct machine *machine, uint32_t amount)
{
	struct virtio_balloon_state state;
	struct virtio_memory_state memory;

	if (amount & 1)
		fake_advance(6000000000ull);
	if (amount & 2)
		virtio_balloon_resize(machine->devices[BALLOON], (uint64_t)amount << 12);
	stir_input(machine, amount);
	virtio_balloon_look(machine->devices[BALLOON], &state);
	if (virtio_memory_resize(machine->devices[MEMORY], amount / 4 * VIRTIO_MEMORY_BLOCK) < 0)
		CHECK(amount / 4 > REGION_BLOCKS);
	virtio_memory_look(machine->devices[MEMORY], &memory);
	CHECK(memory.plugged <= memory.size && memory.requested <= memory.size);
}

static void stir_backends(struct machine *machine, struct stream *streams, struct input *in)
{
	struct stream *stream = &streams[take(in, 1) % PORTS];
	struct char_backend *backend = &stream->backend;
	uint32_t what = take(in, 1), amount = take(in, 1);

	switch (what % 8) {
	case 0:
		machine->disk_defers = amount & 1;
		break;
	case 1:
		disk_drain(&machine->disk);
		break;
	case 2:
		(void)machine->net.receive(machine->net.receive_ctx, machine->frame, amount * 8);
		break;
	case 3:
		if (backend->room(backend->ctx) >= amount)
			backend->receive(backend->ctx, machine->frame, amount);
		break;
	case 4:
		backend->end_of_input(backend->ctx);
		break;
	case 5:
		stream->room = amount * 16;
		backend->writable(backend->ctx);
		break;
	case 6:
		virtio_console_resize(machine->devices[CONSOLE], (uint16_t)amount, (uint16_t)what);
		break;
	case 7:
		stir_balloon(machine, amount);
		break;
	}
}

static void ram_write(struct machine *machine, struct input *in)
{
	uint32_t at = take(in, 2), len = take(in, 1) % 64;

	for (uint32_t i = 0; i < len && at + i < RAM_SIZE; i++)
		machine->ram[at + i] = (uint8_t)take(in, 1);
}

static void step(struct machine *machine, struct stream *streams, struct input *in)
{
	enum op op = take(in, 1) % OP_COUNT;
	uint32_t device, offset, size;

	switch (op) {
	case REG_WRITE:
		device = take(in, 1) % DEVICE_COUNT;
		offset = take(in, 1) * 4;
		write_reg(machine, device, offset, take(in, 4));
		break;
	case REG_READ:
		device = take(in, 1) % DEVICE_COUNT;
		(void)bus_read(&machine->vm.mmio, MMIO_BASE + device * MMIO_STEP + take(in, 1) * 4, 4);
		break;
	case RAM_WRITE:
		ram_write(machine, in);
		break;
	case SETUP:
		device = take(in, 1);
		set_up(machine, (device & 0x7f) % DEVICE_COUNT, take(in, 4), device & 0x80);
		break;
	case DESC:
		put_desc(machine, in);
		break;
	case AVAIL:
		put_avail(machine, in);
		break;
	case KICK:
		device = take(in, 1) % DEVICE_COUNT;
		write_reg(machine, device, 0x050, take(in, 1));
		fake_run_work();
		break;
	case RUN:
		fake_advance(20000000);
		fake_run_work();
		break;
	case BACKEND:
		stir_backends(machine, streams, in);
		break;
	case CONFIG:
		device = take(in, 1) % DEVICE_COUNT;
		offset = 0x100 + take(in, 1);
		size = 1u << take(in, 1) % 4;
		(void)bus_read(&machine->vm.mmio, MMIO_BASE + device * MMIO_STEP + offset, size);
		bus_write(&machine->vm.mmio, MMIO_BASE + device * MMIO_STEP + offset, size, offset);
		break;
	case RESET:
		devices_reset(&machine->vm);
		break;
	case PACKED:
		put_packed(machine, in);
		break;
	case OP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct stream *streams = calloc(PORTS, sizeof(*streams));
	struct input in = {bytes, len};
	uint32_t options = take(&in, 1);

	CHECK(machine && streams);
	build(machine, streams, options & 1, options & 2, options & 4, options & 8);
	while (in.len > 0)
		step(machine, streams, &in);
	fake_run_work();
	take_apart(machine);
	free(streams);
	free(machine);
	return 0;
}
