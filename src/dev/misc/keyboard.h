/* A PS/2 keyboard: what its commands do and what its keys send, in scan code set 2 or 1. It is part of the 8042 (i8042.c), which holds
 * its lock, translates, and interrupts.
 *
 * A key is its code in set 1, with 0xe0 in the upper byte where the keyboard says e0 first: 0x1e is A, 0xe048 the arrow up, KEY_PAUSE
 * the key that sends e1.
 *
 * Example: `keyboard_key(&kbd, 0x1e, true); keyboard_key(&kbd, 0x1e, false);` and 1e f0 1e is read by keyboard_next().
 */
#ifndef DEV_MISC_KEYBOARD_H
#define DEV_MISC_KEYBOARD_H

#include "base/types.h"

#define KEY_PAUSE    0xe11du
#define KEYBOARD_KEY 8u  /* a key sends at most so many bytes, pressed or released */
#define KEYBOARD_ROOM 256u

struct keyboard {
	uint8_t bytes[KEYBOARD_ROOM]; /* a ring of what it will send */
	unsigned first, count;
	uint8_t set;     /* 1 or 2 */
	uint8_t leds;    /* bits 0-2: scroll, num, caps lock */
	uint8_t rate;    /* typematic; whoever presses keys repeats them */
	uint8_t pending; /* the command whose parameter comes next, or 0 */
	uint8_t last;    /* what it sent last, for 0xfe */
	bool scanning;
};

/* Scan code set 2 in set 1, as the controller translates it; 0xf0 is its affair. */
extern const uint8_t keyboard_set1[256];

void keyboard_reset(struct keyboard *kbd);
/* A byte for it: a command or a parameter. */
void keyboard_write(struct keyboard *kbd, uint8_t value);
/* The next byte it sends; there is one. */
uint8_t keyboard_next(struct keyboard *kbd);
/* A key goes down or up. False: there is no room, or no such key, and it did not. Keys of a keyboard that does not scan are lost. */
bool keyboard_key(struct keyboard *kbd, unsigned key, bool down) must_check;

#endif
