/* Figures of a running VM; see monitor.h.
 *
 * The socket's file stays behind, since the sandbox does not let us remove it; `ruse top` removes those that nobody listens at.
 * What a client does can't hold the VM up: it sends nothing, and if it does not read, it is dropped.
 */
#include "host/linux/monitor.h"
#include "core/vm.h"
#include "host/linux/stats.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define INTERVAL_NS 1000000000ull
#define CLIENTS_MAX 4
/* What a second's figures may take: less than a socket's buffer. */
#define TEXT_MAX    65536

struct client {
	struct monitor *monitor;
	struct watch watch; /* fd -1: free */
};

struct monitor {
	struct loop *loop;
	struct vm *vm; /* NULL: not started */
	struct watch listener;
	struct timer timer;
	struct client clients[CLIENTS_MAX];
	unsigned count;
	struct stats stats;
	char text[TEXT_MAX];
};

bool monitor_directory(char *path, size_t size)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int len = base && base[0] == '/' ? snprintf(path, size, "%s", base) : -1;

	return len > 0 && (size_t)len < size;
}

static void measure(struct monitor *monitor, bool on)
{
	struct vm *vm = monitor->vm;

	for (unsigned i = 0; vm->engine->measure && i < vm->vcpu_count; i++)
		vm->engine->measure(vm->vcpus[i], on);
}

static void drop(struct client *client)
{
	struct monitor *monitor = client->monitor;

	loop_unwatch(monitor->loop, &client->watch);
	close(client->watch.fd);
	client->watch.fd = -1;
	if (--monitor->count == 0) {
		loop_timer_cancel(monitor->loop, &monitor->timer);
		measure(monitor, false);
	}
}

/* It says nothing: it has gone. */
static void on_client(void *ctx, uint32_t events)
{
	drop(ctx);
}

/* The length of the text; 0: there is none. */
static size_t make_text(struct monitor *monitor)
{
	FILE *out = fmemopen(monitor->text, sizeof(monitor->text), "w");
	long len = 0;

	if (!out)
		return 0;
	stats_now(&monitor->stats, monitor->vm, out);
	fputc('\n', out);
	if (fflush(out) == 0)
		len = ftell(out);
	fclose(out);
	return len > 0 ? (size_t)len : 0;
}

static void send_figures(struct client *client, size_t len)
{
	if (write(client->watch.fd, client->monitor->text, len) != (ssize_t)len)
		drop(client);
}

static void on_timer(void *ctx)
{
	struct monitor *monitor = ctx;
	size_t len = make_text(monitor);

	loop_timer_arm(monitor->loop, &monitor->timer, platform_clock_ns() + INTERVAL_NS);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (monitor->clients[i].watch.fd >= 0)
			send_figures(&monitor->clients[i], len);
}

static void on_listener(void *ctx, uint32_t events)
{
	struct monitor *monitor = ctx;
	int fd = accept4(monitor->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *client = monitor->clients;

	if (fd < 0)
		return;
	while (client < monitor->clients + CLIENTS_MAX && client->watch.fd >= 0)
		client++;
	if (client == monitor->clients + CLIENTS_MAX) {
		close(fd);
		return;
	}
	client->monitor = monitor;
	watch_init(&client->watch, fd, on_client, client);
	if (loop_watch(monitor->loop, &client->watch, EPOLLIN | EPOLLRDHUP) < 0) {
		close(fd);
		client->watch.fd = -1;
		return;
	}
	if (monitor->count++ == 0) {
		measure(monitor, true);
		loop_timer_arm(monitor->loop, &monitor->timer, platform_clock_ns() + INTERVAL_NS);
	}
	send_figures(client, make_text(monitor));
}

/* A listening descriptor, or -1. */
static int listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[sizeof(address.sun_path)];
	int fd, len;

	if (!monitor_directory(directory, sizeof(directory)))
		return -1;
	len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/ruse-%d.sock", directory, (int)getpid());
	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return -1;
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, CLIENTS_MAX) == 0)
		return fd;
	close(fd);
	return -1;
}

struct monitor *monitor_open(struct loop *loop)
{
	int fd = listen_here();
	struct monitor *monitor = fd < 0 ? NULL : calloc(1, sizeof(*monitor));

	if (!monitor) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	monitor->loop = loop;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		monitor->clients[i].watch.fd = -1;
	watch_init(&monitor->listener, fd, on_listener, monitor);
	return monitor;
}

void monitor_start(struct monitor *monitor, struct vm *vm)
{
	if (!monitor)
		return;
	monitor->vm = vm;
	monitor->stats.run_ns = platform_clock_ns();
	timer_init(&monitor->timer, vm, on_timer, monitor);
	/* Without it nobody is served. */
	if (loop_watch(monitor->loop, &monitor->listener, EPOLLIN) < 0)
		monitor->vm = NULL;
}

void monitor_stop(struct monitor *monitor)
{
	if (!monitor || !monitor->vm)
		return;
	loop_unwatch(monitor->loop, &monitor->listener);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (monitor->clients[i].watch.fd >= 0)
			drop(&monitor->clients[i]);
	monitor->vm = NULL;
}

void monitor_close(struct monitor *monitor)
{
	if (!monitor)
		return;
	monitor_stop(monitor);
	close(monitor->listener.fd);
	free(monitor);
}
