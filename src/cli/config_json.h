/* The VM description as JSON: what `--config` reads and `--print-config` shows. docs/CLI.md has the schema.
 *
 * Example: `r = config_json_read(&options, "vm.json", why, sizeof(why));`
 */
#ifndef CLI_CONFIG_JSON_H
#define CLI_CONFIG_JSON_H

#include "cli/options.h"
#include <jansson.h>

/* Reads a file ("-": stdin) over what options holds; lists are added to. -errno and one sentence. */
int config_json_read(struct run_options *options, const char *path, char *why, size_t why_size);
/* Prints all of it; reading that back gives the same machine. */
void config_json_print(const struct run_options *options, FILE *out);

/* For config_json.c: a rate limit, from and to an object (config_json_rate.c). False: it is none. */
bool config_json_rate(json_t *object, struct rate_limit *limit);
json_t *config_json_print_rate(const struct rate_limit *limit);

#endif
