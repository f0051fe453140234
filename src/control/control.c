/* Requests in JSON; see control.h. A table of commands; whatever a client sends, the answer is one line. */
#include "control/control_private.h"
#include "control/keys.h"
#include "dev/input/input.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char control_too_long[] = "{\"error\": \"a request is one line of at most 4096 bytes\"}\n";

/* ---- answers ---- */

json_t *control_failure(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* What a client sent may be cut inside of a character: it is replaced as a whole then. */
	json_t *answer = json_pack("{s:s}", "error", text);

	return answer ? answer : json_pack("{s:s}", "error", "the request is not understood");
}

json_t *control_success(json_t *value)
{
	return value ? json_pack("{s:o}", "return", value) : NULL;
}

/* ---- commands ---- */

static json_t *cmd_status(struct control_request *request)
{
	return control_success(request->target->status(request->ctx));
}

static json_t *cmd_statistics(struct control_request *request)
{
	return control_success(request->target->statistics(request->ctx));
}

static json_t *cmd_watch(struct control_request *request)
{
	*request->watch = true;
	return control_success(json_object());
}

static json_t *act(struct control_request *request, enum control_action action)
{
	const char *why = request->target->act(request->ctx, action);

	return why ? control_failure("%s", why) : control_success(json_object());
}

static json_t *cmd_pause(struct control_request *request)
{
	return act(request, CONTROL_PAUSE);
}

static json_t *cmd_resume(struct control_request *request)
{
	return act(request, CONTROL_RESUME);
}

static json_t *cmd_power_button(struct control_request *request)
{
	return act(request, CONTROL_POWER_BUTTON);
}

static json_t *cmd_reset(struct control_request *request)
{
	return act(request, CONTROL_RESET);
}

static json_t *cmd_quit(struct control_request *request)
{
	return act(request, CONTROL_QUIT);
}

static json_t *resize(struct control_request *request, enum control_size what)
{
	const json_t *size = json_object_get(request->arguments, "size");
	const char *why;

	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return control_failure("this command needs an argument \"size\", a number of bytes");
	why = request->target->resize(request->ctx, what, (uint64_t)json_integer_value(size));
	return why ? control_failure("%s", why) : control_success(json_object());
}

static json_t *cmd_balloon(struct control_request *request)
{
	return resize(request, CONTROL_BALLOON);
}

static json_t *cmd_memory(struct control_request *request)
{
	return resize(request, CONTROL_MEMORY);
}

static json_t *cmd_key(struct control_request *request)
{
	const char *text = json_string_value(json_object_get(request->arguments, "keys")), *why;
	uint16_t keys[CONTROL_KEYS_MAX];
	unsigned count = 0;

	if (!text)
		return control_failure("this command needs an argument \"keys\", as \"leftctrl+c\"");
	for (size_t len; count <= CONTROL_KEYS_MAX; text += len + 1) {
		len = strcspn(text, "+");
		if (count == CONTROL_KEYS_MAX)
			return control_failure("no more than %u keys are pressed at a time", CONTROL_KEYS_MAX);
		keys[count] = key_code(text, len);
		if (!keys[count++])
			return control_failure("there is no key \"%.*s\"; they have Linux's names in small letters, as leftctrl, enter, a, button-left", (int)(len < 32 ? len : 32), text);
		if (!text[len])
			break;
	}
	why = request->target->press(request->ctx, keys, count);
	return why ? control_failure("%s", why) : control_success(json_object());
}

static json_t *cmd_pointer(struct control_request *request)
{
	const json_t *x = json_object_get(request->arguments, "x"), *y = json_object_get(request->arguments, "y");
	const char *why;

	if (!json_is_integer(x) || !json_is_integer(y) || json_integer_value(x) < 0 || json_integer_value(y) < 0 ||
	    json_integer_value(x) > INPUT_ABS_MAX || json_integer_value(y) > INPUT_ABS_MAX)
		return control_failure("this command needs arguments \"x\" and \"y\", 0 to %d", INPUT_ABS_MAX);
	why = request->target->point(request->ctx, (int32_t)json_integer_value(x), (int32_t)json_integer_value(y));
	return why ? control_failure("%s", why) : control_success(json_object());
}

static json_t *shown(json_t *value, const char *why)
{
	return !value && why ? control_failure("%s", why) : control_success(value);
}

static json_t *cmd_screen(struct control_request *request)
{
	const char *why = NULL;
	json_t *value = request->target->screen_text(request->ctx, &why);

	return shown(value, why);
}

static json_t *cmd_screenshot(struct control_request *request)
{
	const char *why = NULL;
	json_t *value = request->target->screenshot(request->ctx, &why);

	return shown(value, why);
}

static json_t *cmd_screenshot_part(struct control_request *request)
{
	const json_t *number = json_object_get(request->arguments, "number"), *offset = json_object_get(request->arguments, "offset");
	const char *why = NULL;
	json_t *value;

	if (!json_is_integer(number) || !json_is_integer(offset) || json_integer_value(number) < 0 || json_integer_value(offset) < 0)
		return control_failure("this command needs arguments \"number\", of a screenshot, and \"offset\", in bytes");
	value = request->target->screenshot_part(request->ctx, (uint64_t)json_integer_value(number), (uint64_t)json_integer_value(offset), &why);
	return shown(value, why);
}

static json_t *cmd_help(struct control_request *request);

static const struct {
	const char *name, *about;
	json_t *(*run)(struct control_request *request);
	const char *arguments[9]; /* names of what it may be given */
} commands[] = {
	{"status", "what it is, and what it does", cmd_status},
	{"pause", "stop its processors", cmd_pause},
	{"resume", "let them go on", cmd_resume},
	{"power-button", "press it: the guest is to shut down", cmd_power_button},
	{"reset", "reset the machine", cmd_reset},
	{"quit", "end it at once", cmd_quit},
	{"balloon", "so many bytes are to be in its memory balloon", cmd_balloon, {"size"}},
	{"memory", "so many bytes of memory it is to have", cmd_memory, {"size"}},
	{"attach", "plug in a disk or a network card, whose open files come along", control_attach,
	 {"device", "name", "serial", "format", "cache", "read-only", "queues", "rate", "mac"}},
	{"detach", "take out what was attached", control_detach, {"id", "now"}},
	{"devices", "what was attached", control_devices},
	{"link", "plug the cable of a network card in, or out", control_link, {"id", "up"}},
	{"key", "press keys, with + between them, and let them go", cmd_key, {"keys"}},
	{"pointer", "move the pointer: 0 to 32767 from the left and upper edge", cmd_pointer, {"x", "y"}},
	{"screen", "the text on its screen", cmd_screen},
	{"screenshot", "take a picture of its screen: number and size", cmd_screenshot},
	{"screenshot-part", "bytes of that picture from an offset on, in base64: red, green, blue by line", cmd_screenshot_part, {"number", "offset"}},
	{"statistics", "its figures so far", cmd_statistics},
	{"watch", "the same each second", cmd_watch},
	{"help", "these", cmd_help},
};

static json_t *cmd_help(struct control_request *request)
{
	json_t *list = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		json_object_set_new(list, commands[i].name, json_string(commands[i].about));
	return control_success(list);
}

/* NULL, or an argument that the command does not take. */
static const char *unknown_argument(const struct control_request *request, const char *const *known, size_t count)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)request->arguments, key, value) {
		size_t i = 0;

		while (i < count && !(known[i] && !strcmp(known[i], key)))
			i++;
		if (i == count)
			return key;
	}
	return NULL;
}

static json_t *run(struct control_request *request, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *unknown;

		if (strcmp(name, commands[i].name))
			continue;
		unknown = unknown_argument(request, commands[i].arguments, ARRAY_SIZE(commands[i].arguments));
		if (!unknown)
			return commands[i].run(request);
		return commands[i].arguments[0] ? control_failure("this command takes no argument \"%.32s\"", unknown)
						: control_failure("this command takes no arguments");
	}
	return control_failure("the command \"%.32s\" is unknown; \"help\" lists them", name);
}

/* ---- requests ---- */

static json_t *answer_to(struct control_request *request, const json_t *root)
{
	const json_t *arguments = json_object_get(root, "arguments");
	const char *name = json_string_value(json_object_get(root, "command"));
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return control_failure("a request is an object: {\"command\": \"status\"}");
	if (!name)
		return control_failure("a request needs a \"command\", which is a string");
	json_object_foreach((json_t *)(uintptr_t)root, key, value) {
		if (strcmp(key, "command") && strcmp(key, "id") && strcmp(key, "arguments"))
			return control_failure("a request has no \"%.32s\"; it has id, command, arguments", key);
	}
	if (arguments && !json_is_object(arguments))
		return control_failure("\"arguments\" is an object");
	request->arguments = arguments;
	return run(request, name);
}

static char *line_of(json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;

	if (line)
		memcpy(line + len, "\n", 2);
	else
		free(text);
	json_decref(answer);
	return line;
}

char *control_answer(const struct control_target *target, void *ctx, const char *line, size_t len, bool *watch)
{
	struct control_request request = {.target = target, .ctx = ctx, .watch = watch};
	json_error_t error;
	json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	json_t *answer = root ? answer_to(&request, root) : control_failure("a request is a line of JSON: %.100s", error.text);
	json_t *id = json_object_get(root, "id");

	if (id && answer)
		json_object_set(answer, "id", id);
	json_decref(root);
	return line_of(answer);
}

char *control_figures(json_t *figures)
{
	return figures ? line_of(json_pack("{s:o}", "figures", figures)) : NULL;
}
