/* gdb's socket; see gdb_server.h.
 *
 * What comes in is looked at only while nothing waits to go out: a client that does not read is not served, and costs no more than the
 * buffers here.
 */
#include "host/linux/gdb_server.h"
#include "control/gdb_vm.h"
#include "core/debug.h"
#include "core/vm.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_SIZE  4096
#define OUT_SIZE (2 * GDB_SEND_MAX)

struct gdb_server {
	struct loop *loop;
	struct vm *vm; /* NULL: not started, or at its end */
	struct vm *debugged;
	struct gdb *gdb;
	struct watch listener, client; /* client.fd -1: there is none */
	bool lost;                     /* the client takes no more */
	size_t in_len, in_done, out_len;
	uint8_t in[IN_SIZE], out[OUT_SIZE];
};

static void send_bytes(void *ctx, const void *bytes, size_t len)
{
	struct gdb_server *server = ctx;

	if (len > OUT_SIZE - server->out_len) {
		server->lost = true;
		return;
	}
	memcpy(server->out + server->out_len, bytes, len);
	server->out_len += len;
}

static void flush(struct gdb_server *server)
{
	ssize_t n;

	while (server->out_len && !server->lost) {
		n = write(server->client.fd, server->out, server->out_len);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			server->lost = true;
			return;
		}
		server->out_len -= (size_t)n;
		memmove(server->out, server->out + n, server->out_len);
	}
}

static void drop(struct gdb_server *server)
{
	loop_unwatch(server->loop, &server->client);
	close(server->client.fd);
	server->client.fd = -1;
	gdb_disconnect(server->gdb);
	if (server->vm && loop_watch(server->loop, &server->listener, EPOLLIN) < 0)
		log_error("gdb", "cannot wait for another client");
}

/* Serves what there is, and waits for what is needed next. */
static void serve(struct gdb_server *server)
{
	uint32_t events;

	flush(server);
	while (!server->lost && !server->out_len && server->in_done < server->in_len) {
		server->in_done += gdb_receive(server->gdb, server->in + server->in_done, server->in_len - server->in_done);
		flush(server);
	}
	events = server->out_len ? EPOLLOUT : EPOLLIN;
	if (server->lost || (gdb_is_over(server->gdb) && !server->out_len) ||
	    loop_watch(server->loop, &server->client, events) < 0)
		drop(server);
}

static void on_client(void *ctx, uint32_t events)
{
	struct gdb_server *server = ctx;
	ssize_t n;

	if (server->in_done == server->in_len && !server->out_len) {
		n = read(server->client.fd, server->in, IN_SIZE);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			drop(server);
			return;
		}
		server->in_done = 0;
		server->in_len = (size_t)n;
	} else if (!(events & EPOLLOUT)) {
		drop(server); /* it hung up, with our answer unread */
		return;
	}
	serve(server);
}

static void on_listener(void *ctx, uint32_t events)
{
	struct gdb_server *server = ctx;
	int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	watch_init(&server->client, fd, on_client, server);
	if (loop_watch(server->loop, &server->client, EPOLLIN) < 0) {
		close(fd);
		server->client.fd = -1;
		return;
	}
	loop_unwatch(server->loop, &server->listener);
	server->lost = false;
	server->in_len = server->in_done = server->out_len = 0;
	gdb_connect(server->gdb);
}

static void on_stop(void *ctx, unsigned vcpu, const struct debug_event *event)
{
	struct gdb_server *server = ctx;

	gdb_on_stop(server->gdb, vcpu, event);
	if (server->client.fd >= 0)
		serve(server);
}

int gdb_server_open(struct loop *loop, const char *address, struct gdb_server **out, char *why, size_t why_size)
{
	int fd = socket_listen(address, why, why_size);
	struct gdb_server *server;

	if (fd < 0)
		return fd;
	server = calloc(1, sizeof(*server));
	if (!server) {
		snprintf(why, why_size, "out of memory for --gdb; free some on the host");
		close(fd);
		return -ENOMEM;
	}
	server->loop = loop;
	server->client.fd = -1;
	watch_init(&server->listener, fd, on_listener, server);
	*out = server;
	return 0;
}

int gdb_server_start(struct gdb_server *server, struct vm *vm)
{
	int r;

	if (!vm->engine->debug)
		return -EOPNOTSUPP;
	server->gdb = gdb_create(&gdb_vm_target, vm, send_bytes, server);
	if (!server->gdb)
		return -ENOMEM;
	r = debug_create(vm, on_stop, server);
	if (r < 0)
		return r;
	server->vm = server->debugged = vm;
	return loop_watch(server->loop, &server->listener, EPOLLIN);
}

void gdb_server_end(struct gdb_server *server, int status)
{
	if (!server || !server->vm)
		return;
	server->vm = NULL;
	if (server->client.fd >= 0) {
		gdb_on_end(server->gdb, (uint8_t)status);
		flush(server);
		drop(server);
	}
	loop_unwatch(server->loop, &server->listener);
}

void gdb_server_close(struct gdb_server *server)
{
	if (!server)
		return;
	gdb_server_end(server, 0);
	if (server->debugged)
		debug_destroy(server->debugged);
	gdb_destroy(server->gdb);
	close(server->listener.fd);
	free(server);
}

bool gdb_server_holds(const struct gdb_server *server)
{
	return server && server->client.fd >= 0 && debug_stopped(server->vm->debug);
}
