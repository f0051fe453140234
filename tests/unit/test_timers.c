/* The 8254 and the real-time clock. */
#include "dev/timer/pit.h"
#include "dev/timer/rtc.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

#define NS_PER_S 1000000000ull

struct context {
	struct vm *vm;
	struct irq_probe probe;
	struct rtc *rtc;
};

static struct context context;

static int setup_pit(void **state)
{
	context = (struct context){.vm = machine_create(1)};
	assert_int_equal(pit_create(context.vm, irq_probe_line(&context.probe)), 0);
	*state = &context;
	return 0;
}

static int setup_rtc(void **state)
{
	context = (struct context){.vm = machine_create(1)};
	assert_int_equal(rtc_create(context.vm, irq_probe_line(&context.probe), &context.rtc), 0);
	*state = &context;
	return 0;
}

static int teardown(void **state)
{
	machine_destroy(context.vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void out(uint16_t port, uint32_t value)
{
	machine_out(context.vm, port, 1, value);
}

static uint32_t in(uint16_t port)
{
	return machine_in(context.vm, port, 1);
}

static void program(unsigned channel, unsigned mode, uint16_t count)
{
	out(0x43, channel << 6 | 3 << 4 | mode << 1);
	out((uint16_t)(0x40 + channel), count & 0xff);
	out((uint16_t)(0x40 + channel), count >> 8);
}

static unsigned read16(unsigned channel)
{
	unsigned low = in((uint16_t)(0x40 + channel));

	return low | in((uint16_t)(0x40 + channel)) << 8;
}

static unsigned latched(unsigned channel)
{
	out(0x43, channel << 6);
	return read16(channel);
}

static uint64_t ticks(uint64_t count)
{
	return count * NS_PER_S / PIT_HZ + 1;
}

static void pit_periodic(void **state)
{
	for (unsigned mode = 2; mode <= 3; mode++) {
		unsigned before = context.probe.rises;

		program(0, mode, 1193);
		fake_advance(NS_PER_S);
		assert_in_range(context.probe.rises - before, 999, 1001);
	}
	/* A hostile rate is held to a bearable one. */
	program(0, 2, 2);
	context.probe.rises = 0;
	fake_advance(NS_PER_S / 100);
	assert_in_range(context.probe.rises, 1, 600);
}

static void pit_one_shot(void **state)
{
	program(0, 0, 1000);
	assert_int_equal(latched(0), 1000);
	fake_advance(ticks(400));
	assert_int_equal(latched(0), 600);
	assert_int_equal(context.probe.rises, 0);
	fake_advance(ticks(601));
	assert_int_equal(context.probe.rises, 1);
	assert_int_equal(latched(0), 0xffff); /* goes on counting */
	fake_advance(NS_PER_S);
	assert_int_equal(context.probe.rises, 1);
	program(0, 4, 1000);
	fake_advance(ticks(1002));
	assert_int_equal(context.probe.rises, 2);
	program(0, 0, 0); /* 65536 */
	fake_advance(ticks(65000));
	assert_int_equal(context.probe.rises, 2);
	fake_advance(ticks(600));
	assert_int_equal(context.probe.rises, 3);
}

static void pit_counts(void **state)
{
	program(0, 2, 100);
	fake_advance(ticks(130));
	assert_int_equal(latched(0), 70);
	program(0, 3, 100); /* by two */
	fake_advance(ticks(10));
	assert_int_equal(latched(0), 80);
	fake_advance(ticks(50));
	assert_int_equal(latched(0), 80);
	out(0x43, 0x31); /* mode 0, BCD */
	out(0x40, 0x00);
	out(0x40, 0x10);
	fake_advance(ticks(1));
	assert_int_equal(latched(0), 0x0999);
	/* A latched count stays until it is read. */
	out(0x43, 0);
	fake_advance(ticks(100));
	assert_int_equal(read16(0), 0x0999);
	assert_int_equal(read16(0), 0x0899);
	/* one byte at a time */
	out(0x43, 0x10);
	out(0x40, 200);
	fake_advance(ticks(50));
	assert_int_equal(in(0x40), 150);
	assert_int_equal(in(0x40), 150);
}

static void pit_read_back(void **state)
{
	program(0, 2, 0x1234);
	out(0x43, 0xe2); /* status of channel 0 */
	assert_int_equal(in(0x40), 0x80 | 0x34);
	out(0x43, 0xc2); /* status and count */
	assert_int_equal(in(0x40), 0x80 | 0x34);
	assert_int_equal(read16(0), 0x1234);
	out(0x43, 0x30);
	out(0x43, 0xe2);
	assert_int_equal(in(0x40), 0x40 | 0x30); /* no count yet, output low */
}

/* How Linux calibrates: channel 2, mode 0, gate and output at port 0x61. */
static void pit_gate(void **state)
{
	out(0x61, 1);
	program(2, 0, 1000);
	assert_int_equal(in(0x61) & 0x23, 0x01);
	fake_advance(ticks(999));
	assert_int_equal(in(0x61) & 0x20, 0);
	fake_advance(ticks(2));
	assert_int_equal(in(0x61) & 0x20, 0x20);
	/* the gate stops the count */
	program(2, 0, 1000);
	fake_advance(ticks(500));
	out(0x61, 0);
	fake_advance(NS_PER_S);
	assert_int_equal(in(0x61) & 0x21, 0);
	assert_in_range(latched(2), 498, 500);
	out(0x61, 1);
	fake_advance(ticks(490));
	assert_int_equal(in(0x61) & 0x20, 0);
	fake_advance(ticks(15));
	assert_int_equal(in(0x61) & 0x20, 0x20);
	/* mode 1 is triggered by it */
	program(2, 1, 1000);
	fake_advance(ticks(5000));
	assert_int_equal(in(0x61) & 0x20, 0x20);
	out(0x61, 0);
	out(0x61, 1);
	fake_advance(ticks(10));
	assert_int_equal(in(0x61) & 0x20, 0);
	fake_advance(ticks(1000));
	assert_int_equal(in(0x61) & 0x20, 0x20);
	assert_int_equal(context.probe.rises, 0);
}

static void pit_every_control_word_is_harmless(void **state)
{
	for (unsigned word = 0; word < 256; word++) {
		out(0x43, word);
		for (unsigned channel = 0; channel < 3; channel++) {
			out((uint16_t)(0x40 + channel), word);
			out((uint16_t)(0x40 + channel), 0);
			fake_advance(1234567);
			read16(channel);
		}
		out(0x61, word);
		in(0x61);
	}
}

/* ---- RTC ---- */
static uint32_t cmos(uint8_t index)
{
	out(0x70, index);
	return in(0x71);
}

static void set_cmos(uint8_t index, uint32_t value)
{
	out(0x70, index);
	out(0x71, value);
}

static unsigned bcd(unsigned value)
{
	return value / 10 << 4 | value % 10;
}

static void assert_shows(time_t time)
{
	struct tm tm;

	gmtime_r(&time, &tm);
	assert_int_equal(cmos(0), bcd((unsigned)tm.tm_sec));
	assert_int_equal(cmos(2), bcd((unsigned)tm.tm_min));
	assert_int_equal(cmos(4), bcd((unsigned)tm.tm_hour));
	assert_int_equal(cmos(6), (unsigned)tm.tm_wday + 1);
	assert_int_equal(cmos(7), bcd((unsigned)tm.tm_mday));
	assert_int_equal(cmos(8), bcd((unsigned)tm.tm_mon + 1));
	assert_int_equal(cmos(9), bcd((unsigned)tm.tm_year % 100));
	assert_int_equal(cmos(0x32), bcd((unsigned)tm.tm_year / 100 + 19));
}

static time_t now(void)
{
	return (time_t)(platform_wall_ns() / NS_PER_S);
}

static void rtc_shows_the_time(void **state)
{
	assert_int_equal(cmos(0x0d), 0x80);
	for (unsigned i = 0; i < 1500; i++) {
		assert_shows(now());
		fake_advance((86400 * 7 + 12345) * NS_PER_S);
	}
}

static void rtc_formats(void **state)
{
	struct tm tm;
	time_t time = now();

	gmtime_r(&time, &tm);
	set_cmos(0x0b, 0x06); /* binary, 24 hours */
	assert_int_equal(cmos(2), (unsigned)tm.tm_min);
	assert_int_equal(cmos(4), (unsigned)tm.tm_hour);
	set_cmos(0x0b, 0x00); /* BCD, 12 hours */
	for (unsigned i = 0; i < 24; i++) {
		unsigned hour;

		time = now();
		gmtime_r(&time, &tm);
		hour = (unsigned)tm.tm_hour;
		assert_int_equal(cmos(4), bcd(hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
		fake_advance(3600 * NS_PER_S);
	}
}

static void rtc_can_be_set(void **state)
{
	set_cmos(0x0b, 0x82); /* SET */
	set_cmos(0, 0x58);
	set_cmos(2, 0x59);
	set_cmos(4, 0x23);
	set_cmos(7, 0x28);
	set_cmos(8, 0x02);
	set_cmos(9, 0x24); /* a leap year */
	set_cmos(0x32, 0x20);
	fake_advance(10 * NS_PER_S);
	assert_int_equal(cmos(0), 0x58); /* stands still */
	set_cmos(0x0b, 0x02);
	assert_shows(1709164798);
	fake_advance(2 * NS_PER_S);
	assert_shows(1709164800);
	assert_int_equal(cmos(7), 0x29);
	assert_int_equal(cmos(8), 0x02);
	/* nonsense gives some time or other */
	for (unsigned value = 0; value < 256; value++)
		for (uint8_t index = 0; index < 10; index++) {
			set_cmos(index, value);
			cmos(0);
		}
	for (unsigned value = 0; value < 256; value++) {
		set_cmos(0x32, value);
		cmos(9);
	}
}

static void rtc_periodic(void **state)
{
	set_cmos(0x0a, 0x26); /* 1024 Hz */
	set_cmos(0x0b, 0x42);
	for (unsigned i = 0; i < 1024; i++) {
		fake_advance(NS_PER_S / 1024 + 1);
		if (context.probe.level)
			assert_int_equal(cmos(0x0c) & 0xc0, 0xc0);
		assert_int_equal(context.probe.level, 0);
	}
	assert_in_range(context.probe.rises, 1023, 1025);
	/* unacknowledged: one */
	context.probe.rises = 0;
	fake_advance(NS_PER_S);
	assert_int_equal(context.probe.rises, 1);
	set_cmos(0x0b, 0x02);
	cmos(0x0c);
	/* the flag comes without the interrupt too */
	fake_advance(NS_PER_S);
	assert_int_equal(context.probe.level, 0);
	assert_int_equal(cmos(0x0c) & 0xc0, 0x40);
}

static void rtc_update_and_alarm(void **state)
{
	unsigned updates = 0;

	set_cmos(0x0b, 0x12);
	for (unsigned i = 0; i < 100; i++) {
		fake_advance(NS_PER_S / 10);
		if (context.probe.level) {
			updates++;
			assert_int_equal(cmos(0x0c) & 0x90, 0x90);
		}
	}
	assert_int_equal(updates, 10);

	/* at second 30 of every minute */
	set_cmos(1, 0x30);
	set_cmos(3, 0xff);
	set_cmos(5, 0xc0);
	set_cmos(0x0b, 0x22);
	cmos(0x0c);
	context.probe.rises = 0;
	for (unsigned i = 0; i < 180; i++) {
		fake_advance(NS_PER_S);
		if (context.probe.level) {
			assert_int_equal(cmos(0) - bcd(30), 0);
			cmos(0x0c);
		}
	}
	assert_int_equal(context.probe.rises, 3);
}

static void rtc_update_in_progress(void **state)
{
	uint64_t into = platform_wall_ns() % NS_PER_S;

	fake_advance(NS_PER_S - into - 100000);
	assert_int_equal(cmos(0x0a) & 0x80, 0x80);
	fake_advance(100000);
	assert_int_equal(cmos(0x0a) & 0x80, 0);
}

static void rtc_memory(void **state)
{
	rtc_set_cmos(context.rtc, 0x5f, 3);
	assert_int_equal(cmos(0x5f), 3);
	assert_int_equal(cmos(0x15) | cmos(0x16) << 8, 640);
	set_cmos(0x50, 0xa5);
	devices_reset(context.vm);
	assert_int_equal(cmos(0x50), 0xa5);
	assert_int_equal(cmos(0x80 | 0x50), 0xa5); /* bit 7 is the NMI mask */
}

int main(void)
{
#define PIT(name) cmocka_unit_test_setup_teardown(name, setup_pit, teardown)
#define RTC(name) cmocka_unit_test_setup_teardown(name, setup_rtc, teardown)
	const struct CMUnitTest tests[] = {
		PIT(pit_periodic),
		PIT(pit_one_shot),
		PIT(pit_counts),
		PIT(pit_read_back),
		PIT(pit_gate),
		PIT(pit_every_control_word_is_harmless),
		RTC(rtc_shows_the_time),
		RTC(rtc_formats),
		RTC(rtc_can_be_set),
		RTC(rtc_periodic),
		RTC(rtc_update_and_alarm),
		RTC(rtc_update_in_progress),
		RTC(rtc_memory),
	};

	return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
