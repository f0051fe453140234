/* Configuration space, base address registers and INTx; see pci.h.
 *
 * Where a register is mapped follows from configuration space alone. After each write that may matter, everything is
 * looked at again: what moved is taken off the bus, then what is enabled and not yet there is put on it. So of two that
 * overlap, which a guest may do, the one that was there first answers, and the other one when the first has gone.
 *
 * Example: see pci.h.
 */
#include "dev/pci/pci.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/msix.h"
#include <stdatomic.h>

#define CAPABILITIES_START 0x40
#define CONFIG_SPACE       256u /* of a function that is not PCI Express */

/* ---- bytes ---- */

uint16_t pci_get16(const struct pci_function *function, unsigned offset)
{
	return (uint16_t)(function->config[offset] | function->config[offset + 1] << 8);
}

uint32_t pci_get32(const struct pci_function *function, unsigned offset)
{
	return pci_get16(function, offset) | (uint32_t)pci_get16(function, offset + 2) << 16;
}

static void put(uint8_t *bytes, uint64_t value, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

void pci_put16(struct pci_function *function, unsigned offset, uint16_t value)
{
	put(&function->config[offset], value, 2);
}

void pci_put32(struct pci_function *function, unsigned offset, uint32_t value)
{
	put(&function->config[offset], value, 4);
}

void pci_put64(struct pci_function *function, unsigned offset, uint64_t value)
{
	put(&function->config[offset], value, 8);
}

void pci_writable16(struct pci_function *function, unsigned offset, uint16_t bits)
{
	put(&function->writable[offset], bits, 2);
}

void pci_writable32(struct pci_function *function, unsigned offset, uint32_t bits)
{
	put(&function->writable[offset], bits, 4);
}

/* A processor may be in an access to a function that is being unplugged. */
static struct pci_root *root_of(const struct pci_function *function)
{
	struct pci_bus *const volatile *at = &function->bus;
	const struct pci_bus *bus = *at;

	return bus ? bus->root : NULL;
}

/* ---- building ---- */

void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops, const struct pci_ids *ids)
{
	function->ops = ops;
	function->capabilities_end = CAPABILITIES_START;
	pci_put16(function, PCI_VENDOR_ID, ids->vendor);
	pci_put16(function, PCI_DEVICE_ID, ids->device);
	function->config[PCI_REVISION] = ids->revision;
	put(&function->config[PCI_CLASS], ids->class_code, 3);
	pci_put16(function, PCI_SUBSYSTEM_VENDOR, ids->subsystem_vendor);
	pci_put16(function, PCI_SUBSYSTEM_ID, ids->subsystem);
	pci_writable16(function, PCI_COMMAND,
		       PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			       PCI_COMMAND_INTX_DISABLE);
	function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static bool is_bridge(const struct pci_function *function)
{
	return (function->config[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_BRIDGE;
}

static unsigned bar_offset(const struct pci_function *function, unsigned bar)
{
	if (bar == PCI_BAR_ROM)
		return is_bridge(function) ? PCI_BRIDGE_ROM : PCI_ROM;
	return PCI_BAR0 + 4 * bar;
}

void pci_add_bar(struct pci_function *function, unsigned bar, enum pci_bar_kind kind, uint64_t size, uint8_t min_size,
		 uint8_t max_size)
{
	unsigned offset = bar_offset(function, bar);

	BUG_ON(bar > PCI_BAR_ROM || !size || (size & (size - 1)));
	function->bars[bar] = (struct pci_bar){.kind = kind, .size = size, .min_size = min_size, .max_size = max_size};
	put(&function->writable[offset], ~(size - 1), kind == PCI_BAR_MEM64 ? 8 : 4);
	if (bar == PCI_BAR_ROM)
		function->writable[offset] |= PCI_ROM_ENABLE;
	else if (kind == PCI_BAR_IO)
		pci_put32(function, offset, PCI_BAR_IO_SPACE);
	else if (kind == PCI_BAR_MEM64)
		pci_put32(function, offset, PCI_BAR_64BIT);
}

void pci_set_prefetchable(struct pci_function *function, unsigned bar)
{
	function->config[bar_offset(function, bar)] |= PCI_BAR_PREFETCH;
}

void pci_set_interrupt_pin(struct pci_function *function, uint8_t pin)
{
	function->config[PCI_INTERRUPT_PIN] = pin;
}

void pci_make_bridge(struct pci_function *function)
{
	function->config[PCI_HEADER_TYPE] = PCI_HEADER_BRIDGE;
	/* There is no place for these. */
	pci_put32(function, PCI_SUBSYSTEM_VENDOR, 0);
	put(&function->writable[PCI_PRIMARY_BUS], 0xffffff, 3);
	/* Windows are closed, until somebody says where they are. */
	put(&function->config[PCI_IO_BASE], 0x00f0, 2);
	put(&function->writable[PCI_IO_BASE], 0xf0f0, 2);
	put(&function->clear[PCI_SECONDARY_STATUS], 0xf900, 2);
	pci_put32(function, PCI_MEMORY_BASE, 0x0000fff0);
	pci_writable32(function, PCI_MEMORY_BASE, 0xfff0fff0);
	pci_put32(function, PCI_PREF_BASE, 0x0001fff1); /* of 64 bits */
	pci_writable32(function, PCI_PREF_BASE, 0xfff0fff0);
	pci_writable32(function, PCI_PREF_BASE_HIGH, UINT32_MAX);
	pci_writable32(function, PCI_PREF_LIMIT_HIGH, UINT32_MAX);
	pci_writable16(function, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CONTROL_RESET | 0x1f);
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size)
{
	unsigned offset = function->capabilities_end, end = (offset + size + 3) & ~3u;

	BUG_ON(end > CONFIG_SPACE - 4);
	function->config[offset] = id;
	/* At the front of the list: the one before becomes the next. */
	function->config[offset + 1] = function->config[PCI_CAPABILITIES];
	function->config[PCI_CAPABILITIES] = (uint8_t)offset;
	function->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	function->capabilities_end = (uint8_t)end;
	return offset;
}

/* PCI Express Base 3.0 §7.8: a function on a link of one lane at 2.5 GT/s, or (9) of the root complex itself. */
unsigned pci_add_express(struct pci_function *function, unsigned type)
{
	unsigned at = pci_add_capability(function, PCI_CAP_EXPRESS, 0x3c);
	const uint32_t link = type == 9 ? 0 : 1u | 1u << 4;

	function->express = true;
	pci_put16(function, at + 0x02, (uint16_t)(2 | type << 4));
	pci_put32(function, at + 0x04, 1u << 15);           /* device capabilities: role-based errors */
	pci_writable16(function, at + 0x08, 0x7fef);        /* device control */
	put(&function->clear[at + 0x0a], 0xf, 2);           /* device status: errors */
	pci_put32(function, at + 0x0c, link | (type == 9 ? 0 : 3u << 10)); /* link capabilities: ASPM L0s, L1 */
	pci_writable16(function, at + 0x10, 0x00c3);        /* link control */
	pci_put16(function, at + 0x12, (uint16_t)link);     /* link status */
	pci_put32(function, at + 0x2c, type == 9 ? 0 : 2);  /* link capabilities 2: 2.5 GT/s */
	return at;
}

void pci_add_msi(struct pci_function *function)
{
	unsigned at = pci_add_capability(function, PCI_CAP_MSI, 14);

	function->msi = at;
	pci_put16(function, at + 2, 1u << 7); /* 64-bit address */
	pci_writable16(function, at + 2, 1);
	pci_writable32(function, at + 4, 0xfffffffc);
	pci_writable32(function, at + 8, 0xffffffff);
	pci_writable16(function, at + 12, 0xffff);
}

/* ---- where registers are mapped ---- */

/* Of what a port lets through to its bus. */
struct window {
	uint64_t base, limit;
};

static struct window memory_window(const struct pci_function *port)
{
	return (struct window){(uint64_t)(pci_get16(port, PCI_MEMORY_BASE) & 0xfff0) << 16,
			       (uint64_t)(pci_get16(port, PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff};
}

static struct window prefetch_window(const struct pci_function *port)
{
	return (struct window){(uint64_t)pci_get32(port, PCI_PREF_BASE_HIGH) << 32 |
				       (uint64_t)(pci_get16(port, PCI_PREF_BASE) & 0xfff0) << 16,
			       (uint64_t)pci_get32(port, PCI_PREF_LIMIT_HIGH) << 32 |
				       (uint64_t)(pci_get16(port, PCI_PREF_LIMIT) & 0xfff0) << 16 | 0xfffff};
}

static struct window io_window(const struct pci_function *port)
{
	return (struct window){(port->config[PCI_IO_BASE] & 0xf0u) << 8, (port->config[PCI_IO_LIMIT] & 0xf0u) << 8 | 0xfff};
}

static bool inside(struct window window, uint64_t base, uint64_t size)
{
	return base >= window.base && base <= window.limit && size - 1 <= window.limit - base;
}

static bool passes(const struct pci_function *port, enum pci_bar_kind kind, uint64_t base, uint64_t size)
{
	uint16_t command;

	if (!port)
		return true;
	command = pci_get16(port, PCI_COMMAND);
	if (kind == PCI_BAR_IO)
		return (command & PCI_COMMAND_IO) && inside(io_window(port), base, size);
	return (command & PCI_COMMAND_MEMORY) &&
	       (inside(memory_window(port), base, size) || inside(prefetch_window(port), base, size));
}

/* Where the guest wants the register; false: nowhere. */
static bool wanted(const struct pci_function *function, unsigned index, uint64_t *base)
{
	const struct pci_bar *bar = &function->bars[index];
	const unsigned offset = bar_offset(function, index);
	const uint16_t command = pci_get16(function, PCI_COMMAND);
	uint64_t last, value = pci_get32(function, offset), limit = UINT32_MAX;

	if (bar->kind == PCI_BAR_NONE || !function->bus || function->bus->off)
		return false;
	if (!(command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return false;
	if (index == PCI_BAR_ROM && !(value & PCI_ROM_ENABLE))
		return false;
	if (bar->kind == PCI_BAR_MEM64) {
		value |= (uint64_t)pci_get32(function, offset + 4) << 32;
		limit = UINT64_MAX;
	} else if (bar->kind == PCI_BAR_IO) {
		limit = UINT16_MAX;
	}
	*base = value & ~(bar->size - 1);
	/* 0 is what a register holds that nobody has set; all ones is how its size is asked for. */
	if (*base == 0 || __builtin_add_overflow(*base, bar->size - 1, &last) || last > limit ||
	    (bar->kind == PCI_BAR_MEM64 && *base == (~(bar->size - 1))))
		return false;
	return passes(function->bus->port, bar->kind, *base, bar->size);
}

static struct bus *bus_of(const struct pci_function *function, unsigned index)
{
	struct vm *vm = function->dev.vm;

	return function->bars[index].kind == PCI_BAR_IO ? &vm->pio : &vm->mmio;
}

static void unmap(struct pci_function *function, unsigned index)
{
	struct pci_bar *bar = &function->bars[index];

	if (bar->mapped)
		bus_unmap(bus_of(function, index), bar->base, &function->dev);
	bar->mapped = false;
}

static void map(struct pci_function *function, unsigned index)
{
	struct pci_bar *bar = &function->bars[index];
	struct bus_region region = {.size = bar->size,
				    .dev = &function->dev,
				    .index = index,
				    .min_size = bar->min_size,
				    .max_size = bar->max_size};

	if (bar->mapped || !wanted(function, index, &region.base))
		return;
	if (bus_map(bus_of(function, index), &region) == 0) {
		bar->mapped = true;
		bar->base = region.base;
	}
}

static void unmap_moved(struct pci_function *function)
{
	for (unsigned i = 0; i <= PCI_BAR_ROM; i++) {
		uint64_t base;

		if (function->bars[i].mapped && (!wanted(function, i, &base) || base != function->bars[i].base))
			unmap(function, i);
	}
}

static void map_wanted(struct pci_function *function)
{
	for (unsigned i = 0; i <= PCI_BAR_ROM; i++)
		map(function, i);
}

static void for_each(struct pci_root *root, void (*call)(struct pci_function *function))
{
	for (unsigned bus = 0; bus <= root->port_count; bus++) {
		struct pci_bus *at = bus ? root->ports[bus - 1] : &root->bus;

		for (unsigned i = 0; i < ARRAY_SIZE(at->functions); i++)
			if (at->functions[i])
				call(at->functions[i]);
	}
}

static void update_mappings(struct pci_root *root)
{
	for_each(root, unmap_moved);
	for_each(root, map_wanted);
}

static void widen(const struct pci_function *function, uint64_t from, uint64_t *first, uint64_t *last)
{
	for (unsigned i = 0; i <= PCI_BAR_ROM; i++) {
		const struct pci_bar *bar = &function->bars[i];

		if (!bar->mapped || bar->kind == PCI_BAR_IO || bar->base < from)
			continue;
		if (bar->base < *first)
			*first = bar->base;
		if (bar->base + bar->size - 1 > *last)
			*last = bar->base + bar->size - 1;
	}
}

bool pci_mapped_above(struct pci_root *root, uint64_t from, uint64_t *first, uint64_t *last)
{
	*first = UINT64_MAX;
	*last = 0;
	lock_take(&root->lock);
	for (unsigned bus = 0; bus <= root->port_count; bus++) {
		const struct pci_bus *at = bus ? root->ports[bus - 1] : &root->bus;

		for (unsigned i = 0; i < ARRAY_SIZE(at->functions); i++)
			if (at->functions[i])
				widen(at->functions[i], from, first, last);
	}
	lock_release(&root->lock);
	return *first <= *last;
}

/* ---- INTx ---- */

/* ICH9: slots from 25 on have A to D; of what QEMU's Q35 and firmware agree on for the others, E to H. */
unsigned pci_root_pirq(unsigned slot, unsigned pin)
{
	pin--;
	return slot >= 25 ? pin % 4 : 4 + (pin + slot) % 4;
}

unsigned pci_pirq(const struct pci_function *function, unsigned pin)
{
	const struct pci_function *port = function->bus->port;
	unsigned slot = function->devfn >> 3;

	/* A bridge turns pins by the slot. */
	return port ? pci_root_pirq(port->devfn >> 3, pin + slot) : pci_root_pirq(slot, pin);
}

/* irq_lock held. */
static void drive(struct pci_function *function)
{
	bool level = function->intx && !function->intx_disabled;
	struct pci_root *root;
	unsigned pirq, before;

	if (!function->bus || !function->config[PCI_INTERRUPT_PIN] || level == function->intx_out)
		return;
	root = function->bus->root;
	pirq = pci_pirq(function, function->config[PCI_INTERRUPT_PIN]);
	before = root->pirq_users[pirq];
	function->intx_out = level;
	root->pirq_users[pirq] = level ? before + 1 : before - 1;
	if (root->pirq && (before == 0 || root->pirq_users[pirq] == 0))
		root->pirq(root->pirq_ctx, pirq, level);
}

void pci_set_intx(struct pci_function *function, bool level)
{
	struct pci_root *root = root_of(function);

	if (!root)
		return;
	lock_take(&root->irq_lock);
	function->intx = level;
	drive(function);
	lock_release(&root->irq_lock);
}

static void update_intx(struct pci_root *root, struct pci_function *function)
{
	lock_take(&root->irq_lock);
	function->intx_disabled = pci_get16(function, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
	drive(function);
	lock_release(&root->irq_lock);
}

static bool intx_pending(struct pci_root *root, const struct pci_function *function)
{
	bool pending;

	lock_take(&root->irq_lock);
	pending = function->intx;
	lock_release(&root->irq_lock);
	return pending;
}

bool pci_msi_enabled(struct pci_function *function)
{
	struct pci_root *root = root_of(function);
	bool on;

	if (!root || !function->msi)
		return false;
	lock_take(&root->irq_lock);
	on = function->config[function->msi + 2] & 1;
	lock_release(&root->irq_lock);
	return on;
}

void pci_send_message(const struct pci_function *function, uint64_t address, uint32_t data)
{
	struct pci_bus *const volatile *at = &function->bus; /* it may be unplugged meanwhile */
	const struct pci_bus *bus = *at;
	const struct pci_root *root = bus ? bus->root : NULL;

	if (!root)
		return;
	if (root->message)
		root->message(root->message_ctx, (uint16_t)((bus->port ? bus->port->config[PCI_SECONDARY_BUS] : 0u) << 8 | function->devfn),
			      address, data);
	else
		irqchip_msi(root->chip, address, data);
}

bool pci_signal_msi(struct pci_function *function)
{
	struct pci_root *root = root_of(function);
	unsigned at = function->msi;
	uint64_t address;
	uint32_t data;
	bool on;

	if (!root || !at)
		return false;
	lock_take(&root->irq_lock);
	on = function->config[at + 2] & 1;
	address = pci_get32(function, at + 4) | (uint64_t)pci_get32(function, at + 8) << 32;
	data = pci_get16(function, at + 12);
	lock_release(&root->irq_lock);
	if (on)
		pci_send_message(function, address, data);
	return on;
}

/* ---- the tree ---- */

void pci_root_init(struct pci_root *root, struct vm *vm, struct irqchip *chip)
{
	root->vm = vm;
	root->chip = chip;
	root->bus.root = root;
}

void pci_root_fini(struct pci_root *root)
{
	for (unsigned i = 0; i < root->port_count; i++)
		platform_free(root->ports[i]);
	root->port_count = 0;
}

/* Slots with a function other than 0 say so in function 0's header. */
static void mark_multifunction(struct pci_bus *bus, uint8_t devfn)
{
	struct pci_function *first = bus->functions[devfn & ~7u];

	for (unsigned i = 1; first && i < 8; i++) {
		if (!bus->functions[(devfn & ~7u) + i])
			continue;
		first->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
		first->power_on[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
	}
}

int pci_attach(struct pci_root *root, struct pci_bus *bus, uint8_t devfn, struct pci_function *function,
	       const struct device_ops *ops, const char *id)
{
	int r;

	if (!bus)
		bus = &root->bus;
	lock_take(&root->lock);
	r = bus->functions[devfn] ? -EEXIST : device_register(root->vm, &function->dev, ops, id);
	if (!r) {
		memcpy(function->power_on, function->config, sizeof(function->config));
		function->devfn = devfn;
		function->bus = bus;
		bus->functions[devfn] = function;
		mark_multifunction(bus, devfn);
	}
	lock_release(&root->lock);
	return r;
}

void pci_detach(struct pci_function *function)
{
	struct pci_bus *bus = function->bus;

	if (!bus)
		return;
	pci_set_intx(function, false);
	lock_take(&bus->root->lock);
	for (unsigned i = 0; i <= PCI_BAR_ROM; i++)
		unmap(function, i);
	bus->functions[function->devfn] = NULL;
	lock_take(&bus->root->irq_lock);
	function->bus = NULL;
	lock_release(&bus->root->irq_lock);
	update_mappings(bus->root);
	lock_release(&bus->root->lock);
}

void pci_set_bus_on(struct pci_bus *bus, bool on)
{
	bus->off = !on;
	update_mappings(bus->root);
}

int pci_add_port(struct pci_root *root, struct pci_function *port, struct pci_bus **out)
{
	struct pci_bus *bus;

	if (root->port_count == PCI_PORTS)
		return -ENOSPC;
	bus = platform_alloc(sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	bus->root = root;
	bus->port = port;
	root->ports[root->port_count++] = bus;
	*out = bus;
	return 0;
}

void pci_function_reset(struct pci_function *function)
{
	struct pci_root *root = root_of(function);

	if (!root)
		return;
	lock_take(&root->lock);
	memcpy(function->config, function->power_on, sizeof(function->config));
	update_mappings(root);
	lock_take(&root->irq_lock);
	function->intx = function->intx_disabled = false;
	drive(function);
	lock_release(&root->irq_lock);
	if (function->msix)
		msix_reset(function->msix);
	lock_release(&root->lock);
}

/* ---- access ---- */

static struct pci_function *find(struct pci_root *root, unsigned number, uint8_t devfn)
{
	if (number == 0)
		return root->bus.functions[devfn];
	for (unsigned i = 0; i < root->port_count; i++) {
		struct pci_bus *bus = root->ports[i];

		/* On a link there is one device. */
		if (bus->port->config[PCI_SECONDARY_BUS] == number)
			return bus->off ? NULL : bus->functions[devfn];
	}
	return NULL;
}

/* The function, or NULL; takes the root's lock. */
static struct pci_function *prepare_reading(struct pci_root *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size)
{
	struct pci_function *function;

	lock_take(&root->lock);
	function = find(root, bus, devfn);
	if (!function || !function->ops || !function->ops->config_reading)
		return function;
	lock_release(&root->lock);
	/* Should it be unplugged meanwhile, it is freed when no processor is here any more (core/barrier.h). */
	function->ops->config_reading(function, root, offset, size);
	lock_take(&root->lock);
	return find(root, bus, devfn);
}

uint32_t pci_config_read(struct pci_root *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size)
{
	struct pci_function *function = prepare_reading(root, bus, devfn, offset, size);
	uint32_t value = UINT32_MAX;

	if (function && offset + size <= PCI_CONFIG_SIZE) {
		if (offset >= CONFIG_SPACE && !function->express) {
			value = 0;
		} else {
			function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
			if (intx_pending(root, function))
				function->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
			value = 0;
			for (unsigned i = 0; i < size; i++)
				value |= (uint32_t)function->config[offset + i] << (8 * i);
		}
	}
	lock_release(&root->lock);
	return value & (uint32_t)((UINT64_C(1) << (8 * size)) - 1);
}

static bool touches(unsigned offset, unsigned size, unsigned first, unsigned last)
{
	return offset <= last && offset + size > first;
}

static void write_bytes(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)(value >> (8 * i)), *at = &function->config[offset + i];
		uint8_t mask = function->writable[offset + i];

		*at = (uint8_t)((*at & ~mask) | (byte & mask));
		*at &= (uint8_t)~(byte & function->clear[offset + i]);
	}
}

void pci_config_write(struct pci_root *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size, uint32_t value)
{
	void (*done)(struct pci_function *function, struct pci_root *root, unsigned offset, unsigned size) = NULL;
	struct pci_function *function;

	lock_take(&root->lock);
	function = find(root, bus, devfn);
	if (function && offset + size <= (function->express ? PCI_CONFIG_SIZE : CONFIG_SPACE)) {
		/* The MSI capability is read by whoever signals. */
		lock_take(&root->irq_lock);
		write_bytes(function, offset, size, value);
		lock_release(&root->irq_lock);
		if (touches(offset, size, PCI_COMMAND, PCI_COMMAND + 1) || touches(offset, size, PCI_BAR0, PCI_BRIDGE_ROM + 3))
			update_mappings(root);
		if (touches(offset, size, PCI_COMMAND, PCI_COMMAND + 1))
			update_intx(root, function);
		if (function->msix)
			msix_config_written(function->msix);
		if (function->ops && function->ops->config_written)
			function->ops->config_written(function, offset, size);
		done = function->ops ? function->ops->config_done : NULL;
	}
	lock_release(&root->lock);
	if (done)
		done(function, root, offset, size);
}
