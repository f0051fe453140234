/* Who may have an image open: many readers, or one writer, whether they are ours or QEMU's.
 *
 * Example: `r = image_lock(fd, IMAGE_WRITE, path, why, sizeof(why));` and closing fd gives it back, also in a crash.
 *
 * QEMU's protocol (its block/file-posix.c): whoever uses a permission holds a read lock on byte 100 + permission, whoever doesn't
 * share one with others on byte 200 + permission; both sides lock first and look second. Permissions here: 0 consistent reads, 1
 * writes, 3 another size. The locks belong to open files (OFD), not to processes.
 */
#ifndef DISK_LOCK_H
#define DISK_LOCK_H

#include "base/types.h"

/* TOGETHER: while others write, who say that too. */
enum image_use { IMAGE_READ, IMAGE_READ_TOGETHER, IMAGE_WRITE, IMAGE_WRITE_TOGETHER };

/* Waits up to two seconds for a process that is just ending. 0, or -errno (-EAGAIN: in use) with one sentence in why. */
int image_lock(int fd, enum image_use use, const char *path, char *why, size_t why_size) must_check;
/* Before closing: the kernel takes an io_uring that knows the file apart some time later. */
void image_unlock(int fd);

#endif
