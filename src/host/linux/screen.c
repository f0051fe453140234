/* See screen.h.
 *
 * Example: {"number": 1, "width": 720, "height": 400} is followed by parts of 720 * 400 * 3 bytes: red, green, blue by line.
 */
#include "host/linux/screen.h"
#include "control/base64.h"
#include "core/vm.h"
#include "dev/display/vga.h"
#include <stdlib.h>
#include <string.h>

#define PART 49152u /* bytes in an answer: 64 KiB of text */
#define TRIES 4     /* while the guest changes the mode */

static const char no_screen[] = "this VM has no screen; choose --board pc";
static const char is_off[] = "the screen is off: the guest has not set a mode yet";

/* ---- text ---- */

/* Code page 437 from 0x7f on. */
static const uint16_t cp437[129] = {
	0x2302, 0xc7,   0xfc,   0xe9,   0xe2,   0xe4,   0xe0,   0xe5,   0xe7,   0xea,   0xeb,   0xe8,   0xef,   0xee,   0xec,   0xc4,   0xc5,
	0xc9,   0xe6,   0xc6,   0xf4,   0xf6,   0xf2,   0xfb,   0xf9,   0xff,   0xd6,   0xdc,   0xa2,   0xa3,   0xa5,   0x20a7, 0x192,
	0xe1,   0xed,   0xf3,   0xfa,   0xf1,   0xd1,   0xaa,   0xba,   0xbf,   0x2310, 0xac,   0xbd,   0xbc,   0xa1,   0xab,   0xbb,
	0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
	0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
	0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
	0x3b1,  0xdf,   0x393,  0x3c0,  0x3a3,  0x3c3,  0xb5,   0x3c4,  0x3a6,  0x398,  0x3a9,  0x3b4,  0x221e, 0x3c6,  0x3b5,  0x2229,
	0x2261, 0xb1,   0x2265, 0x2264, 0x2320, 0x2321, 0xf7,   0x2248, 0xb0,   0x2219, 0xb7,   0x221a, 0x207f, 0xb2,   0x25a0, 0xa0,
};

static char *put_character(char *out, uint8_t character)
{
	uint16_t code = character < 0x7f ? character : cp437[character - 0x7f];

	if (code < 0x20)
		code = ' ';
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 63));
	} else {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 63));
		*out++ = (char)(0x80 | (code & 63));
	}
	return out;
}

/* Without the blanks at its end. */
static json_t *line_of(const uint8_t *text, unsigned columns)
{
	char line[3 * VGA_MAX_COLUMNS + 1], *out = line;

	while (columns && (text[columns - 1] == ' ' || !text[columns - 1]))
		columns--;
	for (unsigned i = 0; i < columns; i++)
		out = put_character(out, text[i]);
	return json_stringn(line, (size_t)(out - line));
}

json_t *screen_text(struct vm *vm, const char **why)
{
	uint8_t text[VGA_MAX_ROWS * VGA_MAX_COLUMNS];
	unsigned columns, rows, width, height;
	json_t *lines;

	*why = no_screen;
	if (!vm->screen)
		return NULL;
	if (!vga_text(vm->screen, text, &columns, &rows)) {
		vga_size(vm->screen, &width, &height);
		*why = width ? "the screen shows a picture, not text; take a screenshot" : is_off;
		return NULL;
	}
	*why = NULL;
	lines = json_array();
	for (unsigned row = 0; row < rows; row++)
		json_array_append_new(lines, line_of(text + row * columns, columns));
	return json_pack("{s:i, s:i, s:o}", "columns", (int)columns, "rows", (int)rows, "lines", lines);
}

/* ---- pictures ---- */

void screen_forget(struct screen_shot *shot)
{
	free(shot->pixels);
	shot->pixels = NULL;
}

json_t *screen_take(struct screen_shot *shot, struct vm *vm, const char **why)
{
	*why = no_screen;
	if (!vm->screen)
		return NULL;
	for (unsigned i = 0; i < TRIES; i++) {
		*why = is_off;
		vga_size(vm->screen, &shot->width, &shot->height);
		if (!shot->width)
			return NULL;
		*why = NULL;
		screen_forget(shot);
		shot->pixels = malloc((size_t)shot->width * shot->height * sizeof(*shot->pixels));
		if (!shot->pixels)
			return NULL;
		if (vga_draw(vm->screen, shot->pixels, shot->width, shot->height))
			return json_pack("{s:I, s:i, s:i}", "number", (json_int_t)++shot->number, "width", (int)shot->width, "height",
					 (int)shot->height);
	}
	screen_forget(shot);
	*why = "the guest changes the mode of its screen; try again";
	return NULL;
}

json_t *screen_part(const struct screen_shot *shot, uint64_t number, uint64_t offset, const char **why)
{
	const uint64_t size = (uint64_t)shot->width * shot->height * 3;
	uint64_t len = PART;
	uint8_t *bytes;
	char *text;
	json_t *answer = NULL;

	*why = NULL;
	if (!shot->pixels || number != shot->number) {
		*why = "this screenshot has been replaced by another one; take one again";
		return NULL;
	}
	if (offset >= size) {
		*why = "the screenshot ends before this offset";
		return NULL;
	}
	if (len > size - offset)
		len = size - offset;
	bytes = malloc(len);
	text = malloc(base64_size(len));
	for (uint64_t i = 0; bytes && i < len; i++)
		bytes[i] = (uint8_t)(shot->pixels[(offset + i) / 3] >> (16 - 8 * ((offset + i) % 3)));
	if (bytes && text) {
		base64_encode(bytes, len, text);
		answer = json_pack("{s:s}", "data", text);
	}
	free(text);
	free(bytes);
	return answer;
}
