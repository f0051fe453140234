/* The virt board's device tree: bindings as Linux's Documentation/devicetree has them.
 *
 * Example: `r = virt_build_fdt(&tree, buf, size, &len);`
 */
#include "board/aarch64/virt.h"

#include "arch/aarch64/names.h"
#include "base/fmt.h"
#include "dev/irq/gicv3.h"
#include "dev/irq/gicv3_its.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/pl061.h"
#include "dev/pci/ecam.h"
#include "dev/serial/pl011.h"
#include "dev/timer/pl031.h"
#include "loader/fdt.h"

enum phandle { GIC = 1, CLOCK, GPIO, ITS };

enum { SPI, PPI };
enum { EDGE_RISING = 1, LEVEL_HIGH = 4 };

#define KEY_POWER 116 /* linux/input-event-codes.h */

/* Several texts in one property. */
#define STRINGS(fdt, name, strings) fdt_bytes(fdt, name, strings, sizeof(strings))

static void add_processors(struct fdt *fdt, unsigned cpus)
{
	fdt_node(fdt, "cpus");
	fdt_u32(fdt, "#address-cells", 1);
	fdt_u32(fdt, "#size-cells", 0);
	for (unsigned i = 0; i < cpus; i++) {
		fdt_node_at(fdt, "cpu", a64_cpu_affinity(i));
		fdt_string(fdt, "device_type", "cpu");
		fdt_string(fdt, "compatible", "arm,armv8");
		fdt_u32(fdt, "reg", a64_cpu_affinity(i));
		fdt_string(fdt, "enable-method", "psci");
		fdt_end_node(fdt);
	}
	fdt_end_node(fdt);
	fdt_node(fdt, "psci");
	STRINGS(fdt, "compatible", "arm,psci-1.0\0arm,psci-0.2");
	fdt_string(fdt, "method", "hvc");
	fdt_end_node(fdt);
}

static void add_timer(struct fdt *fdt)
{
	static const unsigned ppis[] = {VIRT_TIMER_SECURE_PPI, VIRT_TIMER_PHYSICAL_PPI, VIRT_TIMER_VIRTUAL_PPI, VIRT_TIMER_HYP_PPI};
	uint32_t cells[3 * ARRAY_SIZE(ppis)];

	for (unsigned i = 0; i < ARRAY_SIZE(ppis); i++) {
		cells[3 * i] = PPI;
		cells[3 * i + 1] = ppis[i] - 16;
		cells[3 * i + 2] = LEVEL_HIGH;
	}
	fdt_node(fdt, "timer");
	fdt_string(fdt, "compatible", "arm,armv8-timer");
	fdt_cells(fdt, "interrupts", cells, ARRAY_SIZE(cells));
	fdt_empty(fdt, "always-on");
	fdt_end_node(fdt);
}

static void add_gic(struct fdt *fdt, unsigned cpus)
{
	const uint32_t reg[] = {0, VIRT_GICD, 0, GICV3_DISTRIBUTOR_SIZE, 0, VIRT_GICR, 0, GICV3_REDISTRIBUTOR_SIZE * cpus};

	fdt_node_at(fdt, "interrupt-controller", VIRT_GICD);
	fdt_string(fdt, "compatible", "arm,gic-v3");
	fdt_cells(fdt, "reg", reg, ARRAY_SIZE(reg));
	fdt_u32(fdt, "#interrupt-cells", 3);
	fdt_empty(fdt, "interrupt-controller");
	fdt_u32(fdt, "#address-cells", 2);
	fdt_u32(fdt, "#size-cells", 2);
	fdt_empty(fdt, "ranges");
	fdt_u32(fdt, "phandle", GIC);
	fdt_node_at(fdt, "msi-controller", VIRT_ITS);
	fdt_string(fdt, "compatible", "arm,gic-v3-its");
	fdt_reg(fdt, VIRT_ITS, GICV3_ITS_SIZE);
	fdt_empty(fdt, "msi-controller");
	fdt_u32(fdt, "#msi-cells", 1);
	fdt_u32(fdt, "phandle", ITS);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
}

static void add_interrupt(struct fdt *fdt, unsigned spi, unsigned how)
{
	fdt_cells(fdt, "interrupts", (const uint32_t[]){SPI, spi, how}, 3);
}

/* What all PrimeCells have; the node is left open. compatible_size includes the NULs. */
static void begin_primecell(struct fdt *fdt, const char *name, gpa_t base, unsigned spi, const char *compatible, size_t compatible_size)
{
	fdt_node_at(fdt, name, base);
	fdt_bytes(fdt, "compatible", compatible, compatible_size);
	fdt_reg(fdt, base, PAGE_SIZE);
	add_interrupt(fdt, spi, LEVEL_HIGH);
}

static void add_primecells(struct fdt *fdt)
{
	static const char uart[] = "arm,pl011\0arm,primecell", rtc[] = "arm,pl031\0arm,primecell", gpio[] = "arm,pl061\0arm,primecell";

	fdt_node(fdt, "apb-pclk");
	fdt_string(fdt, "compatible", "fixed-clock");
	fdt_u32(fdt, "#clock-cells", 0);
	fdt_u32(fdt, "clock-frequency", 24000000);
	fdt_u32(fdt, "phandle", CLOCK);
	fdt_end_node(fdt);

	begin_primecell(fdt, "pl011", VIRT_UART, VIRT_UART_SPI, uart, sizeof(uart));
	fdt_cells(fdt, "clocks", (const uint32_t[]){CLOCK, CLOCK}, 2);
	STRINGS(fdt, "clock-names", "uartclk\0apb_pclk");
	fdt_end_node(fdt);

	begin_primecell(fdt, "pl031", VIRT_RTC, VIRT_RTC_SPI, rtc, sizeof(rtc));
	fdt_u32(fdt, "clocks", CLOCK);
	fdt_string(fdt, "clock-names", "apb_pclk");
	fdt_end_node(fdt);

	begin_primecell(fdt, "pl061", VIRT_GPIO, VIRT_GPIO_SPI, gpio, sizeof(gpio));
	fdt_u32(fdt, "clocks", CLOCK);
	fdt_string(fdt, "clock-names", "apb_pclk");
	fdt_empty(fdt, "gpio-controller");
	fdt_u32(fdt, "#gpio-cells", 2);
	fdt_empty(fdt, "interrupt-controller");
	fdt_u32(fdt, "#interrupt-cells", 2);
	fdt_u32(fdt, "#address-cells", 0);
	fdt_u32(fdt, "phandle", GPIO);
	fdt_end_node(fdt);

	fdt_node(fdt, "gpio-keys");
	fdt_string(fdt, "compatible", "gpio-keys");
	fdt_node(fdt, "poweroff");
	fdt_string(fdt, "label", "power key");
	fdt_u32(fdt, "linux,code", KEY_POWER);
	fdt_cells(fdt, "gpios", (const uint32_t[]){GPIO, PL061_POWER_KEY, 0}, 3);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
}

static void add_fw_cfg(struct fdt *fdt)
{
	fdt_node_at(fdt, "fw-cfg", VIRT_FW_CFG);
	fdt_string(fdt, "compatible", "qemu,fw-cfg-mmio");
	fdt_reg(fdt, VIRT_FW_CFG, FW_CFG_MMIO_SIZE);
	fdt_empty(fdt, "dma-coherent");
	fdt_end_node(fdt);
}

static void add_virtio(struct fdt *fdt, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const gpa_t base = VIRT_VIRTIO + i * VIRT_VIRTIO_STEP;

		fdt_node_at(fdt, "virtio_mmio", base);
		fdt_string(fdt, "compatible", "virtio,mmio");
		fdt_reg(fdt, base, VIRT_VIRTIO_STEP);
		add_interrupt(fdt, VIRT_VIRTIO_SPI + i, EDGE_RISING);
		fdt_empty(fdt, "dma-coherent");
		fdt_end_node(fdt);
	}
}

/* Two banks, each of two chips of 16 bits. */
static void add_flash(struct fdt *fdt)
{
	static const uint32_t banks[] = {0, VIRT_FLASH, 0, VIRT_FLASH_BANK, 0, VIRT_FLASH + VIRT_FLASH_BANK, 0, VIRT_FLASH_BANK};

	fdt_node_at(fdt, "flash", VIRT_FLASH);
	fdt_string(fdt, "compatible", "cfi-flash");
	fdt_cells(fdt, "reg", banks, ARRAY_SIZE(banks));
	fdt_u32(fdt, "bank-width", 4);
	fdt_end_node(fdt);
}

/* An entry for each slot and pin: unit address and pin of the child, then the GIC's three. */
static void add_interrupt_map(struct fdt *fdt)
{
	static const uint32_t mask[] = {0xf800, 0, 0, 7};
	uint32_t map[32 * 4 * 10], *cell = map;

	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 1; pin <= 4; pin++) {
			const uint32_t entry[10] = {
				slot << 11, 0, 0, pin, GIC, 0, 0, SPI, VIRT_PCI_SPI + pci_root_pirq(slot, pin), LEVEL_HIGH};

			for (unsigned i = 0; i < ARRAY_SIZE(entry); i++)
				*cell++ = entry[i];
		}
	}
	fdt_cells(fdt, "interrupt-map-mask", mask, ARRAY_SIZE(mask));
	fdt_cells(fdt, "interrupt-map", map, ARRAY_SIZE(map));
}

static void add_pci(struct fdt *fdt)
{
	/* 32-bit memory, addresses as they are */
	static const uint32_t ranges[] = {
		0x02000000, 0, VIRT_PCI_MEMORY, 0, VIRT_PCI_MEMORY, 0, VIRT_PCI_MEMORY_END - VIRT_PCI_MEMORY};

	fdt_node_at(fdt, "pcie", VIRT_ECAM);
	fdt_string(fdt, "compatible", "pci-host-ecam-generic");
	fdt_string(fdt, "device_type", "pci");
	fdt_reg(fdt, VIRT_ECAM, VIRT_PCI_BUSES * (uint64_t)PCI_ECAM_BUS_SIZE);
	fdt_cells(fdt, "bus-range", (const uint32_t[]){0, VIRT_PCI_BUSES - 1}, 2);
	fdt_u32(fdt, "#address-cells", 3);
	fdt_u32(fdt, "#size-cells", 2);
	fdt_cells(fdt, "ranges", ranges, ARRAY_SIZE(ranges));
	fdt_cells(fdt, "msi-map", (const uint32_t[]){0, ITS, 0, 0x10000}, 4);
	fdt_u32(fdt, "#interrupt-cells", 1);
	add_interrupt_map(fdt);
	fdt_empty(fdt, "dma-coherent");
	fdt_end_node(fdt);
}

static void add_chosen(struct fdt *fdt, const struct virt_tree *tree)
{
	char uart[32];

	fmt_print(uart, sizeof(uart), "/pl011@%x", VIRT_UART);
	fdt_node(fdt, "chosen");
	fdt_string(fdt, "bootargs", tree->cmdline);
	fdt_string(fdt, "stdout-path", uart);
	if (tree->plan->initrd) {
		fdt_u64(fdt, "linux,initrd-start", tree->plan->initrd);
		fdt_u64(fdt, "linux,initrd-end", tree->plan->initrd + tree->plan->initrd_size);
	}
	fdt_bytes(fdt, "kaslr-seed", tree->seed, 8);
	fdt_bytes(fdt, "rng-seed", tree->seed + 8, sizeof(tree->seed) - 8);
	fdt_end_node(fdt);
	fdt_node(fdt, "aliases");
	fdt_string(fdt, "serial0", uart);
	fdt_end_node(fdt);
}

int virt_build_fdt(const struct virt_tree *tree, uint8_t *buf, size_t size, size_t *len)
{
	struct fdt fdt;

	fdt_begin(&fdt, buf, size);
	fdt_string(&fdt, "compatible", "linux,dummy-virt");
	fdt_string(&fdt, "model", "ruse virt");
	fdt_u32(&fdt, "#address-cells", 2);
	fdt_u32(&fdt, "#size-cells", 2);
	fdt_u32(&fdt, "interrupt-parent", GIC);
	add_chosen(&fdt, tree);
	fdt_node_at(&fdt, "memory", VIRT_RAM);
	fdt_string(&fdt, "device_type", "memory");
	fdt_reg(&fdt, VIRT_RAM, tree->memory);
	fdt_end_node(&fdt);
	add_processors(&fdt, tree->cpus);
	add_timer(&fdt);
	add_gic(&fdt, tree->cpus);
	add_primecells(&fdt);
	add_fw_cfg(&fdt);
	if (tree->flash)
		add_flash(&fdt);
	add_pci(&fdt);
	add_virtio(&fdt, tree->virtio_count);
	return fdt_finish(&fdt, len);
}
