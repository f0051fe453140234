/* The network device's control queue, pairs of queues, offloads and rate limits. */
#include "base/errno.h"
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_CSUM                (1u << 0)
#define F_GUEST_CSUM          (1u << 1)
#define F_CTRL_GUEST_OFFLOADS (1u << 2)
#define F_GUEST_TSO4          (1u << 7)
#define F_HOST_TSO4           (1u << 11)
#define F_HOST_TSO6           (1u << 12)
#define F_MRG_RXBUF           (1u << 15)
#define F_STATUS              (1u << 16)
#define F_CTRL_VQ             (1u << 17)
#define F_CTRL_RX             (1u << 18)
#define F_CTRL_RX_EXTRA       (1u << 20)
#define F_GUEST_ANNOUNCE      (1u << 21)
#define F_MQ                  (1u << 22)
#define F_CTRL_MAC_ADDR       (1u << 23)
#define F_CONTROL             (F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE | F_STATUS)

#define HEADER 12u

struct wire {
	struct net_backend backend;
	uint8_t last[70000];
	size_t last_len;
	struct net_offload last_offload;
	unsigned sent, pair, resumed, kinds, told;
};

static void wire_send_offload(struct net_backend *backend, unsigned pair, const struct net_offload *offload, const struct iobuf *bufs,
			      unsigned count)
{
	struct wire *wire = container_of(backend, struct wire, backend);

	wire->sent++;
	wire->pair = pair;
	wire->last_len = 0;
	wire->last_offload = *offload;
	for (unsigned i = 0; i < count; i++) {
		memcpy(wire->last + wire->last_len, bufs[i].base, bufs[i].len);
		wire->last_len += bufs[i].len;
	}
}

static void wire_send(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	wire_send_offload(backend, 0, &(struct net_offload){.flags = 0x77}, bufs, count);
}

static void wire_set_offloads(struct net_backend *backend, unsigned kinds)
{
	struct wire *wire = container_of(backend, struct wire, backend);

	wire->kinds = kinds;
	wire->told++;
}

static void wire_resume(struct net_backend *backend)
{
	container_of(backend, struct wire, backend)->resumed++;
}

static const struct net_backend_ops plain_ops = {.send = wire_send, .resume = wire_resume};
static const struct net_backend_ops offload_ops = {
	.send = wire_send, .send_offload = wire_send_offload, .set_offloads = wire_set_offloads, .resume = wire_resume};

struct fixture {
	struct driver driver;
	struct wire wire;
	struct virtio_device *vdev;
	unsigned control;
};

static void start(struct fixture *f, uint64_t features, unsigned kinds, const struct virtio_net_options *options)
{
	memset(&f->wire, 0, sizeof(f->wire));
	f->wire.backend = (struct net_backend){
		.ops = kinds ? &offload_ops : &plain_ops, .mac = {2, 4, 6, 8, 10, 12}, .offloads = kinds};
	driver_machine(&f->driver);
	assert_int_equal(virtio_net_create_with(&f->driver.vm, &f->wire.backend, options, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, features);
	driver_take_interrupt(&f->driver);
	f->control = (f->driver.features & F_MQ) ? 2 * options->pairs : 2;
}

static const struct virtio_net_options one_pair = {.pairs = 1};

/* Sends a command; returns the answer, 0 for done. */
static unsigned command(struct fixture *f, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	gpa_t at = driver_alloc(&f->driver, 2 + len + 1);
	uint8_t *bytes = driver_ptr(&f->driver, at);
	uint32_t written;

	bytes[0] = class;
	bytes[1] = what;
	memcpy(bytes + 2, data, len);
	bytes[2 + len] = 0xee;
	driver_add(&f->driver, f->control, len ? 3 : 2,
		   len ? (const struct driver_buf[]){{at, 2, false}, {at + 2, len, false}, {at + 2 + len, 1, true}}
		       : (const struct driver_buf[]){{at, 2, false}, {at + 2, 1, true}});
	driver_kick(&f->driver, f->control);
	assert_true(driver_used(&f->driver, f->control, NULL, &written));
	assert_int_equal(written, 1);
	return bytes[2 + len];
}

static unsigned command_byte(struct fixture *f, uint8_t class, uint8_t what, uint8_t value)
{
	return command(f, class, what, &value, 1);
}

static void give_buffers(struct fixture *f, unsigned queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		driver_add(&f->driver, queue, 1, &(struct driver_buf){driver_alloc(&f->driver, 2048), 2048, true});
	driver_kick(&f->driver, queue);
}

/* Does a frame to this address arrive? */
static bool arrives(struct fixture *f, const char *mac)
{
	uint8_t frame[60] = {0};
	unsigned before = driver_used_count(&f->driver, 0);

	for (unsigned i = 0; i < 6; i++)
		frame[i] = (uint8_t)mac[i];
	give_buffers(f, 0, 1);
	assert_true(f->wire.backend.receive(f->wire.backend.receive_ctx, frame, sizeof(frame)));
	return driver_used_count(&f->driver, 0) > before;
}

#define OWN       "\x02\x04\x06\x08\x0a\x0c"
#define OTHER     "\x02\x00\x00\x00\x00\x01"
#define THIRD     "\x02\x00\x00\x00\x00\x02"
#define GROUP     "\x01\x00\x5e\x00\x00\x01"
#define GROUP_2   "\x01\x00\x5e\x00\x00\x02"
#define BROADCAST "\xff\xff\xff\xff\xff\xff"

static void frames_are_filtered(void **state)
{
	static const char table[] = "\1\0\0\0" OTHER "\1\0\0\0" GROUP;
	uint8_t many[4 + 65 * 6 + 4] = {65};
	struct fixture f;

	start(&f, F_CONTROL, 0, &one_pair);
	/* Before anything is said all is let in. */
	assert_true(arrives(&f, OTHER) && arrives(&f, GROUP) && arrives(&f, BROADCAST) && arrives(&f, OWN));
	assert_int_equal(command_byte(&f, 0, 0, 0), 0); /* not promiscuous */
	assert_true(arrives(&f, OWN) && arrives(&f, BROADCAST));
	assert_false(arrives(&f, OTHER) || arrives(&f, GROUP));
	assert_int_equal(command(&f, 1, 0, table, sizeof(table) - 1), 0);
	assert_true(arrives(&f, OTHER) && arrives(&f, GROUP) && arrives(&f, OWN));
	assert_false(arrives(&f, THIRD) || arrives(&f, GROUP_2));
	assert_int_equal(command_byte(&f, 0, 1, 1), 0); /* all groups */
	assert_true(arrives(&f, GROUP_2));
	assert_int_equal(command_byte(&f, 0, 3, 1), 0); /* none */
	assert_false(arrives(&f, GROUP_2) || arrives(&f, GROUP));
	assert_int_equal(command_byte(&f, 0, 5, 1), 0); /* no broadcast */
	assert_false(arrives(&f, BROADCAST));
	assert_int_equal(command_byte(&f, 0, 2, 1), 0); /* all addresses */
	assert_true(arrives(&f, THIRD));
	assert_int_equal(command_byte(&f, 0, 4, 1), 0); /* none */
	assert_false(arrives(&f, OWN));
	assert_int_equal(command_byte(&f, 0, 4, 0), 0);
	assert_int_equal(command_byte(&f, 0, 2, 0), 0);
	/* More than the table holds: all are let in. */
	assert_int_equal(command(&f, 1, 0, many, sizeof(many)), 0);
	assert_true(arrives(&f, THIRD));
	assert_int_equal(command(&f, 1, 1, THIRD, 6), 0); /* the own address */
	assert_int_equal(driver_reg(&f.driver, 0x100), 2);
	assert_int_equal(command(&f, 1, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	assert_true(arrives(&f, THIRD));
	assert_false(arrives(&f, OWN));
	/* A reset forgets it all. */
	driver_init_device(&f.driver, F_CONTROL, 0);
	assert_true(arrives(&f, OTHER));
	assert_int_equal(driver_reg(&f.driver, 0x100), 0x08060402);
	driver_stop(&f.driver);
}

static void bad_commands_are_refused(void **state)
{
	static const char wrong_tables[][13] = {"\2\0\0\0" OTHER, "\377\377\377\377", "\1\0\0\0", "\0\0\0\0\5\0\0\0"};
	struct fixture f;
	uint32_t written;
	gpa_t at;

	start(&f, F_CONTROL, 0, &one_pair);
	assert_int_equal(command(&f, 9, 0, "", 1), 1);
	assert_int_equal(command_byte(&f, 0, 6, 1), 1);
	assert_int_equal(command(&f, 0, 0, "", 0), 1);
	assert_int_equal(command(&f, 1, 1, "12345", 5), 1);
	assert_int_equal(command(&f, 1, 2, "123456", 6), 1);
	assert_int_equal(command(&f, 4, 0, "\1\0", 2), 1);      /* pairs: not negotiated */
	assert_int_equal(command(&f, 5, 0, "\0\0\0\0\0\0\0\0", 8), 1); /* nor these */
	for (unsigned i = 0; i < ARRAY_SIZE(wrong_tables); i++)
		assert_int_equal(command(&f, 1, 0, wrong_tables[i], i == 0 ? 10 : i == 3 ? 8 : 4), 1);
	/* Nothing to read, nowhere to answer: given back. */
	at = driver_alloc(&f.driver, 8);
	driver_add(&f.driver, 2, 1, &(struct driver_buf){at, 8, true});
	driver_add(&f.driver, 2, 1, &(struct driver_buf){at, 8, false});
	driver_kick(&f.driver, 2);
	assert_true(driver_used(&f.driver, 2, NULL, &written));
	assert_int_equal(written, 1);
	assert_true(driver_used(&f.driver, 2, NULL, &written));
	assert_int_equal(written, 0);
	assert_false(driver_reg(&f.driver, 0x070) & 64);
	driver_stop(&f.driver);
	/* Not negotiated at all. */
	start(&f, F_CTRL_VQ, 0, &one_pair);
	assert_int_equal(command_byte(&f, 0, 0, 0), 1);
	assert_int_equal(command(&f, 1, 1, "123456", 6), 1);
	assert_int_equal(command(&f, 3, 0, "", 0), 1);
	driver_stop(&f.driver);
}

static void links_and_announcements(void **state)
{
	struct fixture f;
	gpa_t at;

	start(&f, F_CONTROL, 0, &one_pair);
	at = driver_alloc(&f.driver, 100);
	assert_int_equal(driver_reg(&f.driver, 0x104) >> 16, 1);
	virtio_net_announce(f.vdev);
	assert_int_equal(driver_take_interrupt(&f.driver), 2);
	assert_int_equal(driver_reg(&f.driver, 0x104) >> 16, 3);
	assert_int_equal(command(&f, 3, 0, "", 0), 0);
	assert_int_equal(driver_reg(&f.driver, 0x104) >> 16, 1);
	driver_take_interrupt(&f.driver);
	virtio_net_set_link(f.vdev, false);
	assert_int_equal(driver_take_interrupt(&f.driver), 2);
	assert_int_equal(driver_reg(&f.driver, 0x104) >> 16, 0);
	assert_false(arrives(&f, OWN));
	driver_add(&f.driver, 1, 1, &(struct driver_buf){at, 100, false});
	driver_kick(&f.driver, 1);
	assert_int_equal(f.wire.sent, 0);
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	virtio_net_set_link(f.vdev, false);
	virtio_net_set_link(f.vdev, true);
	assert_true(arrives(&f, OWN));
	driver_stop(&f.driver);
}

/* ---- pairs ---- */

/* TCP from a to b, or back. */
static size_t make_frame(uint8_t *frame, unsigned connection, bool back, unsigned version)
{
	uint8_t *ip = frame + 14, *tcp = ip + (version == 4 ? 20 : 40);
	unsigned bytes = version == 4 ? 4 : 16;
	uint8_t *from = ip + (version == 4 ? 12 : 8);

	memset(frame, 0, 100);
	memcpy(frame, OWN, 6);
	frame[12] = version == 4 ? 0x08 : 0x86;
	frame[13] = version == 4 ? 0x00 : 0xdd;
	ip[0] = version == 4 ? 0x45 : 0x60;
	ip[version == 4 ? 9 : 6] = 6;
	from[back ? bytes : 0] = 10;
	from[(back ? 0 : bytes) + bytes - 1] = (uint8_t)connection;
	tcp[back ? 2 : 0] = (uint8_t)(connection >> 4);
	tcp[back ? 1 : 3] = 80;
	return (size_t)(tcp + 20 - frame);
}

static void send_by(struct fixture *f, unsigned pair, const uint8_t *frame, size_t len)
{
	gpa_t at = driver_alloc(&f->driver, HEADER + 100);

	memcpy((uint8_t *)driver_ptr(&f->driver, at) + HEADER, frame, len);
	driver_add(&f->driver, 2 * pair + 1, 1, &(struct driver_buf){at, (uint32_t)(HEADER + len), false});
	driver_kick(&f->driver, 2 * pair + 1);
	assert_true(driver_used(&f->driver, 2 * pair + 1, NULL, NULL));
}

/* The pair by which a frame arrives. */
static int arrives_by(struct fixture *f, const uint8_t *frame, size_t len)
{
	assert_true(f->wire.backend.receive(f->wire.backend.receive_ctx, frame, len));
	for (unsigned pair = 0; pair < 4; pair++)
		if (driver_used(&f->driver, 2 * pair, NULL, NULL))
			return (int)pair;
	return -1;
}

static void flows_go_where_they_are_served(void **state)
{
	struct fixture f;
	uint8_t frame[128];
	unsigned seen = 0;
	size_t len;

	start(&f, F_CONTROL | F_MQ, 0, &(struct virtio_net_options){.pairs = 4});
	assert_int_equal(bus_read(&f.driver.vm.mmio, DRIVER_BASE + 0x108, 2), 4);
	for (unsigned pair = 0; pair < 4; pair++)
		give_buffers(&f, 2 * pair, 60);
	/* One pair until the driver says more. */
	for (unsigned i = 0; i < 8; i++) {
		len = make_frame(frame, i, true, 4);
		assert_int_equal(arrives_by(&f, frame, len), 0);
	}
	assert_int_equal(command(&f, 4, 0, "\0\0", 2), 1);
	assert_int_equal(command(&f, 4, 0, "\5\0", 2), 1);
	assert_int_equal(command(&f, 4, 0, "\4", 1), 1);
	assert_int_equal(command(&f, 4, 0, "\4\0", 2), 0);
	/* Flows that are not known are spread; those that are come where they are sent from. */
	for (unsigned version = 4; version <= 6; version += 2)
		for (unsigned i = 0; i < 16; i++) {
			len = make_frame(frame, i, true, version);
			seen |= 1u << arrives_by(&f, frame, len);
		}
	assert_int_equal(seen, 15);
	for (unsigned version = 4; version <= 6; version += 2)
		for (unsigned i = 0; i < 12; i++) {
			len = make_frame(frame, i, false, version);
			send_by(&f, i % 4, frame, len);
			assert_int_equal(f.wire.last_len, len);
			len = make_frame(frame, i, true, version);
			assert_int_equal(arrives_by(&f, frame, len), i % 4);
		}
	/* What has no flow, or is cut off, goes to the first. */
	len = make_frame(frame, 3, true, 4);
	assert_int_equal(arrives_by(&f, frame, 14), 0);
	assert_int_equal(arrives_by(&f, frame, 30), 0);
	frame[14] = 0x4f; /* a header longer than the packet */
	assert_int_equal(arrives_by(&f, frame, len), 0);
	/* Fewer pairs again. */
	assert_int_equal(command(&f, 4, 0, "\1\0", 2), 0);
	len = make_frame(frame, 3, true, 4);
	assert_int_equal(arrives_by(&f, frame, len), 0);
	driver_stop(&f.driver);
	/* Without MQ the control queue is the third, and there is one pair. */
	start(&f, F_CONTROL, 0, &(struct virtio_net_options){.pairs = 4});
	assert_int_equal(command_byte(&f, 0, 0, 0), 0);
	assert_int_equal(command(&f, 4, 0, "\2\0", 2), 1);
	driver_stop(&f.driver);
}

static bool comes_by(struct fixture *f, unsigned pair, const uint8_t *frame, size_t len)
{
	return f->wire.backend.receive_offload(f->wire.backend.receive_ctx, pair, &(struct net_offload){0}, frame, len);
}

/* The backend's queues are the driver's: each fills up by itself. */
static void a_backend_with_queues_says_by_which(void **state)
{
	struct fixture f;
	uint8_t frame[128];
	size_t len = make_frame(frame, 5, false, 4);

	start(&f, F_CONTROL | F_MQ | F_CSUM, NET_OFFLOAD_CSUM, &(struct virtio_net_options){.pairs = 2});
	f.wire.backend.pairs = 3;
	/* One pair until the driver says more: what comes by another goes there, too. */
	give_buffers(&f, 0, 1);
	assert_true(comes_by(&f, 1, frame, len));
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	assert_int_equal(command(&f, 4, 0, "\2\0", 2), 0);
	for (unsigned pair = 0; pair < 2; pair++) {
		send_by(&f, pair, frame, len);
		assert_int_equal(f.wire.pair, pair);
		give_buffers(&f, 2 * pair, 2);
		assert_true(comes_by(&f, pair, frame, len));
		assert_true(driver_used(&f.driver, 2 * pair, NULL, NULL));
	}
	assert_true(comes_by(&f, 2, frame, len));
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	/* The first has no room any more, the second has; then it has again. */
	assert_false(comes_by(&f, 0, frame, len));
	assert_true(comes_by(&f, 1, frame, len));
	f.wire.resumed = 0;
	give_buffers(&f, 0, 1);
	assert_int_equal(f.wire.resumed, 1);
	driver_kick(&f.driver, 0);
	assert_int_equal(f.wire.resumed, 1);
	assert_true(comes_by(&f, 0, frame, len));
	driver_stop(&f.driver);
}

/* ---- offloads ---- */

static void offloads_are_what_the_backend_can(void **state)
{
	struct fixture f;

	start(&f, ~0ull, 0, &one_pair);
	assert_false(f.driver.features & (F_CSUM | F_GUEST_CSUM | F_HOST_TSO4 | F_GUEST_TSO4 | F_CTRL_GUEST_OFFLOADS));
	driver_stop(&f.driver);
	start(&f, ~0ull, NET_OFFLOAD_TSO4, &one_pair); /* worth nothing without checksums */
	assert_false(f.driver.features & (F_CSUM | F_HOST_TSO4));
	driver_stop(&f.driver);
	start(&f, F_CSUM | F_GUEST_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_GUEST_TSO4 | F_CONTROL | F_CTRL_GUEST_OFFLOADS,
	      NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4, &one_pair);
	assert_true(f.driver.features & F_HOST_TSO4);
	assert_false(f.driver.features & F_HOST_TSO6);
	assert_int_equal(f.wire.kinds, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	/* The driver changes its mind; what it didn't negotiate it can't have. */
	assert_int_equal(command(&f, 5, 0, "\2\0\0\0\0\0\0\0", 8), 0);
	fake_run_work();
	assert_int_equal(f.wire.kinds, NET_OFFLOAD_CSUM);
	assert_int_equal(command(&f, 5, 0, "\2\1\0\0\0\0\0\0", 8), 1);
	driver_init_device(&f.driver, F_CSUM, 0);
	assert_int_equal(f.wire.kinds, 0);
	driver_stop(&f.driver);
}

static unsigned send_with(struct fixture *f, struct net_offload offload, uint32_t len)
{
	gpa_t at = driver_alloc(&f->driver, HEADER + len);
	unsigned before = f->wire.sent;

	memcpy(driver_ptr(&f->driver, at), &offload, sizeof(offload));
	driver_add(&f->driver, 1, 1, &(struct driver_buf){at, HEADER + len, false});
	driver_kick(&f->driver, 1);
	assert_true(driver_used(&f->driver, 1, NULL, NULL));
	return f->wire.sent - before;
}

static void what_is_asked_for_is_checked(void **state)
{
	const struct net_offload checksum = {.flags = 1, .csum_start = 34, .csum_offset = 16};
	const struct net_offload segments = {
		.flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};
	struct net_offload wrong;
	struct fixture f;

	start(&f, F_CSUM | F_HOST_TSO4, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN, &one_pair);
	assert_int_equal(send_with(&f, (struct net_offload){0}, 60), 1);
	assert_int_equal(send_with(&f, checksum, 60), 1);
	assert_memory_equal(&f.wire.last_offload, &checksum, sizeof(checksum));
	assert_int_equal(send_with(&f, segments, 60000), 1);
	assert_memory_equal(&f.wire.last_offload, &segments, sizeof(segments));
	assert_int_equal(f.wire.last_len, 60000);
	/* Flags that mean nothing here are not passed on. */
	wrong = checksum;
	wrong.flags = 0xff;
	assert_int_equal(send_with(&f, wrong, 60), 1);
	assert_int_equal(f.wire.last_offload.flags, 1);
	wrong = checksum;
	wrong.csum_offset = 26;
	assert_int_equal(send_with(&f, wrong, 60), 0); /* beyond the end */
	wrong.csum_start = wrong.csum_offset = 0xffff;
	assert_int_equal(send_with(&f, wrong, 60), 0);
	wrong = segments;
	wrong.gso_type = 4;
	assert_int_equal(send_with(&f, wrong, 6000), 0); /* not negotiated */
	wrong.gso_type = 0x81;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	wrong.gso_type = 3;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	wrong.gso_type = 0x80;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	wrong = segments;
	wrong.gso_size = 0;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	wrong = segments;
	wrong.flags = 0;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	wrong = segments;
	wrong.hdr_len = 7000;
	assert_int_equal(send_with(&f, wrong, 6000), 0);
	driver_stop(&f.driver);
	/* Not negotiated: the header is not looked at, as ever. */
	start(&f, 0, NET_OFFLOAD_CSUM, &one_pair);
	assert_int_equal(send_with(&f, segments, 60), 1);
	assert_int_equal(f.wire.last_offload.flags, 0);
	driver_stop(&f.driver);
}

static void what_comes_in_says_what_it_needs(void **state)
{
	const struct net_offload checksum = {.flags = 1, .csum_start = 34, .csum_offset = 16};
	const struct net_offload valid = {.flags = 2};
	const struct net_offload segments = {
		.flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};
	static uint8_t frame[9000];
	struct fixture f;
	uint16_t *header;
	gpa_t at;

	start(&f, F_GUEST_CSUM | F_GUEST_TSO4 | F_MRG_RXBUF, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4, &one_pair);
	at = driver_alloc(&f.driver, 16 * 1024);
	header = driver_ptr(&f.driver, at);
	for (unsigned i = 0; i < 16; i++)
		driver_add(&f.driver, 0, 1, &(struct driver_buf){at + 1024 * i, 1024, true});
	assert_true(f.wire.backend.receive_offload(f.wire.backend.receive_ctx, 0, &segments, frame, sizeof(frame)));
	assert_int_equal(driver_used_count(&f.driver, 0), 9);
	assert_memory_equal(header, &segments, sizeof(segments));
	assert_int_equal(header[5], 9);
	assert_true(f.wire.backend.receive_offload(f.wire.backend.receive_ctx, 0, &checksum, frame, 60));
	assert_true(f.wire.backend.receive_offload(f.wire.backend.receive_ctx, 0, &valid, frame, 60));
	assert_int_equal(driver_used_count(&f.driver, 0), 11);
	assert_int_equal(*((uint8_t *)header + 10 * 1024), 2);
	driver_stop(&f.driver);

	/* The driver takes none: such frames are lost, and a checked sum is not mentioned. */
	start(&f, 0, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4, &one_pair);
	at = driver_alloc(&f.driver, 1024);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 1024, true});
	assert_true(f.wire.backend.receive_offload(f.wire.backend.receive_ctx, 0, &checksum, frame, 60));
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	assert_true(f.wire.backend.receive_offload(f.wire.backend.receive_ctx, 0, &valid, frame, 60));
	assert_int_equal(driver_used_count(&f.driver, 0), 1);
	assert_int_equal(*(uint8_t *)driver_ptr(&f.driver, at), 0);
	driver_stop(&f.driver);
}

/* ---- rates ---- */

static void rates_are_limited_each_way(void **state)
{
	const struct virtio_net_options options = {.pairs = 1, .receive.ops = {.per_second = 10, .burst = 2},
						   .send.bytes = {.per_second = 600, .burst = 60}};
	uint8_t frame[60] = {0};
	struct fixture f;
	gpa_t at;

	start(&f, F_CONTROL, 0, &options);
	at = driver_alloc(&f.driver, 100);
	for (unsigned i = 0; i < 10; i++)
		driver_add(&f.driver, 1, 1, &(struct driver_buf){at, HEADER + 60, false});
	driver_kick(&f.driver, 1);
	assert_in_range(f.wire.sent, 1, 2);
	driver_kick(&f.driver, 1);
	assert_in_range(f.wire.sent, 1, 2);
	for (unsigned i = 0; i < 5; i++) {
		fake_advance(100000001);
		fake_run_work();
	}
	assert_in_range(f.wire.sent, 6, 7);
	for (unsigned i = 0; i < 5; i++) {
		fake_advance(100000001);
		fake_run_work();
	}
	assert_int_equal(f.wire.sent, 10);

	give_buffers(&f, 0, 40);
	f.wire.resumed = 0;
	while (f.wire.backend.receive(f.wire.backend.receive_ctx, frame, sizeof(frame)))
		assert_true(driver_used_count(&f.driver, 0) <= 4);
	assert_in_range(driver_used_count(&f.driver, 0), 2, 3);
	assert_int_equal(f.wire.resumed, 0);
	fake_advance(100000001);
	assert_int_equal(f.wire.resumed, 1);
	assert_true(f.wire.backend.receive(f.wire.backend.receive_ctx, frame, sizeof(frame)));
	driver_stop(&f.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_filtered),
		cmocka_unit_test(bad_commands_are_refused),
		cmocka_unit_test(links_and_announcements),
		cmocka_unit_test(flows_go_where_they_are_served),
		cmocka_unit_test(a_backend_with_queues_says_by_which),
		cmocka_unit_test(offloads_are_what_the_backend_can),
		cmocka_unit_test(what_is_asked_for_is_checked),
		cmocka_unit_test(what_comes_in_says_what_it_needs),
		cmocka_unit_test(rates_are_limited_each_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
