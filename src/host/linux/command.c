/* A command for the guest as a cpio archive (newc, see Linux's Documentation/driver-api/early-userspace/
 * buffer-format.rst); see command.h. */
#include "host/linux/command.h"

#include "base/fmt.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_MAX_SIZE KIB(128)
#define S_DIRECTORY 0040755u
#define S_FILE      0100644u

struct command {
	struct image image;
	const struct image *initrd;
	uint64_t padded; /* where the archive begins: after the initrd, four-byte aligned */
	char *archive;
	size_t archive_size;
};

/* ---- the image: initrd, zeroes, archive ---- */

static size_t smaller(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

static int command_read(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	const struct command *command = image->ctx;
	uint8_t *out = buf;

	if (offset < command->initrd->size && len) {
		size_t part = smaller(len, command->initrd->size - offset);
		int r = command->initrd->read(command->initrd, offset, out, part);

		if (r)
			return r;
		out += part;
		offset += part;
		len -= part;
	}
	if (offset < command->padded && len) {
		size_t part = smaller(len, command->padded - offset);

		memset(out, 0, part);
		out += part;
		offset += part;
		len -= part;
	}
	if (len)
		memcpy(out, command->archive + (offset - command->padded), len);
	return 0;
}

const struct image *command_initrd(const struct command *command)
{
	return &command->image;
}

/* ---- the archive ---- */

static void pad(FILE *out, size_t len)
{
	for (; len % 4; len++)
		fputc(0, out);
}

static void put_entry(FILE *out, const char *name, unsigned mode, const char *data, size_t size)
{
	const size_t name_size = strlen(name) + 1;

	/* magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
	 * namesize, check */
	fprintf(out, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0u, mode, 0u, 0u, 1u, 0u, size,
		0u, 0u, 0u, 0u, name_size, 0u);
	fwrite(name, 1, name_size, out);
	pad(out, 110 + name_size);
	if (size)
		fwrite(data, 1, size, out);
	pad(out, size);
}

/* In single quotes, where only the single quote itself is special. */
static void put_quoted(FILE *out, const char *word)
{
	fputs(" '", out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			fputc(*word, out);
	}
	fputc('\'', out);
}

static int build_archive(struct command *command, const char *const *argv)
{
	char *line = NULL;
	size_t line_size = 0;
	FILE *text = open_memstream(&line, &line_size);
	FILE *out = open_memstream(&command->archive, &command->archive_size);
	bool failed = !text || !out;

	if (!failed) {
		fputs("set --", text);
		for (; *argv; argv++)
			put_quoted(text, *argv);
		fputc('\n', text);
	}
	if (text && fclose(text))
		failed = true;
	if (!failed) {
		put_entry(out, "etc", S_DIRECTORY, NULL, 0);
		put_entry(out, "etc/ruse", S_DIRECTORY, NULL, 0);
		put_entry(out, "etc/ruse/command", S_FILE, line, line_size);
		put_entry(out, "TRAILER!!!", 0, NULL, 0);
	}
	if (out && fclose(out))
		failed = true;
	free(line);
	return failed ? -ENOMEM : 0;
}

int command_create(const char *const *argv, const struct image *initrd, struct command **out, char *why,
		   size_t why_size)
{
	struct command *command = calloc(1, sizeof(*command));
	int r = command ? build_archive(command, argv) : -ENOMEM;

	if (!r && command->archive_size > COMMAND_MAX_SIZE) {
		fmt_print(why, why_size, "the command for the guest is longer than %u KiB; put it into a file of the guest",
			  (unsigned)(COMMAND_MAX_SIZE >> 10));
		command_destroy(command);
		return -E2BIG;
	}
	if (r) {
		fmt_print(why, why_size, "no memory for the guest's command; free some on the host");
		command_destroy(command);
		return r;
	}
	command->initrd = initrd;
	command->padded = (initrd->size + 3) & ~3ull;
	command->image = (struct image){.name = initrd->name,
					.size = command->padded + command->archive_size,
					.read = command_read,
					.ctx = command};
	*out = command;
	return 0;
}

void command_destroy(struct command *command)
{
	if (!command)
		return;
	free(command->archive);
	free(command);
}

bool command_status(const char *text, size_t len, int *status)
{
	int value = 0;

	/* A digit to three and the newline: without it the guest died in the middle. */
	if (len < 2 || len > 4 || text[len - 1] != '\n')
		return false;
	for (size_t i = 0; i + 1 < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (text[i] - '0');
	}
	*status = value;
	return value <= 255;
}
