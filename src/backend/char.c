/* Which character backend a `--serial` or `--console` argument names; see char.h.
 *
 * Example: `r = char_open(&host, "file=boot.log", "serial0", &backend, why, sizeof(why));`
 */
#include "backend/char.h"
#include "backend/char_kinds.h"
#include "base/fmt.h"
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	bool takes_path;
	int (*open)(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		    size_t why_size);
} kinds[] = {
	{"stdio", false, char_stdio_open}, {"none", false, char_none_open}, {"file", true, char_file_open},
	{"unix", true, char_unix_open},    {"pty", false, char_pty_open},
	{"detached", false, char_detached_open},
};

/* The kind's name alone, or followed by `=` and a path where it takes one. */
static bool matches(const char *spec, const char *name, bool takes_path, const char **path)
{
	size_t len = strlen(name);

	*path = takes_path ? spec + len + 1 : NULL;
	if (!takes_path)
		return strcmp(spec, name) == 0;
	return strncmp(spec, name, len) == 0 && spec[len] == '=' && spec[len + 1];
}

int char_open(struct char_host *host, const char *spec, const char *id, struct char_backend **out, char *why,
	      size_t why_size)
{
	const char *path;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!matches(spec, kinds[i].name, kinds[i].takes_path, &path))
			continue;
		r = kinds[i].open(host, path, id, out, why, why_size);
		if (r == -ENOMEM)
			fmt_print(why, why_size, "%s: out of memory", id);
		return r;
	}
	fmt_print(why, why_size, "%s: '%s' is not one of stdio, none, file=PATH, unix=PATH, pty, detached", id, spec);
	return -EINVAL;
}
