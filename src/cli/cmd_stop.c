/* `ruse stop`: the power button, and if the guest does nothing about it, the end.
 *
 * Example: `ruse stop web --timeout 10`
 */
#include "cli/commands.h"
#include "cli/vms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 30
#define QUIT_MS   10000

static int quit(struct vm_link *link)
{
	json_t *value = vms_ask(link, "quit");

	if (!value)
		return 1;
	json_decref(value);
	if (vms_wait_end(link, QUIT_MS))
		return 0;
	fprintf(stderr, "ruse: VM %ld does not end; kill the process\n", link->pid);
	return 1;
}

static int stop(const char *name, long seconds)
{
	struct vm_link link;
	json_t *value = NULL;
	int status = vms_find(name, &link);

	if (status)
		return status;
	if (seconds)
		value = vms_ask(&link, "power-button");
	json_decref(value);
	if (!value || !vms_wait_end(&link, seconds * 1000)) {
		if (value)
			fprintf(stderr, "ruse: the guest has not shut down in %ld s; it is ended\n", seconds);
		status = quit(&link);
	}
	vms_close(&link);
	return status;
}

int cmd_stop(int argc, char **argv, uint64_t start_ns)
{
	const char *name = NULL;
	long seconds = TIMEOUT_S;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts("usage: ruse stop [--timeout SECONDS] NAME|PID\n\nPresses the power button; if the VM still runs after SECONDS (30; 0: "
			     "at once) it is ended.");
			return 0;
		}
		if (!strcmp(argv[i], "--timeout")) {
			const char *text = i + 1 < argc ? argv[++i] : "";

			if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 6) {
				fprintf(stderr, "ruse: --timeout needs a number of seconds, not '%s'\n", text);
				return EXIT_USAGE;
			}
			seconds = strtol(text, NULL, 10);
		} else if (argv[i][0] == '-' || name) {
			fprintf(stderr, "ruse: stop does not know '%s'; it takes --timeout SECONDS and a name\n", argv[i]);
			return EXIT_USAGE;
		} else {
			name = argv[i];
		}
	}
	if (!name) {
		fputs("ruse: stop needs the name of a VM; `ruse ps` lists them\n", stderr);
		return EXIT_USAGE;
	}
	return stop(name, seconds);
}
