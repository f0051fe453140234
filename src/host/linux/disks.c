/* See disks.h. */
#include "host/linux/disks.h"
#include "backend/block_image.h"
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
	return block_image_open(&options, context->loop, out, why, why_size);
}
