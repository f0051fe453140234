/* The 9P transport (virtio 1.2 §5.9): messages of the guest for a struct share_backend, which answers them in its own time.
 *
 * Example: `err = virtio_9p_create(vm, "share", backend, &vdev);`
 *
 * The device looks at no message. A request waits in the table from the moment its chain is popped until the backend has written the
 * answer into it. When the driver has gone, the backend is told that the session is over.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE 128
#define BUDGET     64 /* requests taken before other work gets its turn */

#define P9_F_MOUNT_TAG (1ull << 0)

struct p9_config {
	uint16_t tag_len;
	uint8_t tag[VIRTIO_9P_TAG_MAX];
};

struct p9;

struct p9_request {
	struct p9 *p9;
	struct p9_request *next; /* free list */
	struct share_request io;
	struct virtq_chain chain;
};

struct p9 {
	struct virtio_device dev;
	struct share_backend *backend;
	struct p9_config config;
	struct p9_request *requests; /* QUEUE_SIZE of them; under the lock: */
	unsigned used_once;          /* of which these many have ever been taken, */
	struct p9_request *free;     /* and these came back */
	bool starved;                /* notify() stopped for want of a free request */
	bool over;                   /* the session is; the backend has to be told */
	bool telling;                /* it is being told */
	struct share_request end;
};

static struct p9 *p9_of(struct virtio_device *dev)
{
	return container_of(dev, struct p9, dev);
}

static void io_done(struct share_request *io, uint32_t len)
{
	struct p9_request *request = io->ctx;
	struct p9 *p9 = request->p9;
	struct virtq *queue = &p9->dev.queues[0];

	lock_take(&p9->dev.lock);
	virtq_push(queue, &request->chain, len);
	virtq_signal(queue);
	request->next = p9->free;
	p9->free = request;
	if (p9->starved) {
		p9->starved = false;
		work_post(&queue->work);
	}
	lock_release(&p9->dev.lock);
}

/* The next one, or NULL. Lock held. */
static struct p9_request *pop_request(struct p9 *p9)
{
	struct virtq *queue = &p9->dev.queues[0];
	struct p9_request *request = p9->free;

	if (!request && p9->used_once < QUEUE_SIZE) {
		request = &p9->requests[p9->used_once++];
		request->p9 = p9;
		p9->free = request;
	}
	if (!request) {
		p9->starved = true;
		return NULL;
	}
	virtq_disable_notify(queue);
	for (;;) {
		if (virtq_pop(queue, &request->chain) > 0)
			break;
		if (!virtq_enable_notify(queue))
			return NULL;
	}
	p9->free = request->next;
	request->io = (struct share_request){
		.out = request->chain.bufs,
		.out_count = request->chain.out_count,
		.in = request->chain.bufs + request->chain.out_count,
		.in_count = request->chain.in_count,
		.done = io_done,
		.ctx = request,
	};
	return request;
}

static void end_done(struct share_request *io, uint32_t len)
{
	struct p9 *p9 = io->ctx;

	lock_take(&p9->dev.lock);
	p9->telling = false;
	if (p9->over)
		work_post(&p9->dev.queues[0].work);
	lock_release(&p9->dev.lock);
}

/* Before anything of the next driver. */
static void tell_end(struct p9 *p9)
{
	bool tell;

	lock_take(&p9->dev.lock);
	tell = p9->over && !p9->telling;
	if (tell) {
		p9->over = false;
		p9->telling = true;
	}
	lock_release(&p9->dev.lock);
	if (!tell)
		return;
	p9->end = (struct share_request){.done = end_done, .ctx = p9};
	p9->backend->ops->submit(p9->backend, &p9->end);
}

static void p9_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct p9 *p9 = p9_of(dev);
	struct p9_request *request;

	tell_end(p9);
	for (unsigned taken = 0; taken < BUDGET; taken++) {
		lock_take(&dev->lock);
		request = p9->over ? NULL : pop_request(p9);
		lock_release(&dev->lock);
		if (!request)
			return;
		if (request->io.out_count == 0)
			io_done(&request->io, 0); /* no message, and not the end either */
		else
			p9->backend->ops->submit(p9->backend, &request->io);
	}
	work_post(&queue->work);
}

static void p9_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&p9_of(dev)->config + offset, len);
}

static void p9_reset(struct virtio_device *dev)
{
	struct p9 *p9 = p9_of(dev);

	p9->starved = false;
	p9->over = true;
	work_post(&dev->queues[0].work);
}

static void p9_drain(struct virtio_device *dev)
{
	struct share_backend *backend = p9_of(dev)->backend;

	backend->ops->drain(backend);
}

static void p9_destroy(struct virtio_device *dev)
{
	struct p9 *p9 = p9_of(dev);

	p9_drain(dev); /* the end's message counts for no queue */
	virtio_device_fini(dev);
	platform_free(p9->requests);
	platform_free(p9);
}

static const struct virtio_device_ops p9_ops = {
	.name = "9p",
	.id = VIRTIO_ID_9P,
	.config_read = p9_config_read,
	.notify = p9_notify,
	.reset = p9_reset,
	.drain = p9_drain,
	.destroy = p9_destroy,
};

int virtio_9p_create(struct vm *vm, const char *tag, struct share_backend *backend, struct virtio_device **out)
{
	struct p9 *p9 = platform_alloc(sizeof(*p9));
	int err = -ENOMEM;

	if (!p9)
		return -ENOMEM;
	while (p9->config.tag_len < VIRTIO_9P_TAG_MAX && tag[p9->config.tag_len]) {
		p9->config.tag[p9->config.tag_len] = (uint8_t)tag[p9->config.tag_len];
		p9->config.tag_len++;
	}
	p9->backend = backend;
	p9->requests = platform_alloc(QUEUE_SIZE * sizeof(*p9->requests));
	if (!p9->requests)
		goto free_p9;
	err = virtio_device_init(&p9->dev, vm, &p9_ops, P9_F_MOUNT_TAG, 2u + p9->config.tag_len, 1, (const uint16_t[]){QUEUE_SIZE});
	if (err < 0)
		goto free_requests;
	*out = &p9->dev;
	return 0;
free_requests:
	platform_free(p9->requests);
free_p9:
	platform_free(p9);
	return err;
}
