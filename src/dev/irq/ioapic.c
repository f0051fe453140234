/* The I/O APIC; see ioapic.h. 82093AA data sheet.
 *
 * Example: `irqchip_line(chip, 20)` ends in ioapic_set(ioapic, 20, level).
 */
#include "dev/irq/ioapic.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/irq/lapic.h"

#define MMIO_SIZE 0x1000

/* Memory-mapped registers */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define IOEOI    0x40

/* Indirect registers */
#define IOAPICID     0x00
#define IOAPICVER    0x01
#define IOAPICARB    0x02
#define REDIRECTION  0x10 /* two for each pin */
#define VERSION      (0x20u | (IOAPIC_PINS - 1) << 16)

/* A redirection entry */
#define ENTRY_MODE(entry)  ((uint8_t)((entry) >> 8 & 7))
#define ENTRY_LOGICAL      (1ull << 11)
#define ENTRY_REMOTE_IRR   (1ull << 14)
#define ENTRY_LEVEL        (1ull << 15)
#define ENTRY_MASKED       (1ull << 16)
#define ENTRY_READ_ONLY    (1ull << 12 | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE     0xff0000000001bfffull

struct ioapic {
	struct device dev;
	uint8_t select;
	uint8_t id;
	uint32_t lines; /* asserted pins */
	uint64_t entries[IOAPIC_PINS];
};

static void send(struct ioapic *ioapic, uint64_t entry)
{
	struct lapic_message message = {
		.destination = (uint32_t)(entry >> 56),
		.logical = entry & ENTRY_LOGICAL,
		.level = entry & ENTRY_LEVEL,
		.mode = ENTRY_MODE(entry),
		.vector = (uint8_t)entry,
	};

	lapic_deliver(ioapic->dev.vm, &message);
}

/* A level-triggered pin that is up, open, and not being served, interrupts. */
static void service_level(struct ioapic *ioapic, unsigned pin)
{
	uint64_t *entry = &ioapic->entries[pin];

	if (!(*entry & ENTRY_LEVEL) || *entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR) || !(ioapic->lines >> pin & 1))
		return;
	/* Only fixed and lowest-priority interrupts are ended by an EOI. */
	if (ENTRY_MODE(*entry) <= LAPIC_LOWEST)
		*entry |= ENTRY_REMOTE_IRR;
	send(ioapic, *entry);
}

void ioapic_set(struct ioapic *ioapic, unsigned pin, int level)
{
	uint32_t bit = 1u << pin;
	bool rising;

	if (pin >= IOAPIC_PINS)
		return;
	lock_take(&ioapic->dev.lock);
	rising = level && !(ioapic->lines & bit);
	ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
	if (rising) {
		uint64_t entry = ioapic->entries[pin];

		/* An edge on a masked pin is lost: data sheet, bit 16. */
		if (entry & ENTRY_LEVEL)
			service_level(ioapic, pin);
		else if (!(entry & ENTRY_MASKED))
			send(ioapic, entry);
	}
	lock_release(&ioapic->dev.lock);
}

/* Lock held. */
static void end_of_interrupt(struct ioapic *ioapic, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *entry = &ioapic->entries[pin];

		if ((uint8_t)*entry != vector || !(*entry & ENTRY_REMOTE_IRR))
			continue;
		*entry &= ~ENTRY_REMOTE_IRR;
		service_level(ioapic, pin);
	}
}

void ioapic_eoi(void *ctx, uint8_t vector)
{
	struct ioapic *ioapic = ctx;

	lock_take(&ioapic->dev.lock);
	end_of_interrupt(ioapic, vector);
	lock_release(&ioapic->dev.lock);
}

static uint32_t read_indirect(const struct ioapic *ioapic)
{
	unsigned reg = ioapic->select, pin = (reg - REDIRECTION) / 2;

	if (reg == IOAPICID || reg == IOAPICARB)
		return (uint32_t)ioapic->id << 24;
	if (reg == IOAPICVER)
		return VERSION;
	if (reg < REDIRECTION || pin >= IOAPIC_PINS)
		return 0;
	return (uint32_t)(reg & 1 ? ioapic->entries[pin] >> 32 : ioapic->entries[pin]);
}

static void write_indirect(struct ioapic *ioapic, uint32_t value)
{
	unsigned reg = ioapic->select, pin = (reg - REDIRECTION) / 2;
	uint64_t *entry, written;

	if (reg == IOAPICID)
		ioapic->id = value >> 24 & 15;
	if (reg < REDIRECTION || pin >= IOAPIC_PINS)
		return;
	entry = &ioapic->entries[pin];
	written = reg & 1 ? (uint32_t)*entry | (uint64_t)value << 32 : (*entry & 0xffffffff00000000ull) | value;
	*entry = (written & ENTRY_WRITABLE & ~ENTRY_READ_ONLY) | (*entry & ENTRY_READ_ONLY);
	/* Making an entry edge-triggered clears a stuck remote IRR: how Linux ends a level interrupt on chips
	 * without an EOI register. */
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR;
	service_level(ioapic, pin);
}

static uint64_t ioapic_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct ioapic *ioapic = container_of(dev, struct ioapic, dev);

	if (offset == IOREGSEL)
		return ioapic->select;
	return offset == IOWIN ? read_indirect(ioapic) : 0;
}

static void ioapic_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct ioapic *ioapic = container_of(dev, struct ioapic, dev);

	if (offset == IOREGSEL)
		ioapic->select = (uint8_t)value;
	else if (offset == IOWIN && size == 4)
		write_indirect(ioapic, (uint32_t)value);
	else if (offset == IOEOI)
		end_of_interrupt(ioapic, (uint8_t)value);
}

/* The lines are the devices': they stay as they are. */
static void ioapic_reset(struct device *dev)
{
	struct ioapic *ioapic = container_of(dev, struct ioapic, dev);

	ioapic->select = 0;
	ioapic->id = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->entries[pin] = ENTRY_MASKED;
}

static void ioapic_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct ioapic, dev));
}

static const struct device_ops ops = {
	.name = "ioapic",
	.reset = ioapic_reset,
	.read = ioapic_read,
	.write = ioapic_write,
	.destroy = ioapic_destroy,
};

int ioapic_create(struct vm *vm, gpa_t base, struct ioapic **out)
{
	struct ioapic *ioapic = platform_alloc(sizeof(*ioapic));
	int r;

	if (!ioapic)
		return -ENOMEM;
	ioapic_reset(&ioapic->dev);
	r = device_register(vm, &ioapic->dev, &ops, "ioapic");
	if (r) {
		platform_free(ioapic);
		return r;
	}
	*out = ioapic;
	return bus_attach_sized(&vm->mmio, base, MMIO_SIZE, &ioapic->dev, 0, 1, 4);
}
