/* Private to control*.c: a request that is being answered.
 *
 * Example: `return why ? control_failure("%s", why) : control_success(json_object());`
 */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include "control/control.h"

struct control_request {
	const struct control_target *target;
	void *ctx;
	bool *watch;
	const json_t *arguments; /* an object, or NULL */
};

/* Answers: new references. */
json_t *control_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
json_t *control_success(json_t *value); /* takes it; NULL: no memory */

/* The commands of control_plug.c. */
json_t *control_attach(struct control_request *request);
json_t *control_detach(struct control_request *request);
json_t *control_devices(struct control_request *request);
json_t *control_link(struct control_request *request);

#endif
