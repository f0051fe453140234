/* Requests in JSON; see control.h. A table of commands; whatever a client sends, the answer is one line. */
#include "control/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char control_too_long[] = "{\"error\": \"a request is one line of at most 4096 bytes\"}\n";

struct request {
	const struct control_target *target;
	void *ctx;
	bool *watch;
};

/* ---- answers ---- */

static json_t *failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
static json_t *failure(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* What a client sent may be cut inside of a character: it is replaced as a whole then. */
	json_t *answer = json_pack("{s:s}", "error", text);

	return answer ? answer : json_pack("{s:s}", "error", "the request is not understood");
}

static json_t *success(json_t *value)
{
	return value ? json_pack("{s:o}", "return", value) : NULL;
}

/* ---- commands ---- */

static json_t *cmd_status(struct request *request)
{
	return success(request->target->status(request->ctx));
}

static json_t *cmd_statistics(struct request *request)
{
	return success(request->target->statistics(request->ctx));
}

static json_t *cmd_watch(struct request *request)
{
	*request->watch = true;
	return success(json_object());
}

static json_t *act(struct request *request, enum control_action action)
{
	const char *why = request->target->act(request->ctx, action);

	return why ? failure("%s", why) : success(json_object());
}

static json_t *cmd_pause(struct request *request)
{
	return act(request, CONTROL_PAUSE);
}

static json_t *cmd_resume(struct request *request)
{
	return act(request, CONTROL_RESUME);
}

static json_t *cmd_power_button(struct request *request)
{
	return act(request, CONTROL_POWER_BUTTON);
}

static json_t *cmd_reset(struct request *request)
{
	return act(request, CONTROL_RESET);
}

static json_t *cmd_quit(struct request *request)
{
	return act(request, CONTROL_QUIT);
}

static json_t *cmd_help(struct request *request);

static const struct {
	const char *name, *about;
	json_t *(*run)(struct request *request);
} commands[] = {
	{"status", "what it is, and what it does", cmd_status},
	{"pause", "stop its processors", cmd_pause},
	{"resume", "let them go on", cmd_resume},
	{"power-button", "press it: the guest is to shut down", cmd_power_button},
	{"reset", "reset the machine", cmd_reset},
	{"quit", "end it at once", cmd_quit},
	{"statistics", "its figures so far", cmd_statistics},
	{"watch", "the same each second", cmd_watch},
	{"help", "these", cmd_help},
};

static json_t *cmd_help(struct request *request)
{
	json_t *list = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		json_object_set_new(list, commands[i].name, json_string(commands[i].about));
	return success(list);
}

static json_t *run(struct request *request, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(request);
	return failure("the command \"%.32s\" is unknown; \"help\" lists them", name);
}

/* ---- requests ---- */

static json_t *answer_to(struct request *request, const json_t *root)
{
	const json_t *arguments = json_object_get(root, "arguments");
	const char *name = json_string_value(json_object_get(root, "command"));
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return failure("a request is an object: {\"command\": \"status\"}");
	if (!name)
		return failure("a request needs a \"command\", which is a string");
	json_object_foreach((json_t *)(uintptr_t)root, key, value) {
		if (strcmp(key, "command") && strcmp(key, "id") && strcmp(key, "arguments"))
			return failure("a request has no \"%.32s\"; it has id, command, arguments", key);
	}
	if (arguments && (!json_is_object(arguments) || json_object_size(arguments)))
		return failure("this command takes no arguments");
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
	struct request request = {.target = target, .ctx = ctx, .watch = watch};
	json_error_t error;
	json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	json_t *answer = root ? answer_to(&request, root) : failure("a request is a line of JSON: %.100s", error.text);
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
