/* What is plugged into a running VM, and its cables: the commands attach, detach, devices and link; see control.h. */
#include "control/control_private.h"

#include <stdio.h>
#include <string.h>

#define WHY_SIZE 512

/* A string; NULL: it is not there. False: it is something else. */
static bool take_string(const json_t *arguments, const char *name, const char **text)
{
	const json_t *value = json_object_get(arguments, name);

	*text = json_string_value(value);
	return !value || *text;
}

static bool take_flag(const json_t *arguments, const char *name, bool *flag)
{
	const json_t *value = json_object_get(arguments, name);

	*flag = json_is_true(value);
	return !value || json_is_boolean(value);
}

json_t *control_attach(struct control_request *request)
{
	const json_t *arguments = request->arguments;
	struct control_device device = {0};
	const char *kind;
	char why[WHY_SIZE] = "";
	json_t *value;

	if (!take_string(arguments, "device", &kind) || !take_string(arguments, "name", &device.name) ||
	    !take_string(arguments, "serial", &device.serial) || !take_string(arguments, "format", &device.format) ||
	    !take_string(arguments, "cache", &device.cache) || !take_flag(arguments, "read-only", &device.read_only))
		return control_failure("of attach's arguments read-only is true or false, the others are strings");
	if (!kind || !device.name)
		return control_failure("attach needs a \"device\", which is \"disk\", \"stream\" or \"tap\", and a \"name\"");
	if (!strcmp(kind, "disk"))
		device.kind = CONTROL_DISK;
	else if (!strcmp(kind, "stream"))
		device.kind = CONTROL_STREAM;
	else if (!strcmp(kind, "tap"))
		device.kind = CONTROL_TAP;
	else
		return control_failure("attach knows no device \"%.32s\"; it is \"disk\", \"stream\" or \"tap\"", kind);
	value = request->target->attach(request->ctx, &device, why, sizeof(why));
	return !value && why[0] ? control_failure("%s", why) : control_success(value);
}

json_t *control_detach(struct control_request *request)
{
	char why[WHY_SIZE] = "";
	const char *id;
	bool now;

	if (!take_string(request->arguments, "id", &id) || !id || !take_flag(request->arguments, "now", &now))
		return control_failure("detach needs an \"id\", which is a string; \"now\" is true or false");
	if (request->target->detach(request->ctx, id, now, why, sizeof(why)))
		return control_success(json_object());
	return control_failure("%s", why);
}

json_t *control_devices(struct control_request *request)
{
	return control_success(request->target->devices(request->ctx));
}

json_t *control_link(struct control_request *request)
{
	char why[WHY_SIZE] = "";
	const json_t *up = json_object_get(request->arguments, "up");
	const char *id;

	if (!take_string(request->arguments, "id", &id) || !id || !json_is_boolean(up))
		return control_failure("link needs an \"id\", which is a string, and \"up\", which is true or false");
	if (request->target->set_link(request->ctx, id, json_is_true(up), why, sizeof(why)))
		return control_success(json_object());
	return control_failure("%s", why);
}
