/* What a viewer's client does becomes reports of the guest's keyboard and pointer: src/host/linux/vnc_input.c. */
#include "control/keysyms.h"
#include "core/vm.h"
#include "dev/input/input.h"
#include "host/linux/vnc_input.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct recorder {
	struct input_sink sink;
	struct input_event events[64];
	unsigned count;
	bool full;
};

static const char *record(struct input_sink *sink, const struct input_event *events, unsigned count)
{
	struct recorder *recorder = container_of(sink, struct recorder, sink);

	if (recorder->full)
		return "full";
	for (unsigned i = 0; i < count && recorder->count < 64; i++)
		recorder->events[recorder->count++] = events[i];
	return NULL;
}

static const struct input_sink_ops ops = {.send = record};

static struct recorder keyboard, pointer;
static struct vm vm;

static struct vnc_input start(void)
{
	memset(&keyboard, 0, sizeof(keyboard));
	memset(&pointer, 0, sizeof(pointer));
	keyboard.sink.ops = pointer.sink.ops = &ops;
	vm.keyboard = &keyboard.sink;
	vm.pointer = &pointer.sink;
	return (struct vnc_input){.vm = &vm};
}

static void expect(const struct recorder *recorder, const struct input_event *events, unsigned count)
{
	assert_int_equal(recorder->count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(recorder->events[i].type, events[i].type);
		assert_int_equal(recorder->events[i].code, events[i].code);
		assert_int_equal(recorder->events[i].value, events[i].value);
	}
}

static void test_keysyms(void **state)
{
	static const struct {
		uint32_t keysym;
		uint16_t code;
	} known[] = {{' ', 57}, {'a', 30}, {'A', 30}, {'!', 2}, {'1', 2}, {'0', 11}, {')', 11}, {'~', 41}, {'|', 43}, {'_', 12}, {'?', 53},
		     {0xff0d, 28}, {0xff1b, 1}, {0xffbe, 59}, {0xffc9, 88}, {0xffe1, 42}, {0xffff, 111}, {0xff52, 103}, {0xfe03, 100},
		     {0xffb5, 76}, {0x7f, 0}, {0x1f, 0}, {0xe9, 0}, {0x1000000, 0}, {0xffffffff, 0}, {0xff00, 0}};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(keysym_code(known[i].keysym), known[i].code);
}

static void test_keys(void **state)
{
	static const struct input_event wanted[] = {{INPUT_KEY, 42, 1}, {INPUT_SYN, 0, 0}, {INPUT_KEY, 30, 1}, {INPUT_SYN, 0, 0},
						    {INPUT_KEY, 30, 1}, {INPUT_SYN, 0, 0}, {INPUT_KEY, 30, 0}, {INPUT_SYN, 0, 0},
						    {INPUT_KEY, 42, 0}, {INPUT_SYN, 0, 0}};
	struct vnc_input input = start();

	vnc_input_key(&input, 0xffe1, true);
	vnc_input_key(&input, 'A', true);
	vnc_input_key(&input, 'A', true);  /* repeats */
	vnc_input_key(&input, 'a', false); /* shift may be up by then */
	vnc_input_key(&input, 'b', false); /* is up */
	vnc_input_key(&input, 0xe9, true); /* is none */
	vnc_input_release(&input);
	vnc_input_release(&input);
	expect(&keyboard, wanted, ARRAY_SIZE(wanted));
	expect(&pointer, NULL, 0);
}

/* What the keyboard did not take is not held. */
static void test_full_keyboard(void **state)
{
	struct vnc_input input = start();

	keyboard.full = true;
	vnc_input_key(&input, 'a', true);
	keyboard.full = false;
	vnc_input_release(&input);
	expect(&keyboard, NULL, 0);
}

static void test_pointer(void **state)
{
	static const struct input_event wanted[] = {
		{INPUT_ABS, INPUT_ABS_X, INPUT_ABS_MAX}, {INPUT_ABS, INPUT_ABS_Y, 0}, {INPUT_KEY, 0x110, 1}, {INPUT_KEY, 0x112, 1},
		{INPUT_SYN, 0, 0},
		{INPUT_ABS, INPUT_ABS_X, 0}, {INPUT_ABS, INPUT_ABS_Y, INPUT_ABS_MAX}, {INPUT_KEY, 0x112, 0}, {INPUT_KEY, 0x111, 1},
		{INPUT_REL, INPUT_REL_WHEEL, -1}, {INPUT_SYN, 0, 0},
		{INPUT_KEY, 0x110, 0}, {INPUT_KEY, 0x111, 0}, {INPUT_SYN, 0, 0}};
	struct vnc_input input = start();

	vnc_input_pointer(&input, 0x03, 639, 0, 640, 480);
	vnc_input_pointer(&input, 0x15, -5, 65535, 640, 480);
	vnc_input_release(&input);
	expect(&pointer, wanted, ARRAY_SIZE(wanted));
	expect(&keyboard, NULL, 0);
}

static void test_nothing_there(void **state)
{
	struct vnc_input input = start();

	vm.keyboard = vm.pointer = NULL;
	vnc_input_key(&input, 'a', true);
	vnc_input_pointer(&input, 0xff, 1, 1, 0, 1);
	vnc_input_release(&input);
	assert_int_equal(input.held[30], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keysyms),	cmocka_unit_test(test_keys),	      cmocka_unit_test(test_full_keyboard),
		cmocka_unit_test(test_pointer), cmocka_unit_test(test_nothing_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
