/* A kernel or initrd as the board reads it: a file, kept open so that a machine reset can read it again
 * from inside the sandbox.
 *
 * Example:
 *     struct image kernel;
 *     r = image_file_open(&kernel, "vmlinuz", "kernel", why, sizeof(why));
 *     ...
 *     image_file_close(&kernel);
 */
#ifndef HOST_LINUX_IMAGE_FILE_H
#define HOST_LINUX_IMAGE_FILE_H

#include "board/board.h"

/* `what` names its role in messages. path must outlive the image. 0, or -errno with one sentence in why:
 * missing, unreadable, a directory, empty. A pipe is read to its end into memory first (at most 4 GiB). */
int image_file_open(struct image *image, const char *path, const char *what, char *why, size_t why_size) must_check;
/* An image that was zeroed and never opened is allowed. */
void image_file_close(struct image *image);

#endif
