/* Files and block devices of the host; see file.h. */
#include "disk/file.h"
#include "disk/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECT_ALIGN  512u
#define DIRECT_BOUNCE 65536u /* where memory isn't aligned; its own alignment too */

struct host_file {
	struct disk_file file;
	int fd;
	int direct; /* -1: none */
	bool unsafe;
	bool device;
	void *bounce;
};

static struct host_file *host_of(const struct disk_file *file)
{
	return container_of((struct disk_file *)(uintptr_t)file, struct host_file, file);
}

/* Sectors whole: what isn't goes through the page cache. Both never meet in the same sectors at the same time, since the format puts what
 * is small (entries of tables) and what is large (data) into clusters of their own. */
static bool is_direct(const struct host_file *host, uint64_t offset, const struct iovec *iov, unsigned count, uint64_t *len, bool *aligned)
{
	*len = 0;
	*aligned = true;
	for (unsigned i = 0; i < count; i++) {
		*len += iov[i].iov_len;
		if ((uintptr_t)iov[i].iov_base % DIRECT_ALIGN || iov[i].iov_len % DIRECT_ALIGN)
			*aligned = false;
	}
	return host->direct >= 0 && offset % DIRECT_ALIGN == 0 && *len % DIRECT_ALIGN == 0;
}

static int ensure_bounce(struct host_file *host)
{
	return host->bounce || posix_memalign(&host->bounce, DIRECT_BOUNCE, DIRECT_BOUNCE) == 0 ? 0 : -ENOMEM;
}

static int64_t host_readv(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	struct host_file *host = host_of(file);
	uint64_t len;
	bool aligned;
	ssize_t n;

	if (!is_direct(host, offset, iov, count, &len, &aligned)) {
		n = preadv(host->fd, iov, (int)count, (off_t)offset);
	} else if (aligned) {
		n = preadv(host->direct, iov, (int)count, (off_t)offset);
	} else if (ensure_bounce(host) < 0) {
		return -ENOMEM;
	} else {
		n = pread(host->direct, host->bounce, len < DIRECT_BOUNCE ? len : DIRECT_BOUNCE, (off_t)offset);
		if (n > 0)
			span_fill((struct span){iov, count, 0}, host->bounce, (uint64_t)n);
	}
	return n < 0 ? -errno : n;
}

static int64_t host_writev(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	struct host_file *host = host_of(file);
	uint64_t len;
	bool aligned;
	ssize_t n;

	if (!is_direct(host, offset, iov, count, &len, &aligned)) {
		n = pwritev(host->fd, iov, (int)count, (off_t)offset);
	} else if (aligned) {
		n = pwritev(host->direct, iov, (int)count, (off_t)offset);
	} else if (ensure_bounce(host) < 0) {
		return -ENOMEM;
	} else {
		len = len < DIRECT_BOUNCE ? len : DIRECT_BOUNCE;
		span_copy(host->bounce, (struct span){iov, count, 0}, len);
		n = pwrite(host->direct, host->bounce, len, (off_t)offset);
	}
	return n < 0 ? -errno : n;
}

static int host_sync(struct disk_file *file)
{
	if (host_of(file)->unsafe || !file->writable)
		return 0;
	return fdatasync(host_of(file)->fd) == 0 ? 0 : -errno;
}

static int host_zero(struct disk_file *file, uint64_t offset, uint64_t len, bool punch)
{
	int mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	while (fallocate(host_of(file)->fd, mode, (off_t)offset, (off_t)len) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int host_resize(struct disk_file *file, uint64_t size)
{
	if (host_of(file)->device)
		return size <= file->size ? 0 : -ENOSPC;
	if (ftruncate(host_of(file)->fd, (off_t)size) < 0)
		return -errno;
	file->size = size;
	return 0;
}

static void host_close(struct disk_file *file)
{
	struct host_file *host = host_of(file);

	if (host->direct >= 0)
		close(host->direct);
	image_unlock(host->fd);
	close(host->fd);
	free(host->bounce);
	free(host);
}

static const struct disk_file_ops host_ops = {
	.readv = host_readv,
	.writev = host_writev,
	.sync = host_sync,
	.zero = host_zero,
	.resize = host_resize,
	.close = host_close,
};

static int open_path(const struct host_file_options *options, int *fd, char *why, size_t why_size)
{
	int flags = (options->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int err;

	if (options->create)
		flags |= O_CREAT | (options->exclusive ? O_EXCL : 0);
	*fd = open(options->path, flags, 0666);
	if (*fd >= 0)
		return 0;
	err = errno;
	if (options->create && err == EEXIST)
		snprintf(why, why_size, "%s is there already: remove it, or choose another name", options->path);
	else if (options->create)
		snprintf(why, why_size, "%s can't be made (%s): check the directory", options->path, strerror(err));
	else if (options->writable && (err == EROFS || err == EACCES || err == EPERM))
		snprintf(why, why_size, "%s can't be opened for writing (%s): append ,ro to use it read-only", options->path,
			 strerror(err));
	else if (err == ENOENT)
		snprintf(why, why_size, "%s doesn't exist: make it, for instance with ruse disk create %s 10G", options->path,
			 options->path);
	else
		snprintf(why, why_size, "%s can't be opened (%s): check the path and its permissions", options->path, strerror(err));
	return -err;
}

/* Regular files and block devices; nothing that could make us wait or do something. */
static int examine(struct host_file *host, const char *path, char *why, size_t why_size)
{
	struct stat st;
	uint64_t size;

	if (fstat(host->fd, &st) < 0) {
		snprintf(why, why_size, "%s can't be examined (%s): use another image", path, strerror(errno));
		return -errno;
	}
	if (S_ISREG(st.st_mode)) {
		host->file.size = (uint64_t)st.st_size;
	} else if (!S_ISBLK(st.st_mode)) {
		snprintf(why, why_size, "%s is neither a file nor a block device: give a disk image", path);
		return -EINVAL;
	} else if (ioctl(host->fd, BLKGETSIZE64, &size) < 0) {
		snprintf(why, why_size, "%s doesn't tell its size (%s): use another device", path, strerror(errno));
		return -errno;
	} else {
		host->file.size = size;
		host->device = true;
	}
	/* It was for opening what we have refused by now; io_uring would take it at its word. */
	(void)fcntl(host->fd, F_SETFL, 0);
	return 0;
}

/* The descriptor past the page cache is one more opening of the very same file. */
static int open_direct(struct host_file *host, const char *path, char *why, size_t why_size)
{
	struct statx stx;
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", host->fd);
	host->direct = open(self, (host->file.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_DIRECT);
	if (host->direct < 0) {
		int err = errno;

		snprintf(why, why_size, "%s can't be used past the page cache (%s): its file system has no direct I/O; choose another "
			 "cache= than none", path, strerror(err));
		return -err;
	}
#ifdef STATX_DIOALIGN
	if (statx(host->direct, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 && (stx.stx_mask & STATX_DIOALIGN) &&
	    (stx.stx_dio_offset_align > DIRECT_ALIGN || stx.stx_dio_mem_align > DIRECT_ALIGN)) {
		snprintf(why, why_size, "%s wants direct I/O in larger pieces than 512 bytes: choose another cache= than none", path);
		return -EINVAL;
	}
#else
	(void)stx;
	void *probe;
	if (posix_memalign(&probe, DIRECT_ALIGN, 2 * DIRECT_ALIGN))
		return -ENOMEM;
	ssize_t n = pread(host->direct, (uint8_t *)probe, DIRECT_ALIGN, DIRECT_ALIGN);
	free(probe);
	if (n < 0) {
		snprintf(why, why_size, "%s wants direct I/O in larger pieces than 512 bytes: choose another cache= than none", path);
		return -EINVAL;
	}
#endif
	return 0;
}

static enum image_use use_of(const struct host_file_options *options)
{
	if (options->writable)
		return options->together ? IMAGE_WRITE_TOGETHER : IMAGE_WRITE;
	return options->together ? IMAGE_READ_TOGETHER : IMAGE_READ;
}

int host_file_open(const struct host_file_options *options, struct disk_file **file, char *why, size_t why_size)
{
	struct host_file *host = calloc(1, sizeof(*host));
	int r;

	if (!host) {
		if (options->given)
			close(options->fd);
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
		return -ENOMEM;
	}
	host->file.ops = &host_ops;
	host->file.writable = options->writable;
	host->unsafe = options->unsafe;
	host->direct = -1;
	host->fd = options->fd;
	r = options->given ? 0 : open_path(options, &host->fd, why, why_size);
	if (r < 0) {
		free(host);
		return r;
	}
	r = examine(host, options->path, why, why_size);
	if (r == 0 && !options->unlocked)
		r = image_lock(host->fd, use_of(options), options->path, why, why_size);
	if (r == 0 && options->direct)
		r = open_direct(host, options->path, why, why_size);
	if (r == 0 && options->create && !host->device && (r = host_resize(&host->file, 0)) < 0)
		snprintf(why, why_size, "%s can't be emptied (%s): remove it first", options->path, strerror(-r));
	if (r < 0) {
		host_close(&host->file);
		return r;
	}
	*file = &host->file;
	return 0;
}

int host_file_fd(const struct disk_file *file)
{
	const struct host_file *host = host_of(file);

	return host->direct >= 0 ? host->direct : host->fd;
}

int host_file_buffered_fd(const struct disk_file *file)
{
	return host_of(file)->fd;
}

bool host_file_is_device(const struct disk_file *file)
{
	return host_of(file)->device;
}
