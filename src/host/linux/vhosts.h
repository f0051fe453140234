/* Devices of a description whose other half is another process, by vhost-user: cards (opened by nets.h) and file systems.
 *
 * Example:
 *     r = vhosts_open(config, loop, &inputs, why, sizeof(why));
 *     ... guest memory is made, with GUEST_MEMORY_FILE if vhosts_wanted(config) ...
 *     r = vhosts_share(&inputs, &memory, why, sizeof(why));
 *     ...
 *     vhosts_close(&inputs);
 */
#ifndef HOST_LINUX_VHOSTS_H
#define HOST_LINUX_VHOSTS_H

#include "board/board.h"

struct guest_memory;
struct loop;

/* Is there one? */
bool vhosts_wanted(const struct vm_config *config);
/* Fills inputs->fs. 0, or -errno with one sentence in why; what was opened until then stays there, for vhosts_close(). */
int vhosts_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, char *why, size_t why_size) must_check;
/* Hands guest memory to all of them. 0, or -errno with one sentence in why. */
int vhosts_share(const struct board_inputs *inputs, const struct guest_memory *memory, char *why, size_t why_size) must_check;
void vhosts_close(struct board_inputs *inputs);

#endif
