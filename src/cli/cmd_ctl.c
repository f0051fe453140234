/* `ruse ctl`: a command for a running VM.
 *
 * Example: `ruse ctl web pause`, or `ruse ctl web status --json`
 */
#include "cli/commands.h"
#include "cli/ctl_attach.h"
#include "cli/options.h"
#include "cli/screenshot.h"
#include "cli/vms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8

static void print_value(const json_t *value)
{
	if (json_is_string(value))
		puts(json_string_value(value));
	else if (json_is_null(value))
		puts("-");
	else {
		json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
}

static void print_object(json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		printf("%s: ", key);
		print_value(value);
	}
}

/* Commands that take a word more, and what it is. */
enum word_kind { WORD_SIZE, WORD_TEXT, WORD_UP_DOWN, WORD_KEYS, WORD_NUMBER };
static const struct {
	const char *command, *argument;
	enum word_kind kind;
	const char *example;
} words_of[] = {
	{"balloon", "size", WORD_SIZE, "64M"},
	{"memory", "size", WORD_SIZE, "2G"},
	{"link", "id", WORD_TEXT, "net0 up"},
	{"link", "up", WORD_UP_DOWN, "net0 up"},
	{"key", "keys", WORD_KEYS, "leftctrl+c"},
	{"pointer", "x", WORD_NUMBER, "16384 16384"},
	{"pointer", "y", WORD_NUMBER, "16384 16384"},
};

static const char *const kind_names[] = {[WORD_SIZE] = "a size", [WORD_TEXT] = "an id", [WORD_UP_DOWN] = "up or down",
					 [WORD_KEYS] = "keys", [WORD_NUMBER] = "numbers"};

/* NULL: it is none. */
static json_t *value_of(enum word_kind kind, const char *word)
{
	uint64_t bytes;
	char *end;
	long number;

	switch (kind) {
	case WORD_SIZE:
		return parse_size(word, &bytes) && bytes <= INT64_MAX ? json_integer((json_int_t)bytes) : NULL;
	case WORD_TEXT:
	case WORD_KEYS:
		return json_string(word);
	case WORD_NUMBER:
		number = strtol(word, &end, 10);
		return *word >= '0' && *word <= '9' && !*end ? json_integer(number) : NULL;
	case WORD_UP_DOWN:
		return !strcmp(word, "up") || !strcmp(word, "down") ? json_boolean(!strcmp(word, "up")) : NULL;
	}
	return NULL;
}

/* The arguments of a command as words[0..count) say them: a new reference, or NULL after it has said what is wrong. */
static json_t *arguments_of(const char *command, const char *const *words, unsigned count)
{
	json_t *arguments = json_object();
	unsigned used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(words_of); i++) {
		json_t *value;

		if (strcmp(words_of[i].command, command))
			continue;
		value = used < count ? value_of(words_of[i].kind, words[used]) : NULL;
		if (!value) {
			fprintf(stderr, "ruse: ctl needs %s for %s, as in `ruse ctl NAME %s %s`\n", kind_names[words_of[i].kind], command,
				command, words_of[i].example);
			goto refuse;
		}
		json_object_set_new(arguments, words_of[i].argument, value);
		used++;
	}
	if (used == count)
		return arguments;
	fprintf(stderr, "ruse: ctl does not know '%s' behind %s\n", words[used], command);
refuse:
	json_decref(arguments);
	return NULL;
}

static void print_lines(const json_t *lines)
{
	size_t i;
	json_t *line;

	json_array_foreach(lines, i, line)
		puts(json_string_value(line) ? json_string_value(line) : "");
}

static void print_devices(const json_t *list)
{
	size_t i;
	json_t *one;

	json_array_foreach(list, i, one)
		printf("%s%s\n", json_string_value(json_object_get(one, "id")), json_is_true(json_object_get(one, "leaving")) ? " leaving" : "");
}

static int take_screenshot(const char *name, const char *path)
{
	struct vm_link link;
	int status = vms_find(name, &link);

	if (status)
		return status;
	status = screenshot_save(&link, path);
	vms_close(&link);
	return status;
}

static int run(const char *name, const char *command, json_t *arguments, bool json)
{
	struct vm_link link;
	json_t *value;
	int status = vms_find(name, &link);

	if (status)
		return status;
	value = vms_ask_with(&link, command, arguments);
	vms_close(&link);
	if (!value)
		return 1;
	if (json) {
		json_dumpf(value, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!strcmp(command, "devices")) {
		print_devices(value);
	} else if (!strcmp(command, "screen")) {
		print_lines(json_object_get(value, "lines"));
	} else {
		print_object(value);
	}
	json_decref(value);
	return 0;
}

int cmd_ctl(int argc, char **argv, uint64_t start_ns)
{
	const char *words[WORDS_MAX] = {0};
	json_t *arguments;
	int status;
	unsigned count = 0;
	bool json = false;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts("usage: ruse ctl NAME|PID COMMAND [ARGUMENT] [--json]\n\nCommands: status, pause, resume, power-button, reset, quit, "
			     "balloon SIZE, memory SIZE, attach disk FILE[,OPTIONS], attach net user|stream=unix:PATH|tap=INTERFACE,\n"
			     "detach ID [now], devices, link ID up|down, key KEY[+KEY]..., pointer X Y,\nscreen, screenshot FILE.png, statistics.\n`ruse ctl NAME help` asks the VM.");
			return 0;
		}
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if ((argv[i][0] == '-' && argv[i][1]) || count == WORDS_MAX) {
			fprintf(stderr, "ruse: ctl does not know '%s'; it takes NAME COMMAND [ARGUMENT] [--json]\n", argv[i]);
			return EXIT_USAGE;
		} else {
			words[count++] = argv[i];
		}
	}
	if (count < 2) {
		fputs("ruse: ctl needs the name of a VM and a command, as in `ruse ctl NAME status`\n", stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(words[1], "watch")) {
		fputs("ruse: ctl does not watch; `ruse top` does\n", stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(words[1], "screenshot")) {
		if (count == 3 && !json)
			return take_screenshot(words[0], words[2]);
		fputs("ruse: ctl needs a file for screenshot, as in `ruse ctl NAME screenshot FILE.png`\n", stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(words[1], "attach"))
		return ctl_attach(words[0], words + 2, count - 2, json);
	if (!strcmp(words[1], "detach") && !json)
		return ctl_detach(words[0], words + 2, count - 2);
	arguments = arguments_of(words[1], words + 2, count - 2);
	if (!arguments)
		return EXIT_USAGE;
	status = run(words[0], words[1], arguments, json);
	json_decref(arguments);
	return status;
}
