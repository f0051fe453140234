/* The directory of the VMs that run; see registry.h. */
#include "host/linux/registry.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool directory(char *path, size_t size)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int len;

	if (!base || base[0] != '/')
		base = geteuid() == 0 ? "/run" : NULL;
	len = base ? snprintf(path, size, "%s/ruse", base) : -1;
	return len > 0 && (size_t)len < size;
}

bool registry_path(char *path, size_t size, long pid, const char *kind)
{
	char where[REGISTRY_PATH_MAX];
	int len = directory(where, sizeof(where)) ? snprintf(path, size, "%s/%ld.%s", where, pid, kind) : -1;

	return len > 0 && (size_t)len < size && len < REGISTRY_PATH_MAX;
}

/* The process of a file of the registry; 0: it is none. */
static long pid_of(const char *name, const char *kind)
{
	char *end;
	long pid = name[0] >= '1' && name[0] <= '9' ? strtol(name, &end, 10) : 0;

	return pid > 0 && *end == '.' && (!kind || !strcmp(end + 1, kind)) ? pid : 0;
}

static bool is_gone(long pid)
{
	return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void clean(const char *where)
{
	DIR *dir = opendir(where);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		long pid = pid_of(entry->d_name, NULL);

		if (pid && is_gone(pid))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

int registry_open(char *why, size_t why_size)
{
	char where[REGISTRY_PATH_MAX];
	struct stat st;

	if (!directory(where, sizeof(where))) {
		snprintf(why, why_size, "XDG_RUNTIME_DIR is not set, or too long, so there is no place for the VM's sockets; set it");
		return -ENOENT;
	}
	if ((mkdir(where, 0700) < 0 && errno != EEXIST) || lstat(where, &st) < 0) {
		int error = errno;

		snprintf(why, why_size, "the directory %s for the VM's sockets can't be made: %s; check XDG_RUNTIME_DIR", where,
			 strerror(error));
		return -error;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		snprintf(why, why_size, "%s, where the VM's sockets go, is not a directory of this user alone; remove it", where);
		return -EPERM;
	}
	clean(where);
	return 0;
}

/* (The C library's qsort() is not at hand everywhere that this is, and there are few.) */
static void insert(long *pids, unsigned count, long pid)
{
	unsigned at = count;

	for (; at > 0 && pids[at - 1] > pid; at--)
		pids[at] = pids[at - 1];
	pids[at] = pid;
}

unsigned registry_list(long *pids, unsigned max)
{
	char where[REGISTRY_PATH_MAX];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	if (!directory(where, sizeof(where)))
		return 0;
	clean(where);
	dir = opendir(where);
	while (dir && (entry = readdir(dir)) && count < max) {
		long pid = pid_of(entry->d_name, "sock");

		if (pid)
			insert(pids, count++, pid);
	}
	if (dir)
		closedir(dir);
	return count;
}
