/* Keys of X (keysymdef.h, which RFB names in KeyEvent, RFC 6143 7.5.4) as keys of a keyboard with the layout of the United States.
 *
 * Example: `keysym_code('A')` and `keysym_code('a')` are 30, `keysym_code(0xff0d)` is 28 (enter); shift is a key of its own.
 */
#ifndef CONTROL_KEYSYMS_H
#define CONTROL_KEYSYMS_H

#include "base/types.h"

/* Linux's code (input-event-codes.h), or 0: that keyboard has no such key. */
uint16_t keysym_code(uint32_t keysym);

#endif
