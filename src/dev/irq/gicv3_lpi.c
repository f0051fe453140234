/* Locality-specific peripheral interrupts (IHI 0069 5): INTIDs from 8192 on, which are messages and nothing else. Their priorities and
 * whether they are enabled are in a table in guest memory (GICR_PROPBASER), of which there is a copy here until the guest says that it
 * has changed it (INV, INVALL of the ITS); which are pending is kept here alone.
 *
 * Example: `gic_lpi_pend(gic, target, 8192, true);`
 */
#include "dev/irq/gicv3_private.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "mem/mem.h"

#define PROP_ID_BITS  0x1full
#define PROP_ADDRESS  0x000ffffffffff000ull
#define PROP_WRITABLE 0x070fffffffffff9full
#define PEND_ADDRESS  0x000fffffffff0000ull
#define PEND_WRITABLE 0x070fffffffff0f80ull
#define PEND_ZERO     (1ull << 62)

#define CONFIG_ENABLED  1u
#define PENDING_OFFSET  (GIC_FIRST_LPI / 8) /* of the first LPI's bit in the table */

struct gic_lpis {
	uint8_t config[GIC_LPIS];
};

/* For each processor: a bit for each LPI, and one for each word of those that isn't zero. */
struct gic_lpi_pending {
	uint32_t words[GIC_LPIS / 32];
	uint32_t used[GIC_LPIS / 32 / 32];
};
_Static_assert(GIC_LPIS % 1024 == 0, "whole words of words");

int gic_lpi_create(struct gicv3 *gic)
{
	gic->lpis = platform_alloc(sizeof(*gic->lpis));
	if (!gic->lpis)
		return -ENOMEM;
	for (unsigned i = 0; i < gic->dev.vm->vcpu_count; i++) {
		gic->cpus[i].lpi_pending = platform_alloc(sizeof(*gic->cpus[i].lpi_pending));
		if (!gic->cpus[i].lpi_pending)
			return -ENOMEM;
	}
	return 0;
}

void gic_lpi_destroy(struct gicv3 *gic)
{
	for (unsigned i = 0; i < gic->dev.vm->vcpu_count; i++)
		platform_free(gic->cpus[i].lpi_pending);
	platform_free(gic->lpis);
}

void gic_lpi_reset(struct gic_cpu *cpu)
{
	cpu->lpis_enabled = false;
	cpu->prop_base = cpu->pend_base = 0;
	if (cpu->lpi_pending)
		memset(cpu->lpi_pending, 0, sizeof(*cpu->lpi_pending));
}

static void set_pending(struct gic_cpu *cpu, unsigned lpi, bool pending)
{
	struct gic_lpi_pending *p = cpu->lpi_pending;
	const unsigned word = lpi / 32;

	p->words[word] = pending ? p->words[word] | 1u << lpi % 32 : p->words[word] & ~(1u << lpi % 32);
	p->used[word / 32] = p->words[word] ? p->used[word / 32] | 1u << word % 32 : p->used[word / 32] & ~(1u << word % 32);
}

static bool is_pending(const struct gic_cpu *cpu, unsigned lpi)
{
	return cpu->lpi_pending->words[lpi / 32] >> lpi % 32 & 1;
}

/* ---- what is most urgent ---- */

static void consider_word(struct gic_cpu *cpu, unsigned word)
{
	for (uint32_t bits = cpu->lpi_pending->words[word]; bits; bits &= bits - 1) {
		const unsigned lpi = 32 * word + (unsigned)__builtin_ctz(bits);
		const uint8_t config = cpu->gic->lpis->config[lpi];

		if (!(config & CONFIG_ENABLED) || (config & GIC_PRIORITY_MASK) >= cpu->best_priority)
			continue;
		cpu->best = GIC_FIRST_LPI + lpi;
		cpu->best_priority = config & GIC_PRIORITY_MASK;
		cpu->best_group = GIC_GROUP1;
	}
}

void gic_lpi_consider(struct gic_cpu *cpu)
{
	if (!cpu->lpis_enabled || !cpu->gic->enabled[GIC_GROUP1] || !cpu->enabled[GIC_GROUP1])
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(cpu->lpi_pending->used); i++)
		for (uint32_t used = cpu->lpi_pending->used[i]; used; used &= used - 1)
			consider_word(cpu, 32 * i + (unsigned)__builtin_ctz(used));
}

void gic_lpi_taken(struct gic_cpu *cpu, uint32_t intid)
{
	set_pending(cpu, intid - GIC_FIRST_LPI, false);
}

/* ---- tables in guest memory ---- */

/* How many LPIs the guest's table is for. */
static unsigned table_size(const struct gic_cpu *cpu)
{
	const unsigned bits = (unsigned)(cpu->prop_base & PROP_ID_BITS) + 1;

	return bits < 14 ? 0 : bits >= 16 ? GIC_LPIS : (1u << bits) - GIC_FIRST_LPI;
}

/* What can't be read is not enabled. */
static void load_config(struct gic_cpu *cpu, unsigned first, unsigned count)
{
	uint8_t *config = cpu->gic->lpis->config;
	const unsigned size = table_size(cpu);

	if (first >= size)
		return;
	if (count > size - first)
		count = size - first;
	if (mem_read(&cpu->gic->dev.vm->mem, (cpu->prop_base & PROP_ADDRESS) + first, config + first, count))
		memset(config + first, 0, count);
}

static void load_pending(struct gic_cpu *cpu)
{
	uint32_t word;

	for (unsigned i = 0; i < table_size(cpu) / 32; i++) {
		if (mem_read(&cpu->gic->dev.vm->mem, (cpu->pend_base & PEND_ADDRESS) + PENDING_OFFSET + 4 * i, &word, sizeof(word)))
			return;
		for (; word; word &= word - 1)
			set_pending(cpu, 32 * i + (unsigned)__builtin_ctz(word), true);
	}
}

/* Once enabled it stays so until reset (GICR_CTLR.CES is not there). */
void gic_lpi_enable(struct gic_cpu *cpu)
{
	if (!cpu->lpi_pending || cpu->lpis_enabled)
		return;
	cpu->lpis_enabled = true;
	load_config(cpu, 0, GIC_LPIS);
	if (!(cpu->pend_base & PEND_ZERO))
		load_pending(cpu);
	gic_update(cpu, true);
}

static uint64_t half(uint64_t whole, bool upper)
{
	return upper ? whole >> 32 : (uint32_t)whole;
}

uint32_t gic_lpi_read_base(const struct gic_cpu *cpu, bool pending, bool upper)
{
	return (uint32_t)half(pending ? cpu->pend_base & ~PEND_ZERO : cpu->prop_base, upper);
}

void gic_lpi_write_base(struct gic_cpu *cpu, bool pending, bool upper, uint32_t value)
{
	uint64_t *base = pending ? &cpu->pend_base : &cpu->prop_base;
	const unsigned shift = upper ? 32 : 0;

	if (cpu->lpis_enabled || !cpu->lpi_pending)
		return;
	*base = ((*base & ~(0xffffffffull << shift)) | (uint64_t)value << shift) & (pending ? PEND_WRITABLE | PEND_ZERO : PROP_WRITABLE);
}

/* ---- for the ITS; these take the lock ---- */

static bool is_lpi(uint32_t intid)
{
	return intid >= GIC_FIRST_LPI && intid - GIC_FIRST_LPI < GIC_LPIS;
}

void gic_lpi_pend(struct gicv3 *gic, unsigned target, uint32_t intid, bool pending)
{
	struct gic_cpu *cpu = &gic->cpus[target];

	if (!is_lpi(intid))
		return;
	lock_take(&gic->dev.lock);
	/* An interrupt for a redistributor that doesn't take any is lost. */
	if (cpu->lpis_enabled) {
		set_pending(cpu, intid - GIC_FIRST_LPI, pending);
		gic_update(cpu, true);
	}
	lock_release(&gic->dev.lock);
}

void gic_lpi_move(struct gicv3 *gic, unsigned from, unsigned to, uint32_t intid)
{
	if (!is_lpi(intid) || from == to)
		return;
	lock_take(&gic->dev.lock);
	if (is_pending(&gic->cpus[from], intid - GIC_FIRST_LPI)) {
		set_pending(&gic->cpus[from], intid - GIC_FIRST_LPI, false);
		set_pending(&gic->cpus[to], intid - GIC_FIRST_LPI, true);
		gic_update(&gic->cpus[from], true);
		gic_update(&gic->cpus[to], true);
	}
	lock_release(&gic->dev.lock);
}

void gic_lpi_move_all(struct gicv3 *gic, unsigned from, unsigned to)
{
	if (from == to)
		return;
	lock_take(&gic->dev.lock);
	for (unsigned i = 0; i < GIC_LPIS; i++) {
		if (!is_pending(&gic->cpus[from], i))
			continue;
		set_pending(&gic->cpus[from], i, false);
		set_pending(&gic->cpus[to], i, true);
	}
	gic_update(&gic->cpus[from], true);
	gic_update(&gic->cpus[to], true);
	lock_release(&gic->dev.lock);
}

void gic_lpi_reload(struct gicv3 *gic, unsigned target, uint32_t intid)
{
	struct gic_cpu *cpu = &gic->cpus[target];

	lock_take(&gic->dev.lock);
	if (cpu->lpis_enabled && intid == GIC_ALL_LPIS)
		load_config(cpu, 0, GIC_LPIS);
	else if (cpu->lpis_enabled && is_lpi(intid))
		load_config(cpu, intid - GIC_FIRST_LPI, 1);
	gic_update_all(gic);
	lock_release(&gic->dev.lock);
}
