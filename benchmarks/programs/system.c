/* What a processor does together with a kernel: system calls, processes, page faults, and switching
 * between two processes.
 *
 * Example: for (const struct test *test = system_tests; test->name; test++) ...
 */
#include "suite.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAULT_PAGES 256u
#define PAGE	    4096u

static uint64_t syscalls(uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count; i++)
		sum += (uint64_t)syscall(SYS_getppid);
	return sum;
}

static uint64_t forks(uint64_t count)
{
	uint64_t sum = 0;

	fflush(stdout);
	for (uint64_t i = 0; i < count; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0)
			_exit(1);
		if (waitpid(pid, &status, 0) != pid)
			fail("waitpid");
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static uint64_t faults(uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t left = count; left;) {
		uint64_t pages = left < FAULT_PAGES ? left : FAULT_PAGES;
		char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			fail("mmap");
		madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
		for (uint64_t i = 0; i < pages; i++)
			p[i * PAGE] = 1;
		sum += (uint64_t)p[0];
		munmap(p, pages * PAGE);
		left -= pages;
	}
	return sum;
}

static uint64_t pipes(uint64_t count)
{
	int there[2], back[2];
	uint64_t sum = 0;
	char byte = 1;
	pid_t pid;

	if (pipe(there) < 0 || pipe(back) < 0)
		fail("pipe");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(there[1]);
		close(back[0]);
		while (read(there[0], &byte, 1) == 1)
			if (write(back[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	for (uint64_t i = 0; i < count; i++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("pipe");
		sum += (uint64_t)byte;
	}
	close(there[1]);
	close(back[0]);
	waitpid(pid, NULL, 0);
	return sum;
}

const struct test system_tests[] = {
    {"syscall", "getppid()", syscalls},
    {"fork", "fork(), _exit() and waitpid()", forks},
    {"fault", "first touch of a page", faults},
    {"pipe", "a byte to another process and back", pipes},
    {0},
};
