/* The Ctrl-A sequences of the keyboard; see terminal.h.
 *
 * Example: `len = escape_filter(&escape, in, n, out, &used, &action);`
 */
#include "host/linux/terminal.h"

#define CTRL_A 1

/* After Ctrl-A: what the key means, or how many bytes it gives the guest. */
static size_t second_key(uint8_t key, uint8_t *out, enum escape_action *action)
{
	switch (key) {
	case 'x':
		*action = ESCAPE_QUIT;
		return 0;
	case 'h':
		*action = ESCAPE_HELP;
		return 0;
	case CTRL_A:
		out[0] = CTRL_A;
		return 1;
	default:
		out[0] = CTRL_A;
		out[1] = key;
		return 2;
	}
}

size_t escape_filter(struct escape *escape, const uint8_t *in, size_t len, uint8_t *out, size_t *used,
		     enum escape_action *action)
{
	size_t length = 0, i;

	*action = ESCAPE_NONE;
	for (i = 0; i < len && *action == ESCAPE_NONE; i++) {
		uint8_t key = in[i];

		if (escape->pending) {
			escape->pending = false;
			length += second_key(key, out + length, action);
		} else if (key == CTRL_A) {
			escape->pending = true;
		} else {
			out[length++] = key;
		}
	}
	*used = i;
	return length;
}
