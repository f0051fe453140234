/* Raw images: opening, checking and locking them. What happens to requests is in block_step.c, and
 * carried out by block_uring.c or block_threads.c.
 *
 * Example: see block_raw.h.
 */
#include "backend/block_raw.h"
#include "backend/block_step.h"
#include "base/log.h"
#include "base/types.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u

static struct block_raw *raw_of(struct block_backend *backend)
{
	return container_of(backend, struct block_raw, backend);
}

static void raw_submit(struct block_backend *backend, struct block_request *request)
{
	struct block_raw *raw = raw_of(backend);

	raw->ops->submit(raw, request);
}

static void raw_drain(struct block_backend *backend)
{
	struct block_raw *raw = raw_of(backend);

	raw->ops->drain(raw);
}

static void raw_destroy(struct block_backend *backend)
{
	struct block_raw *raw = raw_of(backend);

	raw->ops->drain(raw);
	raw->ops->stop(raw);
	close(raw->fd); /* and with it the lock */
	free(raw);
}

static const struct block_backend_ops raw_ops = {
	.submit = raw_submit,
	.drain = raw_drain,
	.destroy = raw_destroy,
};

static int open_image(const struct block_raw_options *options, int *fd, char *why, size_t why_size)
{
	int err;

	*fd = open(options->path, (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	err = errno;
	if (!options->read_only && (err == EROFS || err == EACCES || err == EPERM))
		snprintf(why, why_size, "%s can't be opened for writing (%s): append ,ro to use it read-only",
			 options->path, strerror(err));
	else if (err == ENOENT)
		snprintf(why, why_size, "%s doesn't exist: make it, for instance with truncate -s 1G %s",
			 options->path, options->path);
	else
		snprintf(why, why_size, "%s can't be opened (%s): check the path and its permissions",
			 options->path, strerror(err));
	return -err;
}

static int read_size(const char *path, int fd, uint64_t *size, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		snprintf(why, why_size, "%s can't be examined (%s): use another image", path, strerror(errno));
		return -errno;
	}
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
	} else if (!S_ISBLK(st.st_mode)) {
		snprintf(why, why_size, "%s is neither a file nor a block device: give a disk image", path);
		return -EINVAL;
	} else if (ioctl(fd, BLKGETSIZE64, size) < 0) {
		snprintf(why, why_size, "%s doesn't tell its size (%s): use another device", path,
			 strerror(errno));
		return -errno;
	}
	if (*size == 0) {
		snprintf(why, why_size, "%s is empty: grow it, for instance with truncate -s 1G %s", path, path);
		return -EINVAL;
	}
	if (*size % SECTOR != 0) {
		snprintf(why, why_size,
			 "%s has %llu bytes, not a whole number of 512-byte sectors: grow it with "
			 "truncate -s %%512 %s",
			 path, (unsigned long long)*size, path);
		return -EINVAL;
	}
	return 0;
}

/* 0, or the errno of the refusal. Some network file systems know flock() only. */
static int try_lock(const struct block_raw_options *options, int fd)
{
	struct flock lock = {.l_type = options->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	int err;

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	err = errno;
	if (err == EINVAL || err == ENOLCK || err == EOPNOTSUPP)
		err = flock(fd, (options->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 ? 0 : errno;
	return err == EACCES ? EAGAIN : err;
}

/* A process that was killed is gone before the kernel has taken its io_uring, and with it the image, apart. */
#define LOCK_TRIES       40
#define LOCK_INTERVAL_NS 50000000

/* Readers share, a writer is alone. The lock belongs to the open file and ends with it, so a crash
 * leaves nothing behind. */
static int lock_image(const struct block_raw_options *options, int fd, char *why, size_t why_size)
{
	const struct timespec interval = {.tv_nsec = LOCK_INTERVAL_NS};
	int err;

	for (int i = 0; (err = try_lock(options, fd)) == EAGAIN && i < LOCK_TRIES; i++)
		nanosleep(&interval, NULL);
	if (!err)
		return 0;
	if (err == EAGAIN)
		snprintf(why, why_size, "%s is in use by another machine: stop that one, or open it with ,ro in both",
			 options->path);
	else
		snprintf(why, why_size, "%s can't be locked (%s): keep the image on a local file system",
			 options->path, strerror(err));
	return -err;
}

static int start_engine(struct block_raw *raw, enum block_raw_engine engine, const char *path, char *why,
			size_t why_size)
{
	int err = -ENOSYS;

	if (engine != BLOCK_RAW_THREADS) {
		raw->ops = &block_uring_ops;
		err = raw->ops->start(raw);
		if (err == 0)
			return 0;
		log_debug("block", "io_uring is not to be had (error %d): using threads", -err);
	}
	if (engine != BLOCK_RAW_URING) {
		raw->ops = &block_threads_ops;
		err = raw->ops->start(raw);
	}
	if (err < 0)
		snprintf(why, why_size, "%s: the host refuses %s (%s): raise its limits", path, raw->ops->name,
			 strerror(-err));
	return err;
}

int block_raw_open(const struct block_raw_options *options, struct loop *loop, struct block_backend **out,
		   char *why, size_t why_size)
{
	struct block_raw *raw = calloc(1, sizeof(*raw));
	int err;

	if (!raw) {
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
		return -ENOMEM;
	}
	raw->loop = loop;
	raw->enter_worker = options->enter_worker;
	raw->enter_ctx = options->enter_ctx;
	raw->backend.ops = &raw_ops;
	raw->backend.read_only = options->read_only;
	raw->backend.can_discard = !options->read_only;
	if (options->serial)
		snprintf(raw->backend.serial, sizeof(raw->backend.serial), "%s", options->serial);
	err = open_image(options, &raw->fd, why, why_size);
	if (err < 0)
		goto free_raw;
	err = read_size(options->path, raw->fd, &raw->backend.size, why, why_size);
	if (err == 0)
		err = lock_image(options, raw->fd, why, why_size);
	if (err == 0)
		err = start_engine(raw, options->engine, options->path, why, why_size);
	if (err < 0)
		goto close_fd;
	*out = &raw->backend;
	return 0;
close_fd:
	close(raw->fd);
free_raw:
	free(raw);
	return err;
}

bool block_raw_uses_uring(const struct block_backend *backend)
{
	return container_of((struct block_backend *)(uintptr_t)backend, struct block_raw, backend)->ops ==
	       &block_uring_ops;
}
