/* libFuzzer target for the control protocol: a client that sends anything as a request.
 *
 * Example:
 *     fuzz_control -seed_inputs=seeds/control_requests -max_len=4096 -runs=200000
 *
 * The input is lines, each a request. Invariants: each is answered by one line, of JSON, an object with either "return" or "error", and
 * with the request's "id"; nothing is done that the request did not name; all memory comes back (LeakSanitizer).
 */
#include "control/control.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

static const char *const action_names[] = {[CONTROL_PAUSE] = "pause",
					   [CONTROL_RESUME] = "resume",
					   [CONTROL_POWER_BUTTON] = "power-button",
					   [CONTROL_RESET] = "reset",
					   [CONTROL_QUIT] = "quit"};

struct machine {
	unsigned acts;
	enum control_action act;
};

static json_t *status(void *ctx)
{
	return json_pack("{s:s, s:i}", "name", "vm", "pid", 1);
}

static json_t *statistics(void *ctx)
{
	return json_pack("{s:s}", "exits io", "7");
}

static const char *act(void *ctx, enum control_action action)
{
	struct machine *machine = ctx;

	machine->acts++;
	machine->act = action;
	return action == CONTROL_POWER_BUTTON ? "there is none" : NULL;
}

static const struct control_target target = {.status = status, .statistics = statistics, .act = act};

static void check_answer(const uint8_t *line, size_t len)
{
	struct machine machine = {0};
	bool watch = false;
	uint8_t *copy = malloc(len ? len : 1); /* exactly so many bytes: ASan sees what is beyond */
	char *answer;
	json_t *root, *request, *id;

	CHECK(copy);
	memcpy(copy, line, len);
	answer = control_answer(&target, &machine, (const char *)copy, len, &watch);
	CHECK(answer && strlen(answer) > 1 && strchr(answer, '\n') == answer + strlen(answer) - 1);
	root = json_loads(answer, 0, NULL);
	request = json_loadb((const char *)copy, len, JSON_REJECT_DUPLICATES, NULL);
	id = json_object_get(request, "id");
	CHECK(json_is_object(root) && (json_object_get(root, "return") != NULL) != json_is_string(json_object_get(root, "error")));
	CHECK(!id || json_equal(id, json_object_get(root, "id")));
	CHECK(json_object_size(root) == (id ? 2 : 1));
	CHECK(machine.acts <= 1 && !(machine.acts && watch));
	if (machine.acts)
		CHECK(!strcmp(json_string_value(json_object_get(request, "command")), action_names[machine.act]));
	json_decref(root);
	json_decref(request);
	free(answer);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		if (len < CONTROL_LINE_MAX)
			check_answer(data, len);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	return 0;
}
