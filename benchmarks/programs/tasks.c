/* Independent tasks beside each other: how much do all of them get done together?
 *
 * Example: run_tasks(2, 1e9);      // two processes, a second: prints "tasks 1234.5 op/s"
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "suite.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS_MAX 64
#define START_NS  20e6 /* until then all of them are there */

struct result {
	double operations, ns;
	char pad[112]; /* a pair of cache lines each */
};

/* One operation is every test that computes, a little of each. */
static double compute_until(double end)
{
	static const uint64_t counts[] = {50000, 200, 1, 1, 2, 20, 2};
	double done = 0;

	while (now_ns() < end) {
		for (unsigned i = 0; compute_tests[i].name; i++)
			keep(compute_tests[i].run(counts[i]));
		done++;
	}
	return done;
}

void run_tasks(unsigned count, double ns)
{
	struct result *results = mmap(NULL, TASKS_MAX * sizeof(*results), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start = now_ns() + START_NS, rate = 0;

	if (results == MAP_FAILED || count > TASKS_MAX)
		fail("tasks");
	fflush(stdout);
	for (unsigned i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			while (now_ns() < start)
				usleep(1000);
			results[i].operations = compute_until(start + ns);
			results[i].ns = now_ns() - start;
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++)
		wait(NULL);
	for (unsigned i = 0; i < count; i++) {
		if (!(results[i].operations > 0))
			fail("a task");
		rate += results[i].operations / results[i].ns * 1e9;
	}
	printf("tasks %.3f op/s\n", rate);
}
