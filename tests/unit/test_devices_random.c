/* A guest that writes anything anywhere: every device of a PC, random accesses, random time. What is checked is that
 * the devices survive (the sanitizer builds see more than this one), leave no memory, and work after a reset. */
#include "dev/irq/irqchip.h"
#include "dev/misc/acpi_pm.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/i8042.h"
#include "dev/misc/testdev.h"
#include "dev/serial/uart16550.h"
#include "dev/timer/pit.h"
#include "dev/timer/rtc.h"
#include "fake_machine.h"
#include "pv/kvm_clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ROUNDS 300000u

static uint64_t seed = 88172645463325252;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t backend_write(struct char_backend *backend, const void *buf, size_t len)
{
	return random64() % (len + 1);
}

static void backend_resume(struct char_backend *backend)
{
	static const char text[16] = "0123456789abcdef";
	size_t room = backend->room(backend->ctx);

	backend->receive(backend->ctx, text, room < sizeof(text) ? room : sizeof(text));
}

static const struct char_backend_ops backend_ops = {.write = backend_write, .resume = backend_resume};

/* A value that is often near something interesting. */
static uint64_t random_value(void)
{
	switch (random64() % 4) {
	case 0:
		return random64();
	case 1:
		return random64() & 0xff;
	case 2:
		return random64() % MACHINE_RAM_SIZE;
	default:
		return 1ull << random64() % 64;
	}
}

static void access_port(struct vm *vm)
{
	const struct bus_region *region = &vm->pio.regions[random64() % vm->pio.count];
	uint16_t port = (uint16_t)(region->base + random64() % region->size);
	unsigned size = 1u << random64() % 3;

	if (random64() & 1)
		machine_out(vm, port, size, (uint32_t)random_value());
	else
		machine_in(vm, port, size);
}

static void access_memory(struct vm *vm)
{
	static const uint64_t bases[] = {0xfee00000, 0xfec00000, 0xff000000};
	uint64_t gpa = bases[random64() % 3] + (random64() & 1 ? random64() % 0x400 & ~15ull : random64() % 0x1000);
	unsigned size = 1u << random64() % 4, cpu = (unsigned)(random64() % vm->vcpu_count);

	if (random64() & 1)
		machine_write(vm, cpu, gpa, size, random_value());
	else
		machine_read(vm, cpu, gpa, size);
}

static void access_msr(struct vm *vm)
{
	static const uint32_t others[] = {0x1b, 0x6e0, 0x11, 0x12, 0x4b564d00, 0x4b564d01};
	uint32_t index = random64() & 1 ? 0x800 + (uint32_t)(random64() & 0x3f) : others[random64() % 6];
	unsigned cpu = (unsigned)(random64() % vm->vcpu_count);
	uint64_t value;

	if (random64() & 1)
		machine_wrmsr(vm, cpu, index, random64() % 8 ? random_value() : 0xfee00000 | (random64() & 0xd00));
	else
		machine_rdmsr(vm, cpu, index, &value);
}

static void act(struct vm *vm)
{
	unsigned cpu = (unsigned)(random64() % vm->vcpu_count);

	switch (random64() % 8) {
	case 0:
	case 1:
	case 2:
		access_port(vm);
		break;
	case 3:
	case 4:
		access_memory(vm);
		break;
	case 5:
		access_msr(vm);
		break;
	case 6: {
		int pending = vm->irq_ops->pending(vm->vcpus[cpu]);

		assert_int_equal(vm->irq_ops->ack(vm->vcpus[cpu]), pending);
		break;
	}
	default:
		fake_advance(random64() % 300000);
		fake_run_work();
		break;
	}
}

static void survives(void **state)
{
	struct char_backend backend = {.ops = &backend_ops};
	struct vm *vm = machine_create(3);
	struct irqchip *chip;
	struct fw_cfg *fw_cfg;
	struct acpi_pm *pm;
	struct irq_line keys;
	struct i8042 *i8042;

	assert_int_equal(irqchip_create(vm, &chip), 0);
	assert_int_equal(kvm_clock_create(vm), 0);
	assert_int_equal(pit_create(vm, irqchip_line(chip, 0)), 0);
	assert_int_equal(rtc_create(vm, irqchip_line(chip, 8), NULL), 0);
	assert_int_equal(uart_create(vm, 0x3f8, irqchip_line(chip, 4), &backend, "serial0"), 0);
	keys = irqchip_line(chip, 1);
	assert_int_equal(i8042_create(vm, &keys, &i8042), 0);
	assert_int_equal(fw_cfg_create(vm, &fw_cfg), 0);
	assert_int_equal(acpi_pm_create(vm, ACPI_PM_PORT, irqchip_line(chip, ACPI_PM_GSI), &pm), 0);
	assert_int_equal(testdev_create(vm, chip), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		act(vm);
		if (i % 16 == 0)
			(void)!i8042_type(i8042, &(struct key_stroke){(uint16_t)(random_value() & 0xe0ff), i & 16}, 1);
	}
	devices_reset(vm);
	machine_write(vm, 0, 0xfee000f0, 4, 0x1ff);
	irqchip_msi(chip, 0xfee00000, 0x41);
	assert_int_equal(vm->irq_ops->ack(vm->vcpus[0]), 0x41);
	machine_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(survives)};

	return cmocka_run_group_tests_name("devices_random", tests, NULL, NULL);
}
