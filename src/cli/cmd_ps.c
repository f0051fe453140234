/* `ruse ps`: the VMs that run.
 *
 * Example: `ruse ps --json | jq -r '.[].name'`
 */
#include "cli/commands.h"
#include "cli/vms.h"

#include <stdio.h>
#include <string.h>

static void print_row(const json_t *status)
{
	double seconds = json_number_value(json_object_get(status, "seconds"));

	printf("%-20s %8lld  %-9s %-7s %-8s %5lld %7lldM %9.0fs  %s\n", json_string_value(json_object_get(status, "name")),
	       (long long)json_integer_value(json_object_get(status, "pid")), json_string_value(json_object_get(status, "state")),
	       json_string_value(json_object_get(status, "engine")), json_string_value(json_object_get(status, "board")),
	       (long long)json_integer_value(json_object_get(status, "cpus")),
	       (long long)json_integer_value(json_object_get(status, "memory")) >> 20, seconds,
	       json_is_string(json_object_get(status, "console")) ? "detached" : "-");
}

int cmd_ps(int argc, char **argv, uint64_t start_ns)
{
	json_t *statuses[VMS_MAX], *list;
	bool json = argc == 1 && !strcmp(argv[0], "--json");
	unsigned count;

	if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		puts("usage: ruse ps [--json]\n\nThe virtual machines of this user that run.");
		return 0;
	}
	if (argc && !json) {
		fprintf(stderr, "ruse: ps does not know '%s'; it takes --json\n", argv[argc - 1]);
		return EXIT_USAGE;
	}
	count = vms_list(statuses);
	list = json_array();
	if (!json)
		printf("%-20s %8s  %-9s %-7s %-8s %5s %8s %10s  %s\n", "NAME", "PID", "STATE", "ENGINE", "BOARD", "CPUS", "MEMORY", "TIME",
		       "CONSOLE");
	for (unsigned i = 0; i < count; i++) {
		if (!json)
			print_row(statuses[i]);
		json_array_append_new(list, statuses[i]);
	}
	if (json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(list);
	return 0;
}
