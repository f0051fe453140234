/* Bytes as text, RFC 4648.
 *
 * Example: `base64_encode(bytes, 3, text)` with "Man" gives "TWFu"; text has base64_size(3) bytes.
 */
#ifndef CONTROL_BASE64_H
#define CONTROL_BASE64_H

#include "base/types.h"

/* Of the text, with its NUL. len < SIZE_MAX / 2. */
static inline size_t base64_size(size_t len)
{
	return (len + 2) / 3 * 4 + 1;
}

void base64_encode(const uint8_t *bytes, size_t len, char *text);
/* How many bytes it was, at most max; -1: no such text, or more. */
int64_t base64_decode(const char *text, uint8_t *bytes, size_t max);

#endif
