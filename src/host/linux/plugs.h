/* What is plugged into a running VM: disks and network cards, whose files and sockets were opened outside of its sandbox, by `ruse ctl`.
 *
 * Example:
 *     r = plugs_create(&options, &plugs, why, sizeof(why));              // before the sandbox closes
 *     plugs_start(plugs, vm);
 *     r = plugs_attach_disk(plugs, &disk, &device, id, why, sizeof(why));         // id: "disk1"
 *     r = plugs_detach(plugs, "disk1", false, why, sizeof(why));         // it is gone when the guest has let go of it
 *     plugs_close(plugs);                                                // the vm's devices are no more
 *
 * I/O thread.
 */
#ifndef HOST_LINUX_PLUGS_H
#define HOST_LINUX_PLUGS_H

#include "backend/block_late.h"
#include "dev/virtio/limiter.h"
#include <jansson.h>

struct loop;
struct plugs;
struct vm;

#define PLUG_ID_SIZE 16

struct plugs_options {
	struct loop *loop;
	int (*enter_worker)(void *ctx); /* backend/block_pool.h */
	void *enter_ctx;
};

/* What the guest sees of it, as of what is there from the start. */
struct plug_device {
	unsigned queues;        /* of a disk, pairs of a card; 0: as many as there are processors */
	struct rate_limit rate;
	uint8_t mac[6];         /* of a card; all zero: by its number */
};

int plugs_create(const struct plugs_options *options, struct plugs **out, char *why, size_t why_size) must_check;
void plugs_start(struct plugs *plugs, struct vm *vm);

/* 0 and an id, or -errno with one sentence in why. */
int plugs_attach_disk(struct plugs *plugs, const struct block_late_disk *disk, const struct plug_device *device, char id[PLUG_ID_SIZE], char *why,
		      size_t why_size) must_check;
/* A card; fds are taken over, and -1 then. One socket of a stream of frames, or the queues of a tap. */
int plugs_attach_net(struct plugs *plugs, bool tap, const char *name, int *fds, unsigned count, const struct plug_device *device,
		     char id[PLUG_ID_SIZE], char *why, size_t why_size) must_check;
int plugs_detach(struct plugs *plugs, const char *id, bool now, char *why, size_t why_size) must_check;
/* An array of {"id": "disk1", "leaving": false}; NULL: no memory. */
json_t *plugs_list(const struct plugs *plugs);

/* NULL is allowed. */
void plugs_close(struct plugs *plugs);

#endif
