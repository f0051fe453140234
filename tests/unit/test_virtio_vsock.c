/* The vsock device: connections both ways, credit both ways, what ends them, and what a guest may not. */
#include "base/errno.h"
#include "core/backend.h"
#include "fake_platform.h"
#include "fake_vsock.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CID    77u
#define HEADER 44u
#define BUFFER (128u << 10)

enum op { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

struct fixture {
	struct driver driver;
	struct fake_vsock host;
	struct virtio_device *vdev;
	gpa_t out, data, rx[256];
	unsigned given, seen;
	uint32_t alloc, forwarded; /* what we say of our credit */
	const uint8_t *got;        /* data of the packet received last */
};

#define RX_SIZE 1100u

static void give(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++, f->given++) {
		if (!f->rx[f->given % 64])
			f->rx[f->given % 64] = driver_alloc(&f->driver, RX_SIZE);
		/* Headers and data apart, as well as together. */
		if (f->given % 2)
			driver_add(&f->driver, 0, 1, &(struct driver_buf){f->rx[f->given % 64], RX_SIZE, true});
		else
			driver_add(&f->driver, 0, 2,
				   (const struct driver_buf[]){{f->rx[f->given % 64], 30, true},
							       {f->rx[f->given % 64] + 30, RX_SIZE - 30, true}});
	}
	driver_kick(&f->driver, 0);
}

static void start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	fake_vsock_init(&f->host);
	driver_machine(&f->driver);
	assert_int_equal(virtio_vsock_create(&f->driver.vm, CID, &f->host.backend, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, VIRTIO_F_EVENT_IDX);
	f->out = driver_alloc(&f->driver, HEADER);
	f->data = driver_alloc(&f->driver, 200000);
	for (unsigned i = 0; i < 200000; i++)
		*(uint8_t *)driver_ptr(&f->driver, f->data + i) = (uint8_t)(i * 7);
	f->alloc = 1u << 20;
}

static void stop(struct fixture *f)
{
	driver_stop(&f->driver);
	assert_int_equal(fake_vsock_open(&f->host), 0);
	assert_int_equal(fake_alloc_live(), 0);
}

static void send_packet(struct fixture *f, struct packet packet)
{
	packet.src_cid = packet.src_cid ? packet.src_cid : CID;
	packet.dst_cid = packet.dst_cid ? packet.dst_cid : 2;
	packet.type = packet.type ? packet.type : 1;
	packet.buf_alloc = f->alloc;
	packet.fwd_cnt = f->forwarded;
	memcpy(driver_ptr(&f->driver, f->out), &packet, HEADER);
	driver_add(&f->driver, 1, packet.op == RW ? 2 : 1,
		   (const struct driver_buf[]){{f->out, HEADER, false}, {f->data, packet.len, false}});
	driver_kick(&f->driver, 1);
	while (driver_used(&f->driver, 1, NULL, NULL)) {
	}
}

static void send_op(struct fixture *f, enum op op, uint32_t host_port, uint32_t guest_port, uint32_t flags)
{
	send_packet(f, (struct packet){.op = (uint16_t)op, .src_port = guest_port, .dst_port = host_port, .flags = flags});
}

static void send_data(struct fixture *f, uint32_t host_port, uint32_t guest_port, uint32_t len)
{
	send_packet(f, (struct packet){.op = RW, .src_port = guest_port, .dst_port = host_port, .len = len});
}

/* The next packet to the guest; false: none. */
static bool received(struct fixture *f, struct packet *packet)
{
	uint32_t len;

	if (!driver_used(&f->driver, 0, NULL, &len))
		return false;
	memcpy(packet, driver_ptr(&f->driver, f->rx[f->seen % 64]), HEADER);
	f->got = (const uint8_t *)driver_ptr(&f->driver, f->rx[f->seen++ % 64]) + HEADER;
	assert_int_equal(len, HEADER + packet->len);
	assert_int_equal(packet->src_cid, 2);
	assert_int_equal(packet->dst_cid, CID);
	assert_int_equal(packet->type, 1);
	return true;
}

static struct packet expect(struct fixture *f, enum op op, uint32_t host_port, uint32_t guest_port)
{
	struct packet packet;

	assert_true(received(f, &packet));
	assert_int_equal(packet.op, op);
	assert_int_equal(packet.src_port, host_port);
	assert_int_equal(packet.dst_port, guest_port);
	return packet;
}

static void expect_nothing(struct fixture *f)
{
	struct packet packet;

	assert_false(received(f, &packet));
}

static struct vsock_stream *connected(struct fixture *f, uint32_t host_port, uint32_t guest_port)
{
	struct packet packet;
	unsigned before = fake_vsock_open(&f->host);

	send_op(f, REQUEST, host_port, guest_port, 0);
	assert_true(fake_vsock_answer(&f->host, 0));
	packet = expect(f, RESPONSE, host_port, guest_port);
	assert_int_equal(packet.buf_alloc, BUFFER);
	assert_int_equal(packet.fwd_cnt, 0);
	return fake_vsock_stream(&f->host, before);
}

static void configuration(void **state)
{
	struct fixture f;

	start(&f);
	assert_int_equal(driver_reg(&f.driver, 0x008), 19);
	assert_int_equal(driver_reg(&f.driver, 0x100), CID);
	assert_int_equal(driver_reg(&f.driver, 0x104), 0);
	stop(&f);
}

static void guest_connects_and_talks(void **state)
{
	struct vsock_stream *stream;
	struct packet packet;
	struct fixture f;
	uint32_t sum = 0;

	start(&f);
	give(&f, 32);
	stream = connected(&f, 1024, 5000);
	assert_int_equal(stream->port, 1024);
	assert_true(stream->in_watched);
	send_data(&f, 1024, 5000, 3000);
	assert_int_equal(stream->written, 3000);
	for (unsigned i = 0; i < 3000; i++)
		sum = 31 * sum + (uint8_t)(i * 7);
	assert_int_equal(stream->sum, sum);
	/* The other way: as large as the buffers are. */
	stream->readable = 2500;
	fake_vsock_poke(stream);
	for (unsigned at = 0; at < 2500; at += packet.len) {
		packet = expect(&f, RW, 1024, 5000);
		assert_true(packet.len > 0 && packet.len <= RX_SIZE - HEADER);
		assert_int_equal(packet.fwd_cnt, 3000);
		for (unsigned i = 0; i < packet.len; i++)
			assert_int_equal(f.got[i], (uint8_t)(at + i));
	}
	expect_nothing(&f);
	assert_true(stream->in_watched);
	/* The host's end, then the guest's. */
	stream->ended = true;
	fake_vsock_poke(stream);
	packet = expect(&f, SHUTDOWN, 1024, 5000);
	assert_int_equal(packet.flags, 2);
	assert_false(stream->in_watched);
	send_data(&f, 1024, 5000, 10);
	assert_int_equal(stream->written, 3010);
	send_op(&f, SHUTDOWN, 1024, 5000, 2);
	assert_true(stream->finished);
	assert_int_equal(fake_vsock_open(&f.host), 1);
	send_op(&f, SHUTDOWN, 1024, 5000, 3);
	expect(&f, RST, 1024, 5000);
	assert_int_equal(fake_vsock_open(&f.host), 0);
	stop(&f);
}

static void refusals(void **state)
{
	struct vsock_stream *stream;
	struct fixture f;

	start(&f);
	give(&f, 64);
	/* By the backend, now and later. */
	f.host.refuses = true;
	send_op(&f, REQUEST, 1, 2, 0);
	expect(&f, RST, 1, 2);
	f.host.refuses = false;
	send_op(&f, REQUEST, 1, 2, 0);
	expect_nothing(&f);
	assert_true(fake_vsock_answer(&f.host, -EIO));
	expect(&f, RST, 1, 2);
	/* Nobody answers. */
	send_op(&f, REQUEST, 1, 2, 0);
	fake_advance(12000000000u);
	expect(&f, RST, 1, 2);
	assert_int_equal(fake_vsock_open(&f.host), 0);
	/* Packets of no connection: answered, but for RST. */
	send_data(&f, 1, 2, 5);
	expect(&f, RST, 1, 2);
	send_op(&f, SHUTDOWN, 3, 4, 3);
	expect(&f, RST, 3, 4);
	send_op(&f, RST, 3, 4, 0);
	expect_nothing(&f);
	/* Other types, other addresses. */
	send_packet(&f, (struct packet){.op = REQUEST, .src_port = 1, .dst_port = 2, .type = 2});
	expect(&f, RST, 2, 1);
	send_packet(&f, (struct packet){.op = REQUEST, .src_port = 1, .dst_port = 2, .dst_cid = 9});
	send_packet(&f, (struct packet){.op = REQUEST, .src_port = 1, .dst_port = 2, .src_cid = CID + 1});
	expect_nothing(&f);
	/* Twice the same, things too early, things that nobody knows: the connection is over. */
	connected(&f, 1, 2);
	send_op(&f, REQUEST, 1, 2, 0);
	expect(&f, RST, 1, 2);
	send_op(&f, REQUEST, 1, 2, 0);
	send_data(&f, 1, 2, 5);
	expect(&f, RST, 1, 2);
	connected(&f, 1, 2);
	send_op(&f, RESPONSE, 1, 2, 0);
	expect(&f, RST, 1, 2);
	connected(&f, 1, 2);
	send_op(&f, (enum op)99, 1, 2, 0);
	expect(&f, RST, 1, 2);
	/* More data than the packet has; data after the promise that none comes. */
	connected(&f, 1, 2);
	memcpy(driver_ptr(&f.driver, f.out), &(struct packet){.src_cid = CID, .dst_cid = 2, .src_port = 2, .dst_port = 1, .type = 1,
							      .op = RW, .len = 100}, HEADER);
	driver_add(&f.driver, 1, 2, (const struct driver_buf[]){{f.out, HEADER, false}, {f.data, 99, false}});
	driver_kick(&f.driver, 1);
	expect(&f, RST, 1, 2);
	connected(&f, 1, 2);
	send_op(&f, SHUTDOWN, 1, 2, 2);
	send_data(&f, 1, 2, 1);
	expect(&f, RST, 1, 2);
	/* A broken stream, in each direction. */
	stream = connected(&f, 1, 2);
	stream->broken = true;
	fake_vsock_poke(stream);
	expect(&f, RST, 1, 2);
	stream = connected(&f, 1, 2);
	stream->broken = true;
	send_data(&f, 1, 2, 1);
	expect(&f, RST, 1, 2);
	assert_int_equal(fake_vsock_open(&f.host), 0);
	expect_nothing(&f);
	stop(&f);
}

static void host_connects(void **state)
{
	struct vsock_stream *stream;
	struct packet packet;
	struct fixture f;

	start(&f);
	give(&f, 32);
	stream = fake_vsock_call(&f.host, 2000);
	assert_non_null(stream);
	stream->readable = 10; /* not before the guest has accepted */
	fake_run_work();
	assert_true(received(&f, &packet));
	assert_int_equal(packet.op, REQUEST);
	assert_int_equal(packet.dst_port, 2000);
	fake_vsock_poke(stream);
	expect_nothing(&f);
	send_op(&f, RESPONSE, packet.src_port, 2000, 0);
	assert_int_equal(stream->accepted_as, packet.src_port);
	assert_int_equal(expect(&f, RW, packet.src_port, 2000).len, 10);
	/* Another one has another port. */
	stream = fake_vsock_call(&f.host, 2000);
	fake_run_work();
	assert_int_not_equal(expect(&f, REQUEST, packet.src_port + 1, 2000).src_port, packet.src_port);
	send_op(&f, RST, packet.src_port + 1, 2000, 0);
	assert_int_equal(f.host.closed, 1);
	/* Nobody answers. */
	fake_vsock_call(&f.host, 2000);
	fake_run_work();
	expect(&f, REQUEST, packet.src_port + 2, 2000);
	fake_advance(12000000000u);
	expect(&f, RST, packet.src_port + 2, 2000);
	assert_int_equal(f.host.closed, 2);
	/* No driver: nobody to ask. */
	driver_set_reg(&f.driver, 0x070, 0);
	assert_null(fake_vsock_call(&f.host, 2000));
	assert_int_equal(fake_vsock_open(&f.host), 0);
	stop(&f);
}

static void credit_of_the_guest(void **state)
{
	struct vsock_stream *stream;
	struct packet packet;
	struct fixture f;

	start(&f);
	f.alloc = 1500;
	give(&f, 32);
	stream = connected(&f, 1, 2);
	stream->readable = 5000;
	fake_vsock_poke(stream);
	assert_int_equal(expect(&f, RW, 1, 2).len, RX_SIZE - HEADER);
	assert_int_equal(expect(&f, RW, 1, 2).len, 1500 - (RX_SIZE - HEADER));
	/* Asked for once, and waited for. */
	expect(&f, CREDIT_REQUEST, 1, 2);
	expect_nothing(&f);
	assert_false(stream->in_watched);
	f.forwarded = 100;
	send_op(&f, CREDIT_UPDATE, 1, 2, 0);
	assert_int_equal(expect(&f, RW, 1, 2).len, 100);
	expect(&f, CREDIT_REQUEST, 1, 2);
	/* Lies: more forwarded than sent, less buffer than is out. */
	f.forwarded = 5000;
	send_op(&f, CREDIT_UPDATE, 1, 2, 0);
	expect(&f, CREDIT_REQUEST, 1, 2);
	f.forwarded = 0;
	f.alloc = 0;
	send_op(&f, CREDIT_UPDATE, 1, 2, 0);
	expect(&f, CREDIT_REQUEST, 1, 2);
	expect_nothing(&f);
	f.alloc = UINT32_MAX;
	send_op(&f, CREDIT_UPDATE, 1, 2, 0);
	for (unsigned left = 3400; left > 0; left -= packet.len)
		packet = expect(&f, RW, 1, 2);
	expect_nothing(&f);
	assert_true(stream->in_watched);
	stop(&f);
}

static void credit_of_the_host(void **state)
{
	struct vsock_stream *stream;
	struct packet packet;
	struct fixture f;
	uint32_t sum = 0;

	start(&f);
	give(&f, 32);
	stream = connected(&f, 1, 2);
	/* The host takes a little; the rest waits, up to the buffer's size. */
	stream->room = 1000;
	send_data(&f, 1, 2, 60000);
	send_data(&f, 1, 2, 60000);
	assert_int_equal(stream->written, 1000);
	assert_true(stream->out_watched);
	send_op(&f, CREDIT_REQUEST, 1, 2, 0);
	packet = expect(&f, CREDIT_UPDATE, 1, 2);
	assert_int_equal(packet.fwd_cnt, 1000);
	stream->room = 70000;
	fake_vsock_poke(stream);
	packet = expect(&f, CREDIT_UPDATE, 1, 2);
	assert_int_equal(packet.fwd_cnt, 71000);
	/* Around the end of the ring. */
	send_data(&f, 1, 2, BUFFER - 49000);
	expect_nothing(&f);
	stream->room = SIZE_MAX;
	fake_vsock_poke(stream);
	for (unsigned i = 0; i < 120000; i++)
		sum = 31 * sum + (uint8_t)(i % 60000 * 7);
	for (unsigned i = 0; i < BUFFER - 49000; i++)
		sum = 31 * sum + (uint8_t)(i * 7);
	assert_int_equal(stream->sum, sum);
	assert_false(stream->out_watched);
	expect(&f, CREDIT_UPDATE, 1, 2);
	/* A byte more than there is credit for. */
	stream->room = 0;
	send_data(&f, 1, 2, BUFFER - 1);
	send_data(&f, 1, 2, 1);
	expect_nothing(&f);
	send_data(&f, 1, 2, 1);
	expect(&f, RST, 1, 2);
	assert_int_equal(fake_vsock_open(&f.host), 0);
	stop(&f);
}

static void closed_with_data_waiting(void **state)
{
	struct vsock_stream *stream;
	struct fixture f;

	start(&f);
	give(&f, 32);
	/* The guest closes, waits, and gives up waiting: what it sent still arrives. */
	stream = connected(&f, 1, 2);
	stream->room = 0;
	send_data(&f, 1, 2, 5000);
	send_op(&f, SHUTDOWN, 1, 2, 3);
	expect_nothing(&f);
	send_op(&f, RST, 1, 2, 0);
	assert_int_equal(fake_vsock_open(&f.host), 1);
	/* The same ports again, beside it. */
	assert_ptr_not_equal(connected(&f, 1, 2), stream);
	stream->room = 2000;
	fake_vsock_poke(stream);
	assert_int_equal(fake_vsock_open(&f.host), 2);
	stream->room = SIZE_MAX;
	fake_vsock_poke(stream);
	assert_int_equal(stream->written, 5000);
	assert_int_equal(fake_vsock_open(&f.host), 1);
	/* Closed, and it waits: then it is told. */
	stream = connected(&f, 1, 3);
	stream->room = 0;
	send_data(&f, 1, 3, 5000);
	send_op(&f, SHUTDOWN, 1, 3, 3);
	stream->room = SIZE_MAX;
	fake_vsock_poke(stream);
	expect(&f, RST, 1, 3);
	/* Without having closed first, nothing is kept. */
	stream = connected(&f, 1, 3);
	stream->room = 0;
	send_data(&f, 1, 3, 5000);
	send_op(&f, RST, 1, 3, 0);
	assert_int_equal(fake_vsock_open(&f.host), 1);
	stop(&f);
}

static void many_and_too_many(void **state)
{
	struct packet packet;
	struct fixture f;
	unsigned answered = 0;

	start(&f);
	for (unsigned i = 0; i < 513; i++)
		send_op(&f, REQUEST, 1, i, 0);
	assert_int_equal(fake_vsock_open(&f.host), 512);
	assert_null(fake_vsock_call(&f.host, 5));
	/* Answers to nobody are kept up to a number; then the guest is not heard any more until it listens. */
	for (unsigned i = 0; i < 255; i++)
		send_op(&f, SHUTDOWN, 1, 1000 + i, 0);
	memcpy(driver_ptr(&f.driver, f.out), &(struct packet){.src_cid = CID, .dst_cid = 2, .src_port = 7000, .dst_port = 1, .type = 1,
							      .op = SHUTDOWN}, HEADER);
	driver_add(&f.driver, 1, 1, &(struct driver_buf){f.out, HEADER, false});
	driver_kick(&f.driver, 1);
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	for (unsigned i = 0; i < 5; i++) {
		give(&f, 64);
		while (received(&f, &packet)) {
			assert_int_equal(packet.op, RST);
			answered++;
		}
	}
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_int_equal(answered, 257);
	/* A reset closes all; so does the machine's. */
	driver_init_device(&f.driver, VIRTIO_F_EVENT_IDX, 0);
	assert_int_equal(fake_vsock_open(&f.host), 0);
	f.given = f.seen = 0;
	give(&f, 8);
	connected(&f, 1, 1);
	devices_reset(&f.driver.vm);
	fake_run_work();
	assert_int_equal(fake_vsock_open(&f.host), 0);
	stop(&f);
}

static void turns_are_taken(void **state)
{
	struct vsock_stream *a, *b;
	struct packet packet;
	unsigned of_b = 0;
	struct fixture f;

	start(&f);
	give(&f, 2);
	a = connected(&f, 1, 1);
	b = connected(&f, 1, 2);
	/* No buffers: they wait, and nobody asks epoll. */
	a->readable = b->readable = 100000;
	fake_vsock_poke(a);
	fake_vsock_poke(b);
	expect_nothing(&f);
	assert_false(a->in_watched || b->in_watched);
	give(&f, 20);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(received(&f, &packet));
		of_b += packet.dst_port == 2;
	}
	assert_int_equal(of_b, 10);
	stop(&f);
}

static void bad_buffers(void **state)
{
	struct fixture f;

	start(&f);
	/* A packet without a whole header is nothing; a receive buffer without room for one breaks the device. */
	driver_add(&f.driver, 1, 1, &(struct driver_buf){f.data, HEADER - 1, false});
	driver_kick(&f.driver, 1);
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.data, HEADER - 1, true});
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_reg(&f.driver, 0x070) & 64, 0);
	send_op(&f, SHUTDOWN, 1, 2, 0);
	assert_int_equal(driver_reg(&f.driver, 0x070) & 64, 64);
	stop(&f);
}

static void without_memory(void **state)
{
	struct virtio_device *vdev;
	struct fixture f;

	start(&f);
	give(&f, 8);
	fake_alloc_limit(0);
	send_op(&f, REQUEST, 1, 2, 0);
	expect(&f, RST, 1, 2);
	assert_null(fake_vsock_call(&f.host, 5));
	fake_alloc_limit(1);
	fake_vsock_stream(&f.host, 0);
	connected(&f, 1, 2)->room = 0;
	send_data(&f, 1, 2, 5);
	expect(&f, RST, 1, 2);
	for (unsigned i = 0; i < 2; i++) {
		fake_alloc_limit(i);
		assert_int_equal(virtio_vsock_create(&f.driver.vm, 3, &f.host.backend, &vdev), -ENOMEM);
	}
	fake_alloc_limit(UINT32_MAX);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(guest_connects_and_talks),
		cmocka_unit_test(refusals),
		cmocka_unit_test(host_connects),
		cmocka_unit_test(credit_of_the_guest),
		cmocka_unit_test(credit_of_the_host),
		cmocka_unit_test(closed_with_data_waiting),
		cmocka_unit_test(many_and_too_many),
		cmocka_unit_test(turns_are_taken),
		cmocka_unit_test(bad_buffers),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
