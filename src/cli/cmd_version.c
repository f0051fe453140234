/* `ruse version`.
 *
 * Example: `ruse version`
 */
#include "cli/commands.h"

#include <stdio.h>

int cmd_version(int argc, char **argv, uint64_t start_ns)
{
	if (argc > 0) {
		fprintf(stderr, "ruse: version takes no '%s'\n", argv[0]);
		return EXIT_USAGE;
	}
	puts("ruse " RUSE_VERSION);
	return 0;
}
