/* The processors' interfaces to the interrupt controller: ICC_* system registers (IHI 0069 12.2).
 *
 * Example: reading ICC_IAR1_EL1 is `read_register(vcpu, gic, A64_SYSREG_KEY(3, 0, 12, 12, 0), &value)`.
 */
#include "dev/irq/gicv3_private.h"

enum icc_register {
	ICC_PMR = A64_SYSREG_KEY(3, 0, 4, 6, 0),
	ICC_IAR0 = A64_SYSREG_KEY(3, 0, 12, 8, 0),
	ICC_EOIR0 = A64_SYSREG_KEY(3, 0, 12, 8, 1),
	ICC_HPPIR0 = A64_SYSREG_KEY(3, 0, 12, 8, 2),
	ICC_BPR0 = A64_SYSREG_KEY(3, 0, 12, 8, 3),
	ICC_AP0R0 = A64_SYSREG_KEY(3, 0, 12, 8, 4),
	ICC_AP1R0 = A64_SYSREG_KEY(3, 0, 12, 9, 0),
	ICC_DIR = A64_SYSREG_KEY(3, 0, 12, 11, 1),
	ICC_RPR = A64_SYSREG_KEY(3, 0, 12, 11, 3),
	ICC_SGI1R = A64_SYSREG_KEY(3, 0, 12, 11, 5),
	ICC_ASGI1R = A64_SYSREG_KEY(3, 0, 12, 11, 6),
	ICC_SGI0R = A64_SYSREG_KEY(3, 0, 12, 11, 7),
	ICC_IAR1 = A64_SYSREG_KEY(3, 0, 12, 12, 0),
	ICC_EOIR1 = A64_SYSREG_KEY(3, 0, 12, 12, 1),
	ICC_HPPIR1 = A64_SYSREG_KEY(3, 0, 12, 12, 2),
	ICC_BPR1 = A64_SYSREG_KEY(3, 0, 12, 12, 3),
	ICC_CTLR = A64_SYSREG_KEY(3, 0, 12, 12, 4),
	ICC_SRE = A64_SYSREG_KEY(3, 0, 12, 12, 5),
	ICC_IGRPEN0 = A64_SYSREG_KEY(3, 0, 12, 12, 6),
	ICC_IGRPEN1 = A64_SYSREG_KEY(3, 0, 12, 12, 7),
};

/* ICC_CTLR_EL1 */
#define CTLR_CBPR         (1u << 0)
#define CTLR_EOIMODE      (1u << 1)
#define CTLR_PRIBITS_5    (4u << 8)

#define SRE_ALWAYS 7u /* system registers only; no bypass */

/* With five bits of priority all of which may preempt */
#define BPR0_MIN 2u
#define BPR1_MIN 3u
#define BPR_MAX  7u

void gic_cpu_reset(struct gic_cpu *cpu)
{
	cpu->pmr = 0;
	cpu->bpr[GIC_GROUP0] = BPR0_MIN;
	cpu->bpr[GIC_GROUP1] = BPR1_MIN;
	cpu->common_bpr = cpu->split_eoi = false;
	cpu->enabled[GIC_GROUP0] = cpu->enabled[GIC_GROUP1] = false;
	cpu->active[GIC_GROUP0] = cpu->active[GIC_GROUP1] = 0;
}

/* ---- from pending to active and back ---- */

uint32_t gic_acknowledge(struct gic_cpu *cpu, enum gic_group group)
{
	const int32_t signalled = group == GIC_GROUP1 ? cpu->irq : cpu->fiq;
	const uint32_t intid = (uint32_t)signalled, bit = 1u << intid % 32;
	struct gic_bank *bank;

	if (signalled < 0)
		return GIC_NONE;
	cpu->active[group] |= 1u << (gic_group_priority(cpu, group, cpu->best_priority) >> 3);
	bank = gic_bank_of(cpu, intid);
	if (bank) {
		bank->active |= bit;
		bank->latch &= ~bit;
	} else {
		gic_lpi_taken(cpu, intid); /* they have no active state */
	}
	gic_update(cpu, false);
	return intid;
}

static void deactivate(struct gic_cpu *cpu, uint32_t intid)
{
	struct gic_bank *bank = gic_bank_of(cpu, intid);

	if (!bank)
		return;
	bank->active &= ~(1u << intid % 32);
	/* It may go to another processor by now. */
	if (intid >= GIC_FIRST_SPI)
		gic_update_spis(cpu->gic, intid / 32 - 1, 1u << intid % 32);
}

/* The group's most urgent priority ceases to run, if it is the one that runs. */
static bool drop_priority(struct gic_cpu *cpu, enum gic_group group)
{
	const uint32_t mine = cpu->active[group], other = cpu->active[!group];

	if (!mine || (other && __builtin_ctz(other) < __builtin_ctz(mine)))
		return false;
	cpu->active[group] = mine & (mine - 1);
	return true;
}

static void end_of_interrupt(struct gic_cpu *cpu, enum gic_group group, uint32_t intid)
{
	const bool is_lpi = cpu->gic->lpis && intid >= GIC_FIRST_LPI;

	if ((!gic_bank_of(cpu, intid) && !is_lpi) || !drop_priority(cpu, group))
		return;
	if (!cpu->split_eoi)
		deactivate(cpu, intid);
}

static uint32_t highest_pending(const struct gic_cpu *cpu, enum gic_group group)
{
	return cpu->best_group == group ? cpu->best : GIC_NONE;
}

/* ---- software-generated interrupts ---- */

static void pend_sgi(struct gic_cpu *cpu, const struct gic_cpu *sender, enum gic_group group, unsigned intid)
{
	const uint32_t bit = 1u << intid;

	/* Only as the target's own configuration has it. */
	if ((cpu->local.group & bit ? GIC_GROUP1 : GIC_GROUP0) != group)
		return;
	cpu->local.latch |= bit;
	gic_update(cpu, cpu != sender);
}

static void send_sgi(struct gic_cpu *sender, enum gic_group group, uint64_t value)
{
	const unsigned intid = value >> 24 & 15;
	/* Aff3.Aff2.Aff1.0; the range selector is not there, so whoever uses it means processors that are not. */
	const uint64_t cluster = (value >> 48 & 0xff) << 32 | (value >> 32 & 0xff) << 16 | (value >> 16 & 0xff) << 8;
	struct gicv3 *gic = sender->gic;

	if (value >> 40 & 1) {
		for (unsigned i = 0; i < gic->dev.vm->vcpu_count; i++)
			if (&gic->cpus[i] != sender)
				pend_sgi(&gic->cpus[i], sender, group, intid);
		return;
	}
	if (value >> 44 & 15)
		return;
	for (uint32_t list = value & 0xffff; list; list &= list - 1) {
		const unsigned target = gic_find_affinity(gic, cluster | (unsigned)__builtin_ctz(list));

		if (target != GIC_NOBODY)
			pend_sgi(&gic->cpus[target], sender, group, intid);
	}
}

/* ---- registers ---- */

static uint64_t running_priority(const struct gic_cpu *cpu)
{
	const unsigned priority = gic_running_priority(cpu);

	return priority == GIC_IDLE ? 0xff : priority;
}

static uint64_t bpr1(const struct gic_cpu *cpu)
{
	if (!cpu->common_bpr)
		return cpu->bpr[GIC_GROUP1];
	return cpu->bpr[GIC_GROUP0] == BPR_MAX ? BPR_MAX : cpu->bpr[GIC_GROUP0] + 1u;
}

static bool read_locked(struct gic_cpu *cpu, uint32_t key, uint64_t *value)
{
	switch ((enum icc_register)key) {
	case ICC_PMR:
		*value = cpu->pmr;
		return true;
	case ICC_IAR0:
		*value = gic_acknowledge(cpu, GIC_GROUP0);
		return true;
	case ICC_IAR1:
		*value = gic_acknowledge(cpu, GIC_GROUP1);
		return true;
	case ICC_HPPIR0:
		*value = highest_pending(cpu, GIC_GROUP0);
		return true;
	case ICC_HPPIR1:
		*value = highest_pending(cpu, GIC_GROUP1);
		return true;
	case ICC_BPR0:
		*value = cpu->bpr[GIC_GROUP0];
		return true;
	case ICC_BPR1:
		*value = bpr1(cpu);
		return true;
	case ICC_AP0R0:
		*value = cpu->active[GIC_GROUP0];
		return true;
	case ICC_AP1R0:
		*value = cpu->active[GIC_GROUP1];
		return true;
	case ICC_RPR:
		*value = running_priority(cpu);
		return true;
	case ICC_CTLR:
		*value = CTLR_PRIBITS_5 | (cpu->common_bpr ? CTLR_CBPR : 0) | (cpu->split_eoi ? CTLR_EOIMODE : 0);
		return true;
	case ICC_SRE:
		*value = SRE_ALWAYS;
		return true;
	case ICC_IGRPEN0:
		*value = cpu->enabled[GIC_GROUP0];
		return true;
	case ICC_IGRPEN1:
		*value = cpu->enabled[GIC_GROUP1];
		return true;
	default:
		return false; /* write-only, or not there */
	}
}

static uint8_t binary_point(uint64_t value, unsigned min)
{
	value &= BPR_MAX;
	return (uint8_t)(value < min ? min : value);
}

static bool write_locked(struct gic_cpu *cpu, uint32_t key, uint64_t value)
{
	switch ((enum icc_register)key) {
	case ICC_PMR:
		cpu->pmr = value & GIC_PRIORITY_MASK;
		break;
	case ICC_EOIR0:
		end_of_interrupt(cpu, GIC_GROUP0, (uint32_t)value & 0xffffff);
		break;
	case ICC_EOIR1:
		end_of_interrupt(cpu, GIC_GROUP1, (uint32_t)value & 0xffffff);
		break;
	case ICC_DIR:
		if (cpu->split_eoi)
			deactivate(cpu, (uint32_t)value & 0xffffff);
		break;
	case ICC_BPR0:
		cpu->bpr[GIC_GROUP0] = binary_point(value, BPR0_MIN);
		break;
	case ICC_BPR1:
		if (!cpu->common_bpr)
			cpu->bpr[GIC_GROUP1] = binary_point(value, BPR1_MIN);
		break;
	case ICC_AP0R0:
		cpu->active[GIC_GROUP0] = (uint32_t)value;
		break;
	case ICC_AP1R0:
		cpu->active[GIC_GROUP1] = (uint32_t)value;
		break;
	case ICC_SGI0R:
		send_sgi(cpu, GIC_GROUP0, value);
		break;
	case ICC_SGI1R:
	case ICC_ASGI1R: /* the other security state's: there is one */
		send_sgi(cpu, GIC_GROUP1, value);
		break;
	case ICC_CTLR:
		cpu->common_bpr = value & CTLR_CBPR;
		cpu->split_eoi = value & CTLR_EOIMODE;
		break;
	case ICC_SRE:
		break;
	case ICC_IGRPEN0:
		cpu->enabled[GIC_GROUP0] = value & 1;
		break;
	case ICC_IGRPEN1:
		cpu->enabled[GIC_GROUP1] = value & 1;
		break;
	default:
		return false;
	}
	gic_update(cpu, false);
	return true;
}

static bool read_register(struct vcpu *vcpu, void *ctx, uint32_t key, uint64_t *value)
{
	struct gic_cpu *cpu = gic_cpu_of(vcpu);
	bool there;

	lock_take(&cpu->gic->dev.lock);
	there = read_locked(cpu, key, value);
	lock_release(&cpu->gic->dev.lock);
	return there;
}

static bool write_register(struct vcpu *vcpu, void *ctx, uint32_t key, uint64_t value)
{
	struct gic_cpu *cpu = gic_cpu_of(vcpu);
	bool there;

	lock_take(&cpu->gic->dev.lock);
	there = write_locked(cpu, key, value);
	lock_release(&cpu->gic->dev.lock);
	return there;
}

int gic_cpu_register(struct vm *vm)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {{ICC_PMR, ICC_PMR}, {ICC_IAR0, ICC_IGRPEN1}};

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		const struct msr_handler handler = {
			.first = ranges[i].first, .last = ranges[i].last, .read = read_register, .write = write_register};
		int r = msr_handler_register(vm, &handler);

		if (r)
			return r;
	}
	return 0;
}
