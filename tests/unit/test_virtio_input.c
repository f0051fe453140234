/* The keyboard and the tablet: what they say of themselves, events, drivers that break the rules. */
#include "dev/input/input.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONFIG 0x100
#define STATUS 0x070

struct fixture {
	struct driver driver;
	struct virtio_device *vdev;
	struct input_sink *sink;
	gpa_t data;
};

static void start(struct fixture *f, enum virtio_input_kind kind)
{
	memset(f, 0, sizeof(*f));
	driver_machine(&f->driver);
	assert_int_equal(virtio_input_create(&f->driver.vm, kind, &f->vdev, &f->sink), 0);
	driver_start(&f->driver, f->vdev, 0, 0);
	f->data = driver_alloc(&f->driver, 4096);
}

static void stop(struct fixture *f)
{
	driver_stop(&f->driver);
	assert_int_equal(fake_alloc_live(), 0);
}

static uint8_t config_byte(struct fixture *f, unsigned offset)
{
	return (uint8_t)bus_read(&f->driver.vm.mmio, DRIVER_BASE + CONFIG + offset, 1);
}

static void config_set(struct fixture *f, unsigned offset, uint8_t value)
{
	bus_write(&f->driver.vm.mmio, DRIVER_BASE + CONFIG + offset, 1, value);
}

/* The length of what is selected. */
static unsigned choose(struct fixture *f, uint8_t select, uint8_t subsel)
{
	config_set(f, 0, select);
	config_set(f, 1, subsel);
	assert_int_equal(config_byte(f, 0), select);
	assert_int_equal(config_byte(f, 1), subsel);
	return config_byte(f, 2);
}

static bool has_bit(struct fixture *f, unsigned bit)
{
	return config_byte(f, 8 + bit / 8) >> bit % 8 & 1;
}

static void test_config(void **state)
{
	struct fixture f;

	start(&f, VIRTIO_INPUT_KEYBOARD);
	assert_int_equal(config_byte(&f, 2), 0);
	assert_int_equal(choose(&f, 1, 0), 13);
	for (unsigned i = 0; i < 13; i++)
		assert_int_equal(config_byte(&f, 8 + i), "ruse keyboard"[i]);
	assert_int_equal(config_byte(&f, 8 + 13), 0);
	assert_int_equal(choose(&f, 1, 1), 0);
	assert_int_equal(choose(&f, 3, 0), 8);
	assert_int_equal(choose(&f, 0x11, INPUT_KEY), 16);
	assert_true(!has_bit(&f, 0) && has_bit(&f, 1) && has_bit(&f, 127) && !has_bit(&f, 128));
	assert_int_equal(choose(&f, 0x11, INPUT_ABS), 0);
	assert_int_equal(choose(&f, 0x11, INPUT_LED), 1);
	assert_int_equal(choose(&f, 0x12, 0), 0);
	/* All selections there are; and writes to what is only to be read. */
	for (unsigned select = 0; select < 256; select++)
		for (unsigned subsel = 0; subsel < 256; subsel++)
			assert_true(choose(&f, (uint8_t)select, (uint8_t)subsel) <= 128);
	choose(&f, 1, 0);
	config_set(&f, 2, 100);
	config_set(&f, 8, 'x');
	config_set(&f, 135, 'x');
	config_set(&f, 136, 'x');
	assert_true(config_byte(&f, 2) == 13 && config_byte(&f, 8) == 'r' && config_byte(&f, 135) == 0);
	stop(&f);

	start(&f, VIRTIO_INPUT_TABLET);
	assert_int_equal(choose(&f, 0x11, INPUT_KEY), 0x114 / 8 + 1);
	assert_true(!has_bit(&f, 1) && has_bit(&f, 0x110) && has_bit(&f, 0x114) && !has_bit(&f, 0x115));
	assert_int_equal(choose(&f, 0x11, INPUT_ABS), 1);
	assert_true(has_bit(&f, 0) && has_bit(&f, 1) && !has_bit(&f, 2));
	assert_int_equal(choose(&f, 0x11, INPUT_REL), 2);
	assert_int_equal(choose(&f, 0x12, 2), 0);
	assert_int_equal(choose(&f, 0x12, 1), 20);
	assert_true(config_byte(&f, 8) == 0 && config_byte(&f, 12) == 0xff && config_byte(&f, 13) == 0x7f);
	stop(&f);
}

static const struct input_event press_a[] = {{INPUT_KEY, 30, 1}, {INPUT_SYN, 0, 0}, {INPUT_KEY, 30, 0}, {INPUT_SYN, 0, 0}};

static void add_buffers(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		driver_add(&f->driver, 0, 1, &(struct driver_buf){f->data + 8 * i, 8, true});
}

static void test_events(void **state)
{
	struct fixture f;
	uint32_t head, len;

	start(&f, VIRTIO_INPUT_KEYBOARD);
	add_buffers(&f, 3);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	assert_null(f.sink->ops->send(f.sink, press_a, ARRAY_SIZE(press_a)));
	fake_run_work();
	/* What has no buffer waits for one. */
	for (unsigned i = 0; i < 3; i++) {
		assert_true(driver_used(&f.driver, 0, &head, &len));
		assert_int_equal(len, 8);
	}
	assert_memory_equal(driver_ptr(&f.driver, f.data), press_a, 24);
	assert_true(driver_take_interrupt(&f.driver) & VIRTIO_INTERRUPT_QUEUE);
	assert_true(driver_must_kick(&f.driver, 0, 0));
	add_buffers(&f, 1);
	driver_kick(&f.driver, 0);
	assert_true(driver_used(&f.driver, 0, &head, &len));
	assert_memory_equal(driver_ptr(&f.driver, f.data), &press_a[3], 8);
	/* Not its keys; not one of a report is said then. */
	assert_non_null(f.sink->ops->send(f.sink, (const struct input_event[]){press_a[0], {INPUT_KEY, 128, 1}}, 2));
	assert_non_null(f.sink->ops->send(f.sink, (const struct input_event[]){{INPUT_ABS, 0, 1}}, 1));
	assert_non_null(f.sink->ops->send(f.sink, (const struct input_event[]){{INPUT_LED, 0, 1}}, 1));
	add_buffers(&f, 1);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	stop(&f);
}

/* The ring of what waits is full: a report is refused as a whole, what is there comes, in order; a reset forgets it. */
static void test_full(void **state)
{
	const struct input_event *got;
	struct fixture f;
	unsigned sent = 0;

	start(&f, VIRTIO_INPUT_KEYBOARD);
	while (!f.sink->ops->send(f.sink, press_a, 3)) {
		sent += 3;
		assert_true(sent < 10000);
	}
	fake_run_work();
	got = driver_ptr(&f.driver, f.data);
	for (unsigned i = 0; i < sent; i++) {
		add_buffers(&f, 1);
		driver_kick(&f.driver, 0);
		assert_true(driver_used(&f.driver, 0, NULL, NULL));
		assert_memory_equal(got, &press_a[i % 3], 8);
	}
	add_buffers(&f, 1);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	driver_set_reg(&f.driver, STATUS, 0);
	assert_non_null(f.sink->ops->send(f.sink, press_a, 4));
	stop(&f);
}

/* A new driver hears nothing of what was meant for the one before; one whose queue was away for a while misses nothing. */
static void test_resets(void **state)
{
	struct fixture f;

	start(&f, VIRTIO_INPUT_KEYBOARD);
	choose(&f, 1, 0);
	assert_null(f.sink->ops->send(f.sink, press_a, ARRAY_SIZE(press_a)));
	driver_init_device(&f.driver, 0, 0);
	assert_true(config_byte(&f, 0) == 0 && config_byte(&f, 2) == 0);
	add_buffers(&f, 4);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 0);

	driver_set_reg(&f.driver, 0x030, 0);
	driver_set_reg(&f.driver, 0x044, 0);
	assert_null(f.sink->ops->send(f.sink, press_a, ARRAY_SIZE(press_a)));
	fake_run_work();
	assert_int_equal(driver_used_count(&f.driver, 0), 0);
	assert_false(driver_reg(&f.driver, STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	/* Its addresses are forgotten with it. */
	driver_set_reg(&f.driver, 0x038, 64);
	driver_set_reg(&f.driver, 0x080, (uint32_t)f.driver.queues[0].desc);
	driver_set_reg(&f.driver, 0x090, (uint32_t)f.driver.queues[0].avail);
	driver_set_reg(&f.driver, 0x0a0, (uint32_t)f.driver.queues[0].used);
	driver_set_reg(&f.driver, 0x044, 1);
	driver_kick(&f.driver, 0);
	assert_int_equal(driver_used_count(&f.driver, 0), 4);
	assert_memory_equal(driver_ptr(&f.driver, f.data), press_a, sizeof(press_a));
	stop(&f);
}

static void test_bad_drivers(void **state)
{
	struct fixture f;

	start(&f, VIRTIO_INPUT_TABLET);
	/* Lamps, whatever is said of them: empty, huge, writable. */
	driver_add(&f.driver, 1, 1, &(struct driver_buf){f.data, 8, false});
	driver_add(&f.driver, 1, 1, &(struct driver_buf){f.data, 4096, true});
	driver_kick(&f.driver, 1);
	assert_int_equal(driver_used_count(&f.driver, 1), 2);
	/* A buffer that can't hold an event. */
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.data, 7, true});
	assert_null(f.sink->ops->send(f.sink, (const struct input_event[]){{INPUT_ABS, 1, 5}, {INPUT_SYN, 0, 0}}, 2));
	fake_run_work();
	assert_true(driver_reg(&f.driver, STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	assert_non_null(f.sink->ops->send(f.sink, (const struct input_event[]){{INPUT_SYN, 0, 0}}, 1));
	stop(&f);

	start(&f, VIRTIO_INPUT_TABLET);
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.data, 64, false});
	assert_null(f.sink->ops->send(f.sink, (const struct input_event[]){{INPUT_SYN, 0, 0}}, 1));
	fake_run_work();
	assert_true(driver_reg(&f.driver, STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_bad_drivers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
