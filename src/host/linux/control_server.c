/* A VM's control socket; see control_server.h. */
#include "host/linux/control_server.h"
#include "board/board.h"
#include "control/control.h"
#include "core/vm.h"
#include "host/linux/gdb_server.h"
#include "host/linux/registry.h"
#include "host/linux/socket.h"
#include "host/linux/stats.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTERVAL_NS 1000000000ull
#define CLIENTS_MAX 8
#define TEXT_MAX    65536 /* of the figures */

struct client {
	struct control *control;
	struct watch watch; /* fd -1: free */
	bool watches;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

struct control {
	struct control_options options;
	struct vm *vm; /* NULL: not started */
	struct watch listener;
	struct timer timer;
	struct client clients[CLIENTS_MAX];
	unsigned watching;
	struct stats stats;
	char text[TEXT_MAX];
};

/* ---- what the protocol asks of the VM ---- */

static const char *state_of(const struct control *control)
{
	if (gdb_server_holds(control->options.gdb))
		return "debugged";
	return vm_paused(control->vm) ? "paused" : "running";
}

static json_t *vm_status(void *ctx)
{
	const struct control *control = ctx;
	const struct vm *vm = control->vm;
	/* (No string if the path is not UTF-8.) */
	json_t *console = control->options.console ? json_string(control->options.console) : NULL;
	double seconds = (double)(platform_clock_ns() - control->stats.run_ns) / 1e9;
	char number[24];

	snprintf(number, sizeof(number), "%ld", (long)getpid());
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:f, s:b, s:o}", "name",
			 control->options.name ? control->options.name : number, "pid", (json_int_t)getpid(), "state", state_of(control),
			 "engine", vm->engine->name, "board", vm->board->name, "cpus", (json_int_t)vm->vcpu_count, "memory",
			 (json_int_t)mem_size(&vm->mem), "seconds", seconds, "gdb", control->options.gdb != NULL, "console",
			 console ? console : json_null());
}

/* `name: value` lines into an object. */
static json_t *object_of(char *text)
{
	json_t *object = json_object();

	for (char *line = text, *end; object && (end = strchr(line, '\n')); line = end + 1) {
		char *colon;

		*end = 0;
		colon = strstr(line, ": ");
		if (!colon)
			continue;
		*colon = 0;
		json_object_set_new(object, line, json_string(colon + 2));
	}
	return object;
}

static json_t *vm_statistics(void *ctx)
{
	struct control *control = ctx;
	FILE *out = fmemopen(control->text, sizeof(control->text), "w");

	if (!out)
		return NULL;
	stats_now(&control->stats, control->vm, out);
	fclose(out);
	control->text[TEXT_MAX - 1] = 0;
	return object_of(control->text);
}

static const char *vm_resume_it(struct control *control)
{
	if (gdb_server_holds(control->options.gdb))
		return "gdb has stopped it: continue there, or detach";
	vm_resume(control->vm);
	return NULL;
}

static const char *vm_act(void *ctx, enum control_action action)
{
	struct control *control = ctx;
	struct vm *vm = control->vm;

	switch (action) {
	case CONTROL_PAUSE:
		vm_pause(vm);
		return NULL;
	case CONTROL_RESUME: return vm_resume_it(control);
	case CONTROL_POWER_BUTTON:
		if (!vm->board->power_button)
			return "this board has no power button; use quit";
		vm->board->power_button(vm);
		return NULL;
	case CONTROL_RESET:
		vm_stop(vm, VM_STOP_RESET, 0);
		return NULL;
	case CONTROL_QUIT:
		vm_stop(vm, VM_STOP_QUIT, 0);
		return NULL;
	}
	return "this VM does not know the command";
}

static const struct control_target vm_target = {.status = vm_status, .statistics = vm_statistics, .act = vm_act};

/* ---- clients ---- */

static void measure(struct control *control, bool on)
{
	struct vm *vm = control->vm;

	for (unsigned i = 0; vm->engine->measure && i < vm->vcpu_count; i++)
		vm->engine->measure(vm->vcpus[i], on);
}

static void drop(struct client *client)
{
	struct control *control = client->control;

	loop_unwatch(control->options.loop, &client->watch);
	close(client->watch.fd);
	client->watch.fd = -1;
	if (client->watches && --control->watching == 0) {
		loop_timer_cancel(control->options.loop, &control->timer);
		measure(control, false);
	}
	client->watches = false;
}

/* Takes the text. False: the client is gone. */
static bool send_text(struct client *client, char *text)
{
	size_t len = text ? strlen(text) : 0;
	bool sent = len && write(client->watch.fd, text, len) == (ssize_t)len;

	free(text);
	if (!sent)
		drop(client);
	return sent;
}

static void on_timer(void *ctx)
{
	struct control *control = ctx;
	char *text = control_figures(vm_statistics(control));

	loop_timer_arm(control->options.loop, &control->timer, platform_clock_ns() + INTERVAL_NS);
	for (unsigned i = 0; text && i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];

		if (client->watch.fd >= 0 && client->watches)
			(void)send_text(client, strdup(text));
	}
	free(text);
}

/* The first figures come at once. */
static void begin_watching(struct client *client)
{
	struct control *control = client->control;

	if (client->watches)
		return;
	client->watches = true;
	if (control->watching++ == 0) {
		measure(control, true);
		loop_timer_arm(control->options.loop, &control->timer, platform_clock_ns() + INTERVAL_NS);
	}
	(void)send_text(client, control_figures(vm_statistics(control)));
}

static bool serve_line(struct client *client, const char *line, size_t len)
{
	struct control *control = client->control;
	bool watch = false;

	if (!send_text(client, control_answer(&vm_target, control, line, len, &watch)))
		return false;
	if (watch)
		begin_watching(client);
	return client->watch.fd >= 0;
}

static void on_client(void *ctx, uint32_t events)
{
	struct client *client = ctx;
	ssize_t n = read(client->watch.fd, client->line + client->len, sizeof(client->line) - client->len);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(client);
		return;
	}
	client->len += (size_t)n;
	while ((end = memchr(client->line, '\n', client->len))) {
		size_t len = (size_t)(end - client->line);

		if (len && !serve_line(client, client->line, len))
			return;
		client->len -= len + 1;
		memmove(client->line, end + 1, client->len);
	}
	if (client->len == sizeof(client->line) && send_text(client, strdup(control_too_long)))
		drop(client);
}

static void on_listener(void *ctx, uint32_t events)
{
	struct control *control = ctx;
	int fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *client = control->clients;

	if (fd < 0)
		return;
	while (client < control->clients + CLIENTS_MAX && client->watch.fd >= 0)
		client++;
	if (client == control->clients + CLIENTS_MAX) {
		close(fd);
		return;
	}
	client->control = control;
	client->len = 0;
	client->watches = false;
	watch_init(&client->watch, fd, on_client, client);
	if (loop_watch(control->options.loop, &client->watch, EPOLLIN | EPOLLRDHUP) < 0) {
		close(fd);
		client->watch.fd = -1;
	}
}

/* ---- life ---- */

int control_open(const struct control_options *options, struct control **out, char *why, size_t why_size)
{
	char path[REGISTRY_PATH_MAX];
	struct control *control;
	int fd, r = registry_open(why, why_size);

	if (r < 0)
		return r;
	if (!registry_path(path, sizeof(path), (long)getpid(), "sock")) {
		snprintf(why, why_size, "the path of XDG_RUNTIME_DIR is too long for a socket in it; choose a shorter one");
		return -ENAMETOOLONG;
	}
	fd = socket_listen_unix(path);
	if (fd < 0) {
		snprintf(why, why_size, "cannot listen at '%s': %s", path, strerror(-fd));
		return fd;
	}
	control = calloc(1, sizeof(*control));
	if (!control) {
		snprintf(why, why_size, "out of memory for the control socket; free some on the host");
		close(fd);
		return -ENOMEM;
	}
	/* While files can be opened: it wants random bytes. */
	json_object_seed(0);
	control->options = *options;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		control->clients[i].watch.fd = -1;
	watch_init(&control->listener, fd, on_listener, control);
	*out = control;
	return 0;
}

void control_start(struct control *control, struct vm *vm)
{
	if (!control)
		return;
	control->vm = vm;
	control->stats.run_ns = platform_clock_ns();
	timer_init(&control->timer, vm, on_timer, control);
	/* Without it nobody is served. */
	if (loop_watch(control->options.loop, &control->listener, EPOLLIN) < 0)
		control->vm = NULL;
}

void control_stop(struct control *control)
{
	if (!control || !control->vm)
		return;
	loop_unwatch(control->options.loop, &control->listener);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i].watch.fd >= 0)
			drop(&control->clients[i]);
	control->vm = NULL;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	control_stop(control);
	close(control->listener.fd);
	free(control);
}
