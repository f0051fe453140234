/* Uses an image as a machine would, by commands from stdin: what qemu-io is for QEMU.
 *
 * Example: printf 'write 65536 4096 7\nzero 0 512\nflush\n' | disk_io disk.qcow2 qcow2 [BACKING-DIR]
 *
 *     write OFFSET LENGTH BYTE     zero OFFSET LENGTH 0|1 (unmap)     discard OFFSET LENGTH     flush     hold (says `held`)
 */
#include "disk/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int carry_out(struct disk_image *image, const char *line)
{
	unsigned long long offset, length, value;

	if (sscanf(line, "write %llu %llu %llu", &offset, &length, &value) == 3) {
		struct iovec iov = {malloc(length), length};
		int r;

		if (!iov.iov_base)
			return -1;
		memset(iov.iov_base, (int)value, length);
		r = disk_image_write(image, offset, (struct span){&iov, 1, 0}, length);
		free(iov.iov_base);
		return r;
	}
	if (sscanf(line, "zero %llu %llu %llu", &offset, &length, &value) == 3)
		return disk_image_zero(image, offset, length, value != 0);
	if (sscanf(line, "discard %llu %llu", &offset, &length) == 2)
		return disk_image_discard(image, offset, length);
	if (!strncmp(line, "flush", 5))
		return disk_image_flush(image);
	if (!strncmp(line, "hold", 4)) {
		puts("held");
		fflush(stdout);
		return 0;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct disk_image_options options = {.writable = true, .discard = true};
	struct disk_image *image;
	char line[256], why[512];
	int r;

	if (argc < 3)
		return 2;
	options.path = argv[1];
	options.format = disk_format_find(argv[2]);
	options.backing_dir = argc > 3 ? argv[3] : NULL;
	if (disk_image_open(&options, &image, why, sizeof(why)) < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		r = carry_out(image, line);
		if (r < 0) {
			fprintf(stderr, "%s: error %d\n", line, r);
			return 1;
		}
	}
	return disk_image_close(image) < 0;
}
