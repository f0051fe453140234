/* core/bus.c: overlaps, gaps, and accesses cut to what a device accepts.
 *
 * Example: `meson test -C build unit-bus`
 */
#include "base/errno.h"
#include "core/bus.h"
#include "core/device.h"
#include "core/vm.h"
#include "fake_platform.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* A device of 32 bytes that answers byte n with 0x10 + n, and notes what it is asked. */
struct probe {
	struct device dev;
	char calls[256];
	bool locked;
};

static void note(struct probe *probe, const char *what, unsigned region, uint64_t offset, unsigned size)
{
	char text[32];

	snprintf(text, sizeof(text), "%s%u:%x/%u ", what, region, (unsigned)offset, size);
	strcat(probe->calls, text);
	probe->locked = !lock_try(&probe->dev.lock);
}

static uint64_t probe_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct probe *probe = container_of(dev, struct probe, dev);
	uint64_t value = 0;

	note(probe, "r", region, offset, size);
	for (unsigned i = 0; i < size; i++)
		value |= (0x10 + offset + i) << (i * 8);
	return value;
}

static void probe_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *probe = container_of(dev, struct probe, dev);
	char text[32];

	note(probe, "w", region, offset, size);
	snprintf(text, sizeof(text), "=%llx ", (unsigned long long)value);
	strcat(probe->calls, text);
}

static const struct device_ops probe_ops = {.name = "probe", .read = probe_read, .write = probe_write};

static void setup(struct vm *vm, struct probe *probe)
{
	memset(vm, 0, sizeof(*vm));
	memset(probe, 0, sizeof(*probe));
	assert_int_equal(device_register(vm, &probe->dev, &probe_ops, "probe0"), 0);
}

static void expect_read(struct vm *vm, struct probe *probe, uint64_t address, unsigned size,
			uint64_t value, const char *calls)
{
	probe->calls[0] = '\0';
	assert_int_equal(bus_read(&vm->mmio, address, size), value);
	assert_string_equal(probe->calls, calls);
}

static void expect_write(struct vm *vm, struct probe *probe, uint64_t address, unsigned size,
			 uint64_t value, const char *calls)
{
	probe->calls[0] = '\0';
	bus_write(&vm->mmio, address, size, value);
	assert_string_equal(probe->calls, calls);
}

static void test_attach(void **state)
{
	static struct vm vm;
	struct probe probe;

	fake_reset();
	setup(&vm, &probe);
	assert_int_equal(bus_attach(&vm.mmio, 0x2000, 0x10, &probe.dev, 0), 0);
	assert_int_equal(bus_attach(&vm.mmio, 0x1000, 0x10, &probe.dev, 1), 0);
	assert_int_equal(bus_attach(&vm.mmio, 0x1010, 0xff0, &probe.dev, 2), 0);
	assert_int_equal(bus_attach(&vm.mmio, 0x200f, 1, &probe.dev, 3), -EEXIST);
	assert_int_equal(bus_attach(&vm.mmio, 0, 0x1001, &probe.dev, 3), -EEXIST);
	assert_non_null(strstr(fake_log_text(), "probe0 at 0x0 overlaps probe0 at 0x1000"));
	assert_int_equal(bus_attach(&vm.mmio, 0x3000, 0, &probe.dev, 3), -EINVAL);
	assert_int_equal(bus_attach(&vm.mmio, UINT64_MAX, 2, &probe.dev, 3), -EINVAL);
	assert_int_equal(bus_attach_sized(&vm.mmio, 0x3000, 16, &probe.dev, 3, 4, 2), -EINVAL);
	assert_int_equal(bus_attach_sized(&vm.mmio, 0x3000, 16, &probe.dev, 3, 3, 4), -EINVAL);
	assert_int_equal(bus_attach_sized(&vm.mmio, 0x3000, 6, &probe.dev, 3, 4, 4), -EINVAL);
	assert_int_equal(bus_attach(&vm.mmio, UINT64_MAX, 1, &probe.dev, 3), 0);
	expect_read(&vm, &probe, UINT64_MAX, 1, 0x10, "r3:0/1 ");
	for (unsigned i = vm.mmio.count; i < BUS_MAX_REGIONS; i++)
		assert_int_equal(bus_attach(&vm.mmio, 0x10000 + i * 16, 16, &probe.dev, 0), 0);
	assert_int_equal(bus_attach(&vm.mmio, 0x8000, 16, &probe.dev, 0), -ENOSPC);
	for (unsigned i = 1; i < vm.mmio.count; i++)
		assert_true(vm.mmio.regions[i - 1].base < vm.mmio.regions[i].base);
}

static void test_accesses_are_cut(void **state)
{
	static struct vm vm;
	struct probe probe;

	setup(&vm, &probe);
	assert_int_equal(bus_attach(&vm.mmio, 0x1000, 32, &probe.dev, 5), 0);
	expect_read(&vm, &probe, 0x1008, 8, 0x1f1e1d1c1b1a1918, "r5:8/8 ");
	assert_true(probe.locked);
	assert_true(lock_try(&probe.dev.lock));
	lock_release(&probe.dev.lock);
	expect_read(&vm, &probe, 0x1001, 4, 0x14131211, "r5:1/1 r5:2/2 r5:4/1 ");
	/* Half in, half out: all ones where nobody answers. */
	expect_read(&vm, &probe, 0x101e, 4, 0xffff2f2e, "r5:1e/2 ");
	expect_read(&vm, &probe, 0xffe, 4, 0x1110ffff, "r5:0/2 ");
	expect_read(&vm, &probe, 0x5000, 8, UINT64_MAX, "");
	expect_write(&vm, &probe, 0x1003, 2, 0xabcd, "w5:3/1 =cd w5:4/1 =ab ");
	expect_write(&vm, &probe, 0x1004, 1, 0xfffff12, "w5:4/1 =12 ");
	expect_write(&vm, &probe, 0x101f, 2, 0x1234, "w5:1f/1 =34 ");
	expect_write(&vm, &probe, 0x5000, 4, 1, "");
}

static void test_sizes_are_kept(void **state)
{
	static struct vm vm;
	struct probe probe;

	setup(&vm, &probe);
	assert_int_equal(bus_attach_sized(&vm.mmio, 0x1000, 8, &probe.dev, 0, 1, 1), 0);
	assert_int_equal(bus_attach_sized(&vm.mmio, 0x2000, 32, &probe.dev, 1, 4, 4), 0);
	expect_read(&vm, &probe, 0x1000, 4, 0x13121110, "r0:0/1 r0:1/1 r0:2/1 r0:3/1 ");
	expect_read(&vm, &probe, 0x2008, 8, 0x1f1e1d1c1b1a1918, "r1:8/4 r1:c/4 ");
	expect_read(&vm, &probe, 0x2006, 2, 0x1716, "r1:4/4 ");
	expect_write(&vm, &probe, 0x2006, 2, 0x1716, "");
	expect_write(&vm, &probe, 0x2000, 8, 0x1122334455667788, "w1:0/4 =55667788 w1:4/4 =11223344 ");
}

static void test_devices(void **state)
{
	static struct vm vm;
	static struct device devices[VM_MAX_DEVICES + 1];

	memset(&vm, 0, sizeof(vm));
	for (unsigned i = 0; i < VM_MAX_DEVICES; i++)
		assert_int_equal(device_register(&vm, &devices[i], &probe_ops, "a-name-that-is-too-long"), 0);
	assert_string_equal(devices[0].id, "a-name-that-is-");
	assert_int_equal(device_register(&vm, &devices[VM_MAX_DEVICES], &probe_ops, "one-more"), -ENOSPC);
}

/* What the guest moves: no message for an overlap, found at its new place only, gone when it is unmapped. */
static void test_moving(void **state)
{
	static struct vm vm;
	struct probe probe;
	struct bus_region region = {.base = 0x1000, .size = 32, .dev = &probe.dev, .index = 3, .min_size = 1, .max_size = 4};

	setup(&vm, &probe);
	fake_reset();
	assert_int_equal(bus_map(&vm.mmio, &region), 0);
	assert_int_equal(bus_map(&vm.mmio, &region), -EEXIST);
	assert_string_equal(fake_log_text(), "");
	assert_int_equal(bus_read(&vm.mmio, 0x1004, 1), 0x14);
	bus_unmap(&vm.mmio, 0x1008, &probe.dev); /* not where it begins */
	assert_int_equal(bus_read(&vm.mmio, 0x1004, 1), 0x14);
	bus_unmap(&vm.mmio, 0x1000, &probe.dev);
	assert_int_equal(bus_read(&vm.mmio, 0x1004, 1), 0xff);
	region.base = 0x2000;
	assert_int_equal(bus_map(&vm.mmio, &region), 0);
	assert_int_equal(bus_read(&vm.mmio, 0x2000, 2), 0x1110);
	assert_int_equal(bus_read(&vm.mmio, 0x1000, 2), 0xffff);
	for (unsigned i = 1; i < BUS_MAX_REGIONS; i++) {
		region.base = 0x2000 + i * 32;
		assert_int_equal(bus_map(&vm.mmio, &region), 0);
	}
	region.base = 0;
	assert_int_equal(bus_map(&vm.mmio, &region), -ENOSPC);
	assert_int_equal(bus_read(&vm.mmio, 0x2000 + 31 * 32 + 1, 1), 0x11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_moving),
		cmocka_unit_test(test_accesses_are_cut),
		cmocka_unit_test(test_sizes_are_kept),
		cmocka_unit_test(test_devices),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
