/* See disks.h. */
#include "host/linux/disks.h"
#include "backend/block_image.h"
#include "backend/block_nbd.h"
#include "disk/nbd_client.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum block_cache cache;
} caches[] = {
	{"writeback", BLOCK_CACHE_WRITEBACK},
	{"writethrough", BLOCK_CACHE_WRITETHROUGH},
	{"none", BLOCK_CACHE_NONE},
	{"unsafe", BLOCK_CACHE_UNSAFE},
};

bool disks_need_nbd(const struct vm_config *config)
{
	for (unsigned i = 0; i < config->disk_count; i++)
		if (nbd_client_is_uri(config->disks[i].path))
			return true;
	return false;
}

static int open_nbd(const struct disk_config *disk, enum block_cache cache, struct loop *loop, struct block_backend **out, char *why,
		    size_t why_size)
{
	const struct block_nbd_options options = {
		.uri = disk->path,
		.serial = disk->serial,
		.read_only = disk->read_only,
		.writethrough = cache == BLOCK_CACHE_WRITETHROUGH,
		.unsafe = cache == BLOCK_CACHE_UNSAFE,
	};

	return block_nbd_open(&options, loop, out, why, why_size);
}

int disk_open(const struct disk_config *disk, const struct disks_context *context, struct block_backend **out, char *why, size_t why_size)
{
	struct block_image_options options = {
		.path = disk->path,
		.serial = disk->serial,
		.read_only = disk->read_only,
		.backing_dir = disk->backing,
		.enter_worker = context->enter_worker,
		.enter_ctx = context->enter_ctx,
	};

	if (disk->format)
		options.format = disk_format_find(disk->format);
	for (size_t i = 0; disk->cache && i < ARRAY_SIZE(caches); i++)
		if (!strcmp(disk->cache, caches[i].name))
			options.cache = caches[i].cache;
	if (nbd_client_is_uri(disk->path))
		return open_nbd(disk, options.cache, context->loop, out, why, why_size);
	return block_image_open(&options, context->loop, out, why, why_size);
}
