/* Persistent memory (virtio 1.2 §5.19): a file of the host that is memory of the guest. The board has mapped it; this device tells where
 * it is, and makes what was written there last when the driver asks (a flush of the backend, which is the same file).
 *
 * Example: `err = virtio_pmem_create(vm, backend, gpa, size, &vdev);`
 *
 * Threads and life of a request as in blk.c.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE 32
#define BATCH      8 /* requests popped before they are submitted */

/* §5.19.6 */
#define PMEM_REQ_TYPE_FLUSH 0u
#define PMEM_RESP_OK        0u
#define PMEM_RESP_EIO       1u

/* §5.19.4 */
struct pmem_config {
	uint64_t start;
	uint64_t size;
};

struct pmem;

struct pmem_request {
	struct pmem *pmem;
	struct pmem_request *next; /* free list, or a batch */
	struct block_request io;
	struct virtq_chain chain;
};

struct pmem {
	struct virtio_device dev;
	struct block_backend *backend;
	struct pmem_config config;
	struct pmem_request *requests;
	unsigned used_once;        /* of QUEUE_SIZE requests these many have ever been taken, */
	struct pmem_request *free; /* and these came back */
	bool starved;              /* notify() stopped for want of a free request */
};

static struct pmem *pmem_of(struct virtio_device *dev)
{
	return container_of(dev, struct pmem, dev);
}

/* Lock held. */
static void answer(struct pmem_request *request, uint32_t ret)
{
	struct pmem *pmem = request->pmem;

	virtq_push(&pmem->dev.queues[0], &request->chain, (uint32_t)virtq_chain_write(&request->chain, 0, &ret, sizeof(ret)));
	request->next = pmem->free;
	pmem->free = request;
}

static void io_done(struct block_request *io, int status)
{
	struct pmem_request *request = io->ctx;
	struct pmem *pmem = request->pmem;

	lock_take(&pmem->dev.lock);
	answer(request, status < 0 ? PMEM_RESP_EIO : PMEM_RESP_OK);
	virtq_signal(&pmem->dev.queues[0]);
	if (pmem->starved)
		work_post(&pmem->dev.queues[0].work);
	lock_release(&pmem->dev.lock);
}

/* NULL: all are under way; who ends goes on then. */
static struct pmem_request *free_request(struct pmem *pmem)
{
	struct pmem_request *request = pmem->free;

	if (!request && pmem->used_once < QUEUE_SIZE) {
		request = &pmem->requests[pmem->used_once++];
		request->pmem = pmem;
		pmem->free = request;
	}
	pmem->starved = !request;
	return request;
}

/* Pops up to BATCH requests; those to be submitted come back as a list. Returns how many were taken. Lock held. */
static unsigned take_batch(struct pmem *pmem, struct pmem_request **list)
{
	struct virtq *queue = &pmem->dev.queues[0];
	struct pmem_request *request;
	unsigned taken = 0;
	uint32_t type;

	for (*list = NULL; taken < BATCH && (request = free_request(pmem)) && virtq_pop(queue, &request->chain) > 0; taken++) {
		pmem->free = request->next;
		if (virtq_chain_read(&request->chain, 0, &type, sizeof(type)) != sizeof(type) || type != PMEM_REQ_TYPE_FLUSH) {
			answer(request, PMEM_RESP_EIO);
			continue;
		}
		request->io = (struct block_request){.op = BLOCK_FLUSH, .done = io_done, .ctx = request};
		request->next = *list;
		*list = request;
	}
	virtq_signal(queue);
	return taken;
}

static void pmem_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct pmem *pmem = pmem_of(dev);
	struct pmem_request *list, *request;
	unsigned taken;
	bool again;

	lock_take(&dev->lock);
	virtq_disable_notify(queue);
	taken = take_batch(pmem, &list);
	again = taken == BATCH || (!pmem->starved && virtq_enable_notify(queue));
	lock_release(&dev->lock);
	while ((request = list)) {
		list = request->next;
		pmem->backend->ops->submit(pmem->backend, &request->io);
	}
	if (again)
		work_post(&queue->work);
}

static void pmem_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&pmem_of(dev)->config + offset, len);
}

static void pmem_drain(struct virtio_device *dev)
{
	struct block_backend *backend = pmem_of(dev)->backend;

	if (backend->ops->drain)
		backend->ops->drain(backend);
}

static void pmem_destroy(struct virtio_device *dev)
{
	struct pmem *pmem = pmem_of(dev);

	virtio_device_fini(dev);
	platform_free(pmem->requests);
	platform_free(pmem);
}

static const struct virtio_device_ops pmem_ops = {
	.name = "pmem",
	.id = VIRTIO_ID_PMEM,
	.config_read = pmem_config_read,
	.notify = pmem_notify,
	.drain = pmem_drain,
	.destroy = pmem_destroy,
};

int virtio_pmem_create(struct vm *vm, struct block_backend *backend, gpa_t gpa, uint64_t size, struct virtio_device **out)
{
	struct pmem *pmem = platform_alloc(sizeof(*pmem));
	int err = -ENOMEM;

	if (!pmem)
		return -ENOMEM;
	pmem->backend = backend;
	pmem->config = (struct pmem_config){gpa, size};
	pmem->requests = platform_alloc(QUEUE_SIZE * sizeof(*pmem->requests));
	if (!pmem->requests)
		goto free_pmem;
	err = virtio_device_init(&pmem->dev, vm, &pmem_ops, 0, sizeof(pmem->config), 1, (const uint16_t[]){QUEUE_SIZE});
	if (err < 0)
		goto free_requests;
	*out = &pmem->dev;
	return 0;
free_requests:
	platform_free(pmem->requests);
free_pmem:
	platform_free(pmem);
	return err;
}
