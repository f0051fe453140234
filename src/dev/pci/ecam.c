/* Configuration space in memory, and a bridge that has none of its own to tell; see ecam.h.
 *
 * Example: a guest reads 0x00081b36 at base: the bridge's vendor and device.
 */
#include "dev/pci/ecam.h"
#include "base/errno.h"

struct pci_ecam {
	struct device dev; /* of the memory-mapped configuration space */
	struct pci_function bridge;
	struct pci_root root;
	struct irq_line lines[PCI_PIRQS];
};

static uint64_t ecam_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct pci_ecam *ecam = container_of(dev, struct pci_ecam, dev);

	return pci_config_read(&ecam->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_ecam *ecam = container_of(dev, struct pci_ecam, dev);

	pci_config_write(&ecam->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff, size, (uint32_t)value);
}

static void ecam_reset(struct device *dev)
{
}

static void ecam_destroy(struct device *dev)
{
	struct pci_ecam *ecam = container_of(dev, struct pci_ecam, dev);

	pci_root_fini(&ecam->root);
	platform_free(ecam);
}

static const struct device_ops ops = {
	.name = "pci-ecam",
	.reset = ecam_reset,
	.read = ecam_read,
	.write = ecam_write,
	.destroy = ecam_destroy,
};

static void bridge_reset(struct device *dev)
{
	pci_function_reset(container_of(dev, struct pci_function, dev));
}

static const struct device_ops bridge_ops = {.name = "pci-bridge", .reset = bridge_reset};

static void set_pirq(void *ctx, unsigned pirq, bool level)
{
	struct pci_ecam *ecam = ctx;

	irq_set(&ecam->lines[pirq], level);
}

int pci_ecam_create(struct vm *vm, const struct pci_ecam_params *params, struct pci_root **root)
{
	struct pci_ecam *ecam = platform_alloc(sizeof(*ecam));
	int r;

	if (!ecam)
		return -ENOMEM;
	pci_root_init(&ecam->root, vm, NULL);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		ecam->lines[i] = params->lines[i];
	ecam->root.pirq = set_pirq;
	ecam->root.pirq_ctx = ecam;
	ecam->root.message = params->message;
	ecam->root.message_ctx = params->message_ctx;
	r = device_register(vm, &ecam->dev, &ops, "pci-host");
	if (r) {
		platform_free(ecam);
		return r;
	}
	pci_function_init(&ecam->bridge, NULL, &(struct pci_ids){.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000});
	r = pci_attach(&ecam->root, NULL, PCI_DEVFN(0, 0), &ecam->bridge, &bridge_ops, "pci-bridge");
	if (r)
		return r;
	*root = &ecam->root;
	return bus_attach_sized(&vm->mmio, params->base, params->buses * (uint64_t)PCI_ECAM_BUS_SIZE, &ecam->dev, 0, 1, 4);
}
