/* How the pc's definition block tells of PCI's interrupts (ACPI 6.4 §5.8.1, §6.2.13).
 *
 * Example: `pc_acpi_routing(aml)` in the host bridge's scope, `pc_acpi_links(aml)` in that of the LPC bridge, its device ISA.
 */
#ifndef BOARD_X86_64_PC_ACPI_IRQ_H
#define BOARD_X86_64_PC_ACPI_IRQ_H

struct aml;

/* _PIC, by which an OS says whether it uses the IOAPIC, and _PRT for both cases: the IOAPIC's inputs, or links. */
void pc_acpi_routing(struct aml *aml);
/* The links LNKA to LNKH: which of ISA's interrupts each PIRQ has, by the bridge's registers. */
void pc_acpi_links(struct aml *aml);

#endif
