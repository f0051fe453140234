/* The vhost-user devices of a description; see vhosts.h.
 *
 * Example: see vhosts.h.
 */
#include "host/linux/vhosts.h"

#include "backend/vhost_user.h"
#include "dev/virtio/virtio.h"
#include <string.h>

bool vhosts_wanted(const struct vm_config *config)
{
	bool wanted = config->fs_count > 0;

	for (unsigned i = 0; i < config->net_count; i++)
		wanted |= !strcmp(config->nets[i].backend, "vhost-user");
	return wanted;
}

int vhosts_open(const struct vm_config *config, struct loop *loop, struct board_inputs *inputs, char *why, size_t why_size)
{
	int r = 0;

	for (unsigned i = 0; i < config->fs_count && !r; i++)
		r = vhost_user_connect(config->fs[i].socket, VIRTIO_FS_QUEUES, loop, &inputs->fs[i], why, why_size);
	return r;
}

int vhosts_share(const struct board_inputs *inputs, const struct guest_memory *memory, char *why, size_t why_size)
{
	int r = 0;

	for (unsigned i = 0; i < CONFIG_MAX_NETS && !r; i++)
		if (inputs->vhost_nets[i].backend)
			r = vhost_user_share(inputs->vhost_nets[i].backend, memory, why, why_size);
	for (unsigned i = 0; i < CONFIG_MAX_FS && !r; i++)
		if (inputs->fs[i])
			r = vhost_user_share(inputs->fs[i], memory, why, why_size);
	return r;
}

static void close_backend(struct vhost_backend **backend)
{
	if (*backend)
		(*backend)->ops->destroy(*backend);
	*backend = NULL;
}

void vhosts_close(struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
		close_backend(&inputs->vhost_nets[i].backend);
	for (unsigned i = 0; i < CONFIG_MAX_FS; i++)
		close_backend(&inputs->fs[i]);
}
