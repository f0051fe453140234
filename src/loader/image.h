/* An image that can be read again for a machine reset: the host's file, behind one function.
 *
 * Example: `if (image->read(image, 0, &header, sizeof(header)) < 0) return -EIO;`
 *
 * Everything in an image is untrusted; a loader asks for no byte at or behind image->size.
 */
#ifndef LOADER_IMAGE_H
#define LOADER_IMAGE_H

#include "base/types.h"

struct mem;

struct image {
	const char *name; /* for messages */
	uint64_t size;
	/* Copies [offset, offset+len) to buf. 0 or -errno. */
	int (*read)(const struct image *image, uint64_t offset, void *buf, size_t len);
	void *ctx;
};

/* read(), refusing ranges outside of the image with -EINVAL. */
int image_read(const struct image *image, uint64_t offset, void *buf, size_t len) must_check;

/* Copies [offset, offset+len) of the image into guest RAM at gpa. -EINVAL: not inside the image;
 * -EFAULT: not RAM; else what read() said. */
int image_to_mem(const struct image *image, uint64_t offset, uint64_t len, struct mem *mem,
		 gpa_t gpa) must_check;

#endif
