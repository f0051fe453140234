/* `ruse ctl`: a command for a running VM.
 *
 * Example: `ruse ctl web pause`, or `ruse ctl web status --json`
 */
#include "cli/commands.h"
#include "cli/vms.h"

#include <stdio.h>
#include <string.h>

static void print_value(const json_t *value)
{
	if (json_is_string(value))
		puts(json_string_value(value));
	else if (json_is_null(value))
		puts("-");
	else {
		json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
}

static void print_object(json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		printf("%s: ", key);
		print_value(value);
	}
}

static int run(const char *name, const char *command, bool json)
{
	struct vm_link link;
	json_t *value;
	int status = vms_find(name, &link);

	if (status)
		return status;
	value = vms_ask(&link, command);
	vms_close(&link);
	if (!value)
		return 1;
	if (json) {
		json_dumpf(value, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_object(value);
	}
	json_decref(value);
	return 0;
}

int cmd_ctl(int argc, char **argv, uint64_t start_ns)
{
	const char *words[2] = {0};
	unsigned count = 0;
	bool json = false;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts("usage: ruse ctl NAME|PID COMMAND [--json]\n\nCommands: status, pause, resume, power-button, reset, quit, "
			     "statistics. `ruse ctl NAME help` asks the VM.");
			return 0;
		}
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (argv[i][0] == '-' || count == 2) {
			fprintf(stderr, "ruse: ctl does not know '%s'; it takes NAME COMMAND [--json]\n", argv[i]);
			return EXIT_USAGE;
		} else {
			words[count++] = argv[i];
		}
	}
	if (count < 2) {
		fputs("ruse: ctl needs the name of a VM and a command, as in `ruse ctl NAME status`\n", stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(words[1], "watch")) {
		fputs("ruse: ctl does not watch; `ruse top` does\n", stderr);
		return EXIT_USAGE;
	}
	return run(words[0], words[1], json);
}
