/* The console device: streams both ways, the protocol of ports, opening, closing, end of file. */
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_SIZE      (1u << 0)
#define F_MULTIPORT (1u << 1)

struct stream {
	struct char_backend backend;
	char out[8192];
	size_t out_len, out_room;
	unsigned resumed;
	char opens[16]; /* 'o' and 'c' */
};

static size_t stream_write(struct char_backend *backend, const void *buf, size_t len)
{
	struct stream *stream = container_of(backend, struct stream, backend);

	if (len > stream->out_room)
		len = stream->out_room;
	memcpy(stream->out + stream->out_len, buf, len);
	stream->out_len += len;
	stream->out_room -= len;
	return len;
}

static void stream_resume(struct char_backend *backend)
{
	container_of(backend, struct stream, backend)->resumed++;
}

static void stream_open(struct char_backend *backend, bool open)
{
	struct stream *stream = container_of(backend, struct stream, backend);

	stream->opens[strlen(stream->opens)] = open ? 'o' : 'c';
}

static const struct char_backend_ops stream_ops = {
	.write = stream_write, .resume = stream_resume, .guest_open = stream_open};

struct fixture {
	struct driver driver;
	struct stream streams[3];
	struct virtio_device *vdev;
	gpa_t control[16]; /* buffers on the control receive queue */
	unsigned control_seen;
};

static void create(struct fixture *f, unsigned ports)
{
	static const char *const names[] = {NULL, "agent.control", "agent.stdin"};
	struct virtio_console_port list[3];

	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < 3; i++) {
		f->streams[i].backend.ops = &stream_ops;
		f->streams[i].out_room = sizeof(f->streams[i].out);
		list[i] = (struct virtio_console_port){names[i], &f->streams[i].backend};
	}
	driver_machine(&f->driver);
	assert_int_equal(virtio_console_create(&f->driver.vm, list, ports, &f->vdev), 0);
}

static void give_control_buffers(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		f->control[i] = driver_alloc(&f->driver, 64);
		driver_add(&f->driver, 2, 1, &(struct driver_buf){f->control[i], 64, true});
	}
	f->control_seen = 0;
}

static void start(struct fixture *f, unsigned ports, uint64_t features)
{
	create(f, ports);
	driver_start(&f->driver, f->vdev, 0, features);
	if (f->driver.features & F_MULTIPORT)
		give_control_buffers(f, 16);
}

static void say(struct fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
	gpa_t at = driver_alloc(&f->driver, 8);
	uint8_t *message = driver_ptr(&f->driver, at);

	memcpy(message, &id, 4);
	memcpy(message + 4, &event, 2);
	memcpy(message + 6, &value, 2);
	driver_add(&f->driver, 3, 1, &(struct driver_buf){at, 8, false});
	driver_kick(&f->driver, 3);
}

/* The next message from the device must be this one. */
static void expect(struct fixture *f, uint32_t id, uint16_t event, uint16_t value, const char *extra)
{
	const uint8_t *message = driver_ptr(&f->driver, f->control[f->control_seen]);
	uint32_t len, got_id;
	uint16_t got[2];

	assert_true(driver_used(&f->driver, 2, NULL, &len));
	memcpy(&got_id, message, 4);
	memcpy(got, message + 4, 4);
	assert_int_equal(got_id, id);
	assert_int_equal(got[0], event);
	assert_int_equal(got[1], value);
	assert_int_equal(len, 8 + (extra ? strlen(extra) : 0));
	if (extra)
		assert_memory_equal(message + 8, extra, strlen(extra));
	f->control_seen++;
}

static void expect_silence(struct fixture *f)
{
	assert_false(driver_used(&f->driver, 2, NULL, NULL));
}

static void write_port(struct fixture *f, unsigned queue, const char *text)
{
	gpa_t at = driver_alloc(&f->driver, (uint32_t)strlen(text));

	memcpy(driver_ptr(&f->driver, at), text, strlen(text));
	driver_add(&f->driver, queue, 1, &(struct driver_buf){at, (uint32_t)strlen(text), false});
	driver_kick(&f->driver, queue);
}

static void input(struct fixture *f, unsigned port, const void *bytes, size_t len)
{
	struct char_backend *backend = &f->streams[port].backend;

	assert_true(backend->room(backend->ctx) >= len);
	backend->receive(backend->ctx, bytes, len);
}

static void a_lone_console_is_simple(void **state)
{
	struct fixture f;
	gpa_t at;
	uint32_t len;

	start(&f, 1, F_SIZE | F_MULTIPORT | VIRTIO_F_EVENT_IDX);
	assert_int_equal(f.driver.features & 3, F_SIZE);
	write_port(&f, 1, "hello");
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_memory_equal(f.streams[0].out, "hello", 5);
	at = driver_alloc(&f.driver, 64);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 64, true});
	input(&f, 0, "abc", 3);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(driver_ptr(&f.driver, at), "abc", 3);
	driver_take_interrupt(&f.driver);
	virtio_console_resize(f.vdev, 132, 50);
	assert_int_equal(driver_take_interrupt(&f.driver), 2);
	assert_int_equal(driver_reg(&f.driver, 0x100), 132 | 50 << 16);
	assert_int_equal(driver_reg(&f.driver, 0x0fc), 1);
	driver_stop(&f.driver);
}

static void input_waits_for_buffers_and_survives_a_reset(void **state)
{
	struct fixture f;
	char text[4096], *out;
	gpa_t at;
	uint32_t len;

	create(&f, 1);
	memset(text, 'x', sizeof(text));
	text[4095] = 'y';
	input(&f, 0, text, sizeof(text)); /* before there is a driver */
	assert_int_equal(f.streams[0].backend.room(f.streams[0].backend.ctx), 0);
	driver_start(&f.driver, f.vdev, 0, 0);
	at = driver_alloc(&f.driver, 4096);
	out = driver_ptr(&f.driver, at);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 1000, true});
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 1000);
	assert_int_equal(f.streams[0].resumed, 1);
	assert_int_equal(f.streams[0].backend.room(f.streams[0].backend.ctx), 1000);
	input(&f, 0, text, 1000); /* around the ring */
	driver_add(&f.driver, 0, 2, (const struct driver_buf[]){{at, 95, true}, {at + 95, 3001, true}});
	assert_true(driver_must_kick(&f.driver, 0, 1));
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 3096);
	assert_int_equal(out[3095], 'y');
	driver_add(&f.driver, 0, 1, &(struct driver_buf){at, 4096, true});
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 1000);
	driver_stop(&f.driver);
}

static void a_slow_backend_holds_output_back(void **state)
{
	struct fixture f;
	struct char_backend *backend;

	start(&f, 1, VIRTIO_F_EVENT_IDX);
	backend = &f.streams[0].backend;
	f.streams[0].out_room = 3;
	write_port(&f, 1, "hello");
	write_port(&f, 1, " world");
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	f.streams[0].out_room = 4;
	backend->writable(backend->ctx);
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	/* A reset while output hangs: it is lost, and nothing is stuck. */
	driver_set_reg(&f.driver, 0x070, 0);
	f.streams[0].out_room = 100;
	backend->writable(backend->ctx);
	assert_int_equal(f.streams[0].out_len, 7);
	driver_init_device(&f.driver, 0, 0);
	write_port(&f, 1, "again");
	assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_memory_equal(f.streams[0].out, "hello wagain", 12);
	driver_stop(&f.driver);
}

static void open_ports(struct fixture *f)
{
	say(f, UINT32_MAX, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		expect(f, i, 1, 1, NULL);
	expect_silence(f);
	say(f, 0, 3, 1);
	expect(f, 0, 4, 1, NULL);
	expect(f, 0, 6, 1, NULL);
	say(f, 1, 3, 1);
	expect(f, 1, 7, 1, "agent.control");
	expect(f, 1, 6, 1, NULL);
	say(f, 2, 3, 1);
	expect(f, 2, 7, 1, "agent.stdin");
	expect(f, 2, 6, 1, NULL);
	expect_silence(f);
}

static void ports_are_announced(void **state)
{
	struct fixture f;

	start(&f, 3, F_MULTIPORT | VIRTIO_F_EVENT_IDX);
	assert_int_equal(driver_reg(&f.driver, 0x104), 3);
	open_ports(&f);
	virtio_console_resize(f.vdev, 'A' | 'B' << 8, 'C' | 'D' << 8);
	expect(&f, 0, 5, 1, "CDAB");
	driver_stop(&f.driver);
}

static void input_waits_for_the_guest_to_open(void **state)
{
	struct fixture f;
	gpa_t at;
	uint32_t len;

	start(&f, 3, F_MULTIPORT);
	at = driver_alloc(&f.driver, 64);
	driver_add(&f.driver, 6, 1, &(struct driver_buf){at, 64, true});
	input(&f, 2, "data", 4);
	open_ports(&f);
	assert_false(driver_used(&f.driver, 6, NULL, NULL));
	say(&f, 2, 6, 1);
	assert_true(driver_used(&f.driver, 6, NULL, &len));
	assert_int_equal(len, 4);
	assert_int_equal(f.streams[2].resumed, 1);
	assert_string_equal(f.streams[2].opens, "o");
	driver_stop(&f.driver);
}

static void end_of_file_follows_the_data(void **state)
{
	struct fixture f;
	struct char_backend *backend;
	gpa_t at;

	start(&f, 3, F_MULTIPORT);
	open_ports(&f);
	backend = &f.streams[2].backend;
	input(&f, 2, "rest", 4);
	backend->end_of_input(backend->ctx);
	expect_silence(&f);
	say(&f, 2, 6, 1);
	expect_silence(&f); /* there are no buffers for the data yet */
	at = driver_alloc(&f.driver, 64);
	driver_add(&f.driver, 6, 1, &(struct driver_buf){at, 64, true});
	driver_kick(&f.driver, 6);
	assert_true(driver_used(&f.driver, 6, NULL, NULL));
	expect(&f, 2, 6, 0, NULL);
	assert_int_equal(backend->room(backend->ctx), 0);
	/* A console stays. */
	f.streams[0].backend.end_of_input(f.streams[0].backend.ctx);
	say(&f, 0, 6, 1);
	expect_silence(&f);
	driver_stop(&f.driver);
}

static void the_backend_hears_of_open_and_close_after_the_data(void **state)
{
	struct fixture f;
	struct char_backend *backend;

	start(&f, 3, F_MULTIPORT);
	open_ports(&f);
	backend = &f.streams[1].backend;
	say(&f, 1, 6, 1);
	assert_string_equal(f.streams[1].opens, "o");
	f.streams[1].out_room = 2;
	write_port(&f, 5, "answer");
	say(&f, 1, 6, 0);
	assert_string_equal(f.streams[1].opens, "o");
	f.streams[1].out_room = 100;
	backend->writable(backend->ctx);
	assert_int_equal(f.streams[1].out_len, 6);
	assert_string_equal(f.streams[1].opens, "oc");
	/* A reset closes, too. */
	say(&f, 1, 6, 1);
	driver_set_reg(&f.driver, 0x070, 0);
	fake_run_work();
	assert_string_equal(f.streams[1].opens, "ococ");
	driver_stop(&f.driver);
}

static void messages_wait_for_buffers(void **state)
{
	struct fixture f;

	create(&f, 3);
	driver_start(&f.driver, f.vdev, 0, F_MULTIPORT | VIRTIO_F_EVENT_IDX);
	say(&f, 0, 0, 1);
	expect_silence(&f);
	give_control_buffers(&f, 2);
	assert_true(driver_must_kick(&f.driver, 2, 2));
	driver_kick(&f.driver, 2);
	expect(&f, 0, 1, 1, NULL);
	expect(&f, 1, 1, 1, NULL);
	give_control_buffers(&f, 2);
	driver_kick(&f.driver, 2);
	expect(&f, 2, 1, 1, NULL);
	/* Nonsense is ignored. */
	say(&f, 3, 3, 1);
	say(&f, UINT32_MAX, 6, 1);
	say(&f, 0, 999, 1);
	write_port(&f, 3, "short");
	expect_silence(&f);
	assert_int_equal(driver_reg(&f.driver, 0x070), 15);
	driver_stop(&f.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lone_console_is_simple),
		cmocka_unit_test(input_waits_for_buffers_and_survives_a_reset),
		cmocka_unit_test(a_slow_backend_holds_output_back),
		cmocka_unit_test(ports_are_announced),
		cmocka_unit_test(input_waits_for_the_guest_to_open),
		cmocka_unit_test(end_of_file_follows_the_data),
		cmocka_unit_test(the_backend_hears_of_open_and_close_after_the_data),
		cmocka_unit_test(messages_wait_for_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
