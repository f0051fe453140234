/* See vnc_input.h. */
#include "host/linux/vnc_input.h"
#include "control/keysyms.h"
#include "core/vm.h"
#include "dev/input/input.h"

#define BUTTONS    3u
#define WHEEL_UP   0x08
#define WHEEL_DOWN 0x10
#define EVENTS     (2 + BUTTONS + 2 + 1) /* at most, of one report */

static bool send_key(struct vnc_input *input, unsigned code, bool down)
{
	const struct input_event events[] = {{INPUT_KEY, (uint16_t)code, down}, {INPUT_SYN, 0, 0}};
	struct input_sink *sink = input->vm->keyboard;

	return sink && !sink->ops->send(sink, events, ARRAY_SIZE(events));
}

void vnc_input_key(struct vnc_input *input, uint32_t keysym, bool down)
{
	const unsigned code = keysym_code(keysym);

	/* A key that is down and goes down again repeats. */
	if (!code || code >= VNC_INPUT_KEYS || (!down && !input->held[code]))
		return;
	if (send_key(input, code, down))
		input->held[code] = down;
}

/* 0..width-1 becomes 0..INPUT_ABS_MAX. */
static int32_t scale(int at, unsigned size)
{
	if (at < 0 || size < 2)
		return 0;
	if ((unsigned)at >= size)
		return INPUT_ABS_MAX;
	return (int32_t)((uint64_t)(unsigned)at * INPUT_ABS_MAX / (size - 1));
}

static unsigned add_buttons(const struct vnc_input *input, uint8_t buttons, struct input_event *events)
{
	static const uint16_t codes[BUTTONS] = {INPUT_BUTTONS, INPUT_BUTTONS + 2, INPUT_BUTTONS + 1};
	const uint8_t changed = buttons ^ input->buttons;
	unsigned n = 0;

	for (unsigned i = 0; i < BUTTONS; i++)
		if (changed >> i & 1)
			events[n++] = (struct input_event){INPUT_KEY, codes[i], buttons >> i & 1};
	if (changed & buttons & WHEEL_UP)
		events[n++] = (struct input_event){INPUT_REL, INPUT_REL_WHEEL, 1};
	if (changed & buttons & WHEEL_DOWN)
		events[n++] = (struct input_event){INPUT_REL, INPUT_REL_WHEEL, -1};
	return n;
}

void vnc_input_pointer(struct vnc_input *input, unsigned buttons, int x, int y, unsigned width, unsigned height)
{
	struct input_sink *sink = input->vm->pointer;
	struct input_event events[EVENTS] = {{INPUT_ABS, INPUT_ABS_X, scale(x, width)}, {INPUT_ABS, INPUT_ABS_Y, scale(y, height)}};
	unsigned n = 2;

	if (!sink)
		return;
	n += add_buttons(input, (uint8_t)buttons, events + n);
	events[n++] = (struct input_event){INPUT_SYN, 0, 0};
	if (!sink->ops->send(sink, events, n))
		input->buttons = (uint8_t)buttons;
}

void vnc_input_release(struct vnc_input *input)
{
	struct input_sink *sink = input->vm->pointer;
	struct input_event events[BUTTONS + 3];
	unsigned n;

	for (unsigned code = 0; code < VNC_INPUT_KEYS; code++)
		if (input->held[code] && send_key(input, code, false))
			input->held[code] = 0;
	n = add_buttons(input, 0, events);
	if (!sink || !n)
		return;
	events[n++] = (struct input_event){INPUT_SYN, 0, 0};
	if (!sink->ops->send(sink, events, n))
		input->buttons = 0;
}
