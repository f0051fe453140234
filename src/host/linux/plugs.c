/* See plugs.h. */
#include "host/linux/plugs.h"
#include "backend/net_stream.h"
#include "backend/net_tap.h"
#include "board/board.h"
#include "host/linux/nets.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX 100

struct plug {
	struct board_plug plug;
	bool leaving;
	struct plug *next;
};

struct plugs {
	struct plugs_options options;
	struct vm *vm;
	struct block_late *late;
	struct plug *first;
};

/* ---- which there are ---- */

static struct plug *find(const struct plugs *plugs, const char *id)
{
	for (struct plug *plug = plugs->first; plug; plug = plug->next)
		if (!strcmp(plug->plug.id, id))
			return plug;
	return NULL;
}

/* "disk1", the lowest number that neither a device has nor one that is about to go. */
static int choose_id(const struct plugs *plugs, const char *kind, unsigned *number, char id[PLUG_ID_SIZE])
{
	for (*number = 0; *number < NUMBERS_MAX; ++*number) {
		snprintf(id, PLUG_ID_SIZE, "%s%u", kind, *number);
		if (!device_find(plugs->vm, id) && !find(plugs, id))
			return 0;
	}
	return -ENOSPC;
}

json_t *plugs_list(const struct plugs *plugs)
{
	json_t *list = json_array();

	for (const struct plug *plug = plugs->first; list && plug; plug = plug->next)
		json_array_append_new(list, json_pack("{s:s, s:b}", "id", plug->plug.id, "leaving", plug->leaving));
	return list;
}

/* ---- coming and going ---- */

static void close_backends(struct plug *plug)
{
	if (plug->plug.disk)
		plug->plug.disk->ops->destroy(plug->plug.disk);
	if (plug->plug.net)
		plug->plug.net->ops->destroy(plug->plug.net);
	free(plug);
}

static void on_gone(struct board_plug *board_plug)
{
	struct plug *plug = container_of(board_plug, struct plug, plug);
	struct plugs *plugs = board_plug->ctx;
	struct plug **link = &plugs->first;

	while (*link != plug)
		link = &(*link)->next;
	*link = plug->next;
	close_backends(plug);
}

/* Takes the backends over. */
static int attach(struct plugs *plugs, const struct board_plug *what, char *why, size_t why_size)
{
	struct plug *plug = calloc(1, sizeof(*plug));
	int r;

	if (!plug) {
		if (what->disk)
			what->disk->ops->destroy(what->disk);
		if (what->net)
			what->net->ops->destroy(what->net);
		snprintf(why, why_size, "no memory is left for the device: free some");
		return -ENOMEM;
	}
	plug->plug = *what;
	plug->plug.gone = on_gone;
	plug->plug.ctx = plugs;
	r = plugs->vm->board->attach(plugs->vm, &plug->plug, why, why_size);
	if (r) {
		close_backends(plug);
		return r;
	}
	plug->next = plugs->first;
	plugs->first = plug;
	return 0;
}

static int prepare(const struct plugs *plugs, const char *kind, unsigned *number, char id[PLUG_ID_SIZE], char *why, size_t why_size)
{
	int r = choose_id(plugs, kind, number, id);

	if (r)
		snprintf(why, why_size, "this VM has %d devices of that kind; detach one", NUMBERS_MAX);
	return r;
}

int plugs_attach_disk(struct plugs *plugs, const struct block_late_disk *disk, const struct plug_device *device, char id[PLUG_ID_SIZE], char *why,
		      size_t why_size)
{
	struct board_plug plug = {.queues = device->queues, .rate = device->rate};
	unsigned number;
	int r = prepare(plugs, "disk", &number, id, why, why_size);

	if (!r)
		r = block_late_open(plugs->late, disk, &plug.disk, why, why_size);
	if (r)
		return r;
	memcpy(plug.id, id, sizeof(plug.id));
	return attach(plugs, &plug, why, why_size);
}

int plugs_attach_net(struct plugs *plugs, bool tap, const char *name, int *fds, unsigned count, const struct plug_device *device,
		     char id[PLUG_ID_SIZE], char *why, size_t why_size)
{
	struct board_plug plug = {.queues = device->queues, .rate = device->rate};
	unsigned number;
	int r = prepare(plugs, "net", &number, id, why, why_size);

	if (r)
		return r;
	if (tap)
		r = net_tap_adopt(name, fds, count, plugs->options.loop, &plug.net, why, why_size);
	else
		r = net_stream_open(fds[0], name, plugs->options.loop, &plug.net, why, why_size);
	for (unsigned i = 0; i < (tap ? count : 1); i++)
		fds[i] = -1;
	if (r)
		return r;
	if (memcmp(device->mac, (const uint8_t[6]){0}, sizeof(device->mac)))
		memcpy(plug.net->mac, device->mac, sizeof(device->mac));
	else
		nets_default_mac(number, plug.net->mac);
	memcpy(plug.id, id, sizeof(plug.id));
	return attach(plugs, &plug, why, why_size);
}

int plugs_detach(struct plugs *plugs, const char *id, bool now, char *why, size_t why_size)
{
	struct plug *plug = find(plugs, id);

	if (plug) {
		plug->leaving = true;
		plugs->vm->board->detach(plugs->vm, &plug->plug, now);
		return 0;
	}
	if (device_find(plugs->vm, id))
		snprintf(why, why_size, "%.15s was there from the start: only what was attached can be detached", id);
	else
		snprintf(why, why_size, "this VM has no device %.15s; `devices` lists what was attached", id);
	return -ENODEV;
}

/* ---- life ---- */

int plugs_create(const struct plugs_options *options, struct plugs **out, char *why, size_t why_size)
{
	const struct block_late_options late = {
		.loop = options->loop, .enter_worker = options->enter_worker, .enter_ctx = options->enter_ctx};
	struct plugs *plugs = calloc(1, sizeof(*plugs));
	int r = plugs ? block_late_create(&late, &plugs->late) : -ENOMEM;

	if (r) {
		snprintf(why, why_size, "the host refuses a thread for disks that are attached later (%s): raise its limits", strerror(-r));
		free(plugs);
		return r;
	}
	plugs->options = *options;
	*out = plugs;
	return 0;
}

void plugs_start(struct plugs *plugs, struct vm *vm)
{
	plugs->vm = vm;
}

void plugs_close(struct plugs *plugs)
{
	if (!plugs)
		return;
	while (plugs->first) {
		struct plug *plug = plugs->first;

		plugs->first = plug->next;
		close_backends(plug);
	}
	block_late_destroy(plugs->late);
	free(plugs);
}
