/* Places for base address registers; see assign.h.
 *
 * Example: a virtio device gets 0xc0000000 for its register 1, 0xc0004000 for register 4 of 16 KiB.
 */
#include "dev/pci/assign.h"

/* A free place of `size`, which is a power of two; 0: there is none. */
static uint64_t take(struct pci_window *window, uint64_t size)
{
	uint64_t base = (window->first + size - 1) & ~(size - 1);

	if (base < window->first || base > window->last || size - 1 > window->last - base)
		return 0;
	window->first = base + size;
	return base;
}

static void set(struct pci_root *root, uint8_t devfn, unsigned offset, unsigned size, uint32_t value)
{
	pci_config_write(root, 0, devfn, offset, size, value);
}

#define PORT_WINDOW 0x200000u

/* The bus behind a port, and memory for it. */
static void assign_port(struct pci_root *root, uint8_t devfn, unsigned number, struct pci_windows *left)
{
	uint64_t base = take(&left->memory, PORT_WINDOW);

	set(root, devfn, PCI_SECONDARY_BUS, 1, number);
	set(root, devfn, PCI_SUBORDINATE_BUS, 1, number);
	if (base)
		set(root, devfn, PCI_MEMORY_BASE, 4, (uint32_t)(base >> 16 | ((base + PORT_WINDOW - 1) & 0xfff00000)));
	set(root, devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void assign(struct pci_root *root, const struct pci_function *function, struct pci_windows *left)
{
	const uint8_t devfn = function->devfn, pin = function->config[PCI_INTERRUPT_PIN];
	uint16_t command = PCI_COMMAND_MASTER;

	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		const struct pci_bar *bar = &function->bars[i];
		const uint16_t access = bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
		uint64_t base;

		if (bar->kind == PCI_BAR_NONE)
			continue;
		base = take(bar->kind == PCI_BAR_IO ? &left->io : &left->memory, bar->size);
		if (!base)
			return;
		set(root, devfn, PCI_BAR0 + 4 * i, 4, (uint32_t)base);
		if (bar->kind == PCI_BAR_MEM64)
			set(root, devfn, PCI_BAR0 + 4 * i + 4, 4, (uint32_t)(base >> 32));
		command |= access;
	}
	if (pin)
		set(root, devfn, PCI_INTERRUPT_LINE, 1, left->lines[pci_pirq(function, pin)]);
	set(root, devfn, PCI_COMMAND, 2, command);
}

void pci_assign(struct pci_root *root, const struct pci_windows *windows)
{
	struct pci_windows left = *windows;

	/* No processor runs: what is on the bus stays there. */
	for (unsigned i = 0; i < ARRAY_SIZE(root->bus.functions); i++)
		if (root->bus.functions[i])
			assign(root, root->bus.functions[i], &left);
	for (unsigned i = 0; i < root->port_count; i++)
		assign_port(root, root->ports[i]->port->devfn, i + 1, &left);
}
