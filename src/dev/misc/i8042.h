/* The 8042 keyboard controller at ports 0x60 and 0x64, with a keyboard or with nothing plugged in. A guest probes it without time-outs
 * either way, finds no mouse answering, and can reset the machine by pulsing output line 0 (command 0xfe) or writing the output port.
 * Port 0x92 (fast A20 and reset) is here too. A20 is always on.
 *
 * Example: `r = i8042_create(vm, NULL, NULL);` or `r = i8042_create(vm, &line1, &i8042);` and, from any thread,
 *     if (!i8042_type(i8042, keys, count)) ... later;
 */
#ifndef DEV_MISC_I8042_H
#define DEV_MISC_I8042_H

#include "core/vm.h"
#include "dev/input/input.h"

struct i8042;

/* A key (dev/misc/keyboard.h) that goes down or up. */
struct key_stroke {
	uint16_t key;
	bool down;
};

/* irq: the keyboard's, interrupt 1; NULL: none is plugged in. out: may be NULL. */
int i8042_create(struct vm *vm, const struct irq_line *irq, struct i8042 **out) must_check;
/* All of them, or none: the keyboard has no room, for the guest does not read it. Any thread. */
bool i8042_type(struct i8042 *i8042, const struct key_stroke *strokes, unsigned count) must_check;
/* The same for events (dev/input/input.h). */
struct input_sink *i8042_sink(struct i8042 *i8042);

#endif
