/* The subcommands, each in its file.
 *
 * Example: `{"run", "start a virtual machine", cmd_run}` in main.c's table.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "base/types.h"

#define EXIT_USAGE 2

struct command {
	const char *name, *about;
	/* argv[0] is what follows the subcommand's name. Returns the exit status. */
	int (*run)(int argc, char **argv, uint64_t start_ns);
};

int cmd_run(int argc, char **argv, uint64_t start_ns);
int cmd_disk(int argc, char **argv, uint64_t start_ns);
int cmd_engines(int argc, char **argv, uint64_t start_ns);
int cmd_ps(int argc, char **argv, uint64_t start_ns);
int cmd_ctl(int argc, char **argv, uint64_t start_ns);
int cmd_console(int argc, char **argv, uint64_t start_ns);
int cmd_stop(int argc, char **argv, uint64_t start_ns);
int cmd_top(int argc, char **argv, uint64_t start_ns);
int cmd_version(int argc, char **argv, uint64_t start_ns);

#endif
