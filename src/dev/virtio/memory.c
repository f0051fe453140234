/* Memory that comes and goes; see memory.h. One bit a block says whether it is plugged.
 *
 * A reset of the device changes nothing of that; a reset of the machine unplugs all, so that the next kernel finds it as at power-on
 * (§5.15.6). What a guest does with blocks that are not plugged is its own affair: they are its RAM, too.
 */
#include "dev/virtio/memory.h"
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

#define QUEUE_SIZE 32
#define BUDGET     8u
#define BLOCK      VIRTIO_MEMORY_BLOCK

#define MEM_F_UNPLUGGED_INACCESSIBLE (1ull << 1)

/* §5.15.6 */
enum request_type { REQ_PLUG = 0, REQ_UNPLUG = 1, REQ_UNPLUG_ALL = 2, REQ_STATE = 3 };
enum response_type { RESP_ACK = 0, RESP_NACK = 1, RESP_BUSY = 2, RESP_ERROR = 3 };
enum block_state { STATE_PLUGGED = 0, STATE_UNPLUGGED = 1, STATE_MIXED = 2 };

struct memory_request {
	uint16_t type;
	uint16_t padding[3];
	uint64_t addr;
	uint16_t nb_blocks;
	uint16_t padding2[3];
};

struct memory_response {
	uint16_t type;
	uint16_t padding[3];
	uint16_t state;
};

/* §5.15.4 */
struct memory_config {
	uint64_t block_size;
	uint16_t node_id;
	uint8_t padding[6];
	uint64_t addr;
	uint64_t region_size;
	uint64_t usable_region_size;
	uint64_t plugged_size;
	uint64_t requested_size;
};
_Static_assert(sizeof(struct memory_request) == 24 && offsetof(struct memory_response, state) == 8 && sizeof(struct memory_config) == 56,
	       "virtio 1.2 §5.15.4, §5.15.6");

struct memory {
	struct virtio_device dev;
	struct memory_config config;
	uint64_t *plugged; /* one bit a block */
	struct virtq_chain chain;
};

static struct memory *memory_of(struct virtio_device *dev)
{
	return container_of(dev, struct memory, dev);
}

/* ---- blocks ---- */

static bool is_plugged(const struct memory *memory, uint64_t block)
{
	return memory->plugged[block / 64] >> (block % 64) & 1;
}

static void set_plugged(struct memory *memory, uint64_t block, bool on)
{
	if (on)
		memory->plugged[block / 64] |= UINT64_C(1) << (block % 64);
	else
		memory->plugged[block / 64] &= ~(UINT64_C(1) << (block % 64));
}

static enum block_state state_of(const struct memory *memory, uint64_t first, uint64_t count)
{
	uint64_t plugged = 0;

	for (uint64_t block = first; block < first + count; block++)
		plugged += is_plugged(memory, block);
	return plugged == count ? STATE_PLUGGED : plugged ? STATE_MIXED : STATE_UNPLUGGED;
}

static void discard(struct memory *memory, uint64_t first, uint64_t count)
{
	/* All of it is RAM, as virtio_memory_create() has made sure. */
	if (mem_discard(&memory->dev.vm->mem, memory->config.addr + first * BLOCK, count * BLOCK) < 0)
		log_error("virtio", "%s: memory can't be taken back", memory->dev.label);
}

static void unplug_all(struct memory *memory)
{
	const uint64_t blocks = memory->config.region_size / BLOCK;

	for (uint64_t block = 0; block < blocks && memory->config.plugged_size; block++) {
		if (!is_plugged(memory, block))
			continue;
		set_plugged(memory, block, false);
		memory->config.plugged_size -= BLOCK;
		discard(memory, block, 1);
	}
}

/* ---- requests ---- */

/* The blocks that a request names. False: they are not blocks of the region. */
static bool find_blocks(const struct memory *memory, const struct memory_request *request, uint64_t *first)
{
	const struct memory_config *config = &memory->config;
	const uint64_t offset = request->addr - config->addr;

	*first = offset / BLOCK;
	return request->addr >= config->addr && request->nb_blocks && !(offset % BLOCK) && offset < config->region_size &&
	       request->nb_blocks <= (config->region_size - offset) / BLOCK;
}

static enum response_type plug(struct memory *memory, uint64_t first, uint64_t count)
{
	struct memory_config *config = &memory->config;

	if (state_of(memory, first, count) != STATE_UNPLUGGED)
		return RESP_ERROR;
	if (config->plugged_size + count * BLOCK > config->requested_size)
		return RESP_NACK;
	/* Somebody may have used it before it was his. */
	discard(memory, first, count);
	for (uint64_t block = first; block < first + count; block++)
		set_plugged(memory, block, true);
	config->plugged_size += count * BLOCK;
	return RESP_ACK;
}

static enum response_type unplug(struct memory *memory, uint64_t first, uint64_t count)
{
	if (state_of(memory, first, count) != STATE_PLUGGED)
		return RESP_ERROR;
	for (uint64_t block = first; block < first + count; block++)
		set_plugged(memory, block, false);
	memory->config.plugged_size -= count * BLOCK;
	discard(memory, first, count);
	return RESP_ACK;
}

static void serve(struct memory *memory, struct virtq *queue)
{
	struct virtq_chain *chain = &memory->chain;
	struct memory_response response = {.type = RESP_ERROR};
	struct memory_request request = {0};
	const bool whole = virtq_chain_read(chain, 0, &request, sizeof(request)) == sizeof(request);
	uint64_t first;
	const bool blocks = whole && find_blocks(memory, &request, &first);

	if (whole && request.type == REQ_UNPLUG_ALL) {
		unplug_all(memory);
		response.type = RESP_ACK;
	} else if (blocks && request.type == REQ_PLUG) {
		response.type = (uint16_t)plug(memory, first, request.nb_blocks);
	} else if (blocks && request.type == REQ_UNPLUG) {
		response.type = (uint16_t)unplug(memory, first, request.nb_blocks);
	} else if (blocks && request.type == REQ_STATE) {
		response.type = RESP_ACK;
		response.state = (uint16_t)state_of(memory, first, request.nb_blocks);
	}
	virtq_push(queue, chain, (uint32_t)virtq_chain_write(chain, 0, &response, offsetof(struct memory_response, state) + 2));
}

static void memory_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct memory *memory = memory_of(dev);
	unsigned budget = BUDGET;

	lock_take(&dev->lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, &memory->chain) > 0) {
			serve(memory, queue);
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	if (budget == 0)
		work_post(&queue->work);
	virtq_signal(queue);
	lock_release(&dev->lock);
}

/* ---- the rest of a device ---- */

static void memory_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&memory_of(dev)->config + offset, len);
}

static void memory_machine_reset(struct virtio_device *dev)
{
	unplug_all(memory_of(dev));
}

static void memory_destroy(struct virtio_device *dev)
{
	struct memory *memory = memory_of(dev);

	virtio_device_fini(dev);
	platform_free(memory->plugged);
	platform_free(memory);
}

static const struct virtio_device_ops memory_ops = {
	.name = "memory",
	.id = VIRTIO_ID_MEM,
	.config_read = memory_config_read,
	.notify = memory_notify,
	.machine_reset = memory_machine_reset,
	.destroy = memory_destroy,
};

int virtio_memory_create(struct vm *vm, gpa_t gpa, uint64_t size, struct virtio_device **out)
{
	struct memory *memory;
	int err = -ENOMEM;

	if (!size || gpa % BLOCK || size % BLOCK || !mem_hva_writable(&vm->mem, gpa, size))
		return -EINVAL;
	memory = platform_alloc(sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	memory->config = (struct memory_config){.block_size = BLOCK, .addr = gpa, .region_size = size, .usable_region_size = size};
	memory->plugged = platform_alloc((size_t)(size / BLOCK + 63) / 64 * sizeof(*memory->plugged));
	if (!memory->plugged)
		goto free_memory;
	err = virtio_device_init(&memory->dev, vm, &memory_ops, MEM_F_UNPLUGGED_INACCESSIBLE, sizeof(memory->config), 1,
				 (const uint16_t[]){QUEUE_SIZE});
	if (err < 0)
		goto free_bits;
	*out = &memory->dev;
	return 0;
free_bits:
	platform_free(memory->plugged);
free_memory:
	platform_free(memory);
	return err;
}

/* ---- for the host ---- */

int virtio_memory_resize(struct virtio_device *dev, uint64_t requested)
{
	struct memory *memory = memory_of(dev);

	if (requested % BLOCK || requested > memory->config.region_size)
		return -EINVAL;
	lock_take(&dev->lock);
	memory->config.requested_size = requested;
	virtio_config_changed(dev);
	lock_release(&dev->lock);
	return 0;
}

void virtio_memory_look(struct virtio_device *dev, struct virtio_memory_state *state)
{
	const struct memory_config *config = &memory_of(dev)->config;

	lock_take(&dev->lock);
	*state = (struct virtio_memory_state){
		.requested = config->requested_size, .plugged = config->plugged_size, .size = config->region_size};
	lock_release(&dev->lock);
}
