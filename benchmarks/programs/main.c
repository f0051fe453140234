/* Runs the tests, each for about the time given, whatever the machine's speed: a calibration finds
 * how often.
 *
 * Usage: suite [--time MS] [--disk FILE] [--direct] [--net ADDRESS SOURCE_PORT SINK_PORT] [--end
 * TEXT]
 *
 * Prints a line a test, "integer 0.812 ns", and with --disk and --net throughput, "disk-read 811.0
 * MB/s". The text goes to the console after the tests; who watches it has half a second then to
 * look at the machine.
 */
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONG_ENOUGH_NS 4e6 /* for a calibration run */

static volatile uint64_t sink;

double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void fail(const char *what)
{
	fprintf(stderr, "suite: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double timed(const struct test *test, uint64_t count)
{
	double start = now_ns();

	sink = test->run(count);
	return now_ns() - start;
}

static void run_test(const struct test *test, double ns)
{
	uint64_t count = 1;
	double taken = timed(test, count);

	while (taken < LONG_ENOUGH_NS && taken < ns) {
		count *= 2;
		taken = timed(test, count);
	}
	if (taken < ns) {
		count = (uint64_t)((double)count * ns / taken);
		taken = timed(test, count);
	}
	printf("%s %.4f ns\n", test->name, taken / (double)count);
	fflush(stdout);
}

static void tell_console(const char *text)
{
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY);

	if (fd < 0)
		return;
	dprintf(fd, "%s\n", text);
	close(fd);
	usleep(500000);
}

int main(int argc, char **argv)
{
	const char *disk = NULL, *address = NULL, *end = NULL;
	int direct = 0, source = 0, drain = 0;
	double ns = 300e6;

	for (int i = 1; i < argc; i++) {
		int left = argc - i - 1;

		if (!strcmp(argv[i], "--time") && left >= 1)
			ns = atof(argv[++i]) * 1e6;
		else if (!strcmp(argv[i], "--disk") && left >= 1)
			disk = argv[++i];
		else if (!strcmp(argv[i], "--direct"))
			direct = 1;
		else if (!strcmp(argv[i], "--end") && left >= 1)
			end = argv[++i];
		else if (!strcmp(argv[i], "--net") && left >= 3) {
			address = argv[++i];
			source = atoi(argv[++i]);
			drain = atoi(argv[++i]);
		} else {
			fprintf(stderr, "suite: %s is no option, or lacks its value\n", argv[i]);
			return 2;
		}
	}
	for (const struct test *test = compute_tests; test->name; test++)
		run_test(test, ns);
	for (const struct test *test = system_tests; test->name; test++)
		run_test(test, ns);
	if (disk)
		disk_tests(disk, direct, ns);
	if (address)
		net_tests(address, source, drain, ns);
	if (end)
		tell_console(end);
	return 0;
}
