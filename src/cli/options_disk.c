/* What --disk takes: PATH[,ro][,serial=S][,if=I][,format=F][,cache=C][,backing=DIR][,queues=N][,rate=R]; see options.h.
 *
 * Example: `r = parse_disk(options, "root.qcow2,cache=none", why, sizeof(why));`
 */
#include "cli/options.h"
#include "dev/virtio/virtio.h"
#include "disk/nbd_client.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

static const char *const disk_interfaces[] = {[DISK_VIRTIO] = "virtio", [DISK_SCSI] = "scsi", [DISK_AHCI] = "ahci", [DISK_CDROM] = "cdrom"};

bool parse_disk_interface(const char *text, size_t len, enum disk_interface *interface)
{
	for (size_t i = 0; i < ARRAY_SIZE(disk_interfaces); i++) {
		if (strlen(disk_interfaces[i]) != len || memcmp(disk_interfaces[i], text, len))
			continue;
		*interface = (enum disk_interface)i;
		return true;
	}
	return false;
}

const char *disk_interface_name(enum disk_interface interface)
{
	return disk_interfaces[interface];
}

static bool is_one_of(const char *text, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(text, *names))
			return true;
	return false;
}

int check_disk(const struct disk_config *disk, char *why, size_t why_size)
{
	static const char *const formats[] = {"raw", "qcow2", NULL};
	static const char *const caches[] = {"writeback", "writethrough", "none", "unsafe", NULL};

	if (disk->serial && strlen(disk->serial) > 20)
		return refuse(why, why_size, "the disk serial \"%s\" is longer than 20 characters", disk->serial);
	if (disk->format && !is_one_of(disk->format, formats))
		return refuse(why, why_size, "the disk format %s is unknown; use raw or qcow2", disk->format);
	if (disk->cache && !is_one_of(disk->cache, caches))
		return refuse(why, why_size, "the cache mode %s is unknown; use writeback, writethrough, none or unsafe", disk->cache);
	if (nbd_client_is_uri(disk->path) && disk->format && strcmp(disk->format, "raw"))
		return refuse(why, why_size, "the NBD export %s is raw to us: let its server read the format %s, as qemu-nbd -f does", disk->path,
			      disk->format);
	if (nbd_client_is_uri(disk->path) && (disk->backing || (disk->cache && !strcmp(disk->cache, "none"))))
		return refuse(why, why_size, "backing files and direct I/O of the NBD export %s are its server's affair: leave out backing and cache=none",
			      disk->path);
	if (disk->interface != DISK_VIRTIO && (disk->queues || disk->rate.bytes.per_second || disk->rate.ops.per_second))
		return refuse(why, why_size, "queues and rate are for if=virtio: leave them out, or if=%s",
			      disk_interface_name(disk->interface));
	return 0;
}

struct field {
	const char *name; /* with = */
	const char **value;
};

int parse_disk(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;
	const size_t path_len = strcspn(text, ",");
	struct disk_config disk = {0};
	const struct field fields[] = {{"serial=", &disk.serial}, {"format=", &disk.format}, {"cache=", &disk.cache}, {"backing=", &disk.backing}};
	int r;

	if (!path_len)
		return refuse(why, why_size, "--disk %s names no file; write --disk PATH[,ro][,serial=S]", text);
	if (config->disk_count == CONFIG_MAX_DISKS)
		return refuse(why, why_size, "more than %d disks; leave some --disk out", CONFIG_MAX_DISKS);
	disk.path = strings_copy(&options->strings, text, path_len);
	for (const char *p = text + path_len; *p == ',';) {
		const size_t len = strcspn(++p, ",");
		bool known = len == 2 && !memcmp(p, "ro", 2);

		disk.read_only |= known;
		r = known ? 0 : parse_queue_option(&disk.queues, VIRTIO_BLK_MAX_QUEUES, &disk.rate, p, len, why, why_size);
		if (r < 0)
			return r;
		known |= r > 0;
		if (!known && len > 3 && !memcmp(p, "if=", 3))
			known = parse_disk_interface(p + 3, len - 3, &disk.interface);
		for (size_t i = 0; i < ARRAY_SIZE(fields) && !known; i++) {
			const size_t name_len = strlen(fields[i].name);

			known = len > name_len && !memcmp(p, fields[i].name, name_len);
			if (known)
				*fields[i].value = strings_copy(&options->strings, p + name_len, len - name_len);
		}
		if (!known)
			return refuse(why, why_size,
				      "--disk option '%.*s' is unknown; use ro, serial=S (at most 20 characters), if=virtio|scsi|ahci|cdrom, format=raw|qcow2, "
				      "cache=writeback|writethrough|none|unsafe, backing=DIR, queues=N or rate=R", (int)len, p);
		p += len;
	}
	disk.read_only |= disk.interface == DISK_CDROM;
	r = check_disk(&disk, why, why_size);
	if (r == 0)
		config->disks[config->disk_count++] = disk;
	return r;
}

int parse_cdrom(struct run_options *options, const char *text, char *why, size_t why_size)
{
	const unsigned index = options->config.disk_count;
	int r = parse_disk(options, text, why, why_size);

	if (!r) {
		options->config.disks[index].interface = DISK_CDROM;
		options->config.disks[index].read_only = true;
	}
	return r;
}
