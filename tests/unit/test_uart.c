/* The 16550A: FIFOs, interrupts, loopback, output through the backend and back-pressure both ways. */
#include "dev/serial/uart16550.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PORT 0x3f8

struct fake_backend {
	struct char_backend backend;
	char out[65536];
	size_t count, accept; /* bytes taken in all; how many more it takes */
	unsigned resumes;
};

static size_t backend_write(struct char_backend *backend, const void *buf, size_t len)
{
	struct fake_backend *fake = (struct fake_backend *)backend;

	len = len < fake->accept ? len : fake->accept;
	memcpy(fake->out + fake->count, buf, len);
	fake->count += len;
	fake->accept -= len;
	return len;
}

static void backend_resume(struct char_backend *backend)
{
	((struct fake_backend *)backend)->resumes++;
}

static const struct char_backend_ops backend_ops = {.write = backend_write, .resume = backend_resume};

static struct vm *vm;
static struct irq_probe probe;
static struct fake_backend fake;

static int setup(void **state)
{
	vm = machine_create(1);
	probe = (struct irq_probe){0};
	memset(&fake, 0, sizeof(fake));
	fake.backend.ops = &backend_ops;
	fake.accept = SIZE_MAX;
	assert_int_equal(uart_create(vm, PORT, irq_probe_line(&probe), &fake.backend, "serial0"), 0);
	return 0;
}

static int teardown(void **state)
{
	machine_destroy(vm);
	assert_null(fake.backend.receive);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void out(unsigned reg, uint32_t value)
{
	machine_out(vm, (uint16_t)(PORT + reg), 1, value);
}

static uint32_t in(unsigned reg)
{
	return machine_in(vm, (uint16_t)(PORT + reg), 1);
}

static void type(const char *text)
{
	fake.backend.receive(fake.backend.ctx, text, strlen(text));
}

static void writes_come_out(void **state)
{
	assert_int_equal(vm->first_serial_ns, 0);
	for (const char *c = "hello\n"; *c; c++) {
		assert_int_equal(in(5) & 0x60, 0x60);
		out(0, (uint8_t)*c);
	}
	assert_int_equal(vm->first_serial_ns, platform_clock_ns());
	assert_int_equal(fake.count, 0); /* not on the vcpu's thread */
	fake_run_work();
	assert_memory_equal(fake.out, "hello\n", 6);
	assert_int_equal(fake.count, 6);
	out(0, '!'); /* what is left is given out at the end */
}

static void registers(void **state)
{
	out(7, 0x5a);
	assert_int_equal(in(7), 0x5a);
	out(3, 0x83);
	out(0, 0x01);
	out(1, 0x02);
	assert_int_equal(in(0), 1);
	assert_int_equal(in(1), 2);
	out(3, 0x03);
	assert_int_equal(in(1), 0);
	out(1, 0xff);
	assert_int_equal(in(1), 0x0f);
	assert_int_equal(in(3), 3);
	assert_int_equal(in(6) & 0xf0, 0xb0);
	out(2, 0x01);
	assert_int_equal(in(2) & 0xc0, 0xc0); /* a 16550A */
	out(2, 0x00);
	assert_int_equal(in(2) & 0xc0, 0x00);
}

static void transmit_interrupt(void **state)
{
	out(1, 0x02);
	assert_int_equal(probe.level, 1);
	assert_int_equal(in(2), 0x02);
	assert_int_equal(probe.level, 0); /* reading IIR ends it */
	assert_int_equal(in(2), 0x01);
	out(0, 'a');
	assert_int_equal(probe.level, 1); /* transmitted at once */
	assert_int_equal(in(2), 0x02);
	out(1, 0);
	out(0, 'a');
	assert_int_equal(probe.level, 0);
}

static void receives(void **state)
{
	assert_int_equal(fake.backend.room(fake.backend.ctx), 1); /* no FIFO yet */
	out(2, 0x81); /* FIFOs, trigger at 8 */
	out(1, 0x05);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 16);
	type("abc");
	assert_int_equal(in(5) & 1, 1);
	assert_int_equal(probe.level, 1);
	assert_int_equal(in(2), 0xcc); /* below the trigger: time-out */
	type("defghijkl");
	assert_int_equal(in(2), 0xc4);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 4);
	for (const char *c = "abcdefghijkl"; *c; c++)
		assert_int_equal(in(0), *c);
	assert_int_equal(in(5) & 1, 0);
	assert_int_equal(probe.level, 0);
	assert_int_equal(in(2), 0xc1);
	assert_int_equal(in(0), 0);
}

static void input_is_not_lost(void **state)
{
	out(2, 0x01);
	type("0123456789abcdef");
	assert_int_equal(fake.backend.room(fake.backend.ctx), 0);
	assert_int_equal(fake.resumes, 0);
	assert_int_equal(in(0), '0');
	fake_run_work();
	assert_int_equal(fake.resumes, 1);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 1);
	/* clearing the FIFO makes room too */
	type("g");
	fake.resumes = 0;
	out(2, 0x03);
	assert_int_equal(in(5) & 1, 0);
	fake_run_work();
	assert_int_equal(fake.resumes, 1);
}

static void overrun_is_told(void **state)
{
	out(1, 0x04);
	out(4, 0x10);
	out(0, 'a');
	out(0, 'b'); /* into loopback, without a FIFO */
	assert_int_equal(probe.level, 1);
	assert_int_equal(in(2), 0x06);
	assert_int_equal(in(5) & 0x03, 0x03);
	assert_int_equal(in(5) & 0x02, 0);
	assert_int_equal(probe.level, 0);
	assert_int_equal(in(0), 'a');
}

static void loopback(void **state)
{
	out(4, 0x1a);
	assert_int_equal(in(6) & 0xf0, 0x90); /* what Linux looks for */
	out(2, 0x01);
	out(0, 'x');
	fake_run_work();
	assert_int_equal(fake.count, 0);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 0);
	assert_int_equal(in(0), 'x');
	out(4, 0x0b);
	assert_int_equal(in(6) & 0xf0, 0xb0);
	fake_run_work();
	assert_int_equal(fake.backend.room(fake.backend.ctx), 16);
}

static void modem_interrupt(void **state)
{
	in(6);
	out(1, 0x08);
	assert_int_equal(probe.level, 0);
	out(4, 0x10); /* the lines drop */
	assert_int_equal(probe.level, 1);
	assert_int_equal(in(2), 0x00);
	assert_int_equal(in(6), 0x0b);
	assert_int_equal(probe.level, 0);
}

/* A backend that takes nothing: the transmitter becomes busy, nothing is lost, and it is free again afterwards. */
static void slow_backend(void **state)
{
	size_t written = 0;

	fake.accept = 100;
	out(1, 0x02);
	while (in(5) & 0x20) {
		for (unsigned i = 0; i < 16; i++)
			out(0, (uint32_t)('a' + written++ % 26));
		assert_true(written < 100000);
	}
	in(2);
	assert_int_equal(probe.level, 0);
	fake_run_work();
	assert_int_equal(fake.count, 100);
	assert_int_equal(in(5) & 0x20, 0x20);
	assert_int_equal(probe.level, 1);
	assert_int_equal(fake_run_work(), 0); /* not again until the backend says so */
	fake.accept = SIZE_MAX;
	fake.backend.writable(fake.backend.ctx);
	fake_run_work();
	assert_int_equal(fake.count, written);
	for (size_t i = 0; i < written; i++)
		assert_int_equal(fake.out[i], 'a' + i % 26);
	/* a guest that doesn't look at LSR loses bytes, and nothing else */
	fake.accept = 0;
	for (unsigned i = 0; i < 20000; i++)
		out(0, 'z');
	fake.accept = SIZE_MAX;
	fake.backend.writable(fake.backend.ctx);
	fake_run_work();
	assert_in_range(fake.count - written, 8000, 8192);
}

static void without_backend(void **state)
{
	assert_int_equal(uart_create(vm, 0x2f8, irq_probe_line(&probe), NULL, "serial1"), 0);
	for (unsigned i = 0; i < 20000; i++)
		machine_out(vm, 0x2f8, 1, 'x');
	assert_int_equal(machine_in(vm, 0x2fd, 1), 0x60);
}

static void reset_keeps_output(void **state)
{
	out(2, 0x01);
	out(1, 0x0f);
	out(0, 'x');
	type("y");
	devices_reset(vm);
	assert_int_equal(probe.level, 0);
	assert_int_equal(in(1), 0);
	assert_int_equal(in(5), 0x60);
	fake_run_work();
	assert_int_equal(fake.count, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(writes_come_out), CASE(registers),       CASE(transmit_interrupt), CASE(receives),
		CASE(input_is_not_lost), CASE(overrun_is_told), CASE(loopback),         CASE(modem_interrupt),
		CASE(slow_backend),    CASE(without_backend), CASE(reset_keeps_output),
	};

	return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
