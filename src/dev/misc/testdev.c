/* pc-testdev; see testdev.h.
 *
 * Example: a test kernel pulls interrupt line 14 with `outb(1, 0x200e)`.
 */
#include "dev/misc/testdev.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "dev/irq/irqchip.h"

#define IOMEM_BASE 0xff000000u
#define IOMEM_SIZE 0x10000u
#define IRQ_PORT   0x2000

enum region { REGION_LATCH, REGION_FLUSH, REGION_IRQ, REGION_IOMEM };

struct testdev {
	struct device dev;
	struct irqchip *chip;
	uint32_t latch;
	uint8_t iomem[IOMEM_SIZE];
};

static uint64_t testdev_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct testdev *test = container_of(dev, struct testdev, dev);
	uint64_t value = 0;

	switch ((enum region)region) {
	case REGION_LATCH:
		return test->latch >> 8 * (offset & 3);
	case REGION_IOMEM:
		memcpy(&value, test->iomem + offset, size);
		return value;
	default:
		return 0;
	}
}

static void write_latch(struct testdev *test, uint64_t offset, unsigned size, uint32_t value)
{
	unsigned shift = 8 * (unsigned)(offset & 3);
	uint32_t mask = (size == 4 ? UINT32_MAX : (1u << 8 * size) - 1) << shift;

	test->latch = (test->latch & ~mask) | (value << shift & mask);
}

/* The engine forgets what it knows of the page, as if the host had moved it. */
static void flush(struct vm *vm, uint64_t gpa)
{
	if (vm->engine->invalidate)
		vm->engine->invalidate(vm, gpa & PAGE_MASK, PAGE_SIZE);
}

static void testdev_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct testdev *test = container_of(dev, struct testdev, dev);
	struct irq_line line;

	switch ((enum region)region) {
	case REGION_LATCH:
		write_latch(test, offset, size, (uint32_t)value);
		break;
	case REGION_FLUSH:
		flush(dev->vm, value);
		break;
	case REGION_IRQ:
		line = irqchip_line(test->chip, (unsigned)offset);
		irq_set(&line, value != 0);
		break;
	case REGION_IOMEM:
		memcpy(test->iomem + offset, &value, size);
		break;
	}
}

static void testdev_reset(struct device *dev)
{
	struct testdev *test = container_of(dev, struct testdev, dev);

	test->latch = 0;
	memset(test->iomem, 0, sizeof(test->iomem));
}

static void testdev_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct testdev, dev));
}

static const struct device_ops ops = {
	.name = "pc-testdev",
	.reset = testdev_reset,
	.read = testdev_read,
	.write = testdev_write,
	.destroy = testdev_destroy,
};

int testdev_create(struct vm *vm, struct irqchip *chip)
{
	struct testdev *test = platform_alloc(sizeof(*test));
	int r;

	if (!test)
		return -ENOMEM;
	test->chip = chip;
	r = device_register(vm, &test->dev, &ops, "testdev");
	if (r) {
		platform_free(test);
		return r;
	}
	r = bus_attach_sized(&vm->pio, 0xe0, 4, &test->dev, REGION_LATCH, 1, 4);
	if (!r)
		r = bus_attach_sized(&vm->pio, 0xe4, 4, &test->dev, REGION_FLUSH, 1, 4);
	if (!r)
		r = bus_attach_sized(&vm->pio, 0xe8, 4, &test->dev, REGION_LATCH, 1, 1);
	if (!r)
		r = bus_attach_sized(&vm->pio, IRQ_PORT, IRQCHIP_GSI_COUNT, &test->dev, REGION_IRQ, 1, 1);
	return r ? r : bus_attach_sized(&vm->mmio, IOMEM_BASE, IOMEM_SIZE, &test->dev, REGION_IOMEM, 1, 8);
}
