/* Files as memory; see pmems.h. Each is a raw image, which is locked and flushed like a disk, and mapped beside. */
#include "host/linux/pmems.h"
#include "backend/block_image.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define UNIT MIB(2) /* what kernels map, and the alignment that they insist on */

static int check(const struct pmem_config *pmem, const struct block_backend *backend, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(block_image_descriptor(backend), &st) < 0 || !S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "%s is no file that can be memory; give --pmem a file", pmem->path);
		return -EINVAL;
	}
	if (backend->size % UNIT) {
		snprintf(why, why_size, "%s has %llu bytes, not a multiple of 2 MiB as memory has: grow it with truncate -s %%2M %s", pmem->path,
			 (unsigned long long)backend->size, pmem->path);
		return -EINVAL;
	}
	return 0;
}

int pmems_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, int (*enter_worker)(void *ctx),
	       void *enter_ctx, char *why, size_t why_size)
{
	for (unsigned i = 0; i < config->pmem_count; i++) {
		const struct pmem_config *pmem = &config->pmems[i];
		const struct block_image_options options = {.path = pmem->path,
							  .read_only = pmem->read_only,
							  .together = pmem->shared || pmem->read_only,
							  .format = DISK_FORMAT_RAW,
							  .enter_worker = enter_worker,
							  .enter_ctx = enter_ctx};
		int r = block_image_open(&options, loop, &inputs->pmems[i].backend, why, why_size);

		if (!r)
			r = check(pmem, inputs->pmems[i].backend, why, why_size);
		if (r)
			return r;
		inputs->pmems[i].size = inputs->pmems[i].backend->size;
		inputs->pmems[i].read_only = pmem->read_only;
	}
	return 0;
}

void pmems_close(struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_PMEMS; i++)
		if (inputs->pmems[i].backend)
			inputs->pmems[i].backend->ops->destroy(inputs->pmems[i].backend);
}
