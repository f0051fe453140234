/* Fields of 9P messages; see p9_message.h. */
#include "backend/p9_message.h"
#include <string.h>

static uint64_t get(struct p9_in *in, unsigned bytes)
{
	uint64_t value = 0;

	if (in->left < bytes) {
		in->bad = true;
		in->left = 0;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)in->at[i] << (8 * i);
	in->at += bytes;
	in->left -= bytes;
	return value;
}

uint8_t p9_get8(struct p9_in *in)
{
	return (uint8_t)get(in, 1);
}

uint16_t p9_get16(struct p9_in *in)
{
	return (uint16_t)get(in, 2);
}

uint32_t p9_get32(struct p9_in *in)
{
	return (uint32_t)get(in, 4);
}

uint64_t p9_get64(struct p9_in *in)
{
	return get(in, 8);
}

void p9_get_string(struct p9_in *in, char *out, size_t size)
{
	size_t len = p9_get16(in);

	out[0] = 0;
	if (len > in->left || len >= size || memchr(in->at, 0, len)) {
		in->bad = true;
		return;
	}
	memcpy(out, in->at, len);
	out[len] = 0;
	in->at += len;
	in->left -= len;
}

static void put(struct p9_out *out, uint64_t value, unsigned bytes)
{
	if (out->size - out->len < bytes) {
		out->full = true;
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		out->bytes[out->len++] = (uint8_t)(value >> (8 * i));
}

void p9_put8(struct p9_out *out, uint8_t value)
{
	put(out, value, 1);
}

void p9_put16(struct p9_out *out, uint16_t value)
{
	put(out, value, 2);
}

void p9_put32(struct p9_out *out, uint32_t value)
{
	put(out, value, 4);
}

void p9_put64(struct p9_out *out, uint64_t value)
{
	put(out, value, 8);
}

void p9_put_string(struct p9_out *out, const char *text, size_t len)
{
	if (len > UINT16_MAX || out->size - out->len < 2 + len) {
		out->full = true;
		return;
	}
	put(out, len, 2);
	memcpy(out->bytes + out->len, text, len);
	out->len += len;
}
