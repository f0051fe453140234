/* The microvm's definition block (DSDT) and the numbers of its fixed tables.
 *
 * Example: `r = microvm_build_acpi(&(struct microvm_tables){.cpus = 4}, buf, sizeof(buf), &len);`
 */
#include "base/fmt.h"
#include "board/x86_64/acpi_parts.h"
#include "board/x86_64/microvm.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/acpi_pm.h"
#include "dev/virtio/mmio.h"
#include "loader/acpi.h"

static const uint8_t virtio_gsis[] = {16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12};

unsigned microvm_virtio_gsi(unsigned index)
{
	return virtio_gsis[index % ARRAY_SIZE(virtio_gsis)];
}

/* virtio 1.2 §4.2 says nothing of ACPI; LNRO0005 is what Linux's virtio_mmio matches. */
static void describe_virtio(struct aml *aml, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char name[5];

		fmt_print(name, sizeof(name), "VR%02X", i);
		aml_device_begin(aml, name);
		aml_name_string(aml, "_HID", "LNRO0005");
		aml_name_integer(aml, "_UID", i);
		aml_name_integer(aml, "_CCA", 1); /* DMA is coherent */
		aml_resources_begin(aml, "_CRS");
		aml_resource_memory(aml, MICROVM_VIRTIO + i * MICROVM_VIRTIO_STEP, VIRTIO_MMIO_SIZE);
		aml_resource_interrupt(aml, microvm_virtio_gsi(i), false, count > ARRAY_SIZE(virtio_gsis));
		aml_resources_end(aml);
		aml_end(aml);
	}
}

/* The generic event device and the power button that it announces (ACPI 6.4 §5.6.9). */
static void describe_power_button(struct aml *aml)
{
	aml_device_begin(aml, "PWRB");
	aml_name_eisaid(aml, "_HID", "PNP0C0C");
	aml_name_integer(aml, "_UID", 0);
	aml_end(aml);

	aml_device_begin(aml, "GED0");
	aml_name_string(aml, "_HID", "ACPI0013");
	aml_name_integer(aml, "_UID", 0);
	aml_resources_begin(aml, "_CRS");
	aml_resource_interrupt(aml, ACPI_PM_GSI, true, false);
	aml_resources_end(aml);
	aml_io_field32(aml, "EVTR", ACPI_PM_PORT + ACPI_PM_EVENT, "ESEL");
	aml_method_begin(aml, "_EVT", 1, true);
	aml_store_to_local(aml, "ESEL", 0);
	aml_if_begin(aml);
	aml_local_and(aml, 0, ACPI_PM_EVENT_POWER_BUTTON);
	aml_notify(aml, "\\_SB.PWRB", 0x80);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
}

static void describe(void *ctx, struct aml *aml)
{
	const struct microvm_tables *tables = ctx;

	aml_scope_begin(aml, "\\_SB");
	acpi_describe_cpus(aml, tables->cpus);
	acpi_describe_serial(aml, "COM1", 1, MICROVM_SERIAL_PORT, MICROVM_SERIAL_IRQ);
	acpi_describe_rtc(aml);
	acpi_describe_pvpanic(aml);
	describe_virtio(aml, tables->virtio_count);
	describe_power_button(aml);
	aml_end(aml);

	acpi_describe_s5(aml, ACPI_PM_S5);
}

int microvm_build_acpi(const struct microvm_tables *tables, uint8_t *buf, size_t size, size_t *len)
{
	struct microvm_tables copy = *tables;
	const struct acpi_machine machine = {
		.cpus = tables->cpus,
		.lapic = LAPIC_DEFAULT_BASE,
		.ioapic = IOAPIC_DEFAULT_BASE,
		.sleep_control = ACPI_PM_PORT + ACPI_PM_SLEEP_CONTROL,
		.sleep_status = ACPI_PM_PORT + ACPI_PM_SLEEP_STATUS,
		.reset = ACPI_PM_PORT + ACPI_PM_RESET,
		.reset_value = ACPI_PM_RESET_VALUE,
		.level_irqs = 1u << ACPI_PM_GSI,
		.serial_port = MICROVM_SERIAL_PORT,
		.serial_irq = MICROVM_SERIAL_IRQ,
		.dsdt = describe,
		.ctx = &copy,
	};

	return acpi_build(&machine, MICROVM_ACPI, buf, size, len);
}
