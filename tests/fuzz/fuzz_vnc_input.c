/* libFuzzer target for what is ours between a viewer's client and the guest's keyboard and pointer: src/host/linux/vnc_input.c. The
 * messages themselves are libvncserver's.
 *
 * Example:
 *     fuzz_vnc_input -max_len=1024 -runs=100000
 *
 * The input is rounds of 12 bytes: what the client does, whether the guest's devices have room, and numbers. Invariants: what is sent are
 * whole reports of keys that there are, of positions on the screen; a key that goes up was down; when the client is gone all are up.
 */
#include "core/vm.h"
#include "dev/input/input.h"
#include "host/linux/vnc_input.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define ROUND 12u

struct receiver {
	struct input_sink sink;
	bool full, keyboard;
	bool down[INPUT_BUTTON_LAST + 1];
};

static void take_key(struct receiver *receiver, const struct input_event *event)
{
	CHECK(receiver->keyboard ? event->code > 0 && event->code < VNC_INPUT_KEYS :
				 event->code >= INPUT_BUTTONS && event->code <= INPUT_BUTTON_LAST);
	CHECK(event->value == 0 || event->value == 1);
	CHECK(event->value || receiver->down[event->code]);
	receiver->down[event->code] = event->value;
}

static void take(struct receiver *receiver, const struct input_event *event)
{
	switch (event->type) {
	case INPUT_KEY:
		take_key(receiver, event);
		break;
	case INPUT_ABS:
		CHECK(!receiver->keyboard && event->code <= INPUT_ABS_Y && event->value >= 0 && event->value <= INPUT_ABS_MAX);
		break;
	case INPUT_REL:
		CHECK(!receiver->keyboard && event->code == INPUT_REL_WHEEL && (event->value == 1 || event->value == -1));
		break;
	default:
		CHECK(event->type == INPUT_SYN && !event->code && !event->value);
		break;
	}
}

static const char *on_send(struct input_sink *sink, const struct input_event *events, unsigned count)
{
	struct receiver *receiver = container_of(sink, struct receiver, sink);

	CHECK(count >= 2 && events[count - 1].type == INPUT_SYN);
	if (receiver->full)
		return "full";
	for (unsigned i = 0; i < count; i++)
		take(receiver, &events[i]);
	return NULL;
}

static const struct input_sink_ops ops = {.send = on_send};

static void act(struct vnc_input *input, const uint8_t *round)
{
	uint32_t word;
	uint16_t x, y, width, height;

	memcpy(&word, round + 4, sizeof(word));
	memcpy(&x, round + 4, sizeof(x));
	memcpy(&y, round + 6, sizeof(y));
	memcpy(&width, round + 8, sizeof(width));
	memcpy(&height, round + 10, sizeof(height));
	switch (round[0] % 4) {
	case 0: vnc_input_key(input, word, round[2] & 1); break;
	case 1: vnc_input_key(input, (round[3] & 1 ? 0xff00u : 0u) | round[4], round[2] & 1); break;
	case 2: vnc_input_pointer(input, round[2], (int16_t)x, (int16_t)y, width, height); break;
	default: vnc_input_release(input); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm vm;
	struct receiver keyboard = {.sink.ops = &ops, .keyboard = true}, pointer = {.sink.ops = &ops};
	struct vnc_input input = {.vm = &vm};

	vm.keyboard = &keyboard.sink;
	vm.pointer = &pointer.sink;
	for (; size >= ROUND; data += ROUND, size -= ROUND) {
		keyboard.full = (data[1] & 0x81) == 0x81;
		pointer.full = (data[1] & 0x82) == 0x82;
		act(&input, data);
	}
	keyboard.full = pointer.full = false;
	vnc_input_release(&input);
	for (unsigned i = 0; i < ARRAY_SIZE(keyboard.down); i++)
		CHECK(!keyboard.down[i] && !pointer.down[i]);
	return 0;
}
