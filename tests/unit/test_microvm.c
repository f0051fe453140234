/* board/x86_64/microvm.c: the memory map, what is refused, where devices answer, what a kernel is handed, resets.
 *
 * Example: `meson test -C build microvm`
 */
#include "arch/state.h"
#include "base/errno.h"
#include "board/x86_64/microvm.h"
#include "dev/misc/acpi_pm.h"
#include "fake_platform.h"
#include "loader/bzimage.h"
#include "loader/loader.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MEMORY      MIB(64)
#define KERNEL_SIZE 0x2000u

/* ---- an engine that runs nothing, a kernel that is nothing, a disk that does nothing ---- */

static void no_kick(struct vcpu *vcpu)
{
}

static const struct engine_ops engine = {.name = "none", .kick = no_kick};

static int read_bytes(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	memcpy(buf, (const uint8_t *)image->ctx + offset, len);
	return 0;
}

static void disk_submit(struct block_backend *backend, struct block_request *request)
{
	request->done(request, 0);
}

static void disk_destroy(struct block_backend *backend)
{
}

static const struct block_backend_ops disk_ops = {.submit = disk_submit, .destroy = disk_destroy};

static size_t char_write(struct char_backend *backend, const void *buf, size_t len)
{
	return len;
}

static void char_resume(struct char_backend *backend)
{
}

static const struct char_backend_ops char_ops = {.write = char_write, .resume = char_resume};

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

struct fixture {
	struct vm_config config;
	struct board_inputs inputs;
	uint8_t kernel_bytes[KERNEL_SIZE];
	struct image kernel;
	struct block_backend disks[2];
	struct char_backend console;
	struct vm *vm;
	uint8_t *ram;
	char why[300];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t *h = f->kernel_bytes;

	fake_reset();
	f->config = (struct vm_config){.board = "microvm", .engine = "none", .cpus = 3, .memory = MEMORY, .rng = true, .test_devices = true};
	h[BOOT_SETUP_SECTS] = 4;
	put(h + BOOT_FLAG, BOOT_FLAG_VALUE, 2);
	h[BOOT_JUMP + 1] = 0x6a;
	put(h + BOOT_HEADER_MAGIC, BOOT_MAGIC, 4);
	put(h + BOOT_VERSION, 0x020f, 2);
	put(h + BOOT_XLOADFLAGS, BOOT_KERNEL_64, 2);
	put(h + BOOT_CMDLINE_SIZE, 100, 4);
	put(h + BOOT_PREF_ADDRESS, MIB(16), 8);
	put(h + BOOT_INIT_SIZE, MIB(8), 4);
	f->kernel = (struct image){.name = "k", .size = KERNEL_SIZE, .read = read_bytes, .ctx = h};
	f->inputs.kernel = &f->kernel;
	for (unsigned i = 0; i < 2; i++) {
		f->disks[i] = (struct block_backend){.ops = &disk_ops, .size = 512 * (i + 1)};
		f->inputs.disks[i] = &f->disks[i];
	}
	f->console.ops = &char_ops;
	f->inputs.ports[0].backend = &f->console;
	f->inputs.port_count = 1;
	*state = f;
	return 0;
}

static void create(struct fixture *f)
{
	f->vm = vm_create(&(struct vm_params){.config = &f->config, .engine = &engine, .cpus = f->config.cpus});
	assert_non_null(f->vm);
	f->ram = aligned_alloc(PAGE_SIZE, MEMORY);
	memset(f->ram, 0, MEMORY);
	assert_int_equal(mem_add_slot(&f->vm->mem, 0, MEMORY, f->ram, false), 0);
	assert_int_equal(board_microvm.create(f->vm, &f->inputs, f->why, sizeof(f->why)), 0);
	devices_reset(f->vm);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->vm) {
		board_microvm.destroy(f->vm);
		vm_destroy(f->vm);
	}
	assert_int_equal(fake_alloc_live(), 0);
	free(f->ram);
	free(f);
	return 0;
}

static void test_memory_map(void **state)
{
	struct fixture *f = *state;
	const struct board_inputs none = {0};
	struct board_ram ram[4];

	f->config.memory = GIB(3);
	assert_int_equal(board_microvm.memory_map(&f->config, &none, ram, 4), 1);
	assert_true(ram[0].gpa == 0 && ram[0].size == GIB(3));
	f->config.memory = GIB(3) + MIB(5);
	assert_int_equal(board_microvm.memory_map(&f->config, &none, ram, 4), 2);
	assert_true(ram[0].size == GIB(3) && ram[1].gpa == GIB(4) && ram[1].size == MIB(5));
	assert_int_equal(board_microvm.memory_map(&f->config, &none, ram, 1), 1);
}

static void check_refused(struct fixture *f, const char *text)
{
	f->why[0] = '\0';
	assert_true(board_microvm.check(&f->config, &f->inputs, f->why, sizeof(f->why)) < 0);
	if (!strstr(f->why, text))
		fail_msg("'%s' is not in: %s", text, f->why);
}

static void test_check(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(board_microvm.check(&f->config, &f->inputs, f->why, sizeof(f->why)), 0);
	f->config.memory = MIB(1);
	check_refused(f, "--memory");
	f->config.memory = GIB(513);
	check_refused(f, "--memory");
	f->config.memory = MEMORY + 1;
	check_refused(f, "--memory");
	/* The kernel's room does not fit. */
	f->config.memory = MIB(20);
	check_refused(f, "--memory 40M");
	f->config.memory = MEMORY;
	f->config.cpus = 65;
	check_refused(f, "--cpus");
	f->config.cpus = 1;
	put(f->kernel_bytes + BOOT_HEADER_MAGIC, 0, 4);
	check_refused(f, "in no known format");
}

/* Device ids of virtio 1.2 §5 at their places, nothing behind the last. */
static void test_devices(void **state)
{
	struct fixture *f = *state;
	static const unsigned ids[] = {2, 2, 3, 4};

	create(f);
	for (unsigned i = 0; i < 4; i++) {
		gpa_t base = MICROVM_VIRTIO + i * MICROVM_VIRTIO_STEP;

		assert_int_equal(bus_read(&f->vm->mmio, base, 4), 0x74726976);
		assert_int_equal(bus_read(&f->vm->mmio, base + 4, 4), 2);
		assert_int_equal(bus_read(&f->vm->mmio, base + 8, 4), ids[i]);
	}
	/* The second disk has twice the sectors. */
	assert_int_equal(bus_read(&f->vm->mmio, MICROVM_VIRTIO + MICROVM_VIRTIO_STEP + 0x100, 4), 2);
	assert_int_equal(bus_read(&f->vm->mmio, MICROVM_VIRTIO + 4 * MICROVM_VIRTIO_STEP, 4), 0xffffffff);
	/* 16550: LSR says that the transmitter is empty. */
	assert_int_equal(bus_read(&f->vm->pio, MICROVM_SERIAL_PORT + 5, 1) & 0x60, 0x60);
	/* fw_cfg's signature. */
	bus_write(&f->vm->pio, 0x510, 2, 0);
	assert_int_equal(bus_read(&f->vm->pio, 0x511, 1), 'Q');
	/* CMOS: processors less one. */
	bus_write(&f->vm->pio, 0x70, 1, 0x5f);
	assert_int_equal(bus_read(&f->vm->pio, 0x71, 1), 2);
	/* I/O APIC: 24 pins. */
	bus_write(&f->vm->mmio, 0xfec00000, 4, 1);
	assert_int_equal(bus_read(&f->vm->mmio, 0xfec00010, 4) >> 16 & 0xff, 23);
	/* Debug exit. */
	bus_write(&f->vm->pio, 0xf4, 1, 4);
	assert_int_equal(atomic_load(&f->vm->stop_reason), VM_STOP_DEBUG_EXIT);
	assert_int_equal(f->vm->stop_code, 9);
}

static void test_without_options(void **state)
{
	struct fixture *f = *state;

	f->config.test_devices = false;
	f->config.rng = false;
	memset(f->inputs.disks, 0, sizeof(f->inputs.disks));
	f->inputs.port_count = 0;
	create(f);
	assert_int_equal(bus_read(&f->vm->mmio, MICROVM_VIRTIO, 4), 0xffffffff);
	assert_int_equal(bus_read(&f->vm->pio, 0x511, 1), 0xff);
	bus_write(&f->vm->pio, 0xf4, 1, 4);
	assert_int_equal(atomic_load(&f->vm->stop_reason), VM_STOP_NONE);
}

static void test_power_off(void **state)
{
	struct fixture *f = *state;

	create(f);
	bus_write(&f->vm->pio, ACPI_PM_PORT + ACPI_PM_SLEEP_CONTROL, 1, ACPI_PM_S5 << 2 | 1 << 5);
	assert_int_equal(atomic_load(&f->vm->stop_reason), VM_STOP_POWEROFF);
}

static void test_interrupts(void **state)
{
	bool used[24] = {false};

	/* Fourteen different ones, none of which another device has; then again from the start. */
	for (unsigned i = 0; i < 14; i++) {
		unsigned gsi = microvm_virtio_gsi(i);

		assert_true(gsi < 24 && !used[gsi]);
		used[gsi] = true;
	}
	assert_false(used[0] || used[1] || used[2] || used[MICROVM_SERIAL_IRQ] || used[8] || used[ACPI_PM_GSI]);
	assert_int_equal(microvm_virtio_gsi(14), microvm_virtio_gsi(0));
}

static void check_loaded(struct fixture *f, const union arch_state *boot)
{
	const uint8_t *page = f->ram + LOADER_ZERO_PAGE;

	assert_int_equal(boot->x86.rip, MIB(16) + 0x200);
	assert_memory_equal(f->ram + MICROVM_ACPI, "RSD PTR ", 8);
	assert_int_equal(page[BOOT_ACPI_RSDP + 2], MICROVM_ACPI >> 16);
	assert_memory_equal(f->ram + MIB(16), f->kernel_bytes + 2560, KERNEL_SIZE - 2560);
	/* BIOS data area: where the EBDA is. */
	assert_int_equal(f->ram[0x40e] | f->ram[0x40f] << 8, MICROVM_EBDA >> 4);
	/* E820: RAM, reserved, RAM to the end. */
	assert_int_equal(page[BOOT_E820_ENTRIES], 3);
	assert_int_equal(page[BOOT_E820_TABLE + 20 + 16], 2);
}

static void test_load_and_reset(void **state)
{
	struct fixture *f = *state;
	union arch_state boot, again;

	memset(&boot, 0, sizeof(boot));
	memset(&again, 0, sizeof(again));
	create(f);
	assert_int_equal(board_microvm.load(f->vm, &f->inputs, &boot, f->why, sizeof(f->why)), 0);
	check_loaded(f, &boot);
	board_microvm.reset(f->vm);
	for (unsigned i = 0; i < 3; i++) {
		const struct vcpu *vcpu = f->vm->vcpus[i];

		assert_true(atomic_load(&vcpu->power_on));
		if (i == 0)
			assert_int_equal(vcpu->power_on_state->x86.rip, boot.x86.rip);
		else
			assert_int_equal(vcpu->power_on_state->x86.activity, X86_ACTIVITY_WAIT_SIPI);
	}
	/* A guest that wrote over everything gets the same machine again. */
	memset(f->ram, 0xa5, MEMORY);
	devices_reset(f->vm);
	assert_int_equal(board_microvm.load(f->vm, &f->inputs, &again, f->why, sizeof(f->why)), 0);
	check_loaded(f, &again);
	assert_memory_equal(&again.x86, &boot.x86, sizeof(boot.x86));
}

static void test_no_memory(void **state)
{
	struct fixture *f = *state;

	/* Fails at each allocation in turn, leaves nothing behind, says one sentence. */
	for (unsigned limit = 0;; limit++) {
		struct vm *vm = vm_create(&(struct vm_params){.config = &f->config, .engine = &engine, .cpus = 2});

		assert_non_null(vm);
		f->why[0] = '\0';
		fake_alloc_limit(limit);
		int r = board_microvm.create(vm, &f->inputs, f->why, sizeof(f->why));
		fake_alloc_limit(UINT32_MAX);
		if (vm->board_data)
			board_microvm.destroy(vm);
		vm_destroy(vm);
		assert_int_equal(fake_alloc_live(), 0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(f->why[0]);
		assert_true(limit < 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_map, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_off, setup, teardown),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test_setup_teardown(test_load_and_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
