/* The 8042; see i8042.h.
 *
 * What is sent to the mouse, or to a keyboard that is not plugged in, is answered with 0xfe and the time-out bit, as the real
 * controller does when no device takes its clock. The keyboard keeps its bytes until the output buffer is free for the next.
 *
 * Example: `outb(0xfe, 0x64)` resets the machine.
 */
#include "dev/misc/i8042.h"
#include "base/errno.h"
#include "core/platform.h"
#include "dev/misc/keyboard.h"

enum region { REGION_DATA, REGION_STATUS, REGION_PORT92 };

#define STATUS_OBF      0x01 /* a byte to read at 0x60 */
#define STATUS_SYSTEM   0x04
#define STATUS_COMMAND  0x08 /* the last write was to 0x64 */
#define STATUS_UNLOCKED 0x10
#define STATUS_AUX      0x20 /* it comes from the mouse's side */
#define STATUS_TIMEOUT  0x40

#define COMMAND_READ_CONFIG  0x20 /* ..0x3f: controller memory */
#define COMMAND_WRITE_CONFIG 0x60 /* ..0x7f */
#define COMMAND_AUX_OFF      0xa7
#define COMMAND_AUX_ON       0xa8
#define COMMAND_AUX_TEST     0xa9
#define COMMAND_SELF_TEST    0xaa
#define COMMAND_KBD_TEST     0xab
#define COMMAND_KBD_OFF      0xad
#define COMMAND_KBD_ON       0xae
#define COMMAND_READ_INPUT   0xc0
#define COMMAND_READ_OUTPUT  0xd0
#define COMMAND_WRITE_OUTPUT 0xd1
#define COMMAND_KBD_LOOP     0xd2
#define COMMAND_AUX_LOOP     0xd3
#define COMMAND_AUX_WRITE    0xd4
#define COMMAND_PULSE        0xf0 /* ..0xff: output lines whose bit is 0 go low for 6 us */

#define CONFIG_KBD_IRQ 0x01
#define CONFIG_KBD_OFF 0x10
#define CONFIG_AUX_OFF 0x20
#define CONFIG_TRANSLATE 0x40

#define OUTPUT_NOT_RESET 0x01
#define OUTPUT_A20       0x02
#define OUTPUT_OBF       0x10

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

#define NO_DEVICE 0xfe
#define STROKES   64u /* at a time; more than a keyboard has room for */

struct i8042 {
	struct device dev;
	uint8_t status;
	uint8_t data;
	uint8_t memory[32]; /* [0] is the configuration byte */
	uint8_t pending;    /* the command whose parameter comes next at 0x60, or 0 */
	bool plugged;       /* the keyboard */
	bool released;      /* it sent 0xf0: what comes next is translated to a release */
	struct irq_line irq;
	struct keyboard kbd;
	struct input_sink sink;
};

static void update_irq(struct i8042 *i8042)
{
	const bool full = (i8042->status & (STATUS_OBF | STATUS_AUX)) == STATUS_OBF;

	irq_set(&i8042->irq, full && i8042->memory[0] & CONFIG_KBD_IRQ);
}

/* The keyboard's next byte, if it may send and the output buffer is free. */
static void receive(struct i8042 *i8042)
{
	while (i8042->plugged && i8042->kbd.count && !(i8042->status & STATUS_OBF) && !(i8042->memory[0] & CONFIG_KBD_OFF)) {
		uint8_t byte = keyboard_next(&i8042->kbd);

		if (i8042->memory[0] & CONFIG_TRANSLATE) {
			if (byte == 0xf0) {
				i8042->released = true;
				continue;
			}
			byte = (uint8_t)(keyboard_set1[byte] | (i8042->released ? 0x80 : 0));
			i8042->released = false;
		}
		i8042->data = byte;
		i8042->status |= STATUS_OBF;
	}
	update_irq(i8042);
}

static void answer(struct i8042 *i8042, uint8_t data, uint8_t flags)
{
	i8042->data = data;
	i8042->status &= (uint8_t)~(STATUS_AUX | STATUS_TIMEOUT);
	i8042->status |= STATUS_OBF | flags;
}

static void machine_reset(struct i8042 *i8042)
{
	vm_stop(i8042->dev.vm, VM_STOP_RESET, 0);
}

static void write_command(struct i8042 *i8042, uint8_t command)
{
	i8042->status |= STATUS_COMMAND;
	i8042->pending = 0;
	switch (command) {
	case COMMAND_READ_CONFIG ... COMMAND_READ_CONFIG + 31:
		answer(i8042, i8042->memory[command & 31], 0);
		break;
	case COMMAND_WRITE_CONFIG ... COMMAND_WRITE_CONFIG + 31:
	case COMMAND_WRITE_OUTPUT:
	case COMMAND_KBD_LOOP:
	case COMMAND_AUX_LOOP:
	case COMMAND_AUX_WRITE:
		i8042->pending = command;
		break;
	case COMMAND_AUX_OFF:
		i8042->memory[0] |= CONFIG_AUX_OFF;
		break;
	case COMMAND_AUX_ON:
		i8042->memory[0] &= (uint8_t)~CONFIG_AUX_OFF;
		break;
	case COMMAND_AUX_TEST:
	case COMMAND_KBD_TEST:
	case COMMAND_READ_INPUT:
		answer(i8042, 0, 0);
		break;
	case COMMAND_SELF_TEST:
		i8042->status |= STATUS_SYSTEM;
		answer(i8042, 0x55, 0);
		break;
	case COMMAND_KBD_OFF:
		i8042->memory[0] |= CONFIG_KBD_OFF;
		break;
	case COMMAND_KBD_ON:
		i8042->memory[0] &= (uint8_t)~CONFIG_KBD_OFF;
		break;
	case COMMAND_READ_OUTPUT:
		answer(i8042, OUTPUT_NOT_RESET | OUTPUT_A20 | (i8042->status & STATUS_OBF ? OUTPUT_OBF : 0), 0);
		break;
	case COMMAND_PULSE ... 0xff:
		if (!(command & OUTPUT_NOT_RESET))
			machine_reset(i8042);
		break;
	default:
		break;
	}
}

static void write_data(struct i8042 *i8042, uint8_t value)
{
	uint8_t command = i8042->pending;

	i8042->status &= (uint8_t)~STATUS_COMMAND;
	i8042->pending = 0;
	switch (command) {
	case COMMAND_WRITE_CONFIG ... COMMAND_WRITE_CONFIG + 31:
		i8042->memory[command & 31] = value;
		break;
	case COMMAND_WRITE_OUTPUT:
		if (!(value & OUTPUT_NOT_RESET))
			machine_reset(i8042);
		break;
	case COMMAND_KBD_LOOP:
		answer(i8042, value, 0);
		break;
	case COMMAND_AUX_LOOP:
		answer(i8042, value, STATUS_AUX);
		break;
	case COMMAND_AUX_WRITE:
		answer(i8042, NO_DEVICE, STATUS_AUX | STATUS_TIMEOUT);
		break;
	default: /* for the keyboard */
		if (!i8042->plugged) {
			answer(i8042, NO_DEVICE, STATUS_TIMEOUT);
			break;
		}
		i8042->memory[0] &= (uint8_t)~CONFIG_KBD_OFF;
		keyboard_write(&i8042->kbd, value);
		break;
	}
}

static uint64_t i8042_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct i8042 *i8042 = container_of(dev, struct i8042, dev);

	if (region == REGION_STATUS)
		return i8042->status;
	if (region == REGION_PORT92)
		return PORT92_A20;
	const uint8_t data = i8042->data;

	i8042->status &= (uint8_t)~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
	update_irq(i8042); /* the next byte is an edge of its own */
	receive(i8042);
	return data;
}

static void i8042_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *i8042 = container_of(dev, struct i8042, dev);

	if (region == REGION_STATUS)
		write_command(i8042, (uint8_t)value);
	else if (region == REGION_DATA)
		write_data(i8042, (uint8_t)value);
	else if (value & PORT92_RESET)
		machine_reset(i8042);
	receive(i8042);
}

static void i8042_reset(struct device *dev)
{
	struct i8042 *i8042 = container_of(dev, struct i8042, dev);

	i8042->status = STATUS_SYSTEM | STATUS_UNLOCKED;
	i8042->data = 0;
	i8042->pending = 0;
	for (unsigned i = 0; i < sizeof(i8042->memory); i++)
		i8042->memory[i] = 0;
	i8042->memory[0] = CONFIG_KBD_OFF | CONFIG_AUX_OFF | STATUS_SYSTEM;
	i8042->released = false;
	keyboard_reset(&i8042->kbd);
	update_irq(i8042);
}

static void i8042_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct i8042, dev));
}

static const struct device_ops ops = {
	.name = "i8042",
	.reset = i8042_reset,
	.read = i8042_read,
	.write = i8042_write,
	.destroy = i8042_destroy,
};

bool i8042_type(struct i8042 *i8042, const struct key_stroke *strokes, unsigned count)
{
	struct keyboard before;
	bool typed = true;

	lock_take(&i8042->dev.lock);
	before = i8042->kbd;
	for (unsigned i = 0; typed && i < count; i++)
		typed = keyboard_key(&i8042->kbd, strokes[i].key, strokes[i].down);
	if (typed)
		receive(i8042);
	else
		i8042->kbd = before;
	lock_release(&i8042->dev.lock);
	return typed;
}

/* Linux's codes of the keys whose code in set 1 is another one; the others up to F12 are the same (0: none). */
static const uint16_t set1_of[] = {
	[96 - 96] = 0xe01c,  [97 - 96] = 0xe01d,  [98 - 96] = 0xe035,  [99 - 96] = 0xe037,  [100 - 96] = 0xe038, [102 - 96] = 0xe047,
	[103 - 96] = 0xe048, [104 - 96] = 0xe049, [105 - 96] = 0xe04b, [106 - 96] = 0xe04d, [107 - 96] = 0xe04f, [108 - 96] = 0xe050,
	[109 - 96] = 0xe051, [110 - 96] = 0xe052, [111 - 96] = 0xe053, [119 - 96] = KEY_PAUSE, [125 - 96] = 0xe05b, [126 - 96] = 0xe05c,
	[127 - 96] = 0xe05d,
};

static uint16_t key_of(unsigned code)
{
	if (code <= 88)
		return (uint16_t)code;
	return code >= 96 && code - 96 < ARRAY_SIZE(set1_of) ? set1_of[code - 96] : 0;
}

static const char *i8042_send(struct input_sink *sink, const struct input_event *events, unsigned count)
{
	struct i8042 *i8042 = container_of(sink, struct i8042, sink);
	struct key_stroke strokes[STROKES];
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		if (events[i].type != INPUT_KEY)
			continue;
		if (!key_of(events[i].code))
			return "a PS/2 keyboard has no such key; --input on gives the guest one that has it";
		if (n == STROKES)
			return "these are too many keys; press fewer at a time";
		strokes[n++] = (struct key_stroke){key_of(events[i].code), events[i].value != 0};
	}
	return i8042_type(i8042, strokes, n) ? NULL : "the keyboard takes no more keys: the guest has not read the last ones yet; try later";
}

static const struct input_sink_ops sink_ops = {.send = i8042_send};

struct input_sink *i8042_sink(struct i8042 *i8042)
{
	return &i8042->sink;
}

int i8042_create(struct vm *vm, const struct irq_line *irq, struct i8042 **out)
{
	struct i8042 *i8042 = platform_alloc(sizeof(*i8042));
	int r;

	if (!i8042)
		return -ENOMEM;
	i8042->sink.ops = &sink_ops;
	if (irq) {
		i8042->irq = *irq;
		i8042->plugged = true;
	}
	i8042_reset(&i8042->dev);
	r = device_register(vm, &i8042->dev, &ops, "i8042");
	if (r) {
		platform_free(i8042);
		return r;
	}
	if (out)
		*out = i8042;
	r = bus_attach_sized(&vm->pio, 0x60, 1, &i8042->dev, REGION_DATA, 1, 1);
	if (!r)
		r = bus_attach_sized(&vm->pio, 0x64, 1, &i8042->dev, REGION_STATUS, 1, 1);
	return r ? r : bus_attach_sized(&vm->pio, 0x92, 1, &i8042->dev, REGION_PORT92, 1, 1);
}
