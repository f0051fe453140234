/* Parts of definition blocks; see acpi_parts.h.
 *
 * Example: `acpi_describe_cpus(aml, 4)` makes C000 to C003.
 */
#include "board/x86_64/acpi_parts.h"
#include "base/fmt.h"
#include "dev/misc/pvpanic.h"

void acpi_describe_cpus(struct aml *aml, unsigned cpus)
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

void acpi_describe_serial(struct aml *aml, const char *name, unsigned uid, uint16_t port, unsigned irq)
{
	aml_device_begin(aml, name);
	aml_name_eisaid(aml, "_HID", "PNP0501");
	aml_name_integer(aml, "_UID", uid);
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, port, 8);
	aml_resource_irq(aml, irq);
	aml_resources_end(aml);
	aml_end(aml);
}

void acpi_describe_rtc(struct aml *aml)
{
	aml_device_begin(aml, "RTC0");
	aml_name_eisaid(aml, "_HID", "PNP0B00");
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, 0x70, 2);
	aml_resource_irq(aml, 8);
	aml_resources_end(aml);
	aml_end(aml);
}

void acpi_describe_pvpanic(struct aml *aml)
{
	aml_device_begin(aml, "PVPN");
	aml_name_string(aml, "_HID", "QEMU0001");
	aml_name_integer(aml, "_STA", 0xf);
	aml_resources_begin(aml, "_CRS");
	aml_resource_io(aml, PVPANIC_PORT, 1);
	aml_resources_end(aml);
	aml_end(aml);
}

void acpi_describe_s5(struct aml *aml, unsigned sleep_type)
{
	aml_name(aml, "\\_S5");
	aml_package_begin(aml, 4);
	aml_integer(aml, sleep_type);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml);
}
