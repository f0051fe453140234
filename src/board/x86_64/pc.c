/* The pc board: PCI Express with virtio, a PC's timers and controllers, firmware or a kernel.
 *
 *     0x0000000000000000  RAM
 *     0x00000000000a0000  VGA's window
 *     0x00000000000c0000  RAM: option ROMs; from 0xe0000 on it starts as the end of the firmware
 *     0x0000000000100000  RAM, to at most 2 GiB
 *     0x00000000b0000000  PCI Express configuration space, where firmware wants it
 *     0x00000000c0000000  PCI devices
 *     0x00000000fec00000  I/O APIC
 *     0x00000000fed00000  HPET
 *     0x00000000fed1c000  root complex registers, where firmware wants them
 *     0x00000000fee00000  local APICs
 *     below 4 GiB         the firmware, read-only; its last 16 bytes are the reset vector; below it UEFI's variables in flash
 *     0x0000000100000000  the rest of RAM
 *     behind it, from a multiple of 32 GiB on: PCI devices with 64-bit addresses
 *
 *     PCI 0:0.0   host bridge (dev/pci/host.h)
 *         0:1.0   graphics card (dev/display/vga.h)
 *         0:2.0.. virtio devices: disks, networks, console, random numbers
 *         0:1c.0.. root ports, behind each of which something can be plugged in (dev/pci/port.h)
 *         0:1f.0  LPC bridge (dev/pci/lpc.h)
 *         0:1f.2  Serial ATA (dev/ata/ahci.h)
 *
 *     I/O ports                                   ISA interrupt or GSI
 *     0x020 0x0a0 0x4d0  PIC                      0, 1   PIT, keyboard
 *     0x040 0x061        PIT                      3, 4   serial ports
 *     0x060 0x064 0x092  i8042                    8      RTC
 *     0x070              RTC                      9      ACPI events
 *     0x0b2              power management         16-23  PCI
 *     0x1ce 0x3b0-0x3df  graphics
 *     0x2f8 0x3f8        serial ports
 *     0x402              debug port (--firmware-log)
 *     0x505              pvpanic
 *     0x510              fw_cfg
 *     0x600              power management, where firmware wants it
 *     0xcf8              PCI
 */
#include "board/x86_64/pc.h"

#include "arch/state.h"
#include "arch/x86_64/cpuid.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "board/x86_64/parts.h"
#include "board/x86_64/pc_ports.h"
#include "board/x86_64/pc_tables.h"
#include "board/x86_64/smbios.h"
#include "core/platform.h"
#include "dev/ata/ahci.h"
#include "dev/display/vga.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/debugcon.h"
#include "dev/misc/debugexit.h"
#include "dev/misc/i8042.h"
#include "dev/misc/pflash.h"
#include "dev/misc/pvpanic.h"
#include "dev/misc/testdev.h"
#include "dev/pci/assign.h"
#include "dev/pci/host.h"
#include "dev/pci/ich9_pm.h"
#include "dev/pci/lpc.h"
#include "dev/serial/uart16550.h"
#include "dev/timer/hpet.h"
#include "dev/timer/pit.h"
#include "dev/timer/rtc.h"
#include "dev/pci/rom.h"
#include "dev/virtio/pci.h"
#include "loader/loader.h"
#include "pv/kvm_clock.h"

#define MIN_MEMORY      MIB(8)
#define MAX_MEMORY      GIB(512)
#define DEBUG_EXIT_PORT 0xf4

struct pc {
	struct irqchip *chip;
	struct pci_host *host;
	struct ich9_pm *pm;
	struct hpet *hpet;
	struct irq_line rtc_irq; /* the RTC's, behind rtc_line() */
	struct pc_tables tables;
	struct pc_firmware *firmware;
	unsigned virtio_count;
	struct pc_ports ports;
	union arch_state boot;
	struct x86_cpuid_table cpuid;
};

/* ---- memory ---- */

static uint64_t rom_size(const struct board_inputs *inputs)
{
	return inputs->firmware ? (inputs->firmware->size + PAGE_SIZE - 1) & PAGE_MASK : 0;
}

static void place_regions(const struct vm_config *config, const struct board_inputs *inputs, struct parts_regions *regions)
{
	parts_place_regions(config, inputs, PC_HIGH_RAM + config->memory - pc_low_ram(config), regions);
}

static unsigned pc_memory_map(const struct vm_config *config, const struct board_inputs *inputs, struct board_ram *ram,
			      unsigned max)
{
	const uint64_t low = pc_low_ram(config), rom = rom_size(inputs);
	const struct board_ram ranges[] = {
		{.gpa = 0, .size = PC_VGA},
		{.gpa = PC_SHADOW, .size = MIB(1) - PC_SHADOW},
		{.gpa = MIB(1), .size = low - MIB(1)},
		{.gpa = GIB(4) - rom, .size = rom, .read_only = true},
		{.gpa = PC_HIGH_RAM, .size = config->memory - low},
	};
	struct parts_regions regions;
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		if (ranges[i].size && count < max)
			ram[count++] = ranges[i];
	place_regions(config, inputs, &regions);
	return parts_add_regions(&regions, ram, count, max);
}

static void plan_input(const struct vm_config *config, const struct board_inputs *inputs, struct loader_input *input)
{
	const uint64_t low = pc_low_ram(config);
	struct loader_range *range = input->map;

	*input = (struct loader_input){
		.kernel = inputs->kernel,
		.initrd = inputs->initrd,
		.cmdline = config->append ? config->append : "",
		.rsdp = PC_ACPI,
	};
	*range++ = (struct loader_range){0, PC_VGA, LOADER_RAM};
	*range++ = (struct loader_range){PC_SHADOW, MIB(1) - PC_SHADOW, LOADER_RESERVED};
	*range++ = (struct loader_range){MIB(1), low - MIB(1), LOADER_RAM};
	*range++ = (struct loader_range){PC_ECAM, PC_ECAM_SIZE, LOADER_RESERVED};
	if (config->memory > low)
		*range++ = (struct loader_range){PC_HIGH_RAM, config->memory - low, LOADER_RAM};
	input->map_count = (unsigned)(range - input->map);
}

static bool is_ata(const struct disk_config *disk)
{
	return disk->interface == DISK_AHCI || disk->interface == DISK_CDROM;
}

static unsigned count_ata(const struct vm_config *config)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->disk_count; i++)
		count += is_ata(&config->disks[i]);
	return count;
}

static int pc_check(const struct vm_config *config, const struct board_inputs *inputs, char *why, size_t why_size)
{
	struct parts_regions regions;
	struct loader_input input;
	struct loader_plan plan;

	if (config->memory < MIN_MEMORY || config->memory > MAX_MEMORY || config->memory % PAGE_SIZE) {
		fmt_print(why, why_size, "the pc board takes 8 MiB to 512 GiB of memory in whole pages; change --memory");
		return -EINVAL;
	}
	if (!config->cpus || config->cpus > VM_MAX_VCPUS) {
		fmt_print(why, why_size, "the pc board takes 1 to %u processors; change --cpus", VM_MAX_VCPUS);
		return -EINVAL;
	}
	if (inputs->firmware && (inputs->firmware->size < KIB(64) || inputs->firmware->size > PC_FIRMWARE_MAX)) {
		fmt_print(why, why_size, "firmware '%s' is not of 64 KiB to 16 MiB; give another file with --firmware",
			  inputs->firmware->name);
		return -EINVAL;
	}
	if (inputs->firmware_vars && (inputs->firmware_vars->size % PFLASH_BLOCK || inputs->firmware_vars->size > PFLASH_MAX_SIZE)) {
		fmt_print(why, why_size, "'%s' is no file of UEFI variables: those have a multiple of 4096 bytes, up to 16 MiB",
			  inputs->firmware_vars->name);
		return -EINVAL;
	}
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++) {
		if (!inputs->net_roms[i] || !pci_rom_check(inputs->net_roms[i]))
			continue;
		fmt_print(why, why_size, "'%s' is no expansion ROM: those begin with 55 aa and have up to 1 MiB; give a card another with rom=",
			  inputs->net_roms[i]->name);
		return -EINVAL;
	}
	if (inputs->firmware && inputs->kernel) {
		fmt_print(why, why_size, "the pc board starts a kernel without firmware; give either --kernel or --firmware");
		return -EINVAL;
	}
	if (count_ata(config) > AHCI_PORTS) {
		fmt_print(why, why_size, "the SATA controller has %u ports, for disks with if=ahci and CD drives together; give some another if=",
			  AHCI_PORTS);
		return -EINVAL;
	}
	place_regions(config, inputs, &regions);
	if (parts_check_regions(&regions, why, why_size))
		return -EINVAL;
	if (inputs->firmware)
		return 0;
	plan_input(config, inputs, &input);
	return loader_plan(&input, &plan, why, why_size);
}

/* ---- devices ---- */

static int add_virtio(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id)
{
	struct pc *pc = ctx;
	unsigned slot = PC_VIRTIO_SLOT + pc->virtio_count;
	int r = slot <= PC_VIRTIO_LAST_SLOT ? virtio_pci_create(pci_host_root(pc->host), NULL, PCI_DEVFN(slot, 0), dev, id, NULL)
					    : -ENOSPC;

	if (r)
		virtio_destroy(dev);
	else
		pc->virtio_count++;
	return r;
}

/* An alarm is an interrupt, and an event of power management. */
static void rtc_line(void *ctx, unsigned pin, int level)
{
	struct pc *pc = ctx;

	irq_set(&pc->rtc_irq, level);
	if (pc->pm)
		ich9_pm_rtc(pc->pm, level);
}

static int create_timers(struct vm *vm, struct pc *pc)
{
	/* An engine with interrupt controllers brings the timer that is wired to them, too; the HPET can't replace that. */
	const bool own_pit = !vm->engine->irq_set;
	struct rtc *rtc;
	int r = hpet_create(vm, HPET_BASE, pc->chip, own_pit, &pc->hpet);

	pc->tables.hpet_id = own_pit ? HPET_ID : HPET_ID_NO_LEGACY;
	if (!r && own_pit)
		r = pit_create(vm, hpet_legacy_line(pc->hpet, HPET_PIT));
	if (!r) {
		pc->rtc_irq = own_pit ? hpet_legacy_line(pc->hpet, HPET_RTC) : irqchip_line(pc->chip, 8);
		r = rtc_create(vm, (struct irq_line){.set = rtc_line, .ctx = pc}, &rtc);
	}
	if (!r)
		rtc_set_cmos(rtc, 0x5f, (uint8_t)(vm->vcpu_count - 1));
	return r;
}

static int create_pci(struct vm *vm, struct pc *pc)
{
	int r = pci_host_create(vm, pc->chip, &pc->host);

	if (!r)
		r = ich9_pm_create(vm, irqchip_line(pc->chip, PC_SCI_GSI), &pc->pm);
	if (!r)
		r = pc_ports_create(pci_host_root(pc->host), &pc->ports);
	return r ? r : lpc_create(pci_host_root(pc->host), pc->chip, pc->pm);
}

/* The controller is there without drives, too, as in any such PC. */
static int create_ahci(struct vm *vm, const struct board_inputs *inputs, struct pc *pc)
{
	struct ahci_drive drives[CONFIG_MAX_DISKS];
	unsigned count = 0;

	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		if (inputs->disks[i] && is_ata(&vm->config->disks[i]))
			drives[count++] = (struct ahci_drive){inputs->disks[i], vm->config->disks[i].interface == DISK_CDROM};
	return ahci_create(pci_host_root(pc->host), drives, count);
}

static int create_isa(struct vm *vm, const struct board_inputs *inputs, struct pc *pc)
{
	const struct irq_line keys = irqchip_line(pc->chip, PC_KEYBOARD_IRQ);
	struct i8042 *i8042;
	int r = i8042_create(vm, &keys, &i8042);

	if (!r && !vm->keyboard) /* --input on: the other one is used */
		vm->keyboard = i8042_sink(i8042);

	if (!r)
		r = uart_create(vm, PC_SERIAL0_PORT, irqchip_line(pc->chip, PC_SERIAL0_IRQ), inputs->serial, "serial0");
	if (!r)
		r = uart_create(vm, PC_SERIAL1_PORT, irqchip_line(pc->chip, PC_SERIAL1_IRQ), NULL, "serial1");
	if (!r)
		r = pvpanic_create(vm, PVPANIC_PORT);
	if (!r && inputs->firmware_log)
		r = debugcon_create(vm, DEBUGCON_PORT, inputs->firmware_log);
	if (!r && vm->config->test_devices)
		r = debugexit_create(vm, DEBUG_EXIT_PORT);
	if (!r && vm->config->test_devices)
		r = testdev_create(vm, pc->chip);
	return r;
}

static int create_flash(struct vm *vm, const struct board_inputs *inputs)
{
	if (!inputs->firmware_vars)
		return 0;
	return pflash_create(vm, &(struct pflash_params){.base = GIB(4) - rom_size(inputs) - inputs->firmware_vars->size,
							 .content = inputs->firmware_vars,
							 .store = inputs->firmware_vars_store});
}

/* PCI's memory above 4 GiB: behind RAM and the regions there, as much as there is no need to ask for more of. */
static struct pc_tables tables_of(const struct vm *vm, const struct parts_regions *regions)
{
	const gpa_t first = (regions->end + GIB(32) - 1) & ~(GIB(32) - 1);

	return (struct pc_tables){.cpus = vm->vcpu_count,
				  .ecam = PC_ECAM,
				  .high_first = first,
				  .high_last = first + GIB(32) - 1,
				  .regions_end = regions->end};
}

static int pc_create(struct vm *vm, const struct board_inputs *inputs, char *why, size_t why_size)
{
	struct pc *pc = platform_alloc(sizeof(*pc));
	struct parts_regions regions;
	int r;

	if (!pc) {
		fmt_print(why, why_size, "no memory for the board; free some on the host");
		return -ENOMEM;
	}
	vm->board_data = pc;
	vm->shutdown_resets = true;
	place_regions(vm->config, inputs, &regions);
	pc->tables = tables_of(vm, &regions);
	r = parts_check_regions(&regions, why, why_size);
	if (!r)
		r = parts_create_processors(vm, &pc->cpuid, why, why_size);
	if (r)
		return r;
	r = irqchip_create(vm, &pc->chip);
	if (!r)
		r = kvm_clock_create(vm);
	if (!r)
		r = create_timers(vm, pc);
	if (!r)
		r = create_pci(vm, pc);
	if (!r)
		r = vga_create(pci_host_root(pc->host), PCI_DEVFN(PC_VGA_SLOT, 0), inputs->vga_rom, NULL, &vm->screen);
	if (!r)
		r = create_ahci(vm, inputs, pc);
	if (!r)
		r = create_isa(vm, inputs, pc);
	if (!r)
		r = create_flash(vm, inputs);
	if (!r)
		r = parts_create_virtio(vm, inputs, add_virtio, pc);
	if (!r)
		r = parts_create_regions(vm, inputs, &regions, add_virtio, pc);
	if (!r)
		r = pc_create_firmware(vm, pc->host, &pc->tables, &pc->firmware);
	if (r)
		fmt_print(why, why_size, "a device of the pc board can't be made (error %d); free memory on the host or ask for fewer devices",
			  -r);
	return r;
}

/* ---- start ---- */

/* The image ends at 4 GiB; its end is at the end of the first megabyte, too, where it is RAM that firmware may write. */
static int load_firmware(struct vm *vm, const struct image *firmware)
{
	const uint64_t size = firmware->size, shadow = size < PC_BIOS_SIZE ? size : PC_BIOS_SIZE;
	const gpa_t rom = GIB(4) - ((size + PAGE_SIZE - 1) & PAGE_MASK);
	uint8_t *hva = mem_hva(&vm->mem, rom, GIB(4) - rom);
	int r;

	if (!hva)
		return -EFAULT;
	hva += GIB(4) - rom - size;
	r = image_read(firmware, 0, hva, size);
	if (r)
		return r;
	mem_mark_written(&vm->mem, rom, GIB(4) - rom);
	r = mem_fill(&vm->mem, PC_SHADOW, 0, MIB(1) - PC_SHADOW);
	return r ? r : mem_write(&vm->mem, MIB(1) - shadow, hva + size - shadow, shadow);
}

static int write_tables(struct vm *vm, const struct pc *pc)
{
	const size_t size = PC_SMBIOS - PC_ACPI;
	uint8_t *buf = platform_alloc(size);
	struct smbios smbios;
	size_t len;
	int r = buf ? pc_build_acpi(&pc->tables, buf, size, &len) : -ENOMEM;

	if (!r)
		r = mem_write(&vm->mem, PC_ACPI, buf, len);
	platform_free(buf);
	if (!r)
		r = smbios_build(&smbios, &(struct smbios_machine){.cpus = vm->vcpu_count,
								  .memory = vm->config->memory,
								  .low = pc_low_ram(vm->config),
								  .name = vm->config->name,
								  .no_firmware = true});
	if (r)
		return r;
	smbios_link(&smbios, PC_SMBIOS + 32);
	r = mem_write(&vm->mem, PC_SMBIOS, smbios.anchor, sizeof(smbios.anchor));
	return r ? r : mem_write(&vm->mem, PC_SMBIOS + 32, smbios.tables, smbios.len);
}

/* What firmware would have set up. */
static void set_up_chipset(const struct pc *pc)
{
	static const struct pci_windows windows = {
		.io = {PC_PCI_PORTS, 0xffff},
		.memory = {PC_PCI_HOLE, PC_PCI_HOLE_END - 1},
		.lines = {10, 10, 11, 11, 10, 10, 11, 11},
	};
	struct pci_root *root = pci_host_root(pc->host);

	pci_host_place_ecam(pc->host, PC_ECAM);
	lpc_set_up(root, PC_PM_BASE, windows.lines);
	pci_assign(root, &windows);
}

/* Memory types (SDM 3A 11.11): write back, but for VGA's window, where ROMs are read, and for what lies between RAM and 4 GiB. */
static void set_up_memory_types(const struct x86_cpuid_table *cpuid, struct x86_state *state)
{
	const uint64_t all_uc = 0, all_wp = 0x0505050505050505ull, all_wb = 0x0606060606060606ull;
	const uint64_t addresses = (1ull << cpuid->physical_bits) - PAGE_SIZE;
	const struct x86_cpuid_entry *leaf = x86_cpuid_lookup(cpuid, 1, 0);

	if (!leaf || !(leaf->edx & 1u << 12))
		return;
	state->mtrr_def_type = 0xc06; /* enabled, fixed ones too; by default write back */
	state->mtrr_fixed[0] = all_wb;
	state->mtrr_fixed[1] = all_wb;
	state->mtrr_fixed[2] = all_uc;
	for (unsigned i = 3; i < ARRAY_SIZE(state->mtrr_fixed); i++)
		state->mtrr_fixed[i] = all_wp;
	state->mtrr_base[0] = PC_LOW_RAM_END;
	state->mtrr_mask[0] = (addresses & ~(GIB(4) - PC_LOW_RAM_END - 1)) | 1u << 11; /* valid */
}

static int load_kernel(struct vm *vm, const struct board_inputs *inputs, struct x86_state *boot, char *why, size_t why_size)
{
	const struct pc *pc = vm->board_data;
	struct loader_input input;
	struct loader_plan plan;
	int r = write_tables(vm, pc);

	if (r) {
		fmt_print(why, why_size, "tables can't be written into guest memory (error %d); use fewer --cpus", -r);
		return r;
	}
	set_up_chipset(pc);
	plan_input(vm->config, inputs, &input);
	r = loader_plan(&input, &plan, why, why_size);
	if (!r)
		r = loader_load(&input, &plan, &vm->mem, boot, why, why_size);
	set_up_memory_types(vm->cpuid, boot);
	return r;
}

static int pc_load(struct vm *vm, const struct board_inputs *inputs, union arch_state *boot, char *why, size_t why_size)
{
	struct pc *pc = vm->board_data;
	int r;

	if (!inputs->firmware) {
		r = load_kernel(vm, inputs, &boot->x86, why, why_size);
	} else {
		r = load_firmware(vm, inputs->firmware);
		x86_state_reset(&boot->x86, true);
		if (r)
			fmt_print(why, why_size, "firmware '%s' can't be read (error %d); check the file", inputs->firmware->name, -r);
	}
	pc->boot = *boot;
	return r;
}

static void pc_reset(struct vm *vm)
{
	const struct pc *pc = vm->board_data;

	parts_power_on(vm, &pc->boot);
}

static void pc_destroy(struct vm *vm)
{
	struct pc *pc = vm->board_data;

	/* The devices belong to vm->devices. */
	vm->cpuid = NULL;
	platform_free(pc->firmware);
	platform_free(pc);
	vm->board_data = NULL;
}

static void pc_power_button(struct vm *vm)
{
	struct pc *pc = vm->board_data;

	ich9_pm_power_button(pc->pm);
}

static int pc_attach(struct vm *vm, struct board_plug *plug, char *why, size_t why_size)
{
	struct pc *pc = vm->board_data;

	return pc_ports_attach(&pc->ports, pci_host_root(pc->host), vm, plug, why, why_size);
}

static void pc_detach(struct vm *vm, struct board_plug *plug, bool now)
{
	struct pc *pc = vm->board_data;

	pc_ports_detach(&pc->ports, plug, now);
}

const struct board_ops board_pc = {
	.name = "pc",
	.check = pc_check,
	.memory_map = pc_memory_map,
	.create = pc_create,
	.load = pc_load,
	.reset = pc_reset,
	.destroy = pc_destroy,
	.power_button = pc_power_button,
	.attach = pc_attach,
	.detach = pc_detach,
};
