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

static bool take_number(const json_t *arguments, const char *name, uint64_t max, uint64_t *number)
{
	const json_t *value = json_object_get(arguments, name);

	*number = json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
	return !value || (json_is_integer(value) && json_integer_value(value) > 0 && *number <= max);
}

/* As in a machine's description, but in numbers only. */
static bool take_rate(const json_t *arguments, struct rate_limit *limit)
{
	const json_t *rate = json_object_get(arguments, "rate");
	const struct {
		const char *name;
		uint64_t *number;
	} parts[] = {{"bytes", &limit->bytes.per_second},
		     {"bytes_burst", &limit->bytes.burst},
		     {"ops", &limit->ops.per_second},
		     {"ops_burst", &limit->ops.burst}};
	size_t known = 0;

	if (!rate)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!take_number(rate, parts[i].name, INT64_MAX, parts[i].number))
			return false;
		known += *parts[i].number > 0;
	}
	/* A burst of what? */
	return json_is_object(rate) && known == json_object_size(rate) && (limit->bytes.per_second || !limit->bytes.burst) &&
	       (limit->ops.per_second || !limit->ops.burst);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "52:54:00:12:34:56", of one card: bit 0 of the first byte says a group. */
static bool take_mac(const json_t *arguments, uint8_t mac[6])
{
	const char *text;

	if (!take_string(arguments, "mac", &text))
		return false;
	if (!text)
		return true;
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		const int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return !(mac[0] & 1) && memcmp(mac, (const uint8_t[6]){0}, 6);
}

/* NULL, or what is wrong. */
static const char *take_shape(const json_t *arguments, struct control_device *device)
{
	uint64_t queues;

	if (!take_number(arguments, "queues", CONTROL_QUEUES_MAX, &queues))
		return "attach's \"queues\" is a number from 1 on, and no more than a device has";
	device->queues = (unsigned)queues;
	if (!take_rate(arguments, &device->rate))
		return "attach's \"rate\" is an object with the numbers \"bytes\", \"bytes_burst\", \"ops\", \"ops_burst\", a burst only of what has a rate";
	if (!take_mac(arguments, device->mac))
		return "attach's \"mac\" is a card's address, like \"52:54:00:12:34:56\"";
	return NULL;
}

json_t *control_attach(struct control_request *request)
{
	const json_t *arguments = request->arguments;
	struct control_device device = {0};
	const char *kind, *wrong;
	char why[WHY_SIZE] = "";
	json_t *value;

	if (!take_string(arguments, "device", &kind) || !take_string(arguments, "name", &device.name) ||
	    !take_string(arguments, "serial", &device.serial) || !take_string(arguments, "format", &device.format) ||
	    !take_string(arguments, "cache", &device.cache) || !take_flag(arguments, "read-only", &device.read_only))
		return control_failure("of attach's arguments read-only is true or false, the others are strings");
	wrong = take_shape(arguments, &device);
	if (wrong)
		return control_failure("%s", wrong);
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
