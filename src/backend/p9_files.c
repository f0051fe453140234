/* Files beneath one directory; see p9_files.h. */
#include "backend/p9_files.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
/* Never O_CREAT or O_EXCL, never O_NOFOLLOW (that would be the link in /proc), nothing that could wait or signal. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_DIRECTORY)

static int open_at(int at, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	long fd = syscall(SYS_openat2, at, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* ---- life ---- */

int p9_files_start(struct p9_files *files, const char *directory, bool read_only, char *why, size_t why_size)
{
	struct stat st;
	int r;

	*files = (struct p9_files){.root = -1, .descriptors = -1, .read_only = read_only};
	files->root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (files->root < 0 || fstat(files->root, &st) < 0) {
		r = -errno;
		snprintf(why, why_size, "the directory %s can't be shared: %s; check --share", directory, strerror(-r));
		goto fail;
	}
	files->device = st.st_dev;
	r = open_at(files->root, ".", O_PATH, 0, BENEATH);
	if (r < 0) {
		snprintf(why, why_size, "the directory %s can't be shared: openat2 says %s; it needs Linux 5.6", directory, strerror(-r));
		goto fail;
	}
	close(r);
	files->descriptors = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (files->descriptors < 0) {
		r = -errno;
		snprintf(why, why_size, "the directory %s can't be shared: /proc/self/fd: %s; mount /proc", directory, strerror(-r));
		goto fail;
	}
	return 0;
fail:
	p9_files_end(files);
	return r;
}

void p9_files_end(struct p9_files *files)
{
	if (files->root >= 0)
		close(files->root);
	if (files->descriptors >= 0)
		close(files->descriptors);
	files->root = files->descriptors = -1;
}

/* ---- looking up ---- */

bool p9_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > P9_NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

int p9_files_look(const struct p9_files *files, const char *path)
{
	return open_at(files->root, *path ? path : ".", O_PATH | O_NOFOLLOW, 0, BENEATH);
}

int p9_files_look_in(const struct p9_files *files, int directory, const char *name)
{
	return open_at(directory, name, O_PATH | O_NOFOLLOW, 0, BENEATH);
}

int p9_files_parent(const struct p9_files *files, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char parent[P9_PATH_MAX + 1];
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (!*path)
		return -EPERM;
	if (len > P9_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(parent, path, len);
	parent[len] = 0;
	*name = slash ? slash + 1 : path;
	return open_at(files->root, len ? parent : ".", O_PATH | O_DIRECTORY, 0, BENEATH);
}

/* ---- opening what was found ---- */

static void descriptor_name(char name[16], int fd)
{
	snprintf(name, 16, "%d", fd);
}

int p9_files_open_file(const struct p9_files *files, int found, int flags)
{
	struct stat st;
	char name[16];

	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (files->read_only && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)))
		return -EROFS;
	if (fstat(found, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
			return -EISDIR;
		return open_at(found, ".", O_RDONLY | O_DIRECTORY, 0, BENEATH);
	}
	/* Opening a device can do something, and a FIFO can keep us waiting. */
	if (!S_ISREG(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -EACCES;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	descriptor_name(name, found);
	return open_at(files->descriptors, name, (flags & OPEN_FLAGS) | O_NOCTTY, 0, 0);
}

int p9_files_create(const struct p9_files *files, int directory, const char *name, int flags, mode_t mode)
{
	if (files->read_only)
		return -EROFS;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return open_at(directory, name, (flags & OPEN_FLAGS & ~(O_DIRECTORY | O_TRUNC)) | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, mode,
		       BENEATH);
}

int p9_files_chmod(const struct p9_files *files, int found, mode_t mode)
{
	struct stat st;
	char name[16];

	if (fstat(found, &st) < 0)
		return -errno;
	/* By its name in /proc, which leads to what was found; were that a link, to where the link leads. */
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	descriptor_name(name, found);
	return fchmodat(files->descriptors, name, mode, 0) < 0 ? -errno : 0;
}
