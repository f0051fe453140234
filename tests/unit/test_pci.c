/* dev/pci: configuration space by both mechanisms, base address registers that move, INTx routing, MSI-X; the LPC bridge's
 * routes and power management; the virtio transport's registers.
 *
 * Example: `meson test -C build pci`
 */
#include "base/errno.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/host.h"
#include "dev/pci/ich9_pm.h"
#include "dev/pci/lpc.h"
#include "dev/pci/msix.h"
#include "dev/virtio/pci.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SLOT 4u

/* A function with one register of each kind that answers with its number and offset. */
struct probe {
	struct pci_function pci;
	struct msix *msix;
	unsigned writes;
};

static uint64_t probe_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct probe *probe = container_of(dev, struct probe, pci.dev);

	return region == 2 ? msix_read(probe->msix, offset) : region << 16 | offset;
}

static void probe_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *probe = container_of(dev, struct probe, pci.dev);

	probe->writes++;
	if (region == 2)
		msix_write(probe->msix, offset, (uint32_t)value);
}

static void probe_reset(struct device *dev)
{
	pci_function_reset(&container_of(dev, struct probe, pci.dev)->pci);
}

static void probe_destroy(struct device *dev)
{
	struct probe *probe = container_of(dev, struct probe, pci.dev);

	msix_destroy(probe->msix);
	free(probe);
}

static const struct device_ops probe_ops = {
	.name = "probe", .reset = probe_reset, .read = probe_read, .write = probe_write, .destroy = probe_destroy};

struct fixture {
	struct vm *vm;
	struct irqchip *chip;
	struct pci_host *host;
	struct ich9_pm *pm;
	struct probe *probe;
};

static struct probe *add_probe(struct fixture *f, struct pci_bus *bus, uint8_t devfn)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	pci_function_init(&probe->pci, NULL, &(struct pci_ids){.vendor = 0x1234, .device = 0x5678, .class_code = 0x010203});
	pci_set_interrupt_pin(&probe->pci, 1);
	pci_add_bar(&probe->pci, 0, PCI_BAR_IO, 0x20, 1, 4);
	pci_add_bar(&probe->pci, 1, PCI_BAR_MEM32, 0x1000, 1, 4);
	assert_int_equal(msix_create(&probe->pci, 2, 3, &probe->msix), 0);
	pci_add_bar(&probe->pci, 4, PCI_BAR_MEM64, 0x4000, 1, 8);
	pci_set_prefetchable(&probe->pci, 4);
	pci_add_bar(&probe->pci, PCI_BAR_ROM, PCI_BAR_MEM32, 0x10000, 1, 8);
	assert_int_equal(pci_attach(pci_host_root(f->host), bus, devfn, &probe->pci, &probe_ops, "probe"), 0);
	return probe;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->vm = machine_create(1);
	assert_int_equal(irqchip_create(f->vm, &f->chip), 0);
	assert_int_equal(pci_host_create(f->vm, f->chip, &f->host), 0);
	assert_int_equal(ich9_pm_create(f->vm, irqchip_line(f->chip, 9), &f->pm), 0);
	assert_int_equal(lpc_create(pci_host_root(f->host), f->chip, f->pm), 0);
	f->probe = add_probe(f, NULL, PCI_DEVFN(SLOT, 0));
	devices_reset(f->vm);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	machine_destroy(f->vm);
	free(f);
	return 0;
}

static void config_address(struct fixture *f, uint8_t devfn, unsigned offset)
{
	machine_out(f->vm, 0xcf8, 4, 0x80000000u | (uint32_t)devfn << 8 | (offset & ~3u));
}

static uint32_t config_read(struct fixture *f, uint8_t devfn, unsigned offset, unsigned size)
{
	config_address(f, devfn, offset);
	return machine_in(f->vm, (uint16_t)(0xcfc + (offset & 3)), size);
}

static void config_write(struct fixture *f, uint8_t devfn, unsigned offset, unsigned size, uint32_t value)
{
	config_address(f, devfn, offset);
	machine_out(f->vm, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

#define PROBE PCI_DEVFN(SLOT, 0)

static void test_identity(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(config_read(f, 0, PCI_VENDOR_ID, 4), 0x29c08086);
	assert_int_equal(config_read(f, 0, PCI_SUBSYSTEM_VENDOR, 4), 0x11001af4);
	assert_int_equal(config_read(f, PROBE, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(config_read(f, PROBE, PCI_CLASS, 1), 0x03);
	assert_int_equal(config_read(f, PROBE, PCI_CLASS + 1, 2), 0x0102);
	assert_int_equal(config_read(f, LPC_DEVFN, PCI_VENDOR_ID, 4), 0x29188086);
	/* Read-only, and nobody there. */
	config_write(f, PROBE, PCI_VENDOR_ID, 4, 0);
	assert_int_equal(config_read(f, PROBE, PCI_VENDOR_ID, 2), 0x1234);
	assert_int_equal(config_read(f, PCI_DEVFN(5, 0), PCI_VENDOR_ID, 4), 0xffffffff);
	assert_int_equal(config_read(f, PCI_DEVFN(SLOT, 1), PCI_VENDOR_ID, 2), 0xffff);
	/* The enable bit is off. */
	machine_out(f->vm, 0xcf8, 4, 0);
	assert_int_equal(machine_in(f->vm, 0xcfc, 4), 0xffffffff);
}

static void test_ecam(void **state)
{
	struct fixture *f = *state;
	const uint64_t base = 0xb0000000u, probe = base + ((uint64_t)PROBE << 12);

	assert_int_equal(machine_read(f->vm, 0, probe, 4), 0xffffffff);
	config_write(f, 0, 0x60, 4, 0xb0000001);
	assert_int_equal(machine_read(f->vm, 0, probe, 4), 0x56781234);
	assert_int_equal(machine_read(f->vm, 0, probe + 2, 2), 0x5678);
	machine_write(f->vm, 0, probe + PCI_INTERRUPT_LINE, 1, 11);
	assert_int_equal(config_read(f, PROBE, PCI_INTERRUPT_LINE, 1), 11);
	/* It has no extended space; the last byte of the last function of the last bus is nobody's. */
	assert_int_equal(machine_read(f->vm, 0, probe + 0x100, 4), 0);
	assert_int_equal(machine_read(f->vm, 0, base + 0xfffffff, 1), 0xff);
	/* Moved, and shortened to 64 MiB. */
	config_write(f, 0, 0x60, 4, 0xe0000005);
	assert_int_equal(machine_read(f->vm, 0, probe, 4), 0xffffffff);
	assert_int_equal(machine_read(f->vm, 0, 0xe0000000u + ((uint64_t)PROBE << 12), 4), 0x56781234);
	config_write(f, 0, 0x60, 4, 0xe0000000);
	assert_int_equal(machine_read(f->vm, 0, 0xe0000000u + ((uint64_t)PROBE << 12), 4), 0xffffffff);
}

static void test_bar_sizes(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned offset;
		uint32_t size_mask;
	} bars[] = {{0x10, 0xffffffe1}, {0x14, 0xfffff000}, {0x18, 0xfffff000}, {0x1c, 0}, {0x20, 0xffffc00c},
		    {0x24, 0xffffffff}, {0x30, 0xffff0001}};

	for (unsigned i = 0; i < ARRAY_SIZE(bars); i++) {
		config_write(f, PROBE, bars[i].offset, 4, 0xffffffff);
		assert_int_equal(config_read(f, PROBE, bars[i].offset, 4), bars[i].size_mask);
	}
}

static void test_bars_move(void **state)
{
	struct fixture *f = *state;

	config_write(f, PROBE, 0x10, 4, 0xc000);
	config_write(f, PROBE, 0x14, 4, 0xc0001000);
	assert_int_equal(machine_in(f->vm, 0xc004, 1), 0xff); /* not decoded yet */
	config_write(f, PROBE, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(machine_in(f->vm, 0xc004, 4), 4);
	assert_int_equal(machine_read(f->vm, 0, 0xc0001010, 4), 0xffffffff);
	config_write(f, PROBE, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(machine_read(f->vm, 0, 0xc0001010, 4), 0x10010);
	config_write(f, PROBE, 0x14, 4, 0xc0002000);
	assert_int_equal(machine_read(f->vm, 0, 0xc0001010, 4), 0xffffffff);
	assert_int_equal(machine_read(f->vm, 0, 0xc0002010, 4), 0x10010);
	/* 64 bits */
	config_write(f, PROBE, 0x20, 4, 0x00008000);
	config_write(f, PROBE, 0x24, 4, 0x10);
	assert_int_equal(machine_read(f->vm, 0, 0x1000008020, 4), 0x40020);
	/* The ROM has an enable bit of its own. */
	config_write(f, PROBE, 0x30, 4, 0xc0100000);
	assert_int_equal(machine_read(f->vm, 0, 0xc0100000, 4), 0xffffffff);
	config_write(f, PROBE, 0x30, 4, 0xc0100001);
	assert_int_equal(machine_read(f->vm, 0, 0xc0100000, 4), PCI_BAR_ROM << 16);
	/* A port register does not fit behind 64 KiB. */
	config_write(f, PROBE, 0x10, 4, 0x1c000);
	assert_int_equal(machine_in(f->vm, 0xc004, 1), 0xff);
	devices_reset(f->vm);
	assert_int_equal(machine_read(f->vm, 0, 0xc0002010, 4), 0xffffffff);
	assert_int_equal(config_read(f, PROBE, 0x14, 4), 0);
}

/* Of two at one place the first answers; when it goes, the other one. */
static void test_bars_overlap(void **state)
{
	struct fixture *f = *state;
	struct probe *other = add_probe(f, NULL, PCI_DEVFN(SLOT + 1, 0));

	config_write(f, PROBE, 0x14, 4, 0xc0001000);
	config_write(f, PROBE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	config_write(f, PCI_DEVFN(SLOT + 1, 0), 0x14, 4, 0xc0001000);
	config_write(f, PCI_DEVFN(SLOT + 1, 0), PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	machine_write(f->vm, 0, 0xc0001000, 4, 1);
	assert_int_equal(f->probe->writes, 1);
	assert_int_equal(other->writes, 0);
	config_write(f, PROBE, 0x14, 4, 0xc0009000);
	machine_write(f->vm, 0, 0xc0001000, 4, 1);
	assert_int_equal(f->probe->writes, 1);
	assert_int_equal(other->writes, 1);
	pci_detach(&other->pci);
	machine_write(f->vm, 0, 0xc0001000, 4, 1);
	assert_int_equal(other->writes, 1);
	assert_int_equal(config_read(f, PCI_DEVFN(SLOT + 1, 0), 0, 4), 0xffffffff);
}

static uint32_t ioapic_irr(struct fixture *f, unsigned pin)
{
	machine_write(f->vm, 0, IOAPIC_DEFAULT_BASE, 1, 0x10 + 2 * pin);
	return (uint32_t)machine_read(f->vm, 0, IOAPIC_DEFAULT_BASE + 0x10, 4) & 1u << 14;
}

static void ioapic_open(struct fixture *f, unsigned pin)
{
	machine_write(f->vm, 0, IOAPIC_DEFAULT_BASE, 1, 0x10 + 2 * pin);
	machine_write(f->vm, 0, IOAPIC_DEFAULT_BASE + 0x10, 4, 0x8000 | (0x40 + pin)); /* level */
}

/* Slot 4, INTA#: PIRQ E, GSI 20; and the PIC's input that PIRQE_ROUT says. */
static void test_intx(void **state)
{
	struct fixture *f = *state;

	ioapic_open(f, 20);
	assert_int_equal(pci_pirq(&f->probe->pci, 1), 4);
	machine_out(f->vm, 0x4d1, 1, 0x0c); /* 10 and 11 are level-triggered */
	config_write(f, LPC_DEVFN, 0x68, 1, 11);
	pci_set_intx(&f->probe->pci, true);
	assert_int_not_equal(ioapic_irr(f, 20), 0);
	assert_int_equal(config_read(f, PROBE, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	machine_out(f->vm, 0xa0, 1, 0x0a);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 1u << 3);
	config_write(f, LPC_DEVFN, 0x68, 1, 10);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 1u << 2);
	/* Not routed to what ISA needs for itself. */
	config_write(f, LPC_DEVFN, 0x68, 1, 8);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 0);
	config_write(f, LPC_DEVFN, 0x68, 1, 10);
	config_write(f, PROBE, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 0);
	config_write(f, PROBE, PCI_COMMAND, 2, 0);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 1u << 2);
	pci_set_intx(&f->probe->pci, false);
	assert_int_equal(machine_in(f->vm, 0xa0, 1), 0);
}

static bool lapic_has(struct fixture *f, unsigned vector)
{
	return machine_read(f->vm, 0, LAPIC_DEFAULT_BASE + 0x200 + 0x10 * (vector / 32), 4) >> vector % 32 & 1;
}

static void test_msix(void **state)
{
	struct fixture *f = *state;
	const unsigned cap = f->probe->pci.config[PCI_CAPABILITIES];
	const uint64_t table = 0xc0004000u;

	machine_write(f->vm, 0, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	assert_int_equal(config_read(f, PROBE, cap, 1), PCI_CAP_MSIX);
	assert_int_equal(config_read(f, PROBE, cap + 2, 2), 2); /* three vectors */
	config_write(f, PROBE, 0x18, 4, (uint32_t)table);
	config_write(f, PROBE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(machine_read(f->vm, 0, table + 16 * i + 12, 4), 1); /* masked */
		machine_write(f->vm, 0, table + 16 * i, 4, 0xfee00000);
		machine_write(f->vm, 0, table + 16 * i + 8, 4, 0x50 + i);
	}
	assert_int_equal(machine_read(f->vm, 0, table + 16 + 8, 4), 0x51);
	/* Off: nothing, and nothing pends. */
	msix_signal(f->probe->msix, 1);
	assert_int_equal(machine_read(f->vm, 0, table + 0x800, 4), 0);
	config_write(f, PROBE, cap + 2, 2, 0x8000);
	assert_true(msix_enabled(f->probe->msix));
	msix_signal(f->probe->msix, 1);
	assert_false(lapic_has(f, 0x51));
	assert_int_equal(machine_read(f->vm, 0, table + 0x800, 4), 2);
	machine_write(f->vm, 0, table + 16 + 12, 4, 0);
	assert_true(lapic_has(f, 0x51));
	assert_int_equal(machine_read(f->vm, 0, table + 0x800, 4), 0);
	/* The function's mask. */
	machine_write(f->vm, 0, table + 32 + 12, 4, 0);
	config_write(f, PROBE, cap + 2, 2, 0xc000);
	msix_signal(f->probe->msix, 2);
	assert_false(lapic_has(f, 0x52));
	config_write(f, PROBE, cap + 2, 2, 0x8000);
	assert_true(lapic_has(f, 0x52));
	/* No such vector; and past the table. */
	msix_signal(f->probe->msix, 3);
	machine_write(f->vm, 0, table + 48, 4, 0xfee00000);
	assert_int_equal(machine_read(f->vm, 0, table + 48, 4), 0);
}

static void test_reset_control(void **state)
{
	struct fixture *f = *state;

	machine_out(f->vm, 0xcf9, 1, 0x02);
	assert_int_equal(machine_in(f->vm, 0xcf9, 1), 0x02);
	assert_int_equal(f->vm->stop_reason, VM_STOP_NONE);
	machine_out(f->vm, 0xcf9, 1, 0x06);
	assert_int_equal(f->vm->stop_reason, VM_STOP_RESET);
}

static void place_pm(struct fixture *f)
{
	config_write(f, LPC_DEVFN, 0x40, 4, 0x601);
	config_write(f, LPC_DEVFN, 0x44, 1, 0x80);
}

static void test_power_button(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(machine_in(f->vm, 0x600, 2), 0xffff);
	place_pm(f);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0);
	ioapic_open(f, 9);
	machine_out(f->vm, 0x602, 2, 0x100);
	ich9_pm_power_button(f->pm);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0x100);
	assert_int_equal(ioapic_irr(f, 9), 0); /* ACPI is off */
	machine_out(f->vm, ICH9_SMI_PORT, 1, ICH9_ACPI_ENABLE);
	assert_int_equal(machine_in(f->vm, 0x604, 2), 1);
	assert_int_not_equal(ioapic_irr(f, 9), 0);
	machine_out(f->vm, 0x600, 2, 0x100);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0);
	machine_out(f->vm, 0x604, 2, 0x2000 | 1 << 10); /* S3: there is none */
	assert_int_equal(f->vm->stop_reason, VM_STOP_NONE);
	machine_out(f->vm, 0x604, 2, 0x2000);
	assert_int_equal(f->vm->stop_reason, VM_STOP_POWEROFF);
}

static void test_alarm(void **state)
{
	struct fixture *f = *state;

	place_pm(f);
	ioapic_open(f, 9);
	machine_out(f->vm, ICH9_SMI_PORT, 1, ICH9_ACPI_ENABLE);
	ich9_pm_rtc(f->pm, true);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0x400);
	assert_int_equal(ioapic_irr(f, 9), 0);
	machine_out(f->vm, 0x602, 2, 0x400);
	assert_int_not_equal(ioapic_irr(f, 9), 0);
	/* Each time the line goes up, not while it is. */
	machine_out(f->vm, 0x600, 2, 0x400);
	ich9_pm_rtc(f->pm, true);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0);
	ich9_pm_rtc(f->pm, false);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0);
	ich9_pm_rtc(f->pm, true);
	assert_int_equal(machine_in(f->vm, 0x600, 2), 0x400);
}

static void test_pm_timer(void **state)
{
	struct fixture *f = *state;
	uint32_t before;

	place_pm(f);
	ioapic_open(f, 9);
	machine_out(f->vm, ICH9_SMI_PORT, 1, ICH9_ACPI_ENABLE);
	before = machine_in(f->vm, 0x608, 4);
	fake_advance(1000000000);
	assert_in_range((machine_in(f->vm, 0x608, 4) - before) & 0xffffff, 3579544, 3579546);
	machine_out(f->vm, 0x600, 2, 1);
	machine_out(f->vm, 0x602, 2, 1);
	assert_int_equal(ioapic_irr(f, 9), 0);
	fake_advance(2400000000); /* half a period of the 24 bits is 2.34 s */
	assert_int_equal(machine_in(f->vm, 0x600, 2) & 1, 1);
	assert_int_not_equal(ioapic_irr(f, 9), 0);
}

static void test_virtio(void **state)
{
	struct fixture *f = *state;
	struct virtio_device *vdev;
	struct pci_function *function;
	const uint8_t devfn = PCI_DEVFN(6, 0);
	const uint64_t regs = 0xc0010000u;
	unsigned cap, types = 0, msix = 0;

	assert_int_equal(virtio_rng_create(f->vm, &vdev), 0);
	assert_int_equal(virtio_pci_create(pci_host_root(f->host), NULL, devfn, vdev, "rng", &function), 0);
	assert_int_equal(config_read(f, devfn, 0, 4), 0x10441af4);
	for (cap = config_read(f, devfn, PCI_CAPABILITIES, 1); cap; cap = config_read(f, devfn, cap + 1, 1)) {
		if (config_read(f, devfn, cap, 1) == PCI_CAP_VENDOR)
			types |= 1u << config_read(f, devfn, cap + 3, 1);
		else if (config_read(f, devfn, cap, 1) == PCI_CAP_MSIX)
			msix = cap;
	}
	assert_int_equal(types, 0x3e);
	assert_int_not_equal(msix, 0);
	config_write(f, devfn, 0x20, 4, (uint32_t)regs);
	config_write(f, devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x12, 2), 1); /* queues */
	machine_write(f->vm, 0, regs + 0x00, 4, 1);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x04, 4) & 1, 1); /* VERSION_1 */
	/* Feature negotiation, and a queue in RAM. */
	machine_write(f->vm, 0, regs + 0x14, 1, 3);
	machine_write(f->vm, 0, regs + 0x08, 4, 1);
	machine_write(f->vm, 0, regs + 0x0c, 4, 1);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x0c, 4), 1);
	machine_write(f->vm, 0, regs + 0x14, 1, 11);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x14, 1), 11);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x18, 2), 64);
	machine_write(f->vm, 0, regs + 0x18, 2, 8);
	machine_write(f->vm, 0, regs + 0x20, 4, 0x1000);
	machine_write(f->vm, 0, regs + 0x28, 8, 0x2000); /* cut into halves */
	machine_write(f->vm, 0, regs + 0x30, 4, 0x3000);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x28, 4), 0x2000);
	machine_write(f->vm, 0, regs + 0x1a, 2, 7); /* no such vector */
	assert_int_equal(machine_read(f->vm, 0, regs + 0x1a, 2), 0xffff);
	machine_write(f->vm, 0, regs + 0x1c, 2, 1);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x1c, 2), 1);
	machine_write(f->vm, 0, regs + 0x14, 1, 15);
	/* A buffer of 16 bytes; INTx, and what ends it. */
	assert_int_equal(mem_write(&f->vm->mem, 0x1000, &(uint64_t){0x4000}, 8), 0);
	assert_int_equal(mem_write(&f->vm->mem, 0x1008, &(uint64_t){16 | 2ull << 32}, 8), 0);
	assert_int_equal(mem_write(&f->vm->mem, 0x2000, &(uint32_t){1u << 16}, 4), 0);
	ioapic_open(f, 16 + pci_pirq(function, 1));
	machine_write(f->vm, 0, regs + 0x3000, 2, 0);
	fake_run_work();
	assert_int_not_equal(ioapic_irr(f, 16 + pci_pirq(function, 1)), 0);
	assert_int_equal(config_read(f, devfn, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x1000, 1), 1);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x1000, 1), 0);
	assert_int_equal(config_read(f, devfn, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	/* A queue that is not there, an area without registers, a reset. */
	machine_write(f->vm, 0, regs + 0x16, 2, 99);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x18, 2), 0);
	machine_write(f->vm, 0, regs + 0x3ffc, 4, 1);
	machine_write(f->vm, 0, regs + 0x14, 1, 0);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x14, 1), 0);
	assert_int_equal(machine_read(f->vm, 0, regs + 0x16, 2), 0);
}

/* BAR 4 through the capability that is a window on it, without its being mapped. */
static void test_virtio_window(void **state)
{
	struct fixture *f = *state;
	struct virtio_device *vdev;
	const uint8_t devfn = PCI_DEVFN(6, 0);
	unsigned cap;

	assert_int_equal(virtio_rng_create(f->vm, &vdev), 0);
	assert_int_equal(virtio_pci_create(pci_host_root(f->host), NULL, devfn, vdev, "rng", NULL), 0);
	cap = config_read(f, devfn, PCI_CAPABILITIES, 1);
	while (config_read(f, devfn, cap, 1) != PCI_CAP_VENDOR || config_read(f, devfn, cap + 3, 1) != 5)
		cap = config_read(f, devfn, cap + 1, 1);
	config_write(f, devfn, cap + 4, 1, 4);
	config_write(f, devfn, cap + 8, 4, 0x14);
	config_write(f, devfn, cap + 12, 4, 1);
	config_write(f, devfn, cap + 16, 1, 3);
	assert_int_equal(vdev->status, 3);
	assert_int_equal(config_read(f, devfn, cap + 16, 1), 3);
	/* Outside of the registers, of a wrong length, of another register. */
	config_write(f, devfn, cap + 8, 4, 0x4000);
	config_write(f, devfn, cap + 16, 1, 0);
	config_write(f, devfn, cap + 8, 4, 0x14);
	config_write(f, devfn, cap + 12, 4, 3);
	config_write(f, devfn, cap + 16, 1, 0);
	config_write(f, devfn, cap + 12, 4, 0);
	config_write(f, devfn, cap + 16, 1, 0);
	config_write(f, devfn, cap + 12, 4, 1);
	config_write(f, devfn, cap + 4, 1, 1);
	config_write(f, devfn, cap + 16, 1, 0);
	assert_int_equal(vdev->status, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ecam, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bars_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bars_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_control, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_button, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alarm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pm_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_virtio, setup, teardown),
		cmocka_unit_test_setup_teardown(test_virtio_window, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
