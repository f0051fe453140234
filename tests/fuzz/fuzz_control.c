/* libFuzzer target for the control protocol: a client that sends anything as a request.
 *
 * Example:
 *     fuzz_control -seed_inputs=seeds/control_requests -max_len=4096 -runs=200000
 *
 * The input is lines, each a request. Invariants: each is answered by one line, of JSON, an object with either "return" or "error", and
 * with the request's "id"; nothing is done that the request did not name; all memory comes back (LeakSanitizer).
 */
#include "control/control.h"
#include <stdio.h>
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
	unsigned resizes;
	uint64_t size;
	bool plugged; /* or that */
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

static const char *press(void *ctx, const uint16_t *keys, unsigned count)
{
	CHECK(count >= 1 && count <= CONTROL_KEYS_MAX);
	for (unsigned i = 0; i < count; i++)
		CHECK(keys[i] > 0 && keys[i] < 0x120);
	return NULL;
}

static const char *point(void *ctx, int32_t x, int32_t y)
{
	CHECK(x >= 0 && x <= 32767 && y >= 0 && y <= 32767);
	return NULL;
}

static const char *resize(void *ctx, enum control_size what, uint64_t bytes)
{
	struct machine *machine = ctx;

	CHECK(what <= CONTROL_MEMORY && bytes <= INT64_MAX);
	machine->resizes++;
	machine->size = bytes;
	return bytes & 1 ? "odd" : NULL;
}

static json_t *screen(void *ctx, const char **why)
{
	*why = "the screen is off";
	return NULL;
}

static json_t *screenshot(void *ctx, const char **why)
{
	return json_pack("{s:i}", "number", 1);
}

static json_t *screenshot_part(void *ctx, uint64_t number, uint64_t offset, const char **why)
{
	CHECK(number <= INT64_MAX && offset <= INT64_MAX);
	*why = "the screenshot ends before this offset";
	return number == 1 ? json_pack("{s:s}", "data", "") : NULL;
}

static json_t *attach(void *ctx, const struct control_device *device, char *why, size_t why_size)
{
	struct machine *machine = ctx;

	CHECK(device->kind <= CONTROL_TAP && device->name);
	CHECK(device->queues <= CONTROL_QUEUES_MAX && !(device->mac[0] & 1));
	CHECK(device->rate.bytes.per_second || !device->rate.bytes.burst);
	machine->resizes++;
	machine->plugged = true;
	snprintf(why, why_size, "%s has no room", device->name);
	return device->read_only ? NULL : json_pack("{s:s}", "id", "disk1");
}

static bool detach(void *ctx, const char *id, bool now, char *why, size_t why_size)
{
	struct machine *machine = ctx;

	machine->resizes++;
	machine->plugged = true;
	snprintf(why, why_size, "there is no %s", id);
	return now;
}

static json_t *devices(void *ctx)
{
	return json_array();
}

static const struct control_target target = {
	.attach = attach, .detach = detach, .set_link = detach, .devices = devices,
	.screen_text = screen, .screenshot = screenshot, .screenshot_part = screenshot_part, .status = status, .statistics = statistics, .act = act, .press = press, .point = point, .resize = resize};

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
	CHECK(machine.acts + machine.resizes <= 1 && !(machine.acts && watch));
	if (machine.resizes && !machine.plugged)
		CHECK((uint64_t)json_integer_value(json_object_get(json_object_get(request, "arguments"), "size")) == machine.size);
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
