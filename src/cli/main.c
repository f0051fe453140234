/* ruse: one command, with subcommands; one file for each.
 *
 * Example: `ruse run --kernel vmlinuz --append console=ttyS0`
 */
#include "cli/commands.h"

#include "core/platform.h"
#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
	{"run", "start a virtual machine", cmd_run},
	{"disk", "make, examine, resize, convert, check and commit disk images", cmd_disk},
	{"engines", "what can run guests here, and how fast", cmd_engines},
	{"ps", "the virtual machines that run", cmd_ps},
	{"ctl", "pause, resume, reset, ... a running virtual machine", cmd_ctl},
	{"console", "the console of a virtual machine that was started with a detached one", cmd_console},
	{"stop", "shut a virtual machine down", cmd_stop},
	{"top", "what a running virtual machine does, live", cmd_top},
	{"version", "the version of this build", cmd_version},
	{"help", "this text", NULL},
};

static void print_help(FILE *out)
{
	fputs("usage: ruse COMMAND [OPTION]...\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].about);
	fputs("\n`ruse COMMAND --help` says more about each; ruse(1) has it all.\n", out);
}

int main(int argc, char **argv)
{
	const uint64_t start_ns = platform_clock_ns();
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
		print_help(stdout);
		return 0;
	}
	if (!strcmp(name, "--version"))
		name = "version";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].run && !strcmp(name, commands[i].name))
			return commands[i].run(argc - 2, argv + 2, start_ns);
	fprintf(stderr, "ruse: the command '%s' is unknown; `ruse help` lists them\n", name);
	return EXIT_USAGE;
}
