/* Files of the host that are memory of the guest: opens what --pmem names.
 *
 * Example: `r = pmems_open(config, loop, &inputs, enter_worker, ctx, why, sizeof(why));`
 */
#ifndef HOST_LINUX_PMEMS_H
#define HOST_LINUX_PMEMS_H

#include "board/board.h"

struct loop;

/* Fills inputs->pmems; enter_worker as in backend/block_raw.h. 0, or -errno with one sentence in why; what was opened until then stays there, for
 * the caller to close. */
int pmems_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, int (*enter_worker)(void *ctx),
	       void *enter_ctx, char *why, size_t why_size) must_check;
void pmems_close(struct board_inputs *inputs);

#endif
