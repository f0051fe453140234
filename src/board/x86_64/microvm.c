/* The microvm board: virtio-mmio described by ACPI, a serial port, the timers and interrupt controllers that
 * kernels look for, and nothing else.
 *
 *     0x0000000000000000  RAM                      the loader's area is in loader/loader.h
 *     0x000000000009fc00  reserved: EBDA
 *     0x00000000000e0000  reserved: ACPI tables (the RSDP first)
 *     0x00000000000ffff0  reserved: the reset vector, which resets the machine
 *     0x0000000000100000  RAM, to at most 3 GiB
 *     0x00000000c0000000  nothing
 *     0x00000000feb00000  virtio-mmio devices, a page each: disks, nets, console, rng
 *     0x00000000fec00000  I/O APIC
 *     0x00000000fee00000  local APICs
 *     0x00000000ff000000  test device's memory (--test-devices)
 *     0x0000000100000000  the rest of RAM; behind it, each at a whole GiB, files (--pmem) and memory to be plugged
 *
 *     I/O ports                                  GSI
 *     0x020 0x0a0 0x4d0  PIC                     0      PIT
 *     0x040 0x061        PIT                     4      serial port
 *     0x060 0x064 0x092  i8042                   8      RTC
 *     0x070              RTC                     9      ACPI events
 *     0x0e0 0x0f4 0x2000 test devices            16-23  virtio, first eight
 *     0x3f8              serial port             5-7, 10-12  virtio, the next six; then shared
 *     0x505              pvpanic
 *     0x510              fw_cfg (--test-devices)
 *     0x600              ACPI power management
 */
#include "board/x86_64/microvm.h"

#include "arch/state.h"
#include "arch/x86_64/cpuid.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "board/x86_64/parts.h"
#include "core/platform.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/acpi_pm.h"
#include "dev/misc/debugexit.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/i8042.h"
#include "dev/misc/pvpanic.h"
#include "dev/misc/testdev.h"
#include "dev/serial/uart16550.h"
#include "dev/timer/pit.h"
#include "dev/timer/rtc.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/virtio.h"
#include "loader/loader.h"
#include "pv/kvm_clock.h"

#define MIN_MEMORY      MIB(2)
#define MAX_MEMORY      GIB(512)
#define DEBUG_EXIT_PORT 0xf4

/* BIOS data area */
#define BDA_EBDA_SEGMENT 0x40e
#define BDA_BASE_MEMORY  0x413

struct microvm {
	struct acpi_pm *pm;
	unsigned virtio_count;
	union arch_state boot;
	struct x86_cpuid_table cpuid;
};

/* RAM that the guest is told of. */
static unsigned ram_map(const struct vm_config *config, struct board_ram *ram, unsigned max)
{
	const uint64_t low = config->memory < MICROVM_LOW_RAM_END ? config->memory : MICROVM_LOW_RAM_END;
	unsigned count = 0;

	if (count < max)
		ram[count++] = (struct board_ram){.gpa = 0, .size = low};
	if (config->memory > low && count < max)
		ram[count++] = (struct board_ram){.gpa = MICROVM_HIGH_RAM, .size = config->memory - low};
	return count;
}

static void place_regions(const struct vm_config *config, const struct board_inputs *inputs, struct parts_regions *regions)
{
	gpa_t end = MICROVM_HIGH_RAM;

	if (config->memory > MICROVM_LOW_RAM_END)
		end += config->memory - MICROVM_LOW_RAM_END;
	parts_place_regions(config, inputs, end, regions);
}

static unsigned microvm_memory_map(const struct vm_config *config, const struct board_inputs *inputs, struct board_ram *ram, unsigned max)
{
	struct parts_regions regions;

	place_regions(config, inputs, &regions);
	return parts_add_regions(&regions, ram, ram_map(config, ram, max), max);
}

static void plan_input(const struct vm_config *config, const struct board_inputs *inputs,
		       struct loader_input *input)
{
	struct board_ram ram[2];
	unsigned count = ram_map(config, ram, ARRAY_SIZE(ram));
	struct loader_range *range = input->map;

	*input = (struct loader_input){
		.kernel = inputs->kernel,
		.initrd = inputs->initrd,
		.cmdline = config->append ? config->append : "",
		.rsdp = MICROVM_ACPI,
	};
	*range++ = (struct loader_range){0, MICROVM_EBDA, LOADER_RAM};
	*range++ = (struct loader_range){MICROVM_EBDA, MIB(1) - MICROVM_EBDA, LOADER_RESERVED};
	*range++ = (struct loader_range){MIB(1), ram[0].size - MIB(1), LOADER_RAM};
	for (unsigned i = 1; i < count; i++)
		*range++ = (struct loader_range){ram[i].gpa, ram[i].size, LOADER_RAM};
	input->map_count = (unsigned)(range - input->map);
}

static int microvm_check(const struct vm_config *config, const struct board_inputs *inputs, char *why,
			 size_t why_size)
{
	struct parts_regions regions;
	struct loader_input input;
	struct loader_plan plan;
	int r;

	if (config->memory < MIN_MEMORY || config->memory > MAX_MEMORY || config->memory % PAGE_SIZE) {
		fmt_print(why, why_size, "the microvm board takes 2 MiB to 512 GiB of memory in whole pages; change --memory");
		return -EINVAL;
	}
	for (unsigned i = 0; i < config->disk_count; i++) {
		if (config->disks[i].interface == DISK_AHCI || config->disks[i].interface == DISK_CDROM) {
			fmt_print(why, why_size, "the microvm board has no SATA controller for disk %s; choose --board pc", config->disks[i].path);
			return -EINVAL;
		}
	}
	if (!config->cpus || config->cpus > VM_MAX_VCPUS) {
		fmt_print(why, why_size, "the microvm board takes 1 to %u processors; change --cpus", VM_MAX_VCPUS);
		return -EINVAL;
	}
	if (!inputs->kernel || inputs->firmware) {
		fmt_print(why, why_size, "the microvm board starts a kernel without firmware; give --kernel, or --board pc with --firmware");
		return -EINVAL;
	}
	place_regions(config, inputs, &regions);
	r = parts_check_regions(&regions, why, why_size);
	if (r)
		return r;
	plan_input(config, inputs, &input);
	return loader_plan(&input, &plan, why, why_size);
}

/* ---- devices ---- */

static int add_virtio(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id)
{
	struct microvm *board = vm->board_data;
	unsigned index = board->virtio_count;
	int r = virtio_mmio_create(vm, dev, MICROVM_VIRTIO + (gpa_t)index * MICROVM_VIRTIO_STEP,
				   irqchip_line(ctx, microvm_virtio_gsi(index)), 0, id);

	if (r)
		virtio_destroy(dev);
	else
		board->virtio_count++;
	return r;
}

/* What public bare-metal test kernels expect of a machine. */
static int create_test_devices(struct vm *vm, struct irqchip *chip)
{
	struct fw_cfg *fw_cfg;
	int r;

	if (!vm->config->test_devices)
		return 0;
	r = debugexit_create(vm, DEBUG_EXIT_PORT);
	if (!r)
		r = testdev_create(vm, chip);
	if (!r)
		r = fw_cfg_create(vm, &fw_cfg);
	return r;
}

static int create_legacy(struct vm *vm, const struct board_inputs *inputs, struct irqchip *chip)
{
	struct microvm *board = vm->board_data;
	struct rtc *rtc;
	int r = 0;

	/* An engine with interrupt controllers brings the timer that is wired to them, too. */
	if (!vm->engine->irq_set)
		r = pit_create(vm, irqchip_line(chip, 0));
	if (!r)
		r = rtc_create(vm, irqchip_line(chip, 8), &rtc);
	if (r)
		return r;
	rtc_set_cmos(rtc, 0x5f, (uint8_t)(vm->vcpu_count - 1));
	r = i8042_create(vm, NULL, NULL);
	if (!r)
		r = uart_create(vm, MICROVM_SERIAL_PORT, irqchip_line(chip, MICROVM_SERIAL_IRQ), inputs->serial,
				"serial0");
	if (!r)
		r = pvpanic_create(vm, PVPANIC_PORT);
	if (!r)
		r = acpi_pm_create(vm, ACPI_PM_PORT, irqchip_line(chip, ACPI_PM_GSI), &board->pm);
	return r;
}

static int microvm_create(struct vm *vm, const struct board_inputs *inputs, char *why, size_t why_size)
{
	struct microvm *board = platform_alloc(sizeof(*board));
	struct parts_regions regions;
	struct irqchip *chip;
	int r;

	if (!board) {
		fmt_print(why, why_size, "no memory for the board; free some on the host");
		return -ENOMEM;
	}
	vm->board_data = board;
	place_regions(vm->config, inputs, &regions);
	r = parts_check_regions(&regions, why, why_size);
	if (!r)
		r = parts_create_processors(vm, &board->cpuid, why, why_size);
	if (r)
		return r;

	r = irqchip_create(vm, &chip);
	if (!r)
		r = kvm_clock_create(vm);
	if (!r)
		r = create_legacy(vm, inputs, chip);
	if (!r)
		r = parts_create_virtio(vm, inputs, add_virtio, chip);
	if (!r)
		r = parts_create_regions(vm, inputs, &regions, add_virtio, chip);
	if (!r)
		r = create_test_devices(vm, chip);
	if (r)
		fmt_print(why, why_size, "a device of the microvm board can't be made (error %d); free memory on the host or ask for fewer devices",
			  -r);
	return r;
}

/* ---- start ---- */

/* A PC's BIOS data area: where low memory ends. Old kernels and test kernels look. */
static int write_bda(struct vm *vm)
{
	const uint16_t ebda = MICROVM_EBDA >> 4, base_kib = MICROVM_EBDA >> 10, ebda_kib = 1;
	int r = mem_write(&vm->mem, BDA_EBDA_SEGMENT, &ebda, sizeof(ebda));

	if (!r)
		r = mem_write(&vm->mem, BDA_BASE_MEMORY, &base_kib, sizeof(base_kib));
	return r ? r : mem_write(&vm->mem, MICROVM_EBDA, &ebda_kib, sizeof(ebda_kib));
}

/* Linux on a machine without EFI whose ACPI is hardware-reduced restarts by a jump to real mode's F000:FFF0, where a
 * PC's firmware would be. */
static int write_reset_vector(struct vm *vm)
{
	const uint16_t port = ACPI_PM_PORT + ACPI_PM_RESET;
	const uint8_t code[] = {
		0xba, (uint8_t)port, (uint8_t)(port >> 8), /* mov $port, %dx */
		0xb0, ACPI_PM_RESET_VALUE,		   /* mov $value, %al */
		0xee,					   /* out %al, (%dx) */
		0xf4,					   /* hlt */
		0xeb, 0xfd,				   /* jmp to the hlt */
	};

	return mem_write(&vm->mem, MICROVM_RESET_VECTOR, code, sizeof(code));
}

static int write_tables(struct vm *vm)
{
	const struct microvm *board = vm->board_data;
	const struct microvm_tables tables = {.cpus = vm->vcpu_count, .virtio_count = board->virtio_count};
	const size_t size = MICROVM_ACPI_END - MICROVM_ACPI;
	uint8_t *buf = platform_alloc(size);
	size_t len = 0;
	int r;

	if (!buf)
		return -ENOMEM;
	r = microvm_build_acpi(&tables, buf, size, &len);
	if (!r)
		r = mem_write(&vm->mem, MICROVM_ACPI, buf, len);
	platform_free(buf);
	return r;
}

static int microvm_load(struct vm *vm, const struct board_inputs *inputs, union arch_state *boot, char *why,
			size_t why_size)
{
	struct microvm *board = vm->board_data;
	struct loader_input input;
	struct loader_plan plan;
	int r;

	plan_input(vm->config, inputs, &input);
	r = loader_plan(&input, &plan, why, why_size);
	if (r)
		return r;
	r = write_bda(vm);
	if (!r)
		r = write_tables(vm);
	if (!r)
		r = write_reset_vector(vm);
	if (r) {
		fmt_print(why, why_size, "firmware tables can't be written into guest memory (error %d); try fewer devices",
			  -r);
		return r;
	}
	r = loader_load(&input, &plan, &vm->mem, &boot->x86, why, why_size);
	board->boot = *boot;
	return r;
}

static void microvm_reset(struct vm *vm)
{
	const struct microvm *board = vm->board_data;

	parts_power_on(vm, &board->boot);
}

static void microvm_destroy(struct vm *vm)
{
	/* The devices belong to vm->devices. */
	vm->cpuid = NULL;
	platform_free(vm->board_data);
	vm->board_data = NULL;
}

static void microvm_power_button(struct vm *vm)
{
	struct microvm *board = vm->board_data;

	acpi_pm_power_button(board->pm);
}

const struct board_ops board_microvm = {
	.name = "microvm",
	.check = microvm_check,
	.memory_map = microvm_memory_map,
	.create = microvm_create,
	.load = microvm_load,
	.reset = microvm_reset,
	.destroy = microvm_destroy,
	.power_button = microvm_power_button,
};
