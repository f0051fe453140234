/* The microvm's definition block (DSDT) and the numbers of its fixed tables.
 *
 * Example: `r = microvm_build_acpi(&(struct microvm_tables){.cpus = 4}, buf, sizeof(buf), &len);`
 */
#include "base/fmt.h"
#include "board/x86_64/microvm.h"
#include "dev/irq/irqchip.h"
#include "dev/misc/acpi_pm.h"
#include "dev/misc/pvpanic.h"
#include "dev/virtio/mmio.h"
#include "loader/acpi.h"

static const uint8_t virtio_gsis[] = {16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12};

unsigned microvm_virtio_gsi(unsigned index)
{
	return virtio_gsis[index % ARRAY_SIZE(virtio_gsis)];
}

static void describe_cpus(struct aml *aml, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		char name[5];

		fmt_print(name, sizeof(name), "C%03X", i);
		aml_device_begin(aml, name);
		aml_name_string(aml, "_HID", "ACPI0007");
		aml_name_integer(aml, "_UID", i);
		aml_end(aml);
	}
}

static void describe_serial(struct aml *aml)
{
	aml_device_begin(aml, "COM1");
	aml_name_eisaid(aml, "_HID", "PNP0501");
	aml_name_integer(aml, "_UID", 1);
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, MICROVM_SERIAL_PORT, 8);
	aml_resource_irq(aml, MICROVM_SERIAL_IRQ);
	aml_resources_end(aml);
	aml_end(aml);
}

static void describe_rtc(struct aml *aml)
{
	aml_device_begin(aml, "RTC0");
	aml_name_eisaid(aml, "_HID", "PNP0B00");
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, 0x70, 2);
	aml_resource_irq(aml, 8);
	aml_resources_end(aml);
	aml_end(aml);
}

static void describe_pvpanic(struct aml *aml)
{
	aml_device_begin(aml, "PVPN");
	aml_name_string(aml, "_HID", "QEMU0001");
	aml_name_integer(aml, "_STA", 0xf);
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, PVPANIC_PORT, 1);
	aml_resources_end(aml);
	aml_end(aml);
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
	describe_cpus(aml, tables->cpus);
	describe_serial(aml);
	describe_rtc(aml);
	describe_pvpanic(aml);
	describe_virtio(aml, tables->virtio_count);
	describe_power_button(aml);
	aml_end(aml);

	aml_name(aml, "\\_S5");
	aml_package_begin(aml, 4);
	aml_integer(aml, ACPI_PM_S5);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml);
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
