/* The control protocol of a VM: lines of JSON, a request and its answer.
 *
 *     {"command": "pause"}                        {"return": {}}
 *     {"id": 7, "command": "fly"}                 {"id": 7, "error": "the command \"fly\" is unknown; ..."}
 *     {"command": "watch"}                        {"return": {}}, then each second {"figures": {"exits io": "7", ...}}
 *
 * `id` may be anything; the answer has the same. The VM is a table of functions, so that a fuzzer can be one.
 *
 * Example:
 *     char *answer = control_answer(&target, ctx, line, len, &watch);
 *     ... send it; free(answer);
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/types.h"
#include <jansson.h>

#define CONTROL_LINE_MAX 4096 /* of a request, with its newline */

enum control_action { CONTROL_PAUSE, CONTROL_RESUME, CONTROL_POWER_BUTTON, CONTROL_RESET, CONTROL_QUIT };

struct control_target {
	json_t *(*status)(void *ctx);     /* an object; a new reference, NULL: no memory */
	json_t *(*statistics)(void *ctx); /* likewise: name, value */
	/* NULL, or one sentence that says why not (static). */
	const char *(*act)(void *ctx, enum control_action action);
};

/* The line that answers a request (whatever is in its len bytes), with its newline, to be freed; NULL: no memory. *watch is set when the
 * client wants figures from now on. */
char *control_answer(const struct control_target *target, void *ctx, const char *line, size_t len, bool *watch);
/* The answer to what is longer than CONTROL_LINE_MAX. */
extern const char control_too_long[];
/* {"figures": ...} and a newline, to be freed; takes the reference. NULL: no memory. */
char *control_figures(json_t *figures);

#endif
