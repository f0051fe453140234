/* Vsock's streams as Unix sockets, on a real loop and with a real broker: requests in one and in many pieces, what is no request, data that
 * comes with it, the guest's calls, and what the broker may not.
 *
 * Example: `meson test -C build --suite backend vsock_unix`
 */
#include "backend/vsock_unix.h"
#include "host/linux/broker.h"
#include "host/linux/loop.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STREAMS 8

/* The device's part. */
struct owner {
	struct vsock_stream *stream;
	uint32_t port;
	bool in, out;
	bool answered;
	int status;
};

struct fixture {
	char base[64], path[80];
	struct loop *loop;
	struct vsock_backend *backend;
	struct owner owners[STREAMS];
	unsigned count;
	bool refuses;
};

static void *on_incoming(void *ctx, struct vsock_stream *stream, uint32_t port)
{
	struct fixture *f = ctx;

	if (f->refuses)
		return NULL;
	f->owners[f->count] = (struct owner){.stream = stream, .port = port};
	return &f->owners[f->count++];
}

static void on_connected(void *owner, int status)
{
	((struct owner *)owner)->answered = true;
	((struct owner *)owner)->status = status;
}

static void on_ready(void *ctx, bool in, bool out)
{
	struct owner *owner = ctx;

	owner->in |= in;
	owner->out |= out;
}

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

/* Serves for some milliseconds. */
static void run(struct fixture *f, unsigned ms)
{
	struct timer timer;

	timer_init(&timer, NULL, stop_loop, f->loop);
	loop_timer_arm(f->loop, &timer, platform_clock_ns() + ms * 1000000ull);
	assert_int_equal(loop_run(f->loop), 0);
}

static void start(struct fixture *f)
{
	char why[256];

	memset(f, 0, sizeof(*f));
	snprintf(f->base, sizeof(f->base), "/tmp/ruse-vsock-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	snprintf(f->path, sizeof(f->path), "%s/v", f->base);
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	assert_int_equal(vsock_unix_open(f->path, true, f->loop, &f->backend, why, sizeof(why)), 0);
	f->backend->ctx = f;
	f->backend->incoming = on_incoming;
	f->backend->connected = on_connected;
	f->backend->ready = on_ready;
}

static void stop(struct fixture *f)
{
	char command[100];

	f->backend->ops->destroy(f->backend);
	loop_destroy(f->loop);
	snprintf(command, sizeof(command), "rm -r %s", f->base);
	assert_int_equal(system(command), 0);
}

static int dial(struct fixture *f, const char *text)
{
	int fd = socket_connect_unix(f->path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

/* What is there to be read, without waiting; -1: nothing, 0: the end. */
static ssize_t hear(int fd, char *buf, size_t size)
{
	struct pollfd poll_on = {.fd = fd, .events = POLLIN};
	ssize_t n = poll(&poll_on, 1, 0) == 1 ? read(fd, buf, size - 1) : -1;

	if (n < 0 && poll_on.revents)
		n = 0; /* reset: closed with our words unread */
	buf[n > 0 ? n : 0] = 0;
	return n;
}

static void expect_closed(int fd)
{
	char buf[10];

	assert_int_equal(hear(fd, buf, sizeof(buf)), 0);
	close(fd);
}

static void host_calls(void **state)
{
	static const char *const pieces[] = {"C", "ONN", "ECT", " ", "42949", "67295"};
	struct fixture f;
	char buf[100];
	int fd, other;
	int64_t n;

	start(&f);
	/* Together with data, which waits; what follows comes behind it. */
	fd = dial(&f, "CONNECT 1024\nfirst ");
	run(&f, 30);
	assert_int_equal(f.count, 1);
	assert_int_equal(f.owners[0].port, 1024);
	assert_int_equal(hear(fd, buf, sizeof(buf)), -1);
	f.backend->ops->accepted(f.owners[0].stream, 77);
	assert_int_equal(hear(fd, buf, sizeof(buf)), 6);
	assert_string_equal(buf, "OK 77\n");
	n = f.backend->ops->read(f.owners[0].stream, (const struct iobuf[]){{buf, 4}, {buf + 4, 20}}, 2);
	assert_int_equal(n, 6);
	assert_memory_equal(buf, "first ", 6);
	assert_int_equal(f.backend->ops->read(f.owners[0].stream, &(struct iobuf){buf, 10}, 1), -EAGAIN);
	/* Nothing is said that isn't asked for. */
	assert_int_equal(write(fd, "second", 6), 6);
	run(&f, 20);
	assert_false(f.owners[0].in);
	f.backend->ops->watch(f.owners[0].stream, true, false);
	run(&f, 20);
	assert_true(f.owners[0].in);
	assert_int_equal(f.backend->ops->read(f.owners[0].stream, &(struct iobuf){buf, 10}, 1), 6);
	assert_int_equal(f.backend->ops->write(f.owners[0].stream, &(struct iobuf){buf, 6}, 1), 6);
	f.backend->ops->finish(f.owners[0].stream);
	assert_int_equal(hear(fd, buf, sizeof(buf)), 6);
	assert_int_equal(hear(fd, buf, sizeof(buf)), 0);
	f.backend->ops->close(f.owners[0].stream);
	close(fd);
	/* In pieces, and the largest port. */
	other = dial(&f, "");
	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
		assert_int_equal(write(other, pieces[i], strlen(pieces[i])), strlen(pieces[i]));
		run(&f, 5);
		assert_int_equal(f.count, 1);
	}
	assert_int_equal(write(other, "\n", 1), 1);
	run(&f, 10);
	assert_int_equal(f.count, 2);
	assert_int_equal(f.owners[1].port, UINT32_MAX);
	f.backend->ops->close(f.owners[1].stream);
	expect_closed(other);
	/* Nobody wants it. */
	f.refuses = true;
	fd = dial(&f, "CONNECT 5\n");
	run(&f, 20);
	expect_closed(fd);
	stop(&f);
}

static void no_requests(void **state)
{
	static const char *const texts[] = {"CONNECT \n", "CONNECT\n", "connect 5\n", "CONNECT 5 \n", "CONNECT -5\n", "CONNECT 4294967296\n",
					    "\n", "CONNECT 00000000000000000000000000000000000005\n", "OK"};
	int fds[ARRAY_SIZE(texts)], silent[70];
	struct fixture f;
	char buf[10];

	start(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		fds[i] = dial(&f, texts[i]);
	run(&f, 50);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		expect_closed(fds[i]);
	/* Who says nothing is kept, up to a number; the oldest goes first. */
	for (unsigned i = 0; i < 70; i++) {
		silent[i] = dial(&f, "");
		run(&f, 2);
	}
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(hear(silent[i], buf, sizeof(buf)), i < 6 ? 0 : -1);
	for (unsigned i = 0; i < 70; i++)
		close(silent[i]);
	run(&f, 20);
	assert_int_equal(f.count, 0);
	stop(&f);
}

static void guest_calls(void **state)
{
	struct fixture f;
	char path[100], buf[10];
	int listener, fd;

	start(&f);
	snprintf(path, sizeof(path), "%s_1024", f.path);
	listener = socket_listen_unix(path);
	assert_true(listener >= 0);
	f.owners[0].stream = f.backend->ops->connect(f.backend, 1024, &f.owners[0]);
	f.owners[1].stream = f.backend->ops->connect(f.backend, 1025, &f.owners[1]);
	/* Changed its mind before the answer. */
	f.owners[2].stream = f.backend->ops->connect(f.backend, 1024, &f.owners[2]);
	assert_true(f.owners[0].stream && f.owners[1].stream && f.owners[2].stream);
	f.backend->ops->close(f.owners[2].stream);
	for (unsigned i = 0; i < 500 && !(f.owners[0].answered && f.owners[1].answered); i++)
		run(&f, 10);
	run(&f, 50);
	assert_true(f.owners[0].answered && f.owners[1].answered && !f.owners[2].answered);
	assert_int_equal(f.owners[0].status, 0);
	assert_int_equal(f.owners[1].status, -ENOENT);
	f.backend->ops->close(f.owners[1].stream);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(f.backend->ops->write(f.owners[0].stream, &(struct iobuf){(void *)(uintptr_t)"hello", 5}, 1), 5);
	assert_int_equal(hear(fd, buf, sizeof(buf)), 5);
	close(fd);
	f.backend->ops->watch(f.owners[0].stream, true, false);
	run(&f, 20);
	assert_true(f.owners[0].in);
	assert_int_equal(f.backend->ops->read(f.owners[0].stream, &(struct iobuf){buf, 10}, 1), 0);
	f.backend->ops->close(f.owners[0].stream);
	/* The one that nobody waited for was closed. */
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	expect_closed(fd);
	close(listener);
	stop(&f);
}

static void broker_alone(void **state)
{
	struct broker_request request = {.id = 5, .port = 9};
	struct broker_reply reply;
	struct pollfd poll_on;
	char why[256];
	int fd = broker_start("/tmp/ruse-no-such-directory/v", true, why, sizeof(why)), connection;

	assert_true(fd >= 0);
	poll_on = (struct pollfd){.fd = fd, .events = POLLIN};
	assert_int_equal(broker_receive(fd, &reply, &connection), -EAGAIN);
	assert_int_equal(write(fd, &request, sizeof(request)), sizeof(request));
	assert_int_equal(poll(&poll_on, 1, 5000), 1);
	assert_int_equal(broker_receive(fd, &reply, &connection), 0);
	assert_int_equal(reply.id, 5);
	assert_int_equal(reply.status, -ENOENT);
	assert_int_equal(connection, -1);
	/* It doesn't go on with somebody who doesn't speak its language. */
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(poll(&poll_on, 1, 5000), 1);
	assert_int_equal(broker_receive(fd, &reply, &connection), -EPIPE);
	close(fd);
}

static void cannot_listen(void **state)
{
	struct vsock_backend *backend;
	struct loop *loop;
	char why[256];

	loop = loop_create(why, sizeof(why));
	assert_non_null(loop);
	assert_int_equal(vsock_unix_open("/nonexistent/v", true, loop, &backend, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/v"));
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_calls),  cmocka_unit_test(no_requests), cmocka_unit_test(guest_calls),
		cmocka_unit_test(broker_alone), cmocka_unit_test(cannot_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
