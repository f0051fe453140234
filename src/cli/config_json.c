/* The VM description as JSON; see config_json.h. */
#include "cli/config_json.h"

#include "arch/x86_64/cpu_model.h"
#include "board/board.h"
#include "core/trace.h"
#include "dev/virtio/virtio.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct run_options *options;
	const char *path;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reader *reader, const char *format, ...)
{
	va_list args;
	int len = snprintf(reader->why, reader->why_size, "%s: ", reader->path);

	va_start(args, format);
	if (len >= 0 && (size_t)len < reader->why_size)
		vsnprintf(reader->why + len, reader->why_size - (size_t)len, format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- one key each ---- */

static int read_text(struct reader *reader, const char *key, json_t *value, const char **where)
{
	if (!json_is_string(value))
		return refuse(reader, "\"%s\" must be a string", key);
	*where = strings_copy(&reader->options->strings, json_string_value(value), json_string_length(value));
	return 0;
}

static int read_flag(struct reader *reader, const char *key, json_t *value, bool *where)
{
	if (!json_is_boolean(value))
		return refuse(reader, "\"%s\" must be true or false", key);
	*where = json_is_true(value);
	return 0;
}

static int read_pages(struct reader *reader, const char *key, json_t *value, uint64_t *where)
{
	uint64_t bytes = 0;
	bool good = json_is_string(value) ? parse_size(json_string_value(value), &bytes) : json_is_integer(value);

	if (json_is_integer(value))
		bytes = json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	if (!good || !bytes || bytes % PAGE_SIZE)
		return refuse(reader, "\"%s\" must be a size in whole pages: \"256M\", or a number of bytes", key);
	*where = bytes;
	return 0;
}

static int read_cpus(struct reader *reader, const char *key, json_t *value)
{
	json_int_t cpus = json_is_integer(value) ? json_integer_value(value) : 0;

	if (cpus < 1 || cpus > VM_MAX_VCPUS)
		return refuse(reader, "\"%s\" must be a number from 1 to %d", key, VM_MAX_VCPUS);
	reader->options->config.cpus = (unsigned)cpus;
	return 0;
}

static int read_queues(struct reader *reader, const char *key, json_t *value, unsigned max, unsigned *queues)
{
	json_int_t count = json_is_integer(value) ? json_integer_value(value) : 0;

	if (count < 1 || count > max)
		return refuse(reader, "\"%s\" must be a number from 1 to %u", key, max);
	*queues = (unsigned)count;
	return 0;
}

static int read_rate(struct reader *reader, const char *key, json_t *value, struct rate_limit *limit)
{
	if (!config_json_rate(value, limit))
		return refuse(reader, "\"%s\" must be an object of bytes, bytes_burst, ops and ops_burst, all above 0", key);
	return 0;
}

static int read_interface(struct reader *reader, const char *key, json_t *value, enum disk_interface *where)
{
	if (!json_is_string(value) || !parse_disk_interface(json_string_value(value), json_string_length(value), where))
		return refuse(reader, "\"%s\" must be \"virtio\", \"scsi\", \"ahci\" or \"cdrom\"", key);
	return 0;
}

static int read_disk(struct reader *reader, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	struct disk_config disk = {0};
	char why[200];
	const char *key;
	json_t *item;
	int r = 0;

	if (!json_is_object(value))
		return refuse(reader, "each of \"disks\" must be an object with a \"path\"");
	if (config->disk_count == CONFIG_MAX_DISKS)
		return refuse(reader, "more than %d disks", CONFIG_MAX_DISKS);
	json_object_foreach(value, key, item) {
		if (!strcmp(key, "path"))
			r = read_text(reader, key, item, &disk.path);
		else if (!strcmp(key, "serial"))
			r = read_text(reader, key, item, &disk.serial);
		else if (!strcmp(key, "read_only"))
			r = read_flag(reader, key, item, &disk.read_only);
		else if (!strcmp(key, "format"))
			r = read_text(reader, key, item, &disk.format);
		else if (!strcmp(key, "cache"))
			r = read_text(reader, key, item, &disk.cache);
		else if (!strcmp(key, "backing"))
			r = read_text(reader, key, item, &disk.backing);
		else if (!strcmp(key, "interface"))
			r = read_interface(reader, key, item, &disk.interface);
		else if (!strcmp(key, "queues"))
			r = read_queues(reader, key, item, VIRTIO_BLK_MAX_QUEUES, &disk.queues);
		else if (!strcmp(key, "rate"))
			r = read_rate(reader, key, item, &disk.rate);
		else
			r = refuse(reader, "a disk has no \"%s\"; it has path, read_only, serial, interface, format, cache, backing, queues, rate", key);
		if (r)
			return r;
	}
	if (!disk.path || !*disk.path)
		return refuse(reader, "a disk without \"path\"");
	disk.read_only |= disk.interface == DISK_CDROM;
	r = check_disk(&disk, why, sizeof(why));
	if (r)
		return refuse(reader, "%s", why);
	config->disks[config->disk_count++] = disk;
	return 0;
}

static int read_pmem(struct reader *reader, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	struct pmem_config pmem = {0};
	const char *key;
	json_t *item;
	int r = 0;

	if (!json_is_object(value))
		return refuse(reader, "each of \"pmems\" must be an object with a \"path\"");
	if (config->pmem_count == CONFIG_MAX_PMEMS)
		return refuse(reader, "more than %d files as memory", CONFIG_MAX_PMEMS);
	json_object_foreach(value, key, item) {
		if (!strcmp(key, "path"))
			r = read_text(reader, key, item, &pmem.path);
		else if (!strcmp(key, "read_only"))
			r = read_flag(reader, key, item, &pmem.read_only);
		else if (!strcmp(key, "shared"))
			r = read_flag(reader, key, item, &pmem.shared);
		else
			r = refuse(reader, "a file as memory has no \"%s\"; it has path, read_only, shared", key);
		if (r)
			return r;
	}
	if (!pmem.path || !*pmem.path)
		return refuse(reader, "one of \"pmems\" has no \"path\"");
	config->pmems[config->pmem_count++] = pmem;
	return 0;
}

static int read_forward(struct reader *reader, json_t *value, struct net_config *net)
{
	json_int_t host = 0, guest = 0;
	const char *protocol = "tcp";

	if (json_unpack_ex(value, NULL, JSON_STRICT, "{s?s, s:I, s:I}", "protocol", &protocol, "host", &host, "guest",
			   &guest) ||
	    strcmp(protocol, "tcp") || host < 1 || host > 65535 || guest < 1 || guest > 65535)
		return refuse(reader, "a \"forward\" must be {\"protocol\": \"tcp\", \"host\": PORT, \"guest\": PORT}");
	if (net->forward_count == ARRAY_SIZE(net->forward))
		return refuse(reader, "more than %zu forwarded ports on one network", ARRAY_SIZE(net->forward));
	net->forward[net->forward_count].host = (uint16_t)host;
	net->forward[net->forward_count++].guest = (uint16_t)guest;
	return 0;
}

static int read_mac(struct reader *reader, const char *key, json_t *value, uint8_t mac[6])
{
	if (!json_is_string(value) || !parse_mac(json_string_value(value), json_string_length(value), mac))
		return refuse(reader, "\"%s\" must be an address like \"52:54:00:12:34:56\"", key);
	return 0;
}

static int read_forwards(struct reader *reader, json_t *list, struct net_config *net)
{
	json_t *forward;
	size_t i;
	int r = json_is_array(list) ? 0 : refuse(reader, "\"forward\" must be a list");

	json_array_foreach(list, i, forward)
		r = r ? r : read_forward(reader, forward, net);
	return r;
}

static int read_net_key(struct reader *reader, const char *key, json_t *item, struct net_config *net)
{
	if (!strcmp(key, "backend"))
		return read_text(reader, key, item, &net->backend);
	if (!strcmp(key, "socket") || !strcmp(key, "interface"))
		return read_text(reader, key, item, &net->target);
	if (!strcmp(key, "mac"))
		return read_mac(reader, key, item, net->mac);
	if (!strcmp(key, "rom"))
		return read_text(reader, key, item, &net->rom);
	if (!strcmp(key, "tftp"))
		return read_text(reader, key, item, &net->tftp);
	if (!strcmp(key, "bootfile"))
		return read_text(reader, key, item, &net->bootfile);
	if (!strcmp(key, "forward"))
		return read_forwards(reader, item, net);
	if (!strcmp(key, "queues"))
		return read_queues(reader, key, item, VIRTIO_NET_MAX_PAIRS, &net->queues);
	if (!strcmp(key, "rate"))
		return read_rate(reader, key, item, &net->rate);
	return refuse(reader, "a network has no \"%s\"; it has backend, socket, interface, mac, rom, tftp, bootfile, queues, rate and a list forward", key);
}

static int read_net(struct reader *reader, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	struct net_config net = {.backend = "user"};
	const char *key;
	json_t *item;
	char why[256];
	int r = 0;

	if (!json_is_object(value))
		return refuse(reader, "each of \"nets\" must be an object");
	if (config->net_count == CONFIG_MAX_NETS)
		return refuse(reader, "more than %d networks", CONFIG_MAX_NETS);
	json_object_foreach(value, key, item) {
		r = read_net_key(reader, key, item, &net);
		if (r)
			return r;
	}
	if (check_net(&net, why, sizeof(why)))
		return refuse(reader, "%s", why);
	config->nets[config->net_count++] = net;
	return 0;
}

static int read_fs(struct reader *reader, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	struct strings *strings = &reader->options->strings;
	const char *path = NULL, *tag = NULL;
	struct fs_config fs = {0};
	char why[256];

	if (json_unpack_ex(value, NULL, JSON_STRICT, "{s:s, s:s}", "socket", &path, "tag", &tag))
		return refuse(reader, "each of \"fs\" must be {\"socket\": PATH, \"tag\": TEXT}");
	if (config->fs_count == CONFIG_MAX_FS)
		return refuse(reader, "more than %d shared file systems", CONFIG_MAX_FS);
	fs.socket = strings_copy(strings, path, strlen(path));
	fs.tag = strings_copy(strings, tag, strlen(tag));
	if (check_fs(&fs, why, sizeof(why)))
		return refuse(reader, "%s", why);
	config->fs[config->fs_count++] = fs;
	return 0;
}

static int read_share(struct reader *reader, json_t *value)
{
	struct share_config share = {0};
	const char *key;
	json_t *item;
	char why[256];
	int r = 0;

	if (!json_is_object(value))
		return refuse(reader, "each of \"shares\" must be an object with a \"directory\"");
	json_object_foreach(value, key, item) {
		if (!strcmp(key, "directory"))
			r = read_text(reader, key, item, &share.directory);
		else if (!strcmp(key, "tag"))
			r = read_text(reader, key, item, &share.tag);
		else if (!strcmp(key, "read_only"))
			r = read_flag(reader, key, item, &share.read_only);
		else
			r = refuse(reader, "a share has no \"%s\"; it has directory, tag, read_only", key);
		if (r)
			return r;
	}
	return add_share(reader->options, share, why, sizeof(why)) ? refuse(reader, "%s", why) : 0;
}

static int read_vsock(struct reader *reader, json_t *value)
{
	struct vsock_config *vsock = &reader->options->config.vsock;
	json_int_t cid = 0;
	const char *path = NULL;
	char why[256];

	if (json_unpack_ex(value, NULL, JSON_STRICT, "{s:I, s:s}", "cid", &cid, "path", &path))
		return refuse(reader, "\"vsock\" must be {\"cid\": NUMBER, \"path\": PATH}");
	vsock->cid = cid < 0 || cid > UINT32_MAX ? 0 : (uint32_t)cid;
	vsock->path = strings_copy(&reader->options->strings, path, strlen(path));
	return check_vsock(vsock, why, sizeof(why)) ? refuse(reader, "%s", why) : 0;
}

static int read_list(struct reader *reader, const char *key, json_t *value,
		     int (*read)(struct reader *reader, json_t *value))
{
	json_t *item;
	size_t i;

	if (!json_is_array(value))
		return refuse(reader, "\"%s\" must be a list", key);
	json_array_foreach(value, i, item) {
		int r = read(reader, item);
		if (r)
			return r;
	}
	return 0;
}

static int read_trace(struct reader *reader, json_t *value)
{
	if (!json_is_string(value))
		return refuse(reader, "each of \"trace\" must be a string");
	return parse_trace(reader->options, json_string_value(value), reader->why, reader->why_size);
}

static int read_command(struct reader *reader, json_t *value)
{
	const size_t count = json_array_size(value);
	const char **words;
	int r = 0;

	if (!count)
		return refuse(reader, "\"command\" must be a list of strings");
	words = calloc(count, sizeof(*words));
	if (!words)
		abort();
	for (size_t i = 0; i < count; i++) {
		words[i] = json_string_value(json_array_get(value, i));
		if (!words[i])
			r = refuse(reader, "each of \"command\" must be a string");
	}
	if (!r)
		r = set_command(reader->options, count, words);
	free(words);
	return r;
}

static int read_choice(struct reader *reader, const char *key, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	const char *text = "";
	int r = read_text(reader, key, value, &text);

	if (r)
		return r;
	if (!strcmp(key, "board")) {
		if (!board_find(text))
			return refuse(reader, "the board \"%s\" is unknown; use \"microvm\", \"pc\" or \"virt\"", text);
		config->board = text;
	} else {
		if (strcmp(text, "auto") && !engine_known(text))
			return refuse(reader, "the engine \"%s\" is unknown; `ruse engines` lists those of this build", text);
		config->engine = text;
	}
	return 0;
}

static int read_cpu(struct reader *reader, const char *key, json_t *value)
{
	const char *text = "";
	int r = read_text(reader, key, value, &text);

	if (!r)
		r = x86_cpu_model_check(text, reader->why, reader->why_size);
	if (!r)
		reader->options->config.cpu = text;
	return r;
}

static int read_place(struct reader *reader, const char *key, json_t *value, char_config *where)
{
	int r = read_text(reader, key, value, where);

	return r ? r : check_char_config(key, *where, reader->why, reader->why_size);
}

static int read_balloon(struct reader *reader, const char *key, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	uint64_t bytes = 0;

	if (!json_is_boolean(value) &&
	    (!json_is_string(value) || !parse_size(json_string_value(value), &bytes) || bytes % PAGE_SIZE))
		return refuse(reader, "\"%s\" must be true, false, or a size in whole pages: \"64M\"", key);
	config->balloon = !json_is_false(value);
	config->balloon_size = bytes;
	return 0;
}

static int read_name(struct reader *reader, const char *key, json_t *value)
{
	const char **where = &reader->options->config.name;
	int r = read_text(reader, key, value, where);

	return r ? r : check_name(*where, reader->why, reader->why_size);
}

static int read_gdb(struct reader *reader, const char *key, json_t *value)
{
	const char **where = &reader->options->config.gdb;
	int r = read_text(reader, key, value, where);

	if (!r && !socket_address_valid(*where))
		return refuse(reader, "\"gdb\" must be \"unix=PATH\" or \"tcp=[HOST:]PORT\"");
	return r;
}

static int read_display(struct reader *reader, const char *key, json_t *value)
{
	const char **where = &reader->options->config.display;
	int r = read_text(reader, key, value, where);

	if (!r && !display_valid(*where))
		return refuse(reader, "\"display\" must be \"vnc=unix:PATH\" or \"none\"");
	return r;
}

static int read_key(struct reader *reader, const char *key, json_t *value)
{
	struct vm_config *config = &reader->options->config;
	const struct {
		const char *key;
		const char **text;
	} texts[] = {{"kernel", &config->kernel},	{"firmware", &config->firmware},
		     {"firmware_vars", &config->firmware_vars},
		     {"initrd", &config->initrd},	{"append", &config->append},
		     {"dump_tb", &config->dump_tb},	{"profile", &config->profile},
		     {"count_blocks", &config->count_blocks}, {"tb_cache", &config->tb_cache}};
	const struct {
		const char *key;
		bool *flag;
	} flags[] = {{"rng", &config->rng},
		     {"input", &config->input},
		     {"no_reboot", &config->no_reboot},
		     {"test_devices", &config->test_devices},
		     {"stats", &config->stats},
		     {"perf_map", &config->perf_map},
		     {"check", &config->check},
		     {"check_tb_cache", &config->check_tb_cache},
		     {"paused", &config->paused},
		     {"no_sandbox", &config->no_sandbox}};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(key, texts[i].key))
			return read_text(reader, key, value, texts[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (!strcmp(key, flags[i].key))
			return read_flag(reader, key, value, flags[i].flag);
	if (!strcmp(key, "board") || !strcmp(key, "engine"))
		return read_choice(reader, key, value);
	if (!strcmp(key, "cpu"))
		return read_cpu(reader, key, value);
	if (!strcmp(key, "cpus"))
		return read_cpus(reader, key, value);
	if (!strcmp(key, "memory"))
		return read_pages(reader, key, value, &config->memory);
	if (!strcmp(key, "memory_max"))
		return read_pages(reader, key, value, &config->memory_max);
	if (!strcmp(key, "pmems"))
		return read_list(reader, key, value, read_pmem);
	if (!strcmp(key, "disks"))
		return read_list(reader, key, value, read_disk);
	if (!strcmp(key, "nets"))
		return read_list(reader, key, value, read_net);
	if (!strcmp(key, "fs"))
		return read_list(reader, key, value, read_fs);
	if (!strcmp(key, "shares"))
		return read_list(reader, key, value, read_share);
	if (!strcmp(key, "vsock"))
		return read_vsock(reader, value);
	if (!strcmp(key, "trace"))
		return read_list(reader, key, value, read_trace);
	if (!strcmp(key, "command"))
		return read_command(reader, value);
	if (!strcmp(key, "balloon"))
		return read_balloon(reader, key, value);
	if (!strcmp(key, "name"))
		return read_name(reader, key, value);
	if (!strcmp(key, "display"))
		return read_display(reader, key, value);
	if (!strcmp(key, "gdb"))
		return read_gdb(reader, key, value);
	if (!strcmp(key, "serial"))
		return read_place(reader, key, value, &config->serial);
	if (!strcmp(key, "firmware_log"))
		return read_place(reader, key, value, &config->firmware_log);
	if (!strcmp(key, "console"))
		return read_place(reader, key, value, &config->console);
	return refuse(reader, "\"%s\" is unknown; `ruse run --print-config` shows all that there is", key);
}

int config_json_read(struct run_options *options, const char *path, char *why, size_t why_size)
{
	struct reader reader = {.options = options, .path = path, .why = why, .why_size = why_size};
	json_error_t error;
	json_t *root = !strcmp(path, "-") ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
					  : json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	const char *key;
	json_t *value;
	int r = 0;

	if (!root && error.line < 0)
		return refuse(&reader, "can't be read: %s", error.text);
	if (!root)
		return refuse(&reader, "is not JSON: line %d, %s", error.line, error.text);
	if (!json_is_object(root))
		r = refuse(&reader, "must hold one object, {...}");
	json_object_foreach(root, key, value) {
		if (!r && !json_is_null(value))
			r = read_key(&reader, key, value);
	}
	json_decref(root);
	return r;
}

/* ---- printing ---- */

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* Where they are not the default. */
static void print_queues(json_t *object, unsigned queues, const struct rate_limit *limit)
{
	if (queues)
		json_object_set_new(object, "queues", json_integer(queues));
	if (limit->bytes.per_second || limit->ops.per_second)
		json_object_set_new(object, "rate", config_json_print_rate(limit));
}

static json_t *print_disks(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->disk_count; i++) {
		const struct disk_config *disk = &config->disks[i];
		json_t *item = json_pack("{s:s, s:b, s:s}", "path", disk->path, "read_only", disk->read_only, "interface",
					 disk_interface_name(disk->interface));

		if (disk->serial)
			json_object_set_new(item, "serial", json_string(disk->serial));
		if (disk->format)
			json_object_set_new(item, "format", json_string(disk->format));
		if (disk->cache)
			json_object_set_new(item, "cache", json_string(disk->cache));
		if (disk->backing)
			json_object_set_new(item, "backing", json_string(disk->backing));
		print_queues(item, disk->queues, &disk->rate);
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *print_pmems(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->pmem_count; i++) {
		const struct pmem_config *pmem = &config->pmems[i];

		json_array_append_new(list, json_pack("{s:s, s:b, s:b}", "path", pmem->path, "read_only", pmem->read_only, "shared",
						      pmem->shared));
	}
	return list;
}

static json_t *print_net(const struct net_config *net, json_t *forwards)
{
	json_t *object = json_pack("{s:s}", "backend", net->backend);
	static const uint8_t no_mac[6];
	char mac[18];

	if (net->target)
		json_object_set_new(object, !strcmp(net->backend, "tap") ? "interface" : "socket", json_string(net->target));
	if (memcmp(net->mac, no_mac, sizeof(no_mac))) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1], net->mac[2],
			 net->mac[3], net->mac[4], net->mac[5]);
		json_object_set_new(object, "mac", json_string(mac));
	}
	print_queues(object, net->queues, &net->rate);
	if (net->rom)
		json_object_set_new(object, "rom", json_string(net->rom));
	if (net->tftp)
		json_object_set_new(object, "tftp", json_string(net->tftp));
	if (net->bootfile)
		json_object_set_new(object, "bootfile", json_string(net->bootfile));
	json_object_set_new(object, "forward", forwards);
	return object;
}

static json_t *print_nets(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->net_count; i++) {
		const struct net_config *net = &config->nets[i];
		json_t *forwards = json_array();

		for (unsigned j = 0; j < net->forward_count; j++)
			json_array_append_new(forwards,
					      json_pack("{s:s, s:i, s:i}", "protocol", "tcp", "host",
							(int)net->forward[j].host, "guest", (int)net->forward[j].guest));
		json_array_append_new(list, print_net(net, forwards));
	}
	return list;
}

static json_t *print_fs(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->fs_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "socket", config->fs[i].socket, "tag", config->fs[i].tag));
	return list;
}

static json_t *print_shares(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->share_count; i++) {
		const struct share_config *share = &config->shares[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "directory", share->directory, "tag", share->tag, "read_only",
						      share->read_only));
	}
	return list;
}

static json_t *print_vsock(const struct vsock_config *vsock)
{
	if (!vsock->cid)
		return json_null();
	return json_pack("{s:I, s:s}", "cid", (json_int_t)vsock->cid, "path", vsock->path);
}

static json_t *print_trace(uint32_t bits)
{
	static const char *const names[] = {"exits", "io", "mmio", "msr", "irq", "virtio", "exception", "block", "insn"};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (bits & trace_topic_find(names[i], strlen(names[i])))
			json_array_append_new(list, json_string(names[i]));
	return list;
}

static json_t *print_command(const char *const *command)
{
	json_t *list;

	if (!command)
		return json_null();
	list = json_array();
	for (; *command; command++)
		json_array_append_new(list, json_string(*command));
	return list;
}

static json_t *print_size(uint64_t bytes)
{
	char text[32];

	if (bytes % MIB(1))
		return json_integer((json_int_t)bytes);
	snprintf(text, sizeof(text), "%lluM", (unsigned long long)(bytes >> 20));
	return json_string(text);
}

static json_t *print_balloon(const struct vm_config *config)
{
	char text[32];

	if (!config->balloon_size)
		return json_boolean(config->balloon);
	snprintf(text, sizeof(text), "%lluK", (unsigned long long)(config->balloon_size >> 10));
	return json_string(text);
}

void config_json_print(const struct run_options *options, FILE *out)
{
	const struct vm_config *config = &options->config;
	json_t *root = json_object();

	json_object_set_new(root, "name", text_or_null(config->name));
	json_object_set_new(root, "board", json_string(config->board));
	json_object_set_new(root, "engine", json_string(config->engine));
	json_object_set_new(root, "kernel", text_or_null(config->kernel));
	json_object_set_new(root, "firmware", text_or_null(config->firmware));
	json_object_set_new(root, "firmware_vars", text_or_null(config->firmware_vars));
	json_object_set_new(root, "initrd", text_or_null(config->initrd));
	json_object_set_new(root, "append", text_or_null(config->append));
	json_object_set_new(root, "cpu", text_or_null(config->cpu));
	json_object_set_new(root, "cpus", json_integer(config->cpus));
	json_object_set_new(root, "memory", print_size(config->memory));
	json_object_set_new(root, "memory_max", config->memory_max ? print_size(config->memory_max) : json_null());
	json_object_set_new(root, "disks", print_disks(config));
	json_object_set_new(root, "pmems", print_pmems(config));
	json_object_set_new(root, "nets", print_nets(config));
	json_object_set_new(root, "fs", print_fs(config));
	json_object_set_new(root, "shares", print_shares(config));
	json_object_set_new(root, "vsock", print_vsock(&config->vsock));
	json_object_set_new(root, "rng", json_boolean(config->rng));
	json_object_set_new(root, "input", json_boolean(config->input));
	json_object_set_new(root, "balloon", print_balloon(config));
	json_object_set_new(root, "serial", text_or_null(config->serial));
	json_object_set_new(root, "console", text_or_null(config->console));
	json_object_set_new(root, "firmware_log", text_or_null(config->firmware_log));
	json_object_set_new(root, "display", text_or_null(config->display));
	json_object_set_new(root, "no_reboot", json_boolean(config->no_reboot));
	json_object_set_new(root, "test_devices", json_boolean(config->test_devices));
	json_object_set_new(root, "stats", json_boolean(config->stats));
	json_object_set_new(root, "dump_tb", text_or_null(config->dump_tb));
	json_object_set_new(root, "profile", text_or_null(config->profile));
	json_object_set_new(root, "count_blocks", text_or_null(config->count_blocks));
	json_object_set_new(root, "tb_cache", text_or_null(config->tb_cache));
	json_object_set_new(root, "perf_map", json_boolean(config->perf_map));
	json_object_set_new(root, "check", json_boolean(config->check));
	json_object_set_new(root, "check_tb_cache", json_boolean(config->check_tb_cache));
	json_object_set_new(root, "gdb", text_or_null(config->gdb));
	json_object_set_new(root, "paused", json_boolean(config->paused));
	json_object_set_new(root, "no_sandbox", json_boolean(config->no_sandbox));
	json_object_set_new(root, "trace", print_trace(config->trace));
	json_object_set_new(root, "command", print_command(config->command));
	json_dumpf(root, out, JSON_INDENT(2));
	fputc('\n', out);
	json_decref(root);
}
