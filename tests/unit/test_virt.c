/* board/aarch64/virt.c: the memory map, what is refused, where devices answer, what a kernel is handed, resets. With an argument: writes
 * its device tree to standard output, for virt_tree.sh.
 *
 * Example: `meson test -C build virt`
 */
#include "arch/aarch64/names.h"
#include "arch/state.h"
#include "base/errno.h"
#include "board/aarch64/start.h"
#include "board/aarch64/virt.h"
#include "dev/pci/pci.h"
#include "fake_platform.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MEMORY      MIB(64)
#define KERNEL_SIZE 0x2000u

/* ---- an engine that runs nothing, processors that are nothing, a disk that does nothing ---- */

static enum vcpu_run_state run_state(const union arch_state *state)
{
	return VCPU_RUNNABLE;
}

static const struct vcpu_arch_ops arch_ops = {.run_state = run_state};
const struct vcpu_arch_ops *const a64_board_arch_ops = &arch_ops;

/* RIP is where it begins, RAX the context, RBX the index; RCX: it is off. */
void a64_start_state(union arch_state *state, unsigned index, uint64_t entry, uint64_t context)
{
	memset(state, 0, sizeof(*state));
	state->x86.rip = entry;
	state->x86.gpr[X86_RAX] = context;
	state->x86.gpr[X86_RBX] = index;
}

void a64_stop_state(union arch_state *state)
{
	state->x86.gpr[X86_RCX] = 1;
}

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
	uint8_t kernel_bytes[KERNEL_SIZE], initrd_bytes[100];
	struct image kernel, initrd;
	struct block_backend disks[CONFIG_MAX_DISKS];
	struct char_backend console;
	struct vm *vm;
	uint8_t *ram;
	char why[300];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_reset();
	f->config = (struct vm_config){
		.board = "virt", .engine = "none", .cpus = 18, .memory = MEMORY, .rng = true, .append = "console=ttyAMA0", .disk_count = 2};
	for (unsigned i = 0; i < KERNEL_SIZE; i++)
		f->kernel_bytes[i] = (uint8_t)(i * 7);
	put(f->kernel_bytes + 8, 0, 8);
	put(f->kernel_bytes + 16, MIB(3), 8);
	put(f->kernel_bytes + 24, 0xa, 8);
	memcpy(f->kernel_bytes + 56, "ARM\x64", 4);
	memset(f->initrd_bytes, 'i', sizeof(f->initrd_bytes));
	f->kernel = (struct image){.name = "k", .size = KERNEL_SIZE, .read = read_bytes, .ctx = f->kernel_bytes};
	f->initrd = (struct image){.name = "i", .size = sizeof(f->initrd_bytes), .read = read_bytes, .ctx = f->initrd_bytes};
	f->inputs.kernel = &f->kernel;
	f->inputs.initrd = &f->initrd;
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		f->disks[i] = (struct block_backend){.ops = &disk_ops, .size = 512 * (i + 1)};
	f->inputs.disks[0] = &f->disks[0];
	f->inputs.disks[1] = &f->disks[1];
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
	assert_int_equal(mem_add_slot(&f->vm->mem, VIRT_RAM, MEMORY, f->ram, false), 0);
	if (board_virt.create(f->vm, &f->inputs, f->why, sizeof(f->why)))
		fail_msg("%s", f->why);
	devices_reset(f->vm);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->vm) {
		board_virt.destroy(f->vm);
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

	f->config.memory = GIB(5);
	assert_int_equal(board_virt.memory_map(&f->config, &none, ram, 4), 1);
	assert_true(ram[0].gpa == VIRT_RAM && ram[0].size == GIB(5));
	f->config.memory_max = GIB(7);
	assert_int_equal(board_virt.memory_map(&f->config, &none, ram, 4), 2);
	assert_true(ram[1].gpa == GIB(6) && ram[1].size == GIB(2));
}

static void check_refused(struct fixture *f, const char *text)
{
	f->why[0] = '\0';
	assert_true(board_virt.check(&f->config, &f->inputs, f->why, sizeof(f->why)) < 0);
	if (!strstr(f->why, text))
		fail_msg("'%s' is not in: %s", text, f->why);
}

static void test_check(void **state)
{
	struct fixture *f = *state;
	char *text;

	assert_int_equal(board_virt.check(&f->config, &f->inputs, f->why, sizeof(f->why)), 0);
	f->config.memory = MIB(7);
	check_refused(f, "--memory");
	f->config.memory = GIB(256);
	check_refused(f, "--memory");
	f->config.memory = MEMORY + 1;
	check_refused(f, "--memory");
	f->config.memory = MEMORY;
	put(f->kernel_bytes + 16, MEMORY, 8);
	check_refused(f, "--memory");
	put(f->kernel_bytes + 16, MIB(3), 8);
	f->config.cpus = 65;
	check_refused(f, "--cpus");
	f->config.cpus = 1;
	f->config.cpu = "v2";
	check_refused(f, "--cpu");
	f->config.cpu = NULL;
	f->config.disk_count = 7;
	for (unsigned i = 0; i < 7; i++)
		f->config.disks[i] = (struct disk_config){.interface = i & 1 ? DISK_CDROM : DISK_AHCI, .path = "d"};
	check_refused(f, "6 ports");
	f->config.disk_count = 6;
	assert_int_equal(board_virt.check(&f->config, &f->inputs, f->why, sizeof(f->why)), 0);
	text = calloc(1, 3000);
	memset(text, 'x', 2048);
	f->config.append = text;
	check_refused(f, "2047");
	text[2047] = '\0';
	assert_int_equal(board_virt.check(&f->config, &f->inputs, f->why, sizeof(f->why)), 0);
	f->config.append = NULL;
	free(text);
	f->kernel_bytes[56] = 0;
	check_refused(f, "no kernel for AArch64");
	f->inputs.kernel = NULL;
	check_refused(f, "--kernel");
}

/* Device ids of virtio 1.2 §5 at their places, nothing behind the last; what else there is. */
static void test_devices(void **state)
{
	struct fixture *f = *state;
	static const unsigned ids[] = {2, 2, 3, 4};
	struct bus *mmio;

	create(f);
	mmio = &f->vm->mmio;
	for (unsigned i = 0; i < 4; i++) {
		gpa_t base = VIRT_VIRTIO + i * VIRT_VIRTIO_STEP;

		assert_int_equal(bus_read(mmio, base, 4), 0x74726976);
		assert_int_equal(bus_read(mmio, base + 8, 4), ids[i]);
	}
	assert_int_equal(bus_read(mmio, VIRT_VIRTIO + 4 * VIRT_VIRTIO_STEP, 4), 0xffffffff);
	assert_int_equal(bus_read(mmio, VIRT_GICD + 0xffe8, 4), 0x3b);
	assert_int_equal(bus_read(mmio, VIRT_ITS + 0xffe8, 4), 0x3b);
	assert_int_equal(bus_read(mmio, VIRT_GICR + 17 * 0x20000 + 8, 4), 17 << 8 | 1 << 4 | 1);
	assert_int_equal(bus_read(mmio, VIRT_UART + 0xfe0, 4), 0x11);
	assert_int_equal(bus_read(mmio, VIRT_RTC, 4), platform_wall_ns() / 1000000000);
	assert_int_equal(bus_read(mmio, VIRT_GPIO + 0xfe0, 4), 0x61);
	/* fw_cfg: by bytes, by words, by DMA. */
	bus_write(mmio, VIRT_FW_CFG + 8, 2, 0);
	assert_int_equal(bus_read(mmio, VIRT_FW_CFG, 1), 'Q');
	assert_int_equal(bus_read(mmio, VIRT_FW_CFG, 1), 'E');
	bus_write(mmio, VIRT_FW_CFG + 8, 2, 0x0500);
	assert_int_equal(bus_read(mmio, VIRT_FW_CFG, 8), 18);
	assert_true(bus_read(mmio, VIRT_FW_CFG + 16, 8) == __builtin_bswap64(0x51454d5520434647));
	static const uint8_t access[16] = {0, 0, 0, 0xa, 0, 0, 0, 4, 0, 0, 0, 0, 0x40, 0, 0, 0x20};
	memcpy(f->ram, access, sizeof(access));
	bus_write(mmio, VIRT_FW_CFG + 16, 8, __builtin_bswap64(VIRT_RAM));
	assert_memory_equal(f->ram + 0x20, "QEMU", 4);
	assert_memory_equal(f->ram, "\0\0\0\0", 4);
}

/* A function's message reaches the processor that the ITS' tables say; a pin its line. */
static void test_pci(void **state)
{
	struct fixture *f = *state;
	const uint64_t valid = 1ull << 63, devfn = 1 << 3, ahci = VIRT_ECAM + devfn * 4096, table = VIRT_RAM + MIB(1);
	const uint64_t commands[][4] = {
		{8 | devfn << 32, 3, valid | (table + 0x12000), 0}, {9, 0, valid | 1 << 16, 0}, {10 | devfn << 32, 5 | 8192ull << 32, 0, 0}};
	struct pci_function *function = NULL;
	struct bus *mmio;
	uint64_t abar = VIRT_PCI_MEMORY;

	f->config.disks[1].interface = DISK_AHCI;
	create(f);
	mmio = &f->vm->mmio;
	assert_int_equal(bus_read(mmio, VIRT_ECAM, 4), 0x00081b36);
	assert_int_equal(bus_read(mmio, ahci, 4), 0x29228086);
	assert_int_equal(bus_read(mmio, ahci + (1 << 20), 4), 0xffffffff);
	bus_write(mmio, ahci + 0x24, 4, abar);
	bus_write(mmio, ahci + 4, 2, 6);
	assert_int_equal(bus_read(mmio, abar + 0x10, 4), 0x10301); /* AHCI 1.3.1 */
	/* The tables; all LPIs enabled. */
	memset(f->ram + MIB(1), 0xa1, 0x10000);
	memcpy(f->ram + MIB(1) + 0x13000, commands, sizeof(commands));
	bus_write(mmio, VIRT_GICD, 4, 2);
	bus_write(mmio, VIRT_GICR + 0x20000 + 0x14, 4, 0);
	bus_write(mmio, VIRT_GICR + 0x20000 + 0x70, 8, table | 15);
	bus_write(mmio, VIRT_GICR + 0x20000 + 0x78, 8, (table + 0x20000) | 1ull << 62);
	bus_write(mmio, VIRT_GICR + 0x20000, 4, 1);
	bus_write(mmio, VIRT_ITS + 0x100, 8, valid | (table + 0x10000));
	bus_write(mmio, VIRT_ITS + 0x108, 8, valid | (table + 0x11000));
	bus_write(mmio, VIRT_ITS + 0x80, 8, valid | (table + 0x13000));
	bus_write(mmio, VIRT_ITS, 4, 1);
	bus_write(mmio, VIRT_ITS + 0x88, 8, sizeof(commands));
	for (unsigned i = 0; i < f->vm->msr_handler_count; i++) {
		const struct msr_handler *h = &f->vm->msr_handlers[i];

		(void)h->write(f->vm->vcpus[1], h->ctx, A64_SYSREG_KEY(3u, 0, 4, 6, 0), 0xff);
		(void)h->write(f->vm->vcpus[1], h->ctx, A64_SYSREG_KEY(3u, 0, 12, 12, 7), 1);
	}
	assert_int_equal(f->vm->irq_ops->pending(f->vm->vcpus[1]), -1);
	for (unsigned i = 0; i < f->vm->device_count; i++)
		if (!strcmp(f->vm->devices[i]->ops->name, "ahci"))
			function = container_of(f->vm->devices[i], struct pci_function, dev);
	assert_non_null(function);
	bus_write(mmio, ahci + function->msi + 4, 4, VIRT_ITS + 0x10040);
	bus_write(mmio, ahci + function->msi + 12, 2, 5);
	bus_write(mmio, ahci + function->msi + 2, 2, 1);
	assert_true(pci_signal_msi(function));
	assert_int_equal(f->vm->irq_ops->pending(f->vm->vcpus[1]), 8192);
	bus_write(mmio, ahci + function->msi + 4, 4, 0); /* elsewhere */
	assert_true(pci_signal_msi(function));
	pci_set_intx(function, true);
	assert_int_equal(bus_read(mmio, VIRT_GICD + 0x208, 4), 1 << 21); /* slot 1, INTA#: PIRQ F */
	pci_set_intx(function, false);
	assert_int_equal(bus_read(mmio, VIRT_GICD + 0x208, 4), 0);
}

/* From a device's line, and from the timer's, to the processor. */
static void test_interrupts(void **state)
{
	struct fixture *f = *state;
	struct bus *mmio;
	struct vcpu *vcpu;
	const struct msr_handler *timer = NULL, *pmr = NULL, *group = NULL;

	create(f);
	mmio = &f->vm->mmio;
	vcpu = f->vm->vcpus[0];
	for (unsigned i = 0; i < f->vm->msr_handler_count; i++) {
		const struct msr_handler *h = &f->vm->msr_handlers[i];

		if (h->first == A64_SYSREG_KEY(3u, 3, 14, 2, 0))
			timer = h;
		if (h->first == A64_SYSREG_KEY(3u, 0, 4, 6, 0))
			pmr = h;
		if (h->first == A64_SYSREG_KEY(3u, 0, 12, 8, 0))
			group = h;
	}
	assert_true(timer && pmr && group);
	bus_write(mmio, VIRT_GICD, 4, 2);
	bus_write(mmio, VIRT_GICR + 0x14, 4, 0);
	bus_write(mmio, VIRT_GICR + 0x10080, 4, 0xffffffff);
	bus_write(mmio, VIRT_GICR + 0x10100, 4, 1u << 27 | 1u << 30);
	assert_true(pmr->write(vcpu, pmr->ctx, pmr->first, 0xff));
	assert_true(group->write(vcpu, group->ctx, A64_SYSREG_KEY(3u, 0, 12, 12, 7), 1));
	assert_true(timer->write(vcpu, timer->ctx, A64_SYSREG_KEY(3u, 3, 14, 3, 1), 1));
	assert_int_equal(f->vm->irq_ops->pending(vcpu), 27);
	assert_true(timer->write(vcpu, timer->ctx, A64_SYSREG_KEY(3u, 3, 14, 3, 1), 0));
	assert_true(timer->write(vcpu, timer->ctx, A64_SYSREG_KEY(3u, 3, 14, 2, 1), 1));
	assert_int_equal(f->vm->irq_ops->pending(vcpu), 30);
	assert_true(timer->write(vcpu, timer->ctx, A64_SYSREG_KEY(3u, 3, 14, 2, 1), 0));
	assert_int_equal(f->vm->irq_ops->pending(vcpu), -1);
	/* The power key: SPI 7. */
	bus_write(mmio, VIRT_GICD + 0x84, 4, 0xffffffff);
	bus_write(mmio, VIRT_GICD + 0x104, 4, 1u << 7);
	bus_write(mmio, VIRT_GPIO + 0x40c, 4, 8);
	bus_write(mmio, VIRT_GPIO + 0x410, 4, 8);
	board_virt.power_button(f->vm);
	assert_int_equal(f->vm->irq_ops->pending(vcpu), 32 + 7);
}

static void check_loaded(struct fixture *f, const union arch_state *boot)
{
	assert_int_equal(boot->x86.rip, VIRT_RAM);
	assert_int_equal(boot->x86.gpr[X86_RAX], VIRT_RAM + MIB(6));
	assert_memory_equal(f->ram, f->kernel_bytes, KERNEL_SIZE);
	assert_memory_equal(f->ram + MIB(4), f->initrd_bytes, sizeof(f->initrd_bytes));
	assert_memory_equal(f->ram + MIB(6), "\xd0\x0d\xfe\xed", 4);
}

static void test_load_and_reset(void **state)
{
	struct fixture *f = *state;
	union arch_state boot;

	create(f);
	assert_int_equal(board_virt.load(f->vm, &f->inputs, &boot, f->why, sizeof(f->why)), 0);
	check_loaded(f, &boot);
	board_virt.reset(f->vm);
	for (unsigned i = 0; i < 18; i++) {
		const struct vcpu *vcpu = f->vm->vcpus[i];

		assert_true(atomic_load(&vcpu->power_on));
		assert_int_equal(vcpu->power_on_state->x86.gpr[X86_RBX], i);
		assert_int_equal(vcpu->power_on_state->x86.gpr[X86_RCX], i > 0);
	}
	assert_int_equal(f->vm->vcpus[0]->power_on_state->x86.rip, VIRT_RAM);
	/* A guest that wrote over everything gets the same machine again. */
	memset(f->ram, 0xa5, MEMORY);
	devices_reset(f->vm);
	assert_int_equal(board_virt.load(f->vm, &f->inputs, &boot, f->why, sizeof(f->why)), 0);
	check_loaded(f, &boot);
}

static void test_power_off(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.kind = VM_EXIT_HYPERCALL, .hypercall = {.number = 0x84000008}};

	create(f);
	assert_int_equal(vcpu_dispatch_exit(f->vm->vcpus[0], &exit), 0);
	assert_int_equal(atomic_load(&f->vm->stop_reason), VM_STOP_POWEROFF);
}

/* The largest machine's tree fits. */
static void test_largest(void **state)
{
	struct fixture *f = *state;
	static char text[2048];
	union arch_state boot;

	memset(text, 'x', 2047);
	f->config.append = text;
	f->config.cpus = 64;
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		f->inputs.disks[i] = &f->disks[i];
	create(f);
	assert_int_equal(board_virt.load(f->vm, &f->inputs, &boot, f->why, sizeof(f->why)), 0);
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
		int r = board_virt.create(vm, &f->inputs, f->why, sizeof(f->why));
		fake_alloc_limit(UINT32_MAX);
		if (vm->board_data)
			board_virt.destroy(vm);
		vm_destroy(vm);
		assert_int_equal(fake_alloc_live(), 0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(f->why[0]);
		assert_true(limit < 200);
	}
}

static int write_tree(void)
{
	const uint8_t *at;
	union arch_state boot;
	struct fixture *f;
	void *state;
	size_t len;

	setup(&state);
	f = state;
	create(f);
	if (board_virt.load(f->vm, &f->inputs, &boot, f->why, sizeof(f->why)))
		return 1;
	at = f->ram + boot.x86.gpr[X86_RAX] - VIRT_RAM;
	len = (size_t)at[4] << 24 | at[5] << 16 | at[6] << 8 | at[7];
	len = fwrite(at, 1, len, stdout) == len;
	teardown(&state);
	return !len;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_map, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pci, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_and_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_largest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};

	return argc > 1 ? write_tree() : cmocka_run_group_tests(tests, NULL, NULL);
}
