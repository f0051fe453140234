/* libFuzzer target for the vsock device: a guest sends packets and gives buffers as it likes, while the host connects, reads, writes,
 * ends and breaks its streams, and time goes by. Whatever happens, streams are used as struct vsock_backend says (fake_vsock.c aborts
 * else), packets are whole, turns end, and all streams and memory come back.
 *
 * Example:
 *     fuzz_vsock -seed_inputs=seeds/vsock -max_len=512 -runs=200000
 *
 * The input is a list of operations, a byte each with its operands behind it.
 */
#include "../unit/fake_platform.h"
#include "../unit/fake_vsock.h"
#include "../unit/virtio_driver.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define CID     7u
#define HEADER  44u
#define RX_SIZE 600u
#define RX_MAX  64u
#define DATA    70000u

enum op { PACKET, ODD_PACKET, GIVE, HOST_CALL, ANSWER, HOST_DATA, HOST_ROOM, HOST_END, TIME, RESET, OP_COUNT };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct machine {
	struct driver driver;
	struct fake_vsock host;
	struct virtio_device *vdev;
	gpa_t out, data, rx[RX_MAX], start_of_heap;
	unsigned given, seen;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

/* A few ports, so that they meet: the host's first own ones too. */
static uint32_t take_port(struct input *in)
{
	uint32_t byte = take(in, 1);

	return byte & 0x80 ? (1u << 30) + (byte & 7) : byte & 3;
}

static void set_up(struct machine *machine)
{
	machine->driver.brk = machine->start_of_heap;
	driver_init_device(&machine->driver, VIRTIO_F_EVENT_IDX, 0);
	machine->out = driver_alloc(&machine->driver, HEADER);
	machine->data = driver_alloc(&machine->driver, DATA);
	for (unsigned i = 0; i < RX_MAX; i++)
		machine->rx[i] = driver_alloc(&machine->driver, RX_SIZE);
	machine->given = machine->seen = 0;
}

static void receive(struct machine *machine)
{
	struct packet packet;
	uint32_t len;

	while (driver_used(&machine->driver, 0, NULL, &len)) {
		memcpy(&packet, driver_ptr(&machine->driver, machine->rx[machine->seen++ % RX_MAX]), HEADER);
		CHECK(len == HEADER + packet.len);
		CHECK(packet.src_cid == 2 && packet.dst_cid == CID && packet.type == 1);
		CHECK(packet.op >= 1 && packet.op <= 7 && (packet.op == 5 || packet.len == 0));
	}
	while (driver_used(&machine->driver, 1, NULL, NULL)) {
	}
}

static void send_packet(struct machine *machine, struct input *in, bool odd)
{
	struct packet packet = {.src_cid = CID, .dst_cid = 2, .type = 1};
	uint32_t have;

	packet.op = (uint16_t)(take(in, 1) % 9);
	packet.dst_port = take_port(in);
	packet.src_port = take_port(in);
	packet.len = packet.op == 5 ? take(in, 2) : 0;
	packet.flags = take(in, 1);
	packet.buf_alloc = take(in, 1) << 6;
	packet.fwd_cnt = take(in, 1) << 4;
	have = packet.len;
	if (odd) {
		have = take(in, 2);
		packet.src_cid = take(in, 1);
		packet.dst_cid = take(in, 1);
		packet.type = (uint16_t)take(in, 1);
		packet.fwd_cnt = take(in, 4);
		packet.buf_alloc = take(in, 4);
	}
	memcpy(driver_ptr(&machine->driver, machine->out), &packet, HEADER);
	driver_add(&machine->driver, 1, have ? 2 : 1,
		   (const struct driver_buf[]){{machine->out, HEADER, false}, {machine->data, have, false}});
	driver_kick(&machine->driver, 1);
}

static void give(struct machine *machine, unsigned count)
{
	/* Not more than there are places, each once. */
	for (unsigned i = 0; i < count && machine->given - machine->seen < RX_MAX; i++, machine->given++)
		driver_add(&machine->driver, 0, 1,
			   &(struct driver_buf){machine->rx[machine->given % RX_MAX], i % 3 ? RX_SIZE : HEADER + i, true});
	driver_kick(&machine->driver, 0);
}

static void step(struct machine *machine, struct input *in)
{
	enum op op = take(in, 1) % OP_COUNT;
	struct vsock_stream *stream;

	switch (op) {
	case PACKET:
	case ODD_PACKET:
		send_packet(machine, in, op == ODD_PACKET);
		break;
	case GIVE:
		give(machine, take(in, 1) % RX_MAX);
		break;
	case HOST_CALL:
		(void)fake_vsock_call(&machine->host, take_port(in));
		break;
	case ANSWER:
		(void)fake_vsock_answer(&machine->host, take(in, 1) & 1 ? -5 : 0);
		break;
	case TIME:
		fake_advance((uint64_t)take(in, 1) << 27);
		break;
	case RESET:
		if (take(in, 1) & 1)
			devices_reset(&machine->driver.vm);
		set_up(machine);
		break;
	default:
		stream = fake_vsock_stream(&machine->host, take(in, 1) % 16);
		if (!stream || !stream->answered)
			break;
		if (op == HOST_DATA)
			stream->readable += take(in, 2);
		else if (op == HOST_ROOM)
			stream->room = take(in, 2);
		else if (take(in, 1) & 1)
			stream->broken = true;
		else
			stream->ended = true;
		fake_vsock_poke(stream);
		break;
	}
	if (in->len % 3)
		fake_run_work();
	receive(machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct input in = {bytes, len};

	CHECK(machine);
	fake_vsock_init(&machine->host);
	driver_machine(&machine->driver);
	CHECK(virtio_vsock_create(&machine->driver.vm, CID, &machine->host.backend, &machine->vdev) == 0);
	driver_plug(&machine->driver, machine->vdev, 0);
	machine->start_of_heap = machine->driver.brk;
	set_up(machine);
	while (in.len > 0)
		step(machine, &in);
	fake_run_work();
	driver_stop(&machine->driver);
	CHECK(fake_vsock_open(&machine->host) == 0);
	CHECK(fake_alloc_live() == 0);
	free(machine);
	return 0;
}
