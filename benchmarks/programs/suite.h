/* The guest program suite: small tests, each of which makes one thing of a machine work hard and
 * says how long one operation took by the machine's own clock.
 *
 * Example, adding a test:
 *     static uint64_t add(uint64_t count) { ... }     // does it count times, returns anything
 *     const struct test adds[] = {{"add", "one addition", add}, {0}};
 */
#ifndef BENCHMARKS_PROGRAMS_SUITE_H
#define BENCHMARKS_PROGRAMS_SUITE_H

#include <stdint.h>
#include <stdio.h>

struct test {
	const char *name;
	const char *operation; /* what is counted */
	/* Does `count` operations; what it returns depends on all of them, so that none can be left
	 * out. */
	uint64_t (*run)(uint64_t count);
};

/* Each ends with an entry without name. */
extern const struct test compute_tests[];
extern const struct test memory_tests[];
extern const struct test bytecode_tests[];
extern const struct test system_tests[];

double now_ns(void);
void fail(const char *what) __attribute__((noreturn));
/* Makes use of a result, so that it is computed. */
void keep(uint64_t result);
uint64_t next_random(uint64_t *state);

/* Throughput, printed as "NAME VALUE MB/s". `ns` is how long each takes. */
void disk_tests(const char *path, int direct, double ns);
void net_tests(const char *address, int source_port, int sink_port, double ns);
int connect_to(const char *address, int port);
/* Requests a second, "NAME VALUE op/s", and throughput. */
void blk_tests(const char *path, int direct, double ns);
/* As net_tests(), by so many connections together. */
void streams_tests(const char *address, int source_port, int sink_port, unsigned count, double ns);

/* `count` processes compute for `ns`; prints what they do together, "tasks RATE op/s". */
void run_tasks(unsigned count, double ns);

/* Makes `path` the root directory. */
void enter_root(const char *path);
/* Becomes the command, with a plain environment. */
void execute(char **argv) __attribute__((noreturn));
/* Runs the command so often, 2 or more; prints "NAME-first NS ns" and of the other runs the median,
 * "NAME NS ns". */
void clock_command(const char *name, unsigned times, char **argv);

#endif
