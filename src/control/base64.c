/* RFC 4648; see base64.h. */
#include "control/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *bytes, size_t len, char *text)
{
	for (; len; bytes += len < 3 ? len : 3, len -= len < 3 ? len : 3) {
		uint32_t bits = (uint32_t)bytes[0] << 16 | (len > 1 ? (uint32_t)bytes[1] << 8 : 0) | (len > 2 ? bytes[2] : 0);

		*text++ = alphabet[bits >> 18];
		*text++ = alphabet[bits >> 12 & 63];
		*text++ = len > 1 ? alphabet[bits >> 6 & 63] : '=';
		*text++ = len > 2 ? alphabet[bits & 63] : '=';
	}
	*text = 0;
}

static int value_of(char c)
{
	for (int i = 0; i < 64; i++)
		if (alphabet[i] == c)
			return i;
	return -1;
}

/* How many bytes four characters are, in *bits; 0: none. Two at least are no padding, and behind padding nothing but padding comes. */
static unsigned decode_group(const char *text, uint32_t *bits)
{
	unsigned count = 3;

	*bits = 0;
	for (unsigned i = 0; i < 4; i++) {
		int value = value_of(text[i]);

		/* (The NUL at the end is neither.) */
		if (value < 0 ? text[i] != '=' || i < 2 : count < 3)
			return 0;
		if (value < 0)
			count--;
		*bits = *bits << 6 | (value < 0 ? 0 : (uint32_t)value);
	}
	return count;
}

int64_t base64_decode(const char *text, uint8_t *bytes, size_t max)
{
	size_t len = 0;

	while (*text) {
		uint32_t bits;
		unsigned count = decode_group(text, &bits);

		text += 4;
		if (!count || count > max - len || (count < 3 && *text))
			return -1;
		for (unsigned i = 0; i < count; i++)
			bytes[len++] = (uint8_t)(bits >> (16 - 8 * i));
	}
	return (int64_t)len;
}
