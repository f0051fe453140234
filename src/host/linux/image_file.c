/* Images from files; see image_file.h.
 *
 * Example: `r = image_file_open(&initrd, config->initrd, "initrd", why, sizeof(why));`
 */
#include "host/linux/image_file.h"
#include "base/checked.h"
#include "base/fmt.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ctx holds the descriptor plus one, so that a zeroed image holds none. */
static void *fd_to_ctx(int fd)
{
	return (void *)(intptr_t)(fd + 1);
}

static int fd_of(const struct image *image)
{
	return (int)(intptr_t)image->ctx - 1;
}

static int read_at(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	uint8_t *at = buf;
	uint64_t end;

	if (add_overflow(offset, len, &end) || end > image->size)
		return -EINVAL;
	while (len > 0) {
		ssize_t n = pread(fd_of(image), at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO; /* the file shrank under us */
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

#define PIPE_LIMIT GIB(4)

/* What comes out of a pipe, in an anonymous file. Returns its descriptor or -errno. */
static int spool(int fd)
{
	static const size_t chunk = 65536;
	uint8_t buf[65536];
	uint64_t total = 0;
	int copy = memfd_create("ruse-image", MFD_CLOEXEC);
	int r;

	if (copy < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, buf, chunk);

		if (n == 0)
			return copy;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write(copy, buf, (size_t)n) != n) {
			r = -errno;
			break;
		}
		total += (uint64_t)n;
		if (total > PIPE_LIMIT) {
			r = -EFBIG;
			break;
		}
	}
	close(copy);
	return r;
}

/* Replaces *fd by something that can be read at any offset, and learns its size. */
static int prepare(int *fd, uint64_t *size)
{
	struct stat st;
	off_t end;
	int copy;

	if (fstat(*fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
		copy = spool(*fd);
		if (copy < 0)
			return copy;
		close(*fd);
		*fd = copy;
	}
	end = lseek(*fd, 0, SEEK_END); /* block devices too */
	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

int image_file_open(struct image *image, const char *path, const char *what, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r = fd < 0 ? -errno : 0;
	uint64_t size = 0;

	*image = (struct image){.name = path};
	if (r == 0)
		r = prepare(&fd, &size);
	if (r < 0) {
		fmt_print(why, why_size, "%s '%s': %s", what, path, strerror(-r));
		goto fail;
	}
	if (size == 0) {
		fmt_print(why, why_size, "%s '%s' is empty", what, path);
		r = -EINVAL;
		goto fail;
	}
	image->size = size;
	image->read = read_at;
	image->ctx = fd_to_ctx(fd);
	return 0;
fail:
	if (fd >= 0)
		close(fd);
	return r;
}

void image_file_close(struct image *image)
{
	if (image->ctx)
		close(fd_of(image));
	image->ctx = NULL;
}
