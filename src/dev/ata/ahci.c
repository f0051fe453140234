/* The AHCI controller's registers, resets and interrupts; see ahci.h. Names are those of AHCI 1.3.1, section 3.
 *
 * Example: a driver writes the addresses of its command list and of received FISes to PxCLB and PxFB, sets PxCMD.FRE and ST, and
 * then a bit of PxCI for each command.
 */
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "dev/ata/ahci_private.h"

#define BAR_SIZE   0x1000u
#define PORTS_AT   0x100u
#define PORT_SIZE  0x80u

enum register_offset { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10, CAP2 = 0x24 };

enum port_register {
	PX_CLB = 0x00,
	PX_CLBU = 0x04,
	PX_FB = 0x08,
	PX_FBU = 0x0c,
	PX_IS = 0x10,
	PX_IE = 0x14,
	PX_CMD = 0x18,
	PX_TFD = 0x20,
	PX_SIG = 0x24,
	PX_SSTS = 0x28,
	PX_SCTL = 0x2c,
	PX_SERR = 0x30,
	PX_SACT = 0x34,
	PX_CI = 0x38,
};

/* 64-bit addresses, NCQ, command list override, third generation, AHCI only, 32 slots. */
#define CAP_VALUE (0x80000000u | 0x40000000u | 0x01000000u | 3u << 20 | 0x00040000u | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))
#define VS_VALUE  0x00010301u

#define GHC_HR 0x00000001u
#define GHC_IE 0x00000002u
#define GHC_AE 0x80000000u

#define IE_WRITABLE   0xfdc000ffu
#define CMD_WRITABLE  (CMD_ST | CMD_FRE | CMD_ATAPI | CMD_DLAE)
#define SCTL_WRITABLE 0x00000fffu
#define SCTL_DET      0x0000000fu
#define DET_RESET     1u
#define DET_OFFLINE   4u

#define SERR_N 0x00010000u /* PhyRdy changed */
#define SERR_X 0x04000000u /* exchanged */

#define SSTS_PRESENT 0x133u /* active, generation 3, communication */
#define TFD_NOTHING  0x7fu
#define SIG_NOTHING  0xffffffffu

static struct ahci *ahci_of(struct device *dev)
{
	return container_of(dev, struct ahci, pci.dev);
}

/* ---- interrupts ---- */

static uint32_t port_status(const struct ahci_port *port)
{
	return port->is | ((port->serr & SERR_X) ? PORT_PCS : 0) | ((port->serr & SERR_N) ? PORT_PRCS : 0);
}

/* A message for each port that has become a reason; INTx as long as there is one. */
static void signal(struct ahci *ahci, bool fresh)
{
	const bool level = (ahci->ghc & GHC_IE) && ahci->is;
	const bool msi = pci_msi_enabled(&ahci->pci);

	if (msi && level && fresh)
		(void)pci_signal_msi(&ahci->pci);
	pci_set_intx(&ahci->pci, level && !msi);
}

void ahci_update_interrupt(struct ahci *ahci)
{
	const uint32_t before = ahci->is;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (port_status(&ahci->ports[i]) & ahci->ports[i].ie)
			ahci->is |= 1u << i;
	signal(ahci, (ahci->is & ~before) != 0);
}

/* ---- the link ---- */

void ahci_port_signature(struct ahci_port *port)
{
	struct ata_command command = {.kind = ATA_DONE, .status = port->cdrom ? 0 : ATA_DRDY | ATA_DSC, .error = 0x01, .signature = true};

	if (!(port->cmd & CMD_FRE)) {
		port->signature_waits = true;
		return;
	}
	port->signature_waits = false;
	port->sig = port->cdrom ? ATAPI_SIGNATURE : ATA_SIGNATURE;
	ahci_port_post_registers(port, &command, false);
}

static void reset_drive(struct ahci_port *port)
{
	if (port->cdrom)
		cdrom_reset(&port->drive);
	else if (port->present)
		ata_disk_reset(&port->disk);
}

static void link_down(struct ahci_port *port)
{
	ahci_port_stop(port);
	port->signature_waits = false;
	port->tfd = TFD_NOTHING;
	if (port->present)
		port->serr |= SERR_N;
}

/* After COMRESET. */
static void link_up(struct ahci_port *port)
{
	port->sig = SIG_NOTHING;
	port->tfd = TFD_NOTHING;
	if (!port->present)
		return;
	reset_drive(port);
	port->soft_reset = false;
	port->tfd = ATA_BSY | TFD_NOTHING;
	port->serr |= SERR_N | SERR_X;
	ahci_port_signature(port);
}

/* Power-on and GHC.HR; no command is under way. */
static void reset_port(struct ahci_port *port, bool power_on)
{
	ahci_port_stop(port);
	if (power_on) {
		port->clb = port->fb = 0;
		if (port->cdrom)
			cdrom_power_on(&port->drive);
	}
	port->is = port->ie = port->sctl = port->serr = 0;
	port->cmd = 0;
	link_up(port);
}

static void reset_controller(struct ahci *ahci, bool power_on)
{
	ahci->ghc = GHC_AE;
	ahci->is = 0;
	ahci->resetting = false;
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		reset_port(&ahci->ports[i], power_on);
	ahci_update_interrupt(ahci);
}

/* Waits for the backends; on the I/O thread, without our lock. */
static void drain(struct ahci *ahci)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *port = &ahci->ports[i];
		struct block_backend *backend = port->cdrom ? port->drive.backend : port->disk.backend;

		if (port->present && backend->ops->drain)
			backend->ops->drain(backend);
	}
}

static void stop_all(struct ahci *ahci)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_port_stop(&ahci->ports[i]);
}

/* ---- the I/O thread ---- */

/* Submits one command's request; false: there is none. */
static bool submit_one(struct ahci *ahci, struct ahci_port *port)
{
	struct block_backend *backend = port->cdrom ? port->drive.backend : port->disk.backend;
	struct ahci_slot *slot = NULL;

	lock_take(&ahci->lock);
	for (unsigned i = 0; i < AHCI_SLOTS && !slot; i++)
		if (port->slots[i].state == SLOT_READY)
			slot = &port->slots[i];
	if (slot)
		slot->state = SLOT_BUSY;
	lock_release(&ahci->lock);
	if (slot)
		backend->ops->submit(backend, &slot->io);
	return slot;
}

static void finish_reset(struct ahci *ahci)
{
	lock_take(&ahci->lock);
	stop_all(ahci);
	lock_release(&ahci->lock);
	drain(ahci);
	lock_take(&ahci->lock);
	reset_controller(ahci, false);
	lock_release(&ahci->lock);
}

static void run(void *ctx)
{
	struct ahci *ahci = ctx;
	bool again = false, resetting;

	lock_take(&ahci->lock);
	resetting = ahci->resetting;
	for (unsigned i = 0; i < AHCI_PORTS && !resetting; i++)
		if (ahci->ports[i].present && !ahci->gone)
			again |= ahci_port_work(&ahci->ports[i]);
	lock_release(&ahci->lock);
	if (resetting) {
		finish_reset(ahci);
		return;
	}
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		for (unsigned j = 0; ahci->ports[i].present && j < AHCI_SLOTS; j++)
			if (!submit_one(ahci, &ahci->ports[i]))
				break;
	if (again)
		work_post(&ahci->work);
}

/* ---- registers ---- */

static uint32_t read_ssts(const struct ahci_port *port)
{
	switch (port->sctl & SCTL_DET) {
	case DET_RESET:
		return 0;
	case DET_OFFLINE:
		return DET_OFFLINE;
	default:
		return port->present ? SSTS_PRESENT : 0;
	}
}

static uint32_t read_cmd(const struct ahci_port *port)
{
	uint32_t value = port->cmd | CMD_SUD | CMD_POD;

	if (port->cmd & CMD_FRE)
		value |= CMD_FR;
	if ((port->cmd & CMD_ST) || port->stale)
		value |= CMD_CR;
	if (port->cmd & CMD_ST)
		value |= port->last << 8;
	return value;
}

static uint32_t read_port(const struct ahci_port *port, unsigned offset)
{
	switch ((enum port_register)offset) {
	case PX_CLB:
		return (uint32_t)port->clb;
	case PX_CLBU:
		return (uint32_t)(port->clb >> 32);
	case PX_FB:
		return (uint32_t)port->fb;
	case PX_FBU:
		return (uint32_t)(port->fb >> 32);
	case PX_IS:
		return port_status(port);
	case PX_IE:
		return port->ie;
	case PX_CMD:
		return read_cmd(port);
	case PX_TFD:
		return port->tfd;
	case PX_SIG:
		return port->sig;
	case PX_SSTS:
		return read_ssts(port);
	case PX_SCTL:
		return port->sctl;
	case PX_SERR:
		return port->serr;
	case PX_SACT:
		return port->sact;
	case PX_CI:
		return port->ci;
	}
	return 0;
}

static void write_cmd(struct ahci_port *port, uint32_t value)
{
	const uint32_t before = port->cmd;

	port->cmd = value & CMD_WRITABLE;
	if ((value & CMD_CLO) && !(before & CMD_ST))
		port->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
	if ((before & CMD_ST) && !(port->cmd & CMD_ST))
		ahci_port_stop(port);
	if ((port->cmd & CMD_FRE) && port->signature_waits)
		ahci_port_signature(port);
}

static void write_sctl(struct ahci_port *port, uint32_t value)
{
	const uint32_t before = port->sctl & SCTL_DET, after = value & SCTL_DET;

	port->sctl = value & SCTL_WRITABLE;
	if (before == after)
		return;
	if (after == DET_RESET || after == DET_OFFLINE)
		link_down(port);
	else if (before == DET_RESET || before == DET_OFFLINE)
		link_up(port);
}

static void put_low(uint64_t *address, uint32_t value)
{
	*address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void put_high(uint64_t *address, uint32_t value)
{
	*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
}

static void write_port(struct ahci_port *port, unsigned offset, uint32_t value)
{
	switch ((enum port_register)offset) {
	case PX_CLB:
		put_low(&port->clb, value & ~0x3ffu);
		break;
	case PX_CLBU:
		put_high(&port->clb, value);
		break;
	case PX_FB:
		put_low(&port->fb, value & ~0xffu);
		break;
	case PX_FBU:
		put_high(&port->fb, value);
		break;
	case PX_IS:
		port->is &= ~value;
		break;
	case PX_IE:
		port->ie = value & IE_WRITABLE;
		break;
	case PX_CMD:
		write_cmd(port, value);
		break;
	case PX_SCTL:
		write_sctl(port, value);
		break;
	case PX_SERR:
		port->serr &= ~value;
		break;
	case PX_SACT:
		if (port->cmd & CMD_ST)
			port->sact |= value;
		break;
	case PX_CI:
		if (port->cmd & CMD_ST)
			port->ci |= value;
		break;
	case PX_TFD:
	case PX_SIG:
	case PX_SSTS:
		break;
	}
}

static uint64_t ahci_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct ahci *ahci = ahci_of(dev);
	uint32_t value = 0;

	lock_take(&ahci->lock);
	switch (offset) {
	case CAP:
		value = CAP_VALUE;
		break;
	case GHC:
		value = ahci->ghc | (ahci->resetting ? GHC_HR : 0);
		break;
	case IS:
		value = ahci->is;
		break;
	case PI:
		value = (1u << AHCI_PORTS) - 1;
		break;
	case VS:
		value = VS_VALUE;
		break;
	case PORTS_AT ... PORTS_AT + AHCI_PORTS * PORT_SIZE - 1:
		value = read_port(&ahci->ports[(offset - PORTS_AT) / PORT_SIZE], (unsigned)offset % PORT_SIZE);
		break;
	default:
		break;
	}
	lock_release(&ahci->lock);
	return value;
}

static void ahci_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct ahci *ahci = ahci_of(dev);
	const uint32_t bits = (uint32_t)value;
	bool work = false;

	lock_take(&ahci->lock);
	switch (offset) {
	case GHC:
		work = ahci->resetting = ahci->resetting || (bits & GHC_HR);
		/* What has happened before becomes an interrupt now. */
		if ((bits & GHC_IE) && !(ahci->ghc & GHC_IE)) {
			ahci->ghc |= GHC_IE;
			signal(ahci, true);
		}
		ahci->ghc = GHC_AE | (bits & GHC_IE);
		break;
	case IS:
		ahci->is &= ~bits;
		break;
	case PORTS_AT ... PORTS_AT + AHCI_PORTS * PORT_SIZE - 1: {
		const unsigned reg = (unsigned)offset % PORT_SIZE;

		write_port(&ahci->ports[(offset - PORTS_AT) / PORT_SIZE], reg, bits);
		work = reg == PX_CI || reg == PX_CMD;
		break;
	}
	default:
		break;
	}
	ahci_update_interrupt(ahci);
	lock_release(&ahci->lock);
	if (work)
		work_post(&ahci->work);
}

/* COMMAND says whether there is access to memory, and MSI's control how interrupts go. */
static void config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct ahci *ahci = container_of(function, struct ahci, pci);

	lock_take(&ahci->lock);
	ahci->master = (pci_get16(function, PCI_COMMAND) & PCI_COMMAND_MASTER) != 0;
	signal(ahci, offset <= function->msi + 3 && offset + size > function->msi + 2);
	lock_release(&ahci->lock);
	work_post(&ahci->work);
}

static const struct pci_function_ops function_ops = {.config_written = config_written};

/* ---- the device ---- */

/* Nobody else touches it: no vcpu runs, and this is the I/O thread. */
static void ahci_reset(struct device *dev)
{
	struct ahci *ahci = ahci_of(dev);

	lock_take(&ahci->lock);
	stop_all(ahci);
	lock_release(&ahci->lock);
	drain(ahci);
	pci_function_reset(&ahci->pci);
	lock_take(&ahci->lock);
	ahci->master = false;
	reset_controller(ahci, true);
	lock_release(&ahci->lock);
}

static void free_ahci(struct ahci *ahci)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		platform_free(ahci->ports[i].slots);
	platform_free(ahci);
}

static void ahci_destroy(struct device *dev)
{
	struct ahci *ahci = ahci_of(dev);

	lock_take(&ahci->lock);
	ahci->gone = true;
	stop_all(ahci);
	lock_release(&ahci->lock);
	drain(ahci);
	free_ahci(ahci);
}

static const struct device_ops device_ops = {
	.name = "ahci",
	.reset = ahci_reset,
	.read = ahci_read,
	.write = ahci_write,
	.destroy = ahci_destroy,
};

static int add_drive(struct ahci_port *port, const struct ahci_drive *drive)
{
	port->slots = platform_alloc(AHCI_SLOTS * sizeof(*port->slots));
	if (!port->slots)
		return -ENOMEM;
	port->present = true;
	port->cdrom = drive->cdrom;
	if (drive->cdrom)
		cdrom_init(&port->drive, drive->backend, port->index);
	else
		ata_disk_init(&port->disk, drive->backend, port->index);
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		port->slots[i].port = port;
		port->slots[i].index = i;
	}
	return 0;
}

static void build_function(struct ahci *ahci)
{
	pci_function_init(&ahci->pci, &function_ops,
			  &(struct pci_ids){.vendor = 0x8086,
					    .device = 0x2922,
					    .revision = 2,
					    .subsystem_vendor = 0x1af4,
					    .subsystem = 0x1100,
					    .class_code = 0x010601});
	pci_add_bar(&ahci->pci, AHCI_BAR, PCI_BAR_MEM32, BAR_SIZE, 4, 4);
	pci_set_interrupt_pin(&ahci->pci, 1);
	pci_add_msi(&ahci->pci);
}

int ahci_create(struct pci_root *root, const struct ahci_drive *drives, unsigned count)
{
	return ahci_create_at(root, AHCI_DEVFN, drives, count);
}

int ahci_create_at(struct pci_root *root, uint8_t devfn, const struct ahci_drive *drives, unsigned count)
{
	struct ahci *ahci;
	int r = 0;

	if (count > AHCI_PORTS)
		return -ENOSPC;
	ahci = platform_alloc(sizeof(*ahci));
	if (!ahci)
		return -ENOMEM;
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		ahci->ports[i].ahci = ahci;
		ahci->ports[i].index = i;
		if (i < count && !r)
			r = add_drive(&ahci->ports[i], &drives[i]);
	}
	work_init(&ahci->work, root->vm, run, ahci);
	build_function(ahci);
	if (!r)
		r = pci_attach(root, NULL, devfn, &ahci->pci, &device_ops, "ahci");
	if (r)
		free_ahci(ahci);
	else
		reset_controller(ahci, true);
	return r;
}
