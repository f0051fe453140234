/* The interrupt translation service; see gicv3_its.h. Register and command names are IHI 0069's (12.19, 5.3).
 *
 * What is in guest memory is the guest's: each entry is checked when it is used, and what is wrong is taken for an entry that isn't
 * valid. A command that is wrong does nothing.
 *
 *     device table:     valid, address of the ITT, its size    8 bytes a device
 *     ITT:              valid, collection, LPI                 8 bytes an event
 *     collection table: valid, processor                       8 bytes a collection
 *
 * Example: the command MAPTI: `0x0a | device << 32, event | lpi << 32, collection, 0`.
 */
#include "dev/irq/gicv3_its.h"
#include "base/errno.h"
#include "core/platform.h"
#include "dev/irq/gicv3_private.h"
#include "mem/mem.h"

enum its_register {
	CTLR = 0x0000,
	IIDR = 0x0004,
	TYPER = 0x0008,
	CBASER = 0x0080,
	CWRITER = 0x0088,
	CREADR = 0x0090,
	BASER = 0x0100,
	BASER_END = 0x0140,
	ID_REGISTERS = 0xffd0,
	FRAME_SIZE = 0x10000,
};

#define CTLR_ENABLED   (1u << 0)
#define CTLR_QUIESCENT (1u << 31)

/* Physical LPIs; entries of 8 bytes; 16 bits of event and device each; processors by number, collections in memory */
#define TYPER_VALUE (1ull | 7ull << 4 | 15ull << 8 | 15ull << 13)

#define VALID   (1ull << 63)
#define ADDRESS 0x0000fffffffff000ull

#define CBASER_WRITABLE 0xb8fffffffffffcffull /* not the RES0 ones */
#define BASER_WRITABLE  0xb80000000000ffffull /* beside the address: valid, cacheability, page and table size */
#define BASER_ENTRY_8   (7ull << 48)
#define BASER_DEVICES     (1ull << 56 | BASER_ENTRY_8)
#define BASER_COLLECTIONS (4ull << 56 | BASER_ENTRY_8)

enum table { DEVICES, COLLECTIONS, TABLES };

#define COMMAND_SIZE 32u
#define ITT_ADDRESS  0x000fffffffffff00ull

enum command {
	MOVI = 0x01,
	INT = 0x03,
	CLEAR = 0x04,
	SYNC = 0x05,
	MAPD = 0x08,
	MAPC = 0x09,
	MAPTI = 0x0a,
	MAPI = 0x0b,
	INV = 0x0c,
	INVALL = 0x0d,
	MOVALL = 0x0e,
	DISCARD = 0x0f,
};

struct gicv3_its {
	struct device dev;
	struct gicv3 *gic;
	bool enabled;
	uint64_t cbaser, cwriter, creadr;
	uint64_t baser[TABLES];
};

/* ---- tables ---- */

static gpa_t entry_gpa(const struct gicv3_its *its, enum table table, uint32_t index)
{
	static const uint8_t page_shift[4] = {12, 14, 16, 16};
	const uint64_t baser = its->baser[table];
	const unsigned shift = page_shift[baser >> 8 & 3];
	const uint64_t size = ((baser & 0xff) + 1) << shift;

	return baser & VALID && index < size / 8 ? ((baser & ADDRESS) >> shift << shift) + 8 * (uint64_t)index : 0;
}

/* False: not valid, or not there. */
static bool read_entry(const struct gicv3_its *its, gpa_t gpa, uint64_t *entry)
{
	return gpa && mem_read(&its->dev.vm->mem, gpa, entry, sizeof(*entry)) == 0 && *entry & VALID;
}

static void write_entry(struct gicv3_its *its, gpa_t gpa, uint64_t entry)
{
	if (gpa && mem_write(&its->dev.vm->mem, gpa, &entry, sizeof(entry)))
		log_guest("its", "a table entry at 0x%llx is not in memory", (unsigned long long)gpa);
}

/* Where the entry of an event is, or 0. */
static gpa_t event_gpa(const struct gicv3_its *its, uint32_t device, uint32_t event)
{
	uint64_t entry;

	if (!read_entry(its, entry_gpa(its, DEVICES, device), &entry) || event >> ((entry & 0x1f) + 1))
		return 0;
	return (entry & ITT_ADDRESS) + 8 * (uint64_t)event;
}

/* A collection's processor, or GIC_NOBODY. */
static unsigned target_of(const struct gicv3_its *its, uint32_t collection)
{
	uint64_t entry;

	if (!read_entry(its, entry_gpa(its, COLLECTIONS, collection), &entry) || (entry & 0xffff) >= its->dev.vm->vcpu_count)
		return GIC_NOBODY;
	return entry & 0xffff;
}

struct translation {
	gpa_t gpa; /* of its entry */
	uint32_t intid;
	unsigned target;
};

static bool translate(const struct gicv3_its *its, uint32_t device, uint32_t event, struct translation *t)
{
	uint64_t entry;

	t->gpa = event_gpa(its, device, event);
	if (!read_entry(its, t->gpa, &entry))
		return false;
	t->intid = (uint32_t)entry;
	t->target = target_of(its, entry >> 32 & 0xffff);
	return t->target != GIC_NOBODY;
}

/* ---- commands ---- */

static void map_device(struct gicv3_its *its, const uint64_t *words)
{
	const uint64_t size = words[1] & 0x1f;

	if (size > 15)
		return;
	write_entry(its, entry_gpa(its, DEVICES, (uint32_t)(words[0] >> 32)), words[2] & VALID ? VALID | (words[2] & ITT_ADDRESS) | size : 0);
}

static void map_collection(struct gicv3_its *its, const uint64_t *words)
{
	const uint64_t target = words[2] >> 16 & 0x7ffffffff;

	if (target >= its->dev.vm->vcpu_count && words[2] & VALID)
		return;
	write_entry(its, entry_gpa(its, COLLECTIONS, words[2] & 0xffff), words[2] & VALID ? VALID | target : 0);
}

static void map_event(struct gicv3_its *its, uint32_t device, uint32_t event, uint32_t intid, uint64_t collection)
{
	if (intid >= GIC_FIRST_LPI && intid - GIC_FIRST_LPI < GIC_LPIS)
		write_entry(its, event_gpa(its, device, event), VALID | (collection & 0xffff) << 32 | intid);
}

static void move_event(struct gicv3_its *its, uint32_t device, uint32_t event, uint64_t collection)
{
	const unsigned to = target_of(its, collection & 0xffff);
	struct translation t;

	if (!translate(its, device, event, &t) || to == GIC_NOBODY)
		return;
	write_entry(its, t.gpa, VALID | (collection & 0xffff) << 32 | t.intid);
	gic_lpi_move(its->gic, t.target, to, t.intid);
}

static void move_all(struct gicv3_its *its, const uint64_t *words)
{
	const uint64_t from = words[2] >> 16 & 0x7ffffffff, to = words[3] >> 16 & 0x7ffffffff, count = its->dev.vm->vcpu_count;

	if (from < count && to < count)
		gic_lpi_move_all(its->gic, (unsigned)from, (unsigned)to);
}

static void execute(struct gicv3_its *its, const uint64_t *words)
{
	const uint32_t device = (uint32_t)(words[0] >> 32), event = (uint32_t)words[1];
	struct translation t;
	unsigned target;

	switch ((enum command)(words[0] & 0xff)) {
	case MAPD:
		map_device(its, words);
		break;
	case MAPC:
		map_collection(its, words);
		break;
	case MAPTI:
		map_event(its, device, event, (uint32_t)(words[1] >> 32), words[2]);
		break;
	case MAPI:
		map_event(its, device, event, event, words[2]);
		break;
	case MOVI:
		move_event(its, device, event, words[2]);
		break;
	case MOVALL:
		move_all(its, words);
		break;
	case INT:
		if (translate(its, device, event, &t))
			gic_lpi_pend(its->gic, t.target, t.intid, true);
		break;
	case CLEAR:
		if (translate(its, device, event, &t))
			gic_lpi_pend(its->gic, t.target, t.intid, false);
		break;
	case DISCARD:
		if (!translate(its, device, event, &t))
			break;
		gic_lpi_pend(its->gic, t.target, t.intid, false);
		write_entry(its, t.gpa, 0);
		break;
	case INV:
		if (translate(its, device, event, &t))
			gic_lpi_reload(its->gic, t.target, t.intid);
		break;
	case INVALL:
		target = target_of(its, words[2] & 0xffff);
		if (target != GIC_NOBODY)
			gic_lpi_reload(its->gic, target, GIC_ALL_LPIS);
		break;
	case SYNC: /* all is done in order */
		break;
	}
}

static uint64_t queue_size(const struct gicv3_its *its)
{
	return ((its->cbaser & 0xff) + 1) * PAGE_SIZE;
}

/* At most one queue full: the guest can't write meanwhile, since the lock is held. */
static void run_queue(struct gicv3_its *its)
{
	uint64_t words[4];

	if (!its->enabled || !(its->cbaser & VALID) || its->cwriter >= queue_size(its))
		return;
	while (its->creadr != its->cwriter) {
		if (mem_read(&its->dev.vm->mem, (its->cbaser & ADDRESS) + its->creadr, words, sizeof(words)) == 0)
			execute(its, words);
		its->creadr = (its->creadr + COMMAND_SIZE) % queue_size(its);
	}
}

void gicv3_its_message(struct gicv3_its *its, uint32_t device, uint32_t event)
{
	struct translation t;

	lock_take(&its->dev.lock);
	if (its->enabled && translate(its, device, event, &t))
		gic_lpi_pend(its->gic, t.target, t.intid, true);
	lock_release(&its->dev.lock);
}

/* ---- registers ---- */

static uint64_t read_64(const struct gicv3_its *its, uint64_t offset)
{
	static const uint64_t kinds[TABLES] = {BASER_DEVICES, BASER_COLLECTIONS};
	const unsigned table = (unsigned)(offset - BASER) / 8;

	switch (offset) {
	case CTLR:
		return (its->enabled ? CTLR_ENABLED : 0) | CTLR_QUIESCENT | 0x43bull << 32;
	case TYPER:
		return TYPER_VALUE;
	case CBASER:
		return its->cbaser;
	case CWRITER:
		return its->cwriter;
	case CREADR:
		return its->creadr;
	default:
		if (offset >= BASER && offset < BASER_END)
			return table < TABLES ? its->baser[table] | kinds[table] : 0;
		return 0;
	}
}

static uint64_t its_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	/* PIDR and CIDR as a distributor's */
	static const uint8_t ids[] = {0x44, 0, 0, 0, 0x94, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};
	const struct gicv3_its *its = container_of(dev, struct gicv3_its, dev);

	if (size < 4 || offset >= FRAME_SIZE)
		return 0;
	if (offset >= ID_REGISTERS)
		return ids[(offset - ID_REGISTERS) / 4];
	if (size == 8)
		return read_64(its, offset);
	return (uint32_t)(read_64(its, offset & ~7ull) >> 8 * (offset & 4));
}

static void write_64(struct gicv3_its *its, uint64_t offset, uint64_t value)
{
	const unsigned table = (unsigned)(offset - BASER) / 8;

	switch (offset) {
	case CTLR:
		its->enabled = value & CTLR_ENABLED;
		break;
	case CBASER:
		if (its->enabled)
			return;
		its->cbaser = value & CBASER_WRITABLE;
		its->creadr = 0;
		break;
	case CWRITER:
		its->cwriter = value & 0xfffe0;
		break;
	default:
		if (offset >= BASER && offset < BASER_END && table < TABLES && !its->enabled)
			its->baser[table] = value & (BASER_WRITABLE | ADDRESS);
		return;
	}
	run_queue(its);
}

static void its_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct gicv3_its *its = container_of(dev, struct gicv3_its, dev);
	const unsigned shift = 8 * (unsigned)(offset & 4);

	/* A processor's write to GITS_TRANSLATER has no device id, and so no effect. */
	if (size < 4 || offset >= FRAME_SIZE)
		return;
	if (size == 4) {
		offset &= ~7ull;
		value = (read_64(its, offset) & ~(0xffffffffull << shift)) | value << shift;
	}
	write_64(its, offset, value);
}

static void its_reset(struct device *dev)
{
	struct gicv3_its *its = container_of(dev, struct gicv3_its, dev);

	its->enabled = false;
	its->cbaser = its->cwriter = its->creadr = 0;
	for (unsigned i = 0; i < TABLES; i++)
		its->baser[i] = 0;
}

static void its_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct gicv3_its, dev));
}

static const struct device_ops ops = {
	.name = "gicv3-its",
	.reset = its_reset,
	.read = its_read,
	.write = its_write,
	.destroy = its_destroy,
};

int gicv3_its_create(struct vm *vm, struct gicv3 *gic, gpa_t base, struct gicv3_its **out)
{
	struct gicv3_its *its;
	int r;

	if (!gic->lpis)
		return -EINVAL;
	its = platform_alloc(sizeof(*its));
	if (!its)
		return -ENOMEM;
	its->gic = gic;
	r = device_register(vm, &its->dev, &ops, "its");
	if (r) {
		platform_free(its);
		return r;
	}
	*out = its;
	return bus_attach(&vm->mmio, base, GICV3_ITS_SIZE, &its->dev, 0);
}
