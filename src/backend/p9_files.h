/* The files of a shared directory, as a hostile guest may have them: whatever it asks for, and whatever somebody on the host moves about
 * meanwhile, nothing outside of the directory is opened, read, written or changed.
 *
 * Example:
 *     fd = p9_files_look(&files, "src/main.c");               // O_PATH: the file itself, also if it is a link
 *     if (fd >= 0) fd2 = p9_files_open_file(&files, fd, O_RDWR);
 *
 * How: a path is relative to the directory's O_PATH descriptor and looked up anew for each operation, by openat2(2) with RESOLVE_BENEATH,
 * RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS. So the kernel itself refuses to leave the directory, and no link is ever followed, whoever
 * made it and however fast it is swapped for something else. What was looked up is an O_PATH descriptor, of one file: its kind is looked
 * at (only regular files and directories are ever opened, no devices, no FIFOs), and then that very file is opened, by its name in
 * /proc/self/fd, not by a path that could be another's by now. What is made, renamed or removed is a plain name in a directory that
 * was looked up in this way.
 *
 * Because paths are looked up anew, a directory that is moved out of the shared one while the guest uses it is not there any more for the
 * guest. (What was opened stays open, as on any file system.)
 */
#ifndef BACKEND_P9_FILES_H
#define BACKEND_P9_FILES_H

#include "base/types.h"
#include <limits.h>
#include <sys/stat.h>

#define P9_NAME_MAX 255u
#define P9_PATH_MAX (PATH_MAX - 1u)

struct p9_files {
	int root;        /* the directory, O_PATH */
	int descriptors; /* /proc/self/fd, O_PATH */
	bool read_only;
	dev_t device;    /* of root */
};

/* 0, or -errno with one sentence in why. */
int p9_files_start(struct p9_files *files, const char *directory, bool read_only, char *why, size_t why_size) must_check;
void p9_files_end(struct p9_files *files);

/* Is it a name in a directory, and not more? */
bool p9_name_valid(const char *name, size_t len);

/* Paths have no `.`, no `..`, no empty parts and no slash at either end; "" is the shared directory itself. Each function returns a
 * descriptor that the caller closes, or -errno. */

/* The file itself: an O_PATH descriptor. */
int p9_files_look(const struct p9_files *files, const char *path) must_check;
/* The same, one name further. */
int p9_files_look_in(const struct p9_files *files, int directory, const char *name) must_check;
/* The directory that holds the last part of the path, *name; -EPERM for the shared directory itself. */
int p9_files_parent(const struct p9_files *files, const char *path, const char **name) must_check;

/* Opens what look() found: O_RDONLY, O_WRONLY, O_RDWR, with O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_DIRECTORY. -EACCES: neither a file nor
 * a directory. -EROFS: to be written, and the share is read-only. */
int p9_files_open_file(const struct p9_files *files, int found, int flags) must_check;
/* Makes a file that isn't there yet, and opens it. */
int p9_files_create(const struct p9_files *files, int directory, const char *name, int flags, mode_t mode) must_check;
/* Changes the permissions of what look() found; 0 or -errno. */
int p9_files_chmod(const struct p9_files *files, int found, mode_t mode) must_check;

#endif
