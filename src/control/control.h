/* The control protocol of a VM: lines of JSON, a request and its answer.
 *
 *     {"command": "pause"}                        {"return": {}}
 *     {"id": 7, "command": "fly"}                 {"id": 7, "error": "the command \"fly\" is unknown; ..."}
 *     {"command": "balloon", "arguments": {"size": 67108864}}
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
#include "dev/virtio/limiter.h"
#include <jansson.h>

#define CONTROL_LINE_MAX 4096 /* of a request, with its newline */

#define CONTROL_QUEUES_MAX 64 /* of a disk; of a card the board takes what it can have */
#define CONTROL_KEYS_MAX 8 /* that are pressed at a time */

enum control_action { CONTROL_PAUSE, CONTROL_RESUME, CONTROL_POWER_BUTTON, CONTROL_RESET, CONTROL_QUIT };

/* What has a size that can be changed. */
enum control_size { CONTROL_BALLOON, CONTROL_MEMORY };

/* What is to be plugged in. Its open files come with the request, beside its text (unix(7), SCM_RIGHTS): of a disk the image and its
 * backing files, the socket of a stream of Ethernet frames, the queues of a tap. */
struct control_device {
	enum { CONTROL_DISK, CONTROL_STREAM, CONTROL_TAP } kind;
	const char *name;                    /* of the file or interface, for messages; the end of a disk's may say its format */
	const char *serial, *format, *cache; /* of a disk; or NULL */
	bool read_only;
	unsigned queues;                     /* 0: the VM chooses */
	struct rate_limit rate;
	uint8_t mac[6];                      /* of a card; all zero: the VM chooses */
};

struct control_target {
	json_t *(*status)(void *ctx);     /* an object; a new reference, NULL: no memory */
	json_t *(*statistics)(void *ctx); /* likewise: name, value */
	/* NULL, or one sentence that says why not (static). */
	const char *(*act)(void *ctx, enum control_action action);
	/* What its screen shows: text, the size and number of a picture, bytes of that picture (host/linux/screen.h). NULL: *why says
	 * why not, or there is no memory. */
	json_t *(*screen_text)(void *ctx, const char **why);
	json_t *(*screenshot)(void *ctx, const char **why);
	json_t *(*screenshot_part)(void *ctx, uint64_t number, uint64_t offset, const char **why);
	/* {"id": ...}; or NULL, with a sentence in why, unless there is no memory. */
	json_t *(*attach)(void *ctx, const struct control_device *device, char *why, size_t why_size);
	/* False: why says why not. */
	bool (*detach)(void *ctx, const char *id, bool now, char *why, size_t why_size);
	bool (*set_link)(void *ctx, const char *id, bool up, char *why, size_t why_size);
	json_t *(*devices)(void *ctx); /* as status() */
	/* Presses keys in their order and lets them go again (codes of dev/input/input.h; 1..CONTROL_KEYS_MAX), moves the pointer. */
	const char *(*press)(void *ctx, const uint16_t *keys, unsigned count);
	const char *(*point)(void *ctx, int32_t x, int32_t y);
	const char *(*resize)(void *ctx, enum control_size what, uint64_t bytes); /* likewise */
};

/* The line that answers a request (whatever is in its len bytes), with its newline, to be freed; NULL: no memory. *watch is set when the
 * client wants figures from now on. */
char *control_answer(const struct control_target *target, void *ctx, const char *line, size_t len, bool *watch);
/* The answer to what is longer than CONTROL_LINE_MAX. */
extern const char control_too_long[];
/* {"figures": ...} and a newline, to be freed; takes the reference. NULL: no memory. */
char *control_figures(json_t *figures);

#endif
