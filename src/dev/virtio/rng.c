/* The entropy device (virtio 1.2 §5.4): the platform's random bytes, at most RNG_MAX a request and
 * RNG_BUDGET requests a turn, so that a greedy guest can't keep the I/O thread.
 *
 * Example: `err = virtio_rng_create(vm, &vdev);`
 */
#include "base/errno.h"
#include "base/log.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE 64
#define RNG_MAX    512u
#define RNG_BUDGET 64u

struct rng {
	struct virtio_device dev;
	struct virtq_chain chain; /* under the lock */
};

static struct rng *rng_of(struct virtio_device *dev)
{
	return container_of(dev, struct rng, dev);
}

static void fill(struct virtio_device *dev, struct virtq *queue, struct virtq_chain *chain)
{
	uint8_t bytes[RNG_MAX];
	size_t len = chain->in_len < RNG_MAX ? (size_t)chain->in_len : RNG_MAX;

	if (len > 0 && platform_random(bytes, len) < 0) {
		log_guest("virtio", "%s: the host has no random bytes", dev->label);
		len = 0;
	}
	virtq_push(queue, chain, (uint32_t)virtq_chain_write(chain, 0, bytes, len));
}

static void rng_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct virtq_chain *chain = &rng_of(dev)->chain;
	unsigned budget = RNG_BUDGET;

	lock_take(&dev->lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, chain) > 0) {
			fill(dev, queue, chain);
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	virtq_signal(queue);
	lock_release(&dev->lock);
	if (budget == 0)
		work_post(&queue->work);
}

static void rng_destroy(struct virtio_device *dev)
{
	virtio_device_fini(dev);
	platform_free(rng_of(dev));
}

static const struct virtio_device_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.notify = rng_notify,
	.destroy = rng_destroy,
};

int virtio_rng_create(struct vm *vm, struct virtio_device **out)
{
	struct rng *rng = platform_alloc(sizeof(*rng));
	int err;

	if (!rng)
		return -ENOMEM;
	err = virtio_device_init(&rng->dev, vm, &rng_ops, 0, 0, 1, (const uint16_t[]){QUEUE_SIZE});
	if (err < 0) {
		platform_free(rng);
		return err;
	}
	*out = &rng->dev;
	return 0;
}
