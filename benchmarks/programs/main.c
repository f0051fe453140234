/* Runs the tests, each for about the time given, whatever the machine's speed: a calibration finds
 * how often.
 *
 * Usage: suite [--time MS] [--tests NAME,...] [--disk FILE] [--direct]
 *              [--net ADDRESS SOURCE_PORT SINK_PORT] [--blk FILE]
 *              [--streams COUNT ADDRESS SOURCE_PORT SINK_PORT] [--end TEXT]
 *        suite --tasks COUNT [--time MS]
 *        suite [--root DIRECTORY] [--clock NAME COUNT] -- COMMAND [ARG]...
 *
 * --tests none leaves them all out. --blk tells requests a second, --streams what COUNT connections
 * carry together.
 *
 * Prints a line a test, "integer 0.812 ns", and with --disk and --net throughput, "disk-read 811.0
 * MB/s". The text goes to the console after the tests; who watches it has half a second then to
 * look at the machine.
 */
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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

void keep(uint64_t result)
{
	sink = result;
}

static double timed(const struct test *test, uint64_t count)
{
	double start = now_ns();

	keep(test->run(count));
	return now_ns() - start;
}

static void run_test(const struct test *test, double ns)
{
	uint64_t count = 1;
	double taken;

	/* What is done once. */
	keep(test->run(count));
	taken = timed(test, count);
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

static bool wanted(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (!strncmp(at, name, len) && (at[len] == ',' || !at[len]))
			return true;
	}
	return !names;
}

static void run_tests(const char *names, double ns)
{
	static const struct test *const lists[] = {compute_tests, memory_tests, bytecode_tests,
						   system_tests};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (const struct test *test = lists[i]; test->name; test++) {
			if (wanted(names, test->name))
				run_test(test, ns);
		}
	}
}

struct options {
	double ns;
	const char *tests, *disk, *blk, *address, *streams, *end, *root, *clock;
	int direct, source_port, sink_port;
	unsigned tasks, times, stream_count;
	char **command;
};

static void usage(const char *word)
{
	fprintf(stderr, "suite: %s is no option, or lacks its value\n", word);
	exit(2);
}

static struct options parse(int argc, char **argv)
{
	struct options o = {.ns = 300e6};

	for (int i = 1; i < argc && !o.command; i++) {
		int left = argc - i - 1;

		if (!strcmp(argv[i], "--time") && left >= 1)
			o.ns = atof(argv[++i]) * 1e6;
		else if (!strcmp(argv[i], "--tests") && left >= 1)
			o.tests = argv[++i];
		else if (!strcmp(argv[i], "--tasks") && left >= 1)
			o.tasks = (unsigned)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--disk") && left >= 1)
			o.disk = argv[++i];
		else if (!strcmp(argv[i], "--direct"))
			o.direct = 1;
		else if (!strcmp(argv[i], "--end") && left >= 1)
			o.end = argv[++i];
		else if (!strcmp(argv[i], "--root") && left >= 1)
			o.root = argv[++i];
		else if (!strcmp(argv[i], "--clock") && left >= 2) {
			o.clock = argv[++i];
			o.times = (unsigned)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--blk") && left >= 1) {
			o.blk = argv[++i];
		} else if (!strcmp(argv[i], "--streams") && left >= 4) {
			o.stream_count = (unsigned)atoi(argv[++i]);
			o.streams = argv[++i];
			o.source_port = atoi(argv[++i]);
			o.sink_port = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--net") && left >= 3) {
			o.address = argv[++i];
			o.source_port = atoi(argv[++i]);
			o.sink_port = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--") && left >= 1)
			o.command = argv + i + 1;
		else
			usage(argv[i]);
	}
	if (o.clock && !o.command)
		usage("--clock");
	return o;
}

int main(int argc, char **argv)
{
	const struct options o = parse(argc, argv);

	if (o.root)
		enter_root(o.root);
	if (o.clock) {
		clock_command(o.clock, o.times, o.command);
		return 0;
	}
	if (o.command)
		execute(o.command);
	if (o.tasks) {
		run_tasks(o.tasks, o.ns);
		return 0;
	}
	run_tests(o.tests, o.ns);
	if (o.disk)
		disk_tests(o.disk, o.direct, o.ns);
	if (o.address)
		net_tests(o.address, o.source_port, o.sink_port, o.ns);
	if (o.blk)
		blk_tests(o.blk, o.direct, o.ns);
	if (o.streams)
		streams_tests(o.streams, o.source_port, o.sink_port, o.stream_count, o.ns);
	if (o.end)
		tell_console(o.end);
	return 0;
}
