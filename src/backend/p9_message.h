/* Reading and writing the fields of 9P messages: little-endian numbers, strings of 16-bit length. What goes beyond the end is noted, not
 * done; who has read or written everything looks once.
 *
 * Example:
 *     uint32_t fid = p9_get32(&in);
 *     p9_get_name(&in, name);
 *     if (in.bad) return -EINVAL;
 */
#ifndef BACKEND_P9_MESSAGE_H
#define BACKEND_P9_MESSAGE_H

#include "base/types.h"

struct p9_in {
	const uint8_t *at;
	size_t left;
	bool bad; /* it was too short, or a string too long or with a NUL in it */
};

uint8_t p9_get8(struct p9_in *in);
uint16_t p9_get16(struct p9_in *in);
uint32_t p9_get32(struct p9_in *in);
uint64_t p9_get64(struct p9_in *in);
/* A string with its NUL into size bytes. */
void p9_get_string(struct p9_in *in, char *out, size_t size);

struct p9_out {
	uint8_t *bytes;
	size_t len, size;
	bool full; /* something did not fit, and is not there */
};

void p9_put8(struct p9_out *out, uint8_t value);
void p9_put16(struct p9_out *out, uint16_t value);
void p9_put32(struct p9_out *out, uint32_t value);
void p9_put64(struct p9_out *out, uint64_t value);
void p9_put_string(struct p9_out *out, const char *text, size_t len);

#endif
