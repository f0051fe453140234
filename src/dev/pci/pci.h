/* PCI: functions with configuration space, base address registers and interrupts, on a root bus and behind root ports.
 *
 * A device embeds struct pci_function, whose struct device serves its base address registers: `region` of the device's
 * read and write is the number of the register, PCI_BAR_ROM for the expansion ROM.
 *
 * Example (a device's constructor):
 *     pci_function_init(&ahci->pci, NULL, &(struct pci_ids){.vendor = 0x8086, .device = 0x2922, .class_code = 0x010601});
 *     pci_add_bar(&ahci->pci, 5, PCI_BAR_MEM32, 0x1000, 4, 4);
 *     pci_set_interrupt_pin(&ahci->pci, 1);
 *     r = pci_attach(root, NULL, PCI_DEVFN(31, 2), &ahci->pci, &ahci_ops, "ahci");
 *
 * Locks: configuration space, topology and where registers are mapped are under the root's lock (pci_root_lock), which
 * accesses to configuration space take. Order: the root's lock, then a function's device lock. Interrupts have leaf
 * locks: any thread signals them, holding any other lock.
 */
#ifndef DEV_PCI_PCI_H
#define DEV_PCI_PCI_H

#include "core/vm.h"
#include "dev/pci/regs.h"

struct irqchip;
struct msix;

#define PCI_DEVFN(device, function) ((uint8_t)((device) << 3 | (function)))
#define PCI_BAR_COUNT 6
#define PCI_BAR_ROM   6
#define PCI_PIRQS     8
#define PCI_PORTS     32 /* at most: bridges on the root bus */

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_kind kind;
	uint8_t min_size, max_size; /* of accesses, as for bus_attach_sized() */
	uint64_t size;              /* a power of two */
	/* The root's lock. */
	bool mapped;
	uint64_t base;
};

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* class, subclass, interface */
	uint8_t revision;
};

struct pci_function;
struct pci_bus;
struct pci_root;

/* All optional. */
struct pci_function_ops {
	/* [offset, offset + size) was written: function->config has the new bytes. The root's lock is held: nothing here waits for the
	 * I/O thread, which takes that lock, too. */
	void (*config_written)(struct pci_function *function, unsigned offset, unsigned size);
	/* The same afterwards, and before it is read: no lock is held. */
	void (*config_done)(struct pci_function *function, struct pci_root *root, unsigned offset, unsigned size);
	void (*config_reading)(struct pci_function *function, struct pci_root *root, unsigned offset, unsigned size);
};

struct pci_function {
	struct device dev;
	const struct pci_function_ops *ops; /* or NULL */
	struct pci_bus *bus;                /* NULL: not attached, or unplugged */
	uint8_t devfn;
	bool express;                       /* has the extended space behind 256 bytes */
	struct pci_bar bars[PCI_BAR_COUNT + 1];
	struct msix *msix;
	unsigned msi;                       /* offset of the MSI capability, 0: none */
	uint8_t capabilities_end;           /* where the next capability goes */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];  /* bits that the guest may write */
	uint8_t clear[PCI_CONFIG_SIZE];     /* bits that writing 1 clears */
	uint8_t power_on[PCI_CONFIG_SIZE];  /* what a reset leaves: config as it was attached */
	/* The root's irq_lock. */
	bool intx, intx_disabled, intx_out; /* asked for by the device; hidden by COMMAND; on the wire */
};

/* The devices behind a port, or on the root bus. */
struct pci_bus {
	struct pci_root *root;
	struct pci_function *port; /* NULL: the root bus */
	bool off;                  /* the root's lock: the link is down, nobody answers */
	struct pci_function *functions[256];
};

struct pci_root {
	struct vm *vm;
	struct irqchip *chip;
	struct lock lock;
	struct pci_bus bus;
	struct pci_bus *ports[PCI_PORTS]; /* the buses behind ports */
	unsigned port_count;
	struct lock irq_lock;
	unsigned pirq_users[PCI_PIRQS];
	/* Where messages go that chip does not take; set by whoever owns the root. requester: bus << 8 | devfn. Any thread. */
	void (*message)(void *ctx, uint16_t requester, uint64_t address, uint32_t data);
	void *message_ctx;
	/* A PIRQ (0: A) changes; set by whoever routes them. irq_lock is held. */
	void (*pirq)(void *ctx, unsigned pirq, bool level);
	void *pirq_ctx;
};

/* ---- building a function ---- */

void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops, const struct pci_ids *ids);
/* A MEM64 register takes the next one's place too. min_size and max_size: of accesses. */
void pci_add_bar(struct pci_function *function, unsigned bar, enum pci_bar_kind kind, uint64_t size, uint8_t min_size,
		 uint8_t max_size);
void pci_set_prefetchable(struct pci_function *function, unsigned bar);
void pci_set_interrupt_pin(struct pci_function *function, uint8_t pin); /* 1: INTA# */
/* Appends a capability of `size` bytes, all read-only zeros but its header, and gives its offset. Room is there for
 * what a function of this tree has: more is a bug of ours. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size);
/* Makes it a bridge (type 1 header), after pci_function_init(): bus numbers, windows and bridge control. */
void pci_make_bridge(struct pci_function *function);
/* The PCI Express capability, version 2. type: of the device (0 endpoint, 4 root port, 9 integrated endpoint). */
unsigned pci_add_express(struct pci_function *function, unsigned type);

uint16_t pci_get16(const struct pci_function *function, unsigned offset);
uint32_t pci_get32(const struct pci_function *function, unsigned offset);
void pci_put16(struct pci_function *function, unsigned offset, uint16_t value);
void pci_put32(struct pci_function *function, unsigned offset, uint32_t value);
void pci_put64(struct pci_function *function, unsigned offset, uint64_t value);
void pci_writable16(struct pci_function *function, unsigned offset, uint16_t bits);
void pci_writable32(struct pci_function *function, unsigned offset, uint32_t bits);

/* ---- the tree ---- */

void pci_root_init(struct pci_root *root, struct vm *vm, struct irqchip *chip);
/* Registers the device and puts the function on a bus (NULL: the root bus) at devfn. -EEXIST: the place is taken;
 * -ENOSPC. The device's reset must call pci_function_reset(). */
int pci_attach(struct pci_root *root, struct pci_bus *bus, uint8_t devfn, struct pci_function *function,
	       const struct device_ops *ops, const char *id) must_check;
/* Takes it off its bus: its registers no longer answer. It stays a device of the vm. Any thread. */
void pci_detach(struct pci_function *function);
/* The bus behind a port, which becomes a place to attach to. -ENOSPC, -ENOMEM. */
int pci_add_port(struct pci_root *root, struct pci_function *port, struct pci_bus **bus) must_check;
/* Whether what is behind a port answers. The root's lock is held. */
void pci_set_bus_on(struct pci_bus *bus, bool on);
void pci_root_fini(struct pci_root *root);

/* Configuration space as it is attached, registers unmapped, no interrupt. In a machine reset. */
void pci_function_reset(struct pci_function *function);

/* ---- access to configuration space; size 1, 2 or 4, inside a dword. Takes the root's lock. ---- */

uint32_t pci_config_read(struct pci_root *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size);
void pci_config_write(struct pci_root *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size, uint32_t value);

/* The first and last address at or above `from` that some function's registers are mapped at; false: none is. Any thread. */
bool pci_mapped_above(struct pci_root *root, uint64_t from, uint64_t *first, uint64_t *last);

/* ---- interrupts; any thread ---- */

void pci_set_intx(struct pci_function *function, bool level);
/* Which PIRQ a pin (1: INTA#) of a slot of the root bus reaches: 0 to 7. The second: of any function. */
unsigned pci_root_pirq(unsigned slot, unsigned pin);
unsigned pci_pirq(const struct pci_function *function, unsigned pin);

/* A write of the function's to an address at which interrupts are. */
void pci_send_message(const struct pci_function *function, uint64_t address, uint32_t data);

/* One MSI vector; 64-bit address, no masking. */
void pci_add_msi(struct pci_function *function);
bool pci_msi_enabled(struct pci_function *function);
/* True: MSI is on, and the interrupt was sent. */
bool pci_signal_msi(struct pci_function *function);

#endif
