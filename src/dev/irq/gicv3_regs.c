/* The memory-mapped registers of distributor and redistributors (IHI 0069 12.8 to 12.11).
 *
 * Registers are 32 bits wide; those of priorities are accessible by bytes, too, and GICD_IROUTER and GICR_TYPER are 64 bits wide. What
 * else is tried reads as zero and is not written, as is what isn't there.
 *
 * Example: a write of 1 << 1 at 0x104 of the distributor (GICD_ISENABLER1) enables INTID 33.
 */
#include "dev/irq/gicv3_private.h"

/* Both frames that hold interrupts have these at the same places (12.1.2) */
enum {
	CTLR = 0x0000,
	IGROUPR = 0x0080,
	ISENABLER = 0x0100,
	ICENABLER = 0x0180,
	ISPENDR = 0x0200,
	ICPENDR = 0x0280,
	ISACTIVER = 0x0300,
	ICACTIVER = 0x0380,
	IPRIORITYR = 0x0400,
	IPRIORITYR_END = 0x0800,
	ICFGR = 0x0c00,
	ICFGR_END = 0x0d00,
	ID_REGISTERS = 0xffd0,
	FRAME_SIZE = 0x10000,
};

enum { GICD_TYPER = 0x0004, GICD_IIDR = 0x0008, GICD_IROUTER = 0x6000, GICD_IROUTER_END = 0x8000 };
enum { GICR_IIDR = 0x0004, GICR_TYPER = 0x0008, GICR_WAKER = 0x0014, GICR_PROPBASER = 0x0070, GICR_PENDBASER = 0x0078 };

#define GICD_CTLR_GROUP0 (1u << 0)
#define GICD_CTLR_GROUP1 (1u << 1)
#define GICD_CTLR_ARE    (1u << 4)
#define GICD_CTLR_DS     (1u << 6)

#define GICD_TYPER_LPIS      (1u << 17)
#define GICD_TYPER_IDBITS_10 (9u << 19)
#define GICD_TYPER_IDBITS_16 (15u << 19)
#define GICD_TYPER_NO1N      (1u << 25)

#define IIDR_ARM 0x43bu

#define GICR_CTLR_ENABLE_LPIS (1u << 0)

#define GICR_TYPER_PLPIS (1u << 0)
#define GICR_TYPER_LAST  (1u << 4)

#define GICR_WAKER_PROCESSOR_SLEEP (1u << 1)
#define GICR_WAKER_CHILDREN_ASLEEP (1u << 2)

#define GICD_IROUTER_AFFINITY 0xff00ffffffull

/* From 0xffd0 on: PIDR4 to 7, PIDR0 to 3 (2: architecture GICv3), CIDR0 to 3 */
static uint32_t id_register(uint64_t offset, uint8_t part)
{
	static const uint8_t ids[] = {0x44, 0, 0, 0, 0, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};
	const unsigned index = (unsigned)(offset - ID_REGISTERS) / 4;

	return index == 4 ? part : ids[index];
}

/* ---- what each 32 interrupts have ---- */

static uint32_t read_priorities(const struct gic_bank *bank, unsigned first)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 4; i++)
		value |= (uint32_t)bank->priority[first + i] << 8 * i;
	return value;
}

static uint32_t read_config(const struct gic_bank *bank, unsigned first)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 16; i++)
		value |= (bank->edge >> (first + i) & 1) << (2 * i + 1);
	return value;
}

static void write_config(struct gic_bank *bank, unsigned first, uint32_t value)
{
	for (unsigned i = 0; i < 16; i++) {
		const uint32_t bit = 1u << (first + i);

		bank->edge = value >> (2 * i + 1) & 1 ? bank->edge | bit : bank->edge & ~bit;
	}
}

/* Which bank a register is of; the offset becomes that in the first bank. */
static unsigned split_offset(uint64_t *offset)
{
	const uint64_t at = *offset;
	unsigned bank;

	if (at < IPRIORITYR) {
		bank = (at & 0x7f) / 4;
		*offset = at & ~(uint64_t)0x7f;
	} else if (at < IPRIORITYR_END) {
		bank = (unsigned)(at - IPRIORITYR) / 32;
		*offset = at - 32 * (uint64_t)bank;
	} else {
		bank = (unsigned)(at - ICFGR) / 8;
		*offset = at - 8 * (uint64_t)bank;
	}
	return bank;
}

static bool is_bank_register(uint64_t offset)
{
	return (offset >= IGROUPR && offset < IPRIORITYR_END) || (offset >= ICFGR && offset < ICFGR_END);
}

static uint32_t read_bank(const struct gic_bank *bank, uint64_t offset)
{
	switch (offset) {
	case IGROUPR:
		return bank->group;
	case ISENABLER:
	case ICENABLER:
		return bank->enabled;
	case ISPENDR:
	case ICPENDR:
		return gic_pending(bank);
	case ISACTIVER:
	case ICACTIVER:
		return bank->active;
	default:
		return offset >= ICFGR ? read_config(bank, (unsigned)(offset - ICFGR) * 4) :
					 read_priorities(bank, (unsigned)(offset - IPRIORITYR));
	}
}

/* Returns the interrupts for which something may be otherwise now. */
static uint32_t write_bank(struct gic_bank *bank, uint64_t offset, uint32_t value, bool local)
{
	switch (offset) {
	case IGROUPR:
		bank->group = value;
		return ~0u;
	case ISENABLER:
		bank->enabled |= value;
		return value;
	case ICENABLER:
		bank->enabled &= ~value;
		return value;
	case ISPENDR:
		bank->latch |= value;
		return value;
	case ICPENDR:
		bank->latch &= ~value;
		return value;
	case ISACTIVER:
		bank->active |= value;
		return value;
	case ICACTIVER:
		bank->active &= ~value;
		return value;
	default:
		break;
	}
	if (offset >= ICFGR) {
		/* What SGIs are can't be changed. */
		if (!local || offset != ICFGR)
			write_config(bank, (unsigned)(offset - ICFGR) * 4, value);
		return ~0u;
	}
	for (unsigned i = 0; i < 4; i++)
		bank->priority[offset - IPRIORITYR + i] = value >> 8 * i & GIC_PRIORITY_MASK;
	return ~0u;
}

/* ---- distributor ---- */

/* With affinity routing the first bank is the redistributors'. */
static struct gic_bank *spi_bank(struct gicv3 *gic, unsigned bank)
{
	return bank >= 1 && bank <= gic->bank_count ? &gic->spis[bank - 1] : NULL;
}

static uint64_t *router(struct gicv3 *gic, uint64_t offset, unsigned *spi)
{
	const unsigned intid = (unsigned)(offset - GICD_IROUTER) / 8;

	*spi = intid - GIC_FIRST_SPI;
	return intid >= GIC_FIRST_SPI && *spi < 32 * gic->bank_count ? &gic->router[*spi] : NULL;
}

static bool is_router(uint64_t offset)
{
	return offset >= GICD_IROUTER && offset < GICD_IROUTER_END;
}

static uint32_t distributor_read(struct gicv3 *gic, uint64_t offset)
{
	unsigned spi;

	if (is_bank_register(offset)) {
		struct gic_bank *bank = spi_bank(gic, split_offset(&offset));

		return bank ? read_bank(bank, offset) : 0;
	}
	if (is_router(offset)) {
		const uint64_t *value = router(gic, offset, &spi);

		return value ? (uint32_t)(*value >> 8 * (offset & 4)) : 0;
	}
	if (offset >= ID_REGISTERS)
		return id_register(offset, 0x92);
	switch (offset) {
	case CTLR:
		return GICD_CTLR_DS | GICD_CTLR_ARE | (gic->enabled[GIC_GROUP0] ? GICD_CTLR_GROUP0 : 0) |
		       (gic->enabled[GIC_GROUP1] ? GICD_CTLR_GROUP1 : 0);
	case GICD_TYPER:
		return GICD_TYPER_NO1N | (gic->lpis ? GICD_TYPER_LPIS | GICD_TYPER_IDBITS_16 : GICD_TYPER_IDBITS_10) | gic->bank_count;
	case GICD_IIDR:
		return IIDR_ARM;
	default:
		return 0;
	}
}

static void write_router(struct gicv3 *gic, uint64_t offset, uint32_t value)
{
	const unsigned shift = 8 * (offset & 4);
	unsigned spi, before;
	uint64_t *whole = router(gic, offset, &spi);

	if (!whole)
		return;
	*whole = ((*whole & ~(0xffffffffull << shift)) | (uint64_t)value << shift) & GICD_IROUTER_AFFINITY;
	before = gic->target[spi];
	gic->target[spi] = (uint16_t)gic_find_affinity(gic, *whole);
	if (gic->target[spi] == before)
		return;
	if (before != GIC_NOBODY)
		gic_update(&gic->cpus[before], true);
	gic_update_spis(gic, spi / 32, 1u << spi % 32);
}

static void distributor_write(struct gicv3 *gic, uint64_t offset, uint32_t value)
{
	if (is_bank_register(offset)) {
		const unsigned index = split_offset(&offset);
		struct gic_bank *bank = spi_bank(gic, index);

		if (bank)
			gic_update_spis(gic, index - 1, write_bank(bank, offset, value, false));
	} else if (is_router(offset)) {
		write_router(gic, offset, value);
	} else if (offset == CTLR) {
		gic->enabled[GIC_GROUP0] = value & GICD_CTLR_GROUP0;
		gic->enabled[GIC_GROUP1] = value & GICD_CTLR_GROUP1;
		gic_update_all(gic);
	}
}

/* ---- redistributors: a frame for the processor, a frame for its SGIs and PPIs ---- */

static uint64_t redistributor_type(const struct gic_cpu *cpu)
{
	const unsigned index = cpu->vcpu->index;

	return (uint64_t)a64_cpu_affinity(index) << 32 | index << 8 | (cpu->gic->lpis ? GICR_TYPER_PLPIS : 0) |
	       (index + 1 == cpu->vcpu->vm->vcpu_count ? GICR_TYPER_LAST : 0);
}

static uint32_t redistributor_read(struct gic_cpu *cpu, uint64_t offset)
{
	if (offset >= FRAME_SIZE) {
		offset -= FRAME_SIZE;
		if (is_bank_register(offset))
			return split_offset(&offset) == 0 ? read_bank(&cpu->local, offset) : 0;
	}
	if (offset >= ID_REGISTERS && offset < FRAME_SIZE)
		return id_register(offset, 0x93);
	return 0;
}

static uint32_t control_frame_read(struct gic_cpu *cpu, uint64_t offset)
{
	switch (offset) {
	case CTLR:
		return cpu->lpis_enabled ? GICR_CTLR_ENABLE_LPIS : 0;
	case GICR_PROPBASER:
	case GICR_PROPBASER + 4:
	case GICR_PENDBASER:
	case GICR_PENDBASER + 4:
		return gic_lpi_read_base(cpu, offset >= GICR_PENDBASER, offset & 4);
	case GICR_IIDR:
		return IIDR_ARM;
	case GICR_TYPER:
		return (uint32_t)redistributor_type(cpu);
	case GICR_TYPER + 4:
		return (uint32_t)(redistributor_type(cpu) >> 32);
	case GICR_WAKER:
		return cpu->asleep ? GICR_WAKER_PROCESSOR_SLEEP | GICR_WAKER_CHILDREN_ASLEEP : 0;
	default:
		return redistributor_read(cpu, offset);
	}
}

static void redistributor_write(struct gic_cpu *cpu, uint64_t offset, uint32_t value)
{
	if (offset == GICR_WAKER) {
		cpu->asleep = value & GICR_WAKER_PROCESSOR_SLEEP;
		gic_update(cpu, true);
	} else if (offset == CTLR && value & GICR_CTLR_ENABLE_LPIS) {
		gic_lpi_enable(cpu);
	} else if (offset >= GICR_PROPBASER && offset < GICR_PENDBASER + 8) {
		gic_lpi_write_base(cpu, offset >= GICR_PENDBASER, offset & 4, value);
	} else if (offset >= FRAME_SIZE && is_bank_register(offset - FRAME_SIZE)) {
		offset -= FRAME_SIZE;
		if (split_offset(&offset) == 0) {
			write_bank(&cpu->local, offset, value, true);
			gic_update(cpu, true);
		}
	}
}

/* ---- accesses ---- */

static uint32_t read_word(struct gicv3 *gic, unsigned region, uint64_t offset)
{
	if (region == 0)
		return distributor_read(gic, offset);
	return control_frame_read(&gic->cpus[offset / GICV3_REDISTRIBUTOR_SIZE], offset % GICV3_REDISTRIBUTOR_SIZE);
}

static void write_word(struct gicv3 *gic, unsigned region, uint64_t offset, uint32_t value)
{
	if (region == 0)
		distributor_write(gic, offset, value);
	else
		redistributor_write(&gic->cpus[offset / GICV3_REDISTRIBUTOR_SIZE], offset % GICV3_REDISTRIBUTOR_SIZE, value);
}

static bool is_priority(unsigned region, uint64_t offset)
{
	if (region == 1)
		offset = offset % GICV3_REDISTRIBUTOR_SIZE - FRAME_SIZE;
	return offset >= IPRIORITYR && offset < IPRIORITYR_END;
}

uint64_t gic_mmio_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct gicv3 *gic = container_of(dev, struct gicv3, dev);

	if (size == 8)
		return read_word(gic, region, offset) | (uint64_t)read_word(gic, region, offset + 4) << 32;
	if (size == 4)
		return read_word(gic, region, offset);
	if (size == 1 && is_priority(region, offset))
		return read_word(gic, region, offset & ~3ull) >> 8 * (offset & 3) & 0xff;
	return 0;
}

void gic_mmio_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct gicv3 *gic = container_of(dev, struct gicv3, dev);

	if (size == 8) {
		write_word(gic, region, offset, (uint32_t)value);
		write_word(gic, region, offset + 4, (uint32_t)(value >> 32));
	} else if (size == 4) {
		write_word(gic, region, offset, (uint32_t)value);
	} else if (size == 1 && is_priority(region, offset)) {
		const unsigned shift = 8 * (unsigned)(offset & 3);
		const uint32_t rest = read_word(gic, region, offset & ~3ull) & ~(0xffu << shift);

		write_word(gic, region, offset & ~3ull, rest | (uint32_t)value << shift);
	}
}
