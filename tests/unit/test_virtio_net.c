/* The network device against a backend that records what it is given. */
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_MAC       (1u << 5)
#define F_MRG_RXBUF (1u << 15)
#define F_STATUS    (1u << 16)

#define HEADER 12u

struct wire {
	struct net_backend backend;
	uint8_t last[70000];
	size_t last_len;
	unsigned sent, resumed;
};

static void wire_send(struct net_backend *backend, const struct iobuf *bufs, unsigned count)
{
	struct wire *wire = container_of(backend, struct wire, backend);

	wire->sent++;
	wire->last_len = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(wire->last + wire->last_len, bufs[i].base, bufs[i].len);
		wire->last_len += bufs[i].len;
	}
}

static void wire_resume(struct net_backend *backend)
{
	container_of(backend, struct wire, backend)->resumed++;
}

static const struct net_backend_ops wire_ops = {.send = wire_send, .resume = wire_resume};

struct fixture {
	struct driver driver;
	struct wire wire;
	struct virtio_device *vdev;
};

static void start(struct fixture *f, uint64_t features)
{
	memset(&f->wire, 0, sizeof(f->wire));
	f->wire.backend = (struct net_backend){.ops = &wire_ops, .mac = {2, 4, 6, 8, 10, 12}};
	driver_machine(&f->driver);
	assert_int_equal(virtio_net_create(&f->driver.vm, &f->wire.backend, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, features);
	driver_take_interrupt(&f->driver);
	f->driver.pulses = 0;
}

static bool receive(struct fixture *f, const void *frame, size_t len)
{
	return f->wire.backend.receive(f->wire.backend.receive_ctx, frame, len);
}

static void configuration(void **state)
{
	struct fixture f;

	start(&f, F_MAC | F_MRG_RXBUF | F_STATUS);
	assert_int_equal(f.driver.features & 0xffffff, F_MAC | F_MRG_RXBUF | F_STATUS);
	assert_int_equal(driver_reg(&f.driver, 0x100), 0x08060402);
	assert_int_equal(driver_reg(&f.driver, 0x104), 0x00010c0a);
	driver_stop(&f.driver);
}

static void sends_frames_without_header(void **state)
{
	struct fixture f;
	gpa_t data;

	start(&f, F_MRG_RXBUF | VIRTIO_F_EVENT_IDX);
	data = driver_alloc(&f.driver, 2048);
	memset(driver_ptr(&f.driver, data), 0xff, HEADER);
	memset(driver_ptr(&f.driver, data + HEADER), 0x42, 1514);
	/* Header by itself, header with data, header cut in two. */
	driver_add(&f.driver, 1, 2,
		   (const struct driver_buf[]){{data, HEADER, false}, {data + HEADER, 60, false}});
	driver_add(&f.driver, 1, 1, (const struct driver_buf[]){{data, HEADER + 1514, false}});
	driver_add(&f.driver, 1, 2, (const struct driver_buf[]){{data, 5, false}, {data + 5, 7 + 99, false}});
	driver_kick(&f.driver, 1);
	assert_int_equal(f.wire.sent, 3);
	assert_int_equal(f.wire.last_len, 99);
	assert_int_equal(f.wire.last[0], 0x42);
	for (unsigned i = 0; i < 3; i++)
		assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_int_equal(driver_take_interrupt(&f.driver), 1);
	/* Too short and too long: lost, but given back. */
	driver_add(&f.driver, 1, 1, (const struct driver_buf[]){{data, HEADER, false}});
	driver_add(&f.driver, 1, 1, (const struct driver_buf[]){{0, 1 << 20, false}});
	driver_kick(&f.driver, 1);
	assert_int_equal(f.wire.sent, 3);
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	driver_stop(&f.driver);
}

static void many_frames_take_turns(void **state)
{
	struct fixture f;
	gpa_t data;

	start(&f, 0);
	data = driver_alloc(&f.driver, 128);
	for (unsigned i = 0; i < 256; i++)
		driver_add(&f.driver, 1, 1, (const struct driver_buf[]){{data, 100, false}});
	driver_kick(&f.driver, 1);
	assert_int_equal(f.wire.sent, 256);
	assert_int_equal(driver_used_count(&f.driver, 1), 256);
	driver_stop(&f.driver);
}

static void check_received(struct fixture *f, gpa_t at, const uint8_t *frame, unsigned buffer, size_t len)
{
	uint8_t header[HEADER];
	size_t done = 0;
	unsigned count = (unsigned)((len + HEADER + buffer - 1) / buffer);

	memcpy(header, driver_ptr(&f->driver, at), HEADER);
	assert_int_equal(header[10] | header[11] << 8, count);
	assert_int_equal(header[0], 0);
	assert_int_equal(header[1], 0);
	for (unsigned i = 0; i < count; i++) {
		size_t skip = i == 0 ? HEADER : 0, part = buffer - skip;
		uint32_t used_len;

		if (part > len - done)
			part = len - done;
		assert_true(driver_used(&f->driver, 0, NULL, &used_len));
		assert_int_equal(used_len, skip + part);
		assert_memory_equal(driver_ptr(&f->driver, at + i * buffer + skip), frame + done, part);
		done += part;
	}
	assert_int_equal(done, len);
}

static void received_frames_fill_buffers(void **state)
{
	static const unsigned buffers[] = {2048, 512, 100, 24};
	uint8_t frame[1514];
	struct fixture f;

	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 3 + 1);
	for (unsigned b = 0; b < ARRAY_SIZE(buffers); b++) {
		size_t len = buffers[b] == 24 ? 600 : sizeof(frame);
		unsigned count = (unsigned)((len + HEADER + buffers[b] - 1) / buffers[b]);
		gpa_t at;

		start(&f, F_MRG_RXBUF | (b % 2 ? VIRTIO_F_EVENT_IDX : 0));
		at = driver_alloc(&f.driver, count * buffers[b]);
		for (unsigned i = 0; i < count; i++)
			driver_add(&f.driver, 0, 1,
				   &(struct driver_buf){at + i * buffers[b], buffers[b], true});
		assert_true(receive(&f, frame, len));
		assert_int_equal(driver_take_interrupt(&f.driver), 1);
		assert_int_equal(f.driver.pulses, 1);
		check_received(&f, at, frame, buffers[b], len);
		assert_false(driver_used(&f.driver, 0, NULL, NULL));
		driver_stop(&f.driver);
	}
}

static void without_room_the_backend_waits(void **state)
{
	uint8_t frame[1000] = {1, 2, 3};
	struct fixture f;
	gpa_t at;

	for (unsigned i = 0; i < 2; i++) {
		start(&f, F_MRG_RXBUF | (i ? VIRTIO_F_EVENT_IDX : 0));
		assert_false(receive(&f, frame, sizeof(frame)));
		at = driver_alloc(&f.driver, 2048);
		/* One buffer is too little; what was tried with it isn't seen. */
		driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 512, true});
		assert_true(driver_must_kick(&f.driver, 0, 1));
		driver_kick(&f.driver, 0);
		assert_int_equal(f.wire.resumed, 1);
		assert_false(receive(&f, frame, sizeof(frame)));
		assert_false(driver_used(&f.driver, 0, NULL, NULL));
		driver_add(&f.driver, 0, 1, &(struct driver_buf){at + 512, 512, true});
		assert_true(driver_must_kick(&f.driver, 0, 1));
		driver_kick(&f.driver, 0);
		assert_int_equal(f.wire.resumed, 2);
		assert_true(receive(&f, frame, sizeof(frame)));
		check_received(&f, at, frame, 512, sizeof(frame));
		/* Nobody waits: buffers need no kick to be announced. */
		driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 512, true});
		driver_kick(&f.driver, 0);
		assert_int_equal(f.wire.resumed, 2);
		driver_stop(&f.driver);
	}
}

static void odd_buffers_and_frames(void **state)
{
	static uint8_t frame[66000];
	struct fixture f;
	gpa_t at;

	/* Without MRG_RXBUF a frame that doesn't fit one chain is lost. */
	start(&f, 0);
	at = driver_alloc(&f.driver, 2048);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 100, true});
	assert_true(receive(&f, frame, 1000));
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	assert_true(receive(&f, frame, 88));
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	assert_true(receive(&f, frame, sizeof(frame)));
	assert_true(receive(&f, frame, 0));
	driver_stop(&f.driver);
	/* No driver: lost. */
	start(&f, 0);
	driver_set_reg(&f.driver, 0x070, 0);
	assert_true(receive(&f, frame, 60));
	driver_stop(&f.driver);
	/* A first buffer too small for the header breaks the device; sixty-four of a byte are too many. */
	start(&f, F_MRG_RXBUF);
	at = driver_alloc(&f.driver, 2048);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 11, true});
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 1000, true});
	assert_true(receive(&f, frame, 60));
	assert_true(driver_reg(&f.driver, 0x070) & 64);
	driver_init_device(&f.driver, F_MRG_RXBUF, 0);
	at = driver_alloc(&f.driver, 2048);
	for (unsigned i = 0; i < 100; i++)
		driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 13, true});
	assert_true(receive(&f, frame, 1400));
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	assert_true(receive(&f, frame, 200));
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	driver_stop(&f.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(sends_frames_without_header),
		cmocka_unit_test(many_frames_take_turns),
		cmocka_unit_test(received_frames_fill_buffers),
		cmocka_unit_test(without_room_the_backend_waits),
		cmocka_unit_test(odd_buffers_and_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
