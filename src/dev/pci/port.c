/* Root ports with hot plug; see port.h.
 *
 *     plugged, powered        the link comes up once no processor is in an access from before, and the device was reset
 *     unplugged, power off    the link is down: nothing answers, nothing is mapped
 *
 * What the guest writes is only noted here, on its processor's thread; the I/O thread acts on it. So power that is switched off and on
 * is a reset, and a device whose power is off after the button was pressed goes away.
 *
 * Example: see port.h.
 */
#include "dev/pci/port.h"
#include "base/errno.h"
#include "core/platform.h"

#define VENDOR 0x1b36u /* QEMU's root port */
#define DEVICE 0x000cu

#define PORT_TYPE        4u
#define BUTTON_NS        10000000000ull /* a second press within five seconds takes the first one back */

struct pcie_port {
	struct pci_function pci;
	struct pci_bus *bus;
	unsigned express; /* offset of the capability */
	struct work work;
	struct vm_barrier barrier;

	/* The root's lock. */
	bool present;
	bool signalled; /* the hot-plug interrupt's condition held */

	/* I/O thread. */
	struct pci_function *card;
	bool settling; /* the barrier is under way */
	bool leaving;
	bool at_once;  /* a machine reset has come between */
	uint64_t pressed_ns;
	void (*gone)(void *ctx);
	void *gone_ctx;
};

static struct pci_root *root_of(const struct pcie_port *port)
{
	return port->bus->root;
}

static uint16_t get(const struct pcie_port *port, unsigned offset)
{
	return pci_get16(&port->pci, port->express + offset);
}

static void change(struct pcie_port *port, unsigned offset, unsigned clear, unsigned set)
{
	pci_put16(&port->pci, port->express + offset, (uint16_t)((get(port, offset) & ~clear) | set));
}

/* ---- the root's lock is held ---- */

static bool has_power(const struct pcie_port *port)
{
	return !(get(port, PCIE_SLOT_CONTROL) & PCIE_SLOT_POWER_OFF);
}

static bool wants_link(const struct pcie_port *port)
{
	return port->present && has_power(port) && !(pci_get16(&port->pci, PCI_BRIDGE_CONTROL) & PCI_BRIDGE_CONTROL_RESET);
}

/* §6.7.3.4: a message each time that the condition becomes true; on the wire, as long as it is. */
static void update_interrupt(struct pcie_port *port)
{
	const uint16_t control = get(port, PCIE_SLOT_CONTROL), status = get(port, PCIE_SLOT_STATUS);
	unsigned enabled = control & (PCIE_SLOT_BUTTON | PCIE_SLOT_PRESENCE);
	bool signalled;

	if (control & PCIE_SLOT_CONTROL_LINK)
		enabled |= PCIE_SLOT_STATUS_LINK;
	signalled = (control & PCIE_SLOT_INTERRUPT) && (status & enabled);
	if (pci_msi_enabled(&port->pci)) {
		pci_set_intx(&port->pci, false);
		if (signalled && !port->signalled)
			(void)pci_signal_msi(&port->pci);
	} else {
		pci_set_intx(&port->pci, signalled);
	}
	port->signalled = signalled;
}

static void raise_event(struct pcie_port *port, unsigned event)
{
	change(port, PCIE_SLOT_STATUS, 0, event);
	update_interrupt(port);
}

static void set_link(struct pcie_port *port, bool up)
{
	if (port->bus->off == !up)
		return;
	pci_set_bus_on(port->bus, up);
	change(port, PCIE_LINK_STATUS, PCIE_LINK_STATUS_ACTIVE, up ? PCIE_LINK_STATUS_ACTIVE : 0);
	raise_event(port, PCIE_SLOT_STATUS_LINK);
}

static void port_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct pcie_port *port = container_of(function, struct pcie_port, pci);

	if (!wants_link(port))
		set_link(port, false);
	update_interrupt(port);
	/* Power may have come, or gone for good. */
	work_post(&port->work);
}

static const struct pci_function_ops port_ops = {.config_written = port_written};

/* ---- I/O thread ---- */

static void remove_card(struct pcie_port *port)
{
	struct pci_function *card = port->card;

	port->card = NULL;
	port->leaving = port->at_once = false;
	lock_take(&root_of(port)->lock);
	port->present = false;
	set_link(port, false);
	change(port, PCIE_SLOT_STATUS, PCIE_SLOT_STATUS_PRESENT, 0);
	raise_event(port, PCIE_SLOT_PRESENCE);
	lock_release(&root_of(port)->lock);
	pci_detach(card);
	device_retire(&card->dev, port->gone, port->gone_ctx);
}

/* Nobody is in an access to it. */
static void on_settled(void *ctx)
{
	struct pcie_port *port = ctx;

	port->settling = false;
	if (!port->card)
		return;
	lock_take(&port->card->dev.lock);
	port->card->dev.ops->reset(&port->card->dev);
	lock_release(&port->card->dev.lock);
	lock_take(&root_of(port)->lock);
	if (wants_link(port))
		set_link(port, true);
	lock_release(&root_of(port)->lock);
}

static void on_work(void *ctx)
{
	struct pcie_port *port = ctx;
	bool power, link;

	lock_take(&root_of(port)->lock);
	power = has_power(port);
	link = wants_link(port) && port->bus->off;
	lock_release(&root_of(port)->lock);
	if (port->leaving && (!power || port->at_once)) {
		remove_card(port);
	} else if (link && !port->settling) {
		port->settling = true;
		vm_barrier_begin(port->pci.dev.vm, &port->barrier);
	}
}

bool pcie_port_is_free(const struct pcie_port *port)
{
	return !port->card;
}

bool pcie_port_is_leaving(const struct pcie_port *port)
{
	return port->leaving;
}

struct pci_bus *pcie_port_bus(struct pcie_port *port)
{
	return port->bus;
}

void pcie_port_plug(struct pcie_port *port, struct pci_function *function)
{
	port->card = function;
	lock_take(&root_of(port)->lock);
	port->present = true;
	change(port, PCIE_SLOT_STATUS, 0, PCIE_SLOT_STATUS_PRESENT);
	/* Where there is a button, Linux has presence not interrupt, and looks at it when the button is pressed. */
	raise_event(port, PCIE_SLOT_PRESENCE | PCIE_SLOT_BUTTON);
	lock_release(&root_of(port)->lock);
	work_post(&port->work);
}

static void press_button(struct pcie_port *port)
{
	const uint64_t now = platform_clock_ns();

	if (port->leaving && now - port->pressed_ns < BUTTON_NS)
		return;
	port->pressed_ns = now;
	lock_take(&root_of(port)->lock);
	raise_event(port, PCIE_SLOT_BUTTON);
	lock_release(&root_of(port)->lock);
}

void pcie_port_unplug(struct pcie_port *port, bool now, void (*gone)(void *ctx), void *ctx)
{
	if (!port->card)
		return;
	port->gone = gone;
	port->gone_ctx = ctx;
	if (now) {
		remove_card(port);
		return;
	}
	press_button(port);
	port->leaving = true;
	work_post(&port->work); /* its power may be off already */
}

/* ---- life ---- */

/* What is plugged in has power. */
static void port_reset(struct device *dev)
{
	struct pcie_port *port = container_of(dev, struct pcie_port, pci.dev);
	struct pci_root *root = root_of(port);

	pci_function_reset(&port->pci);
	lock_take(&root->lock);
	port->signalled = false;
	if (port->present) {
		change(port, PCIE_SLOT_CONTROL, PCIE_SLOT_POWER_OFF | PCIE_SLOT_LIGHTS_OFF, PCIE_SLOT_POWER_LIGHT_ON);
		change(port, PCIE_SLOT_STATUS, 0, PCIE_SLOT_STATUS_PRESENT);
		change(port, PCIE_LINK_STATUS, 0, PCIE_LINK_STATUS_ACTIVE);
	}
	pci_set_bus_on(port->bus, port->present);
	lock_release(&root->lock);
	/* Who was asked to let go is gone. */
	port->at_once = port->leaving;
	if (port->leaving)
		work_post(&port->work);
}

static void port_destroy(struct device *dev)
{
	struct pcie_port *port = container_of(dev, struct pcie_port, pci.dev);

	vm_barrier_cancel(dev->vm, &port->barrier);
	work_cancel(&port->work);
	platform_free(port);
}

static const struct device_ops device_ops = {.name = "pcie-port", .reset = port_reset, .destroy = port_destroy};

static void build(struct pcie_port *port, unsigned slot)
{
	struct pci_function *pci = &port->pci;
	unsigned at;

	pci_function_init(pci, &port_ops, &(struct pci_ids){.vendor = VENDOR, .device = DEVICE, .class_code = 0x060400});
	pci_make_bridge(pci);
	port->express = at = pci_add_express(pci, PORT_TYPE);
	pci_put16(pci, at + PCIE_FLAGS, pci_get16(pci, at + PCIE_FLAGS) | PCIE_FLAGS_SLOT);
	pci_put32(pci, at + PCIE_LINK_CAP, pci_get32(pci, at + PCIE_LINK_CAP) | PCIE_LINK_CAP_ACTIVE);
	pci_put32(pci, at + PCIE_SLOT_CAP,
		  PCIE_SLOT_CAP_BUTTON | PCIE_SLOT_CAP_POWER | PCIE_SLOT_CAP_ATTENTION | PCIE_SLOT_CAP_POWER_LIGHT | PCIE_SLOT_CAP_SURPRISE |
			  PCIE_SLOT_CAP_HOT_PLUG | PCIE_SLOT_CAP_AT_ONCE | slot << PCIE_SLOT_CAP_NUMBER_SHIFT);
	pci_put16(pci, at + PCIE_SLOT_CONTROL, PCIE_SLOT_POWER_OFF | PCIE_SLOT_LIGHTS_OFF);
	pci_writable16(pci, at + PCIE_SLOT_CONTROL, PCIE_SLOT_CONTROL_BITS);
	pci->clear[at + PCIE_SLOT_STATUS] = (uint8_t)PCIE_SLOT_STATUS_EVENTS;
	pci->clear[at + PCIE_SLOT_STATUS + 1] = (uint8_t)(PCIE_SLOT_STATUS_EVENTS >> 8);
	pci_writable16(pci, at + PCIE_ROOT_CONTROL, 0x000f);
	pci_add_msi(pci);
}

int pcie_port_create(struct pci_root *root, uint8_t devfn, unsigned slot, const char *id, struct pcie_port **out)
{
	struct pcie_port *port = platform_alloc(sizeof(*port));
	int r;

	if (!port)
		return -ENOMEM;
	build(port, slot);
	/* Functions of one slot share its pins. */
	pci_set_interrupt_pin(&port->pci, (uint8_t)(1 + devfn % 4));
	work_init(&port->work, root->vm, on_work, port);
	port->barrier.passed = on_settled;
	port->barrier.ctx = port;
	r = pci_attach(root, NULL, devfn, &port->pci, &device_ops, id);
	if (r) {
		platform_free(port);
		return r;
	}
	r = pci_add_port(root, &port->pci, &port->bus);
	if (r)
		return r; /* the vm has the device, and frees it */
	port->bus->off = true;
	*out = port;
	return 0;
}
