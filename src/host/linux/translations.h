/* `--dump tb` and `--perf-map`: translations as text.
 *
 * Example:
 *     r = translations_open(&translations, "tb.txt", true, why, sizeof(why));   // before the sandbox closes
 *     vm->translations = &translations.log;
 *     ...
 *     translations_close(&translations);                                        // after the vcpu threads have ended
 */
#ifndef HOST_LINUX_TRANSLATIONS_H
#define HOST_LINUX_TRANSLATIONS_H

#include "base/lock.h"
#include "core/translation.h"
#include <stdio.h>

#define TRANSLATIONS_BUFFER 16384

struct translations {
	struct translation_log log; /* first */
	struct lock lock;
	FILE *dump, *map;
	char dump_buffer[TRANSLATIONS_BUFFER], map_buffer[TRANSLATIONS_BUFFER];
};

/* dump: a file to make, "-" for stderr, NULL for none. perf_map: makes /tmp/perf-PID.map, where Linux's perf looks for the names
 * of code that belongs to no file. 0, or -errno with one sentence in why. */
int translations_open(struct translations *translations, const char *dump, bool perf_map, char *why, size_t why_size) must_check;
void translations_close(struct translations *translations);

#endif
