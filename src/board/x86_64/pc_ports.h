/* The pc's root ports, and what is plugged in behind them while the guest runs.
 *
 * Example: `r = pc_ports_create(pci_host_root(host), &ports);`   `r = pc_ports_attach(&ports, vm, plug, why, sizeof(why));`
 */
#ifndef BOARD_X86_64_PC_PORTS_H
#define BOARD_X86_64_PC_PORTS_H

#include "board/board.h"

#define PC_PORTS     4u
#define PC_PORT_SLOT 28u /* of the root bus: a port is a function of it */

struct pcie_port;
struct pci_root;

struct pc_ports {
	struct pcie_port *ports[PC_PORTS];
	struct board_plug *plugs[PC_PORTS]; /* NULL: nothing */
};

int pc_ports_create(struct pci_root *root, struct pc_ports *ports) must_check;
/* board_ops.attach and detach. */
int pc_ports_attach(struct pc_ports *ports, struct pci_root *root, struct vm *vm, struct board_plug *plug, char *why, size_t why_size)
	must_check;
void pc_ports_detach(struct pc_ports *ports, struct board_plug *plug, bool now);

#endif
