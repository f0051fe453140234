/* What a machine's description calls a disk, opened.
 *
 * Example:
 *     const struct disks_context context = {.loop = loop, .enter_worker = enter_worker, .enter_ctx = launch};
 *     r = disk_open(&config->disks[0], &context, &backend, why, sizeof(why));
 */
#ifndef HOST_LINUX_DISKS_H
#define HOST_LINUX_DISKS_H

#include "board/config.h"
#include "core/backend.h"

struct loop;

struct disks_context {
	struct loop *loop;
	int (*enter_worker)(void *ctx); /* backend/block_pool.h */
	void *enter_ctx;
};

/* Makes every descriptor and thread, so before the sandbox closes. 0, or -errno with one sentence in why. */
int disk_open(const struct disk_config *disk, const struct disks_context *context, struct block_backend **out, char *why,
	      size_t why_size) must_check;

/* Whether the I/O thread talks with NBD servers: struct sandbox_options. */
bool disks_need_nbd(const struct vm_config *config);

#endif
