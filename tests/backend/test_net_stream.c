/* The stream backend with the test as its peer: frames both ways, cut anywhere; a device without room; a peer that doesn't
 * read, says nonsense or goes away. */
#include "backend/net_stream.h"
#include "base/types.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAME_MAX 65550u

struct fixture {
	struct loop *loop;
	struct net_backend *backend;
	struct timer pause;
	int peer;
	bool full;
	unsigned frames;
	size_t lengths[64];
	uint8_t last[FRAME_MAX];
};

static bool receive(void *ctx, const void *frame, size_t len)
{
	struct fixture *f = ctx;

	if (f->full)
		return false;
	memcpy(f->last, frame, len);
	f->lengths[f->frames++ % ARRAY_SIZE(f->lengths)] = len;
	return true;
}

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

/* Serves for some milliseconds. */
static void serve(struct fixture *f)
{
	loop_timer_arm(f->loop, &f->pause, platform_clock_ns() + 20000000u);
	assert_int_equal(loop_run(f->loop), 0);
}

static void start(struct fixture *f)
{
	char why[256] = "";
	int pair[2];

	memset(f, 0, sizeof(*f));
	signal(SIGPIPE, SIG_IGN);
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->peer = pair[1];
	assert_int_equal(fcntl(f->peer, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(net_stream_open(pair[0], "the test", f->loop, &f->backend, why, sizeof(why)), 0);
	f->backend->receive = receive;
	f->backend->receive_ctx = f;
	timer_init(&f->pause, NULL, stop_loop, f->loop);
}

static void stop(struct fixture *f)
{
	if (f->peer >= 0)
		close(f->peer);
	loop_timer_cancel(f->loop, &f->pause);
	f->backend->ops->destroy(f->backend);
	loop_destroy(f->loop);
}

static void fill(uint8_t *frame, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(seed + i * 7);
}

static void peer_writes(struct fixture *f, const void *bytes, size_t len)
{
	assert_int_equal(write(f->peer, bytes, len), (ssize_t)len);
}

static size_t put_frame(uint8_t *at, size_t len, uint8_t seed)
{
	uint32_t header = htonl((uint32_t)len);

	memcpy(at, &header, 4);
	fill(at + 4, len, seed);
	return 4 + len;
}

static void test_to_guest(void **state)
{
	static uint8_t bytes[2 * FRAME_MAX], wanted[FRAME_MAX];
	struct fixture f;
	size_t len = 0;

	start(&f);
	/* Three in one, the last of them cut in its header, then in its middle. */
	len += put_frame(bytes, 60, 1);
	len += put_frame(bytes + len, 1514, 2);
	put_frame(bytes + len, 30000, 3);
	peer_writes(&f, bytes, len + 2);
	serve(&f);
	assert_int_equal(f.frames, 2);
	assert_int_equal(f.lengths[0], 60);
	assert_int_equal(f.lengths[1], 1514);
	fill(wanted, 1514, 2);
	assert_memory_equal(f.last, wanted, 1514);

	len = put_frame(bytes, 30000, 3);
	peer_writes(&f, bytes + 2, 20000);
	serve(&f);
	assert_int_equal(f.frames, 2);
	peer_writes(&f, bytes + 2 + 20000, len - 2 - 20000);
	serve(&f);
	assert_int_equal(f.frames, 3);
	assert_int_equal(f.lengths[2], 30000);
	len = put_frame(bytes, FRAME_MAX, 4);
	peer_writes(&f, bytes, len);
	serve(&f);
	assert_int_equal(f.frames, 4);
	fill(wanted, FRAME_MAX, 4);
	assert_memory_equal(f.last, wanted, FRAME_MAX);
	stop(&f);
}

static void test_no_room(void **state)
{
	static uint8_t bytes[4000];
	struct fixture f;
	size_t len = 0;

	start(&f);
	f.full = true;
	for (unsigned i = 0; i < 10; i++)
		len += put_frame(bytes + len, 100 + i, (uint8_t)i);
	peer_writes(&f, bytes, len);
	serve(&f);
	assert_int_equal(f.frames, 0);
	f.full = false;
	f.backend->ops->resume(f.backend);
	assert_int_equal(f.frames, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(f.lengths[i], 100 + i);
	/* And what comes afterwards. */
	peer_writes(&f, bytes, put_frame(bytes, 99, 0));
	serve(&f);
	assert_int_equal(f.frames, 11);
	stop(&f);
}

/* Reads what is there. */
static size_t peer_reads(struct fixture *f, uint8_t *bytes, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(f->peer, bytes + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

static void send_frame(struct fixture *f, uint8_t *frame, size_t len, uint8_t seed)
{
	const struct iobuf bufs[] = {{frame, 14}, {frame + 14, len - 14}};

	fill(frame, len, seed);
	f->backend->ops->send(f->backend, bufs, 2);
}

static void test_from_guest(void **state)
{
	static uint8_t frame[FRAME_MAX], bytes[FRAME_MAX + 4000], wanted[FRAME_MAX + 4000];
	static const size_t lengths[] = {60, 1514, 9000, FRAME_MAX};
	struct fixture f;
	size_t len, got;

	start(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		/* A small one in front, so that the large one finds something that waits. */
		send_frame(&f, frame, 42, 9);
		send_frame(&f, frame, lengths[i], (uint8_t)i);
		serve(&f);
		len = put_frame(wanted, 42, 9);
		len += put_frame(wanted + len, lengths[i], (uint8_t)i);
		got = peer_reads(&f, bytes, sizeof(bytes));
		assert_int_equal(got, len);
		assert_memory_equal(bytes, wanted, len);
	}
	/* Neither too short nor too long ones are sent. */
	send_frame(&f, frame, 14, 0);
	f.backend->ops->send(f.backend, &(struct iobuf){frame, 13}, 1);
	f.backend->ops->send(f.backend, (struct iobuf[]){{frame, FRAME_MAX}, {frame, 1}}, 2);
	serve(&f);
	assert_int_equal(peer_reads(&f, bytes, sizeof(bytes)), 18);
	stop(&f);
}

/* Frames are lost as a whole, and only while the peer doesn't read. */
static void test_peer_is_slow(void **state)
{
	static uint8_t frame[FRAME_MAX], *bytes;
	const size_t size = MIB(8);
	struct fixture f;
	size_t got = 0, before, whole = 0;

	start(&f);
	bytes = malloc(size);
	for (unsigned i = 0; i < 4000; i++)
		send_frame(&f, frame, i % 3 ? 1514 : 20000, (uint8_t)i);
	do {
		before = got;
		got += peer_reads(&f, bytes + got, size - got);
		serve(&f);
	} while (got > before);
	for (size_t at = 0; at < got; whole++) {
		uint32_t length;

		assert_true(got - at >= 4);
		memcpy(&length, bytes + at, 4);
		length = ntohl(length);
		assert_true(length == 1514 || length == 20000);
		assert_true(got - at >= 4 + length);
		fill(frame, length, bytes[at + 4]);
		assert_memory_equal(bytes + at + 4, frame, length);
		at += 4 + length;
	}
	assert_in_range(whole, 50, 3999);
	send_frame(&f, frame, 60, 1);
	serve(&f);
	assert_int_equal(peer_reads(&f, bytes, size), 64);
	free(bytes);
	stop(&f);
}

static void test_nonsense(void **state)
{
	static const uint32_t lengths[] = {0, 13, FRAME_MAX + 1, UINT32_MAX};
	static uint8_t frame[100];
	struct fixture f;

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint32_t header = htonl(lengths[i]);

		start(&f);
		peer_writes(&f, frame, put_frame(frame, 60, 0));
		peer_writes(&f, &header, 4);
		serve(&f);
		assert_int_equal(f.frames, 1);
		/* It is over, and harmless. */
		(void)!write(f.peer, frame, 64);
		send_frame(&f, frame, 60, 0);
		f.backend->ops->resume(f.backend);
		serve(&f);
		assert_int_equal(f.frames, 1);
		stop(&f);
	}
}

static void test_peer_leaves(void **state)
{
	static uint8_t frame[20000];
	struct fixture f;

	for (unsigned how = 0; how < 3; how++) {
		start(&f);
		if (how == 1) /* with something on its way in */
			peer_writes(&f, frame, put_frame(frame, 60, 0));
		if (how == 2) /* with something on its way out */
			for (unsigned i = 0; i < 100; i++)
				send_frame(&f, frame, sizeof(frame), 0);
		close(f.peer);
		f.peer = -1;
		send_frame(&f, frame, 60, 0);
		serve(&f);
		send_frame(&f, frame, sizeof(frame), 0);
		f.backend->ops->resume(f.backend);
		serve(&f);
		stop(&f);
	}
}

static void test_nobody_there(void **state)
{
	struct net_backend *backend;
	char why[256] = "";

	assert_int_equal(net_stream_connect("/nonexistent/socket", NULL, &backend, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/socket"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_guest), cmocka_unit_test(test_no_room), cmocka_unit_test(test_from_guest),
		cmocka_unit_test(test_peer_is_slow), cmocka_unit_test(test_nonsense), cmocka_unit_test(test_peer_leaves),
		cmocka_unit_test(test_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
