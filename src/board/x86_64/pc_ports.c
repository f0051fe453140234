/* Hot plug on the pc; see pc_ports.h. */
#include "board/x86_64/pc_ports.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "board/x86_64/parts.h"
#include "dev/pci/port.h"
#include "dev/virtio/pci.h"

int pc_ports_create(struct pci_root *root, struct pc_ports *ports)
{
	int r = 0;

	for (unsigned i = 0; i < PC_PORTS && !r; i++) {
		char id[16];

		fmt_print(id, sizeof(id), "port%u", i + 1);
		r = pcie_port_create(root, PCI_DEVFN(PC_PORT_SLOT, i), i + 1, id, &ports->ports[i]);
	}
	return r;
}

int pc_ports_attach(struct pc_ports *ports, struct pci_root *root, struct vm *vm, struct board_plug *plug, char *why, size_t why_size)
{
	struct pci_function *function;
	struct virtio_device *dev;
	unsigned at = 0;
	int r;

	while (at < PC_PORTS && !pcie_port_is_free(ports->ports[at]))
		at++;
	if (at == PC_PORTS) {
		fmt_print(why, why_size, "all %u ports of this VM are taken; detach something", PC_PORTS);
		return -ENOSPC;
	}
	r = parts_create_plugged(vm, plug, &dev);
	if (!r) {
		r = virtio_pci_create(root, pcie_port_bus(ports->ports[at]), PCI_DEVFN(0, 0), dev, plug->id, &function);
		if (r)
			virtio_destroy(dev);
	}
	if (r) {
		fmt_print(why, why_size, "the device can't be made (error %d); free memory on the host", -r);
		return r;
	}
	ports->plugs[at] = plug;
	pcie_port_plug(ports->ports[at], function);
	return 0;
}

static void on_gone(void *ctx)
{
	struct board_plug *plug = ctx;

	plug->gone(plug);
}

void pc_ports_detach(struct pc_ports *ports, struct board_plug *plug, bool now)
{
	for (unsigned i = 0; i < PC_PORTS; i++)
		if (ports->plugs[i] == plug && !pcie_port_is_free(ports->ports[i]))
			pcie_port_unplug(ports->ports[i], now, on_gone, plug);
}
