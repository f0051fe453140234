/* `ruse top`: what a running VM does, second by second. The VM's side is the command `watch` of control/control.h.
 *
 * Example: `ruse top web`, or `ruse top --count 1 | grep faults`
 */
#include "cli/commands.h"
#include "cli/vms.h"
#include "host/linux/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIGURES_MAX 512
#define NAME_SIZE  64

struct figure {
	char name[NAME_SIZE];
	double value;
	bool time; /* milliseconds */
};

struct figures {
	struct figure of[FIGURES_MAX];
	unsigned count;
	unsigned processors;
	double seconds;
	char engine[16];
};

/* The next figures. False: the VM has ended. */
static bool read_figures(struct vm_link *link, struct figures *figures)
{
	json_t *line = vms_next(link), *all = json_object_get(line, "figures"), *value;
	const char *key;
	bool there = all != NULL;

	*figures = (struct figures){0};
	json_object_foreach(all, key, value) {
		struct figure *figure = &figures->of[figures->count];
		const char *text = json_string_value(value);
		char *end;

		if (!text)
			continue;
		if (!strcmp(key, "engine"))
			snprintf(figures->engine, sizeof(figures->engine), "%s", text);
		else if (!strcmp(key, "processors"))
			figures->processors = (unsigned)strtoul(text, NULL, 10);
		else if (!strcmp(key, "run time"))
			figures->seconds = strtod(text, NULL);
		else if (figures->count < FIGURES_MAX && strlen(key) < sizeof(figure->name)) {
			strcpy(figure->name, key);
			figure->value = strtod(text, &end);
			figure->time = !strncmp(end, " ms", 3);
			figures->count++;
		}
	}
	json_decref(line);
	return there;
}

static double value_of(const struct figures *figures, const char *name)
{
	for (unsigned i = 0; i < figures->count; i++)
		if (!strcmp(figures->of[i].name, name))
			return figures->of[i].value;
	return 0;
}

static void show(long pid, const struct figures *before, const struct figures *now)
{
	double seconds = now->seconds - before->seconds, processors = now->processors ? now->processors : 1;

	if (seconds <= 0)
		return;
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	printf("VM %ld, engine %s, %u processor%s, running for %.0f s\n\n", pid, now->engine, now->processors,
	       now->processors == 1 ? "" : "s", now->seconds);
	printf("%-44s %14s %16s\n", "", "a second", "in all");
	for (unsigned i = 0; i < now->count; i++) {
		const struct figure *figure = &now->of[i];
		double rate = (figure->value - value_of(before, figure->name)) / seconds;

		if (figure->time)
			printf("%-44s %13.1f%% %13.1f ms\n", figure->name, rate / 10 / processors, figure->value);
		else if (figure->value > 0)
			printf("%-44s %14.0f %16.0f\n", figure->name, rate, figure->value);
	}
	putchar('\n');
	fflush(stdout);
}

static int watch_vm(const char *name, unsigned long count)
{
	static struct figures figures[2];
	struct vm_link link;
	json_t *begun;
	int status = vms_find(name, &link);

	if (status)
		return status;
	begun = vms_ask(&link, "watch");
	json_decref(begun);
	if (!begun || !read_figures(&link, &figures[0])) {
		vms_close(&link);
		return 1;
	}
	for (unsigned long i = 1; read_figures(&link, &figures[i & 1]); i++) {
		show(link.pid, &figures[~i & 1], &figures[i & 1]);
		if (i == count)
			break;
	}
	vms_close(&link);
	return 0;
}

/* The only one there is, or a list. */
static int watch_any(unsigned long count)
{
	json_t *statuses[VMS_MAX];
	unsigned found = vms_list(statuses);
	char pid[24] = "", path[REGISTRY_PATH_MAX];

	if (!found && !registry_path(path, sizeof(path), 1, "sock"))
		fprintf(stderr, "ruse: XDG_RUNTIME_DIR is not set, so VMs can't be found; set it for `ruse run` and `ruse top` alike\n");
	else if (!found)
		fprintf(stderr, "ruse: no VM of yours is running\n");
	for (unsigned i = 0; i < found; i++) {
		snprintf(pid, sizeof(pid), "%lld", (long long)json_integer_value(json_object_get(statuses[i], "pid")));
		if (found > 1)
			printf("%s %s\n", pid, json_string_value(json_object_get(statuses[i], "name")));
		json_decref(statuses[i]);
	}
	return found == 1 ? watch_vm(pid, count) : found ? 0 : 1;
}

static int usage(const char *word)
{
	fprintf(stderr, "ruse: top does not know '%s'; it takes --count N and the name or process number of a VM\n", word);
	return EXIT_USAGE;
}

int cmd_top(int argc, char **argv, uint64_t start_ns)
{
	const char *name = NULL;
	unsigned long count = 0;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts("usage: ruse top [--count N] [NAME|PID]\n\nShows each second what a running VM does. Without a name: the only one there "
			     "is, or a list.\n--count N: ends after N seconds.");
			return 0;
		}
		if (!strcmp(argv[i], "--count")) {
			char *end = NULL;

			if (++i == argc)
				return usage("--count");
			count = strtoul(argv[i], &end, 10);
			if (argv[i][0] < '1' || argv[i][0] > '9' || *end)
				return usage(argv[i]);
		} else if (argv[i][0] == '-' || name) {
			return usage(argv[i]);
		} else {
			name = argv[i];
		}
	}
	return name ? watch_vm(name, count) : watch_any(count);
}
