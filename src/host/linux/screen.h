/* What a VM shows, for the control socket (control/control.h): the characters, or a picture that is handed over in parts.
 *
 * Example: `json_t *text = screen_text(vm, &why);`
 */
#ifndef HOST_LINUX_SCREEN_H
#define HOST_LINUX_SCREEN_H

#include "base/types.h"
#include <jansson.h>

struct vm;

/* The last picture that was taken. All zero: none. */
struct screen_shot {
	uint32_t number;
	unsigned width, height;
	uint32_t *pixels;
};

/* Each gives a new reference; or NULL and one sentence in *why, or no sentence: no memory. */
json_t *screen_text(struct vm *vm, const char **why);
json_t *screen_take(struct screen_shot *shot, struct vm *vm, const char **why);
json_t *screen_part(const struct screen_shot *shot, uint64_t number, uint64_t offset, const char **why);
void screen_forget(struct screen_shot *shot);

#endif
