/* See ctl_attach.h. */
#include "cli/ctl_attach.h"
#include "backend/net_tap.h"
#include "cli/commands.h"
#include "cli/config_json.h"
#include "cli/options.h"
#include "cli/vms.h"
#include "disk/image.h"
#include "disk/nbd_client.h"
#include "host/linux/net_process.h"
#include "host/linux/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX   32
#define PATIENCE_MS 30000 /* a guest blinks for five seconds, in case that the button was pressed by mistake */
#define STEP_MS     100

struct handover {
	json_t *arguments;
	int files[FILES_MAX];
	unsigned count;
};

/* ---- disks ---- */

/* What disks and cards have in common. */
static void add_shape(json_t *arguments, unsigned queues, const struct rate_limit *rate)
{
	if (queues)
		json_object_set_new(arguments, "queues", json_integer(queues));
	if (rate->bytes.per_second || rate->ops.per_second)
		json_object_set_new(arguments, "rate", config_json_print_rate(rate));
}

static int check_late(const struct disk_config *disk, char *why, size_t why_size)
{
	if (nbd_client_is_uri(disk->path)) {
		snprintf(why, why_size, "the NBD export %s can't be attached while the VM runs: give it to ruse run with --disk", disk->path);
		return -EINVAL;
	}
	if (disk->interface == DISK_VIRTIO)
		return 0;
	snprintf(why, why_size, "a disk that is attached is a virtio disk: leave out if=");
	return -EINVAL;
}

/* Opens and checks all layers; the VM locks them itself when we have given them back. */
static int open_layers(const struct disk_config *disk, struct handover *handover, char *why, size_t why_size)
{
	const struct disk_image_options options = {.path = disk->path,
						   .format = disk->format ? disk_format_find(disk->format) : DISK_FORMAT_AUTO,
						   .backing_dir = disk->backing,
						   .writable = !disk->read_only};
	struct disk_image *image;
	int r = disk_image_open(&options, &image, why, why_size);

	if (r < 0)
		return r;
	for (const struct disk_image *layer = image; layer && r == 0; layer = layer->backing) {
		int fd = fcntl(host_file_buffered_fd(layer->file), F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			r = -errno;
			snprintf(why, why_size, "%s can't be handed over: %s", layer->path, strerror(-r));
		} else {
			handover->files[handover->count++] = fd;
		}
	}
	(void)disk_image_close(image);
	return r;
}

static int prepare_disk(const struct disk_config *disk, struct handover *handover, char *why, size_t why_size)
{
	int r = check_late(disk, why, why_size);

	if (!r)
		r = open_layers(disk, handover, why, why_size);
	if (r)
		return r;
	handover->arguments = json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:b}", "device", "disk", "name", disk->path, "serial",
						disk->serial, "format", disk->format, "cache", disk->cache, "read-only", disk->read_only);
	add_shape(handover->arguments, disk->queues, &disk->rate);
	return 0;
}

/* ---- networks ---- */

static int open_user(const struct net_config *net, struct handover *handover, char *why, size_t why_size)
{
	struct net_user_options options = {.forward_count = net->forward_count};

	for (unsigned i = 0; i < net->forward_count; i++) {
		options.forward[i].host = net->forward[i].host;
		options.forward[i].guest = net->forward[i].guest;
	}
	handover->files[0] = net_process_start(&options, why, why_size);
	return handover->files[0] < 0 ? handover->files[0] : 1;
}

static int open_stream(const struct net_config *net, struct handover *handover, char *why, size_t why_size)
{
	handover->files[0] = socket_connect_unix(net->target);
	if (handover->files[0] >= 0)
		return 1;
	snprintf(why, why_size, "no network answers at %s (%s): start its other end first", net->target, strerror(-handover->files[0]));
	return handover->files[0];
}

static int prepare_net(const struct net_config *net, struct handover *handover, char *why, size_t why_size)
{
	const bool tap = !strcmp(net->backend, "tap"), user = !strcmp(net->backend, "user");
	char mac[18];
	int r;

	if (tap) {
		r = net_tap_open_queues(net->target, net->queues ? net->queues : NET_TAP_QUEUES_MAX, handover->files, why, why_size);
	} else if (user) {
		r = open_user(net, handover, why, why_size);
	} else if (net->target && strcmp(net->backend, "vhost-user")) {
		r = open_stream(net, handover, why, why_size);
	} else {
		snprintf(why, why_size, "a network that is attached is user, passt=SOCKET, stream=unix:PATH or tap=INTERFACE");
		return -EINVAL;
	}
	if (r < 0)
		return r;
	handover->count = (unsigned)r;
	handover->arguments =
		json_pack("{s:s, s:s}", "device", tap ? "tap" : "stream", "name", net->target ? net->target : net->backend);
	add_shape(handover->arguments, net->queues, &net->rate);
	if (memcmp(net->mac, (uint8_t[6]){0}, 6)) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1], net->mac[2], net->mac[3], net->mac[4],
			 net->mac[5]);
		json_object_set_new(handover->arguments, "mac", json_string(mac));
	}
	return 0;
}

/* ---- attach ---- */

static int hand_over(const char *name, const struct handover *handover, bool json)
{
	struct vm_link link;
	json_t *value;
	int status = vms_find(name, &link);

	if (status)
		return status;
	value = vms_ask_files(&link, "attach", handover->arguments, handover->files, handover->count);
	vms_close(&link);
	if (!value)
		return 1;
	if (json)
		json_dumpf(value, stdout, JSON_INDENT(2));
	else
		printf("id: %s", json_string_value(json_object_get(value, "id")));
	putchar('\n');
	json_decref(value);
	return 0;
}

static int prepare(struct run_options *options, const char *const *words, struct handover *handover, char *why, size_t why_size)
{
	const bool disk = !strcmp(words[0], "disk");
	int r = disk ? parse_disk(options, words[1], why, why_size) : parse_net(options, words[1], why, why_size);

	if (r)
		return r;
	return disk ? prepare_disk(&options->config.disks[0], handover, why, why_size)
		    : prepare_net(&options->config.nets[0], handover, why, why_size);
}

int ctl_attach(const char *name, const char *const *words, unsigned count, bool json)
{
	struct handover handover = {0};
	struct run_options options;
	char why[512] = "";
	int status = 1;

	if (count != 2 || (strcmp(words[0], "disk") && strcmp(words[0], "net"))) {
		fputs("ruse: ctl needs what to attach, as in `ruse ctl NAME attach disk FILE` or `attach net user`\n", stderr);
		return EXIT_USAGE;
	}
	run_options_init(&options);
	options.config.disk_count = options.config.net_count = 0;
	if (prepare(&options, words, &handover, why, sizeof(why)))
		fprintf(stderr, "ruse: %s\n", why);
	else
		status = hand_over(name, &handover, json);
	json_decref(handover.arguments);
	run_options_free(&options);
	return status; /* and with us go the files */
}

/* ---- detach ---- */

/* Is it still there? */
static bool is_listed(const json_t *list, const char *id)
{
	size_t i;
	json_t *one;

	json_array_foreach(list, i, one)
		if (json_is_string(json_object_get(one, "id")) && !strcmp(json_string_value(json_object_get(one, "id")), id))
			return true;
	return false;
}

static int wait_gone(struct vm_link *link, const char *id)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

	for (unsigned waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		json_t *list = vms_ask(link, "devices");
		bool listed = is_listed(list, id);

		if (!list)
			return 1;
		json_decref(list);
		if (!listed)
			return 0;
		nanosleep(&step, NULL);
	}
	fprintf(stderr, "ruse: the guest does not let go of %s; `ruse ctl NAME detach %s now` takes it away\n", id, id);
	return 1;
}

int ctl_detach(const char *name, const char *const *words, unsigned count)
{
	const bool now = count == 2 && !strcmp(words[1], "now");
	struct vm_link link;
	json_t *arguments, *value;
	int status;

	if (count != 1u + now) {
		fputs("ruse: ctl needs the id of what to detach, as in `ruse ctl NAME detach disk1 [now]`\n", stderr);
		return EXIT_USAGE;
	}
	status = vms_find(name, &link);
	if (status)
		return status;
	arguments = json_pack("{s:s, s:b}", "id", words[0], "now", now);
	value = vms_ask_with(&link, "detach", arguments);
	json_decref(arguments);
	status = value ? wait_gone(&link, words[0]) : 1;
	json_decref(value);
	vms_close(&link);
	return status;
}
