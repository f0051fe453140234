/* What a person does at a keyboard and a pointer, on its way into the guest: the seam between who has it (a viewer's connection, `ruse ctl`)
 * and the device that shows it to the guest (dev/virtio/input.c).
 *
 * Events are Linux's (include/uapi/linux/input-event-codes.h), as virtio 1.2 §5.8 has them too: type, code, value. They come in reports:
 * what happened at once, with an INPUT_SYN behind it.
 *
 * Example, a key that is pressed and let go:
 *     const struct input_event events[] = {{INPUT_KEY, 30, 1}, {INPUT_SYN, 0, 0}, {INPUT_KEY, 30, 0}, {INPUT_SYN, 0, 0}};
 *     const char *why = vm->keyboard->ops->send(vm->keyboard, events, ARRAY_SIZE(events));
 */
#ifndef DEV_INPUT_INPUT_H
#define DEV_INPUT_INPUT_H

#include "base/types.h"

enum input_type { INPUT_SYN = 0, INPUT_KEY = 1, INPUT_REL = 2, INPUT_ABS = 3, INPUT_LED = 17, INPUT_REP = 20 };

/* Axes: positions (INPUT_ABS) and the wheel (INPUT_REL). */
#define INPUT_ABS_X     0
#define INPUT_ABS_Y     1
#define INPUT_REL_WHEEL 8
#define INPUT_ABS_MAX   32767 /* the right and the lower edge of the screen; 0: the left and the upper */

/* Buttons of a pointer are keys from here on: left, right, middle, side, extra. */
#define INPUT_BUTTONS     0x110
#define INPUT_BUTTON_LAST 0x114

struct input_event {
	uint16_t type, code;
	int32_t value; /* a key: 1 down, 0 up */
};

struct input_sink;

struct input_sink_ops {
	/* Takes all of the events or none. NULL, or one sentence (static) that says why not. Any thread, no lock held. */
	const char *(*send)(struct input_sink *sink, const struct input_event *events, unsigned count);
};

struct input_sink {
	const struct input_sink_ops *ops;
};

#endif
