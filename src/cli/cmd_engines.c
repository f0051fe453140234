/* `ruse engines`: what can run guests here, how fast, and if not, why.
 *
 * Example: `ruse engines --json`
 */
#include "cli/commands.h"
#include "core/engine.h"
#include "host/linux/calibrate.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define BUDGET_NS 10000000 /* for each engine */

struct finding {
	bool works;
	double per_second;
	char why[512];
};

static void look_at(const struct engine_ops *engine, struct finding *finding)
{
	*finding = (struct finding){0};
	finding->works =
		engine_measure(engine, BUDGET_NS, &finding->per_second, finding->why, sizeof(finding->why)) == 0;
}

static void print_text(const struct engine_ops *engine, const struct finding *finding)
{
	printf("%-8s %-8s %s\n", engine->name, guest_arch_name(engine->arch), engine->about);
	if (finding->works)
		printf("         works here: %.0f million guest instructions per second\n", finding->per_second / 1e6);
	else
		printf("         not here: %s\n", finding->why);
}

static void add_json(json_t *list, const struct engine_ops *engine, const struct finding *finding)
{
	json_t *item = json_pack("{s:s, s:s, s:s, s:b}", "name", engine->name, "guests", guest_arch_name(engine->arch), "about", engine->about, "works",
				 finding->works);

	if (finding->works)
		json_object_set_new(item, "instructions_per_second", json_real(finding->per_second));
	else
		json_object_set_new(item, "why", json_string(finding->why));
	json_array_append_new(list, item);
}

int cmd_engines(int argc, char **argv, uint64_t start_ns)
{
	bool json = argc == 1 && !strcmp(argv[0], "--json");
	json_t *list = json_array();
	struct finding finding;

	if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		puts("usage: ruse engines [--json]\n\nSays for each engine whether it runs here, how fast a short loop "
		     "runs, and if not, why.");
		json_decref(list);
		return 0;
	}
	if (argc > 1 || (argc == 1 && !json)) {
		fprintf(stderr, "ruse: engines does not know '%s'; it takes --json or nothing\n", argv[argc - 1]);
		json_decref(list);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; engines[i]; i++) {
		look_at(engines[i], &finding);
		if (json)
			add_json(list, engines[i], &finding);
		else
			print_text(engines[i], &finding);
	}
	if (json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(list);
	return 0;
}
