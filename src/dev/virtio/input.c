/* The input device (virtio 1.2 §5.8): a keyboard, or a tablet, which is a pointer that says where it is, not how far it went.
 *
 * Example: `err = virtio_input_create(vm, VIRTIO_INPUT_KEYBOARD, &vdev, &vm->keyboard);`
 *
 * Events wait in a ring until the driver has buffers for them. A report that does not fit into it as a whole is refused, so that a
 * key never stays down because its release was lost. Nothing waits for a driver that isn't there.
 */
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/input/input.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE  64
#define PENDING_MAX 512u
#define BUDGET      256u

enum { QUEUE_EVENT, QUEUE_STATUS, QUEUE_COUNT };

/* struct virtio_input_config */
#define CONFIG_SELECT 0
#define CONFIG_SUBSEL 1
#define CONFIG_LENGTH 2 /* `size` in the manual */
#define CONFIG_DATA   8
#define DATA_SIZE     128
#define CONFIG_SIZE   (CONFIG_DATA + DATA_SIZE)

enum select { SELECT_NAME = 1, SELECT_SERIAL = 2, SELECT_IDS = 3, SELECT_PROPERTIES = 0x10, SELECT_EVENTS = 0x11, SELECT_ABS = 0x12 };

#define BUS_VIRTUAL 6

/* §5.8.4, §5.8.6 */
struct input_ids {
	uint16_t bus, vendor, product, version;
};
struct input_abs {
	uint32_t min, max, fuzz, flat, resolution;
};
_Static_assert(sizeof(struct input_event) == 8 && offsetof(struct input_event, value) == 4, "struct virtio_input_event");

struct range {
	uint16_t type, first, last; /* codes */
};

/* What a device can say: keys 1 to 127 are those of a PC's keyboard with those that Linux has put between them. */
static const struct kind {
	const char *name;
	uint16_t product;
	unsigned range_count;
	struct range ranges[4];
} kinds[] = {
	[VIRTIO_INPUT_KEYBOARD] = {"ruse keyboard", 1, 3, {{INPUT_KEY, 1, 127}, {INPUT_LED, 0, 2}, {INPUT_REP, 0, 1}}},
	[VIRTIO_INPUT_TABLET] = {"ruse tablet", 2, 3,
				 {{INPUT_KEY, INPUT_BUTTONS, INPUT_BUTTON_LAST}, {INPUT_REL, INPUT_REL_WHEEL, INPUT_REL_WHEEL},
				  {INPUT_ABS, INPUT_ABS_X, INPUT_ABS_Y}}},
};

struct input {
	struct virtio_device dev;
	struct input_sink sink;
	const struct kind *kind;

	/* All under the lock. */
	uint8_t select, subsel;
	struct virtq_chain chain;
	struct input_event pending[PENDING_MAX];
	unsigned first, count;
};

static struct input *input_of(struct virtio_device *dev)
{
	return container_of(dev, struct input, dev);
}

/* ---- configuration space ---- */

static unsigned bitmap_of(const struct kind *kind, uint8_t type, uint8_t data[DATA_SIZE])
{
	unsigned length = 0;

	for (unsigned i = 0; i < kind->range_count; i++) {
		const struct range *range = &kind->ranges[i];

		if (range->type != type)
			continue;
		for (unsigned code = range->first; code <= range->last; code++)
			data[code / 8] |= (uint8_t)(1u << code % 8);
		if (range->last / 8u + 1 > length)
			length = range->last / 8u + 1;
	}
	return length;
}

static bool can_say(const struct kind *kind, uint16_t type, uint16_t code)
{
	if (type == INPUT_SYN)
		return code == 0;
	if (type == INPUT_LED || type == INPUT_REP)
		return false; /* the guest says those */
	for (unsigned i = 0; i < kind->range_count; i++)
		if (kind->ranges[i].type == type && code >= kind->ranges[i].first && code <= kind->ranges[i].last)
			return true;
	return false;
}

/* What the driver has selected; its length. 0: there is no such thing. */
static unsigned selected(const struct input *input, uint8_t data[DATA_SIZE])
{
	const struct kind *kind = input->kind;
	const struct input_abs abs = {.max = INPUT_ABS_MAX};
	const bool whole = input->subsel == 0;
	struct input_ids ids;
	size_t length = 0;

	switch (input->select) {
	case SELECT_NAME:
		while (whole && kind->name[length]) {
			data[length] = (uint8_t)kind->name[length];
			length++;
		}
		return (unsigned)length;
	case SELECT_IDS:
		if (!whole)
			return 0;
		ids = (struct input_ids){.bus = BUS_VIRTUAL, .product = kind->product, .version = 1};
		memcpy(data, &ids, sizeof(ids));
		return sizeof(ids);
	case SELECT_EVENTS:
		return bitmap_of(kind, input->subsel, data);
	case SELECT_ABS:
		if (!can_say(kind, INPUT_ABS, input->subsel))
			return 0;
		memcpy(data, &abs, sizeof(abs));
		return sizeof(abs);
	default:
		return 0;
	}
}

static void input_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	const struct input *input = input_of(dev);
	uint8_t config[CONFIG_SIZE] = {[CONFIG_SELECT] = input->select, [CONFIG_SUBSEL] = input->subsel};

	config[CONFIG_LENGTH] = (uint8_t)selected(input, config + CONFIG_DATA);
	memcpy(buf, config + offset, len);
}

static void input_config_write(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	struct input *input = input_of(dev);
	const uint8_t *bytes = buf;

	for (unsigned i = 0; i < len; i++) {
		if (offset + i == CONFIG_SELECT)
			input->select = bytes[i];
		else if (offset + i == CONFIG_SUBSEL)
			input->subsel = bytes[i];
	}
}

/* ---- queues ---- */

/* As many events as there are buffers for; false: there was more to do than one turn may take. Lock held. */
static bool deliver(struct input *input)
{
	struct virtq *queue = &input->dev.queues[QUEUE_EVENT];
	unsigned budget = BUDGET;

	do {
		virtq_disable_notify(queue);
		while (budget > 0 && input->count > 0 && virtq_pop(queue, &input->chain) > 0) {
			const struct input_event *event = &input->pending[input->first];

			budget--;
			if (input->chain.in_len < sizeof(*event)) {
				virtq_push(queue, &input->chain, 0);
				virtio_device_broken(&input->dev, "a buffer for an event has less than 8 bytes");
				return true;
			}
			virtq_push(queue, &input->chain, (uint32_t)virtq_chain_write(&input->chain, 0, event, sizeof(*event)));
			input->first = (input->first + 1) % PENDING_MAX;
			input->count--;
		}
	} while (budget > 0 && input->count > 0 && virtq_enable_notify(queue));
	virtq_signal(queue);
	return budget > 0;
}

/* Lamps of the keyboard: nobody sees them. False as above. Lock held. */
static bool take_status(struct input *input, struct virtq *queue)
{
	unsigned budget = BUDGET;

	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, &input->chain) > 0) {
			virtq_push(queue, &input->chain, 0);
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	virtq_signal(queue);
	return budget > 0;
}

static void input_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct input *input = input_of(dev);
	bool finished;

	lock_take(&dev->lock);
	finished = queue->index == QUEUE_EVENT ? deliver(input) : take_status(input, queue);
	lock_release(&dev->lock);
	if (!finished)
		work_post(&queue->work);
}

static const char *input_send(struct input_sink *sink, const struct input_event *events, unsigned count)
{
	struct input *input = container_of(sink, struct input, sink);
	const char *why = NULL;

	for (unsigned i = 0; i < count; i++)
		if (!can_say(input->kind, events[i].type, events[i].code))
			return "the device has no such key or axis";
	lock_take(&input->dev.lock);
	if (!virtio_device_live(&input->dev)) {
		why = "the guest does not listen to it: it has no driver (virtio_input), or has not started it yet";
	} else if (count > PENDING_MAX - input->count) {
		why = "the guest has not taken what was sent before; try again later";
	} else {
		for (unsigned i = 0; i < count; i++)
			input->pending[(input->first + input->count++) % PENDING_MAX] = events[i];
	}
	lock_release(&input->dev.lock);
	if (!why)
		work_post(&input->dev.queues[QUEUE_EVENT].work);
	return why;
}

static const struct input_sink_ops sink_ops = {.send = input_send};

/* ---- life ---- */

static void input_reset(struct virtio_device *dev)
{
	struct input *input = input_of(dev);

	input->select = input->subsel = 0;
	input->first = input->count = 0;
}

static void input_destroy(struct virtio_device *dev)
{
	virtio_device_fini(dev);
	platform_free(input_of(dev));
}

static const struct virtio_device_ops input_ops = {
	.name = "input",
	.id = VIRTIO_ID_INPUT,
	.config_read = input_config_read,
	.config_write = input_config_write,
	.notify = input_notify,
	.reset = input_reset,
	.destroy = input_destroy,
};

int virtio_input_create(struct vm *vm, enum virtio_input_kind kind, struct virtio_device **out, struct input_sink **sink)
{
	struct input *input = platform_alloc(sizeof(*input));
	int err;

	if (!input)
		return -ENOMEM;
	err = virtio_device_init(&input->dev, vm, &input_ops, 0, CONFIG_SIZE, QUEUE_COUNT, (const uint16_t[]){QUEUE_SIZE, QUEUE_SIZE});
	if (err < 0) {
		platform_free(input);
		return err;
	}
	input->kind = &kinds[kind];
	input->sink.ops = &sink_ops;
	*out = &input->dev;
	*sink = &input->sink;
	return 0;
}
