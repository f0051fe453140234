/* The networks of a description: opens what --net names.
 *
 * Example: `r = nets_open(config, loop, &inputs, why, sizeof(why));`
 */
#ifndef HOST_LINUX_NETS_H
#define HOST_LINUX_NETS_H

#include "board/board.h"

struct loop;

/* Fills inputs->nets and vhost_nets. 0, or -errno with one sentence in why; what was opened until then stays there, for the caller to close. */
int nets_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, char *why, size_t why_size) must_check;
/* The guest of card `index` (from 0) has this address if none is given: 52:52:75:73:65:01 and so on. */
void nets_default_mac(unsigned index, uint8_t mac[6]);
/* Does one of them use internet sockets while the guest runs? */
bool nets_need_sockets(const struct vm_config *config);
/* Is one of them a tap? */
bool nets_need_tap(const struct vm_config *config);

#endif
