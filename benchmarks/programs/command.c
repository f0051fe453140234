/* Running a command: in a tree of its own, and with a clock.
 *
 * Example: enter_root("/mnt"); return clock_command("gcc", 3, (char *[]){"gcc", "-c", "a.c",
 * NULL});
 */
#define _GNU_SOURCE /* unshare, clearenv */
#include "suite.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES_MAX 100

/* Who is not root becomes it in a user namespace. */
void enter_root(const char *path)
{
	int r = chroot(path);

	if (r < 0 && errno == EPERM && unshare(CLONE_NEWUSER) == 0)
		r = chroot(path);
	if (r < 0 || chdir("/") < 0)
		fail(path);
}

void execute(char **argv)
{
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("LC_ALL", "C", 1);
	execvp(argv[0], argv);
	fail(argv[0]);
}

static double time_once(char **argv)
{
	double start = now_ns();
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "suite: %s failed\n", argv[0]);
		exit(1);
	}
	return now_ns() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The first run reads its files and, in a machine that translates, is translated: it is told by
 * itself. */
void clock_command(const char *name, unsigned times, char **argv)
{
	double taken[TIMES_MAX];

	if (times < 2 || times > TIMES_MAX) {
		errno = EINVAL;
		fail("the number of runs");
	}
	for (unsigned i = 0; i < times; i++)
		taken[i] = time_once(argv);
	printf("%s-first %.0f ns\n", name, taken[0]);
	qsort(taken + 1, times - 1, sizeof(*taken), compare);
	printf("%s %.0f ns\n", name, taken[1 + (times - 1) / 2]);
	fflush(stdout);
}
