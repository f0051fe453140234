/* The LPC bridge; see lpc.h.
 *
 * Example: firmware writes 10 to PIRQA_ROUT: interrupts of PIRQ A are also ISA's interrupt 10 from now on.
 */
#include "dev/pci/lpc.h"
#include "base/errno.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/ich9_pm.h"

#define PMBASE     0x40
#define ACPI_CNTL  0x44
#define PIRQA_ROUT 0x60 /* A to D; E to H from 0x68 */
#define PIRQE_ROUT 0x68
#define RCBA       0xf0

#define ACPI_ENABLE  0x80u
#define ROUT_NOT_ISA 0x80
#define RCBA_ENABLE  1u
#define RCBA_SIZE    0x4000u
#define RCBA_BAR     0 /* region index; the bridge has no base address registers */

/* Root complex registers: which PIRQ the pins of slots 25 to 31 have, four bits a pin (read-only here). */
#define D31IR        0x3140
#define D25IR        0x3150
#define ROUTES_A_TO_D 0x3210u

/* ISA interrupts that PIRQs may be routed to: not the timer's, keyboard's, cascade's, RTC's or FPU's. */
#define ISA_ROUTABLE 0xdef8u

struct lpc {
	struct pci_function pci;
	struct ich9_pm *pm;
	struct irqchip *chip;
	bool rcba_mapped;
	uint64_t rcba;
	/* The root's irq_lock. */
	uint8_t routes[PCI_PIRQS];
	uint8_t levels;    /* bit n: PIRQ n */
	uint16_t isa;      /* levels of ISA interrupts */
};

/* irq_lock held. */
static void route_isa(struct lpc *lpc)
{
	uint16_t isa = 0, changed;

	for (unsigned i = 0; i < PCI_PIRQS; i++)
		if ((lpc->levels >> i & 1) && !(lpc->routes[i] & ROUT_NOT_ISA))
			isa |= (uint16_t)(1u << (lpc->routes[i] & 15));
	isa &= ISA_ROUTABLE;
	changed = isa ^ lpc->isa;
	lpc->isa = isa;
	for (unsigned i = 0; i < 16; i++)
		if (changed >> i & 1) {
			struct irq_line line = irqchip_line(lpc->chip, i);

			irq_set(&line, isa >> i & 1);
		}
}

static void pirq(void *ctx, unsigned number, bool level)
{
	struct lpc *lpc = ctx;
	struct irq_line line = irqchip_line(lpc->chip, LPC_PIRQ_GSI + number);

	lpc->levels = (uint8_t)((lpc->levels & ~(1u << number)) | (unsigned)level << number);
	irq_set(&line, level);
	route_isa(lpc);
}

static void take_routes(struct lpc *lpc)
{
	struct pci_root *root = lpc->pci.bus->root;

	lock_take(&root->irq_lock);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		lpc->routes[i] = lpc->pci.config[i < 4 ? PIRQA_ROUT + i : PIRQE_ROUT + i - 4];
	route_isa(lpc);
	lock_release(&root->irq_lock);
}

static void place_rcba(struct lpc *lpc)
{
	struct bus *bus = &lpc->pci.dev.vm->mmio;
	uint32_t value = pci_get32(&lpc->pci, RCBA);
	struct bus_region region = {.base = value & ~(RCBA_SIZE - 1),
				    .size = RCBA_SIZE,
				    .dev = &lpc->pci.dev,
				    .index = RCBA_BAR,
				    .min_size = 4,
				    .max_size = 4};

	if (lpc->rcba_mapped)
		bus_unmap(bus, lpc->rcba, &lpc->pci.dev);
	lpc->rcba_mapped = (value & RCBA_ENABLE) && region.base && bus_map(bus, &region) == 0;
	lpc->rcba = region.base;
}

static void take_all(struct lpc *lpc)
{
	take_routes(lpc);
	place_rcba(lpc);
	ich9_pm_place(lpc->pm, pci_get16(&lpc->pci, PMBASE) & 0xff80, lpc->pci.config[ACPI_CNTL] & ACPI_ENABLE);
}

static void lpc_written(struct pci_function *function, unsigned offset, unsigned size)
{
	/* None of it is written often. */
	if (offset >= PMBASE && offset < RCBA + 4)
		take_all(container_of(function, struct lpc, pci));
}

static const struct pci_function_ops function_ops = {.config_written = lpc_written};

static uint64_t lpc_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	return offset >= D31IR && offset <= D25IR ? ROUTES_A_TO_D | (uint64_t)ROUTES_A_TO_D << 16 : 0;
}

static void lpc_reset(struct device *dev)
{
	struct lpc *lpc = container_of(dev, struct lpc, pci.dev);

	pci_function_reset(&lpc->pci);
	take_all(lpc);
}

static void lpc_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct lpc, pci.dev));
}

static const struct device_ops device_ops = {
	.name = "lpc",
	.reset = lpc_reset,
	.read = lpc_read,
	.destroy = lpc_destroy,
};

int lpc_create(struct pci_root *root, struct irqchip *chip, struct ich9_pm *pm)
{
	struct lpc *lpc = platform_alloc(sizeof(*lpc));
	int r;

	if (!lpc)
		return -ENOMEM;
	lpc->chip = chip;
	lpc->pm = pm;
	pci_function_init(&lpc->pci, &function_ops,
			  &(struct pci_ids){.vendor = 0x8086,
					    .device = 0x2918,
					    .revision = 2,
					    .subsystem_vendor = 0x1af4,
					    .subsystem = 0x1100,
					    .class_code = 0x060100});
	/* Other functions of this slot come and go; that there may be some is fixed. */
	lpc->pci.config[PCI_HEADER_TYPE] = PCI_HEADER_MULTIFUNCTION;
	pci_put32(&lpc->pci, PMBASE, 1);
	pci_writable32(&lpc->pci, PMBASE, 0xff80);
	lpc->pci.writable[ACPI_CNTL] = 0x87;
	for (unsigned i = 0; i < 4; i++) {
		lpc->pci.config[PIRQA_ROUT + i] = lpc->pci.config[PIRQE_ROUT + i] = ROUT_NOT_ISA;
		lpc->pci.writable[PIRQA_ROUT + i] = lpc->pci.writable[PIRQE_ROUT + i] = 0x8f;
	}
	pci_writable32(&lpc->pci, RCBA, ~(RCBA_SIZE - 1) | RCBA_ENABLE);
	r = pci_attach(root, NULL, LPC_DEVFN, &lpc->pci, &device_ops, "lpc");
	if (r) {
		platform_free(lpc);
		return r;
	}
	root->pirq = pirq;
	root->pirq_ctx = lpc;
	return 0;
}

void lpc_set_up(struct pci_root *root, uint16_t pm_base, const uint8_t lines[PCI_PIRQS])
{
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci_config_write(root, 0, LPC_DEVFN, i < 4 ? PIRQA_ROUT + i : PIRQE_ROUT + i - 4, 1, lines[i]);
	pci_config_write(root, 0, LPC_DEVFN, PMBASE, 4, pm_base);
	pci_config_write(root, 0, LPC_DEVFN, ACPI_CNTL, 1, ACPI_ENABLE);
}
