/* The process beside the VM that keeps translations; see keeper.h. */
#include "host/linux/keeper.h"
#include "base/log.h"
#include "board/config.h"
#include "core/translation.h"
#include "core/vm.h"
#include "host/linux/sandbox.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long the end of a run waits for what is being written. */
#define WAIT_MS      5000
/* How long the keeper sleeps at first, when there is nothing; each time twice as long. */
#define SLEEP_MS     50
#define SLEEP_MS_MAX (1 << 20)
/* New translations that are worth a file: so many, and so large a part of all. */
#define FRESH_MIN    200
#define FRESH_PART   20
#define OLD_SECONDS  (30L * 24 * 3600)

struct keeper {
	struct translation_cache cache;
	struct vm *vm;
	const struct translation_keeper *ops;
	void *file; /* mapped */
	size_t size;
	int lifeline; /* the keeper reads its end */
	int done;     /* its other end closes with the keeper */
	char path[PATH_MAX];
};

/* ---- the directory ---- */

static bool default_directory(char *path, size_t size)
{
	const char *ruse = getenv("RUSE_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int len;

	if (ruse && *ruse)
		len = snprintf(path, size, "%s/tb", ruse);
	else if (cache && *cache == '/')
		len = snprintf(path, size, "%s/ruse/tb", cache);
	else if (home && *home)
		len = snprintf(path, size, "%s/.cache/ruse/tb", home);
	else
		return false;
	return len > 0 && (size_t)len < size;
}

/* mkdir -p, for us alone. */
static void make_directory(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return;
	memcpy(part, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != 0)
			continue;
		part[i] = 0;
		(void)mkdir(part, 0700);
		part[i] = path[i];
	}
}

/* What others may write to may not become code of ours. */
static bool ours_alone(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() && !(st.st_mode & 022);
}

/* The descriptor, or -errno with one sentence in why. */
static int open_directory(const char *path, char *why, size_t why_size)
{
	int fd;

	make_directory(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, why_size, "cannot keep translations in %s: %s; name another directory or --tb-cache none", path, strerror(errno));
		return -errno;
	}
	if (ours_alone(fd, S_IFDIR))
		return fd;
	close(fd);
	snprintf(why, why_size, "cannot keep translations in %s: others than this user can write there; name another directory or --tb-cache none",
		 path);
	return -EPERM;
}

/* Maps the file if it is a whole one of ours. */
static bool map_file(const struct translation_keeper *ops, int fd, uint64_t identity, void **file, size_t *size)
{
	struct stat st;

	if (!ours_alone(fd, S_IFREG) || fstat(fd, &st) < 0 || st.st_size <= 0)
		return false;
	*size = (size_t)st.st_size;
	*file = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (*file == MAP_FAILED)
		return false;
	if (ops->valid(*file, *size, identity))
		return true;
	munmap(*file, *size);
	return false;
}

/* Is it whole, and nobody's at work? Its size; 0: no. */
static size_t left_behind(const struct translation_keeper *ops, int directory, const char *name, uint64_t identity, bool *busy)
{
	int fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	size_t size = 0;
	void *file;

	*busy = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
	if (fd >= 0 && !*busy && map_file(ops, fd, identity, &file, &size))
		munmap(file, size);
	else
		size = 0;
	if (fd >= 0)
		close(fd);
	return size;
}

/* Another identity's, that nobody has used for so long: of a build or a guest that is no more. */
static void remove_old(int directory, const char *name)
{
	struct stat st;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtime > OLD_SECONDS)
		(void)unlinkat(directory, name, 0);
}

static bool ends_with(const char *name, const char *ending)
{
	size_t len = strlen(name), end = strlen(ending);

	return len >= end && !strcmp(name + len - end, ending);
}

/* What keepers have left since: the largest becomes the file. */
static void adopt(const struct translation_keeper *ops, int directory, uint64_t identity, const char *file)
{
	char prefix[24], best[NAME_MAX + 1] = "";
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	size_t best_size = 0;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return;
	}
	snprintf(prefix, sizeof(prefix), "%016" PRIx64 ".", identity);
	while ((entry = readdir(dir))) {
		bool is_new = ends_with(entry->d_name, ".new"), busy;
		size_t size;

		if (strncmp(entry->d_name, prefix, strlen(prefix))) {
			if (is_new || ends_with(entry->d_name, ".cache"))
				remove_old(directory, entry->d_name);
			continue;
		}
		if (!is_new)
			continue;
		size = left_behind(ops, directory, entry->d_name, identity, &busy);
		if (busy)
			continue;
		if (size <= best_size) {
			(void)unlinkat(directory, entry->d_name, 0);
			continue;
		}
		if (*best)
			(void)unlinkat(directory, best, 0);
		snprintf(best, sizeof(best), "%s", entry->d_name);
		best_size = size;
	}
	closedir(dir);
	if (*best)
		(void)renameat(directory, best, directory, file);
}

/* ---- the keeper's process ---- */

static void schedule(int policy)
{
	const struct sched_param param = {0};

	(void)sched_setscheduler(0, policy, &param);
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = pwrite(fd, data + at, size - at, (off_t)at);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static void write_file(const struct keeper *keeper, struct translation_kept *kept, int out)
{
	const struct translation_keeper *ops = keeper->ops;
	void *image;
	size_t size;

	if (ops->fresh(kept) < FRESH_MIN)
		return;
	if (keeper->cache.file)
		ops->merge(kept, keeper->cache.file);
	if (ops->fresh(kept) < ops->count(kept) / FRESH_PART)
		return;
	/* A half-written one is not whole: its successors will see that. */
	if (ops->image(kept, &image, &size) == 0)
		(void)write_all(out, image, size);
}

/* lifeline: nothing comes but its end, when the VM is over in whatever way. */
static void keep(const struct keeper *keeper, struct translation_kept *kept, int lifeline, int out)
{
	const struct translation_keeper *ops = keeper->ops;
	struct pollfd poll_on = {.fd = lifeline, .events = POLLIN};
	int sleep_ms = SLEEP_MS;

	while (poll(&poll_on, 1, sleep_ms) == 0) {
		if (ops->collect(kept, keeper->cache.ring))
			sleep_ms = SLEEP_MS;
		else if (sleep_ms < SLEEP_MS_MAX)
			sleep_ms *= 2;
	}
	schedule(SCHED_OTHER);
	(void)ops->collect(kept, keeper->cache.ring);
	write_file(keeper, kept, out);
}

/* Everything closed but these, which become 3 to 5; nothing of the terminal's. */
static void only_descriptors(int *lifeline, int *done, int *out)
{
	int null = open("/dev/null", O_RDWR), *of[] = {lifeline, done, out};

	for (unsigned i = 0; i < 3; i++)
		(void)dup2(null, (int)i);
	/* Out of the way first. */
	for (unsigned i = 0; i < 3; i++)
		*of[i] = fcntl(*of[i], F_DUPFD, 64);
	for (unsigned i = 0; i < 3; i++)
		*of[i] = dup2(*of[i], (int)(3 + i));
	(void)close_range(6, ~0u, 0);
}

static _Noreturn void child(struct keeper *keeper, bool sandbox, uint64_t identity, int lifeline, int done, int out)
{
	const struct translation_keeper *ops = keeper->ops;
	struct translation_kept *kept;
	sigset_t none;
	char why[160];

	/* The terminal's signals are not for it: it ends with the VM. */
	(void)setsid();
	for (int i = 1; i < NSIG; i++)
		signal(i, i == SIGINT || i == SIGTERM || i == SIGHUP || i == SIGQUIT ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	only_descriptors(&lifeline, &done, &out);
	schedule(SCHED_IDLE);
	kept = ops->open(keeper->vm, identity);
	if (kept && (!sandbox || sandbox_enter_keeper(why, sizeof(why)) == 0))
		keep(keeper, kept, lifeline, out);
	_exit(0);
}

static int new_file(int directory, uint64_t identity)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%016" PRIx64 ".%ld.new", identity, (long)getpid());
	(void)unlinkat(directory, name, 0);
	fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Nothing is kept if this fails; the VM runs all the same. */
static void start_child(struct keeper *keeper, int directory, uint64_t identity, bool sandbox)
{
	const struct translation_keeper *ops = keeper->ops;
	void *ring = mmap(NULL, ops->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int life[2] = {-1, -1}, done[2] = {-1, -1}, out = -1;
	pid_t pid = -1;

	if (ring != MAP_FAILED && pipe2(life, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0)
		out = new_file(directory, identity);
	if (out >= 0) {
		keeper->cache.ring = ring;
		pid = fork();
		if (pid == 0)
			child(keeper, sandbox, identity, life[0], done[1], out);
	}
	for (unsigned i = 0; i < 2; i++) {
		int others[] = {life[0], done[1]};

		if (others[i] >= 0)
			close(others[i]);
	}
	if (out >= 0)
		close(out);
	keeper->lifeline = life[1];
	keeper->done = done[0];
	if (pid > 0)
		return;
	if (ring != MAP_FAILED)
		munmap(ring, ops->ring_size);
	keeper->cache.ring = NULL;
}

/* ---- the VM's process ---- */

int keeper_open(struct vm *vm, const char *directory, bool sandbox, struct keeper **out, char *why, size_t why_size)
{
	const struct translation_keeper *ops = vm->engine->keeper;
	char path[PATH_MAX - 64], name[32];
	struct keeper *keeper;
	uint64_t identity;
	int at, fd;

	*out = NULL;
	if ((directory && !strcmp(directory, "none")) || (!directory && !default_directory(path, sizeof(path))))
		return 0;
	at = open_directory(directory ? directory : path, why, why_size);
	if (at < 0)
		return directory ? at : 0;
	identity = ops->identity(vm);
	keeper = identity ? calloc(1, sizeof(*keeper)) : NULL;
	if (!keeper) {
		close(at);
		return 0;
	}
	keeper->vm = vm;
	keeper->ops = ops;
	snprintf(name, sizeof(name), "%016" PRIx64 ".cache", identity);
	snprintf(keeper->path, sizeof(keeper->path), "%s/%s", directory ? directory : path, name);
	keeper->cache.path = keeper->path;
	adopt(ops, at, identity, name);
	fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && map_file(ops, fd, identity, &keeper->file, &keeper->size))
		keeper->cache.file = keeper->file;
	else if (fd >= 0 || errno != ENOENT)
		log_warn("run", "%s is damaged, or not of this user alone: it is not used", keeper->path);
	if (fd >= 0) {
		(void)futimens(fd, NULL); /* in use: see remove_old() */
		close(fd);
	}
	start_child(keeper, at, identity, sandbox);
	close(at);
	keeper->cache.check = vm->config && vm->config->check_tb_cache;
	vm->translation_cache = &keeper->cache;
	*out = keeper;
	return 0;
}

void keeper_end(struct keeper *keeper)
{
	if (keeper && keeper->lifeline >= 0)
		close(keeper->lifeline);
}

void keeper_wait(struct keeper *keeper)
{
	struct pollfd poll_on;

	if (!keeper)
		return;
	poll_on = (struct pollfd){.fd = keeper->done, .events = POLLIN};
	if (keeper->cache.ring)
		(void)poll(&poll_on, 1, WAIT_MS);
	close(keeper->done);
	if (keeper->cache.ring)
		munmap(keeper->cache.ring, keeper->ops->ring_size);
	if (keeper->file)
		munmap(keeper->file, keeper->size);
	free(keeper);
}
