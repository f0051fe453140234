/* The PrimeCell peripherals of the virt board: PL011, PL031, PL061. */
#include "dev/misc/pl061.h"
#include "dev/serial/pl011.h"
#include "dev/timer/pl031.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define UART 0x9000000u
#define RTC  0x9010000u
#define GPIO 0x9030000u

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
static struct irq_probe uart_irq, rtc_irq, gpio_irq;
static struct fake_backend fake;
static struct pl061 *gpio;

static int setup(void **state)
{
	vm = machine_create(1);
	uart_irq = rtc_irq = gpio_irq = (struct irq_probe){0};
	memset(&fake, 0, sizeof(fake));
	fake.backend.ops = &backend_ops;
	fake.accept = SIZE_MAX;
	assert_int_equal(pl011_create(vm, UART, irq_probe_line(&uart_irq), &fake.backend, "serial0"), 0);
	assert_int_equal(pl031_create(vm, RTC, irq_probe_line(&rtc_irq)), 0);
	assert_int_equal(pl061_create(vm, GPIO, irq_probe_line(&gpio_irq), &gpio), 0);
	return 0;
}

static int teardown(void **state)
{
	machine_destroy(vm);
	assert_null(fake.backend.receive);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static uint32_t rd(uint64_t gpa)
{
	return (uint32_t)machine_read(vm, 0, gpa, 4);
}

static void wr(uint64_t gpa, uint32_t value)
{
	machine_write(vm, 0, gpa, 4, value);
}

static void type(const char *text)
{
	size_t len = strlen(text);

	assert_true(fake.backend.room(fake.backend.ctx) >= len);
	fake.backend.receive(fake.backend.ctx, text, len);
}

static uint32_t identity(uint64_t base)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < 8; i++)
		id |= (rd(base + 0xfe0 + 4 * i) & 0xff) << 8 * (i & 3) & (i < 4 ? ~0u : 0);
	assert_int_equal(rd(base + 0xff0) | rd(base + 0xff4) << 8 | rd(base + 0xff8) << 16 | rd(base + 0xffc) << 24, 0xb105f00d);
	return id;
}

static void identities(void **state)
{
	assert_int_equal(identity(UART), 0x00341011);
	assert_int_equal(identity(RTC), 0x00041031);
	assert_int_equal(identity(GPIO), 0x00041061);
}

static void uart_writes(void **state)
{
	assert_int_equal(rd(UART + 0x18), 0x97); /* TXFE, RXFE, modem lines */
	machine_write(vm, 0, UART, 1, 'h');
	wr(UART, 'i');
	wr(UART + 2, 'x');
	fake_run_work();
	assert_int_equal(fake.count, 2);
	assert_memory_equal(fake.out, "hi", 2);
	assert_true(vm->first_serial_ns != 0);
	assert_int_equal(rd(UART + 0x3c), 0x20);
	assert_int_equal(uart_irq.level, 0);
	wr(UART + 0x38, 0x20);
	assert_int_equal(uart_irq.level, 1);
	assert_int_equal(rd(UART + 0x40), 0x20);
	wr(UART + 0x44, 0x20);
	assert_int_equal(uart_irq.level, 0);
	wr(UART, '!');
	assert_int_equal(uart_irq.level, 1);
}

static void uart_waits_for_backend(void **state)
{
	unsigned written = 0;

	fake.accept = 0;
	wr(UART + 0x38, 0x20);
	for (; !(rd(UART + 0x18) & 0x20) && written < 100000; written++)
		wr(UART, 'a');
	assert_true(written < 100000);
	assert_int_equal(uart_irq.level, 0);
	fake_run_work();
	assert_int_equal(rd(UART + 0x18) & 0x20, 0x20);
	fake.accept = SIZE_MAX;
	fake.backend.writable(fake.backend.ctx);
	fake_run_work();
	assert_int_equal(fake.count, written);
	assert_int_equal(rd(UART + 0x18) & 0xa0, 0x80);
	assert_int_equal(uart_irq.level, 1);
}

static void uart_receives(void **state)
{
	assert_int_equal(fake.backend.room(fake.backend.ctx), 0); /* not enabled */
	wr(UART + 0x30, 0x301);
	fake_run_work();
	assert_int_equal(fake.resumes, 1);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 1);
	wr(UART + 0x2c, 0x70);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 32);
	wr(UART + 0x38, 0x10);
	type("abc");
	assert_int_equal(rd(UART + 0x3c), 0x40);
	assert_int_equal(uart_irq.level, 0); /* less than half, and the time-out is masked */
	wr(UART + 0x38, 0x50);
	assert_int_equal(uart_irq.level, 1);
	type("defghijklmnopqrstuvwxyz012345");
	assert_int_equal(rd(UART + 0x3c), 0x50);
	assert_int_equal(rd(UART + 0x18) & 0x50, 0x40);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 0);
	for (const char *c = "abcdefghijklmnopq"; *c; c++)
		assert_int_equal(rd(UART), *c);
	assert_int_equal(rd(UART + 0x3c), 0x40); /* below the trigger */
	fake_run_work();
	assert_int_equal(fake.resumes, 2);
	for (const char *c = "rstuvwxyz012345"; *c; c++)
		assert_int_equal(rd(UART), *c);
	assert_int_equal(rd(UART + 0x3c), 0);
	assert_int_equal(uart_irq.level, 0);
	assert_int_equal(rd(UART), 0);
}

static void uart_loops_back(void **state)
{
	wr(UART + 0x30, 0x381);
	assert_int_equal(fake.backend.room(fake.backend.ctx), 0);
	wr(UART, 'x');
	wr(UART, 'y'); /* the FIFO is off: one byte deep */
	assert_int_equal(rd(UART + 0x3c) & 0x400, 0x400);
	assert_int_equal(rd(UART + 4), 8);
	assert_int_equal(rd(UART), 'x' | 1 << 11);
	wr(UART + 4, 0);
	assert_int_equal(rd(UART + 4), 0);
	fake_run_work();
	assert_int_equal(fake.count, 0);
}

static void rtc_runs(void **state)
{
	uint32_t now = rd(RTC);

	assert_int_equal(now, platform_wall_ns() / 1000000000);
	fake_advance(5000000000ull);
	assert_int_equal(rd(RTC), now + 5);
	wr(RTC + 8, 1000);
	assert_int_equal(rd(RTC), 1000);
	wr(RTC + 0x10, 1);
	wr(RTC + 4, 1003);
	fake_advance(2900000000ull);
	assert_int_equal(rtc_irq.level, 0);
	fake_advance(100000000ull);
	assert_int_equal(rtc_irq.level, 1);
	assert_int_equal(rd(RTC), 1003);
	assert_int_equal(rd(RTC + 0x18), 1);
	wr(RTC + 0x1c, 1);
	assert_int_equal(rtc_irq.level, 0);
	fake_advance(10000000000ull);
	assert_int_equal(rtc_irq.rises, 1);
	wr(RTC + 4, 1);
	devices_reset(vm);
	assert_int_equal(rd(RTC), 1013);
	assert_int_equal(rd(RTC + 0x10), 0);
}

static void power_key(void **state)
{
	wr(GPIO + 0x408, 1 << 3);
	wr(GPIO + 0x410, 1 << 3);
	pl061_press_power_key(gpio);
	assert_int_equal(gpio_irq.level, 1);
	assert_int_equal(rd(GPIO + (8 << 2)), 8);
	assert_int_equal(rd(GPIO + (0xf7 << 2)), 0);
	assert_int_equal(rd(GPIO + 0x418), 8);
	wr(GPIO + 0x41c, 8);
	assert_int_equal(gpio_irq.level, 0);
	fake_advance(99999999);
	assert_int_equal(gpio_irq.level, 0);
	fake_advance(1);
	assert_int_equal(gpio_irq.level, 1);
	assert_int_equal(rd(GPIO + 0x3fc), 0);
	wr(GPIO + 0x41c, 8);
	/* Rising edges alone; then a level. */
	wr(GPIO + 0x408, 0);
	wr(GPIO + 0x40c, 8);
	pl061_press_power_key(gpio);
	assert_int_equal(gpio_irq.level, 1);
	wr(GPIO + 0x41c, 8);
	fake_advance(100000000);
	assert_int_equal(gpio_irq.level, 0);
	wr(GPIO + 0x404, 8);
	pl061_press_power_key(gpio);
	wr(GPIO + 0x41c, 8);
	assert_int_equal(gpio_irq.level, 1);
	fake_advance(100000000);
	assert_int_equal(gpio_irq.level, 0);
}

static void gpio_outputs(void **state)
{
	wr(GPIO + 0x400, 0x0f);
	wr(GPIO + (0x3 << 2), 0xff);
	assert_int_equal(rd(GPIO + 0x3fc), 0x3);
	wr(GPIO + (0xf0 << 2), 0xff); /* inputs */
	assert_int_equal(rd(GPIO + 0x3fc), 0x3);
	devices_reset(vm);
	assert_int_equal(rd(GPIO + 0x3fc), 0);
	assert_int_equal(rd(GPIO + 0x414), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identities, setup, teardown),
		cmocka_unit_test_setup_teardown(uart_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(uart_waits_for_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(uart_receives, setup, teardown),
		cmocka_unit_test_setup_teardown(uart_loops_back, setup, teardown),
		cmocka_unit_test_setup_teardown(rtc_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(power_key, setup, teardown),
		cmocka_unit_test_setup_teardown(gpio_outputs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
