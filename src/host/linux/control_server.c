/* A VM's control socket; see control_server.h. */
#include "host/linux/control_server.h"
#include "board/board.h"
#include "control/control.h"
#include "core/vm.h"
#include "dev/input/input.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/memory.h"
#include "host/linux/gdb_server.h"
#include "host/linux/plugs.h"
#include "host/linux/registry.h"
#include "host/linux/screen.h"
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
#define FILES_MAX   32    /* that come with a request */
#define TEXT_MAX    65536 /* of the figures */

struct client {
	struct control *control;
	struct watch watch; /* fd -1: free */
	bool watches;
	int files[FILES_MAX]; /* that came with what was read last; -1: taken */
	unsigned file_count;
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
	struct client *asking; /* whose request is being answered */
	struct screen_shot shot;
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

static json_t *balloon_status(const struct vm *vm)
{
	struct virtio_balloon_state state;

	if (!vm->balloon)
		return json_null();
	virtio_balloon_look(vm->balloon, &state);
	return json_pack("{s:I, s:I, s:I}", "target", (json_int_t)state.target, "size", (json_int_t)state.size, "reported",
			 (json_int_t)state.reported);
}

/* What is plugged beside what it has from the start. */
static json_t *pluggable_status(const struct vm *vm, uint64_t *plugged)
{
	struct virtio_memory_state state;

	*plugged = 0;
	if (!vm->pluggable)
		return json_null();
	virtio_memory_look(vm->pluggable, &state);
	*plugged = state.plugged;
	return json_pack("{s:I, s:I, s:I}", "requested", (json_int_t)state.requested, "plugged", (json_int_t)state.plugged, "max",
			 (json_int_t)state.size);
}

/* What the guest says of its memory. */
static void add_guest_memory(const struct vm *vm, FILE *out)
{
	struct virtio_balloon_state state;

	if (!vm->balloon)
		return;
	virtio_balloon_look(vm->balloon, &state);
	fprintf(out, "balloon: %llu\nballoon reported free: %llu\n", (unsigned long long)state.size, (unsigned long long)state.reported);
	for (enum virtio_balloon_stat i = 0; i < BALLOON_STATS; i++)
		if (state.known[i])
			fprintf(out, "%s: %llu\n", virtio_balloon_stat_name(i), (unsigned long long)state.stats[i]);
}

static json_t *vm_status(void *ctx)
{
	const struct control *control = ctx;
	const struct vm *vm = control->vm;
	/* (No string if the path is not UTF-8.) */
	json_t *console = control->options.console ? json_string(control->options.console) : NULL;
	double seconds = (double)(platform_clock_ns() - control->stats.run_ns) / 1e9;
	uint64_t plugged;
	json_t *pluggable = pluggable_status(vm, &plugged);
	char number[24];

	snprintf(number, sizeof(number), "%ld", (long)getpid());
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:f, s:b, s:o}", "name",
			 control->options.name ? control->options.name : number, "pid", (json_int_t)getpid(), "state", state_of(control),
			 "engine", vm->engine->name, "board", vm->board->name, "cpus", (json_int_t)vm->vcpu_count, "memory",
			 (json_int_t)(vm->config->memory + plugged), "pluggable", pluggable, "balloon", balloon_status(vm), "seconds", seconds, "gdb", control->options.gdb != NULL, "console",
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
	add_guest_memory(control->vm, out);
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

static const char *vm_resize(void *ctx, enum control_size what, uint64_t bytes)
{
	struct control *control = ctx;
	struct vm *vm = control->vm;

	switch (what) {
	case CONTROL_BALLOON:
		if (!vm->balloon)
			return "this VM has no balloon; start it with --balloon on";
		if (bytes >= vm->config->memory)
			return "the balloon can't take all of the guest's memory";
		virtio_balloon_resize(vm->balloon, bytes);
		return NULL;
	case CONTROL_MEMORY:
		if (!vm->pluggable)
			return "this VM's memory can't change; start it with --memory SIZE,max=SIZE";
		if (bytes < vm->config->memory || bytes > vm->config->memory_max)
			return "this VM's memory can be no less than it was given at the start, and no more than its max";
		if (virtio_memory_resize(vm->pluggable, bytes - vm->config->memory) < 0)
			return "memory grows in steps of 2 MiB from what the VM was given at the start";
		return NULL;
	}
	return "this VM does not know the command";
}

static struct plugs *plugs_of(const struct control *control, char *why, size_t why_size)
{
	struct plugs *plugs = control->options.plugs ? *control->options.plugs : NULL;

	if (!plugs)
		snprintf(why, why_size, "nothing can be plugged into the board %s while it runs; start the VM with --board pc",
			 control->vm->board->name);
	return plugs;
}

static const char *const cache_names[] = {[BLOCK_CACHE_WRITEBACK] = "writeback",
					  [BLOCK_CACHE_WRITETHROUGH] = "writethrough",
					  [BLOCK_CACHE_NONE] = "none",
					  [BLOCK_CACHE_UNSAFE] = "unsafe"};

static int attach_disk(struct plugs *plugs, const struct control_device *device, struct client *client, const struct plug_device *shape,
		       char id[PLUG_ID_SIZE], char *why, size_t why_size)
{
	struct block_late_disk disk = {.path = device->name,
				       .serial = device->serial,
				       .read_only = device->read_only,
				       .format = device->format ? disk_format_find(device->format) : DISK_FORMAT_AUTO,
				       .files = client->files,
				       .file_count = client->file_count};
	bool known = !device->cache;

	for (size_t i = 0; i < ARRAY_SIZE(cache_names) && !known; i++) {
		known = !strcmp(device->cache, cache_names[i]);
		disk.cache = (enum block_cache)i;
	}
	if (!known || (device->format && disk.format == DISK_FORMAT_AUTO)) {
		snprintf(why, why_size, "a disk's format is raw or qcow2, its cache writeback, writethrough or unsafe");
		return -EINVAL;
	}
	return plugs_attach_disk(plugs, &disk, shape, id, why, why_size);
}

static json_t *vm_attach(void *ctx, const struct control_device *device, char *why, size_t why_size)
{
	struct control *control = ctx;
	struct client *client = control->asking;
	struct plugs *plugs = plugs_of(control, why, why_size);
	struct plug_device shape = {.queues = device->queues, .rate = device->rate};
	char id[PLUG_ID_SIZE];
	int r;

	if (!plugs)
		return NULL;
	if (!client->file_count) {
		snprintf(why, why_size, "the files of a device come with the request that attaches it; `ruse ctl NAME attach` sends them");
		return NULL;
	}
	memcpy(shape.mac, device->mac, sizeof(shape.mac));
	if (device->kind == CONTROL_DISK)
		r = attach_disk(plugs, device, client, &shape, id, why, why_size);
	else
		r = plugs_attach_net(plugs, device->kind == CONTROL_TAP, device->name, client->files, client->file_count, &shape, id, why,
				     why_size);
	return r ? NULL : json_pack("{s:s}", "id", id);
}

static bool vm_detach(void *ctx, const char *id, bool now, char *why, size_t why_size)
{
	struct plugs *plugs = plugs_of(ctx, why, why_size);

	return plugs && plugs_detach(plugs, id, now, why, why_size) == 0;
}

static bool vm_set_link(void *ctx, const char *id, bool up, char *why, size_t why_size)
{
	const struct control *control = ctx;
	struct device *dev = device_find(control->vm, id);

	if (!dev)
		snprintf(why, why_size, "this VM has no device %.15s; its network cards are net0, net1 and so on", id);
	else if (!dev->ops->set_link || dev->ops->set_link(dev, up))
		snprintf(why, why_size, "%.15s is no network card whose cable is here; those are net0, net1 and so on", id);
	else
		return true;
	return false;
}

static json_t *vm_devices(void *ctx)
{
	const struct control *control = ctx;

	return control->options.plugs && *control->options.plugs ? plugs_list(*control->options.plugs) : json_array();
}

static const char *vm_press(void *ctx, const uint16_t *keys, unsigned count)
{
	const struct control *control = ctx;
	const struct vm *vm = control->vm;
	const bool pointer = keys[0] >= INPUT_BUTTONS;
	struct input_sink *sink = pointer ? vm->pointer : vm->keyboard;
	struct input_event events[4 * CONTROL_KEYS_MAX];
	unsigned n = 0;

	if (!sink)
		return "this VM has no keyboard and pointer that can be used so; start it with --input on";
	for (unsigned i = 0; i < count; i++) {
		if ((keys[i] >= INPUT_BUTTONS) != pointer)
			return "keys and buttons of the pointer are different devices; press them one after the other";
		events[n++] = (struct input_event){INPUT_KEY, keys[i], 1};
		events[n++] = (struct input_event){INPUT_SYN, 0, 0};
	}
	while (count-- > 0) {
		events[n++] = (struct input_event){INPUT_KEY, keys[count], 0};
		events[n++] = (struct input_event){INPUT_SYN, 0, 0};
	}
	return sink->ops->send(sink, events, n);
}

static const char *vm_point(void *ctx, int32_t x, int32_t y)
{
	const struct control *control = ctx;
	const struct input_event events[] = {{INPUT_ABS, INPUT_ABS_X, x}, {INPUT_ABS, INPUT_ABS_Y, y}, {INPUT_SYN, 0, 0}};
	struct input_sink *sink = control->vm->pointer;

	if (!sink)
		return "this VM has no pointer that can be used so; start it with --input on";
	return sink->ops->send(sink, events, ARRAY_SIZE(events));
}

static json_t *vm_screen_text(void *ctx, const char **why)
{
	struct control *control = ctx;

	return screen_text(control->vm, why);
}

static json_t *vm_screenshot(void *ctx, const char **why)
{
	struct control *control = ctx;

	return screen_take(&control->shot, control->vm, why);
}

static json_t *vm_screenshot_part(void *ctx, uint64_t number, uint64_t offset, const char **why)
{
	const struct control *control = ctx;

	return screen_part(&control->shot, number, offset, why);
}

static const struct control_target vm_target = {
	.press = vm_press, .point = vm_point, .screen_text = vm_screen_text, .screenshot = vm_screenshot, .screenshot_part = vm_screenshot_part, .status = vm_status, .statistics = vm_statistics, .act = vm_act, .resize = vm_resize,
	.attach = vm_attach, .detach = vm_detach, .set_link = vm_set_link, .devices = vm_devices};

/* ---- clients ---- */

static void measure(struct control *control, bool on)
{
	struct vm *vm = control->vm;

	for (unsigned i = 0; vm->engine->measure && i < vm->vcpu_count; i++)
		vm->engine->measure(vm->vcpus[i], on);
}

static void close_files(struct client *client)
{
	for (unsigned i = 0; i < client->file_count; i++)
		if (client->files[i] >= 0)
			close(client->files[i]);
	client->file_count = 0;
}

static void drop(struct client *client)
{
	struct control *control = client->control;

	close_files(client);

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
	char *answer;

	control->asking = client;
	answer = control_answer(&vm_target, control, line, len, &watch);
	close_files(client);
	if (!send_text(client, answer))
		return false;
	if (watch)
		begin_watching(client);
	return client->watch.fd >= 0;
}

/* Only of a VM that can do something with them: others' sandbox has no recvmsg(). */
static ssize_t receive_with_files(struct client *client)
{
	struct iovec iov = {client->line + client->len, sizeof(client->line) - client->len};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FILES_MAX * sizeof(int))];
	} room;
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room)};
	ssize_t n = recvmsg(client->watch.fd, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return n;
	close_files(client);
	client->file_count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(client->files, CMSG_DATA(header), client->file_count * sizeof(int));
	return n;
}

static ssize_t receive(struct client *client)
{
	const struct control_options *options = &client->control->options;

	if (options->plugs && *options->plugs)
		return receive_with_files(client);
	return read(client->watch.fd, client->line + client->len, sizeof(client->line) - client->len);
}

static void on_client(void *ctx, uint32_t events)
{
	struct client *client = ctx;
	ssize_t n = receive(client);
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
	client->file_count = 0;
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
	screen_forget(&control->shot);
	free(control);
}
