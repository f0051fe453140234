/* The pc's definition block (DSDT) and the numbers of its fixed tables.
 *
 * Example: `r = pc_build_acpi(&(struct pc_tables){.cpus = 4, .ecam = PC_ECAM, ...}, buf, sizeof(buf), &len);`
 */
#include "board/x86_64/acpi_parts.h"
#include "board/x86_64/pc.h"
#include "board/x86_64/pc_acpi_irq.h"
#include "board/x86_64/pc_tables.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/ich9_pm.h"
#include "dev/pci/lpc.h"
#include "dev/timer/hpet.h"
#include "loader/acpi.h"

#define ISA_PCI_PORTS 0xcf8u /* the two mechanisms' own ports, which no device gets */
#define RESET_PORT    0xcf9u
#define RESET_VALUE   0x0fu

/* PCI Firmware 3.2 §4.5.1: of what the OS may control, what there is: native hot plug, PME, AER, the PCI Express capability. */
#define OSC_GRANTED 0x1du
#define OSC_CONTROL 8u /* the control field's place in _OSC's argument 3 */

struct describe {
	const struct pc_tables *tables;
};

static void describe_windows(struct aml *aml, const struct pc_tables *tables)
{
	const gpa_t ecam_end = tables->ecam + PC_ECAM_SIZE;
	gpa_t low = PC_LOW_RAM_END, low_end = tables->ecam, high = PC_PCI_HOLE;

	/* Memory between RAM and the I/O APIC is PCI's but for its configuration space, wherever firmware has put that. */
	if (tables->ecam <= PC_LOW_RAM_END) {
		low = ecam_end;
		low_end = PC_PCI_HOLE;
	} else if (ecam_end > PC_PCI_HOLE) {
		high = ecam_end;
	}
	aml_resources_begin(aml, "_CRS");
	aml_resource_buses(aml, 0, 255);
	aml_resource_io_window(aml, 0, ISA_PCI_PORTS - 1);
	aml_resource_io_window(aml, ISA_PCI_PORTS + 8, 0xffff);
	aml_resource_memory_window(aml, PC_VGA, PC_SHADOW - 1);
	aml_resource_memory_window(aml, low, low_end - 1);
	aml_resource_memory_window(aml, high, PC_PCI_HOLE_END - 1);
	aml_resource_memory_window(aml, tables->high_first, tables->high_last);
	aml_resources_end(aml);
}

static void describe_osc(struct aml *aml)
{
	aml_method_begin(aml, "_OSC", 4, true);
	aml_argument_field32(aml, 3, OSC_CONTROL, "CTRL");
	aml_field_and(aml, "CTRL", OSC_GRANTED);
	aml_return_argument(aml, 3);
	aml_end(aml);
}

static void describe_fw_cfg(struct aml *aml)
{
	aml_device_begin(aml, "FWCF");
	aml_name_string(aml, "_HID", "QEMU0002");
	aml_name_integer(aml, "_STA", 0xb); /* there, and not for show */
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, FW_CFG_PORT, FW_CFG_PORTS);
	aml_resources_end(aml);
	aml_end(aml);
}

/* SeaBIOS initializes a keyboard only where one is described; without a mouse's device Linux does not look for one. */
static void describe_keyboard(struct aml *aml)
{
	aml_device_begin(aml, "KBD");
	aml_name_eisaid(aml, "_HID", "PNP0303");
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, 0x60, 1);
	aml_resource_io(aml, 0x64, 1);
	aml_resource_irq(aml, PC_KEYBOARD_IRQ);
	aml_resources_end(aml);
	aml_end(aml);
}

static void describe_isa(struct aml *aml)
{
	aml_device_begin(aml, "ISA");
	aml_name_integer(aml, "_ADR", 0x1f0000);
	acpi_describe_serial(aml, "COM1", 1, PC_SERIAL0_PORT, PC_SERIAL0_IRQ);
	acpi_describe_serial(aml, "COM2", 2, PC_SERIAL1_PORT, PC_SERIAL1_IRQ);
	acpi_describe_rtc(aml);
	describe_keyboard(aml);
	pc_acpi_links(aml);
	aml_end(aml);
}

static void describe_hpet(struct aml *aml)
{
	aml_device_begin(aml, "HPET");
	aml_name_eisaid(aml, "_HID", "PNP0103");
	aml_resources_begin(aml, "_CRS");
	aml_resource_memory(aml, HPET_BASE, HPET_SIZE);
	aml_resources_end(aml);
	aml_end(aml);
}

/* What is mapped outside of the host bridge's windows, so that nobody takes it for free (PCI Firmware 3.2 §4.1.2). */
static void describe_motherboard(struct aml *aml, const struct pc_tables *tables)
{
	aml_device_begin(aml, "DRAC");
	aml_name_eisaid(aml, "_HID", "PNP0C01");
	aml_resources_begin(aml, "_CRS");
	aml_resource_memory(aml, (uint32_t)tables->ecam, PC_ECAM_SIZE);
	aml_resources_end(aml);
	aml_end(aml);
}

static void describe(void *ctx, struct aml *aml)
{
	const struct pc_tables *tables = ((struct describe *)ctx)->tables;

	aml_scope_begin(aml, "\\_SB");
	acpi_describe_cpus(aml, tables->cpus);
	aml_device_begin(aml, "PCI0");
	aml_name_eisaid(aml, "_HID", "PNP0A08");
	aml_name_eisaid(aml, "_CID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_SEG", 0);
	aml_name_integer(aml, "_BBN", 0);
	describe_windows(aml, tables);
	pc_acpi_routing(aml);
	describe_osc(aml);
	describe_isa(aml);
	aml_end(aml);
	describe_motherboard(aml, tables);
	describe_hpet(aml);
	describe_fw_cfg(aml);
	acpi_describe_pvpanic(aml);
	aml_end(aml);
	acpi_describe_s5(aml, ICH9_SLP_TYP_S5);
}

static const struct acpi_fixed fixed = {
	.pm1_event = PC_PM_BASE + ICH9_PM_EVT,
	.pm1_control = PC_PM_BASE + ICH9_PM_CNT,
	.pm_timer = PC_PM_BASE + ICH9_PM_TMR,
	.gpe0 = PC_PM_BASE + ICH9_PM_GPE0,
	.gpe0_len = ICH9_PM_GPE0_SIZE,
	.smi_command = ICH9_SMI_PORT,
	.acpi_enable = ICH9_ACPI_ENABLE,
	.acpi_disable = ICH9_ACPI_DISABLE,
	.sci = PC_SCI_GSI,
};

static struct acpi_machine machine_of(struct describe *describe_ctx)
{
	const struct pc_tables *tables = describe_ctx->tables;

	return (struct acpi_machine){
		.cpus = tables->cpus,
		.lapic = LAPIC_DEFAULT_BASE,
		.ioapic = IOAPIC_DEFAULT_BASE,
		.reset = RESET_PORT,
		.reset_value = RESET_VALUE,
		.fixed = &fixed,
		.ecam = tables->ecam,
		.hpet = HPET_BASE,
		.hpet_id = tables->hpet_id,
		.level_irqs = 1u << PC_SCI_GSI,
		.serial_port = PC_SERIAL0_PORT,
		.serial_irq = PC_SERIAL0_IRQ,
		.dsdt = describe,
		.ctx = describe_ctx,
	};
}

int pc_build_acpi(const struct pc_tables *tables, uint8_t *buf, size_t size, size_t *len)
{
	struct describe ctx = {tables};
	const struct acpi_machine machine = machine_of(&ctx);

	return acpi_build(&machine, PC_ACPI, buf, size, len);
}

int pc_build_acpi_relative(const struct pc_tables *tables, uint8_t *buf, size_t size, size_t *len, struct acpi_links *links)
{
	struct describe ctx = {tables};
	const struct acpi_machine machine = machine_of(&ctx);

	return acpi_build_relative(&machine, buf, size, len, links);
}
