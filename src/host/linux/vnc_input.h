/* What a viewer's client says of its keyboard and its pointer (RFC 6143 7.5.4, 7.5.5), on its way to the guest's: dev/input/input.h.
 * One for each client, which knows what that client holds down.
 *
 * Example:
 *     struct vnc_input input = {.vm = vm};
 *     vnc_input_key(&input, 'A', true);
 *     vnc_input_pointer(&input, 1, 100, 100, 640, 480);   // the left button goes down there
 *     vnc_input_release(&input);                          // the client is gone: so is its finger
 */
#ifndef HOST_LINUX_VNC_INPUT_H
#define HOST_LINUX_VNC_INPUT_H

#include "base/types.h"

#define VNC_INPUT_KEYS 256u

struct vm;

struct vnc_input {
	struct vm *vm;
	uint8_t held[VNC_INPUT_KEYS]; /* by code, 1: it is down */
	uint8_t buttons;              /* as RFB has them: left, middle, right, wheel up, wheel down */
};

/* Keys that the guest's keyboard doesn't have, or has no room for, are lost. */
void vnc_input_key(struct vnc_input *input, uint32_t keysym, bool down);
/* x and y, in pixels of a screen of that size, may be anything. Nothing is done without a pointer. */
void vnc_input_pointer(struct vnc_input *input, unsigned buttons, int x, int y, unsigned width, unsigned height);
/* Lets go of everything. */
void vnc_input_release(struct vnc_input *input);

#endif
