/* The virt board: what kernels that are told of their machine by a device tree need, at the addresses that QEMU's board of this name has.
 *
 *     0x08000000  GICv3 distributor                 PPI (INTID)
 *     0x08080000  GICv3 ITS                         27  virtual timer
 *     0x080a0000  GICv3 redistributors              30  physical timer
 *     0x09000000  PL011 serial port
 *     0x09010000  PL031 real-time clock
 *     0x09020000  fw_cfg                            SPI (INTID - 32)
 *     0x09030000  PL061 GPIO, the power key         1   serial port
 *     0x0a000000  virtio-mmio devices, 0x200 each   2   real-time clock
 *     0x10000000  PCI's memory                      7   GPIO
 *     0x3f000000  PCI's configuration space         16  virtio, an edge each
 *     0x40000000  RAM; behind it, each at a whole   48  PCI's INTx
 *                 GiB, files (--pmem) and memory
 *                 to be plugged
 *
 *     PCI 0:0.0   host bridge (dev/pci/ecam.h); messages go to the ITS
 *         0:1.0   SATA controller, if there are disks with if=ahci, or CD drives
 *
 * Processors are started, and the machine is switched off, by PSCI.
 */
#include "board/aarch64/virt.h"

#include "arch/state.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "board/aarch64/start.h"
#include "board/x86_64/parts.h"
#include "core/platform.h"
#include "dev/ata/ahci.h"
#include "dev/irq/gicv3.h"
#include "dev/irq/gicv3_its.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/pflash.h"
#include "dev/misc/pl061.h"
#include "dev/pci/ecam.h"
#include "dev/serial/pl011.h"
#include "dev/timer/arm_timer.h"
#include "dev/timer/pl031.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/virtio.h"
#include "pv/psci.h"

#define MIN_MEMORY  MIB(8)
#define MAX_MEMORY  GIB(255)
#define MAX_CMDLINE 2047u /* arm64's COMMAND_LINE_SIZE, less one */
#define FDT_SIZE    KIB(64)

struct virt {
	struct gicv3 *gic;
	struct gicv3_its *its;
	struct pl061 *gpio;
	unsigned virtio_count;
	union arch_state boot;
};

static void place_regions(const struct vm_config *config, const struct board_inputs *inputs, struct parts_regions *regions)
{
	parts_place_regions(config, inputs, VIRT_RAM + config->memory, regions);
}

static uint64_t rom_size(const struct board_inputs *inputs)
{
	return (inputs->firmware->size + PAGE_SIZE - 1) & PAGE_MASK;
}

static unsigned virt_memory_map(const struct vm_config *config, const struct board_inputs *inputs, struct board_ram *ram, unsigned max)
{
	struct parts_regions regions;
	unsigned count = 0;

	if (count < max)
		ram[count++] = (struct board_ram){.gpa = VIRT_RAM, .size = config->memory};
	if (inputs->firmware && count < max)
		ram[count++] = (struct board_ram){.gpa = VIRT_FLASH, .size = rom_size(inputs), .read_only = true};
	place_regions(config, inputs, &regions);
	return parts_add_regions(&regions, ram, count, max);
}

static const char *cmdline_of(const struct vm_config *config)
{
	return config->append ? config->append : "";
}

static size_t length_of(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

static int make_plan(const struct vm_config *config, const struct board_inputs *inputs, struct arm64_plan *plan, char *why, size_t why_size)
{
	const struct arm64_input input = {
		.kernel = inputs->kernel, .initrd = inputs->initrd, .ram = VIRT_RAM, .ram_size = config->memory};

	return arm64_plan(&input, plan, why, why_size);
}

static bool is_sata(const struct disk_config *disk)
{
	return disk->interface == DISK_AHCI || disk->interface == DISK_CDROM;
}

static int check_options(const struct vm_config *config, const struct board_inputs *inputs, char *why, size_t why_size)
{
	unsigned drives = 0;

	if (config->memory < MIN_MEMORY || config->memory > MAX_MEMORY || config->memory % PAGE_SIZE) {
		fmt_print(why, why_size, "the virt board takes 8 MiB to 255 GiB of memory in whole pages; change --memory");
		return -EINVAL;
	}
	if (!config->cpus || config->cpus > VM_MAX_VCPUS) {
		fmt_print(why, why_size, "the virt board takes 1 to %u processors; change --cpus", VM_MAX_VCPUS);
		return -EINVAL;
	}
	if (!inputs->kernel == !inputs->firmware) {
		fmt_print(why, why_size, "the virt board starts a kernel or firmware; give either --kernel or --firmware aavmf");
		return -EINVAL;
	}
	if (inputs->firmware && inputs->firmware->size > VIRT_FLASH_BANK) {
		fmt_print(why, why_size, "firmware '%s' is larger than the 64 MiB of its flash; give another file with --firmware",
			  inputs->firmware->name);
		return -EINVAL;
	}
	if (inputs->firmware_vars && (inputs->firmware_vars->size % PFLASH_PAIR_BLOCK || inputs->firmware_vars->size > VIRT_FLASH_BANK)) {
		fmt_print(why, why_size, "the variables '%s' are not of 256 KiB to 64 MiB in steps of 256 KiB; give the file that came with the firmware",
			  inputs->firmware_vars->name);
		return -EINVAL;
	}
	if (config->test_devices || config->cpu) {
		fmt_print(why, why_size, "the virt board has no test devices and one kind of processor; leave --test-devices and --cpu away");
		return -EINVAL;
	}
	for (unsigned i = 0; i < config->disk_count; i++) {
		if (is_sata(&config->disks[i]) && ++drives > AHCI_PORTS) {
			fmt_print(why, why_size, "disk %s is one too many for the SATA controller, which has %u ports; leave its if= away",
				  config->disks[i].path, AHCI_PORTS);
			return -EINVAL;
		}
	}
	if (length_of(cmdline_of(config)) > MAX_CMDLINE) {
		fmt_print(why, why_size, "the command line has %zu bytes, and AArch64 kernels take %u; shorten --append",
			  length_of(cmdline_of(config)), MAX_CMDLINE);
		return -E2BIG;
	}
	return 0;
}

static int virt_check(const struct vm_config *config, const struct board_inputs *inputs, char *why, size_t why_size)
{
	struct parts_regions regions;
	struct arm64_plan plan;
	int r = check_options(config, inputs, why, why_size);

	if (r)
		return r;
	place_regions(config, inputs, &regions);
	r = parts_check_regions(&regions, why, why_size);
	return r || inputs->firmware ? r : make_plan(config, inputs, &plan, why, why_size);
}

/* ---- devices ---- */

static int add_virtio(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id)
{
	struct virt *board = vm->board_data;
	const unsigned index = board->virtio_count;
	int r = -ENOSPC;

	if (index < VIRT_MAX_VIRTIO)
		r = virtio_mmio_create(vm, dev, VIRT_VIRTIO + index * VIRT_VIRTIO_STEP, gicv3_spi(board->gic, VIRT_VIRTIO_SPI + index), 0, id);
	if (r)
		virtio_destroy(dev);
	else
		board->virtio_count++;
	return r;
}

static int create_interrupts(struct vm *vm)
{
	struct virt *board = vm->board_data;
	const struct gicv3_config config = {.distributor = VIRT_GICD, .redistributors = VIRT_GICR, .lpis = true, .awake = true, .spis = VIRT_SPIS};
	struct arm_timer_lines lines[VM_MAX_VCPUS];
	struct arm_timer *timer;
	int r = gicv3_create(vm, &config, &board->gic);

	if (!r)
		r = gicv3_its_create(vm, board->gic, VIRT_ITS, &board->its);
	if (r)
		return r;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		lines[i].physical = gicv3_ppi(board->gic, i, VIRT_TIMER_PHYSICAL_PPI);
		lines[i].virtual = gicv3_ppi(board->gic, i, VIRT_TIMER_VIRTUAL_PPI);
	}
	return arm_timer_create(vm, lines, &timer);
}

static int create_primecells(struct vm *vm, const struct board_inputs *inputs)
{
	struct virt *board = vm->board_data;
	int r = pl011_create(vm, VIRT_UART, gicv3_spi(board->gic, VIRT_UART_SPI), inputs->serial, "serial0");

	if (!r)
		r = pl031_create(vm, VIRT_RTC, gicv3_spi(board->gic, VIRT_RTC_SPI));
	return r ? r : pl061_create(vm, VIRT_GPIO, gicv3_spi(board->gic, VIRT_GPIO_SPI), &board->gpio);
}

/* What a function writes there is an interrupt; elsewhere it would be memory, and none of ours does that. */
static void send_message(void *ctx, uint16_t requester, uint64_t address, uint32_t data)
{
	if (address == VIRT_ITS + GICV3_ITS_TRANSLATER)
		gicv3_its_message(ctx, requester, data);
}

static int create_pci(struct vm *vm, const struct board_inputs *inputs)
{
	struct virt *board = vm->board_data;
	struct pci_ecam_params params = {.base = VIRT_ECAM, .buses = VIRT_PCI_BUSES, .message = send_message, .message_ctx = board->its};
	struct ahci_drive drives[CONFIG_MAX_DISKS];
	struct pci_root *root;
	unsigned count = 0;
	int r;

	for (unsigned i = 0; i < PCI_PIRQS; i++)
		params.lines[i] = gicv3_spi(board->gic, VIRT_PCI_SPI + i);
	r = pci_ecam_create(vm, &params, &root);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		if (inputs->disks[i] && is_sata(&vm->config->disks[i]))
			drives[count++] = (struct ahci_drive){inputs->disks[i], vm->config->disks[i].interface == DISK_CDROM};
	return r || !count ? r : ahci_create_at(root, PCI_DEVFN(1, 0), drives, count);
}

static int create_devices(struct vm *vm, const struct board_inputs *inputs, const struct parts_regions *regions)
{
	static const struct psci_hooks hooks = {.start = a64_start_state, .stop = a64_stop_state};
	struct fw_cfg *fw_cfg;
	int r = psci_create(vm, &hooks);

	if (!r)
		r = create_interrupts(vm);
	if (!r)
		r = create_primecells(vm, inputs);
	if (!r)
		r = fw_cfg_create_mmio(vm, VIRT_FW_CFG, &fw_cfg);
	if (!r && inputs->firmware_vars)
		r = pflash_create(vm, &(struct pflash_params){.base = VIRT_FLASH + VIRT_FLASH_BANK,
							      .content = inputs->firmware_vars,
							      .pair = true,
							      .store = inputs->firmware_vars_store});
	if (!r)
		r = create_pci(vm, inputs);
	if (!r)
		r = parts_create_virtio(vm, inputs, add_virtio, NULL);
	return r ? r : parts_create_regions(vm, inputs, regions, add_virtio, NULL);
}

static int virt_create(struct vm *vm, const struct board_inputs *inputs, char *why, size_t why_size)
{
	struct virt *board = platform_alloc(sizeof(*board));
	struct parts_regions regions;
	int r;

	if (!board) {
		fmt_print(why, why_size, "no memory for the board; free some on the host");
		return -ENOMEM;
	}
	vm->board_data = board;
	vm->arch_ops = a64_board_arch_ops;
	place_regions(vm->config, inputs, &regions);
	r = create_devices(vm, inputs, &regions);
	if (r == -ENOSPC)
		fmt_print(why, why_size, "the virt board has room for %u virtio devices; ask for fewer", VIRT_MAX_VIRTIO);
	else if (r)
		fmt_print(why, why_size, "a device of the virt board can't be made (error %d); free memory on the host or ask for fewer devices", -r);
	return r;
}

/* ---- start ---- */

static int write_tree(struct vm *vm, const struct arm64_plan *plan, bool flash)
{
	const struct virt *board = vm->board_data;
	struct virt_tree tree = {
		.cpus = vm->vcpu_count,
		.virtio_count = board->virtio_count,
		.memory = vm->config->memory,
		.cmdline = cmdline_of(vm->config),
		.plan = plan,
		.flash = flash,
	};
	uint8_t *buf = platform_alloc(FDT_SIZE);
	size_t len = 0;
	int r;

	if (!buf)
		return -ENOMEM;
	r = platform_random(tree.seed, sizeof(tree.seed));
	if (!r)
		r = virt_build_fdt(&tree, buf, FDT_SIZE, &len);
	if (!r)
		r = mem_write(&vm->mem, plan->fdt, buf, len);
	platform_free(buf);
	return r;
}

/* Firmware begins at its flash's beginning, and looks for the device tree where memory begins. */
static int load_firmware(struct vm *vm, const struct image *firmware, struct arm64_plan *plan, char *why, size_t why_size)
{
	uint8_t *hva = mem_hva(&vm->mem, VIRT_FLASH, firmware->size);
	int r = hva ? image_read(firmware, 0, hva, firmware->size) : -EFAULT;

	if (r)
		fmt_print(why, why_size, "firmware '%s' can't be read (error %d); check the file", firmware->name, -r);
	*plan = (struct arm64_plan){.entry = VIRT_FLASH, .fdt = VIRT_RAM};
	return r;
}

static int load_kernel(struct vm *vm, const struct board_inputs *inputs, struct arm64_plan *plan, char *why, size_t why_size)
{
	const struct arm64_input input = {
		.kernel = inputs->kernel, .initrd = inputs->initrd, .ram = VIRT_RAM, .ram_size = vm->config->memory};
	int r = arm64_plan(&input, plan, why, why_size);

	return r ? r : arm64_load(&input, plan, &vm->mem, why, why_size);
}

static int virt_load(struct vm *vm, const struct board_inputs *inputs, union arch_state *boot, char *why, size_t why_size)
{
	struct virt *board = vm->board_data;
	struct arm64_plan plan;
	int r = inputs->firmware ? load_firmware(vm, inputs->firmware, &plan, why, why_size) : load_kernel(vm, inputs, &plan, why, why_size);

	if (r)
		return r;
	r = write_tree(vm, &plan, inputs->firmware);
	if (r) {
		fmt_print(why, why_size, "the device tree can't be written into guest memory (error %d); try fewer devices", -r);
		return r;
	}
	a64_start_state(boot, 0, plan.entry, plan.fdt);
	board->boot = *boot;
	return 0;
}

static void virt_reset(struct vm *vm)
{
	const struct virt *board = vm->board_data;

	vcpu_power_on(vm->vcpus[0], &board->boot);
	for (unsigned i = 1; i < vm->vcpu_count; i++) {
		union arch_state state;

		a64_start_state(&state, i, 0, 0);
		a64_stop_state(&state);
		vcpu_power_on(vm->vcpus[i], &state);
	}
}

static void virt_destroy(struct vm *vm)
{
	/* The devices belong to vm->devices. */
	platform_free(vm->board_data);
	vm->board_data = NULL;
}

static void virt_power_button(struct vm *vm)
{
	struct virt *board = vm->board_data;

	pl061_press_power_key(board->gpio);
}

const struct board_ops board_virt = {
	.name = "virt",
	.arch = GUEST_AARCH64,
	.check = virt_check,
	.memory_map = virt_memory_map,
	.create = virt_create,
	.load = virt_load,
	.reset = virt_reset,
	.destroy = virt_destroy,
	.power_button = virt_power_button,
};
