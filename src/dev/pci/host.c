/* The Q35 host bridge; see host.h.
 *
 * Example: `outl(0x80000000, 0xcf8)`, then `inl(0xcfc)` gives 0x29c08086.
 */
#include "dev/pci/host.h"
#include "base/errno.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc

#define ADDRESS_ENABLE 0x80000000u

/* Reset control register, port 0xcf9: RST_CPU going up resets, all of the machine for us. */
#define RST_CNT 1
#define RST_CPU 0x04
#define RST_CNT_WRITABLE 0x0e

#define PCIEXBAR 0x60
#define PAM0     0x90
#define SMRAM    0x9d
#define ESMRAMC  0x9e

#define PCIEXBAR_ENABLE 1u

enum region { REGION_ADDRESS, REGION_DATA, REGION_ECAM };

struct pci_host {
	struct device dev; /* of the ports and the memory-mapped configuration space */
	struct pci_function mch;
	struct pci_root root;
	uint32_t address; /* CONFADD */
	uint8_t reset_control;
	bool ecam_mapped; /* the root's lock */
	uint64_t ecam;
	void (*pam)(void *ctx, const uint8_t *pam);
	void *pam_ctx;
};

/* ---- the two mechanisms ---- */

static void write_reset_control(struct pci_host *host, uint8_t value)
{
	bool rising = (value & RST_CPU) && !(host->reset_control & RST_CPU);

	host->reset_control = value & RST_CNT_WRITABLE;
	if (rising)
		vm_stop(host->dev.vm, VM_STOP_RESET, 0);
}

static unsigned data_offset(const struct pci_host *host, uint64_t offset)
{
	return (host->address & 0xfc) + (unsigned)offset;
}

static uint64_t host_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);

	switch (region) {
	case REGION_ADDRESS:
		if (size == 4)
			return host->address;
		return offset == RST_CNT && size == 1 ? host->reset_control : UINT32_MAX;
	case REGION_DATA:
		if (!(host->address & ADDRESS_ENABLE))
			return UINT32_MAX;
		return pci_config_read(&host->root, host->address >> 16 & 0xff, (uint8_t)(host->address >> 8),
				       data_offset(host, offset), size);
	default:
		return pci_config_read(&host->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff, size);
	}
}

static void host_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);

	switch (region) {
	case REGION_ADDRESS:
		if (size == 4)
			host->address = (uint32_t)value & (ADDRESS_ENABLE | 0xfffffc);
		else if (offset == RST_CNT && size == 1)
			write_reset_control(host, (uint8_t)value);
		break;
	case REGION_DATA:
		if (host->address & ADDRESS_ENABLE)
			pci_config_write(&host->root, host->address >> 16 & 0xff, (uint8_t)(host->address >> 8),
					 data_offset(host, offset), size, (uint32_t)value);
		break;
	default:
		pci_config_write(&host->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff, size,
				 (uint32_t)value);
		break;
	}
}

/* ---- the bridge's own registers ---- */

/* Bits 2:1: 256, 128 or 64 MiB; 3 is reserved. */
static void place_ecam(struct pci_host *host)
{
	uint64_t value = pci_get32(&host->mch, PCIEXBAR) | (uint64_t)pci_get32(&host->mch, PCIEXBAR + 4) << 32;
	unsigned length = value >> 1 & 3;
	struct bus_region region = {
		.dev = &host->dev, .index = REGION_ECAM, .size = MIB(256) >> length, .min_size = 1, .max_size = 4};

	if (host->ecam_mapped)
		bus_unmap(&host->dev.vm->mmio, host->ecam, &host->dev);
	host->ecam_mapped = false;
	region.base = value & 0xfffffffffull & ~(region.size - 1);
	if (!(value & PCIEXBAR_ENABLE) || length == 3 || !region.base)
		return;
	host->ecam_mapped = bus_map(&host->dev.vm->mmio, &region) == 0;
	host->ecam = region.base;
}

static void tell_pam(struct pci_host *host)
{
	if (host->pam)
		host->pam(host->pam_ctx, &host->mch.config[PAM0]);
}

static void mch_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct pci_host *host = container_of(function, struct pci_host, mch);

	if (offset < PCIEXBAR + 8 && offset + size > PCIEXBAR)
		place_ecam(host);
	if (offset < PAM0 + PAM_REGISTERS && offset + size > PAM0)
		tell_pam(host);
}

static const struct pci_function_ops mch_ops = {.config_written = mch_written};

static void mch_reset(struct device *dev)
{
	struct pci_host *host = container_of(dev, struct pci_host, mch.dev);

	pci_function_reset(&host->mch);
	place_ecam(host);
	tell_pam(host);
}

static const struct device_ops mch_device_ops = {.name = "mch", .reset = mch_reset};

static void host_reset(struct device *dev)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);

	host->address = 0;
	host->reset_control = 0;
}

static void host_destroy(struct device *dev)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);

	pci_root_fini(&host->root);
	platform_free(host);
}

static const struct device_ops host_ops = {
	.name = "pci-host",
	.reset = host_reset,
	.read = host_read,
	.write = host_write,
	.destroy = host_destroy,
};

static int create_mch(struct pci_host *host)
{
	struct pci_function *mch = &host->mch;

	pci_function_init(mch, &mch_ops,
			  &(struct pci_ids){.vendor = 0x8086,
					    .device = 0x29c0,
					    .subsystem_vendor = 0x1af4,
					    .subsystem = 0x1100,
					    .class_code = 0x060000});
	pci_put32(mch, PCIEXBAR, 0xb0000000);
	pci_writable32(mch, PCIEXBAR, 0xfc000007);
	pci_writable32(mch, PCIEXBAR + 4, 0xf);
	mch->writable[PAM0] = 0x30;
	for (unsigned i = 1; i < PAM_REGISTERS; i++)
		mch->writable[PAM0 + i] = 0x33;
	/* There is no system management mode: SMRAM is locked closed. */
	mch->config[SMRAM] = 0x12;
	mch->config[ESMRAMC] = 0x38;
	return pci_attach(&host->root, NULL, PCI_DEVFN(0, 0), mch, &mch_device_ops, "mch");
}

int pci_host_create(struct vm *vm, struct irqchip *chip, struct pci_host **out)
{
	struct pci_host *host = platform_alloc(sizeof(*host));
	int r;

	if (!host)
		return -ENOMEM;
	pci_root_init(&host->root, vm, chip);
	r = device_register(vm, &host->dev, &host_ops, "pci-host");
	if (r) {
		platform_free(host);
		return r;
	}
	*out = host;
	r = create_mch(host);
	if (!r)
		r = bus_attach_sized(&vm->pio, PORT_ADDRESS, 4, &host->dev, REGION_ADDRESS, 1, 4);
	return r ? r : bus_attach_sized(&vm->pio, PORT_DATA, 4, &host->dev, REGION_DATA, 1, 4);
}

struct pci_root *pci_host_root(struct pci_host *host)
{
	return &host->root;
}

gpa_t pci_host_ecam(struct pci_host *host)
{
	gpa_t ecam;

	lock_take(&host->root.lock);
	ecam = host->ecam_mapped ? host->ecam : 0;
	lock_release(&host->root.lock);
	return ecam;
}

void pci_host_place_ecam(struct pci_host *host, gpa_t ecam)
{
	pci_config_write(&host->root, 0, host->mch.devfn, PCIEXBAR + 4, 4, (uint32_t)(ecam >> 32));
	pci_config_write(&host->root, 0, host->mch.devfn, PCIEXBAR, 4, (uint32_t)ecam | PCIEXBAR_ENABLE);
}

void pci_host_set_pam(struct pci_host *host, void (*changed)(void *ctx, const uint8_t *pam), void *ctx)
{
	host->pam = changed;
	host->pam_ctx = ctx;
}
