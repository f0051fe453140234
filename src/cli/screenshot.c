/* `ruse ctl NAME screenshot FILE.png`: the picture comes by parts (host/linux/screen.h) and is encoded here, outside of the VM.
 *
 * Example: `ruse ctl web screenshot - | display`
 */
#include "cli/screenshot.h"
#include "control/base64.h"
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIDE_MAX 16384

/* The picture's bytes, to be freed; NULL: it has been said why. */
static uint8_t *fetch(struct vm_link *link, unsigned *width, unsigned *height)
{
	json_t *shot = vms_ask(link, "screenshot");
	json_int_t number = json_integer_value(json_object_get(shot, "number"));
	json_int_t w = json_integer_value(json_object_get(shot, "width")), h = json_integer_value(json_object_get(shot, "height"));
	const bool sound = shot && w > 0 && w <= SIDE_MAX && h > 0 && h <= SIDE_MAX;
	const size_t size = sound ? (size_t)w * (size_t)h * 3 : 0;
	uint8_t *bytes = sound ? malloc(size) : NULL;
	int64_t got = 0;

	if (shot && !bytes)
		fputs("ruse: the screenshot's size makes no sense, or there is no memory for it\n", stderr);
	json_decref(shot);
	for (size_t done = 0; bytes && done < size; done += (size_t)got) {
		json_t *arguments = json_pack("{s:I, s:I}", "number", number, "offset", (json_int_t)done);
		json_t *part = vms_ask_with(link, "screenshot-part", arguments);
		const char *data = json_string_value(json_object_get(part, "data"));

		got = data ? base64_decode(data, bytes + done, size - done) : 0;
		if (part && got <= 0)
			fputs("ruse: the VM sends no screenshot; is it of another version?\n", stderr);
		json_decref(part);
		json_decref(arguments);
		if (got <= 0) {
			free(bytes);
			return NULL;
		}
	}
	*width = (unsigned)w;
	*height = (unsigned)h;
	return bytes;
}

static bool encode(const uint8_t *bytes, unsigned width, unsigned height, FILE *file)
{
	png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};

	return png_image_write_to_stdio(&image, file, 0, bytes, 0, NULL);
}

int screenshot_save(struct vm_link *link, const char *path)
{
	unsigned width, height;
	uint8_t *bytes = fetch(link, &width, &height);
	FILE *file;
	bool saved;

	if (!bytes)
		return 1;
	file = strcmp(path, "-") ? fopen(path, "wbe") : fdopen(dup(STDOUT_FILENO), "wb");
	saved = file && encode(bytes, width, height, file);
	if (file && fclose(file))
		saved = false;
	free(bytes);
	if (!saved)
		fprintf(stderr, "ruse: the screenshot can't be written to '%s': %s\n", path, strerror(errno));
	return saved ? 0 : 1;
}
