/* libFuzzer target for PCI: a hostile guest reads and writes configuration space of a host bridge, root ports and virtio devices by both
 * mechanisms, and whatever it has mapped, while cards are plugged in and pulled out. Whatever it does, every call ends, what is read-only
 * stays, nothing outside of guest memory is touched, and all memory comes back.
 *
 * Example:
 *     fuzz_pci -seed_inputs=seeds/pci -max_len=512 -runs=200000
 *
 * The input is a list of operations, a byte each with its operands behind it (enum op).
 */
#include "../unit/fake_platform.h"
#include "core/vm.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/assign.h"
#include "dev/pci/host.h"
#include "dev/pci/port.h"
#include "dev/virtio/pci.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define RAM_SIZE 0x10000u
#define ECAM     0xb0000000u
#define PORTS    2u

enum op { CONFIG_WRITE, CONFIG_READ, PIO_WRITE, PIO_READ, MMIO_WRITE, MMIO_READ, RUN, PLUG, UNPLUG, RESET, ASSIGN, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct machine {
	struct vm vm;
	uint8_t *ram;
	struct pci_host *host;
	struct pcie_port *ports[PORTS];
	unsigned plugged, gone;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

/* ---- what there is of the machine besides ---- */

void irqchip_msi(struct irqchip *chip, uint64_t address, uint32_t data)
{
}

void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code)
{
	CHECK(reason == VM_STOP_RESET);
}

/* There is no processor: all have passed when the I/O thread comes to it. */
void vm_barrier_begin(struct vm *vm, struct vm_barrier *barrier)
{
	barrier->next = vm->barriers;
	vm->barriers = barrier;
}

void vm_barrier_cancel(struct vm *vm, struct vm_barrier *barrier)
{
	for (struct vm_barrier **link = &vm->barriers; *link; link = &(*link)->next) {
		if (*link == barrier) {
			*link = barrier->next;
			return;
		}
	}
}

static void run(struct vm *vm)
{
	do {
		struct vm_barrier *barrier = vm->barriers;

		if (barrier) {
			vm->barriers = barrier->next;
			barrier->passed(barrier->ctx);
		}
		fake_run_work();
	} while (vm->barriers);
}

/* ---- operations ---- */

static void on_gone(void *ctx)
{
	((struct machine *)ctx)->gone++;
}

static void plug(struct machine *machine, unsigned index)
{
	struct pcie_port *port = machine->ports[index % PORTS];
	struct pci_function *function;
	struct virtio_device *dev;

	if (!pcie_port_is_free(port) || machine->vm.device_count > VM_MAX_DEVICES / 2)
		return;
	CHECK(virtio_rng_create(&machine->vm, &dev) == 0);
	CHECK(virtio_pci_create(pci_host_root(machine->host), pcie_port_bus(port), 0, dev, "rng", &function) == 0);
	pcie_port_plug(port, function);
	machine->plugged++;
}

static void reset(struct machine *machine)
{
	/* No processor is anywhere. */
	run(&machine->vm);
	devices_reset(&machine->vm);
}

static void assign(struct machine *machine)
{
	const struct pci_windows windows = {.io = {0xc000, 0xffff}, .memory = {0xc0000000, 0xfebfffff}};

	reset(machine);
	pci_host_place_ecam(machine->host, ECAM);
	pci_assign(pci_host_root(machine->host), &windows);
}

static void step(struct machine *machine, struct input *in)
{
	static const uint16_t pio_ports[] = {0xcf8, 0xcfc, 0xcf9, 0xcfe};
	const unsigned sizes[] = {1, 2, 4, 4};
	struct pci_root *root = pci_host_root(machine->host);
	struct vm *vm = &machine->vm;
	unsigned size = sizes[take(in, 1) & 3], bus, offset;
	uint64_t address;
	uint8_t devfn;

	switch ((enum op)(take(in, 1) % OP_COUNT)) {
	case CONFIG_WRITE:
	case CONFIG_READ:
		bus = take(in, 1) % 4;
		devfn = (uint8_t)take(in, 1);
		offset = take(in, 2) % PCI_CONFIG_SIZE & ~(size - 1);
		/* Reads come out of a byte that is left, so that both have the same operands. */
		if (take(in, 1) & 1)
			CHECK(size == 4 || pci_config_read(root, bus, devfn, offset, size) >> (8 * size) == 0);
		else
			pci_config_write(root, bus, devfn, offset, size, take(in, 4));
		break;
	case PIO_WRITE:
		bus_write(&vm->pio, pio_ports[take(in, 1) % ARRAY_SIZE(pio_ports)], size, take(in, 4));
		break;
	case PIO_READ:
		bus_read(&vm->pio, pio_ports[take(in, 1) % ARRAY_SIZE(pio_ports)], size);
		break;
	case MMIO_WRITE:
		address = (take(in, 1) & 1 ? ECAM : 0xc0000000u) + take(in, 3) % 0x800000;
		bus_write(&vm->mmio, address, size, take(in, 4));
		break;
	case MMIO_READ:
		address = (take(in, 1) & 1 ? ECAM : 0xc0000000u) + take(in, 3) % 0x800000;
		bus_read(&vm->mmio, address, size);
		break;
	case RUN:
		run(vm);
		break;
	case PLUG:
		plug(machine, take(in, 1));
		break;
	case UNPLUG:
		bus = take(in, 1);
		pcie_port_unplug(machine->ports[bus % PORTS], bus & 0x80, on_gone, machine);
		break;
	case RESET:
		reset(machine);
		break;
	case ASSIGN:
		assign(machine);
		break;
	case OP_COUNT:
		break;
	}
}

/* ---- life ---- */

static void build(struct machine *machine)
{
	struct virtio_device *dev;

	fake_reset();
	machine->ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
	CHECK(machine->ram);
	memset(machine->ram, 0, RAM_SIZE);
	CHECK(mem_add_slot(&machine->vm.mem, 0, RAM_SIZE, machine->ram, false) == 0);
	CHECK(pci_host_create(&machine->vm, NULL, &machine->host) == 0);
	CHECK(virtio_rng_create(&machine->vm, &dev) == 0);
	CHECK(virtio_pci_create(pci_host_root(machine->host), NULL, PCI_DEVFN(2, 0), dev, "rng0", NULL) == 0);
	for (unsigned i = 0; i < PORTS; i++)
		CHECK(pcie_port_create(pci_host_root(machine->host), PCI_DEVFN(28, i), i + 1, "port", &machine->ports[i]) == 0);
	assign(machine);
}

static void check(struct machine *machine)
{
	struct pci_root *root = pci_host_root(machine->host);

	CHECK(pci_config_read(root, 0, PCI_DEVFN(0, 0), PCI_VENDOR_ID, 4) == 0x29c08086);
	CHECK(pci_config_read(root, 0, PCI_DEVFN(2, 0), PCI_VENDOR_ID, 4) == 0x10441af4);
	CHECK(pci_config_read(root, 0, PCI_DEVFN(28, 1), PCI_VENDOR_ID, 4) == 0x000c1b36);
	CHECK(machine->gone <= machine->plugged);
}

static void tear_down(struct machine *machine)
{
	struct vm *vm = &machine->vm;

	while (vm->device_count > 0) {
		struct device *dev = vm->devices[--vm->device_count];

		if (dev->ops->destroy)
			dev->ops->destroy(dev);
	}
	devices_free_retired(vm);
	mem_destroy(&vm->mem);
	free(machine->ram);
	CHECK(fake_alloc_live() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct machine *machine = calloc(1, sizeof(*machine));

	CHECK(machine);
	build(machine);
	while (in.len > 0)
		step(machine, &in);
	check(machine);
	tear_down(machine);
	free(machine);
	return 0;
}
