/* fw_cfg, 8042, ACPI power management, pvpanic, debug exit, test device. */
#include "base/errno.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/acpi_pm.h"
#include "dev/misc/debugexit.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/i8042.h"
#include "dev/misc/pvpanic.h"
#include "dev/misc/testdev.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct vm *vm;

static int setup(void **state)
{
	vm = machine_create(2);
	return 0;
}

static int teardown(void **state)
{
	machine_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	machine_out(vm, port, size, value);
}

static uint32_t in(uint16_t port, unsigned size)
{
	return machine_in(vm, port, size);
}

/* ---- fw_cfg ---- */
static void read_item(uint16_t key, void *buf, unsigned size)
{
	out(0x510, 2, key);
	for (unsigned i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)in(0x511, 1);
}

static void fw_cfg_by_port(void **state)
{
	struct fw_cfg *fw_cfg;
	uint8_t buf[8];
	uint64_t ram;

	assert_int_equal(fw_cfg_create(vm, &fw_cfg), 0);
	read_item(FW_CFG_SIGNATURE, buf, 6);
	assert_memory_equal(buf, "QEMU\0\0", 6); /* zeros past the end */
	read_item(FW_CFG_ID, buf, 4);
	assert_int_equal(buf[0], 3);
	read_item(FW_CFG_NB_CPUS, buf, 2);
	assert_int_equal(buf[0] | buf[1] << 8, 2);
	read_item(FW_CFG_RAM_SIZE, &ram, 8);
	assert_int_equal(ram, MACHINE_RAM_SIZE);
	read_item(0x7777, buf, 1);
	assert_int_equal(buf[0], 0);
	assert_int_equal(fw_cfg_add_u32(fw_cfg, FW_CFG_CMDLINE_SIZE, 5), 0);
	assert_int_equal(fw_cfg_add_u32(fw_cfg, FW_CFG_CMDLINE_SIZE, 6), -EEXIST);
	read_item(FW_CFG_CMDLINE_SIZE, buf, 4);
	assert_int_equal(buf[0], 5);
}

static void fw_cfg_files(void **state)
{
	static char long_name[60];
	struct fw_cfg *fw_cfg;
	uint8_t directory[4 + 3 * 64], data[4];

	assert_int_equal(fw_cfg_create(vm, &fw_cfg), 0);
	assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/b", "BBB", 3), 0);
	assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/c", "C", 1), 0);
	assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/a", "AAAA", 4), 0);
	assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/a", "AAAA", 4), -EEXIST);
	memset(long_name, 'x', 56);
	assert_int_equal(fw_cfg_add_file(fw_cfg, long_name, "", 0), -EINVAL);
	read_item(FW_CFG_FILE_DIR, directory, sizeof(directory));
	assert_int_equal(directory[3], 3);
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *file = directory + 4 + 64 * i;
		char name[6] = {'e', 't', 'c', '/', (char)('a' + i)};

		assert_string_equal((const char *)file + 8, name);
		read_item((uint16_t)(file[4] << 8 | file[5]), data, file[3]);
		for (unsigned j = 0; j < file[3]; j++)
			assert_int_equal(data[j], 'A' + (int)i);
	}
	for (unsigned i = 0; i < 100; i++) {
		char name[8] = {'f', (char)('a' + i / 26), (char)('a' + i % 26)};
		int r = fw_cfg_add_file(fw_cfg, name, name, 3);

		assert_true(r == 0 || r == -ENOSPC);
	}
}

static void put_be(uint8_t *out_, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		out_[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
	uint8_t access[16], result[4];

	put_be(access, control, 4);
	put_be(access + 4, length, 4);
	put_be(access + 8, address, 8);
	assert_int_equal(mem_write(&vm->mem, 0x1000, access, sizeof(access)), 0);
	out(0x514, 4, 0);
	out(0x518, 4, __builtin_bswap32(0x1000));
	assert_int_equal(mem_read(&vm->mem, 0x1000, result, 4), 0);
	return (uint32_t)result[0] << 24 | (uint32_t)result[1] << 16 | (uint32_t)result[2] << 8 | result[3];
}

static void fw_cfg_by_dma(void **state)
{
	struct fw_cfg *fw_cfg;
	char buf[8];

	assert_int_equal(fw_cfg_create(vm, &fw_cfg), 0);
	assert_int_equal(fw_cfg_add(fw_cfg, FW_CFG_CMDLINE_DATA, "console", 7), 0);
	assert_int_equal(__builtin_bswap32(in(0x514, 4)), 0x51454d55);
	assert_int_equal(__builtin_bswap32(in(0x518, 4)), 0x20434647);
	memset(buf, 'x', 8);
	assert_int_equal(mem_write(&vm->mem, 0x2000, buf, 8), 0);
	assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 8 | 2, 8, 0x2000), 0);
	assert_int_equal(mem_read(&vm->mem, 0x2000, buf, 8), 0);
	assert_memory_equal(buf, "console\0", 8);
	assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 8 | 4, 3, 0), 0); /* select, skip */
	assert_int_equal(dma(2, 4, 0x2000), 0);
	assert_int_equal(mem_read(&vm->mem, 0x2000, buf, 4), 0);
	assert_memory_equal(buf, "sole", 4);
	assert_int_equal(dma(4, 0xffffffff, 0), 0);
	assert_int_equal(dma(2, 4, 0x2000), 0);
	/* hostile: memory that is not there, writing, a structure outside of memory */
	assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 8 | 2, 8, MACHINE_RAM_SIZE - 4), 1);
	assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 8 | 2, 0xffffffff, UINT64_MAX - 3), 1);
	assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 8 | 0x10, 4, 0x2000), 1);
	out(0x514, 4, 0xffffffff);
	out(0x518, 4, 0xffffffff);
	assert_int_equal(dma(8, 0, 0), 0);
}

/* ---- 8042 ---- */
static void i8042_probing(void **state)
{
	assert_int_equal(i8042_create(vm, NULL, NULL), 0);
	assert_int_equal(in(0x64, 1) & 1, 0);
	out(0x64, 1, 0xaa);
	assert_int_equal(in(0x64, 1) & 1, 1);
	assert_int_equal(in(0x60, 1), 0x55);
	assert_int_equal(in(0x64, 1) & 1, 0);
	out(0x64, 1, 0x60);
	out(0x60, 1, 0x47);
	out(0x64, 1, 0x20);
	assert_int_equal(in(0x60, 1), 0x47);
	out(0x64, 1, 0xd3);
	out(0x60, 1, 0x5a);
	assert_int_equal(in(0x64, 1) & 0x21, 0x21);
	assert_int_equal(in(0x60, 1), 0x5a);
	out(0x60, 1, 0xf2); /* nobody there */
	assert_int_equal(in(0x64, 1) & 0x41, 0x41);
	assert_int_equal(in(0x60, 1), 0xfe);
	assert_int_equal(in(0x92, 1) & 2, 2);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
}

static struct i8042 *with_keyboard(struct irq_probe *probe)
{
	const struct irq_line line = irq_probe_line(probe);
	struct i8042 *i8042;

	assert_int_equal(i8042_create(vm, &line, &i8042), 0);
	return i8042;
}

static void config(uint8_t value)
{
	out(0x64, 1, 0x60);
	out(0x60, 1, value);
}

static void expect_bytes(const char *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(in(0x64, 1) & 0x61, 1);
		assert_int_equal(in(0x60, 1), (uint8_t)bytes[i]);
	}
	assert_int_equal(in(0x64, 1) & 1, 0);
}

static const struct key_stroke a_and_up[] = {{0x1e, true}, {0x1e, false}, {0xe048, true}, {0xe048, false}};

static void keyboard_commands(void **state)
{
	struct irq_probe probe = {0};

	with_keyboard(&probe);
	config(0x20);
	out(0x60, 1, 0xff);
	expect_bytes("\xfa\xaa", 2);
	out(0x60, 1, 0xf2);
	expect_bytes("\xfa\xab\x83", 3);
	out(0x60, 1, 0xed);
	out(0x60, 1, 0x04);
	expect_bytes("\xfa\xfa", 2);
	out(0x60, 1, 0xf0);
	out(0x60, 1, 0x00);
	expect_bytes("\xfa\xfa\x02", 3);
	out(0x60, 1, 0xf0);
	out(0x60, 1, 0x03); /* it has none */
	expect_bytes("\xfa\xfe", 2);
	out(0x60, 1, 0xee);
	expect_bytes("\xee", 1);
	out(0x60, 1, 0xfe);
	expect_bytes("\xee", 1);
	out(0x60, 1, 0x00); /* no command */
	expect_bytes("\xfe", 1);
	assert_int_equal(probe.rises, 0); /* not asked for */
}

static void keyboard_keys(void **state)
{
	struct irq_probe probe = {0};
	struct i8042 *i8042 = with_keyboard(&probe);

	config(0x21); /* as they are, with interrupts */
	assert_true(i8042_type(i8042, a_and_up, 4));
	assert_int_equal(probe.level, 1);
	expect_bytes("\x1c\xf0\x1c\xe0\x75\xe0\xf0\x75", 8);
	assert_int_equal(probe.rises, 8); /* an edge for each */
	assert_int_equal(probe.level, 0);
	config(0x61); /* translated */
	assert_true(i8042_type(i8042, a_and_up, 4));
	expect_bytes("\x1e\x9e\xe0\x48\xe0\xc8", 6);
	assert_true(i8042_type(i8042, &(struct key_stroke){0xe11d, true}, 1)); /* Pause */
	expect_bytes("\xe1\x1d\x45\xe1\x9d\xc5", 6);
	out(0x64, 1, 0xad); /* kept until it may send */
	assert_true(i8042_type(i8042, a_and_up, 2));
	assert_int_equal(in(0x64, 1) & 1, 0);
	out(0x64, 1, 0xae);
	expect_bytes("\x1e\x9e", 2);
	out(0x60, 1, 0xf5); /* does not scan */
	expect_bytes("\xfa", 1);
	assert_true(i8042_type(i8042, a_and_up, 2));
	assert_int_equal(in(0x64, 1) & 1, 0);
}

static void keyboard_is_full(void **state)
{
	struct irq_probe probe = {0};
	struct i8042 *i8042 = with_keyboard(&probe);
	unsigned typed = 0, got = 0;

	config(0x60);
	assert_false(i8042_type(i8042, (struct key_stroke[]){{0x1e, true}, {0x7f00, true}}, 2)); /* all or none */
	assert_int_equal(in(0x64, 1) & 1, 0);
	while (typed < 1000 && i8042_type(i8042, a_and_up, 2))
		typed++;
	assert_in_range(typed, 20, 999);
	for (unsigned i = 0; i < 1000; i++)
		out(0x60, 1, 0xee); /* what has no room is lost */
	while (got < 1000 && in(0x64, 1) & 1) {
		if (got < 2 * typed)
			assert_int_equal(in(0x60, 1), got & 1 ? 0x9e : 0x1e);
		else
			in(0x60, 1);
		got++;
	}
	assert_in_range(got, 2 * typed, 300);
}

static void i8042_resets(void **state)
{
	assert_int_equal(i8042_create(vm, NULL, NULL), 0);
	out(0x64, 1, 0xff); /* pulses nothing */
	out(0x92, 1, 2);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	out(0x64, 1, 0xfe);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
}

static void i8042_resets_by_output_port(void **state)
{
	assert_int_equal(i8042_create(vm, NULL, NULL), 0);
	out(0x64, 1, 0xd1);
	out(0x60, 1, 0x03);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	out(0x64, 1, 0xd1);
	out(0x60, 1, 0x02);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
}

/* ---- power ---- */
static void acpi_powers_off(void **state)
{
	struct acpi_pm *pm;

	assert_int_equal(acpi_pm_create(vm, ACPI_PM_PORT, (struct irq_line){0}, &pm), 0);
	assert_int_equal(in(ACPI_PM_PORT + 1, 1), 0);
	out(ACPI_PM_PORT, 1, ACPI_PM_S5 << 2); /* without SLP_EN */
	out(ACPI_PM_PORT, 1, 3 << 2 | 0x20);   /* another state */
	out(ACPI_PM_PORT + 2, 1, 0);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	out(ACPI_PM_PORT, 1, ACPI_PM_S5 << 2 | 0x20);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
}

static void acpi_resets(void **state)
{
	struct acpi_pm *pm;

	assert_int_equal(acpi_pm_create(vm, ACPI_PM_PORT, (struct irq_line){0}, &pm), 0);
	out(ACPI_PM_PORT + ACPI_PM_RESET, 1, ACPI_PM_RESET_VALUE);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
}

static void power_button(void **state)
{
	struct irq_probe probe = {0};
	struct acpi_pm *pm;

	assert_int_equal(acpi_pm_create(vm, ACPI_PM_PORT, irq_probe_line(&probe), &pm), 0);
	assert_int_equal(in(ACPI_PM_PORT + ACPI_PM_EVENT, 4), 0);
	acpi_pm_power_button(pm);
	assert_int_equal(probe.level, 1);
	assert_int_equal(in(ACPI_PM_PORT + ACPI_PM_EVENT, 4), ACPI_PM_EVENT_POWER_BUTTON);
	assert_int_equal(probe.level, 0);
	assert_int_equal(in(ACPI_PM_PORT + ACPI_PM_EVENT, 4), 0);
	acpi_pm_power_button(pm);
	devices_reset(vm);
	assert_int_equal(probe.level, 0);
}

static void panic(void **state)
{
	assert_int_equal(pvpanic_create(vm, PVPANIC_PORT), 0);
	assert_int_equal(in(PVPANIC_PORT, 1), 3);
	out(PVPANIC_PORT, 1, 2);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	out(PVPANIC_PORT, 1, 1);
	assert_int_equal(vm->stop_reason, VM_STOP_PANIC);
}

static void debug_exit(void **state)
{
	assert_int_equal(debugexit_create(vm, 0xf4), 0);
	out(0xf4, 4, 0x10);
	assert_int_equal(vm->stop_reason, VM_STOP_DEBUG_EXIT);
	assert_int_equal(vm->stop_code, 33);
}

/* ---- pc-testdev ---- */
static gpa_t flushed;

static void invalidate(struct vm *vm_, gpa_t gpa, uint64_t len)
{
	assert_int_equal(len, 4096);
	flushed = gpa;
}

static void test_device(void **state)
{
	static const struct engine_ops engine = {.name = "flushing", .invalidate = invalidate};
	struct irqchip *chip;

	assert_int_equal(irqchip_create(vm, &chip), 0);
	assert_int_equal(testdev_create(vm, chip), 0);
	out(0xe0, 4, 0x12345678);
	assert_int_equal(in(0xe0, 4), 0x12345678);
	assert_int_equal(in(0xe2, 2), 0x1234);
	out(0xe1, 1, 0xaa);
	assert_int_equal(in(0xe0, 4), 0x1234aa78);
	assert_int_equal(in(0xe9, 1), 0xaa);
	assert_int_equal(in(0xe8, 4), 0x1234aa78);

	vm->engine = &engine;
	out(0xe4, 4, 0x7123);
	assert_int_equal(flushed, 0x7000);

	machine_write(vm, 0, 0xff000ff8, 8, 0x1122334455667788);
	assert_int_equal(machine_read(vm, 0, 0xff000ff8, 8), 0x1122334455667788);
	assert_int_equal(machine_read(vm, 0, 0xff000ffa, 2), 0x5566);

	/* line 20 by port */
	machine_write(vm, 0, 0xfee000f0, 4, 0x1ff);
	machine_write(vm, 0, 0xfec00000, 4, 0x10 + 40);
	machine_write(vm, 0, 0xfec00010, 4, 0x41);
	out(0x2000 + 20, 1, 1);
	assert_int_equal(vm->irq_ops->ack(vm->vcpus[0]), 0x41);
	out(0x2000 + 20, 1, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(fw_cfg_by_port),
		CASE(fw_cfg_files),
		CASE(fw_cfg_by_dma),
		CASE(i8042_probing),
		CASE(keyboard_commands),
		CASE(keyboard_keys),
		CASE(keyboard_is_full),
		CASE(i8042_resets),
		CASE(i8042_resets_by_output_port),
		CASE(acpi_powers_off),
		CASE(acpi_resets),
		CASE(power_button),
		CASE(panic),
		CASE(debug_exit),
		CASE(test_device),
	};

	return cmocka_run_group_tests_name("misc_devices", tests, NULL, NULL);
}
