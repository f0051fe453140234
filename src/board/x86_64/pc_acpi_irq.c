/* PCI's interrupts in the pc's definition block; see pc_acpi_irq.h.
 *
 * An OS with IOAPIC has fixed inputs for PIRQ A to H. One without gets them on the PICs, as PIRQA_ROUT and its like say
 * (dev/pci/lpc.c): what firmware has put there, or what it chooses itself through the links.
 *
 * Example: `pc_acpi_routing(aml);`
 */
#include "board/x86_64/pc_acpi_irq.h"

#include "base/fmt.h"
#include "dev/pci/lpc.h"
#include "loader/aml.h"

#define SLOTS 32u

#define ROUT_FIRST   0x60 /* PIRQA_ROUT to PIRQD_ROUT, and 8 bytes behind them E to H */
#define ROUT_BYTES   12
#define ROUT_MASK    0x0f
#define ROUT_NOT_ISA 0x80

#define STA_THERE  0x9 /* present and working, */
#define STA_IN_USE 0xb /* and decoding */

/* Where the number is in a descriptor of one extended interrupt. */
#define DESCRIPTOR_NUMBER 5

static void describe_pin(struct aml *aml, unsigned slot, unsigned pin, bool by_link)
{
	const unsigned pirq = pci_root_pirq(slot, pin + 1);
	char link[16];

	aml_package_begin(aml, 4);
	aml_integer(aml, slot << 16 | 0xffff);
	aml_integer(aml, pin);
	if (by_link) {
		fmt_print(link, sizeof(link), "ISA.LNK%c", (int)('A' + pirq));
		aml_path(aml, link);
		aml_integer(aml, 0);
	} else {
		aml_integer(aml, 0);
		aml_integer(aml, LPC_PIRQ_GSI + pirq);
	}
	aml_end(aml);
}

static void describe_pins(struct aml *aml, const char *name, bool by_link)
{
	aml_name(aml, name);
	aml_package_begin(aml, SLOTS * 4);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		for (unsigned pin = 0; pin < 4; pin++)
			describe_pin(aml, slot, pin, by_link);
	aml_end(aml);
}

void pc_acpi_routing(struct aml *aml)
{
	aml_name_integer(aml, "\\PICF", 0);
	aml_method_begin(aml, "\\_PIC", 1, false);
	aml_store_argument(aml, 0, "\\PICF");
	aml_end(aml);
	describe_pins(aml, "PRTA", false);
	describe_pins(aml, "PRTP", true);
	aml_method_begin(aml, "_PRT", 0, false);
	aml_if_begin(aml);
	aml_path(aml, "\\PICF");
	aml_return(aml, "PRTA");
	aml_end(aml);
	aml_return(aml, "PRTP");
	aml_end(aml);
}

static void describe_link(struct aml *aml, unsigned pirq)
{
	/* What nothing else on the board has. */
	static const uint8_t none[] = {0}, choice[] = {5, 10, 11};
	char name[5], route[5];

	fmt_print(name, sizeof(name), "LNK%c", (int)('A' + pirq));
	fmt_print(route, sizeof(route), "PRQ%c", (int)('A' + pirq));
	aml_device_begin(aml, name);
	aml_name_eisaid(aml, "_HID", "PNP0C0F");
	aml_name_integer(aml, "_UID", pirq);
	aml_resources_begin(aml, "_PRS");
	aml_resource_interrupts(aml, choice, sizeof(choice));
	aml_resources_end(aml);

	aml_resources_begin(aml, "BUF");
	aml_resource_interrupts(aml, none, sizeof(none));
	aml_resources_end(aml);
	aml_method_begin(aml, "_CRS", 0, true);
	aml_buffer_field32(aml, "BUF", DESCRIPTOR_NUMBER, "NUM");
	aml_and(aml, route, ROUT_MASK, "NUM");
	aml_return(aml, "BUF");
	aml_end(aml);

	aml_method_begin(aml, "_SRS", 1, true);
	aml_argument_field32(aml, 0, DESCRIPTOR_NUMBER, "NUM");
	aml_store(aml, "NUM", route);
	aml_end(aml);

	aml_method_begin(aml, "_DIS", 0, false);
	aml_or(aml, route, ROUT_NOT_ISA, route);
	aml_end(aml);

	aml_method_begin(aml, "_STA", 0, false);
	aml_if_begin(aml);
	aml_and(aml, route, ROUT_NOT_ISA, NULL);
	aml_return_integer(aml, STA_THERE);
	aml_end(aml);
	aml_return_integer(aml, STA_IN_USE);
	aml_end(aml);
	aml_end(aml);
}

void pc_acpi_links(struct aml *aml)
{
	char name[5];

	aml_pci_region(aml, "ROUT", ROUT_FIRST, ROUT_BYTES);
	aml_bytes_begin(aml, "ROUT");
	for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++) {
		if (pirq == 4)
			aml_bytes_skip(aml, 4);
		fmt_print(name, sizeof(name), "PRQ%c", (int)('A' + pirq));
		aml_byte(aml, name);
	}
	aml_end(aml);
	for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++)
		describe_link(aml, pirq);
}
