/* See remover.h. */
#include "host/linux/remover.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void close_between(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	for (long fd = first; fd <= (long)last && fd < sysconf(_SC_OPEN_MAX); fd++)
		close((int)fd);
}

/* Outlives what ends ours: Ctrl-C, too, goes to all of the terminal's processes. */
static _Noreturn void wait_and_remove(int held, int gone, const char *path, const struct stat *made)
{
	const unsigned low = (unsigned)(held < gone ? held : gone), high = (unsigned)(held < gone ? gone : held);
	struct stat now;
	sigset_t all;
	char byte;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (low)
		close_between(0, low - 1);
	close_between(low + 1, high - 1);
	close_between(high + 1, ~0u);
	while (read(held, &byte, 1) > 0)
		continue;
	if (lstat(path, &now) == 0 && now.st_dev == made->st_dev && now.st_ino == made->st_ino)
		unlink(path);
	_exit(0);
}

int remover_start(struct remover *remover, const char *path)
{
	int held[2], gone[2], error;
	struct stat made;
	pid_t child;

	if (lstat(path, &made) < 0 || pipe2(held, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(gone, O_CLOEXEC) < 0) {
		error = errno;
		close(held[0]);
		close(held[1]);
		return -error;
	}
	child = fork();
	if (child == 0)
		wait_and_remove(held[0], gone[1], path, &made);
	error = errno;
	close(held[0]);
	close(gone[1]);
	if (child > 0) {
		*remover = (struct remover){held[1], gone[0]};
		return 0;
	}
	close(held[1]);
	close(gone[0]);
	return -error;
}

void remover_end(struct remover *remover)
{
	char byte;

	if (!remover->held)
		return;
	close(remover->held);
	while (read(remover->gone, &byte, 1) > 0)
		continue;
	close(remover->gone);
	*remover = (struct remover){0};
}
