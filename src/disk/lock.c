/* See lock.h. */
#include "disk/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define USES      100 /* + permission */
#define WITHHOLDS 200

enum permission { CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3 };

struct holding {
	unsigned uses, withholds; /* bits by permission */
};

static const struct holding holdings[] = {
	[IMAGE_READ] = {1u << CONSISTENT_READ, 1u << WRITE | 1u << RESIZE},
	[IMAGE_READ_TOGETHER] = {1u << CONSISTENT_READ, 1u << RESIZE},
	[IMAGE_WRITE] = {1u << CONSISTENT_READ | 1u << WRITE | 1u << RESIZE, 1u << WRITE | 1u << RESIZE},
	[IMAGE_WRITE_TOGETHER] = {1u << CONSISTENT_READ | 1u << WRITE, 1u << RESIZE},
};

static int set_byte(int fd, off_t at, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno == EACCES ? -EAGAIN : -errno;
}

/* Would somebody else's lock be in the way of a write lock? */
static int look_at_byte(int fd, off_t at)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* To all bytes that the holding has: lock, or with `others` look at what would contradict it. */
static int each_byte(int fd, const struct holding *holding, bool others, short type)
{
	int r = 0;

	for (unsigned i = 0; i < 4 && r == 0; i++) {
		if (holding->uses >> i & 1)
			r = others ? look_at_byte(fd, WITHHOLDS + (off_t)i) : set_byte(fd, USES + (off_t)i, type);
		if (r == 0 && holding->withholds >> i & 1)
			r = others ? look_at_byte(fd, USES + (off_t)i) : set_byte(fd, WITHHOLDS + (off_t)i, type);
	}
	return r;
}

static int try_lock(int fd, const struct holding *holding)
{
	int r = each_byte(fd, holding, false, F_RDLCK);

	if (r == 0)
		r = each_byte(fd, holding, true, 0);
	if (r == -EAGAIN)
		(void)each_byte(fd, holding, false, F_UNLCK);
	return r;
}

/* A process that was killed is gone before the kernel has taken its io_uring, and with it the image, apart. */
#define TRIES       400
#define INTERVAL_NS 5000000

int image_lock(int fd, enum image_use use, const char *path, char *why, size_t why_size)
{
	const struct timespec interval = {.tv_nsec = INTERVAL_NS};
	int r;

	for (int i = 0; (r = try_lock(fd, &holdings[use])) == -EAGAIN && i < TRIES; i++)
		nanosleep(&interval, NULL);
	/* Some network file systems know flock() only; and locks that have nothing to do with each other would keep nobody out. */
	if (r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP)
		r = flock(fd, (use == IMAGE_WRITE ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 ? 0 : -errno;
	if (r == -EAGAIN)
		snprintf(why, why_size, "%s is in use by another machine: stop that one, or open it read-only in both (,ro)", path);
	else if (r < 0)
		snprintf(why, why_size, "%s can't be locked (%s): keep the image on a local file system", path, strerror(-r));
	return r;
}

void image_unlock(int fd)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	(void)fcntl(fd, F_OFD_SETLK, &lock);
}
