/* State of the interrupt controller, and which interrupt a processor is signalled; see gicv3.h.
 *
 * Example: `irq_set(&line, 1);` on a line of gicv3_spi() ends in set_spi().
 */
#include "dev/irq/gicv3_private.h"
#include "base/errno.h"
#include "core/platform.h"
#include <stdatomic.h>

#define FIRST_PPI 16u

/* ---- priorities ---- */

unsigned gic_running_priority(const struct gic_cpu *cpu)
{
	const uint32_t active = cpu->active[GIC_GROUP0] | cpu->active[GIC_GROUP1];

	return active ? (unsigned)__builtin_ctz(active) << 3 : GIC_IDLE;
}

/* BPR0 leaves bits 7 to BPR0+1, BPR1 bits 7 to BPR1 (IHI 0069 4.8.2: the Non-secure view). */
unsigned gic_group_priority(const struct gic_cpu *cpu, enum gic_group group, unsigned priority)
{
	const unsigned dropped = group == GIC_GROUP1 && !cpu->common_bpr ? cpu->bpr[GIC_GROUP1] : cpu->bpr[GIC_GROUP0] + 1u;

	return priority >> dropped << dropped;
}

static void consider(struct gic_cpu *cpu, const struct gic_bank *bank, uint32_t first)
{
	const struct gicv3 *gic = cpu->gic;
	uint32_t groups = 0, candidates;

	if (gic->enabled[GIC_GROUP0] && cpu->enabled[GIC_GROUP0])
		groups |= ~bank->group;
	if (gic->enabled[GIC_GROUP1] && cpu->enabled[GIC_GROUP1])
		groups |= bank->group;
	for (candidates = gic_pending(bank) & bank->enabled & ~bank->active & groups; candidates; candidates &= candidates - 1) {
		const unsigned bit = (unsigned)__builtin_ctz(candidates);

		if (bank->priority[bit] >= cpu->best_priority)
			continue;
		if (first >= GIC_FIRST_SPI && gic->target[first - GIC_FIRST_SPI + bit] != cpu->vcpu->index)
			continue;
		cpu->best = first + bit;
		cpu->best_priority = bank->priority[bit];
		cpu->best_group = bank->group >> bit & 1 ? GIC_GROUP1 : GIC_GROUP0;
	}
}

static bool is_signalled(const struct gic_cpu *cpu)
{
	return cpu->best_priority < cpu->pmr &&
	       gic_group_priority(cpu, cpu->best_group, cpu->best_priority) < gic_running_priority(cpu);
}

/* Stores it; says whether there is one now and wasn't, or the other way round. */
static bool signal(_Atomic int32_t *line, int32_t intid)
{
	const int32_t before = atomic_exchange(line, intid);

	return (before < 0) != (intid < 0);
}

void gic_update(struct gic_cpu *cpu, bool tell)
{
	struct gicv3 *gic = cpu->gic;
	bool on, changed;

	cpu->best = GIC_NONE;
	cpu->best_priority = GIC_IDLE;
	cpu->best_group = GIC_GROUP1;
	if (!cpu->asleep) {
		consider(cpu, &cpu->local, 0);
		for (unsigned i = 0; i < gic->bank_count; i++)
			consider(cpu, &gic->spis[i], GIC_FIRST_SPI + 32 * i);
		if (cpu->lpis_enabled)
			gic_lpi_consider(cpu);
	}
	on = is_signalled(cpu);
	changed = signal(&cpu->irq, on && cpu->best_group == GIC_GROUP1 ? (int32_t)cpu->best : -1);
	changed |= signal(&cpu->fiq, on && cpu->best_group == GIC_GROUP0 ? (int32_t)cpu->best : -1);
	if (changed && tell)
		vcpu_request(cpu->vcpu, VCPU_REQ_IRQ);
}

void gic_update_spis(struct gicv3 *gic, unsigned bank, uint32_t bits)
{
	uint64_t done = 0;

	for (; bits; bits &= bits - 1) {
		const unsigned target = gic->target[32 * bank + (unsigned)__builtin_ctz(bits)];

		if (target == GIC_NOBODY || done >> target & 1)
			continue;
		done |= 1ull << target;
		gic_update(&gic->cpus[target], true);
	}
}
_Static_assert(VM_MAX_VCPUS <= 64, "a bit each");

void gic_update_all(struct gicv3 *gic)
{
	for (unsigned i = 0; i < gic->dev.vm->vcpu_count; i++)
		gic_update(&gic->cpus[i], true);
}

struct gic_bank *gic_bank_of(struct gic_cpu *cpu, uint32_t intid)
{
	if (intid < GIC_FIRST_SPI)
		return &cpu->local;
	return intid / 32 - 1 < cpu->gic->bank_count ? &cpu->gic->spis[intid / 32 - 1] : NULL;
}

unsigned gic_find_affinity(const struct gicv3 *gic, uint64_t affinity)
{
	const unsigned index = (unsigned)(affinity & 15) | (unsigned)(affinity >> 8 & 0xff) << 4;

	return index < gic->dev.vm->vcpu_count && a64_cpu_affinity(index) == affinity ? index : GIC_NOBODY;
}

/* ---- lines ---- */

static void set_line(struct gic_bank *bank, unsigned bit, int level)
{
	const uint32_t mask = 1u << bit;

	if (level && !(bank->line & mask) && (bank->edge & mask))
		bank->latch |= mask;
	bank->line = level ? bank->line | mask : bank->line & ~mask;
}

static void set_spi(void *ctx, unsigned spi, int level)
{
	struct gicv3 *gic = ctx;

	lock_take(&gic->dev.lock);
	set_line(&gic->spis[spi / 32], spi % 32, level);
	gic_update_spis(gic, spi / 32, 1u << spi % 32);
	lock_release(&gic->dev.lock);
}

static void set_ppi(void *ctx, unsigned intid, int level)
{
	struct gic_cpu *cpu = ctx;

	lock_take(&cpu->gic->dev.lock);
	set_line(&cpu->local, intid, level);
	gic_update(cpu, true);
	lock_release(&cpu->gic->dev.lock);
}

struct irq_line gicv3_spi(struct gicv3 *gic, unsigned spi)
{
	if (spi >= 32 * gic->bank_count)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_spi, .ctx = gic, .pin = spi};
}

struct irq_line gicv3_ppi(struct gicv3 *gic, unsigned cpu, unsigned intid)
{
	if (cpu >= gic->dev.vm->vcpu_count || intid < FIRST_PPI || intid >= GIC_FIRST_SPI)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_ppi, .ctx = &gic->cpus[cpu], .pin = intid};
}

/* ---- what engines ask ---- */

static int pending(struct vcpu *vcpu)
{
	return atomic_load(&gic_cpu_of(vcpu)->irq);
}

static int acknowledge(struct vcpu *vcpu)
{
	struct gic_cpu *cpu = gic_cpu_of(vcpu);
	uint32_t intid;

	lock_take(&cpu->gic->dev.lock);
	intid = gic_acknowledge(cpu, GIC_GROUP1);
	lock_release(&cpu->gic->dev.lock);
	return intid == GIC_NONE ? -1 : (int)intid;
}

int gicv3_fiq(struct vcpu *vcpu)
{
	return atomic_load(&gic_cpu_of(vcpu)->fiq);
}

static const struct vcpu_irq_ops irq_ops = {.pending = pending, .fiq = gicv3_fiq, .ack = acknowledge};

/* ---- life ---- */

/* The lines are the devices': they stay as they are. */
static void reset_bank(struct gic_bank *bank, uint32_t edge)
{
	const uint32_t line = bank->line;

	*bank = (struct gic_bank){.line = line, .edge = edge};
}

static void gicv3_reset(struct device *dev)
{
	struct gicv3 *gic = container_of(dev, struct gicv3, dev);

	gic->enabled[GIC_GROUP0] = gic->enabled[GIC_GROUP1] = false;
	for (unsigned i = 0; i < gic->bank_count; i++)
		reset_bank(&gic->spis[i], 0);
	for (unsigned i = 0; i < 32 * gic->bank_count; i++) {
		gic->router[i] = 0;
		gic->target[i] = 0;
	}
	for (unsigned i = 0; i < dev->vm->vcpu_count; i++) {
		struct gic_cpu *cpu = &gic->cpus[i];

		reset_bank(&cpu->local, 0xffff); /* SGIs are edges */
		cpu->asleep = !gic->awake;
		gic_lpi_reset(cpu);
		gic_cpu_reset(cpu);
	}
	gic_update_all(gic);
}

static void gicv3_destroy(struct device *dev)
{
	struct vm *vm = dev->vm;

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->vcpus[i]->intc = NULL;
	vm->irq_ops = NULL;
	gic_lpi_destroy(container_of(dev, struct gicv3, dev));
	platform_free(container_of(dev, struct gicv3, dev));
}

static const struct device_ops ops = {
	.name = "gicv3",
	.reset = gicv3_reset,
	.read = gic_mmio_read,
	.write = gic_mmio_write,
	.destroy = gicv3_destroy,
};

int gicv3_create(struct vm *vm, const struct gicv3_config *config, struct gicv3 **out)
{
	struct gicv3 *gic;
	int r;

	if (config->spis == 0 || config->spis > GICV3_MAX_SPIS)
		return -EINVAL;
	gic = platform_alloc(sizeof(*gic));
	if (!gic)
		return -ENOMEM;
	gic->bank_count = (config->spis + 31) / 32;
	r = device_register(vm, &gic->dev, &ops, "gic");
	if (r) {
		platform_free(gic);
		return r;
	}
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		gic->cpus[i].gic = gic;
		gic->cpus[i].vcpu = vm->vcpus[i];
		gic->cpus[i].irq = gic->cpus[i].fiq = -1;
		vm->vcpus[i]->intc = &gic->cpus[i];
	}
	gic->awake = config->awake;
	if (config->lpis) {
		r = gic_lpi_create(gic);
		if (r)
			return r;
	}
	gicv3_reset(&gic->dev);
	vm->irq_ops = &irq_ops;
	*out = gic;
	r = bus_attach(&vm->mmio, config->distributor, GICV3_DISTRIBUTOR_SIZE, &gic->dev, 0);
	if (!r)
		r = bus_attach(&vm->mmio, config->redistributors, GICV3_REDISTRIBUTOR_SIZE * (uint64_t)vm->vcpu_count, &gic->dev, 1);
	return r ? r : gic_cpu_register(vm);
}
