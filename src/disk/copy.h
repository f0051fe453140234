/* From one image into another.
 *
 * Example:
 *     r = disk_copy(from, to, false);                // all that is not zero
 *     r = disk_commit(overlay, why, sizeof(why));    // what the overlay has into what lies under it
 */
#ifndef DISK_COPY_H
#define DISK_COPY_H

#include "disk/image.h"

/* `to` reads as zeroes where nothing was written, or is a block device. Flushes at the end. 0 or -errno. */
int disk_copy(struct disk_image *from, struct disk_image *to, bool compress) must_check;

/* The image was opened with backing_writable. Its backing file grows if it is smaller. Afterwards the image is empty and shows what it
 * showed before. If the process ends meanwhile nothing is lost: do it again. 0, or -errno with one sentence in why. */
int disk_commit(struct disk_image *image, char *why, size_t why_size) must_check;

#endif
