/* `ruse run`: options in, exit status out. The work is done by host/linux/launch.c.
 *
 * Example: `ruse run --kernel vmlinuz --initrd initrd --append console=ttyS0`
 */
#include "cli/commands.h"
#include "cli/config_json.h"
#include "cli/options.h"
#include "host/linux/launch.h"

static int run(struct run_options *options, int argc, char **argv, uint64_t start_ns)
{
	char why[512] = "";
	int r = run_options_parse(options, argc, argv, why, sizeof(why));

	if (!r && options->help) {
		run_options_help(stdout);
		return 0;
	}
	if (!r && options->cpu_help) {
		run_options_cpu_help(stdout);
		return 0;
	}
	if (!r && options->print_config) {
		config_json_print(options, stdout);
		return 0;
	}
	if (!r)
		r = run_options_check(options, why, sizeof(why));
	if (r) {
		fprintf(stderr, "ruse: %s\n", why);
		return EXIT_USAGE;
	}
	return launch_run(&options->config, start_ns);
}

int cmd_run(int argc, char **argv, uint64_t start_ns)
{
	struct run_options options;
	int status;

	run_options_init(&options);
	status = run(&options, argc, argv, start_ns);
	run_options_free(&options);
	return status;
}
