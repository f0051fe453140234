/* Names of keys, for people: those of linux/input-event-codes.h in small letters without KEY_, and button-left, -right and -middle.
 *
 * Example: `key_code("leftctrl", 8)` is 29
 */
#ifndef CONTROL_KEYS_H
#define CONTROL_KEYS_H

#include "base/types.h"

/* 0: there is no such key. */
uint16_t key_code(const char *name, size_t len);

#endif
